"""P61, P15: chunks, failures in the middle of a record, and defects in formats."""

from __future__ import annotations

import contextlib
import errno
import os
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popproxy.formats import (
    FormatError,
    JsonLinesWriter,
    Kind,
    PuttyMode,
    Writer,
    jsonl,
    writer_for,
)
from popproxy.records import GapRecord, Record
from popproxy.sinks import turns
from popproxy.sinks.backlog import weigh
from popproxy.sinks.base import Notices
from popproxy.sinks.output import CHUNK, Output
from popproxy.sinks.target import FileTarget
from tests.support import samples
from tests.support.sinks import FaultyDisk, Pipe, disk, lines, places

__all__ = ["disk"]


class Rig:
    """An output of a file, and what it said."""

    def __init__(
        self, path: Path, kind: Kind = "jsonl", make_writer: Callable[[], Writer] | None = None
    ) -> None:
        self.path = path
        self.said: list[str] = []
        self.lost: list[Record] = []
        notices = Notices("test", self.said.append)
        self.output = Output(
            FileTarget(str(path), lines=kind != "putty", notices=notices),
            make_writer or (lambda: writer_for(kind)),
            notices=notices,
            on_lost=self.lost.append,
        )
        self.number = 0

    def add(self, *new: Record) -> None:
        for record in new:
            self.number += 1
            self.output.add(self.number, weigh(record), record)

    def drain(self) -> int:
        """Write everything; give how many records were written."""
        count = 0
        while (written := self.output.step()) is not None:
            count += written[1]
        return count


def failing(rig: Rig, number: int) -> None:
    with pytest.raises(OSError) as failed:  # noqa: PT011 -- the number is looked at
        rig.drain()
    assert failed.value.errno == number


def test_records_are_written_in_order_and_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "x")
    rig.add(*samples.session("s1", 5))
    assert rig.output.first_unwritten == 1
    assert rig.output.unwritten == 7
    assert rig.drain() == 7
    assert places(rig.path) == [("s1", seq) for seq in range(1, 8)]
    assert rig.output.idle
    assert rig.output.first_unwritten is None


def test_nothing_is_opened_before_there_is_an_octet(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "x", "putty")
    rig.add(samples.start())
    assert rig.drain() == 1
    assert not rig.path.exists()
    rig.add(samples.command())
    rig.drain()
    assert rig.path.exists()


def test_chunks_are_of_bounded_size(tmp_path: Path, disk: FaultyDisk) -> None:
    rig = Rig(tmp_path / "x")
    rig.add(*(samples.data(seq=seq, text="x" * 10_000) for seq in range(1, 101)))
    written = rig.output.step()
    assert written is not None
    assert CHUNK <= written[0] < 2 * CHUNK
    assert disk.writes == 1
    rig.drain()
    assert len(places(rig.path)) == 100


def test_p54_the_event_loop_gets_its_turn_while_records_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    pauses: list[float] = []

    def clock() -> float:
        nonlocal now
        now += turns.TURN / 10
        return now

    clocks = types.SimpleNamespace(perf_counter=clock, sleep=pauses.append)
    monkeypatch.setattr(turns, "time", clocks)
    rig = Rig(tmp_path / "x")
    rig.add(*(samples.command(seq=seq) for seq in range(1, 101)))
    rig.drain()
    assert len(pauses) >= 5
    assert all(pause > 0 for pause in pauses)


def test_p61_a_record_cut_by_a_full_disk_is_taken_back(tmp_path: Path, disk: FaultyDisk) -> None:
    rig = Rig(tmp_path / "x")
    one = len(jsonl.encode(samples.command(seq=2)))
    disk.room = 2 * one + one // 2
    rig.add(*(samples.command(seq=seq) for seq in range(2, 8)))
    failing(rig, errno.ENOSPC)
    assert places(rig.path) == [("s1", 2), ("s1", 3)]  # no torn line, even while it fails
    disk.room = None
    assert rig.drain() == 6
    assert places(rig.path) == [("s1", seq) for seq in range(2, 8)]


@pytest.mark.parametrize("can_read", [True, False])
def test_p61_where_nothing_can_be_cut_a_newline_comes_first(
    tmp_path: Path, disk: FaultyDisk, can_read: bool
) -> None:
    disk.can_read = can_read
    rig = Rig(tmp_path / "x")
    one = len(jsonl.encode(samples.command(seq=2)))
    disk.can_truncate = False
    disk.room = one + 10
    rig.add(samples.command(seq=2), samples.command(seq=3))
    failing(rig, errno.ENOSPC)
    disk.room = None
    rig.drain()
    whole = [jsonl.encode(samples.command(seq=seq)) for seq in (2, 3)]
    assert lines(rig.path) == [whole[0], whole[1][:10] + b"\n", whole[1]]


