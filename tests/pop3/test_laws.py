"""The six laws of the core, as properties."""

from __future__ import annotations

import tracemalloc
from dataclasses import fields
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from popproxy.pop3 import Data, LinePart, Opaque, Session, Side
from popproxy.pop3._parts import Parts
from popproxy.pop3.framing import MAX_LINE, PIECE, READS_PER_EVENT
from tests.support.core import (
    Turn,
    at_random,
    byte_by_byte,
    feed,
    finish,
    joined,
    read,
    sent,
    timeless,
)

CLIENT_LINES = st.sampled_from(
    [
        b"USER alice\r\n", b"PASS s3cret\r\n", b"pass\ts3cret\n", b"  PASS x\r\n", b"PASSx\r\n",
        b"APOP a 0123456789abcdef0123456789abcdef\r\n", b"AUTH\r\n", b"AUTH PLAIN\r\n",
        b"AUTH PLAIN AGEAYg==\r\n", b"AUTH NTLM\r\n", b"AGEAYg==\r\n", b"*\r\n", b"\r\n", b"\n",
        b"STLS\r\n", b"CAPA\r\n", b"STAT\r\n", b"LIST\r\n", b"LIST 1\r\n", b"UIDL\r\n",
        b"RETR 1\r\n", b"TOP 1 0\r\n", b"DELE 1\r\n", b"NOOP\r\nNOOP\r\nRETR 2\r\n", b"HELP\r\n",
        b"XTND XMIT\r\n", b"XTND XLST Subject\r\n", b"XFOO bar\r\n", b"LANG\r\n", b"QUIT\r\n",
        b"From: me\r\n\r\nhi\r\n.\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n",
        b"\xef\xbb\xbfPASS x\r\n", b"PASS a\nb\r\n", b"PASS \x00\xff\r\n", b"PA",
    ]
)  # fmt: skip
SERVER_LINES = st.sampled_from(
    [
        b"+OK\r\n", b"+OK ready <1.2@host>\r\n", b"-ERR\r\n", b"-ERR [AUTH] no\r\n", b"+ \r\n",
        b"+\r\n", b"+\n", b"+ Z28gYWhlYWQ=\r\n", b"+go\r\n", b"+SUCCESS\r\n", b"ERR x\r\n",
        b"+OK 2 5718\r\n", b"1 2859\r\n", b".\r\n", b".\n", b"..\r\n", b".x\r\n", b"\r\n", b"\n",
        b"Subject: a\r\n\r\n+OK not a reply\r\n", b"220 smtp\r\n", b"junk\n", b"\r", b"\x00\r\n",
        b"\xff\xfe\r\n", b"+OK\r\n+OK\r\n", b"+OK 1\r\na\r\n.\r\n", b"+OK\r\nx\r\n.\n", b"+O",
        b"\x16\x03\x03\x00\x01\x02",
    ]
)  # fmt: skip
LINES = st.one_of(
    CLIENT_LINES.map(lambda line: (Side.CLIENT, line)),
    SERVER_LINES.map(lambda line: (Side.SERVER, line)),
    st.tuples(st.sampled_from(Side), st.binary(max_size=40)),
)
CONVERSATIONS = st.lists(LINES, max_size=40).map(lambda said: [(Side.SERVER, b"+OK\r\n"), *said])

LONG = [
    b"PASS " + b"p" * 200_000 + b"\r\n",
    b"x" * MAX_LINE + b"\n",
    b"x" * (MAX_LINE - 1) + b"\n",
    b"x" * (MAX_LINE + 1) + b"\n",
    b"+OK " + b"y" * (2 * MAX_LINE) + b"\r\n",
]
CONTENTS = [
    b"",
    b"a\r\n" * 30_000,
    b"..\r\n" * 40_000,
    b"b" * PIECE,
    b"b" * (PIECE - 1) + b"\r\n",
    b"b" * (PIECE + 1) + b"\r\n",
    b"\r\n" * PIECE + b"x\n.\n.\r\ny\r\n",
    b"z" * (3 * PIECE - 3) + b"\r\n.",
]


