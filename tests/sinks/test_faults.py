"""P54, P61, P64, P69: what befalls logs in real life, with real files and processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
import trio

from popproxy.formats import FormatError, jsonl
from popproxy.records import GapRecord
from popproxy.sinks import FileSink
from popproxy.sinks.backlog import SESSIONS_PER_LOSS
from popproxy.sinks.pump import GATHER
from popproxy.sinks.target import PATIENCE
from tests.support import samples
from tests.support.sinks import FaultyDisk, Pipe, disk, gaps, lines, places, wait_for_lines
from tests.support.waiting import until

__all__ = ["disk"]
REPOSITORY = Path(__file__).parents[2]


def quick(path: Path | str, said: list[str] | None = None, octets: int = 1 << 24) -> FileSink:
    notice = said.append if said is not None else None
    return FileSink(
        "jsonl", str(path), gather=0.001, retry=0.001, queue_octets=octets, on_notice=notice
    )


def close(sink: FileSink, deadline: float = 5.0) -> None:
    trio.run(sink.close, deadline)


# --- P54: slow and blocked


def fifo_in(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def reader_of(path: Path) -> Pipe:
    return Pipe(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


def whole_lines(octets: bytes) -> int:
    return octets.count(b"\n")


def test_p54_a_fifo_that_nobody_reads_costs_nothing(tmp_path: Path) -> None:
    path = fifo_in(tmp_path)
    said: list[str] = []
    sink = quick(path, said)
    for record in samples.session("a", 1000):
        sink.put(record)
    until(lambda: not sink.healthy, "the failure being noticed")
    assert "FIFO that no program reads" in said[0]
    assert len(said) == 1
    reader = reader_of(path)
    octets = reader.read_until(lambda read: whole_lines(read) == 1002, "all records")
    assert [jsonl.decode(line).session.seq for line in octets.splitlines()] == list(range(1, 1003))
    until(lambda: sink.healthy, "recovery")
    close(sink)
    reader.close()
    assert sink.lost == 0


def test_p54_overflow_is_one_gap_with_the_right_number(tmp_path: Path) -> None:
    path = fifo_in(tmp_path)
    sink = quick(path, octets=200_000)
    for seq in range(1, 1001):
        sink.put(samples.command("a", seq))
    reader = reader_of(path)
    reader.read_until(lambda read: bool(gaps(read)), "the gap")  # though nothing more is put
    sink.put(samples.command("a", 1001))
    octets = reader.read_until(lambda read: read.endswith(b"\n") and b":1001}" in read, "the last")
    found = [jsonl.decode(line) for line in octets.splitlines()]
    (gap,) = (record for record in found if isinstance(record, GapRecord))
    written = [record.session.seq for record in found if not isinstance(record, GapRecord)]
    first_lost = gap.session.seq
    assert gap.gap.records == 1001 - len(written) == sink.lost
    assert written == [*range(1, first_lost), 1001]
    assert found[-2] is gap
    close(sink)
    reader.close()


def test_p54_the_gap_of_a_shared_file_counts_all_sessions(tmp_path: Path) -> None:
    path = fifo_in(tmp_path)
    sink = quick(path, octets=10_000)
    for number in range(2 * SESSIONS_PER_LOSS):
        for record in samples.session(f"s{number}"):
            sink.put(record)
    reader = reader_of(path)
    (gap,) = gaps(reader.read_until(lambda read: bool(gaps(read)), "the gap"))
    assert gap.gap.records == sink.lost > 2 * SESSIONS_PER_LOSS
    close(sink)
    reader.close()


def test_p54_memory_is_bounded(tmp_path: Path) -> None:
    sink = quick(fifo_in(tmp_path), octets=1_000_000)
    sink.put(samples.start("a"))
    until(lambda: not sink.healthy, "the failure being noticed")
    tracemalloc.start()
    try:
        for seq in range(2, 20_002):  # some 60 MB
            sink.put(samples.data("a", seq, str(seq) * 600))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 2_000_000
    assert sink.lost > 19_000
    close(sink, 0.05)


def test_p54_sessions_that_come_and_go_unwritten_take_bounded_memory(tmp_path: Path) -> None:
    sink = quick(fifo_in(tmp_path), octets=100_000)
    tracemalloc.start()
    try:
        for number in range(5_000):
            for record in samples.session(f"session-{number}"):
                sink.put(record)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 2_000_000
    close(sink, 0.05)


def test_p54_disks_are_touched_by_the_sinks_thread_alone(tmp_path: Path, disk: FaultyDisk) -> None:
    sink = quick(tmp_path / "x")
    for record in samples.session("a", 100):
        sink.put(record)
    close(sink)
    assert disk.writes
    assert threading.get_ident() not in disk.threads
    assert len(disk.threads) == 1


async def test_p54_a_stalled_reader_is_told_from_a_slow_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popproxy.sinks.pump.STALL", 0.05)
    path = fifo_in(tmp_path)
    reader = reader_of(path)
    said: list[str] = []
    sink = quick(path, said)
    for seq in range(1, 101):
        sink.put(samples.data("a", seq, "x" * 10_000))
    assert not await sink.flushed()
    assert "does not keep up" in said[0]
    reader.read_until(lambda read: whole_lines(read) == 100, "all records")
    until(lambda: sink.healthy, "recovery")
    assert await sink.flushed()
    await sink.close(1)
    reader.close()


def test_p54_a_new_reader_gets_whole_lines(tmp_path: Path) -> None:
    path = fifo_in(tmp_path)
    first = reader_of(path)
    sink = quick(path)
    for seq in range(1, 101):
        sink.put(samples.data("a", seq, "x" * 10_000))
    first.read_until(lambda read: whole_lines(read) > 3, "the first records")
    first.close()
    until(lambda: not sink.healthy, "the reader being missed")
    second = reader_of(path)
    octets = second.read_until(
        lambda read: b'"seq":100}' in read[-10_400:] and read.endswith(b"\n"), "the last record"
    )
    for line in octets.splitlines():
        jsonl.decode(line)
    close(sink)
    second.close()


def test_p54_a_new_reader_gets_what_such_a_file_begins_with(tmp_path: Path) -> None:
    path = fifo_in(tmp_path)
    sink = FileSink("text", str(path), gather=0.001, retry=0.001)
    for seq, keyword in enumerate(["STAT", "LIST"], start=2):
        reader = reader_of(path)
        sink.put(samples.command("a", seq, keyword))
        octets = reader.read_until(lambda read, word=keyword: word.encode() in read, keyword)  # type: ignore[misc] # a default that binds
        assert octets.startswith(b"# popproxy transcript")
        reader.close()
        if seq == 2:
            sink.put(samples.command("a", 100))
            until(lambda: not sink.healthy, "the reader being missed")
    close(sink, 0.05)


def test_p54_a_backlog_that_grows_fast_is_not_gathered(tmp_path: Path) -> None:
    sink = FileSink("jsonl", str(tmp_path / "x"), gather=1000.0, queue_octets=1_000_000)
    for seq in range(1, 1001):  # more than the queue takes at once
        sink.put(samples.data("a", seq, "x" * 1000))
        if seq % 100 == 0:
            wait_for_lines(tmp_path / "x", seq - 99)
    close(sink)
    assert sink.lost == 0


def test_closing_keeps_to_its_deadline_and_counts_what_is_left(tmp_path: Path) -> None:
    sink = quick(fifo_in(tmp_path))
    for record in samples.session("a", 98):
        sink.put(record)
    close(sink, 0.05)
    assert sink.lost == 100


# --- P61: failing disks


def test_p61_a_full_device_is_told_of_once_a_minute(disk: FaultyDisk) -> None:
    said: list[str] = []
    sink = quick("/dev/full", said)
    for record in samples.session("a", 10):
        sink.put(record)
    until(lambda: disk.writes > 20, "twenty attempts")
    close(sink, 0.05)
    assert [text for text in said if "No space left on device" in text] == said[:1]
    assert sink.lost == 12
    assert said[1:] == ["--jsonl /dev/full: 12 records were lost"]


def test_p61_losses_on_a_full_disk_are_recorded_when_it_recovers(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    said: list[str] = []
    sink = quick(tmp_path / "x", said, octets=100_000)
    disk.room = 1000
    for seq in range(1, 501):
        sink.put(samples.command("a", seq))
    until(lambda: not sink.healthy, "the failure being noticed")
    disk.room = None
    until(lambda: sink.healthy, "recovery")
    sink.put(samples.command("a", 501))
    close(sink)
    found = [jsonl.decode(line) for line in lines(tmp_path / "x")]
    (gap,) = (record for record in found if isinstance(record, GapRecord))
    assert gap.gap.records == sink.lost == 502 - len(found)
    assert said[0].startswith(f"{tmp_path / 'x'} cannot be written: No space left on device")
    assert any("is written again" in text for text in said)


def test_p61_a_directory_that_is_removed_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "deep" / "x"
    sink = quick(path)
    sink.put(samples.command("a", 1))
    wait_for_lines(path, 1)
    for seq in range(2, 30):
        shutil.rmtree(tmp_path / "logs")
        sink.put(samples.command("a", seq))
        wait_for_lines(path, 1)
        assert places(path) == [("a", seq)]
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    close(sink)
    assert sink.lost == 0


def test_p61_a_directory_that_cannot_be_made_is_waited_for(tmp_path: Path) -> None:
    obstacle = tmp_path / "logs"
    obstacle.touch()
    said: list[str] = []
    sink = quick(obstacle / "x", said)
    for record in samples.session():
        sink.put(record)
    until(lambda: not sink.healthy, "the failure being noticed")
    obstacle.unlink()
    wait_for_lines(obstacle / "x", 3)
    until(lambda: len(said) == 2, "the good news")
    assert "Not a directory" in said[0]
    assert "is written again; 0 records were lost" in said[1]
    close(sink)


def test_p62_truncated_while_it_is_written_no_line_is_torn(tmp_path: Path) -> None:
    """As logrotate's copytruncate does; what it copies away is its own affair."""
    path = tmp_path / "x"
    sink = quick(path)
    for seq in range(1, 2001):
        sink.put(samples.command("a", seq))
        if seq % 100 == 0:
            with contextlib.suppress(FileNotFoundError):
                os.truncate(path, 0)
    close(sink)
    assert [seq for _, seq in places(path)] == list(range(2001 - len(lines(path)), 2001))


