"""What was sent on before anybody has read it, in the order in which it came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from popproxy.pop3 import Event, Side

LATER = 4 * 1024
"""Octets of one session that are put off together."""

Note = Callable[[Side, bytes, Sequence[Event]], None]
"""Is called with octets that were put off, when they are read: who sent them, and the events."""


class Unread(NamedTuple):
    """What one read brought.

    Attributes:
        side: Who sent it.
        data: At least one octet.
        at: When, monotonic, in nanoseconds.
        note: Called when it is read.
    """

    side: Side
    data: bytes
    at: int
    note: Note | None


class Later:
    """The reads of one session that are still to be read along.

    Attributes:
        waiting: They, in order.
    """

    __slots__ = ("_octets", "waiting")

    def __init__(self) -> None:
        self.waiting: tuple[Unread, ...] = ()  # there are rarely two
        self._octets = 0

    @property
    def overdue(self) -> bool:
        """Whether more octets wait than should."""
        return self._octets > LATER

    def add(self, unread: Unread) -> None:
        """Add a read."""
        self.waiting += (unread,)
        self._octets += len(unread.data)

    def pop(self) -> Unread:
        """Give the first; there is one."""
        first = self.waiting[0]
        self.waiting = self.waiting[1:]
        self._octets -= len(first.data)
        return first
