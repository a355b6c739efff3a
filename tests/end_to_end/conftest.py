"""Fixtures of the tests that use real sockets and real programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clients import Account, Fetched
from tests.support.dovecot import Dovecot
from tests.support.thunderbird import Thunderbird
from tests.support.tls_clients import Fetch, Speaker


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """One Dovecot for all tests; each makes users of its own. Needs `needs("dovecot")`."""
    server = Dovecot()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def thunderbird() -> Iterator[Thunderbird]:
    """One Thunderbird for all tests; each fetch has an account. Needs `needs("thunderbird")`."""
    program = Thunderbird()
    yield program
    program.stop()


@pytest.fixture
def fetch(request: pytest.FixtureRequest) -> Fetch:
    """Let any of `SPEAKERS` fetch."""

    def run(speaker: Speaker, account: Account) -> Fetched:
        if speaker.client is None:
            running: Thunderbird = request.getfixturevalue(speaker.name)
            return running.fetch(account)
        return speaker.client(account)

    return run
