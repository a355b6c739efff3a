"""Courier and Cyrus: what clients fetch from them directly, they fetch through popproxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import Security
from tests.support.courier import Courier
from tests.support.cyrus import Cyrus
from tests.support.mails import digests
from tests.support.pairings import fetch_through, mails_for
from tests.support.programs import needs
from tests.support.root import only_root
from tests.support.tls_clients import EVERY_WAY, SPEAKERS, Fetch, Server, Speaker, account_at

PROGRAMS = [program for speaker in SPEAKERS for program in speaker.programs]
SERVERS = [
    pytest.param("courier", marks=needs("courierpop3d")),
    pytest.param("cyrus", marks=needs("cyrus-pop3d")),
]
PAIRS: list[tuple[Security, Security]] = [
    ("plain", "plain"),
    ("plain", "stls"),
    ("stls", "plain"),
    ("stls", "stls"),
    ("tls", "stls"),
]


@pytest.fixture(scope="module")
def courier() -> Iterator[Courier]:
    server = Courier()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cyrus() -> Iterator[Cyrus]:
    server = Cyrus()
    yield server
    server.stop()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    running: Server = request.getfixturevalue(request.param)
    return running


def _loses_step(speaker: Speaker, server: Server, way: Security) -> bool:
    """Tell whether a client and a server do not get on even without popproxy.

    Under TLS Cyrus offers SCRAM-SHA-256-PLUS; mutt cancels it, takes each answer for that to the
    next command from then on, and fetches nothing. Through popproxy, which takes the mechanism out
    of the list, it fetches everything.
    """
    return speaker.name == "mutt" and isinstance(server, Cyrus) and way != "plain"


@only_root
@needs(*PROGRAMS)
@pytest.mark.parametrize("server", SERVERS, indirect=True)
@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_client_fetches_directly(
    server: Server, way: Security, fetch: Fetch, tmp_path: Path
) -> None:
    for speaker in SPEAKERS:
        if way in speaker.securities and not _loses_step(speaker, server, way):
            user = server.user(mails_for(speaker))
            account = account_at(server, speaker, way, user, tmp_path / speaker.name)
            expected = digests(mail.content for mail in mails_for(speaker))
            assert digests(fetch(speaker, account).messages) == expected, speaker.name


@only_root
@needs(*PROGRAMS)
@pytest.mark.parametrize("server", SERVERS, indirect=True)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_every_client_fetches_the_same_through_popproxy(
    server: Server, pair: tuple[Security, Security], fetch: Fetch, tmp_path: Path
) -> None:
    fetch_through(server, SPEAKERS, pair, fetch, tmp_path)