def test_p61_what_others_appended_is_never_cut(tmp_path: Path, disk: FaultyDisk) -> None:
    rig = Rig(tmp_path / "x")
    one = jsonl.encode(samples.command(seq=2))
    disk.room = 10
    rig.add(samples.command(seq=2))
    real = disk.write

    def write(descriptor: int, octets: bytes | memoryview) -> int:
        try:
            return real(descriptor, octets)
        except OSError:
            with rig.path.open("ab") as other:
                other.write(b"someone else's\n")
            raise

    disk.write = write  # type: ignore[method-assign] # one more fault
    failing(rig, errno.ENOSPC)
    disk.room = None
    rig.drain()
    assert lines(rig.path) == [one[:10] + b"someone else's\n", one]


@pytest.mark.parametrize("mode", ["printable", "all"])
def test_p61_a_putty_log_that_cannot_be_cut_goes_on_where_it_stopped(
    tmp_path: Path, disk: FaultyDisk, mode: PuttyMode
) -> None:
    rig = Rig(tmp_path / "x", "putty", lambda: writer_for("putty", putty_mode=mode))
    disk.can_truncate = False
    disk.room = 90
    rig.add(samples.command(seq=2, keyword="STAT"), samples.command(seq=3, keyword="LIST"))
    failing(rig, errno.ENOSPC)
    disk.room = None
    rig.output.end()
    rig.drain()
    assert lines(rig.path)[1:] == [b"STAT\r\n", b"LIST\r\n"]
    assert lines(rig.path)[0].startswith(b"=~=~=")


def test_p61_a_torn_last_line_of_an_earlier_process_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "x"
    whole = jsonl.encode(samples.command(seq=2))
    path.write_bytes(whole + whole[:20])
    rig = Rig(path)
    rig.add(samples.command(seq=3))
    rig.drain()
    assert lines(path) == [whole, whole[:20] + b"\n", jsonl.encode(samples.command(seq=3))]


def test_a_whole_file_of_an_earlier_process_gets_no_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(jsonl.encode(samples.command(seq=2)))
    rig = Rig(path)
    rig.add(samples.command(seq=3))
    rig.drain()
    assert places(path) == [("s1", 2), ("s1", 3)]


def test_a_putty_log_is_appended_to_directly_behind_its_last_octet(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"=~=~ a log\r\n+OK bye")
    rig = Rig(path, "putty")
    rig.add(samples.command(seq=2))
    rig.drain()
    assert path.read_bytes().startswith(b"=~=~ a log\r\n+OK bye=~=~=~=")


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EDQUOT, errno.EFBIG])
def test_p61_any_error_is_survived(tmp_path: Path, disk: FaultyDisk, number: int) -> None:
    rig = Rig(tmp_path / "x")
    rig.add(samples.command(seq=2))
    disk.error = number
    failing(rig, number)
    failing(rig, number)
    disk.error = None
    assert rig.drain() == 1
    assert places(rig.path) == [("s1", 2)]


