"""HAProxy in front of two popproxies, Dovecot behind them: who the client is, what is provable.

Collectors fetch and delete through all of it, each from an address of its own, while one popproxy
is killed in the middle of its work and started again. Afterwards the records of both are held
against what Dovecot says and against what is left in its maildrops.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tests.support.chained import verify
from tests.support.clients import Account
from tests.support.collecting import NO_MAIL, Collector
from tests.support.dovecot import Dovecot
from tests.support.haproxy import EXAMPLE, HAProxy
from tests.support.leaks import leaks
from tests.support.mails import Mail
from tests.support.programs import find, needs
from tests.support.proxy import Proxy, Record, records_in, with_action
from tests.support.waiting import until

How = Literal["v2", "xclient"]

COLLECTORS = 6
MAILS = tuple(
    Mail(
        name=f"mail {number}",
        content=f"Message-ID: <{number}@example.org>\r\n\r\nhello\r\n".encode(),
    )
    for number in range(12)
)
LOG = Path("log.jsonl")


@needs("haproxy")
def test_the_example_for_haproxy_is_valid() -> None:
    program = find("haproxy")
    assert program
    done = subprocess.run(
        [program, "-c", "-f", str(EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.fixture(params=["v2", "xclient"])
def how(request: pytest.FixtureRequest) -> How:
    given: How = request.param
    return given


@pytest.fixture
def server(how: How) -> Iterator[Dovecot]:
    running = Dovecot(trusts=how == "xclient")
    yield running
    running.stop()


class Recorded(NamedTuple):
    """What the records prove of one session.

    Attributes:
        id: The session.
        client: Its client's address.
        user: Its user.
        deleted: Message-IDs whose DELE the server took.
        quit: Whether the QUIT is recorded that commits them.
        committed: What the session's end says is committed; None if it has none.
    """

    id: str
    client: str
    user: str
    deleted: set[str]
    quit: bool
    committed: int | None


def _read(path: Path) -> list[Record]:
    """Read what a process that was killed has left, and what another appended."""
    return records_in(path.read_bytes())


def _recorded(found: list[Record]) -> list[Recorded]:
    sessions: dict[str, list[Record]] = defaultdict(list)
    for record in found:
        sessions[record["session"]["id"]].append(record)
    return [_of(session) for session in sessions.values() if not _is_check(session[0])]


def _is_check(start: Record) -> bool:
    assert start["event"]["action"] == "session.start"
    return bool(start["via"] == start["client"])


def _of(session: list[Record]) -> Recorded:
    numbers: dict[int, str] = {}
    deleted = set()
    for record in with_action(session, "pop3.response"):
        part = record["pop3"]
        if part.get("command") == "RETR":
            numbers[part["message"]["number"]] = part["message"]["message_id"]
        elif part.get("command") == "DELE" and part["status"] == "+OK":
            deleted.add(numbers[int(part["arguments"])])
    commands = [one["pop3"]["command"] for one in with_action(session, "pop3.command")]
    ends = with_action(session, "session.end")
    logins = [one["user"]["name"] for one in with_action(session, "pop3.auth")]
    return Recorded(
        id=session[0]["session"]["id"],
        client=session[0]["client"]["address"],
        user=logins[0] if logins else "",
        deleted=deleted,
        quit="QUIT" in commands,
        committed=ends[0]["summary"].get("deletions_committed", 0) if ends else None,
    )


def _start(home: Path, server: Dovecot, how: How, at: int = 0) -> Proxy:
    upstream = server.proxy_port if how == "v2" else server.port
    options = ("--proxy-from", "127.0.0.1/32", "--proxy-to", how, "--require-log")
    return Proxy(home, upstream, *options, "--jsonl", LOG, at=at)


def _killed_at_work(proxy: Proxy) -> set[str]:
    """Kill popproxy when it has sessions that have begun to delete; give these.

    It is stopped to be looked at, so that nothing happens between the look and the kill.
    """

    def look() -> set[str]:
        proxy.process.send_signal(signal.SIGSTOP)
        working = {
            session.id
            for session in _recorded(_read(proxy.home / LOG))
            if session.deleted and session.committed is None
        }
        proxy.process.send_signal(signal.SIGKILL if working else signal.SIGCONT)
        return working

    found = until(look, "sessions that delete")
    proxy.process.wait()
    return found


class Logged(NamedTuple):
    """A session as Dovecot logged it: its name there, and how many messages it deleted."""

    name: str
    user: str
    deleted: int


def _logged(log: str) -> list[Logged]:
    ended = re.findall(r"pop3\((\S+)\)<\d+><(\S+)>: Info: Disconnected: .* del=(\d+)/", log)
    return [Logged(name, user, int(deleted)) for user, name, deleted in ended]


@needs("dovecot", "fetchmail", "haproxy")
def test_p64_no_deletion_is_missing_from_the_records_of_a_popproxy_that_was_killed(
    server: Dovecot, how: How, tmp_path: Path
) -> None:
    users = [server.user(MAILS) for _ in range(COLLECTORS)]
    first = _start(tmp_path / "first", server, how)
    with first, _start(tmp_path / "second", server, how) as second:
        with HAProxy(tmp_path / "haproxy", [first.port, second.port]) as balancer:
            collectors = []
            for number, user in enumerate(users):
                home = tmp_path / user
                home.mkdir()
                account = Account(host="127.0.0.1", port=balancer.port, user=user, home=home)
                collectors.append(Collector(account, f"127.0.0.{20 + number}"))
            cut_off = _killed_at_work(first)
            with _start(first.home, server, how, at=first.port) as again:
                balancer.wait_for("Server recorders/recorder0 is UP")
                outcomes = [collector.wait() for collector in collectors]
                assert again.stop() == 0
        assert second.stop() == 0
    assert leaks({**again.outputs(), **second.outputs()}) == []
    for collector, codes in zip(collectors, outcomes, strict=True):
        assert codes[-1] == NO_MAIL, codes
        assert server.left(collector.user) == 0
        assert {_name(mail) for mail in collector.collected} == {str(n) for n in range(len(MAILS))}

    logs = [one.home / LOG for one in (first, second)]
    assert verify(*logs).whole, "over the kill, too"
    found = [_recorded(_read(log)) for log in logs]
    assert all(any(session.committed for session in sessions) for sessions in found)
    recorded = [session for sessions in found for session in sessions if session.user]
    # Who the client is, as popproxy tells and as Dovecot does.
    source = {collector.user: collector.source for collector in collectors}
    assert {(session.user, session.client) for session in recorded} == set(source.items())
    assert set(re.findall(r"Login: user=<(\S+)>.* rip=([\d.]+),", server.log)) == set(
        source.items()
    )
    # The kill cut sessions off, and no session of another process.
    unfinished = {session.id for session in recorded if session.committed is None}
    assert unfinished >= cut_off
    assert len({_process(name) for name in unfinished}) == 1
    # What is deleted was deleted by sessions whose records prove it.
    proven = Counter[tuple[str, str]]()
    for session in recorded:
        if session.quit:
            proven.update((session.user, message) for message in session.deleted)
        if session.committed is not None:
            assert session.committed == (len(session.deleted) if session.quit else 0)
    everything = {
        (user, f"<{number}@example.org>") for user in users for number in range(len(MAILS))
    }
    assert set(proven) == everything
    # And Dovecot names no session, and no deletion, that the records do not.
    logged = _logged(server.log)
    assert sum(one.deleted for one in logged) == len(everything)
    if how == "xclient":  # which tells Dovecot the session's id, too
        known = {session.id: session for sessions in found for session in sessions}
        for one in logged:
            session = known[one.name]
            assert session.user in (one.user, "")  # "": the kill came before the login's answer
            if one.deleted:
                assert (session.user, len(session.deleted), session.quit) == (*one[1:], True)


def _process(session_id: str) -> str:
    """Give the mark that the ids of one process's sessions share."""
    return session_id.partition("-")[2][:3]


def _name(mail: bytes) -> str:
    found = re.search(rb"^Message-ID: <(\d+)@example.org>", mail, re.MULTILINE)
    assert found
    return found[1].decode()