@given(CONVERSATIONS)
def test_law_1_lossless_at_the_end(conversation: list[Turn]) -> None:
    events = read(conversation)
    for side in Side:
        assert joined(events, side) == sent(conversation, side)


@given(CONVERSATIONS)
def test_law_1_lossless_at_every_moment(conversation: list[Turn]) -> None:
    session = Session()
    so_far: list[Turn] = []
    events = []
    for turn in conversation:
        so_far.append(turn)
        events += feed(session, [turn])
        for side in Side:
            given_out = joined(events, side)
            assert sent(so_far, side).startswith(given_out)
    events += finish(session)
    for side in Side:
        assert joined(events, side) == sent(conversation, side)


BEHIND_A_RESPONSE_OF_UNKNOWN_FORM: list[Turn] = [
    (Side.SERVER, b"+OK\r\n"),
    (Side.CLIENT, b"XFOO\r\n"),
    (Side.CLIENT, b"USER alice\r\n"),
    (Side.SERVER, b"+OK\r\nx\r\n.\n"),
    (Side.SERVER, b"+OK\r\nx\r\n.\n"),
]
"""The dots of the next response must not be counted with those of the content before it."""


@given(CONVERSATIONS, st.integers(0, 2**32))
@example(BEHIND_A_RESPONSE_OF_UNKNOWN_FORM, 0)
@settings(max_examples=300)
def test_law_2_cut_invariant_p73(conversation: list[Turn], seed: int) -> None:
    expected = timeless(read(conversation))
    assert timeless(read(conversation, byte_by_byte)) == expected
    assert timeless(read(conversation, at_random(seed))) == expected


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_law_2_cut_invariant_for_content_over_piece_borders(
    content: bytes, line_end: bytes
) -> None:
    conversation = [
        (Side.SERVER, b"+OK\r\n"),
        (Side.CLIENT, b"RETR 1\r\nNOOP\r\n"),
        (Side.SERVER, b"+OK" + line_end + content + b"\r\n.\r\n+OK\r\n"),
    ]
    expected = read(conversation)
    assert timeless(read(conversation, at_random(len(content)))) == timeless(expected)
    assert timeless(read(conversation, byte_by_byte)) == timeless(expected)
    pieces = [event for event in expected if isinstance(event, Data)]
    assert all(len(event.raw) == PIECE for event in pieces[:-1])


@pytest.mark.parametrize("line", LONG, ids=range(len(LONG)))
@pytest.mark.parametrize("side", Side)
def test_law_2_cut_invariant_for_long_lines(line: bytes, side: Side) -> None:
    conversation = [(Side.SERVER, b"+OK\r\n"), (Side.CLIENT, b"NOOP\r\n"), (side, line)]
    expected = timeless(read(conversation))
    assert timeless(read(conversation, byte_by_byte)) == expected
    assert timeless(read(conversation, at_random(1))) == expected


@given(st.lists(st.tuples(st.sampled_from(Side), st.binary(max_size=300)), max_size=20))
@settings(max_examples=300)
def test_law_3_total_p73(conversation: list[Turn]) -> None:
    events = read(conversation)
    for side in Side:
        assert joined(events, side) == sent(conversation, side)


@given(CONVERSATIONS, st.lists(st.integers(0, 40), max_size=5))
def test_flush_at_any_moment_loses_and_doubles_nothing(
    conversation: list[Turn], moments: list[int]
) -> None:
    session = Session()
    events = []
    for at, turn in enumerate(conversation):
        events += feed(session, [turn])
        if at in moments:
            events += session.flush(at)
    events += finish(session)
    for side in Side:
        assert joined(events, side) == sent(conversation, side)