LIMITED = """
import os, resource, structlog, sys, trio
from popproxy.sinks import FileSink
from tests.support import samples
from tests.support.waiting import until

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
said = []
sink = FileSink("jsonl", sys.argv[1], gather=0.001, retry=0.001, on_notice=said.append)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_123, hard))
for seq in range(1, 501):
    sink.put(samples.command("a", seq))
until(lambda: not sink.healthy, "the limit")
# Each new attempt fills the file to the limit, and is cut back again.
until(lambda: 20_123 - 400 < os.path.getsize(sys.argv[1]) < 20_123, "a border")
print("cut back", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
until(lambda: sink.healthy, "recovery")
trio.run(sink.close, 10.0)
print(sink.lost, *said, sep="\\n")
"""


def run(program: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_p61_the_kernel_stops_a_record_halfway(tmp_path: Path) -> None:
    path = tmp_path / "x"
    cut, lost, *said = run(LIMITED, str(path))
    assert cut == "cut back"  # to a border
    assert lost == "0"
    assert any("File too large" in text for text in said)
    assert places(path) == [("a", seq) for seq in range(1, 501)]


# --- P64: the end without warning

WRITING = """
import itertools, sys, threading
from popproxy.sinks import FileSink
from tests.support import samples

sink = FileSink("jsonl", sys.argv[1])
for seq in itertools.count(1):
    sink.put(samples.data(sys.argv[2], seq, "x" * (seq % 3000)))
    if seq == int(sys.argv[3]):
        print("put", flush=True)
        threading.Event().wait()
"""


def kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def start(path: Path, session: str, stop_at: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITING, str(path), session, str(stop_at)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_growth(path: Path, size: int) -> None:
    until(lambda: path.exists() and path.stat().st_size > size, f"{size} octets")


def test_p64_what_was_put_reaches_the_file_without_being_asked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    child = start(path, "a", 300)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "put\n"
        wait_for_lines(path, 300)  # nothing more is put, and nobody flushes or closes
    finally:
        kill(child)
    assert places(path) == [("a", seq) for seq in range(1, 301)]
    assert GATHER + PATIENCE <= 0.2  # how long records are held on purpose; P64 allows a second


def test_p64_killed_at_any_moment_all_lines_but_the_last_parse(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for attempt in range(6):
        size = path.stat().st_size if path.exists() else 0
        child = start(path, f"s{attempt}", -1)
        try:
            wait_for_growth(path, size + 300_000)
        finally:
            kill(child)
        with contextlib.suppress(FormatError):
            jsonl.decode(lines(path)[-1])
            continue
        assert not lines(path)[-1].endswith(b"\n")
    torn = 0
    found: dict[str, list[int]] = {}
    for line in lines(path):
        try:
            record = jsonl.decode(line)
        except FormatError:
            torn += 1
            continue
        found.setdefault(record.session.id, []).append(record.session.seq)
    assert torn <= 6
    assert list(found) == [f"s{attempt}" for attempt in range(6)]
    for numbers in found.values():
        assert numbers == list(range(1, len(numbers) + 1))


# --- P25: defects of our own


def test_p25_a_defect_in_choosing_the_file_costs_its_records_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sink = quick(tmp_path / "&S", said)

    def broken(path: str, session_id: str) -> str:
        raise LookupError("correct-horse")

    monkeypatch.setattr("popproxy.sinks.file_sink.with_session", broken)
    monkeypatch.setattr("popproxy.sinks.naming.slug", lambda value: broken("", value))
    sink.put(samples.start("a"))
    until(lambda: sink.lost == 1, "the loss")
    monkeypatch.undo()
    sink.put(samples.command("a"))
    wait_for_lines(tmp_path / "a", 1)
    close(sink)
    assert len(said) == 2
    assert "LookupError" in said[0]
    assert "correct-horse" not in repr(said)


def test_p25_a_defect_in_writing_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sink = quick(tmp_path / "x", said)

    def broken(path: str) -> int:
        raise LookupError("correct-horse")

    monkeypatch.setattr("popproxy.sinks.target.open_log", broken)
    sink.put(samples.start("a"))
    until(lambda: not sink.healthy, "the failure being noticed")
    monkeypatch.undo()
    wait_for_lines(tmp_path / "x", 1)
    close(sink)
    assert sink.lost == 0
    assert "LookupError" in said[0]
    assert "correct-horse" not in repr(said)


def test_no_threads_left_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = quick(tmp_path / "x")

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sink.put(samples.start("a"))
    assert trio.run(sink.flushed) is False
    monkeypatch.undo()
    sink.put(samples.command("a"))
    wait_for_lines(tmp_path / "x", 2)
    close(sink)
