"""Housekeeping: what is due by time, for all sessions, by one task.

A timer for each session would cost each idle one a kilobyte or more, and every octet that passes
would have to reset it. Instead all sessions are looked at in turn, a few times a second; there is
nothing to do, and no waking up, while there is no session.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import trio

TICK = 0.25
"""Seconds between two looks at a session. A reset of a leg that nobody reads from is found within
this time, and the rest of a second is left to pass it on (P26)."""
_BATCH = 256
"""Sessions looked at before other tasks may run."""


class Tended(Protocol):
    """What is looked after."""

    @property
    def route_name(self) -> str:
        """The name of its route."""
        ...

    def end(self, reason: str) -> None:
        """End for this reason, soon."""
        ...

    def tick(self, now: float, at: int) -> None:
        """Do what is due; `now` is trio's clock in seconds, `at` the monotonic one in ns."""
        ...


class Housekeeper:
    """The sessions that are under way, and the task that looks after them."""

    __slots__ = ("_changed", "_clock", "sessions")

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Begin without sessions.

        Args:
            clock: The monotonic clock, in nanoseconds.
        """
        self.sessions: dict[Tended, None] = {}
        self._changed = trio.Event()
        self._clock = clock

    def add(self, session: Tended) -> None:
        """Look after a session from now on."""
        self.sessions[session] = None
        self._wake()

    def remove(self, session: Tended) -> None:
        """Look after a session no more."""
        self.sessions.pop(session, None)
        if not self.sessions:
            self._wake()

    async def run(self) -> None:
        """Look after the sessions until cancelled."""
        while True:
            while not self.sessions:
                await self._changed.wait()
            await trio.sleep(TICK)
            for number, session in enumerate(list(self.sessions), start=1):
                if session in self.sessions:
                    session.tick(trio.current_time(), self._clock())
                if number % _BATCH == 0:
                    await trio.lowlevel.checkpoint()

    async def empty(self) -> None:
        """Wait until there is no session."""
        while self.sessions:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
