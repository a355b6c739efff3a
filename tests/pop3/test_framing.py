"""Streams and the end of content, apart from sessions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.pop3.framing import MAX_LINE, Content, Stream, Unstuffer


def reference_unstuffed(wire: bytes, line_end: bytes) -> bytes:
    """RFC 1939 read literally, line by line."""
    lines = wire.split(line_end)
    return line_end.join(line[1:] if line.startswith(b".") else line for line in lines)


PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\r\n.", b"\n.b"]), max_size=30
)


@given(PIECES, st.booleans())
def test_unstuffer_is_the_same_however_it_is_cut(pieces: list[bytes], strict: bool) -> None:
    unstuffer = Unstuffer(strict=strict)
    together = b"".join(unstuffer.feed(piece) for piece in pieces)
    assert together == reference_unstuffed(b"".join(pieces), b"\r\n" if strict else b"\n")


def test_unstuffer_removes_one_dot_of_each_line() -> None:
    unstuffer = Unstuffer()
    assert unstuffer.feed(b"..a\r\n...\r\nb.\r\n.c\n..d\r") == b".a\r\n..\r\nb.\r\nc\n..d\r"
    assert unstuffer.feed(b"\n.e") == b"\ne"
    assert unstuffer.feed(b"") == b""


def reference_end(wire: bytes, strict: bool) -> tuple[int, int] | None:
    """Find the end line by line."""
    start = 0
    previous = b"\r\n"
    while (end := wire.find(b"\n", start)) >= 0:
        line = wire[start : end + 1]
        if (line == b".\r\n" and (not strict or previous.endswith(b"\r\n"))) or (
            not strict and line == b".\n"
        ):
            return start, len(line)
        previous = line
        start = end + 1
    return None


@given(PIECES, st.booleans())
def test_content_ends_where_a_reading_line_by_line_says(pieces: list[bytes], strict: bool) -> None:
    stream, content = Stream(), Content(strict=strict)
    so_far = b""
    for piece in pieces:
        so_far += piece
        stream.feed(piece, 0)
        expected = reference_end(so_far, strict)
        assert content.find_end(stream) == expected
        if expected is not None:
            break


@given(PIECES, st.booleans(), st.integers(1, 7))
def test_content_ends_there_too_when_pieces_are_given_out(
    pieces: list[bytes], strict: bool, often: int
) -> None:
    stream, content = Stream(), Content(strict=strict)
    so_far, given_out = b"", 0
    for number, piece in enumerate(pieces):
        so_far += piece
        stream.feed(piece, 0)
        found = content.find_end(stream)
        expected = reference_end(so_far, strict)
        if found is not None:
            assert expected == (found[0] + given_out, found[1])
            return
        assert expected is None
        if number % often == 0:
            taken = stream.take(content.spare(stream))
            content.taken(taken.raw)
            given_out += len(taken.raw)


def test_stream_gives_lines_and_rests() -> None:
    stream = Stream()
    stream.feed(b"one\r\ntwo", 1)
    assert stream.line_size() == 5
    assert stream.take(5) == (b"one\r\n", ((1, 5),), False)
    assert stream.line_size() == 0
    stream.feed(b"\nthree", 2)
    assert stream.line_size() == 4
    assert stream.take(4) == (b"two\n", ((1, 3), (2, 1)), True)
    assert stream.take(5) == (b"three", ((2, 5),), True)
    assert len(stream) == 0


@pytest.mark.parametrize(
    ("size", "line", "part"),
    [
        (MAX_LINE - 1, 0, False),
        (MAX_LINE, 0, True),
    ],
)
def test_stream_finds_no_line_over_the_limit(size: int, line: int, part: bool) -> None:
    stream = Stream()
    stream.feed(b"x" * size, 0)
    assert stream.line_size() == line
    assert stream.part_due() is part
    stream.feed(b"\n", 1)
    assert stream.line_size() == (0 if part else MAX_LINE)


def test_p13_no_content_in_repr() -> None:
    stream = Stream()
    stream.feed(b"canary", 0)
    assert "canary" not in repr(stream)
