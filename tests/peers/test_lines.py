from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from popproxy.peers.lines import EndOfStreamError, LineReader, LineTooLongError

OUTCOME = bytes | type[Exception]


async def read_all(pieces: list[bytes], limit: int) -> list[OUTCOME]:
    """Read to the end; a line that is too long is told by its exception's type."""
    writer, stream = trio.testing.memory_stream_one_way_pair()
    reader = LineReader(stream)
    found: list[OUTCOME] = []

    async def write() -> None:
        for piece in pieces:
            await writer.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        await writer.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        while True:
            try:
                found.append(await reader.line(limit))
            except LineTooLongError:
                found.append(LineTooLongError)
            except EndOfStreamError:
                return found


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n", b"\r\0"])
async def test_any_line_end_is_accepted(end: bytes) -> None:
    assert await read_all([b"one" + end + end + b"two" + end], 10) == [b"one", b"", b"two"]


async def test_a_cr_elsewhere_is_content() -> None:
    assert await read_all([b"a\rb\r\n"], 10) == [b"a\rb"]


async def test_a_line_without_an_end_is_dropped() -> None:
    assert await read_all([b"one\r\ntw"], 10) == [b"one"]


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_line_over_the_limit_is_told_once_and_the_next_one_read(size: int) -> None:
    data = b"a\n" + b"x" * 5_000 + b"\r\nb\n"
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert await read_all(pieces, 100) == [b"a", LineTooLongError, b"b"]


async def test_a_line_at_the_limit_is_read() -> None:
    exact = b"x" * 100
    for end in (b"\n", b"\r\n", b"\r\0"):
        assert await read_all([exact, end[:1], end[1:] or b"\n"], 100) != [LineTooLongError]
        assert (await read_all([exact + end], 100))[0] == exact
        assert (await read_all([exact + b"x" + end], 100))[0] is LineTooLongError


async def test_p50_a_line_without_an_end_does_not_fill_the_memory() -> None:
    writer, stream = trio.testing.memory_stream_one_way_pair()
    reader = LineReader(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.line, 1_000)
        for _ in range(200):
            await writer.send_all(b"x" * 10_000)
            await trio.testing.wait_all_tasks_blocked()
            assert len(reader._buffer) <= 20_000
        nursery.cancel_scope.cancel()


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\0", b"x", b"xxxxx", b"."]), max_size=30).map(
        b"".join
    ),
    st.lists(st.integers(min_value=0, max_value=60), max_size=6),
)
def test_p73_lines_do_not_depend_on_the_cuts(data: bytes, cuts: list[int]) -> None:
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(borders) if end > start]
    whole = trio.run(read_all, [data] if data else [], 8)
    assert trio.run(read_all, pieces, 8) == whole
