"""`popproxy run`, `serve` and `demo` as processes: signals, exit statuses, pipes, terminals."""

from __future__ import annotations

import contextlib
import json
import os
import poplib
import pty
import pwd
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.proxy import Proxy, command, records
from tests.support.root import only_root
from tests.support.running import (
    AS_ROOT,
    LISTENING,
    NOWHERE,
    answering,
    connected,
    run,
    started,
)
from tests.support.waiting import PATIENCE, until


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of a server."""
    with answering() as port:
        yield port


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_p63_a_signal_ends_a_run_with_status_0(
    number: signal.Signals, upstream: int, tmp_path: Path
) -> None:
    with Proxy(tmp_path / "home", upstream) as proxy:
        assert proxy.stop(number) == 0
        assert b"stopping" in proxy.stderr


def test_p63_a_first_signal_waits_for_sessions_and_a_second_ends_them(
    upstream: int, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    with Proxy(tmp_path / "home", upstream, "--jsonl", log) as proxy:
        with connected(proxy.port) as client:
            proxy.process.send_signal(signal.SIGTERM)
            until(lambda: b"stopping" in proxy.stderr, "the first signal's effect")
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)
            client.sendall(b"NOOP\r\n")
            assert client.recv(100) == b"+OK\r\n", "the session is still under way"
            proxy.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""
        assert proxy.process.wait(PATIENCE) == 0
    last = records(log)[-1]
    assert last["event"]["action"] == "session.end"


def test_a_hangup_reopens_files_and_ends_nothing(upstream: int, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Proxy(tmp_path / "home", upstream, "--jsonl", log) as proxy:
        connected(proxy.port).close()
        until(lambda: log.exists() and b"session.end" in log.read_bytes(), "the session's end")
        log.rename(tmp_path / "log.1")
        proxy.process.send_signal(signal.SIGHUP)
        connected(proxy.port).close()
        until(lambda: log.exists() and b"session.end" in log.read_bytes(), "the next session")
        assert proxy.stop() == 0


# Exit statuses


def test_a_port_in_use_is_status_3(upstream: int, tmp_path: Path) -> None:
    listen = f"pop3://127.0.0.1:{upstream}"
    result = run("run", *AS_ROOT, "--listen", listen, "--upstream", NOWHERE, cwd=tmp_path)
    assert result.returncode == 3
    assert "the port is in use" in result.stderr
    assert "port 0" in result.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--upstream", "pop.example.org"], "write pop3://pop.example.org"),
        (["--upstream", "pop3s://pop.example.org", "--cert", "gone.pem"], "no file gone.pem"),
        (["--upstream", "pop3s://pop.example.org", "--pin", "sha1:0"], "that is SHA-1"),
        (["--upstream", NOWHERE, "--tls-keys", "keys"], "write keys.SECRET"),
        (["--upstream", NOWHERE, "--tls-keys", "gone/x.SECRET"], "cannot be written: No such"),
        (["--upstream", NOWHERE, "--stls", "hide", "--pin", f"sha256:{'0' * 64}"], "pop3s://127"),
        (["--upstream", NOWHERE, "--listen", NOWHERE], "a loop"),
        (["--upstream", NOWHERE, "--jsonl", "."], "names a directory"),
        (["--upstream", NOWHERE, "--text", "/proc/nowhere/x"], "cannot be used for log files"),
        (["--upstream", NOWHERE, "--listen", "pop3://192.0.2.1"], "--allow"),
        (["--upstream", NOWHERE, "--user", "nobody-here"], "no user"),
    ],
)
def test_mistakes_are_status_2_and_say_what_to_do(
    argv: Sequence[str], said: str, tmp_path: Path
) -> None:
    user = () if "--user" in argv else AS_ROOT
    result = run("run", *user, *argv, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@only_root
def test_p70_root_is_refused_without_user(tmp_path: Path) -> None:
    result = run("run", "--upstream", NOWHERE, cwd=tmp_path)
    assert result.returncode == 2
    assert "--user root" in result.stderr


@only_root
def test_p70_root_becomes_the_user_and_files_are_that_users(upstream: int) -> None:
    # pytest's own folders are closed to others, and this one has to be nobody's.
    nobody = pwd.getpwnam("nobody")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="popproxy-test-")))
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        argv = ("--user", "nobody", "--listen", "pop3://127.0.0.1:0", "--jsonl", "logs/x.jsonl")
        server = f"pop3://127.0.0.1:{upstream}"
        process, port = stack.enter_context(started("run", *argv, "--upstream", server, cwd=folder))
        connected(port).close()
        log = folder / "logs" / "x.jsonl"
        until(lambda: log.exists() and b"session.end" in log.read_bytes(), "the session's end")
        assert log.stat().st_uid == log.parent.stat().st_uid == nobody.pw_uid
        status = Path(f"/proc/{process.pid}/status").read_text()
        uids = re.search(r"^Uid:\s+(.*)$", status, re.MULTILINE)
        assert uids
        assert set(uids[1].split()) == {str(nobody.pw_uid)}
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)


def test_p14_a_run_leaves_no_core(upstream: int, tmp_path: Path) -> None:
    with Proxy(tmp_path / "home", upstream) as proxy:
        limits = Path(f"/proc/{proxy.process.pid}/limits").read_text()
        assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.MULTILINE)


# What is said, and where


def test_p71_the_start_says_that_mail_is_recorded_and_how_it_is_masked(
    upstream: int, tmp_path: Path
) -> None:
    options = ("--body", "headers", "--mask-users")
    with Proxy(tmp_path / "home", upstream, *options) as proxy:
        said = proxy.stderr.decode()
        assert "mail is being recorded: of messages only the headers are recorded" in said
        assert "********" in said
        assert "pseudonyms" in said
        assert "\x1b" not in said
        sentence = said.partition("mail is being recorded: ")[2].partition("\n")[0]
        connected(proxy.port).close()
        until(lambda: sentence in " ".join(proxy.stdout.decode().split()), "the session's notice")


def test_the_listening_line_in_json_has_the_url(upstream: int, tmp_path: Path) -> None:
    argv = ("--log-format", "json", "--listen", "pop3://127.0.0.1:0")
    server = f"pop3://127.0.0.1:{upstream}"
    with started("run", *AS_ROOT, *argv, "--upstream", server, cwd=tmp_path / "x") as (_, port):
        lines = (tmp_path / "x" / "stderr").read_text().splitlines()
        said = [json.loads(line) for line in lines]
    (listening,) = [line for line in said if line["event"] == "listening"]
    assert listening["url"] == f"pop3://127.0.0.1:{port}"


def test_two_routes_listen_at_once(upstream: int, tmp_path: Path) -> None:
    other = ("--listen", "pop3://127.0.0.1:0", "--upstream", f"pop3://127.0.0.1:{upstream}")
    with Proxy(tmp_path / "home", upstream, *other) as proxy:
        ports = until(
            lambda: len(found := LISTENING.findall(proxy.stderr)) == 2 and found, "two listeners"
        )
        for port in ports or []:
            connected(int(port)).close()


def test_piped_the_transcript_is_plain_text_and_files_keep_it_from_standard_output(
    upstream: int, tmp_path: Path
) -> None:
    with Proxy(tmp_path / "plain", upstream) as proxy:
        connected(proxy.port).close()
        until(lambda: b"session.end" in proxy.stdout, "the transcript")
        assert b"S: +OK ready" in proxy.stdout
        assert b"\x1b" not in proxy.stdout
    log = tmp_path / "log.txt"
    with Proxy(tmp_path / "file", upstream, "--text", log) as proxy:
        connected(proxy.port).close()
        until(lambda: log.exists() and b"session.end" in log.read_bytes(), "the file")
        assert proxy.stop() == 0
        assert proxy.stdout == b""


def test_p63_a_reader_that_goes_away_ends_no_session(upstream: int, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with Proxy(tmp_path / "home", upstream, stdout=writing) as proxy:
        os.close(writing)
        os.close(reading)
        for _ in range(2):
            connected(proxy.port).close()
        assert proxy.stop() == 0
        assert b"Traceback" not in proxy.stderr


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: what a person would see comes out of the first descriptor."""
    person, program = pty.openpty()
    os.set_blocking(person, False)
    try:
        yield person, program
    finally:
        os.close(person)
        os.close(program)


