from __future__ import annotations

import hashlib
import io
import itertools
import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.peers.wire import CHUNK, Canonical, Stuffer, Top, measure
from popproxy.pop3.framing import Unstuffer

NASTY = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b": ", b"\0", b"\xff"]), max_size=40
).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=80), max_size=8)


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(borders)]


def canonical(data: bytes, cuts: Iterable[int] = ()) -> bytes:
    maker = Canonical()
    return b"".join([*map(maker.feed, pieces(data, cuts)), maker.end()])


def fed(feed: Callable[[bytes], bytes], data: bytes, cuts: Iterable[int]) -> bytes:
    return b"".join(map(feed, pieces(data, cuts)))


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (b"", b""),
        (b"\n", b"\r\n"),
        (b"a", b"a\r\n"),
        (b"a\nb\r\nc\n", b"a\r\nb\r\nc\r\n"),
        (b"a\rb\n", b"a\rb\r\n"),
        (b"a\r", b"a\r\r\n"),
        (b"\r\r\n", b"\r\r\n"),
        (b"\n\r", b"\r\n\r\r\n"),
    ],
)
def test_every_line_ends_in_crlf_and_a_stray_cr_stays(stored: bytes, sent: bytes) -> None:
    assert canonical(stored) == sent


@given(NASTY, CUTS)
def test_canonical_form_does_not_depend_on_cuts_and_is_its_own_canonical_form(
    data: bytes, cuts: list[int]
) -> None:
    once = canonical(data)
    assert canonical(data, cuts) == once
    assert canonical(once) == once
    assert once.count(b"\n") == once.count(b"\r\n")
    assert not once or once.endswith(b"\r\n")


@given(NASTY, CUTS)
def test_stuffing_is_undone_by_the_cores_unstuffing(data: bytes, cuts: list[int]) -> None:
    content = canonical(data)
    wire = fed(Stuffer().feed, content, cuts)
    assert not any(line == b"." for line in wire.split(b"\r\n"))
    assert Unstuffer().feed(wire) == content


def test_stuffing_of_a_dot_at_a_seam() -> None:
    assert fed(Stuffer().feed, b"a\r\n.b\r\n", [1, 2, 3]) == b"a\r\n..b\r\n"


def reference_top(message: bytes, lines: int) -> bytes:
    if message.startswith(b"\r\n"):
        header, body = b"\r\n", message[2:]
    else:
        end = message.find(b"\r\n\r\n")
        if end < 0:
            return message
        header, body = message[: end + 4], message[end + 4 :]
    return header + b"".join(line + b"\r\n" for line in body.split(b"\r\n")[:-1][:lines])


@given(NASTY, CUTS, st.integers(min_value=0, max_value=6))
def test_top_gives_header_and_lines_whatever_the_cuts(
    data: bytes, cuts: list[int], lines: int
) -> None:
    content = canonical(data)
    assert fed(Top(lines).feed, content, cuts) == reference_top(content, lines)


def test_top_tells_when_no_more_is_needed() -> None:
    top = Top(1)
    top.feed(b"A: b\r\n\r\none\r\ntwo")
    assert top.done


def test_measure_counts_octets_as_they_are_sent() -> None:
    stored = b"Subject: x\n\n" + random.Random(1).randbytes(3 * CHUNK)  # noqa: S311 # no secret
    content = canonical(stored)
    measured = measure(io.BytesIO(stored))
    assert measured == (len(content), hashlib.sha256(content).hexdigest())
