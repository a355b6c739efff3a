"""P63, P54: standard output and other streams."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from popproxy.formats import Kind, jsonl
from popproxy.records import Record
from popproxy.sinks import StreamSink
from tests.support import samples
from tests.support.sinks import FaultyDisk, Pipe, disk, places
from tests.support.waiting import until

__all__ = ["disk"]


@pytest.fixture
def pipe() -> Iterator[tuple[Pipe, int]]:
    """Give a pipe: its reader, and the descriptor to write to."""
    reading, writing = os.pipe()
    reader = Pipe(reading)
    yield reader, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:  # the test closed it
            continue


def stream(descriptor: int, kind: Kind = "jsonl", said: list[str] | None = None) -> StreamSink:
    notice = said.append if said is not None else None
    return StreamSink(kind, descriptor, gather=0.001, retry=0.01, on_notice=notice)


def put(sink: StreamSink, *records: Record) -> None:
    for record in records:
        sink.put(record)


async def test_records_come_out_in_order(pipe: tuple[Pipe, int]) -> None:
    reader, writing = pipe
    sink = stream(writing)
    put(sink, *samples.session("a", 100))
    assert await sink.flushed()
    found = [jsonl.decode(line).session.seq for line in reader.read().splitlines()]
    assert found == list(range(1, 103))
    await sink.close(1)
    os.write(writing, b"still open")  # the descriptor is the caller's


async def test_the_descriptor_stays_in_blocking_mode(pipe: tuple[Pipe, int]) -> None:
    sink = stream(pipe[1])
    put(sink, *samples.session())
    assert await sink.flushed()
    assert os.get_blocking(pipe[1])
    await sink.close(1)


async def test_p63_a_reader_that_goes_away_ends_the_sink_with_one_message(
    pipe: tuple[Pipe, int],
) -> None:
    reader, writing = pipe
    said: list[str] = []
    sink = stream(writing, said=said)
    put(sink, samples.start())
    assert await sink.flushed()
    reader.close()
    with structlog.testing.capture_logs() as logged:
        put(sink, samples.command(seq=2))
        assert not await sink.flushed()
        for seq in range(3, 1000):
            sink.put(samples.command(seq=seq))
        assert not await sink.flushed()
        assert not sink.healthy
        await sink.close(1)
    assert [entry["event"] for entry in logged] == ["stream_closed"]
    assert len(said) == 1
    assert "was closed" in said[0]
    assert sink.lost == 0  # nobody wants them


async def test_p54_a_stream_that_nobody_reads_blocks_nothing(
    pipe: tuple[Pipe, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popproxy.sinks.pump.STALL", 0.05)
    reader, writing = pipe
    sink = stream(writing)
    text = "x" * 10_000
    for seq in range(1, 101):
        sink.put(samples.data(seq=seq, text=text))  # far more than a pipe takes
    assert not await sink.flushed()  # it stalls, and says so
    assert not sink.healthy
    octets = reader.read_until(lambda read: read.count(b"\n") == 100, "all lines")
    assert [jsonl.decode(line).session.seq for line in octets.splitlines()] == list(range(1, 101))
    until(lambda: sink.healthy, "recovery")
    assert await sink.flushed()
    await sink.close(1)
    assert sink.lost == 0


async def test_closing_does_not_wait_for_a_reader(pipe: tuple[Pipe, int]) -> None:
    said: list[str] = []
    sink = stream(pipe[1], said=said)
    for seq in range(1, 101):
        sink.put(samples.data(seq=seq, text="x" * 10_000))
    await sink.close(0.1)
    assert 50 < sink.lost <= 100  # a pipe holds 64 KiB
    assert said[-1].endswith(f"{sink.lost} records were lost")


async def test_standard_output_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        sink = stream(file.fileno())
        put(sink, *samples.session("a", 10))
        await sink.close(1)
    assert len(places(path)) == 12


async def test_a_putty_log_on_a_stream_holds_one_session_at_a_time(
    pipe: tuple[Pipe, int],
) -> None:
    reader, writing = pipe
    said: list[str] = []
    sink = stream(writing, "putty", said)
    put(sink, samples.start("a"), samples.command("a", 2, "STAT"))
    put(sink, samples.start("b"), samples.command("b", 2, "LIST"), samples.end("b"))
    put(sink, samples.command("a", 3, "QUIT"), samples.end("a"))
    put(sink, samples.start("c"), samples.command("c", 2, "NOOP"), samples.end("c"))
    await sink.close(1)
    octets = reader.read()
    assert octets.count(b"PuTTY log") == 2
    assert b"STAT\r\nQUIT\r\n=~=~" in octets
    assert octets.endswith(b"NOOP\r\n")
    assert b"LIST" not in octets
    assert [text for text in said if "one session at a time" in text] == said[:1]
    assert sink.lost == 3


async def test_p27_a_session_that_is_left_out_is_not_recorded(pipe: tuple[Pipe, int]) -> None:
    sink = stream(pipe[1], "putty")
    put(sink, samples.start("a"), samples.start("b"))
    assert await sink.flushed("a")
    assert not await sink.flushed("b")
    await sink.close(1)


async def test_p61_a_file_behind_standard_output_gets_no_hole(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as file:  # as the shell's > opens it: not for appending
        disk.room = 1000
        sink = stream(file.fileno())
        put(sink, *samples.session("a", 10))
        assert not await sink.flushed()
        disk.room = None
        await sink.close(5)
    assert places(path) == [("a", seq) for seq in range(1, 13)]


@pytest.mark.parametrize("kind", ["jsonl", "text"])
async def test_p54_losses_are_told_on_the_stream(pipe: tuple[Pipe, int], kind: Kind) -> None:
    reader, writing = pipe
    sink = StreamSink(kind, writing, gather=0.001, queue_octets=200_000)
    for seq in range(1, 101):
        sink.put(samples.data("a", seq, "x" * 10_000 + "\r\n"))
    assert sink.lost > 0
    octets = reader.read_until(lambda read: b"gap" in read and read.endswith(b"\n"), "the gap")
    assert sum(b"gap" in line for line in octets.splitlines()) == 1
    assert str(sink.lost).encode() in octets.splitlines()[-1]
    await sink.close(1)


async def test_p54_a_lost_end_makes_place_for_the_next_session(pipe: tuple[Pipe, int]) -> None:
    reader, writing = pipe
    sink = StreamSink("putty", writing, gather=0.001, queue_octets=200_000)
    put(sink, samples.start("a"))
    for seq in range(2, 101):
        sink.put(samples.data("a", seq, "x" * 10_000))
    put(sink, samples.end("a", 101))
    reader.read_until(lambda read: len(read) >= (100 - sink.lost) * 10_000, "what was not lost")
    assert await sink.flushed("none")
    put(sink, *samples.session("b"))
    octets = reader.read_until(lambda read: read.endswith(b"NOOP\r\n"), "the next session")
    assert octets.count(b"PuTTY log") == 2
    await sink.close(1)


async def test_reopening_a_stream_changes_nothing(pipe: tuple[Pipe, int]) -> None:
    reader, writing = pipe
    sink = stream(writing)
    put(sink, samples.start())
    sink.reopen()
    put(sink, samples.command())
    await sink.close(1)
    assert len(reader.read().splitlines()) == 2


async def test_a_closed_descriptor_ends_the_sink(pipe: tuple[Pipe, int]) -> None:
    os.close(pipe[1])
    sink = stream(pipe[1])
    put(sink, samples.start())
    assert not await sink.flushed()
    await sink.close(1)
