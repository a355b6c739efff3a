"""The nine pairings: a client that speaks in one way, a server that is spoken to in another.

Whatever the pair, the client fetches what it fetches directly, the capture is complete, and no
output holds the password.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.clients import Security
from tests.support.dovecot import Dovecot
from tests.support.leaks import leaks
from tests.support.mails import ATTACHMENT, MAILS, digests
from tests.support.programs import needs
from tests.support.proxy import Proxy, Record, with_action
from tests.support.tls_clients import EVERY_WAY, SPEAKERS, Fetch, Speaker, account_at
from tests.support.transcripts import is_complete, messages, sessions

LIGHT = tuple(mail for mail in MAILS if mail is not ATTACHMENT)
"""Without the mail of 2 MB, which curl alone fetches: there are many pairs."""
SCHEMES: dict[Security, str] = {"plain": "pop3", "stls": "pop3+stls", "tls": "pop3s"}
OUTPUTS = ("--jsonl", "out/log.jsonl", "--putty", "out/&S.log", "--text", "out/log.txt")
EVERYWHERE = frozenset({"curl", "fetchmail", "mpop", "s_client", "thunderbird"})
"""Clients that try all pairs; the others try those whose legs are alike."""
PAIRINGS = [
    pytest.param(
        speaker, mine, theirs, id=f"{speaker.name}-{mine}-{theirs}", marks=needs(*speaker.programs)
    )
    for speaker in SPEAKERS
    for mine in speaker.securities
    for theirs in EVERY_WAY
    if speaker.name in EVERYWHERE or mine == theirs
]


def proxy_for(tmp_path: Path, dovecot: Dovecot, mine: Security, theirs: Security) -> Proxy:
    port = dovecot.tls_port if theirs == "tls" else dovecot.port
    never = mine != "plain" and theirs == "plain"
    trust = () if never else ("--upstream-ca", dovecot.ca_file)
    return Proxy(
        tmp_path / "proxy",
        port,
        *OUTPUTS,
        *trust,
        listen=SCHEMES[mine],
        speak=SCHEMES[theirs],
        server="localhost",
    )


def under_tls(mine: Security, theirs: Security) -> set[str]:
    """Give the legs that have to be under TLS."""
    return {leg for leg, way in (("client", mine), ("upstream", theirs)) if way != "plain"}


def legs(session: list[Record]) -> set[str]:
    """Give the legs on which TLS began."""
    return {record["tls"]["leg"] for record in with_action(session, "tls.start")}


@needs("dovecot")
@pytest.mark.parametrize(("speaker", "mine", "theirs"), PAIRINGS)
def test_a_client_fetches_the_same_however_both_legs_speak(
    speaker: Speaker,
    mine: Security,
    theirs: Security,
    fetch: Fetch,
    dovecot: Dovecot,
    tmp_path: Path,
) -> None:
    mails = MAILS if speaker.name == "curl" else LIGHT
    account = account_at(dovecot, mine, dovecot.user(mails), tmp_path / "home")
    with proxy_for(tmp_path, dovecot, mine, theirs) as proxy:
        fetched = fetch(speaker, replace(account, port=proxy.port, ca_file=proxy.ca_file))
        assert digests(fetched.messages) == digests(mail.content for mail in mails)
        assert proxy.stop() == 0
    captured = sessions(proxy.home / "out" / "log.jsonl")
    assert captured
    for session in captured:
        is_complete(session)
        assert legs(session) == under_tls(mine, theirs)
        assert with_action(session, "tls.failed") == []
    assert messages(captured) == sorted(mail.sha256 for mail in mails)
    assert leaks(proxy.outputs()) == []
