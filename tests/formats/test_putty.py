from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from popproxy.formats.escape import is_plain, restore, visible
from popproxy.formats.putty import PuttyMode, PuttyWriter
from popproxy.records import DataPart, DataRecord, Record, WireRecord
from tests.support.capture import MESSAGE, STARTED, Capture, plain_session
from tests.support.records import HARMFUL, PUTTY_HEADER, captures, octets

TRUE_HEADER = re.compile(
    rb"=~=~=~=~=~=~=~=~=~=~=~= PuTTY log \d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d "
    rb"=~=~=~=~=~=~=~=~=~=~=~=\r\n"
)
LOOK_ALIKE = re.compile(rb"=~=~=~=~=~=~=~=~=~=~=~= PuTTY log", re.IGNORECASE)


def written(capture: list[Record], mode: PuttyMode = "printable") -> bytes:
    writer = PuttyWriter(mode, UTC)
    return b"".join(map(writer.write, capture)) + writer.end()


def of_pieces(pieces: list[bytes]) -> list[Record]:
    told = Capture()
    part = DataPart(part="content")
    for piece in pieces:
        told.tell(DataRecord, "pop3.data", side="server", wire=piece, pop3=part)
    return told.records


def body_of(log: bytes) -> bytes:
    header = TRUE_HEADER.match(log)
    assert header
    return log[header.end() :]


def wire_of(capture: list[Record]) -> bytes:
    return b"".join(record.wire for record in capture if isinstance(record, WireRecord))


def test_a_session_is_logged_as_putty_would_have_shown_it() -> None:
    told = Capture()
    told.start()
    told.greet(b"+OK POP3 Server Ready\r\n")
    told.command(b"user mail@example.org\r\n")
    told.respond(b"+OK Send your password\r\n")
    told.command(b"pass ********\r\n", masked=["raw"])
    told.respond(b"+OK Mailbox locked and ready\r\n")
    told.command(b"list\r\n")
    told.respond_at_length(b"+OK 1 message\r\n", b"1 2859\r\n")
    told.command(b"quit\r\n")
    told.respond(b"+OK bye\r\n")
    for mode in ("printable", "all"):
        assert written(told.records, mode).split(b"\r\n") == [
            b"=~=~=~=~=~=~=~=~=~=~=~= PuTTY log 2025.11.22 22:37:46 =~=~=~=~=~=~=~=~=~=~=~=",
            b"+OK POP3 Server Ready",
            b"user mail@example.org",
            b"+OK Send your password",
            b"pass ********",
            b"+OK Mailbox locked and ready",
            b"list",
            b"+OK 1 message",
            b"1 2859",
            b".",
            b"quit",
            b"+OK bye",
            b"",
        ]


def test_the_header_has_local_time() -> None:
    east = PuttyWriter(tz=timezone(timedelta(hours=5, minutes=30)))
    assert b"PuTTY log 2025.11.23 04:07:46 =~" in east.write(plain_session().records[1])


def test_the_header_has_the_machines_time_zone_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    local = STARTED.astimezone()
    expected = f"{local:%Y.%m.%d %H:%M:%S}".encode()
    assert expected in PuttyWriter().write(plain_session().records[1])


def test_nothing_is_written_before_the_first_byte() -> None:
    told = Capture()
    told.start()
    told.tell(DataRecord, "pop3.data", side="server", pop3=DataPart(part="opaque", octets=9))
    assert written(told.records) == b""
    assert written([]) == b""


@settings(max_examples=40)
@given(captures)
def test_all_mode_is_byte_exact(capture: list[Record]) -> None:
    log = written(capture, "all")
    assert (body_of(log) if log else b"") == wire_of(capture)


@settings(max_examples=40)
@given(captures)
def test_printable_mode_is_reversible(capture: list[Record]) -> None:
    log = written(capture)
    assert restore(body_of(log).decode() if log else "") == wire_of(capture)


