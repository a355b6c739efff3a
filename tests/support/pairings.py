"""A pair of legs: how a client speaks to popproxy, and how popproxy speaks to a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support.clients import Security
from tests.support.leaks import leaks
from tests.support.mails import ATTACHMENT, MAILS, Mail, digests
from tests.support.proxy import Proxy, Record, with_action
from tests.support.tls_clients import Fetch, Server, Speaker, account_at
from tests.support.transcripts import is_complete, messages, sessions

SCHEMES: dict[Security, str] = {"plain": "pop3", "stls": "pop3+stls", "tls": "pop3s"}
OUTPUTS = ("--jsonl", "out/log.jsonl", "--putty", "out/&S.log", "--text", "out/log.txt")


def proxy_between(home: Path, server: Server, mine: Security, theirs: Security) -> Proxy:
    """Start popproxy before a server.

    Args:
        home: popproxy's own directory.
        server: A running server.
        mine: How clients have to speak to popproxy.
        theirs: How popproxy speaks to the server.
    """
    # Where neither popproxy nor its client begins TLS with the server, there is nobody to trust.
    never = mine != "plain" and theirs == "plain"
    return Proxy(
        home,
        server.tls_port if theirs == "tls" else server.port,
        *OUTPUTS,
        *(() if never else ("--upstream-ca", server.ca_file)),
        listen=SCHEMES[mine],
        speak=SCHEMES[theirs],
        server="localhost",
    )


def mails_for(speaker: Speaker) -> tuple[Mail, ...]:
    """Give all mails to one client; the others need not fetch 2 MB with each pair."""
    if speaker.name == "curl":
        return MAILS
    return tuple(mail for mail in MAILS if mail is not ATTACHMENT)


def fetch_through(
    server: Server,
    speakers: tuple[Speaker, ...],
    pair: tuple[Security, Security],
    fetch: Fetch,
    tmp_path: Path,
) -> None:
    """Let clients fetch through one popproxy, and hold what they got and the capture to the mails.

    Args:
        server: A running server.
        speakers: Each fetches with an account of its own, if it can speak to popproxy as is asked.
        pair: How clients speak to popproxy, and popproxy to the server.
        fetch: Lets a client fetch.
        tmp_path: Where popproxy and the clients have their homes.
    """
    mine, theirs = pair
    able = [speaker for speaker in speakers if mine in speaker.securities]
    with proxy_between(tmp_path / "proxy", server, mine, theirs) as proxy:
        for speaker in able:
            user = server.user(mails_for(speaker))
            account = account_at(server, speaker, mine, user, tmp_path / speaker.name)
            # However the server ends TLS (P41), popproxy says that it ends.
            through = replace(account, port=proxy.port, ca_file=proxy.ca_file, truncated=False)
            fetched = fetch(speaker, through)
            expected = digests(mail.content for mail in mails_for(speaker))
            assert digests(fetched.messages) == expected, speaker.name
        assert proxy.stop() == 0
    captured = sessions(proxy.home / "out" / "log.jsonl")
    for session in captured:
        is_complete(session)
        assert _under_tls(session) == _to_be_under_tls(mine, theirs)
        assert with_action(session, "tls.failed") == []
    everything = [mail.sha256 for speaker in able for mail in mails_for(speaker)]
    assert messages(captured) == sorted(everything)
    assert leaks(proxy.outputs()) == []


def _to_be_under_tls(mine: Security, theirs: Security) -> set[str]:
    return {leg for leg, way in (("client", mine), ("upstream", theirs)) if way != "plain"}


def _under_tls(session: list[Record]) -> set[str]:
    """Give the legs on which TLS began."""
    return {record["tls"]["leg"] for record in with_action(session, "tls.start")}
