"""When an output counts as failing: the thread's bookkeeping, without a thread."""

from __future__ import annotations

import errno
import math
import types
from collections.abc import Iterable

import pytest

from popproxy.formats import JsonLinesWriter
from popproxy.sinks.backlog import Entry, Loss
from popproxy.sinks.base import Notices
from popproxy.sinks.handover import WRITTEN, Handover
from popproxy.sinks.output import Output
from popproxy.sinks.pump import RETRY, STALL, Pump
from popproxy.sinks.target import StreamTarget
from tests.support import samples

Step = tuple[float, bool, int]
"""Seconds that pass, whether a chunk gets written, and the error behind it; 0 is the end."""


class Scripted(Output):
    """An output that does what a script says."""

    def __init__(self, notices: Notices, clock: list[float], script: list[Step]) -> None:
        super().__init__(
            StreamTarget(1, "test"), JsonLinesWriter, notices=notices, on_lost=lambda _: None
        )
        self.clock = clock
        self.script = script
        self.wrote = False
        self.seen: list[bool] = []

    def step(self) -> tuple[int, int] | None:
        """Do the next thing of the script, and note how the output was judged before."""
        seconds, writes, error = self.script[0]
        if writes and not self.wrote:
            self.wrote = True
            return 0, 0
        self.wrote = False
        self.seen.append(self.failing)
        self.clock[0] += seconds
        del self.script[0]
        if error:
            raise OSError(error, "test")
        return None


class One:
    """A sink's outputs, of which there is one."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.done = False

    def place(self, entry: Entry) -> Iterable[Output]:
        assert not isinstance(entry[2], Loss)
        return [self.output]

    def written(self, output: Output) -> None:
        self.done = True

    def give_up(self, output: Output, error: OSError) -> bool:
        return False

    def reopen(self) -> Iterable[Output]:
        return []

    def end(self) -> Iterable[Output]:
        return []

    def close(self) -> None:
        assert self.done


def judged(monkeypatch: pytest.MonkeyPatch, *script: Step) -> tuple[list[bool], list[str]]:
    clock = [100.0]
    said: list[str] = []
    monkeypatch.setattr(
        "popproxy.sinks.pump.time", types.SimpleNamespace(monotonic=lambda: clock[0])
    )
    notices = Notices("test", said.append, clock=lambda: clock[0])
    output = Scripted(notices, clock, list(script))
    handover = Handover(1_000_000)
    handover.put(samples.start())
    handover.begin_close(math.inf)
    Pump(handover, One(output), notices, retry=0.0).run()
    return output.seen, said


def test_a_reader_that_takes_something_now_and_then_is_slow_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = (STALL * 0.9, True, errno.EAGAIN)
    seen, said = judged(monkeypatch, slow, slow, slow, slow, (0, True, 0))
    assert not any(seen)
    assert said == []


def test_a_reader_that_takes_nothing_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    still = (STALL * 0.6, False, errno.EAGAIN)
    seen, said = judged(monkeypatch, still, still, still, (0, True, 0))
    assert seen == [False, False, False, True]
    assert len(said) == 2  # that it stalls, and that it goes on
    assert "does not keep up" in said[0]


@pytest.mark.parametrize(
    ("no_room_for", "lends"), [(0.0, True), (WRITTEN / 2, True), (WRITTEN * 2, False)]
)
def test_p54_the_loop_lends_no_time_to_a_thread_that_a_reader_holds_up(
    no_room_for: float, *, lends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    for module in ("pump", "handover"):
        clock = types.SimpleNamespace(monotonic=lambda: now)
        monkeypatch.setattr(f"popproxy.sinks.{module}.time", clock)
    handover = Handover(64 * 1024)
    pressed: list[bool] = []

    class Asking(Scripted):
        def step(self) -> tuple[int, int] | None:
            pressed.extend([handover.put(samples.start()) for _ in range(40)])
            return super().step()

    notices = Notices("test", None, clock=lambda: now)
    output = Asking(notices, [now], [(0, False, 0)])
    output.blocked_since = now - no_room_for if no_room_for else 0.0
    handover.put(samples.start())
    pump = Pump(handover, One(output), notices, retry=0.0)
    pump._deal_with(handover.next(None, 0.0))
    assert any(pressed) == lends


def test_p61_a_failure_is_told_at_once_and_then_every_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = (30.0, False, errno.ENOSPC)
    seen, said = judged(monkeypatch, *[full] * 7, (0, True, 0))
    assert seen == [False, *[True] * 7]
    assert sum("No space left" in text for text in said) == 4  # after 30, 90, 150, 210 s
    assert "is written again" in said[-1]
    assert RETRY <= 1.0
