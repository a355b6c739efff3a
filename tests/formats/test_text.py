from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.formats.text import HEADER, TextWriter, read
from popproxy.records import (
    SCHEMA,
    DataPart,
    DataRecord,
    EventPart,
    GapPart,
    GapRecord,
    GreetingRecord,
    Record,
    SessionPart,
    WireRecord,
)
from tests.support.capture import STARTED, Capture, plain_session
from tests.support.records import BY_ACTION, HARMFUL, captures, octets, records

TRANSCRIPT = r"""
# session 20251122t223746-k3fa [k3fa]
# 2025-11-22
22:37:46.000000            # session.start client=127.0.0.1:51234 server=192.0.2.1:110 @
22:37:46.000100            S: +OK ready <1.2@example.org>
22:37:46.000200            C: user juergen
22:37:46.000700   0.500123 S: +OK send your password
22:37:46.000800            C: pass ********
22:37:46.001300   0.500123 S: +OK mailbox locked and ready
22:37:46.001300            # pop3.auth mechanism=USER outcome=success command_seq=2 @
22:37:46.001400            C: stat
22:37:46.001900   0.500123 S: +OK 2 5718
22:37:46.002000            C: list
22:37:46.002500            S: +OK 2 messages
22:37:46.002500*           S: 1 2859
                           S: 2 28\
                           # pop3.data
22:37:46.002500            S: 59
22:37:46.002500*  0.500123 S: .
                           # pop3.response command=LIST lines=2 octets=16
22:37:46.002600            C: retr 1
22:37:46.003100            S: +OK 2859 octets
22:37:46.003100*           S: From: =?utf-8?q?J=C3=BCrgen?= <juergen@example.org>
                           S: Subject: Gr\xc3\
                           # pop3.data
22:37:46.003100*           S: \xbcße
                           S:
                           S: ..dot
                           S: C:\Users\\
                           S: 	escape \x1b[31m, \u202e\u2028, \x9b, NUL \x00
                           S: LF alone\x0a
                           S: backslash and LF alone \\\x0a
                           S: CR \x0d alone
                           S:
                           # pop3.data
22:37:46.003100*  0.500123 S: .
                           # pop3.response command=RETR arguments="1" lines=10 octets=172 @
22:37:46.003100            # finding code=bare-lf severity=warning what="A line ends in LF alone."
22:37:46.003200            C: dele 9
22:37:46.003700   0.500123 S: -ERR [SYS/TEMP] no such message
22:37:46.003800            C: quit
22:37:46.004300   0.500123 S: +OK bye
22:37:46.004400 2000.000000 # session.end reason="server closed" commands=7 messages_retrieved=1
"""
"""What a person gets to read of `plain_session`; `@` stands for more of the same."""


def written(capture: list[Record]) -> bytes:
    writer = TextWriter()
    return b"".join(map(writer.write, capture)) + writer.end()


def lines_of(capture: list[Record]) -> list[bytes]:
    return written(capture).splitlines(keepends=True)


def test_a_transcript_reads_like_the_conversation() -> None:
    got = written(plain_session().records).decode()
    assert got.startswith(HEADER)
    got_lines = got.removeprefix(HEADER).split("\n")
    for line, expected in zip(got_lines, TRANSCRIPT.split("\n"), strict=True):
        if expected.endswith("@"):
            assert line.startswith(expected[:-1])
        else:
            assert line == expected


def test_p71_the_file_says_that_mail_is_recorded_and_how_it_is_masked() -> None:
    start = plain_session().records[0]
    head = written([start])
    assert b"Mail is being recorded" in head.splitlines()[1]
    assert b"masked: ********" in head.splitlines()[1]
    assert b'notice="Mail is being recorded. Passwords are masked."' in head
    later = written([plain_session().records[5]])  # a file after rotation has no session.start
    assert b"Mail is being recorded" in later


@pytest.mark.parametrize("action", BY_ACTION)
def test_every_kind_of_record_comes_back(action: str) -> None:
    @settings(max_examples=40)
    @given(BY_ACTION[action])
    def check(record: Record) -> None:
        (back,) = read(lines_of([record]))
        assert type(back) is type(record)
        assert back == record

    check()


@settings(max_examples=40)
@given(captures)
def test_a_capture_comes_back(capture: list[Record]) -> None:
    assert list(read(lines_of(capture))) == capture


def test_a_plausible_capture_comes_back_from_any_point_on() -> None:
    capture = plain_session().records
    for start in range(len(capture)):
        assert list(read(lines_of(capture[start:]))) == capture[start:]


@settings(max_examples=30)
@given(st.lists(st.sampled_from(range(3)), min_size=60, max_size=60))
def test_sessions_that_run_at_once_come_back(turns: list[int]) -> None:
    names = ["20251122t223746-k3fa", "20251122t223747-k3fa", "Ünusual [name]"]
    captures = [plain_session(name).records for name in names]
    mixed: list[Record] = []
    for turn in turns:
        mixed += captures[turn][:1]
        del captures[turn][:1]
    mixed += [record for rest in captures for record in rest]
    assert list(read(lines_of(mixed))) == mixed


