"""Turns of the event loop and of the sinks' threads, which share one interpreter."""

from __future__ import annotations

import sys
import time

TURN = 0.0003
"""Seconds of computing after which the loop gets a turn."""

PAUSE = 0.000_02
"""Seconds of sleep in which it can take it; a sleep of 0 would be over before it woke up."""

SWITCH = 0.0005
"""Seconds after which the loop gives way to a thread that waits for the interpreter."""


def share_interpreter() -> None:
    """Have a busy loop leave the threads of sinks their share; for the whole process.

    Python's own 5 ms would be due each time that a thread comes back from the system: a thread that
    opens and closes a file for each session could serve a few dozen of them in a second.
    """
    sys.setswitchinterval(SWITCH)


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
