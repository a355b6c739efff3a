"""Giving the event loop its turn while a sink's thread computes."""

from __future__ import annotations

import time

TURN = 0.0003
"""Seconds of computing after which the loop gets a turn."""

PAUSE = 0.000_02
"""Seconds of sleep in which it can take it; a sleep of 0 would be over before it woke up."""


class Turns:
    """Interrupts a long computation every now and then.

    Encoding is plain computation: left alone, the interpreter would let it go on for 5 ms before
    the loop could run, and every session would feel that.
    """

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def offer(self) -> None:
        """Pause, if the thread has been computing for a while."""
        if time.perf_counter() - self._since > TURN:
            time.sleep(PAUSE)
            self._since = time.perf_counter()
