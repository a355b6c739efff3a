"""What holds for every importer, whatever is in a log."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.formats import jsonl
from popproxy.importers import KINDS, LogError, read
from popproxy.importers.unmarked import corrected
from popproxy.records import Record, SessionEnd, SessionStart
from tests.importers.test_kinds import IMPORTS, SAMPLES_BY_KIND
from tests.support.recording import of

ALL = sorted(KINDS)
_WORDS = st.sampled_from(
    [
        *(b"+OK", b"-ERR no", b"+ ", b".", b"..", b"", b"USER ada", b"PASS x", b"PASS", b"QUIT"),
        *(b"RETR 1", b"LIST", b"CAPA", b"1 20", b"AUTH PLAIN", b"AAAA", b"Trying 1...", b"---"),
        *(b"S: +OK", b"C: RETR 1", b"S: x", b"< +OK", b"> LIST", b"* Connected to x", b"\x08 \x08"),
        *(b"fetchmail: POP3< +OK", b"fetchmail: POP3> CAPA", b"*cmd* 'STAT'", b"*get* b'+OK'"),
        *(b"=> Send header, 4 bytes (0x4)", b"0000: QU", b"0000: 51 55 49 54", b"DEBUG POP3: x"),
        *(b"1795745970.100000 STAT", b"Connected to pop3://x", b"CONNECTED(3)", b"\xff\x00\x1b"),
        *(b"2026-11-27 02:25:12 UTC [::1]:1 -> [::1]:2 (4):", b"=~" * 11 + b"= PuTTY log x"),
    ]
)
_LOGS = st.lists(st.tuples(_WORDS, st.sampled_from([b"\n", b"\r\n", b"\r", b""])), max_size=25).map(
    lambda lines: b"".join(text + end for text, end in lines)
)


def records_of(kind: str, log: bytes) -> list[Record]:
    made: list[Record] = []
    with contextlib.suppress(LogError):
        made.extend(read(io.BytesIO(log), kind))
    return made


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.binary(max_size=400), _LOGS), st.sampled_from(ALL))
def test_no_log_raises_anything_but_a_message(log: bytes, kind: str) -> None:
    records = records_of(kind, log)
    assert len(of(records, SessionStart)) == len({record.session.id for record in records})
    for record in records:
        jsonl.decode(jsonl.encode(record))


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(sorted(SAMPLES_BY_KIND)))
def test_torn_and_changed_logs_give_what_is_there(data: st.DataObject, name: str) -> None:
    log = bytearray((IMPORTS / name).read_bytes())
    del log[data.draw(st.integers(0, len(log))) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if log:
            log[data.draw(st.integers(0, len(log) - 1))] = data.draw(st.integers(0, 255))
    records_of(SAMPLES_BY_KIND[name], bytes(log))


_TWINS = ["hunter2-hunter2", "correct-horse--", "zz", "a much longer pass phrase, with blanks"]


@pytest.mark.parametrize(
    "name", ["telnet.log", "transcript.txt", "mailkit-times.log", "poplib.log"]
)
def test_p02_logs_that_differ_in_the_password_alone_give_the_same_records(name: str) -> None:
    log = (IMPORTS / name).read_bytes()
    kind = SAMPLES_BY_KIND[name]
    told = [records_of(kind, log.replace(_TWINS[0].encode(), twin.encode())) for twin in _TWINS[:2]]
    assert told[0] == told[1]
    # Of another length, too, where nothing cites it in a place that counts octets.
    if name == "transcript.txt":
        others = [
            records_of(kind, log.replace(_TWINS[0].encode(), twin.encode())) for twin in _TWINS[2:]
        ]
        assert others == [told[0], told[0]]


def _blob(password: str) -> bytes:
    return base64.b64encode(f"\0sam\0{password}".encode())


@pytest.mark.parametrize(
    "name", ["curl.log", "curl-trace-ascii.log", "mitmproxy.flows", "sslsplit.log", "tcpdump.pcap"]
)
def test_p09_logs_that_differ_in_a_login_alone_give_the_same_records(name: str) -> None:
    log, kind = (IMPORTS / name).read_bytes(), SAMPLES_BY_KIND[name]
    other = log.replace(_blob(_TWINS[0]), _blob(_TWINS[1]))
    assert other != log
    assert records_of(kind, other) == records_of(kind, log)


@pytest.mark.parametrize(
    "log",
    [
        b"+OK\nuser sam\n+OK\npass hunter2-hunt",
        b"pass hunter2-hunter2\n-ERR\nretr 1\n+OK\nhunter2-hunter2 aHVudGVyMi1odW50ZXIy\n.\n",
        b"+OK\nauth login\n+ VXNlcm5hbWU6\nc2Ft\n+ UGFzc3dvcmQ6\naHVudGVyMi1odW50ZXIy\n+OK\n",
        b"+OK\nauth plain AHNhbQBodW50ZXIyLWh1bnRlcjI=\n+OK\n",
        b"+OK\nauth plain\nAHNhbQBodW50ZXIyLWh1bnRlcjI=\n+OK\n",
        b"+OK\npass hunter2&lt;-hunter2\n+OK\nretr 1\n+OK\n&lt; hunter2&lt;-hunter2\n.\n",
        b"+OK\npass hunterX\x08 \x082-hunter2\n+OK\nretr 1\n+OK\nhunter2-hunter2\n.\n",
        b"+OK\nuser sam\n+OK\nPASShunter2-hunter2\n-ERR hunter2-hunter2 unknown\n",
        b"+OK\nuser sam\n+OK\nhunter2-hunter2\n+OK\nstat\n+OK 0 0\n",
    ],
)
def test_p06_odd_logins_in_a_log_without_marks_tell_nothing(log: bytes) -> None:
    told = b"".join(map(jsonl.encode, records_of("terminal", log)))
    for secret in (b"hunter", b"aHVudGVy", b"AHNhbQBodW50"):
        assert secret not in told


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_line_that_starts_with_pass_is_masked_whichever_side_it_was_taken_for(side: str) -> None:
    body = b"+OK\nretr 1\n+OK\n"
    log = b"+OK\n" + (body if side == "server" else b"") + b"  PASS tr0ub4dor\n.\nquit\n+OK\n"
    told = b"".join(jsonl.encode(record) for record in records_of("terminal", log))
    assert b"tr0ub4dor" not in told
    assert b"PASS ********" in told


def test_an_endless_line_and_a_lost_dot_cost_linear_time_and_little_memory() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"+OK\nretr 1\n+OK\n")
        for _ in range(20):
            file.write(b"x" * 1024 * 1024)
        file.write(b"\n" + b"quit\n+OK\nretr 1\n+OK\n" * 2_000)
        file.seek(0)
        tracemalloc.start()
        count = sum(1 for _ in read(file, "terminal"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count > 4_000
    assert peak < 12 * 1024 * 1024


def test_corrections_are_carried_out() -> None:
    assert corrected(b"PASS s3x\x08 \x08cr3t") == b"PASS s3cr3t"
    assert corrected(b"ab\x08 \x08\x08 \x08cd") == b"cd"
    assert corrected(b"\x08 \x08") == b""


def told(log: bytes) -> list[str]:
    marks = {"client": "C", "server": "S"}
    lines = []
    for record in records_of("terminal", log):
        side = getattr(record, "side", None)
        wire = getattr(record, "wire", b"")
        if side and wire:
            lines += [f"{marks[side]}: {line}" for line in wire.decode().splitlines()]
    return lines


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("+OK|list|list|+OK|1 2|.|quit|+OK", "S: +OK|C: list|S: +OK|S: 1 2|S: .|C: quit|S: +OK"),
        ("+OK|noop|noop|+OK|+OK", "S: +OK|C: noop|C: noop|S: +OK|S: +OK"),
        ("+OK|user a|+OK|****|+OK", "S: +OK|C: USER a|S: +OK|C: ********|S: +OK"),
        ("+OK|auth plain|+|AAAA|+OK", "S: +OK|C: auth plain|S: + ********|C: ********|S: +OK"),
        (
            "+OK|help|+OK|stat list retr|.|quit|+OK",
            "S: +OK|C: help|S: +OK|S: stat list retr|S: .|C: quit|S: +OK",
        ),
        ("+OK|retr 1|+OK|text|quit|+OK", "S: +OK|C: retr 1|S: +OK|S: text|S: .|C: quit|S: +OK"),
        ("+OK|retr 1|-ERR|quit|+OK", "S: +OK|C: retr 1|S: -ERR|C: quit|S: +OK"),
        ("user a|+OK", "C: user a|S: +OK"),
        (
            "+OK|stat|retr 1|+OK 1 2|+OK|quit|.|+OK",
            "S: +OK|C: stat|C: retr 1|S: +OK 1 2|S: +OK|S: quit|S: .|S: +OK",
        ),
    ],
)
def test_who_said_what(log: str, expected: str) -> None:
    made = [line.replace("USER", "user") for line in told(log.replace("|", "\n").encode() + b"\n")]
    assert made == [line.replace("USER", "user") for line in expected.split("|")]


def test_several_sessions_in_one_log() -> None:
    begun = b"Trying 192.0.2.1...\nConnected to x.\n"
    one = b"+OK\nquit\n+OK\nConnection closed by foreign host.\n"
    for log in ((begun + one) * 3, one * 3):
        assert len(of(records_of("terminal", log), SessionEnd)) == 3


def test_entities_of_a_blog_are_undone() -> None:
    log = b"+OK\nretr 1\n+OK\nFrom: &lt;wren@example.org&gt;\n.\nquit\n+OK\n"
    assert "S: From: <wren@example.org>" in told(log)


def test_samples_hold_no_path_of_a_machine() -> None:
    for path in Path(IMPORTS).iterdir():
        assert not re.search(rb"/(?:tmp|work|root)/", path.read_bytes())