@given(octets)
@example(b"plain\r\n")
@example(b"=~=~")
def test_text_that_is_passed_on_untouched_is_what_escaping_would_leave(text: bytes) -> None:
    if is_plain(text, lines=True):
        assert visible(text.decode(), lines=True).encode() == text
    if b"=~=" not in text and not text.endswith((b"\\", b"\r")):
        log = written(of_pieces([text + b"\n"]))
        assert not text or body_of(log) == visible(text + b"\n", lines=True).encode()


@given(st.lists(octets, min_size=1))
@example([b"\\=~=", b"x"])
@example([b"\\", b"\r\n"])
@example([b"a\r", b"\n"])
@example([b"\\\xe2", b"\x80", b"\xae"])
@example([PUTTY_HEADER[:5].encode(), PUTTY_HEADER[5:28].encode(), PUTTY_HEADER[28:].encode()])
def test_printable_mode_does_not_depend_on_how_bytes_are_cut(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert written(of_pieces(pieces)) == written(of_pieces([whole]))


@pytest.mark.parametrize("size", range(1, len(PUTTY_HEADER) + 4))
def test_p45_a_header_in_pieces_of_any_size_is_marked(size: int) -> None:
    sent = b"a\r\n" + PUTTY_HEADER.encode() + b"\r\n"
    log = written(of_pieces([sent[i : i + size] for i in range(0, len(sent), size)]))
    assert len(LOOK_ALIKE.findall(log)) == 1
    assert b"\r\n\\x3d~=~=" in log
    assert restore(body_of(log).decode()) == sent


@settings(max_examples=40)
@given(captures)
def test_p45_there_is_one_true_header(capture: list[Record]) -> None:
    assert len(LOOK_ALIKE.findall(written(capture))) <= 1


@pytest.mark.parametrize(
    "sent",
    [
        PUTTY_HEADER.encode(),
        b"+OK " + PUTTY_HEADER.encode(),  # PuTTY appends a second header behind the last byte
        b"=~" * 50 + PUTTY_HEADER.encode(),
        b"\\" + PUTTY_HEADER.encode(),
        PUTTY_HEADER.upper().encode(),
        PUTTY_HEADER.encode() * 2,
    ],
)
def test_p45_what_a_peer_sends_as_a_header_is_marked_wherever_it_stands(sent: bytes) -> None:
    log = written(of_pieces([sent]))
    assert len(LOOK_ALIKE.findall(log)) == 1
    assert restore(body_of(log).decode()) == sent


def test_p45_all_mode_stays_byte_exact_and_the_true_header_is_the_first_line() -> None:
    sent = PUTTY_HEADER.encode() + b"\r\n"
    log = written(of_pieces([sent]), "all")
    assert body_of(log) == sent
    assert b" 2025.11.22 " in log.splitlines()[0]


def test_other_rules_of_a_letter_are_not_touched() -> None:
    rule = b"=~=~=~=~=~=~=~=~=~=~=~=~=~=~=\r\n= PuTTY log\r\n"
    assert body_of(written(of_pieces([rule]))) == rule


@settings(max_examples=40)
@given(captures)
def test_p43_nothing_harmful_is_in_a_printable_log(capture: list[Record]) -> None:
    log = written(capture).replace(b"\r\n", b"").replace(b"\n", b"").decode()
    assert not set(log) & set(HARMFUL)


def test_printable_mode_keeps_line_ends_and_tabs_and_shows_the_rest() -> None:
    assert body_of(written(of_pieces([MESSAGE]))).split(b"\r\n")[3:] == [
        b"..dot",
        b"C:\\Users\\",
        b"\tescape \\x1b[31m, \\u202e\\u2028, \\x9b, NUL \\x00",
        b"LF alone\nbackslash and LF alone \\\nCR \\x0d alone",
        b"",
        b"",
    ]


def test_what_is_held_back_comes_with_the_end_of_the_session() -> None:
    capture = plain_session().records
    writer = PuttyWriter()
    writer.write(of_pieces([b"cut \xe2\x80"])[0])
    assert writer.write(capture[-1]) == b"\\xe2\\x80"
    assert writer.end() == b""


def test_p49_a_long_line_is_neither_capped_nor_wrapped_in_a_file() -> None:
    assert len(body_of(written(of_pieces([b"x" * 70_000])))) == 70_000
