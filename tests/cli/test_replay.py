"""`popproxy replay` as its users start it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec import structs

from popproxy.cli.main import main
from popproxy.formats import jsonl
from popproxy.peers.script import parse
from popproxy.privacy.maker import Maker
from popproxy.records import LegName, Record, SessionPart, TlsPart
from popproxy.tools.replay_server import Stage, Tally
from tests.support.proxy import command
from tests.support.recording import STARTED
from tests.support.replaying import captured
from tests.support.running import run, started
from tests.support.waiting import PATIENCE, until

SAMPLES = Path(__file__).parents[2] / "samples"
SAMPLE = SAMPLES / "session.jsonl"
AS_CLIENT = (str(SAMPLE), "--as", "client")
COMMANDS = (*("USER bo", "PASS x", "STAT", "LIST", "RETR 1", "RETR 2", "DELE 1", "DELE 2", "QUIT"),)


def talk(port: int, *commands: str) -> bytes:
    """Say commands one by one, and give all that was answered."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        heard = client.recv(65536)
        for one in commands:
            client.sendall(f"{one}\r\n".encode())
            multi = one.split()[0] in ("RETR", "LIST")
            answer = b""
            while not answer.endswith(b"\r\n.\r\n" if multi else b"\n"):
                piece = client.recv(65536)
                if not piece:
                    break
                answer += piece
            heard += answer
    return heard


def test_a_client_that_says_the_same_ends_it_with_0(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started("replay", str(SAMPLE), "--once", "--listen", "pop3://127.0.0.1:0", cwd=home) as (
        process,
        port,
    ):
        heard = talk(port, *COMMANDS)
        assert process.wait(PATIENCE) == 0
    recorded = (SAMPLES / "session.all.log").read_bytes()
    assert all(line in recorded for line in heard.splitlines())
    said = (home / "stderr").read_text()
    assert "replaying session 1 (" in said
    assert "any user name with any password is let in" in said
    assert "connection 1: 9 commands, as recorded; it ended as recorded" in said


def test_a_client_that_departs_ends_it_with_1(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started("replay", str(SAMPLE), "--once", "--listen", "pop3://127.0.0.1:0", cwd=home) as (
        process,
        port,
    ):
        talk(port, "USER x", "PASS canary-of-mine", "RETR 2", "canary-of-mine", "QUIT")
        assert process.wait(PATIENCE) == 1
    said = (home / "stderr").read_text()
    assert "warning: connection 1: command 3: RETR 2 came before STAT, LIST, RETR 1" in said
    assert "connection 1: 5 commands, 3 departures from the recording" in said
    assert "canary" not in said


def test_lenient_takes_any_order(tmp_path: Path) -> None:
    options = ("--once", "--match", "lenient", "--listen", "pop3://127.0.0.1:0")
    with started("replay", str(SAMPLE), *options, cwd=tmp_path / "home") as (process, port):
        heard = talk(port, "USER x", "PASS y", "RETR 2", "LIST", "RETR 1", "QUIT")
        assert process.wait(PATIENCE) == 0
    assert heard.count(b"\r\n.\r\n") == 3


def test_a_log_of_another_program_is_replayed_too(tmp_path: Path) -> None:
    log = str(SAMPLES / "session.all.log")
    options = ("--once", "--no-timing", "--listen", "pop3://127.0.0.1:0")
    with started("replay", log, *options, cwd=tmp_path / "home") as (process, port):
        heard = talk(port, *COMMANDS)
        assert process.wait(PATIENCE) == 0
    assert all(line in Path(log).read_bytes() for line in heard.splitlines())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(number: int, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started("replay", str(SAMPLE), "--listen", "pop3://127.0.0.1:0", cwd=home) as (
        process,
        port,
    ):
        talk(port, *COMMANDS)
        talk(port, "QUIT")
        until(lambda: (home / "stderr").read_text().count("connection 2: "), "the second session")
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    assert "2 connections, 1 of them departed from the recording" in (home / "stderr").read_text()


def test_a_second_signal_ends_sessions_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        started("replay", str(SAMPLE), "--listen", "pop3://127.0.0.1:0", cwd=home) as (
            process,
            port,
        ),
        socket.create_connection(("127.0.0.1", port), PATIENCE) as client,
    ):
        client.recv(100)
        process.send_signal(signal.SIGINT)
        until(lambda: "stopping" in (home / "stderr").read_text(), "the first signal")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_json_messages(tmp_path: Path) -> None:
    home = tmp_path / "home"
    options = ("--once", "--log-format", "json", "--listen", "pop3://127.0.0.1:0")
    home.mkdir()
    with subprocess.Popen(
        [command(), "replay", str(SAMPLE), *options],
        cwd=home,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(json.loads(line))
            if told[-1]["event"] == "listening":
                talk(int(told[-1]["url"].rpartition(":")[2]), "QUIT")
        assert process.wait(PATIENCE) == 1
    assert [one["event"] for one in told] == [
        *("replaying", "accounts", "listening", "departure", "session_ended"),
    ]


def test_several_sessions_are_listed_to_choose_from(tmp_path: Path) -> None:
    ended = run("replay", str(SAMPLES / "oddities.jsonl"), cwd=tmp_path)
    assert ended.returncode == 2
    assert "oddities.jsonl holds 7 such sessions, and one is replayed at a time" in ended.stderr
    assert "  7  20261122t140211-sam0007  2026-11-22 14:02:11  ada  4 commands" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["missing.jsonl"], 1, "cannot be read: No such file"),
        (["."], 1, "this is a directory"),
        (["empty"], 1, "this file is empty"),
        (["junk"], 1, "this is no capture that popproxy knows"),
        ([str(SAMPLE), "--session", "9"], 2, "holds no session that is meant"),
        ([str(SAMPLE), "--split", "evry"], 2, "--split: expected every, terminator, none"),
        ([str(SAMPLE), "--listen", "pop3://192.0.2.1:1110"], 2, "none is allowed"),
        ([str(SAMPLE), "--listen", "imap://127.0.0.1"], 2, "imap:// is not one of pop3://"),
        ([str(SAMPLE), "--listen", "pop3s://127.0.0.1:0", "--tls", "none"], 2, "means TLS"),
        ([str(SAMPLE), "--speed", "0"], 2, "0.0 is not in the range"),
        ([str(SAMPLE), "--key", "k.pem"], 2, "a key without its certificate"),
        ([str(SAMPLE), "--as", "client"], 2, "needs a server to play to"),
        ([str(SAMPLE), "--upstream", "pop3://h"], 2, "--upstream is for --as client only"),
        ([str(SAMPLE), "--insecure"], 2, "--insecure is for --as client only"),
        ([*AS_CLIENT, "--upstream", "pop3://127.0.0.1:9"], 2, "nobody can be asked for user name"),
        ([*AS_CLIENT, "--upstream", "pop3://127.0.0.1:9", "--once"], 2, "for --as server only"),
        ([*AS_CLIENT, "--upstream", "pop3://a:b@127.0.0.1"], 2, "holds a user name or a password"),
        ([*AS_CLIENT, "--upstream", "pop3://127.0.0.1:9", "--insecure"], 2, "never speaks TLS"),
    ],
)
def test_what_cannot_work_is_told(
    arguments: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "junk").write_bytes(bytes(range(256)) * 8)
    assert main(["replay", *arguments], {"HOME": str(tmp_path)}) == status
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_a_port_that_is_taken_is_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"pop3://127.0.0.1:{taken.getsockname()[1]}"
        ended = run("replay", str(SAMPLE), "--listen", listen, cwd=tmp_path)
    assert ended.returncode == 3
    assert "the port is in use" in ended.stderr


