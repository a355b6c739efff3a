"""P25, P27, P15: the hub."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from popproxy.records import Record
from popproxy.sinks import FileSink, Hub
from popproxy.sinks.base import WARNING_INTERVAL, Notices
from tests.support import samples
from tests.support.sinks import FaultyDisk, disk, places

__all__ = ["disk"]
CANARY = "correct-horse-battery"


class View:
    """A sink that keeps what it gets, or fails."""

    def __init__(self, *, broken: bool = False, written: bool = True) -> None:
        self.records: list[Record] = []
        self.healthy = True
        self.broken = broken
        self.written = written
        self.closed = False

    def put(self, record: Record) -> None:
        if self.broken:
            raise RuntimeError(f"{CANARY} {record!r}")
        self.records.append(record)

    async def flushed(self) -> bool:
        return self.written

    async def close(self, deadline: float) -> None:
        self.closed = True
        if self.broken:
            raise RuntimeError(CANARY)


def files(path: Path, number: int = 1) -> list[FileSink]:
    return [
        FileSink("jsonl", str(path / f"{each}.jsonl"), gather=5.0, retry=0.01)
        for each in range(number)
    ]


async def test_every_sink_gets_every_record() -> None:
    views = [View(), View()]
    hub = Hub(views)
    hub.put(samples.session())
    assert [len(view.records) for view in views] == [3, 3]
    assert hub.healthy
    assert await hub.aclose() == 0
    assert all(view.closed for view in views)


async def test_p25_p15_a_broken_sink_reaches_neither_others_nor_any_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    good = View()
    hub = Hub([View(broken=True), good], on_notice=said.append)
    with structlog.testing.capture_logs() as logged:
        hub.put(samples.session())
        assert await hub.flushed()
        await hub.aclose()
    assert len(good.records) == 3
    assert good.closed
    assert len(said) == len(logged) == 1
    assert "RuntimeError in View" in said[0]
    printed = capfd.readouterr()
    assert CANARY not in printed.out + printed.err + repr(said) + repr(logged)


async def test_p27_flushed_means_on_disk(tmp_path: Path) -> None:
    sinks = files(tmp_path, 3)
    hub = Hub([*sinks, View(written=False)], required=True)
    for seq in range(1, 20):
        hub.put([samples.command("a", seq)])
        assert await hub.flushed("a")  # though the sinks would like to gather for seconds
        for each in range(3):
            assert places(tmp_path / f"{each}.jsonl")[-1] == ("a", seq)
    assert await hub.aclose() == 0


async def test_p27_what_is_written_already_is_not_waited_for(tmp_path: Path) -> None:
    hub = Hub(files(tmp_path), required=True)
    with trio.testing.assert_no_checkpoints():
        assert await hub.flushed()
    hub.put([samples.start("a")])
    assert await hub.flushed("a")
    with trio.testing.assert_no_checkpoints():
        assert await hub.flushed("a")
    await hub.aclose()


async def test_by_default_nothing_is_waited_for(tmp_path: Path) -> None:
    hub = Hub(files(tmp_path))
    hub.put([samples.start("a")])
    with trio.testing.assert_no_checkpoints():
        assert await hub.flushed()
    await hub.aclose()


async def test_p27_a_full_disk_is_told_to_all(tmp_path: Path, disk: FaultyDisk) -> None:
    hub = Hub(files(tmp_path), required=True)
    disk.room = 0
    hub.put([samples.start("a")])
    assert not await hub.flushed("a")
    assert not hub.healthy
    assert not await hub.flushed("b")
    disk.room = None
    while not hub.healthy:
        await trio.lowlevel.checkpoint()
    assert await hub.flushed("a")  # the record waited, and is not lost
    assert places(tmp_path / "0.jsonl") == [("a", 1)]
    assert await hub.aclose() == 0


async def test_p27_a_session_that_lost_a_record_is_over_and_others_are_not(
    tmp_path: Path,
) -> None:
    sink = FileSink("jsonl", str(tmp_path / "x.jsonl"), queue_octets=50_000)
    hub = Hub([sink], required=True)
    hub.put([samples.start("a"), samples.start("b")])
    hub.put([samples.data("a", 2, "x" * 100_000)])  # never fits
    assert not await hub.flushed("a")
    assert not await hub.flushed()
    assert await hub.flushed("b")
    hub.put([samples.end("a")])
    assert await hub.flushed()
    assert await hub.aclose() == 1
    assert places(tmp_path / "x.jsonl") == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]  # one a gap


async def test_p27_a_required_sink_that_raises_fails_the_session() -> None:
    hub = Hub([View(broken=True)], required=True)
    hub.put([samples.start("a")])
    assert not await hub.flushed("a")
    assert await hub.flushed("b")
    hub.put([samples.end("a")])
    assert await hub.flushed()


async def test_p27_a_view_counts_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    alone = Hub([View(written=False)], required=True)
    assert not await alone.flushed()
    beside = Hub([View(broken=True), *files(tmp_path)], required=True)
    beside.put([samples.start("a")])
    assert await beside.flushed("a")
    await beside.aclose()


async def test_waiting_can_be_cancelled(tmp_path: Path, disk: FaultyDisk) -> None:
    sink = FileSink("jsonl", "/dev/full", retry=0.01)
    hub = Hub([sink], required=True)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(hub.flushed)
                hub.put([samples.command("a")])
            scope.cancel()
    assert not await hub.flushed()
    hub.put([samples.end("a")])
    assert await hub.aclose(0.1) == 11


async def test_many_waiters_are_served_by_one_write(tmp_path: Path, disk: FaultyDisk) -> None:
    hub = Hub(files(tmp_path), required=True)
    results: list[bool] = []

    async def session(name: str) -> None:
        hub.put(samples.session(name))
        results.append(await hub.flushed(name))

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(session, f"s{number}")
    assert results == [True] * 200
    assert len(places(tmp_path / "0.jsonl")) == 600
    assert disk.writes < 200
    await hub.aclose()


async def test_closing_is_not_undone_by_a_cancelled_proxy(tmp_path: Path) -> None:
    class Slow(View):
        async def close(self, deadline: float) -> None:
            await trio.lowlevel.checkpoint()
            await super().close(deadline)

    view = Slow()
    hub = Hub([*files(tmp_path), view])
    hub.put(samples.session())
    lost = None
    with trio.CancelScope() as scope:
        scope.cancel()
        lost = await hub.aclose()
    assert lost == 0
    assert view.closed
    assert len(places(tmp_path / "0.jsonl")) == 3


async def test_a_sink_that_is_closed_in_a_cancelled_task_writes_what_is_left(
    tmp_path: Path,
) -> None:
    (sink,) = files(tmp_path)
    for record in samples.session():
        sink.put(record)
    with trio.CancelScope() as scope:
        scope.cancel()
        await sink.close(5)
    assert len(places(tmp_path / "0.jsonl")) == 3


async def test_what_comes_after_closing_is_counted(tmp_path: Path) -> None:
    hub = Hub(files(tmp_path), required=True)
    assert await hub.aclose() == 0
    hub.put(samples.session())
    assert hub.lost == 3
    assert not await hub.flushed()


async def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    hub = Hub(files(tmp_path))
    hub.put(samples.session())
    assert [await hub.aclose(), await hub.aclose()] == [0, 0]


async def test_closing_keeps_to_real_time_under_a_clock_that_jumps(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    hub = Hub(files(tmp_path, 2))
    hub.put(samples.session("a", 1000))
    assert await hub.aclose() == 0


async def test_reopening_reaches_every_file(tmp_path: Path) -> None:
    hub = Hub(files(tmp_path, 2), required=True)
    hub.put([samples.start("a")])
    assert await hub.flushed()
    for each in range(2):
        (tmp_path / f"{each}.jsonl").rename(tmp_path / f"{each}.old")
    hub.reopen()
    hub.put([samples.command("a")])
    await hub.aclose()
    for each in range(2):
        # The record may have come before the thread heard of the reopening, but is written once.
        old, new = places(tmp_path / f"{each}.old"), places(tmp_path / f"{each}.jsonl")
        assert old + new == [("a", 1), ("a", 2)]


def test_p61_one_warning_a_minute_for_each_topic() -> None:
    now = 1000.0
    said: list[str] = []
    notices = Notices("x", said.append, clock=lambda: now)
    assert notices.warn("disk", "full")
    now += WARNING_INTERVAL - 1
    assert not notices.warn("disk", "full")
    assert notices.warn("names", "taken")
    now += 1
    assert notices.warn("disk", "still full")
    assert said == ["full", "taken", "still full"]


def test_p25_a_broken_callback_does_no_harm() -> None:
    def broken(_: str) -> None:
        raise RuntimeError

    with structlog.testing.capture_logs() as logged:
        Notices("x", broken).warn("disk", "full", cause="No space left on device")
    assert logged == [
        {
            "event": "disk",
            "log_level": "warning",
            "output": "x",
            "message": "full",
            "cause": "No space left on device",
        }
    ]


class Collector(View):
    """A view that takes lines about files, and notes how the others were when it was closed."""

    def __init__(self, others: list[View]) -> None:
        super().__init__()
        self.others = others
        self.seen: list[bool] = []
        self.deadline = 0.0

    def put_line(self, action: str, line: bytes) -> None:
        pass

    async def close(self, deadline: float) -> None:
        self.seen = [other.closed for other in self.others]
        self.deadline = deadline
        await super().close(deadline)


class Leisurely(View):
    """A view that takes some time to be closed."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    async def close(self, deadline: float) -> None:
        await trio.sleep(self.seconds)
        await super().close(deadline)


@pytest.mark.parametrize(
    ("seconds", "behind"),
    [
        pytest.param(0.0, True, id="at-once"),
        pytest.param(0.9, True, id="slow"),
        pytest.param(1.1, False, id="too-slow"),
        pytest.param(1e9, False, id="never"),
    ],
)
async def test_who_takes_lines_about_files_ends_behind_them_but_in_time(
    seconds: float, behind: bool, autojump_clock: trio.testing.MockClock
) -> None:
    slow = Leisurely(seconds)
    collector = Collector([slow])
    began = trio.current_time()
    await Hub([collector, slow]).aclose(2.0)
    assert collector.closed
    assert collector.seen == [behind]
    assert collector.deadline > 1.5, "real time, of which none went by"
    assert trio.current_time() - began <= 2.0
