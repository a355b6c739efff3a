"""`popproxy show`: what is on the screen, and what is said when there is nothing to show."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path

import pytest
from rich.cells import cell_len

from popproxy.cli import show_list
from popproxy.cli.errors import Status
from popproxy.cli.main import main
from popproxy.cli.show_follow import LOOKS, Following
from popproxy.formats import jsonl
from popproxy.records import MessagePart, Record
from popproxy.sinks.terminal import Transcript
from popproxy.sinks.terminal.ink import Glyphs, Palette
from popproxy.tools.follow import Wait
from popproxy.tools.sessions import Choice, Overview
from tests.support.conversations import SECRET, load_all
from tests.support.make_samples import SAMPLES, records
from tests.support.proxy import command
from tests.support.records import HARMFUL
from tests.support.running import ENVIRONMENT
from tests.support.speaking import Speaking
from tests.support.terminal import SGR, conversation
from tests.support.waiting import PATIENCE, until

ODDITIES, ORDINARY = str(SAMPLES / "oddities.jsonl"), str(SAMPLES / "session.jsonl")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def said(
    monkeypatch: pytest.MonkeyPatch,
    *argv: str,
    columns: int = 80,
    status: int = 0,
    env: Mapping[str, str] = {},
) -> str:
    """Give what a terminal shows."""
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["show", *argv], {"TERM": "xterm-256color", **(env or {})}) == status
    return screen.getvalue()


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Give what goes to a program."""
    assert main(["show", *argv], {}) == Status.DONE
    return capsys.readouterr().out


def capture(path: Path, made: Sequence[Record]) -> str:
    path.write_bytes(b"".join(map(jsonl.encode, made)))
    return str(path)


# The transcript


def test_a_capture_of_one_session_is_shown_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, ORDINARY)
    assert "C: user mail@example.com\n" in out
    assert "C: pass ********\n" in out
    assert " … Subject: Test 1 · From: <bo@example.org>\n" in out
    assert "First words." not in out
    assert "4 lines, 57 octets, 1.2 ms\n" in out
    assert out == printed(capsys, str(SAMPLES / "session.txt"))


def test_body_shows_every_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert " │ First words.\n" in printed(capsys, "--body", ORDINARY)
    long = "x" * 5_000
    session = Speaking().start().says(b"retr 1\r\n")
    session.brings(b"+OK\r\n", f"{long}\r\n".encode() + b"y\r\n" * 300).says(b"list\r\n")
    session.brings(b"+OK\r\n", b"1 1\r\n" * 30).end()
    path = capture(tmp_path / "c", session.records)
    out = printed(capsys, "--body", path)
    assert f" │ {long}\n" in out
    assert out.count(" │ y\n") == 300
    assert out.count(" │ 1 1\n") == 30
    folded = printed(capsys, path)
    assert folded.count(" │ 1 1\n") == 12
    assert "… 18 more lines, 90 octets\n" in folded
    assert long not in folded
    assert "… 301 lines, 5,902 octets\n" in folded


def test_a_session_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    for which in (["--session", "6"], ["--session", "sam0006"], ["-Y", "finding==stls-refused"]):
        out = printed(capsys, *which, ODDITIES)
        assert "session 20261122t140211-sam0006" in out
        assert "C: STLS\n" in out
        assert out.count("── session") == 1


def test_all_sessions_are_shown_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--all", ODDITIES)
    assert out.count("── session") == 7
    assert out.count("popproxy records this mail session") == 1
    assert "0002 ──" not in out


def test_a_filter_shows_what_fits_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--filter", 'pop.response.indicator == "-ERR"', ODDITIES)
    assert [line[13:] for line in out.splitlines() if line[13:15] == "C:"] == [
        "C: RETR 2",
        "C: PASS ********",
        "C: STLS",
    ]
    assert "[stls-refused, RFC 2595 section 4]" in out.replace("\n                ", " ")


# The list


