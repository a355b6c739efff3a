"""Real clients at a replay: what they fetch from it is what they fetched from Dovecot."""

from __future__ import annotations

import poplib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from popproxy.formats import jsonl
from popproxy.records import Record, WireRecord
from tests.support.clients import (
    Account,
    Client,
    Fetched,
    Security,
    curl,
    fetchmail,
    mpop,
    mutt,
    private_file,
    python_poplib,
)
from tests.support.dovecot import Dovecot
from tests.support.leaks import PASSWORD, leaks
from tests.support.mails import ATTACHMENT, MAILS, digests
from tests.support.pairings import proxy_between
from tests.support.programs import needs
from tests.support.proxy import Proxy, wait_for_sessions_to_end
from tests.support.replaying import reads
from tests.support.running import run, started
from tests.support.thunderbird import Thunderbird
from tests.support.waiting import PATIENCE

SOME = tuple(mail for mail in MAILS if mail is not ATTACHMENT)
CLIENTS: dict[str, Client] = {
    one.__name__: one for one in (curl, fetchmail, mpop, mutt, python_poplib)
}
MECHANISM = {"mpop": "cram-md5"}
"""By itself mpop takes none but SCRAM in the clear, which no replay can hold."""
ONE_SESSION = [name for name in CLIENTS if name != "curl"]


def _needs(names: list[str]) -> list[object]:
    return [
        pytest.param(name, marks=() if name == "python_poplib" else needs(name)) for name in names
    ]


def _account(dovecot: Dovecot, home: Path, user: str) -> Account:
    home.mkdir()
    return Account(host=dovecot.host, port=dovecot.port, user=user, home=home)