def test_sessions_have_tags_only_while_several_run() -> None:
    one, two = plain_session("a-one").records, plain_session("a-two").records
    text = written([*one[:2], *two[:2], *one[2:], *two[2:]]).decode()
    assert "22:37:46.000100            S: +OK ready" in text
    assert "22:37:46.000100 [two]            S: +OK ready" in text
    assert "22:37:46.000200 [one]            C: user juergen" in text
    assert "22:37:46.000200 [two]            C: user juergen" in text  # the record before was one's
    assert "22:37:46.000700   0.500123 S: +OK send" in text


def test_two_sessions_never_share_a_tag() -> None:
    text = written([plain_session(name).records[0] for name in ("a-k3fa", "b-k3fa", "x y")])
    assert b"# session a-k3fa [k3fa]\n" in text
    assert b"# session b-k3fa [s2]\n" in text
    assert b'# session "x y" [s3]\n' in text


def test_the_date_is_told_when_it_changes() -> None:
    night = plain_session(started=datetime(2025, 12, 31, 23, 59, 59, 998_000, STARTED.tzinfo))
    text = written(night.records)
    assert text.count(b"\n# 2025-12-31\n") == text.count(b"\n# 2026-01-01\n") == 1
    assert list(read(text.splitlines(keepends=True))) == night.records


def test_times_are_utc() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    capture = plain_session(started=STARTED.astimezone(zone)).records
    assert written(capture) == written(plain_session().records)
    assert list(read(lines_of(capture))) == capture


@settings(max_examples=40)
@given(captures)
def test_p43_nothing_harmful_is_in_the_file(capture: list[Record]) -> None:
    assert not set(written(capture).decode().replace("\n", "")) & set(HARMFUL)


@given(octets)
def test_any_bytes_come_back(wire: bytes) -> None:
    told = Capture()
    part = DataPart(part="content")
    told.tell(DataRecord, "pop3.data", side="server", wire=wire, pop3=part)
    (back,) = read(lines_of(told.records))
    assert isinstance(back, WireRecord)
    assert back.wire == wire


def test_p49_a_long_line_is_neither_capped_nor_wrapped_in_a_file() -> None:
    told = Capture()
    told.greet(b"+OK " + b"x" * 70_000 + b"\r\n")
    assert max(map(len, lines_of(told.records))) > 70_000
    assert list(read(lines_of(told.records))) == told.records


@pytest.mark.parametrize("figure", [-1, 0, 999_999, 10**20 - 1, 10**20, 2**63 - 1])
def test_durations_and_times_of_any_size_come_back(figure: int) -> None:
    told = Capture()
    part = DataPart(part="content")
    told.tell(
        DataRecord,
        "pop3.data",
        duration=figure,
        side="server",
        raw="a\r\n",
        segments=[(figure, 3)],
        pop3=part,
    )
    told.tell(DataRecord, "pop3.data", side="server", wire=b"b\r\n", pop3=part)
    assert list(read(lines_of(told.records))) == told.records


def test_tables_are_not_told_twice() -> None:
    told = plain_session()
    assert b"listing" not in written(told.records)


def test_a_long_table_is_one_line_of_notes_when_its_lines_are_not_recorded() -> None:
    capture = [
        record
        for record in plain_session().records
        if not (isinstance(record, DataRecord) and record.pop3.part == "content")
    ]
    text = written(capture)
    assert b'listing=[{"message":1,"octets":2859},{"message":2,"octets":2859}]' in text
    assert list(read(text.splitlines(keepends=True))) == capture


def cut(lines: list[bytes], text: bytes) -> int:
    return next(number for number, line in enumerate(lines) if text in line)


def test_a_record_that_cannot_be_written_leaves_no_trace() -> None:
    gap: dict[str, Any] = {
        "timestamp": STARTED,
        "schema": SCHEMA,
        "event": EventPart(action="gap"),
        "session": SessionPart(id="other", seq=1),
    }
    capture = plain_session().records
    writer = TextWriter()
    with pytest.raises(UnicodeEncodeError):
        writer.write(GapRecord(**gap, gap=GapPart(reason="\ud800")))
    file = b"".join(map(writer.write, capture[:4]))
    with pytest.raises(UnicodeEncodeError):
        writer.write(GapRecord(**gap, gap=GapPart(reason="\ud800")))
    file += b"".join(map(writer.write, capture[4:]))
    assert list(read(file.splitlines(keepends=True))) == capture


def test_a_writer_forgets_sessions_of_which_it_saw_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("popproxy.formats.text._SESSIONS_MOST", 2)
    names = ["a", "b", "c", "a", "b", "c"]
    capture = [plain_session(name).records[1] for name in names]
    text = written(capture)
    assert text.count(b"# session a ") == 2
    assert list(read(text.splitlines(keepends=True))) == capture


def test_the_greeting_is_recognised_without_a_note() -> None:
    told = Capture()
    told.greet(b"+OK ready\r\n")
    (back,) = read(lines_of(told.records))
    assert isinstance(back, GreetingRecord)


@settings(max_examples=40)
@given(records)
def test_a_record_of_one_write_ends_with_a_line_end(record: Record) -> None:
    assert TextWriter().write(record).endswith(b"\n")