def seen(person: int) -> bytes:
    with contextlib.suppress(BlockingIOError, OSError):
        return os.read(person, 65536)
    return b""


def test_on_a_terminal_sessions_are_shown_also_when_files_are_written(
    upstream: int, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    with (
        terminal() as (person, program),
        started(
            *("run", *AS_ROOT, "--listen", "pop3://127.0.0.1:0", "--jsonl", str(log)),
            *("--upstream", f"pop3://127.0.0.1:{upstream}"),
            cwd=tmp_path / "x",
            stdout=program,
            TERM="xterm",
        ) as (_, port),
    ):
        connected(port).close()
        shown = bytearray()

        def session_is_shown() -> bool:
            shown.extend(seen(person))
            return b"+OK ready" in shown

        until(session_is_shown, "the session")
        assert b"\x1b[" in shown
        assert b"session.start" in log.read_bytes()


def test_a_run_ends_when_its_terminal_is_gone(upstream: int, tmp_path: Path) -> None:
    with (
        terminal() as (_, program),
        started(
            *("run", *AS_ROOT, "--listen", "pop3://127.0.0.1:0"),
            *("--upstream", f"pop3://127.0.0.1:{upstream}"),
            cwd=tmp_path / "x",
            stdout=program,
            TERM="xterm",
        ) as (process, _),
    ):
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE) == 0


