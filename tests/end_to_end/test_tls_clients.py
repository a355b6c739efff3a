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
from tests.support.mails import MAILS, digests
from tests.support.programs import needs
from tests.support.proxy import Proxy, Record, wait_for_sessions_to_end, with_action
from tests.support.tls_clients import EVERY_WAY, SPEAKERS, Fetch, Speaker, account_at

SCHEMES: dict[Security, str] = {"plain": "pop3", "stls": "pop3+stls", "tls": "pop3s"}
OUTPUTS = ("--jsonl", "out/log.jsonl", "--putty", "out/&S.log", "--text", "out/log.txt")
PAIRINGS = [
    pytest.param(
        speaker, mine, theirs, id=f"{speaker.name}-{mine}-{theirs}", marks=needs(*speaker.programs)
    )
    for speaker in SPEAKERS
    for mine in speaker.securities
    for theirs in EVERY_WAY
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


def sessions_of(proxy: Proxy) -> list[list[Record]]:
    """Give the records of each session that has ended."""
    sessions: dict[str, list[Record]] = {}
    for record in wait_for_sessions_to_end(proxy.home / "out/log.jsonl"):
        sessions.setdefault(record["session"]["id"], []).append(record)
    return list(sessions.values())


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
    user = dovecot.user(MAILS)
    account = account_at(dovecot, mine, user, tmp_path / "home")
    with proxy_for(tmp_path, dovecot, mine, theirs) as proxy:
        trusted = account.ca_file if mine == "plain" else proxy.ca_file
        fetched = fetch(speaker, replace(account, port=proxy.port, ca_file=trusted))
        assert digests(fetched.messages) == digests(mail.content for mail in MAILS)
        assert proxy.stop() == 0
    wanted = {"client"} if mine != "plain" else set()
    wanted |= {"upstream"} if theirs != "plain" else set()
    found: list[str] = []
    for session in sessions_of(proxy):
        assert [record["session"]["seq"] for record in session] == list(range(1, len(session) + 1))
        assert with_action(session, "gap") == []
        assert with_action(session, "tls.failed") == []
        if with_action(session, "pop3.auth"):
            assert legs(session) == wanted
        found += [
            record["pop3"]["message"]["sha256"]
            for record in with_action(session, "pop3.response")
            if record["pop3"].get("command") == "RETR"
        ]
    assert sorted(found) == sorted(mail.sha256 for mail in MAILS)
    assert leaks(proxy.outputs()) == []
