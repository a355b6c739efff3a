"""Fixtures of the tests of TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from popproxy.tls.leaves import ListenerContext
from popproxy.tls.settings import ListenerTls
from tests.support.handshakes import DEFAULT


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where an authority is to be: two folders above it are missing, too."""
    return tmp_path / "share" / "popproxy" / "authority"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a listener's authority is to be."""
    return tmp_path / "authority"


@pytest.fixture
def listener(folder: Path) -> ListenerContext:
    """Our side of TLS, with an authority of its own."""
    return ListenerContext(ListenerTls(authority=folder), default_names=DEFAULT)