@pytest.fixture(scope="module")
def whole(dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of a session in which everything was listed and retrieved."""
    folder = tmp_path_factory.mktemp("whole")
    with _proxy(folder, dovecot) as proxy:
        account = _account(dovecot, folder / "poplib", dovecot.user(SOME))
        _everything(replace(account, port=proxy.port))
        assert proxy.stop() == 0
    return proxy.home / "log.jsonl"


def _proxy(folder: Path, dovecot: Dovecot) -> Proxy:
    return Proxy(folder / "proxy", dovecot.port, "--jsonl", "log.jsonl")


def _everything(account: Account) -> None:
    """Ask everything that a client may want to know."""
    session = poplib.POP3(account.host, account.port, timeout=PATIENCE)
    poplib._MAXLINE, before = 1 << 20, poplib._MAXLINE  # type: ignore[attr-defined]
    try:
        session.capa()
        session.user(account.user)
        session.pass_(account.password)
        session.capa()
        count, _octets = session.stat()
        session.list()
        session.uidl()
        for number in range(1, count + 1):
            session.top(number, 0)
            session.retr(number)
        session.quit()
    finally:
        poplib._MAXLINE = before  # type: ignore[attr-defined]
        session.close()


@contextmanager
def replay(
    capture: Path, home: Path, *options: str, scheme: str = "pop3"
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `popproxy replay` on a free port; gives the process and the port."""
    listen = ("--listen", f"{scheme}://127.0.0.1:0")
    with started("replay", str(capture), *listen, *options, cwd=home) as running:
        yield running


@needs("dovecot")
@pytest.mark.parametrize("name", _needs(list(CLIENTS)))
def test_any_client_fetches_everything_from_a_lenient_replay(
    name: str, whole: Path, dovecot: Dovecot, tmp_path: Path
) -> None:
    options = ("--match", "lenient", "--no-timing", "--split", "terminator")
    with replay(whole, tmp_path / "replay", *options) as (process, port):
        account = _account(dovecot, tmp_path / "client", "anybody")
        account = replace(account, port=port, mechanism=MECHANISM.get(name, ""))
        fetched = CLIENTS[name](replace(account, password="anything"))
        assert digests(fetched.messages) == digests(mail.content for mail in SOME)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    said = (tmp_path / "replay" / "stderr").read_text()
    assert "warning" not in said.replace("warning: connection 1: command 2: LAST is not", "")


@needs("dovecot", "thunderbird")
def test_thunderbird_fetches_everything_from_the_replay_of_its_session(
    thunderbird: Thunderbird, dovecot: Dovecot, tmp_path: Path
) -> None:
    with _proxy(tmp_path, dovecot) as proxy:
        account = _account(dovecot, tmp_path / "thunderbird", dovecot.user(SOME))
        thunderbird.fetch(replace(account, port=proxy.port))
        assert proxy.stop() == 0
    with replay(proxy.home / "log.jsonl", tmp_path / "replay", "--once") as (process, port):
        fetched = thunderbird.fetch(replace(account, port=port, user="replayed"))
        status = process.wait(PATIENCE)
    assert status == 0, (tmp_path / "replay" / "stderr").read_text()
    assert digests(fetched.messages) == digests(mail.content for mail in SOME)


@needs("dovecot")
@pytest.mark.parametrize("name", _needs(ONE_SESSION))
def test_the_same_client_fetches_the_same_from_a_strict_replay_of_its_own_session(
    name: str, dovecot: Dovecot, tmp_path: Path
) -> None:
    client = CLIENTS[name]
    with _proxy(tmp_path, dovecot) as proxy:
        account = _account(dovecot, tmp_path / "first", dovecot.user(SOME))
        account = replace(account, mechanism=MECHANISM.get(name, ""))
        first = client(replace(account, port=proxy.port))
        assert proxy.stop() == 0
    capture = proxy.home / "log.jsonl"
    with replay(capture, tmp_path / "replay", "--once", "--no-timing") as (process, port):
        (tmp_path / "again").mkdir()
        again = client(replace(account, port=port, home=tmp_path / "again", password="another one"))
        status = process.wait(PATIENCE)
    said = (tmp_path / "replay" / "stderr").read_text()
    assert status == 0, said
    assert digests(again.messages) == digests(first.messages)
    assert leaks({"stderr": said.encode()}, "another one") == []


def _recorded(capture: Path) -> list[Record]:
    wait_for_sessions_to_end(capture)
    return list(jsonl.read(capture.read_bytes().splitlines(keepends=True)))


@needs("dovecot")
def test_the_capture_of_a_replay_is_the_capture(
    whole: Path, dovecot: Dovecot, tmp_path: Path
) -> None:
    with (
        replay(whole, tmp_path / "replay", "--no-timing") as (_process, port),
        Proxy(tmp_path / "proxy", port, "--jsonl", "log.jsonl") as proxy,
    ):
        account = _account(dovecot, tmp_path / "poplib", "anybody")
        _everything(replace(account, port=proxy.port))
        assert proxy.stop() == 0
    before, after = _recorded(whole), _recorded(proxy.home / "log.jsonl")
    assert _said(after) == _said(before)
    assert [_without_scram(data) for _at, data in reads(after)] == [
        _without_scram(data) for _at, data in reads(before)
    ]


def _without_scram(data: bytes) -> bytes:
    """Mechanisms that need the password are not in the list of a replay."""
    return b"\r\n".join(line for line in data.split(b"\r\n") if not line.startswith(b"SASL "))


def _said(records: list[Record]) -> list[bytes]:
    """What each side said, record by record, masked."""
    return [
        _without_scram(record.wire)
        for record in records
        if isinstance(record, WireRecord) and b"USER" not in record.wire
    ]


@needs("dovecot", "curl")
@pytest.mark.parametrize("security", ["tls", "stls"])
def test_tls_is_as_it_was(security: Security, dovecot: Dovecot, tmp_path: Path) -> None:
    authority = tmp_path / "authority"
    with proxy_between(tmp_path / "proxy", dovecot, security, "plain") as proxy:
        account = _account(dovecot, tmp_path / "first", dovecot.user(SOME[:1]))
        account = replace(
            account,
            host="localhost",
            port=proxy.port,
            security=security,
            ca_file=proxy.ca_file,
        )
        python_poplib(account)
        assert proxy.stop() == 0
    run("ca", "export", str(tmp_path / "ca.pem"), "--authority", str(authority), cwd=tmp_path)
    scheme = {"tls": "pop3s", "stls": "pop3"}[security]
    with replay(
        proxy.home / "out" / "log.jsonl",
        tmp_path / "replay",
        *("--once", "--authority", str(authority)),
        scheme=scheme,
    ) as (process, port):
        (tmp_path / "again").mkdir()
        account = replace(account, port=port, home=tmp_path / "again", ca_file=tmp_path / "ca.pem")
        fetched: Fetched = python_poplib(account)
        status = process.wait(PATIENCE)
    assert digests(fetched.messages) == digests(mail.content for mail in SOME[:1])
    assert status == 0, (tmp_path / "replay" / "stderr").read_text()


# As a client.


@needs("dovecot")
def test_as_client_dovecot_answers_as_it_did_until_a_mail_changes(
    dovecot: Dovecot, tmp_path: Path
) -> None:
    user = dovecot.user(SOME)
    with _proxy(tmp_path, dovecot) as proxy:
        account = _account(dovecot, tmp_path / "poplib", user)
        _everything(replace(account, port=proxy.port))
        assert proxy.stop() == 0
    capture = str(proxy.home / "log.jsonl")
    login = ("--login", user, "--password-file", str(private_file(tmp_path / "pw", PASSWORD)))

    def play(url: str, *more: str) -> subprocess.CompletedProcess[str]:
        options = ("--as", "client", "--upstream", url)
        return run("replay", capture, *options, *login, *more, cwd=tmp_path)

    ca = ("--upstream-ca", str(dovecot.ca_file))
    for url, more in (
        (f"pop3://{dovecot.host}:{dovecot.port}", ()),
        (f"pop3+stls://localhost:{dovecot.port}", ca),
        (f"pop3s://localhost:{dovecot.tls_port}", ca),
    ):
        same = play(url, "--all", *more)
        # Under TLS, Dovecot offers other capabilities.
        found = [line for line in same.stderr.splitlines() if line.startswith("warning: ")]
        assert same.returncode == bool(found)
        assert all(line.startswith("warning: CAPA: ") for line in found), same.stderr
        assert not found or more
    refused = play(f"pop3s://localhost:{dovecot.tls_port}")
    assert refused.returncode == 4, refused.stderr
    (changed,) = dovecot.files(user, "eight-bit-text")
    changed.write_bytes(changed.read_bytes().replace(b"high octets", b"HIGH octets"))
    other = play(f"pop3://{dovecot.host}:{dovecot.port}")
    assert other.returncode == 1
    assert other.stderr.startswith("warning: RETR 2: line ")
    assert dovecot.left(user) == len(SOME)
    assert leaks({"stderr": (same.stderr + other.stderr + refused.stderr).encode()}) == []
