"""What the relay tells about itself: never a peer's bytes, never the text of an exception (P13).

An exception raised by code that handles traffic may quote it. Diagnostics therefore name the
exception's type and the place in our code, which is enough to find the defect.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import PurePath

from popproxy.diagnostics import logger

_NAME = "popproxy.relay"


def warn(event: str, **facts: str | int) -> None:
    """Give a warning; a log that cannot be written never disturbs the traffic (P25)."""
    with contextlib.suppress(Exception):
        logger(_NAME).warning(event, **facts)


def inform(event: str, **facts: str | int) -> None:
    """Say something that needs no action; as harmless as `warn`."""
    with contextlib.suppress(Exception):
        logger(_NAME).info(event, **facts)


def whereabouts(error: BaseException) -> str:
    """Name an exception's type and the innermost places that it came through.

    Args:
        error: The exception; of a group, the first one that is no group.

    Returns:
        Such as `ValueError at framing.py:88 in feed, session.py:120 in receive`.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{PurePath(code.co_filename).name}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {', '.join(reversed(places[-3:])) or 'an unknown place'}"


def now() -> float:
    """Monotonic time in seconds, for `Limiter`."""
    return time.monotonic()


class Limiter:
    """Lets a few through in each interval and counts the rest (P56)."""

    __slots__ = ("_burst", "_interval", "_since", "_suppressed", "_taken")

    def __init__(self, interval: float, burst: int = 1) -> None:
        """Begin with nothing said.

        Args:
            interval: Seconds.
            burst: How many are let through in each.
        """
        self._interval = interval
        self._burst = burst
        self._since: float | None = None
        self._taken = 0
        self._suppressed = 0

    def passes(self, now: float) -> bool:
        """Say whether one more is let through now; if not, it is counted.

        Args:
            now: Monotonic time in seconds.
        """
        if self._since is None or now - self._since >= self._interval:
            self._since = now
            self._taken = 0
        self._taken += 1
        if self._taken <= self._burst:
            return True
        self._suppressed += 1
        return False

    def suppressed(self) -> int:
        """Give how many were held back since this was last asked."""
        count, self._suppressed = self._suppressed, 0
        return count