def test_a_torn_capture_is_replayed_as_far_as_it_goes(tmp_path: Path) -> None:
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(SAMPLE.read_bytes()[:-700])
    with started("replay", str(torn), "--listen", "pop3://127.0.0.1:0", cwd=tmp_path / "home") as (
        _process,
        port,
    ):
        assert talk(port, "USER x").startswith(b"+OK server ready\r\n+OK")


def test_as_client_it_tells_what_a_server_answers_otherwise(tmp_path: Path) -> None:
    for folder in ("new", "cur", "tmp"):
        (tmp_path / "Maildir" / folder).mkdir(parents=True)
    (tmp_path / "Maildir" / "new" / "1.a.b").write_text("Subject: another\n\nmail\n")
    (tmp_path / "password").write_text("canary-of-mine\n")
    login = ("--login", "ada", "--password-file", str(tmp_path / "password"))
    home = tmp_path / "home"
    with started(
        *("serve", "--maildir", str(tmp_path / "Maildir"), "--listen", "pop3://127.0.0.1:0"),
        *login,
        cwd=home,
    ) as (_process, port):
        upstream = ("--upstream", f"pop3://127.0.0.1:{port}")
        first = run("replay", *AS_CLIENT, *upstream, *login, cwd=tmp_path)
        every = run("replay", *AS_CLIENT, *upstream, *login, "--all", cwd=tmp_path)
        (tmp_path / "password").write_text("wrong\n")
        wrong = run("replay", *AS_CLIENT, *upstream, *login, cwd=tmp_path)
    assert first.returncode == every.returncode == 1
    assert first.stderr.splitlines()[0].startswith('warning: STAT: recorded "+OK 2 ')
    assert first.stderr.endswith("stopped at the first difference from the recording\n")
    assert 'warning: RETR 2: recorded "+OK", got "-ERR"' in every.stderr
    assert "not sent: DELE 1, DELE 2" in every.stderr
    assert wrong.returncode == 4
    assert "the server refuses the login" in wrong.stderr
    assert "canary" not in first.stderr + every.stderr + wrong.stderr
    assert list((tmp_path / "Maildir").rglob("1.a.b*"))


