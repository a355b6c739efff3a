"""Where lines about files go besides the files: to collectors, which a reload may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from popproxy.sinks.base import Sink


@runtime_checkable
class TakesLines(Protocol):
    """A sink that takes lines which are no records."""

    def put_line(self, action: str, line: bytes) -> object:
        """Take a line; callable from any thread. May not wait, and may not raise."""
        ...


class Elsewhere:
    """Hands each line about a file to those sinks of the present that take lines."""

    def __init__(self) -> None:
        """Begin without any."""
        self._takers: Sequence[Callable[[str, bytes], object]] = ()

    def follow(self, sinks: Sequence[Sink]) -> None:
        """Hand lines to these sinks from now on, as far as they take lines.

        Args:
            sinks: The outputs of sessions that begin now.
        """
        self._takers = [sink.put_line for sink in sinks if isinstance(sink, TakesLines)]

    def put(self, action: str, line: bytes) -> None:
        """Hand a line on; callable from any thread.

        Args:
            action: Its `event.action`.
            line: The line, with its end.
        """
        for taker in self._takers:
            taker(action, line)
