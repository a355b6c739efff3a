"""Debian's rsyslog collects what real clients did: every record, whoever is restarted meanwhile.

The JSON lines that popproxy writes beside it say what every record is. rsyslog may have some of
them twice, as the guide says.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from popproxy.tools.chain_proof import Checkpoints
from tests.support.chained import lines_of, rewrite, verify
from tests.support.clients import Account, curl, fetchmail, python_poplib
from tests.support.dovecot import Dovecot
from tests.support.leaks import leaks
from tests.support.mails import MAILS
from tests.support.programs import find, needs
from tests.support.proxy import Proxy, records, wait_for_sessions_to_end
from tests.support.rsyslog import Rsyslog, configuration
from tests.support.waiting import PATIENCE, until

LOG = "all.jsonl"


@needs("rsyslogd", "lmnsd_gtls.so")
def test_the_example_for_rsyslog_is_valid(tmp_path: Path) -> None:
    program = find("rsyslogd")
    assert program
    done = subprocess.run(
        [program, "-N1", "-f", configuration(tmp_path, 6514)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
    assert "warning" not in done.stderr.lower()


def _options(rsyslog: Rsyslog, secure: bool) -> list[str]:
    """Say where the collector is; what has no option is in the configuration file."""
    scheme, host = ("syslog+tls", "localhost") if secure else ("syslog+tcp", "127.0.0.1")
    return ["--jsonl", LOG, "--syslog", f"{scheme}://{host}:{rsyslog.port}"]


def _configure(home: Path, rsyslog: Rsyslog, certificate: str = "proxy.pem") -> None:
    home.mkdir()
    (home / "popproxy.toml").write_text(
        f'[syslog]\nca = "{rsyslog.home}/ca.pem"\n'
        f'client_certificate = "{rsyslog.home}/{certificate}"\n'
    )


def _account(dovecot: Dovecot, proxy: Proxy, home: Path, user: str) -> Account:
    home.mkdir(parents=True)
    return Account(host=proxy.host, port=proxy.port, user=user, home=home)


def _recorded(home: Path) -> set[tuple[str, int]]:
    return {(one["session"]["id"], one["session"]["seq"]) for one in records(home / LOG)}


class _Fetching:
    """Fetches all mail over and over, in a thread, until it is told to stop."""

    def __init__(self, dovecot: Dovecot, proxy: Proxy, home: Path) -> None:
        self._account = _account(dovecot, proxy, home, dovecot.user(MAILS))
        self._enough = threading.Event()
        self.sessions = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._enough.is_set():
            python_poplib(self._account)
            self.sessions += 1

    def some_more(self) -> None:
        """Wait for sessions that begin after now to end."""
        goal = self.sessions + 3
        until(lambda: self.sessions >= goal or not self._thread.is_alive(), "more sessions")
        assert self._thread.is_alive()

    def __enter__(self) -> _Fetching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(PATIENCE)


@pytest.fixture(params=["imtcp", "imptcp", "tls"])
def rsyslog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rsyslog]:
    module = "" if request.param == "tls" else request.param
    with Rsyslog(tmp_path / "rsyslog", module) as running:
        yield running


@needs("dovecot", "rsyslogd", "lmnsd_gtls.so", "curl", "fetchmail")
def test_every_record_of_real_clients_arrives_once_and_nothing_else(
    rsyslog: Rsyslog, dovecot: Dovecot, tmp_path: Path
) -> None:
    secure = (rsyslog.home / "ca.pem").exists()
    home = tmp_path / "proxy"
    if secure:
        _configure(home, rsyslog)
    with Proxy(home, dovecot.port, *_options(rsyslog, secure)) as proxy:
        for client in (curl, fetchmail, python_poplib):
            account = _account(dovecot, proxy, tmp_path / client.__name__, dovecot.user(MAILS))
            assert len(client(account).messages) == len(MAILS)
        assert proxy.stop() == 0
        assert b"records stay" not in proxy.stderr, "rsyslog told that it has read everything"
    wanted = [(one["session"]["id"], one["session"]["seq"]) for one in records(home / LOG)]
    until(lambda: len(rsyslog.collected()) >= len(wanted), "all records")
    assert sorted(rsyslog.collected()) == sorted(wanted)
    # What the file says of itself went there, too, and proves it to be the one that was written.
    copies = rsyslog.home / "records.jsonl"
    until(lambda: b'"file.end"' in copies.read_bytes(), "the line that ends the file")
    collected = copies.read_bytes()
    assert not leaks({"records.jsonl": collected})
    assert b"oversize" not in rsyslog.log.encode()
    kept = Checkpoints(collected.splitlines())
    assert kept.count >= 2
    assert verify(home / LOG, checkpoints=kept).whole
    rewrite(home / LOG, lines_of(home / LOG)[:-1])
    kept = Checkpoints(collected.splitlines())
    assert not verify(home / LOG, checkpoints=kept, open_end=True).whole


@needs("dovecot", "rsyslogd", "lmnsd_gtls.so")
@pytest.mark.parametrize("how", ["TERM", "KILL"])
def test_p54_rsyslog_is_restarted_while_sessions_go_on_and_has_every_record(
    how: str, rsyslog: Rsyslog, dovecot: Dovecot, tmp_path: Path
) -> None:
    secure = (rsyslog.home / "ca.pem").exists()
    home = tmp_path / "proxy"
    if secure:
        _configure(home, rsyslog)
    with Proxy(home, dovecot.port, *_options(rsyslog, secure)) as proxy:
        with _Fetching(dovecot, proxy, tmp_path / "client") as fetching:
            for _ in range(2):
                fetching.some_more()
                if how == "TERM":
                    rsyslog.stop()
                else:
                    rsyslog.kill()
                fetching.some_more()
                rsyslog.start()
                fetching.some_more()
        wanted = _recorded(home)
        until(lambda: wanted <= set(rsyslog.collected()), "all records")
        assert proxy.stop() == 0
    until(lambda: _recorded(home) <= set(rsyslog.collected()), "all records")
    assert set(rsyslog.collected()) == _recorded(home)


@needs("dovecot", "rsyslogd", "lmnsd_gtls.so")
def test_p64_popproxy_is_killed_while_the_collector_is_away_and_its_successor_sends_all(
    rsyslog: Rsyslog, dovecot: Dovecot, tmp_path: Path
) -> None:
    secure = (rsyslog.home / "ca.pem").exists()
    home = tmp_path / "proxy"
    if secure:
        _configure(home, rsyslog)
    with Proxy(home, dovecot.port, *_options(rsyslog, secure)) as proxy:
        user = dovecot.user(MAILS)
        python_poplib(_account(dovecot, proxy, tmp_path / "one", user))
        until(lambda: rsyslog.collected(), "the first records")
        rsyslog.stop()
        python_poplib(_account(dovecot, proxy, tmp_path / "two", user))
        spool = home / ".local/state/popproxy/syslog/w1"
        wanted = _ended(home, 2)
        until(lambda: _spooled(spool, wanted), "all of them in the spool")
        proxy.kill()
    rsyslog.start()
    with Proxy(home, dovecot.port, *_options(rsyslog, secure)) as proxy:
        until(lambda: wanted <= set(rsyslog.collected()), "all records, without a new session")
        assert proxy.stop(signal.SIGINT) == 0
    assert set(rsyslog.collected()) == wanted


def _ended(home: Path, sessions: int) -> set[tuple[str, int]]:
    wait_for_sessions_to_end(home / LOG, sessions)
    return _recorded(home)


def _spooled(spool: Path, wanted: set[tuple[str, int]]) -> bool:
    content = b"".join(one.read_bytes() for one in spool.glob("*/*.spool"))
    return all(b'session="%b" seq="%d"' % (one.encode(), seq) in content for one, seq in wanted)


@needs("dovecot", "rsyslogd", "lmnsd_gtls.so")
def test_p32_a_collector_that_refuses_the_certificate_gets_nothing_and_nothing_is_lost(
    dovecot: Dovecot, tmp_path: Path
) -> None:
    with Rsyslog(tmp_path / "rsyslog") as rsyslog:
        home = tmp_path / "proxy"
        _configure(home, rsyslog, "other.pem")
        with Proxy(home, dovecot.port, *_options(rsyslog, True)) as proxy:
            user = dovecot.user(MAILS[:1])
            python_poplib(_account(dovecot, proxy, tmp_path / "one", user))
            wanted = _ended(home, 1)
            until(lambda: b"it is tried again" in proxy.stderr, "a warning")
            assert proxy.stop() == 0
            assert b"records stay in" in proxy.stderr
        assert not rsyslog.collected()
        text = (home / "popproxy.toml").read_text()
        (home / "popproxy.toml").write_text(text.replace("other.pem", "proxy.pem"))
        with Proxy(home, dovecot.port, *_options(rsyslog, True)) as proxy:
            until(lambda: wanted <= set(rsyslog.collected()), "all records")
