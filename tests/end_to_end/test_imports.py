"""What real programs log of a session is read as the session that popproxy saw pass."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from popproxy.formats import jsonl
from popproxy.records import CommandRecord, GapRecord, Record, ResponseRecord, SessionStart
from popproxy.tools import captures
from tests.support.clients import Account, private_file
from tests.support.dovecot import Dovecot
from tests.support.leaks import PASSWORD, leaks
from tests.support.mails import MAILS
from tests.support.ports import free_ports
from tests.support.programs import needs
from tests.support.proxy import Proxy, wait_for_sessions_to_end
from tests.support.recording import of
from tests.support.root import only_root
from tests.support.thunderbird import Thunderbird
from tests.support.waiting import until

Run = Callable[[str, int, Path], bytes]


def _run(home: Path, *command: str) -> bytes:
    env = {**os.environ, "HOME": str(home), "LC_ALL": "C"}
    done = subprocess.run(
        command,
        cwd=home,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.stdout


def curl_verbose(user: str, port: int, home: Path) -> bytes:
    url = f"pop3://127.0.0.1:{port}/1"
    return _run(home, "curl", "-v", "-o", "mail", "--user", f"{user}:{PASSWORD}", url)


def _traced(option: str) -> Run:
    def run(user: str, port: int, home: Path) -> bytes:
        url = f"pop3://127.0.0.1:{port}/"
        _run(home, "curl", "-s", option, "trace", "--user", f"{user}:{PASSWORD}", url)
        return (home / "trace").read_bytes()

    return run


def fetchmail(user: str, port: int, home: Path) -> bytes:
    poll = f'poll 127.0.0.1 port {port} proto pop3 user "{user}" password "{PASSWORD}" keep'
    private_file(home / "rc", f"{poll} sslproto '' mda \"cat >>mails\"\n")
    return _run(home, "fetchmail", "-f", "rc", "-vv", "--nodetach", "--nosyslog", "-a")


def poplib(user: str, port: int, home: Path) -> bytes:
    script = (
        "import poplib, sys; p = poplib.POP3('127.0.0.1', int(sys.argv[1])); p.set_debuglevel(2);"
        " p.user(sys.argv[2]); p.pass_(sys.argv[3]); p.stat(); p.list(); p.uidl(); p.retr(1);"
        " p.top(1, 2); p.quit()"
    )
    return _run(home, sys.executable, "-c", script, str(port), user, PASSWORD)


PROGRAMS: dict[str, tuple[str, Run]] = {
    "curl": ("curl", curl_verbose),
    "curl-trace": ("curl-trace", _traced("--trace")),
    "curl-trace-ascii": ("curl-trace", _traced("--trace-ascii")),
    "fetchmail": ("fetchmail", fetchmail),
    "poplib": ("poplib", poplib),
}


def _conversation(records: list[Record]) -> list[tuple[str, str | None, str]]:
    """Commands with what answered them: keyword, arguments, status."""
    return [
        (record.pop3.command or "", record.pop3.arguments, record.pop3.status)
        for record in of(records, ResponseRecord)
    ]


@needs("dovecot", "curl", "fetchmail")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_log_tells_what_popproxy_saw(name: str, dovecot: Dovecot, tmp_path: Path) -> None:
    kind, run = PROGRAMS[name]
    user = dovecot.user(MAILS[:3])
    home = tmp_path / "home"
    home.mkdir()
    capture = tmp_path / "proxy" / "log.jsonl"
    with Proxy(tmp_path / "proxy", dovecot.port, "--jsonl", "log.jsonl") as proxy:
        log = run(user, proxy.port, home)
        wait_for_sessions_to_end(capture)
        assert proxy.stop() == 0
    with capture.open("rb") as file:
        seen = list(jsonl.read(file))
    path = tmp_path / "log"
    path.write_bytes(log)
    assert captures.recognise(log) == kind
    imported = list(captures.read(str(path)))
    assert not leaks({"records": b"".join(map(jsonl.encode, imported))})
    told, true = _conversation(imported), _conversation(seen)
    if name.startswith("curl"):
        true = [one for one in true if one[0] != "QUIT"]  # curl does not log how it leaves
        told = [one for one in told if one[0] != "QUIT"]
    assert told == true
    commands = [record.pop3.command for record in of(imported, CommandRecord)]
    assert len(commands) >= 3
    if name == "poplib":
        messages = [
            (record.pop3.message.octets, record.pop3.message.sha256)
            for records in (imported, seen)
            for record in of(records, ResponseRecord)
            if record.pop3.message
        ]
        half = len(messages) // 2
        assert messages[:half] == messages[half:] != []
    else:
        assert any("not what follows" in gap.gap.reason for gap in of(imported, GapRecord))


@needs("dovecot", "openssl")
def test_s_client_tells_the_servers_side(dovecot: Dovecot, tmp_path: Path) -> None:
    user = dovecot.user(MAILS[:1])
    with Proxy(tmp_path / "proxy", dovecot.port, "--jsonl", "x.jsonl", listen="pop3s") as proxy:
        typed = f"USER {user}\nPASS {PASSWORD}\nSTAT\nQUIT\n"
        done = subprocess.run(
            ["openssl", "s_client", "-crlf", "-ign_eof", "-connect", f"127.0.0.1:{proxy.port}"],
            input=typed.encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert proxy.stop() == 0
    path = tmp_path / "log"
    path.write_bytes(done.stdout)
    assert captures.recognise(done.stdout) == "s_client"
    told = b"".join(record.wire for record in of(list(captures.read(str(path))), ResponseRecord))
    assert told.count(b"+OK") >= 3


def _compared(path: Path, kind: str, capture: Path) -> tuple[list[Record], list[Record]]:
    """Read a log and what popproxy recorded of the same sessions."""
    with path.open("rb") as file:
        assert captures.recognise(file.read(64 * 1024)) == kind
    with capture.open("rb") as file:
        seen = list(jsonl.read(file))
    imported = list(captures.read(str(path)))
    assert not leaks({"records": b"".join(map(jsonl.encode, imported))})
    return imported, seen


def _messages(records: list[Record]) -> list[tuple[int, str]]:
    told = (record.pop3.message for record in of(records, ResponseRecord))
    return [(message.octets, message.sha256) for message in told if message is not None]


@needs("dovecot")
def test_dovecots_rawlog_tells_what_popproxy_saw_behind_the_login(
    dovecot: Dovecot, tmp_path: Path
) -> None:
    user = dovecot.user(MAILS[:3])
    folder = dovecot.rawlog(user)
    capture = tmp_path / "proxy" / "log.jsonl"
    with Proxy(tmp_path / "proxy", dovecot.port, "--jsonl", "log.jsonl") as proxy:
        poplib(user, proxy.port, tmp_path)
        wait_for_sessions_to_end(capture)
        assert proxy.stop() == 0
    (inside,) = folder.glob("*.in")
    imported, seen = _compared(inside, "rawlog", capture)
    told = [one for one in _conversation(imported) if one[0]]
    assert told == _conversation(seen)[-len(told) :]
    assert len(told) >= 6
    assert _messages(imported) == _messages(seen) != []
    # Either of the two files will do.
    other = list(captures.read(str(inside.with_suffix(".out"))))
    assert _conversation(other) == _conversation(imported)


@needs("dovecot", "thunderbird")
def test_thunderbirds_log_tells_what_popproxy_saw(
    dovecot: Dovecot, thunderbird: Thunderbird, tmp_path: Path
) -> None:
    user = dovecot.user(MAILS[:3])
    capture = tmp_path / "proxy" / "log.jsonl"
    before = len(thunderbird.log)
    with Proxy(tmp_path / "proxy", dovecot.port, "--jsonl", "log.jsonl") as proxy:
        account = Account(host=proxy.host, port=proxy.port, user=user, home=tmp_path)
        assert len(thunderbird.fetch(account).messages) == 3
        wait_for_sessions_to_end(capture)
        assert proxy.stop() == 0
    path = tmp_path / "log"
    path.write_bytes(thunderbird.log[before:])
    imported, seen = _compared(path, "thunderbird", capture)
    told, true = (
        [one for one in _conversation(records) if one[0] != "QUIT"] for records in (imported, seen)
    )
    assert told == true
    assert _messages(imported) == _messages(seen)
    assert len(_messages(imported)) == 3


def _listens(port: int) -> bool:
    """Tell whether somebody listens there, without a connection."""
    table = Path("/proc/net/tcp").read_text()
    return re.search(rf":{port:04X} [0-9A-F]{{8}}:0000 0A ", table) is not None


@needs("dovecot", "sslsplit")
def test_sslsplits_log_tells_what_popproxy_saw(dovecot: Dovecot, tmp_path: Path) -> None:
    user = dovecot.user(MAILS[:3])
    capture, log = tmp_path / "proxy" / "log.jsonl", tmp_path / "content.log"
    (port,) = free_ports(1)
    said = b""
    with Proxy(tmp_path / "proxy", dovecot.port, "--jsonl", "log.jsonl") as proxy:
        where = ("127.0.0.1", str(port), "127.0.0.1", str(proxy.port))
        for _ in range(40):  # sslsplit 0.5.5 ends if a server greets before it is ready itself
            log.unlink(missing_ok=True)
            sslsplit = subprocess.Popen(
                ["sslsplit", "-L", str(log), "tcp", *where],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                until(lambda: _listens(port), "sslsplit")
                said = poplib(user, port, tmp_path)
                if b"Logging out" in said:
                    until(lambda: b"Logging out" in log.read_bytes(), "the end in the log")
                    break
            finally:
                os.killpg(sslsplit.pid, signal.SIGKILL)  # it is two processes
                sslsplit.wait()
        assert b"Logging out" in said
        assert proxy.stop() == 0
    imported, seen = _compared(log, "sslsplit", capture)
    last = seen[-1].session.id
    seen = [record for record in seen if record.session.id == last]
    assert _conversation(imported) == _conversation(seen)
    assert _messages(imported) == _messages(seen) != []


@only_root  # nobody else may listen to a network
@needs("dovecot", "tcpdump")
def test_tcpdumps_capture_tells_what_popproxy_saw(dovecot: Dovecot, tmp_path: Path) -> None:
    user = dovecot.user(MAILS[:3])
    capture, log = tmp_path / "proxy" / "log.jsonl", tmp_path / "dump.pcap"
    with Proxy(tmp_path / "proxy", dovecot.port, "--jsonl", "log.jsonl") as proxy:
        with subprocess.Popen(
            ["tcpdump", "-U", "-i", "lo", "-Z", "root", "-w", str(log), f"port {proxy.port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as tcpdump:
            assert tcpdump.stderr is not None
            tcpdump.stderr.readline()  # it says that it listens
            poplib(user, proxy.port, tmp_path)
            wait_for_sessions_to_end(capture)
            until(lambda: b"Logging out" in log.read_bytes(), "the session's end in the capture")
            tcpdump.terminate()
        assert proxy.stop() == 0
    imported, seen = _compared(log, "pcap", capture)
    assert _conversation(imported) == _conversation(seen)
    assert _messages(imported) == _messages(seen) != []
    assert len(of(imported, SessionStart)) == 1
