"""What sinks say of themselves (P54, P61): true numbers, a cause in words, and no record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from popproxy.sinks import FileSink, Generations
from popproxy.sinks.backlog import QUEUE_OCTETS
from tests.support import samples
from tests.support.sinks import FaultyDisk, Pipe, disk
from tests.support.waiting import until

__all__ = ["disk"]


def quick(path: Path, octets: int = QUEUE_OCTETS) -> FileSink:
    return FileSink("jsonl", str(path), gather=0.001, retry=0.001, queue_octets=octets)


async def test_a_sink_that_writes_says_how_much(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    sink = quick(path)
    for record in samples.session("a", 5):
        sink.put(record)
    assert await sink.flushed()
    until(lambda: sink.state.waiting == 0, "the queue being empty")
    state = sink.state
    assert state.name == f"--jsonl {path}"
    assert (state.condition, state.trouble, state.lost) == ("writing", "", {})
    assert state.written == len(path.read_bytes().splitlines()) == 7
    assert (state.octets, state.room) == (0, QUEUE_OCTETS)
    await sink.close(5.0)


async def test_p54_a_sink_that_nobody_reads_says_what_waits_and_what_is_lost(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    sink = quick(path, octets=100_000)
    for seq in range(1, 501):
        sink.put(samples.command("a", seq))
    until(lambda: sink.state.condition == "failing", "the failure being noticed")
    state = sink.state
    assert state.trouble == "it is a FIFO that no program reads"
    assert state.lost == {"no-room": sink.lost}
    assert state.written == 0
    assert state.waiting + sink.lost == 500
    assert 50_000 < state.octets <= state.room == 100_000
    reader = Pipe(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    until(lambda: sink.state.condition == "writing", "recovery")
    until(lambda: sink.state.waiting == 0, "the queue being empty")
    assert sink.state.written == 500 - sink.lost  # the gap is a record of our own, not one of these
    assert sink.state.trouble, "the last trouble is told after it has ended, too"
    await sink.close(5.0)
    reader.close()


async def test_records_that_the_end_left_unwritten_have_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    sink = quick(path)
    for record in samples.session("a", 5):
        sink.put(record)
    await sink.close(0.05)
    sink.put(samples.command("a", 8))
    assert sink.state.lost == {"unwritten": 7, "late": 1}
    assert sum(sink.state.lost.values()) == sink.lost


async def test_p61_a_full_disk_is_named_in_words(tmp_path: Path, disk: FaultyDisk) -> None:
    disk.room = 0
    sink = quick(tmp_path / "log.jsonl")
    sink.put(samples.command("a", 1))
    until(lambda: sink.state.condition == "failing", "the failure being noticed")
    assert sink.state.trouble == "No space left on device"
    disk.room = None
    await sink.close(5.0)


async def test_generations_say_how_each_output_is(tmp_path: Path) -> None:
    sinks = [quick(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    generations = Generations(sinks)
    assert [state.name for state in generations.states] == [sink.name for sink in sinks]
    await generations.aclose()


async def test_p15_no_record_gets_into_a_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "correct-horse-battery"

    def broken(*_: object) -> None:
        raise RuntimeError(canary)

    monkeypatch.setattr("popproxy.sinks.output.Output.step", broken)
    sink = quick(tmp_path / "log.jsonl")
    sink.put(samples.command("a", 1))
    until(lambda: sink.state.condition == "failing", "the defect being noticed")
    assert sink.state.trouble == "a defect in popproxy (RuntimeError)"
    assert canary not in repr(sink.state)
    await sink.close(0.05)