def test_several_sessions_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ODDITIES).splitlines()
    assert lines[0].split() == [
        *("#", "start", "client", "user", "commands", "retrieved", "deleted", "findings", "end")
    ]
    assert lines[3].split()[-7:] == ["ada", "6", "2", "·", "2", "server", "closed"]
    assert len(lines) == 8
    assert "\n".join(lines) + "\n" == printed(capsys, "--list", ODDITIES)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_list_fits_the_terminal(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Record] = []
    for number in range(3):
        session = Speaking(f"s{number}").start(client="2001:db8:1234:5678:9abc:def0:1234:5678")
        session.logs_in("success", "邮件" * 20 + "@example.org").finding("error", "what")
        made += session.end("timeout-before-login", commands=12_345, messages_retrieved=999).records
    out = said(monkeypatch, "--list", capture(tmp_path / "c", made), columns=columns)
    lines = SGR.sub("", out).splitlines()
    assert max(map(cell_len, lines)) < columns
    assert "…" in out
    assert ("12,345" if columns > 60 else "12,345 cmds") in out


def test_a_person_is_told_how_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--session N" in said(monkeypatch, "--no-pager", ODDITIES)
    assert "--session N" not in said(monkeypatch, "--no-pager", "--list", ODDITIES)


def test_the_list_as_json_has_an_object_a_session(capsys: pytest.CaptureFixture[str]) -> None:
    told = [json.loads(line) for line in printed(capsys, "--list", "--json", ODDITIES).splitlines()]
    assert [one["number"] for one in told] == [1, 2, 3, 4, 5, 6, 7]
    assert told[2]["id"] == "20261122t140211-sam0003"
    assert told[2]["findings"] == 2


def test_the_list_of_what_a_filter_fits(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--list", "-Y", "finding", ODDITIES)
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["3", "6", "7"]
    out = printed(capsys, "--list", "-Y", "finding", "--session", "6", ODDITIES)
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["6"]


def test_sessions_are_listed_by_number_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show_list, "_HELD_MOST", 3)
    session = Speaking().start().end().records
    ended = [Overview.begun(number, session[0]) for number in (2, 3, 1, 7, 8, 9, 10, 4)]
    order = [one.number for one in show_list.in_order(ended)]
    assert order == [1, 2, 3, 7, 8, 9, 10, 4]


