"""What the event loop and a sink's thread share, under one lock that is held for moments only.

The loop puts records into a bounded backlog, and may wait until they are written. The thread takes
them, gives their room back when they are written, and says how far it has come.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import trio

from popproxy.records import Record
from popproxy.sinks.backlog import Backlog, Entry
from popproxy.sinks.losses import Losses
from popproxy.sinks.state import LossReason, SinkState

WRITTEN = 0.02
"""Seconds after which a write is held up by the system, and not by a loop that never pauses."""


@dataclass(slots=True, eq=False)
class _Waiter:
    target: int
    token: trio.lowlevel.TrioToken
    event: trio.Event


class Work(NamedTuple):
    """What the thread has to do next.

    Attributes:
        entries: Records to write.
        reopening: All files are to be opened anew.
        closing_at: Monotonic time at which to stop, if it is time to end.
    """

    entries: deque[Entry]
    reopening: bool
    closing_at: float | None


class Handover:
    """The backlog of a sink, who waits for it, and what was asked of the thread.

    Attributes:
        computing: Whether the thread is encoding records, or would be if it had the interpreter.
        writing: Monotonic time since which it writes, or has tried to; 0 if it does not.
        at_work: Monotonic time since which it is at one piece of work, such as a write that the
            system does not end; 0 while it waits for work.
    """

    def __init__(self, octets: int) -> None:
        """Begin empty.

        Args:
            octets: Memory that records may take that wait for being written.
        """
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle = False  # the thread waits for the next record
        self._backlog = Backlog(octets)
        self.computing = False
        self.writing = 0.0
        self.at_work = 0.0
        self._pressed_at = octets // 8
        self._hurry_at = octets // 16  # at high speed, gathering must not fill the backlog
        self._losses = Losses()
        self._refused = 0  # records that the thread found no place or no words for
        self._late = 0  # records that came after the end
        self._released = 0
        self._done = 0  # all records up to this number are written
        self._waiters: list[_Waiter] = []
        self._failing = False
        self._hurry = False
        self._reopening = False
        self._closing_at: float | None = None
        self._stopped = False  # the thread has ended
        self._gone = False  # the output has ended, and wants no more
        self._closed = False

    # The loop's side.

    def put(self, record: Record) -> bool:
        """Take a record, or count it as lost.

        Returns:
            Whether records come faster than the thread, which nothing else holds up, takes them.
        """
        backlog = self._backlog
        with self._lock:
            if self._closing_at is not None or self._gone:
                self._late += not self._gone
                return False
            self._losses.watch(record)
            if not backlog.add(record):
                self._losses.mark(record.session.id)
            if backlog.untaken >= self._hurry_at and not self._hurry:
                self._hurry = True
                self._changed.notify()
            elif self._idle and backlog.ready:
                self._idle = False
                self._changed.notify()
        return backlog.octets > self._pressed_at and self._lacks_turns()

    def _lacks_turns(self) -> bool:
        if not self._backlog.untaken or self._stopped:
            return False
        if self.writing:
            return time.monotonic() - self.writing < WRITTEN
        return self.computing or self._backlog.untaken >= self._hurry_at

    def hurry(self) -> None:
        """Ask the thread to write at once what is there."""
        with self._lock:
            if self._done < self._backlog.added and not self._hurry:
                self._hurry = True
                self._changed.notify()

    async def flushed(self, session_id: str | None) -> bool:
        """Wait until everything put so far is written; see `QueuedSink.flushed`."""
        with self._lock:
            target = self._backlog.added
            over = self._failing or self._stopped or self._closed
            if over or self._done >= target or self._losses.concern(session_id):
                return self._verdict(target, session_id)
            waiter = _Waiter(target, trio.lowlevel.current_trio_token(), trio.Event())
            self._waiters.append(waiter)
            self._hurry = True
            self._changed.notify()
        # A waiter that is cancelled here stays in the list until the thread has come that far, or
        # has found that it cannot.
        await waiter.event.wait()
        with self._lock:
            return self._verdict(target, session_id)

    def _verdict(self, target: int, session_id: str | None) -> bool:
        over = self._gone or self._late
        return self._done >= target and not over and not self._losses.concern(session_id)

    def reopen(self) -> None:
        """Ask the thread to open all files anew."""
        with self._lock:
            self._reopening = True
            self._changed.notify()

    def begin_close(self, at: float) -> None:
        """Take no more records, and have the thread end when all is written, or at a time.

        Args:
            at: Monotonic time.
        """
        with self._lock:
            if self._closing_at is None:
                self._closing_at = at
            self._changed.notify()

    def end_close(self) -> bool:
        """Count what is still unwritten as lost; False if that was done before."""
        with self._lock:
            closed, self._closed = self._closed, True
            return not closed

    def stuck(self, seconds: float) -> bool:
        """Say whether the thread is held up, or has ended though nobody asked it to.

        An output that fails, or whose reader is slow, does not hold the thread up.

        Args:
            seconds: How long it may be at one piece of work.
        """
        since = self.at_work
        if since and time.monotonic() - since > seconds:
            return True
        with self._lock:
            return self._stopped and not self._gone and self._closing_at is None

    @property
    def healthy(self) -> bool:
        """Whether records are being written as they come."""
        with self._lock:
            return not (self._failing or self._gone)

    @property
    def lost(self) -> int:
        """How many records were lost."""
        with self._lock:
            return sum(self._lost().values())

    def state(self, name: str, trouble: str) -> SinkState:
        """Say how the sink is, all of it at one moment.

        Args:
            name: What the sink is called.
            trouble: Why an output could not be written last.
        """
        with self._lock:
            backlog = self._backlog
            return SinkState(
                name=name,
                condition="ended" if self._gone else "failing" if self._failing else "writing",
                written=self._released - self._refused,
                waiting=self._unwritten(),
                octets=backlog.octets,
                room=backlog.limit,
                lost={reason: records for reason, records in self._lost().items() if records},
                trouble=trouble,
            )

    def _unwritten(self) -> int:
        return self._backlog.added - self._backlog.lost - self._released

    def _lost(self) -> dict[LossReason, int]:
        over = self._closed and not self._gone
        return {
            "no-room": self._backlog.lost,
            "refused": self._refused,
            "late": self._late,
            "unwritten": self._unwritten() if over else 0,
        }

    # The thread's side.

    def next(self, until_retry: float | None, gather: float) -> Work:
        """Wait for something to do.

        Args:
            until_retry: Seconds until a failed output is due; None if there is none.
            gather: Seconds to let records come together, if nobody is in a hurry.
        """
        self.at_work = 0.0
        with self._lock:
            if self._closing_at is None:
                self._idle = True
                self._changed.wait_for(self._has_work, until_retry)
                self._idle = False
                if self._backlog.ready:
                    self._changed.wait_for(self._urgent, gather)
            elif until_retry is not None:
                self._changed.wait(until_retry)
            self._hurry = False
            reopening, self._reopening = self._reopening, False
            closing_at = self._closing_at
            self.at_work = time.monotonic()
            return Work(self._backlog.take(final=closing_at is not None), reopening, closing_at)

    def _has_work(self) -> bool:
        return self._backlog.ready or self._urgent()

    def _urgent(self) -> bool:
        return self._hurry or self._reopening or self._closing_at is not None

    def release(self, weight: int, records: int) -> None:
        """Give back the room of records that were dealt with."""
        with self._lock:
            self._backlog.release(weight)
            self._released += records

    def lose(self, record: Record) -> None:
        """Count a record that no format or output would take."""
        with self._lock:
            self._losses.mark(record.session.id)
            self._refused += 1

    def settle(
        self, done: int, *, failing: bool, stopped: bool = False, gone: bool = False
    ) -> None:
        """Tell how far the writing has come, and wake those who waited for it.

        Args:
            done: All records up to this number are written or known to be lost.
            failing: An output fails or stalls.
            stopped: The thread ends.
            gone: It ends because the output wants no more.
        """
        with self._lock:
            self._done = done
            self._failing = failing
            self._stopped = self._stopped or stopped
            self._gone = self._gone or gone
            over = failing or stopped
            woken = [waiter for waiter in self._waiters if over or waiter.target <= done]
            self._waiters = [] if over else [w for w in self._waiters if w.target > done]
        for waiter in woken:
            # If trio has ended, nobody waits any more.
            with contextlib.suppress(trio.RunFinishedError):
                waiter.token.run_sync_soon(waiter.event.set)
