"""What every sink is, and how sinks speak to people about trouble."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from typing import Protocol

from popproxy.diagnostics import logger
from popproxy.records import Record

WARNING_INTERVAL = 60.0
"""Seconds between two warnings about the same thing (P61)."""


class SinkError(Exception):
    """An output cannot be used as it was asked for. The message is for people."""


class Sink(Protocol):
    """Where records go."""

    def put(self, record: Record) -> None:
        """Take a record. Never blocks, never raises."""
        ...

    async def flushed(self) -> bool:
        """Wait until everything that was put so far is written; False if it could not be."""
        ...

    async def close(self, deadline: float) -> None:
        """Write what is left, for at most `deadline` seconds, and end."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether records are being written as they come."""
        ...


class Notices:
    """Tells people about a sink's trouble: to the diagnostics, and to a callback.

    A warning about one topic comes at most once in `WARNING_INTERVAL`. No text of a peer and no
    record ever gets in here (P13, P15): callers pass names of files, numbers and causes.

    Attributes:
        output: How the sink is called in messages: its option and path.
    """

    def __init__(
        self,
        output: str,
        on_notice: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.output = output
        self._on_notice = on_notice
        self._clock = clock
        self._last: dict[str, float] = {}

    def warn(self, topic: str, text: str, **facts: str | int) -> bool:
        """Give a warning, unless one about the same topic was given within the minute.

        Args:
            topic: What the warning is about; also the name of the diagnostic event.
            text: One sentence for a person.
            facts: Values for the diagnostics; not `output` or `message`, which are there already.

        Returns:
            Whether the warning was given.
        """
        now = self._clock()
        last = self._last.get(topic)
        if last is not None and now - last < WARNING_INTERVAL:
            return False
        self._last[topic] = now
        self._tell("warning", topic, text, facts)
        return True

    def inform(self, topic: str, text: str, **facts: str | int) -> None:
        """Say something that is no trouble, such as that trouble has ended."""
        self._tell("info", topic, text, facts)

    def _tell(self, level: str, topic: str, text: str, facts: dict[str, str | int]) -> None:
        # A broken terminal or log handler must not end the recording (P25).
        with contextlib.suppress(Exception):
            log = logger("popproxy.sinks")
            getattr(log, level)(topic, output=self.output, message=text, **facts)
        if self._on_notice is not None:
            with contextlib.suppress(Exception):
                self._on_notice(text)


_CAUSES = {
    errno.ELOOP: "it is a symbolic link, and those are not followed",
    errno.ENXIO: "it is a FIFO that no program reads",
    errno.EISDIR: "it is a directory",
    errno.EAGAIN: "whoever reads it does not keep up",
    errno.EBUSY: "another process uses it",
    errno.EPIPE: "whoever read it has gone",
}


def explain(error: OSError) -> str:
    """Say in words why an output cannot be written, from the error's number alone."""
    if error.errno is None:
        return "unknown error"
    return _CAUSES.get(error.errno) or os.strerror(error.errno)
