"""Fixtures of the tests that use real sockets and real programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dovecot import Dovecot


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """One Dovecot for all tests; each makes users of its own. Needs `needs("dovecot")`."""
    server = Dovecot()
    yield server
    server.stop()