def test_quiet_shows_nothing_on_the_terminal_and_writes_files_all_the_same(
    upstream: int, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    with (
        terminal() as (person, program),
        started(
            *("run", *AS_ROOT, "--listen", "pop3://127.0.0.1:0", "--quiet", "--jsonl", str(log)),
            *("--upstream", f"pop3://127.0.0.1:{upstream}"),
            cwd=tmp_path / "x",
            stdout=program,
            TERM="xterm",
        ) as (process, port),
    ):
        connected(port).close()
        until(lambda: log.exists() and b"session.end" in log.read_bytes(), "the file")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert seen(person) == b""
        said = (tmp_path / "x" / "stderr").read_text()
        assert "recorded" not in said


# demo and serve


def test_the_demo_shows_the_session_and_leaves_its_logs(tmp_path: Path) -> None:
    result = run("demo", "--keep", "logs", cwd=tmp_path)
    assert result.returncode == 0
    commands = re.findall(r"^\d.* C: (.*)", result.stdout, re.MULTILINE)
    assert commands == [
        "user mail@example.com",
        "pass ********",
        *("stat", "list", "retr 1", "retr 2", "dele 1", "dele 2", "quit"),
    ]
    assert "\x1b" not in result.stdout + result.stderr
    (putty,) = (tmp_path / "logs").glob("*.log")
    assert str(putty.relative_to(tmp_path)) in result.stderr
    assert putty.read_bytes().startswith(b"=~=~=~=~=~=~=~=~=~=~=~= PuTTY log ")
    last = records(tmp_path / "logs" / "demo.jsonl")[-1]
    assert last["summary"]["deletions_committed"] == 2
    for path in (tmp_path / "logs").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_demo_makes_a_folder_of_its_own(tmp_path: Path) -> None:
    result = run("demo", "--quiet", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert result.returncode == 0
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("popproxy-demo-")
    assert {path.suffix for path in folder.iterdir()} == {".log", ".jsonl"}
    assert result.stdout == ""


def test_a_demo_that_cannot_write_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("demo", "--keep", "file", cwd=tmp_path)
    assert result.returncode == 2
    assert "not a folder" in result.stderr


def test_the_demo_serves_until_ctrl_c(tmp_path: Path) -> None:
    with started("demo", "--serve", "--keep", "logs", cwd=tmp_path) as (process, port):
        said = (tmp_path / "stderr").read_text()
        assert f"telnet 127.0.0.1 {port}" in said
        found = re.search(r"curl -u (\S+):(\S+) (\S+)\n", said)
        assert found
        user, password, _ = found.groups()
        client = poplib.POP3("127.0.0.1", port, timeout=PATIENCE)
        client.user(user)
        client.pass_(password)
        assert client.stat()[0] == 2
        client.quit()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert password not in (tmp_path / "stdout").read_text()


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_serve_serves_a_maildrop(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "drop"
    if kind == "maildir":
        for name in ("new", "cur", "tmp"):
            (path / name).mkdir(parents=True)
        (path / "new" / "1.x").write_text("Subject: one\n\nhello\n")
    else:
        path.write_text("From x@example.org Sat Oct 29 22:37:46 2011\nSubject: one\n\nhello\n")
    (tmp_path / "password").write_text("thimble\n")
    login = ("--login", "wren", "--password-file", "password", "--listen", "pop3://127.0.0.1:0")
    with started("serve", f"--{kind}", str(path), *login, cwd=tmp_path) as (process, port):
        client = poplib.POP3("127.0.0.1", port, timeout=PATIENCE)
        client.user("wren")
        client.pass_("thimble")
        assert client.retr(1)[1][0] == b"Subject: one"
        client.quit()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert "thimble" not in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        ([], 2, "either --maildir or --mbox"),
        (["--maildir", "a", "--mbox", "b"], 2, "either --maildir or --mbox"),
        (["--maildir", "gone"], 2, "no Maildir"),
        (["--mbox", "box", "--listen", "pop3://192.0.2.1"], 2, "other machines"),
        (["--mbox", "box", "--listen", "pop3s://127.0.0.1"], 2, "TLS"),
        (["--mbox", "box", "--listen", "what"], 2, "write"),
        (["--mbox", "box", "--password-file", "gone"], 2, "cannot read gone"),
        (["--mbox", "box", "--password-file", "-"], 2, "password is empty"),
    ],
)
def test_what_serve_refuses(argv: Sequence[str], status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "box").touch()
    result = run("serve", *argv, cwd=tmp_path)
    assert result.returncode == status
    assert said in result.stderr


def test_serve_on_a_port_in_use_is_status_3(upstream: int, tmp_path: Path) -> None:
    (tmp_path / "box").touch()
    listen = f"pop3://127.0.0.1:{upstream}"
    result = run("serve", "--mbox", "box", "--listen", listen, cwd=tmp_path)
    assert result.returncode == 3
    assert "in use" in result.stderr


# The command itself


def test_a_reader_of_help_that_goes_away_is_no_mistake(tmp_path: Path) -> None:
    script = f"{command()} help findings | true; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert result.stdout == "0\n"
    assert result.stderr == ""


def test_p23_closed_standard_streams_never_become_sockets(upstream: int, tmp_path: Path) -> None:
    with Proxy(
        tmp_path / "home", upstream, prefix=("bash", "-c", 'exec "$@" 0<&- 1>&-', "-")
    ) as proxy:
        with connected(proxy.port) as client:
            client.sendall(b"NOOP\r\n")
            assert client.recv(100) == b"+OK\r\n"
        assert proxy.stop() == 0
    result = subprocess.run(["bash", "-c", f"{command()} help 1>&- 2>&-"], check=True)
    assert result.returncode == 0


def test_a_full_disk_under_standard_output_is_told(tmp_path: Path) -> None:
    script = f"{command()} schema > /dev/full"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(
        "popproxy: the output could not be written: No space left on device\n  Make room"
    )
    assert "Traceback" not in result.stderr


def test_the_module_is_the_command(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "popproxy", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("popproxy ")