# What is wrong


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["nowhere"], 1, "No such file"),
        ([str(SAMPLES)], 1, "this is a directory"),
        ([os.devnull], 1, "empty"),
        (["--session", "99", ODDITIES], 1, "no session fits"),
        (["--user", "nobody", ODDITIES], 1, "no session fits"),
        (["-Y", "imf.subject == nothing", ODDITIES], 1, "--filter fits no command"),
        (["-Y", "pop.requst == x", ODDITIES], 2, "pop.requst == x\n  ^^^^^^^^^^\n  Did you mean"),
        (["--json", ODDITIES], 2, "--json goes with --list"),
        (["--from", "jsno", ODDITIES], 2, "jsonl"),
        (["--since", "soon", ODDITIES], 2, "is no time"),
        ([ODDITIES, "twelve"], 2, "valid integer"),
        ([], 2, "missing argument"),
        ([sys.executable], 1, "no capture that popproxy knows"),
    ],
)
def test_what_is_wrong_is_told(
    argv: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", *argv], {}) == status
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_damage_is_told_once_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (SAMPLES / "session.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "half"
    path.write_bytes(b"".join([*whole[:5], b"{junk\n", *whole[5:9]]) + whole[9][:40])
    for argv in ([], ["--all"], ["-Y", "pop.request"]):
        assert main(["show", *argv, str(path)], {}) == Status.FAILED
        captured = capsys.readouterr()
        assert "C: user mail@example.com" in captured.out
        assert captured.err.count("line 6") == 1
        assert captured.err.count("the last line is torn") == 1


# Safety, size, and other programs


def test_p43_peer_text_is_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [
        record
        for number, conversation in enumerate(load_all(), 1)
        for record in records(conversation.name, number)
    ]
    path = capture(tmp_path / "all", made)
    for argv in (
        *(["--all"], ["--all", "--body"], ["--list"], ["-Y", "pop.request"]),
        *(["--all", "--raw"], ["--all", "--timing"], ["--body", path, "1"]),
    ):
        out = printed(capsys, *argv, *([] if path in argv else [path]))
        assert out
        assert not set(out) & set(HARMFUL) - {"\n", "\t"}
        assert SECRET.decode() not in out


def test_a_long_transcript_goes_through_the_pager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager = tmp_path / "pager"
    pager.write_text(f"#!/bin/sh\ncat > {tmp_path}/paged\n")
    pager.chmod(0o700)
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setattr(sys, "stdin", Screen())
    env = {"PAGER": str(pager), "PATH": os.environ["PATH"]}
    assert said(monkeypatch, ORDINARY, env=env) == ""
    assert "C: \x1b" not in (tmp_path / "paged").read_text()
    assert "Subject:" in (tmp_path / "paged").read_text()
    assert "Subject:" in said(monkeypatch, "--no-pager", ORDINARY, env=env)
    monkeypatch.setenv("LINES", "200")
    assert "Subject:" in said(monkeypatch, ORDINARY, env=env)


def test_a_pager_that_is_left_early_ends_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Screen())
    session = Speaking().start()
    for _ in range(20_000):
        session.says(b"NOOP\r\n").answers(b"+OK\r\n")
    path = capture(tmp_path / "c", session.end().records)
    env = {"PAGER": "true", "PATH": os.environ["PATH"]}
    assert said(monkeypatch, path, env=env) == ""
    assert "quotes" in _failing(monkeypatch, path, env={"PAGER": '"less'})


def _failing(monkeypatch: pytest.MonkeyPatch, *argv: str, env: Mapping[str, str]) -> str:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    said(monkeypatch, *argv, status=2, env=env)
    return errors.getvalue()


def test_a_pipe_that_closes_early_is_no_error(tmp_path: Path) -> None:
    session = Speaking().start()
    for _ in range(20_000):
        session.says(b"NOOP\r\n").answers(b"+OK\r\n")
    path = capture(tmp_path / "c", session.end().records)
    with subprocess.Popen(
        [command(), "show", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"session" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == Status.DONE


def test_p43_a_list_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "".join(HARMFUL)
    session = Speaking().start(client=hostile[:20]).logs_in("success", hostile)
    path = capture(tmp_path / "c", session.end(hostile[:40]).records)
    for columns in (40, 100):
        out = said(monkeypatch, "--list", path, columns=columns)
        assert not set(SGR.sub("", out)) & set(HARMFUL) - {"\n"}


def test_ascii_terminals_and_programs_get_escapes(tmp_path: Path) -> None:
    for argv in (["--list", ODDITIES], [ORDINARY]):
        done = subprocess.run(
            [command(), "show", *argv],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
        )
        assert done.stdout.isascii()
        assert done.stdout


def test_standard_input_is_a_capture_too() -> None:
    done = subprocess.run(
        [command(), "show", "-"],
        input=(SAMPLES / "session.jsonl").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert b"C: user mail@example.com" in done.stdout


# A message


def test_a_message_shows_its_header_and_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, ORDINARY, "2")
    assert "── message 2 of session 20261122t140211-sam0001 ──" in out
    assert "57 octets, 4 lines" in out
    assert "   Subject:      Test 2\n" in out
    assert "   text/plain" in out
    assert "1 line, 14 octets\n" in out
    assert "Other words." not in out
    assert " │ Other words.\n" in printed(capsys, "--body", ORDINARY, "2")


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_message_fits_the_terminal(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße aus 邮件 " * 20
    message["X-A-Header-With-A-Long-Name"] = "words " * 40
    message.set_content("text\n")
    message.add_attachment(b"x", maintype="a", subtype="b", filename="Ein langer Name " * 8)
    octets = message.as_bytes().replace(b"\n", b"\r\n")
    about = MessagePart(number=3, octets=len(octets), sha256="ab" * 32, octets_announced=7)
    session = Speaking().start().says(b"RETR 3\r\n")
    session.brings(b"+OK\r\n", octets, command="RETR", message=about)
    out = said(monkeypatch, "--no-pager", capture(tmp_path / "c", session.records), "3",
               columns=columns)  # fmt: skip
    text = SGR.sub("", out)
    assert "Grüße aus 邮件" in text
    assert "multipart/mixed" in text
    assert "└─ a/b" in text
    assert "7 octets were announced" in " ".join(text.split())
    lines = [line for line in text.splitlines() if "boundary=" not in line]  # a long word
    assert max(map(cell_len, lines)) < columns


def test_a_message_that_was_not_fetched_or_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", ORDINARY, "7"], {}) == Status.FAILED
    assert "message 7 was not fetched" in capsys.readouterr().err
    about = MessagePart(number=3, octets=9, sha256="ab" * 32)
    session = Speaking().start().says(b"TOP 3 0\r\n")
    session.brings(b"+OK\r\n", b"A: b\r\n\r\n", command="TOP", message=about)
    session.says(b"RETR 3\r\n").answers(b"-ERR no\r\n", command="RETR").says(b"RETR 3\r\n")
    session.brings(b"+OK\r\n", b"", recorded=False, command="RETR", message=about)
    out = printed(capsys, capture(tmp_path / "c", session.records), "3")
    assert "TOP brought a part of it" in out
    assert "RETR was answered -ERR" in out
    assert "the content was not recorded" in out


# Octets, and time


def test_raw_shows_octets_read_by_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--raw", ORDINARY)
    assert "C: retr 1\\x0d\\x0a\n" in out
    assert "                First words.\\x0d\\x0a\n" in out
    path = tmp_path / "c"
    for name in ("dot-cut-over-segments", "escape-sequences"):
        out = printed(capsys, "--raw", capture(path, records(name, 1)))
        assert out.isascii() or "\\x" in out
    session = Speaking().start().says(b"RETR 1\r\n")
    session.brings(b"+OK\r\n", b"a\\\tb\r\n" * 20, size=4)
    out = printed(capsys, "--raw", capture(path, session.records))
    assert "a\\\\\\x09b" in out
    assert "… 88 more octets" in out


def test_timing_draws_a_waterfall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = capture(tmp_path / "c", conversation())
    for columns in (40, 80, 120):
        out = SGR.sub("", said(monkeypatch, "--timing", "--no-pager", path, columns=columns))
        lines = out.splitlines()
        assert max(map(cell_len, lines)) < columns
        (retr,) = (line for line in lines if line.startswith("RETR"))
        assert "1.20 s" in retr
        assert retr.count("█") == max(line.count("█") for line in lines if "client ░" not in line)
        assert "2.99 s" in out
    assert "880 ms" in out


@pytest.mark.parametrize(
    "argv",
    [
        *(["--list", "--timing"], ["--raw", "--timing"], ["--follow", "--list"]),
        *(["--follow", "--timing"], ["--timing", "-Y", "finding"], [ORDINARY, "1", "--raw"]),
    ],
)
def test_ways_to_look_that_do_not_go_together(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = argv if ORDINARY in argv else [*argv, ORDINARY]
    assert main(["show", *argv], {}) == Status.USAGE
    assert "different ways" in capsys.readouterr().err


def test_times_that_an_importer_made_up_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SAMPLES / "imports" / "transcript.txt")
    out = printed(capsys, path)
    assert "\nC: USER sam\n" in out
    assert "times (not shown)" in " ".join(out.split())
    assert " ms" not in out
    assert "unknown" not in out
    assert "\nC: USER sam\\x0d" in printed(capsys, "--raw", path)
    assert "does not tell when" in printed(capsys, "--timing", path)
    assert printed(capsys, "--list", path).splitlines()[1].split()[1] == "–"
    out = printed(capsys, str(SAMPLES / "imports" / "telnet.log"))
    assert "1 line, 6 octets, not in the log\n" in out
    assert main(["show", "-Y", "pop.time", path], {}) == Status.FAILED
    assert "fits no command" in capsys.readouterr().err


def test_of_a_putty_log_only_the_beginning_has_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SAMPLES / "session.printable.log")
    assert " ms" not in printed(capsys, path)
    assert "times between lines (not shown)" in " ".join(printed(capsys, path).split())
    assert "2026-11-22" in printed(capsys, "--list", path)
    assert "does not tell when" in printed(capsys, "--timing", path)


def test_a_log_with_times_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("thunderbird", "mailkit-times"):
        assert " ms\n" in printed(capsys, str(SAMPLES / "imports" / f"{name}.log"))


# A capture that grows


def test_follow_shows_what_is_added_until_it_is_interrupted(tmp_path: Path) -> None:
    path, out = tmp_path / "c", tmp_path / "out"
    lines = (SAMPLES / "session.jsonl").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    with out.open("wb") as file:
        process = subprocess.Popen(
            [command(), "show", "--follow", "-Y", "pop.request", str(path)],
            stdout=file,
            stderr=subprocess.PIPE,
        )
    try:
        with path.open("ab") as file:
            file.writelines(lines[4:8])
        until(lambda: b"C: pass ********" in out.read_bytes(), "the second command")
        path.rename(tmp_path / "c.1")
        path.write_bytes(b"".join(jsonl.encode(one) for one in records("stls-refused", 2)))
        until(lambda: b"STLS" in out.read_bytes(), "what came after the rotation")
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == Status.INTERRUPTED
    assert errors == b""


def test_follow_of_standard_input_ends_with_it() -> None:
    done = subprocess.run(
        [command(), "show", "--follow", "--user", "ada", "-"],
        input=(SAMPLES / "oddities.jsonl").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert b"C: PASS" in done.stdout
    assert b"C: STLS" not in done.stdout


def test_following_waits_between_looks_and_keeps_to_times() -> None:
    made = records("ordinary-session", 1)
    slept: list[float] = []
    transcript = Transcript(Palette(), Glyphs(), lambda: 80)
    wanted = Choice(since=made[3].timestamp)
    live = Following(transcript, wanted, None, encoding="utf-8", sleep=slept.append)

    def read(wait: Wait) -> Iterator[Record]:
        yield from made[:5]
        wait()
        yield from made[5:]

    screen = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        live.show(read, at_once=False)
    assert slept == [LOOKS]
    assert "session" not in screen.getvalue().splitlines()[0]


def test_following_ends_though_a_library_lost_the_interrupt() -> None:
    transcript = Transcript(Palette(), Glyphs(), lambda: 80)
    live = Following(transcript, Choice(), None, encoding="utf-8", sleep=lambda _: None)
    looks: list[int] = []

    def read(wait: Wait) -> Iterator[Record]:
        yield from ()
        for look in range(3):
            looks.append(look)
            if look == 1:
                with contextlib.suppress(KeyboardInterrupt):  # as msgspec does
                    os.kill(os.getpid(), signal.SIGINT)
            wait()

    with pytest.raises(KeyboardInterrupt):
        live.show(read, at_once=False)
    assert looks == [0, 1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_following_listens_to_no_signal_that_is_to_be_ignored() -> None:
    transcript = Transcript(Palette(), Glyphs(), lambda: 80)
    live = Following(transcript, Choice(), None, encoding="utf-8", sleep=lambda _: None)

    def read(wait: Wait) -> Iterator[Record]:
        yield from ()
        os.kill(os.getpid(), signal.SIGINT)
        wait()

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        live.show(read, at_once=False)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# A real terminal


def on_terminal(columns: int, *argv: str, **env: str) -> str:
    """Run something on a terminal of its own, and give what it shows."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 12, columns, 0, 0))
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PAGER"}
    process = subprocess.Popen(
        [command(), *argv],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env},
    )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
        while piece := os.read(leader, 65_536):
            shown += piece
    os.close(leader)
    assert process.wait(PATIENCE) in (Status.DONE, Status.FAILED)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 80])
def test_a_real_terminal_has_room_for_it(columns: int) -> None:
    for argv in (
        ["show", "--session", "6", ODDITIES],
        ["show", "--list", ODDITIES],
        ["show", "--timing", ORDINARY],
        ["show", ORDINARY, "1"],
        ["diff", "--session-a", "3", "--session-b", "7", ODDITIES],
        ["check", "--session", "6", ODDITIES],
    ):
        shown = on_terminal(columns, *argv, PAGER="cat")
        assert "\x1b[" in shown
        lines = SGR.sub("", shown).splitlines()
        too_wide = [line for line in lines if cell_len(line) >= columns and ODDITIES not in line]
        assert too_wide == []


def test_the_pager_gets_what_is_longer_than_the_screen() -> None:
    assert on_terminal(80, "show", ORDINARY, PAGER="head -n 1").count("\n") == 1
    assert on_terminal(80, "show", "--no-pager", ORDINARY, PAGER="head -n 1").count("\n") > 12
    assert "\x1b[" not in on_terminal(80, "show", ORDINARY, PAGER="cat", NO_COLOR="1")


# Size


def test_a_large_capture_is_listed_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "c"
    session = Speaking().start().greeting(b"+OK\r\n")
    for _ in range(1_000):
        session.says(b"NOOP\r\n").answers(b"+OK\r\n", 1)
    lines = b"".join(map(jsonl.encode, session.end().records))
    with path.open("wb") as file:
        for number in range(100):
            file.write(lines.replace(b"k3x7", b"%04d" % number))
    script = (
        "import sys, tracemalloc\n"
        "from popproxy.cli.main import main\n"
        "tracemalloc.start()\n"
        f"status = main(['show', '--list', {str(path)!r}], {{}})\n"
        "print(tracemalloc.get_traced_memory()[1], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.count(b"\n") == 101
    assert int(done.stderr) < 30_000_000
