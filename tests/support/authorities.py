"""Local authorities, looked at by tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from popproxy.tls.authority import Authority
from popproxy.tls.failures import TlsSetupError


def serial(one: Authority) -> int:
    return one.certificate.serial_number


def refused(place: Path) -> str:
    """See that the authority is refused by both ways in, and give the words."""
    with pytest.raises(TlsSetupError) as opened:
        Authority.open(place)
    with pytest.raises(TlsSetupError) as loaded:
        Authority.load(place)
    assert str(opened.value) == str(loaded.value)
    assert "; " in str(loaded.value)  # what to do stands behind it
    return str(loaded.value)