@given(CONVERSATIONS, st.integers(0, 2**32))
def test_reads_tell_how_the_bytes_arrived(conversation: list[Turn], seed: int) -> None:
    session = Session()
    cut = at_random(seed)
    arrived: dict[Side, list[tuple[int, int]]] = {side: [] for side in Side}
    told: dict[Side, list[tuple[int, int]]] = {side: [] for side in Side}
    events = []
    at = 0
    for side, data in conversation:
        for piece in cut(data):
            at += 1
            arrived[side].append((at, len(piece)))
            events += session.receive(side, piece, at)
            while session.waiting_for_tls:
                events += session.tls_declined(at)
    events += finish(session)
    for event in events:
        assert sum(size for _, size in event.reads) == len(event.raw)
        reads = list(event.reads)
        if event.joined and reads:
            last = told[event.side].pop()
            reads[0] = event.reads[0]._replace(size=last[1] + reads[0].size)
            assert last[0] == reads[0].at
        told[event.side] += [(read.at, read.size) for read in reads]
    for side in Side:
        assert told[side] == arrived[side]


@given(CONVERSATIONS)
def test_a_line_by_itself_is_read_as_if_it_came_through_the_stream(
    conversation: list[Turn],
) -> None:
    def everything_of(conversation: list[Turn]) -> list[tuple[object, ...]]:
        session = Session()
        events = [*feed(session, conversation), *finish(session)]
        return [
            (type(event), *(getattr(event, field.name) for field in fields(event)))
            for event in events
        ]

    by_itself = everything_of(conversation)
    with patch.object(Parts, "starts_afresh", lambda *_: False):
        assert everything_of(conversation) == by_itself


def test_law_4_reads_that_are_remembered_are_bounded() -> None:
    session = Session()
    session.receive(Side.SERVER, b"+OK\r\n", 0)
    for at in range(5_000):
        session.receive(Side.CLIENT, b"x", at)
    [event, _finding] = session.receive(Side.CLIENT, b"\r\n", 5_000)
    assert len(event.reads) == READS_PER_EVENT
    assert sum(read.size for read in event.reads) == len(event.raw) == 5_002


def _peak_of(session: Session, side: Side, piece: bytes, times: int) -> int:
    tracemalloc.start()
    try:
        for at in range(times):
            for event in session.receive(side, piece, at):
                assert isinstance(event, (LinePart, Data, Opaque))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("side", Side)
def test_p50_law_4_an_endless_line_is_held_in_bounds(side: Side) -> None:
    session = Session()
    session.receive(Side.SERVER, b"+OK\r\n", 0)
    session.receive(side, b"-ERR", 0)
    feed(session, [(side, b"y" * MAX_LINE)])
    assert _peak_of(session, side, b"y" * 60_000, 300) < 1_000_000


def test_p50_law_4_an_endless_response_is_held_in_bounds() -> None:
    session = Session()
    feed(
        session,
        [(Side.SERVER, b"+OK\r\n"), (Side.CLIENT, b"RETR 1\r\n"), (Side.SERVER, b"+OK\r\n")],
    )
    assert _peak_of(session, Side.SERVER, b"body line\r\n" * 6_000, 300) < 1_000_000


def test_law_4_p77_aborted_sasl_does_not_grow() -> None:
    session = Session()
    feed(session, [(Side.SERVER, b"+OK\r\n")])
    exchange = [
        (Side.CLIENT, b"AUTH CRAM-MD5\r\n"),
        (Side.SERVER, b"+ PDEyMz4=\r\n"),
        (Side.CLIENT, b"*\r\n"),
        (Side.SERVER, b"-ERR cancelled\r\n"),
    ]
    for _ in range(200):
        feed(session, exchange)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            feed(session, exchange)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
    assert session.pending == 0


def _operations(session: Session, side: Side, data: bytes) -> int:
    """Octets that are moved or searched: a figure for cost that is no time."""
    import sys

    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for at, piece in enumerate(byte_by_byte(data)):
            session.receive(side, piece, at)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("side", Side)
def test_p51_law_4_one_octet_segments_cost_constant_time_each(side: Side) -> None:
    costs = []
    for size in (2_000, 20_000):
        session = Session()
        session.receive(Side.SERVER, b"+OK\r\n", 0)
        costs.append(_operations(session, side, b"x" * size) / size)
    assert costs[1] < costs[0] * 1.2