@pytest.mark.parametrize("kind", ["jsonl", "text", "putty"])
def test_p61_a_deleted_file_is_made_anew(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "d" / "x"
    rig = Rig(path, kind)
    rig.add(samples.start(), samples.command(seq=2))
    rig.drain()
    first = path.read_bytes()
    path.unlink()
    path.parent.rmdir()
    rig.add(samples.command(seq=3, keyword="STAT"))
    rig.drain()
    again = path.read_bytes()
    assert b"STAT" in again
    assert b"NOOP" not in again
    if kind != "jsonl":  # a new file begins as such a file begins
        assert again.splitlines()[0] == first.splitlines()[0]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(rig.said) == 1
    assert "was removed" in rig.said[0]


def test_p61_a_file_that_is_removed_again_and_again_is_an_error(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    rig = Rig(tmp_path / "x")
    rig.add(samples.command(seq=2))
    real = disk.write

    def write(descriptor: int, octets: bytes | memoryview) -> int:
        rig.path.unlink()
        return real(descriptor, octets)

    disk.write = write  # type: ignore[method-assign] # one more fault
    failing(rig, errno.ENOENT)
    del disk.write
    assert rig.drain() == 1
    assert places(rig.path) == [("s1", 2)]


def test_p69_an_existing_file_that_others_can_read_is_told_of(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "x")
    rig.path.touch()
    rig.path.chmod(0o644)
    rig.add(samples.command(seq=2))
    rig.drain()
    assert len(rig.said) == 1
    assert "can be read by other users" in rig.said[0]


@pytest.mark.parametrize("kind", ["jsonl", "text"])
def test_p62_a_truncated_file_begins_anew(tmp_path: Path, kind: Kind) -> None:
    rig = Rig(tmp_path / "x", kind)
    rig.add(samples.start(), samples.command(seq=2))
    rig.drain()
    first = rig.path.read_bytes()
    os.truncate(rig.path, 0)
    rig.add(samples.command(seq=3, keyword="STAT"))
    rig.drain()
    again = rig.path.read_bytes()
    assert b"STAT" in again
    assert b"\0" not in again
    assert (again.splitlines()[0] == first.splitlines()[0]) is (kind == "text")


def test_p62_a_renamed_file_is_written_to_until_it_is_opened_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "x")
    rig.add(samples.command(seq=2))
    rig.drain()
    rig.path.rename(tmp_path / "x.1")
    rig.add(samples.command(seq=3))
    rig.drain()
    rig.output.release()
    rig.add(samples.command(seq=4))
    rig.drain()
    assert places(tmp_path / "x.1") == [("s1", 2), ("s1", 3)]
    assert places(rig.path) == [("s1", 4)]


def test_p62_a_fifo_is_not_reopened_amid_a_record(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = Pipe(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    rig = Rig(path)
    rig.add(*(samples.data(seq=seq, text="x" * 10_000) for seq in range(1, 101)))
    for _ in range(1000):
        with contextlib.suppress(BlockingIOError):
            rig.drain()
        rig.output.release()
        reader.read()
    reader.close()
    found = [jsonl.decode(line).session.seq for line in reader.octets.splitlines()]
    assert found == list(range(1, 101))


CANARY = "correct-horse-battery"


class Broken(JsonLinesWriter):
    """Fails at commands, and quotes the record while it does."""

    def write(self, record: Record) -> bytes:
        if record.event.action == "pop3.command":
            raise ValueError(f"cannot write {record!r} {CANARY}")
        return super().write(record)

    def end(self) -> bytes:
        raise ValueError(CANARY)


def test_p15_p25_a_defect_in_a_format_costs_its_records_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rig = Rig(tmp_path / "x", make_writer=Broken)
    rig.add(samples.start(), samples.command(seq=2, keyword=CANARY), samples.data(seq=3))
    with structlog.testing.capture_logs() as logged:
        rig.output.end()
        assert rig.drain() == 3
    found = [jsonl.decode(line) for line in lines(rig.path)]
    assert [record.event.action for record in found] == ["session.start", "gap", "pop3.data"]
    gap = found[1]
    assert isinstance(gap, GapRecord)
    assert (gap.gap.records, gap.session.seq) == (1, 2)
    assert [record.session.seq for record in rig.lost] == [2]
    printed = capfd.readouterr()
    assert CANARY not in rig.path.read_text() + printed.out + printed.err
    assert CANARY not in repr(rig.said) + repr(logged)
    assert "ValueError" in rig.said[0]


class Hopeless(JsonLinesWriter):
    """Fails at everything."""

    def write(self, record: Record) -> bytes:
        raise RuntimeError


def test_p25_a_format_that_always_fails_writes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "x", make_writer=Hopeless)
    rig.add(*samples.session())
    assert rig.drain() == 3
    assert not rig.path.exists()
    assert len(rig.lost) == 3


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 5)),
        st.tuples(st.just("room"), st.integers(0, 1500)),
        st.tuples(st.just("error"), st.sampled_from([errno.EIO, errno.EROFS])),
        st.tuples(st.just("recover"), st.just(0)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(st.just("no truncate"), st.just(0)),
    ),
    max_size=30,
)


@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_p61_whatever_fails_no_record_is_lost_doubled_or_glued(
    steps: list[Step], tmp_path: Path, disk: FaultyDisk
) -> None:
    path = tmp_path / "x"
    path.unlink(missing_ok=True)
    disk.room = disk.error = None
    disk.can_truncate = True
    rig = Rig(path)
    count = 0

    def attempt() -> None:
        with contextlib.suppress(OSError):
            rig.drain()

    for what, value in [*steps, ("recover", 0)]:
        if what == "add":
            rig.add(
                *(samples.data(seq=count + each, text="x" * 300) for each in range(1, value + 1))
            )
            count += value
        elif what == "room":
            disk.room = value
        elif what == "error":
            disk.error = value
        elif what == "recover":
            disk.room = disk.error = None
        elif what == "release":
            rig.output.release()
        else:
            disk.can_truncate = False
        attempt()
    found = []
    for line in lines(path):
        assert line.endswith(b"\n")
        try:
            found.append(jsonl.decode(line).session.seq)
        except FormatError:
            assert not disk.can_truncate  # only then a torn line stays, on a line of its own
    # A line that lacked but its newline is written twice, where nothing can be cut.
    distinct = list(dict.fromkeys(found)) if not disk.can_truncate else found
    assert distinct == list(range(1, count + 1))
    rig.output.target.close()