# What becomes of options and recording.


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """Run the verb up to where it would listen, and give what it would do."""

    def run_up_to(records: Sequence[Record], *options: str) -> Stage:
        found: list[Stage] = []

        def keep(_function: object, stage: Stage, _diagnostics: object) -> tuple[Tally, None]:
            found.append(stage)
            return Tally(), None

        monkeypatch.setattr("popproxy.cli.replay.trio.run", keep)
        capture = tmp_path / "capture.jsonl"
        capture.write_bytes(b"".join(map(jsonl.encode, records)))
        assert main(["replay", str(capture), *options], {"HOME": str(tmp_path)}) == 0
        return found[0]

    return run_up_to


def under_tls(*versions: str, stls: bool = False) -> list[Record]:
    """A session whose legs have these versions of TLS: the client's, the server's."""
    records = captured(parse("S: +OK\nC: STLS\nS: +OK\nC: QUIT\nS: +OK\nS! eof\n"))
    made = Maker("s1", STARTED, 0)
    legs: tuple[LegName, ...] = ("client", "upstream")
    started = [
        made.tls_start(0, TlsPart(leg=leg, version=version))
        for leg, version in zip(legs, versions, strict=False)
    ]
    place = 4 if stls else 1
    if not stls:
        records = [one for one in records if "STLS" not in str(getattr(one, "pop3", ""))]
    whole = [*records[:place], *started, *records[place:]]
    return [
        structs.replace(record, session=SessionPart(id="s1", seq=seq))
        for seq, record in enumerate(whole, 1)
    ]


PLAIN = captured(parse("S: +OK\nC: QUIT\nS: +OK\nS! eof\n"))
OFFERED = captured(parse("S: +OK\nC: CAPA\nS: +OK\nS+ STLS\nS+ .\nC: QUIT\nS: +OK\nS! eof\n"))


@pytest.mark.parametrize(
    ("records", "options", "listen", "tls"),
    [
        (PLAIN, (), "pop3://127.0.0.1:1110", "never"),
        (OFFERED, (), "pop3://127.0.0.1:1110", "stls"),
        (OFFERED, ("--tls", "none"), "pop3://127.0.0.1:1110", "never"),
        (under_tls("TLSv1.3", stls=True), (), "pop3://127.0.0.1:1110", "stls"),
        (under_tls("TLSv1.3"), (), "pop3s://127.0.0.1:1995", "start"),
        (under_tls("TLSv1.3"), ("--tls", "none"), "pop3://127.0.0.1:1110", "never"),
        (under_tls("TLSv1.3"), ("--listen", "pop3://[::1]:0"), "pop3://[::1]:0", "never"),
        (PLAIN, ("--listen", "pop3s://localhost"), "pop3s://localhost:1995", "start"),
        (PLAIN, ("--listen", "pop3+stls://localhost"), "pop3+stls://localhost:1110", "require"),
    ],
)
def test_tls_is_as_recorded_unless_the_listener_says_otherwise(
    records: list[Record],
    options: tuple[str, ...],
    listen: str,
    tls: str,
    staged: Callable[..., Stage],
) -> None:
    stage = staged(records, *options)
    assert (str(stage.listen), stage.manner.tls) == (listen, tls)


@pytest.mark.parametrize(
    ("versions", "options", "minimum", "maximum"),
    [
        (("TLSv1.3", "TLSv1.2"), (), "1.2", "1.2"),
        (("TLSv1.2",), (), "1.2", "1.2"),
        (("TLSv1.3", "TLSv1"), (), "1.0", "1.0"),
        (("TLSv1.3", "TLSv1.1"), ("--client-tls-minimum", "1.2"), "1.2", None),
        (("TLSv9",), (), "1.2", None),
    ],
)
def test_tls_is_no_newer_than_the_recorded_servers(
    versions: tuple[str, ...],
    options: tuple[str, ...],
    minimum: str,
    maximum: str | None,
    staged: Callable[..., Stage],
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage = staged(under_tls(*versions), *options)
    assert (stage.tls.minimum, stage.tls.maximum) == (minimum, maximum)
    assert ("unsafe for years" in capsys.readouterr().err) == (minimum == "1.0")


def test_options_arrive_where_they_count(staged: Callable[..., Stage]) -> None:
    options = ("--match", "lenient", "--speed", "4", "--split", "random:7", "--once")
    limits = ("--max-connections", "3", "--idle-timeout", "5", "--allow", "192.0.2.0/24")
    stage = staged(PLAIN, *options, *limits, "--listen", "pop3://192.0.2.1:1110")
    manner = stage.manner
    assert (manner.match, manner.speed, manner.idle) == ("lenient", 4.0, 5.0)
    assert (manner.split.kind, manner.split.seed) == ("random", "7")
    assert (stage.once, stage.connections, [str(one) for one in stage.allow]) == (
        True,
        3,
        ["192.0.2.0/24"],
    )
    assert staged(PLAIN, "--no-timing").manner.speed is None
