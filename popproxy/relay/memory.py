"""Legs without sockets, for tests and for programs that bring both ends of a session themselves.

They behave as `popproxy.relay.legs.SocketLeg` does (the same tests hold both to it), with one
difference that makes tests sharper: a read gives exactly what one write brought, so that merged or
parted segments show.
"""

from __future__ import annotations

from collections import deque

import trio

from popproxy.relay.legs import LegLost
from popproxy.relay.poller import READING, WRITING, Wake

CAPACITY = 64 * 1024
"""Octets that one direction takes before a write has to wait for the reader."""


class _Stream:
    """One direction: what was written and not read yet."""

    __slots__ = ("_waiting", "_watching", "capacity", "chunks", "ended", "reset", "size")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.ended = False
        self.reset = False
        self._waiting = trio.lowlevel.ParkingLot()
        self._watching: dict[Wake, None] = {}

    def watch(self, wake: Wake, *, watched: bool) -> None:
        """Have somebody called at each change, or no more."""
        if watched:
            self._watching[wake] = None
        else:
            self._watching.pop(wake, None)

    async def change(self) -> None:
        """Wait for a change."""
        await self._waiting.park()

    def changed(self) -> None:
        """Tell everybody of a change."""
        self._waiting.unpark_all()
        for wake in self._watching:
            _soon(wake)


def _soon(wake: Wake) -> None:
    trio.lowlevel.current_trio_token().run_sync_soon(wake, idempotent=True)


class MemoryLeg:
    """One end of an in-memory connection. See `popproxy.relay.legs.Leg`."""

    __slots__ = (
        "_closed",
        "_incoming",
        "_outgoing",
        "emptied",
        "octets_in",
        "octets_out",
        "reads_when",
        "stalled",
        "truncated",
        "writes_when",
    )

    def __init__(self, incoming: _Stream, outgoing: _Stream) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self.octets_in = 0
        self.octets_out = 0
        self.stalled = False
        self.truncated = False
        self.emptied = False
        self.reads_when = READING
        self.writes_when = WRITING

    def receive(self) -> bytes | None:
        """See `popproxy.relay.legs.Leg.receive`."""
        self._check_open()
        stream = self._incoming
        if stream.chunks:
            data = stream.chunks.popleft()
            stream.size -= len(data)
            self.octets_in += len(data)
            stream.changed()
            return data
        if stream.reset:
            raise LegLost("connection reset by peer")
        return b"" if stream.ended else None

    def send(self, data: bytes | memoryview) -> int:
        """See `popproxy.relay.legs.Leg.send`."""
        self._check_open()
        stream = self._outgoing
        if stream.reset:
            raise LegLost("connection reset by peer")
        if stream.ended:
            raise LegLost("broken pipe")
        piece = bytes(data[: max(stream.capacity - stream.size, 0)])
        if piece:
            stream.chunks.append(piece)
            stream.size += len(piece)
            self.octets_out += len(piece)
            stream.changed()
        return len(piece)

    def half_close(self) -> None:
        """See `popproxy.relay.legs.Leg.half_close`."""
        self._outgoing.ended = True
        self._outgoing.changed()

    def watch(self, wake: Wake, mask: int) -> None:
        """See `popproxy.relay.legs.Leg.watch`."""
        incoming, outgoing = self._incoming, self._outgoing
        incoming.watch(wake, watched=bool(mask & READING))
        outgoing.watch(wake, watched=bool(mask & WRITING))
        if (mask & READING and self.peek() is not None) or (
            mask & WRITING and outgoing.size < outgoing.capacity
        ):
            _soon(wake)

    def soon(self, wake: Wake) -> None:
        """See `popproxy.relay.legs.Leg.soon`."""
        _soon(wake)

    def afterwards(self, wake: Wake) -> None:
        """See `popproxy.relay.legs.Leg.afterwards`; no other leg is known here."""
        wake()

    async def read(self) -> bytes:
        """See `popproxy.relay.legs.Leg.read`."""
        await trio.lowlevel.checkpoint()
        while (data := self.receive()) is None:
            await self._incoming.change()
        return data

    async def write(self, data: bytes) -> None:
        """See `popproxy.relay.legs.Leg.write`."""
        rest = memoryview(data)
        try:
            while rest := rest[self.send(rest) :]:
                self.stalled = True
                await self._outgoing.change()
        finally:
            self.stalled = False

    def peek(self) -> bytes | None:
        """See `popproxy.relay.legs.Leg.peek`."""
        if self._incoming.chunks:
            return self._incoming.chunks[0][:1]
        return b"" if self._incoming.ended or self._incoming.reset else None

    async def readable(self) -> None:
        """See `popproxy.relay.legs.Leg.readable`."""
        await trio.lowlevel.checkpoint()
        while self.peek() is None:
            self._check_open()
            await self._incoming.change()

    def lost(self) -> bool:
        """See `popproxy.relay.legs.Leg.lost`."""
        return self._closed or self._incoming.reset

    def unsent(self) -> int:
        """See `popproxy.relay.legs.Leg.unsent`; here: octets that the peer has not read."""
        return self._outgoing.size

    def abort(self) -> None:
        """See `popproxy.relay.legs.Leg.abort`."""
        if not self._closed:
            self._outgoing.reset = True
            self.close()

    def close(self) -> None:
        """See `popproxy.relay.legs.Leg.close`."""
        if self._closed:
            return
        self._closed = True
        self._outgoing.ended = True
        # As in TCP: what the peer writes now, or has written and nobody read, is answered by a
        # reset.
        self._incoming.reset = True
        if self._incoming.chunks:
            self._outgoing.reset = True
        for stream in (self._incoming, self._outgoing):
            stream.changed()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError


def memory_legs(capacity: int = CAPACITY) -> tuple[MemoryLeg, MemoryLeg]:
    """Make a connection in memory.

    Args:
        capacity: Octets that each direction takes before a write has to wait.

    Returns:
        Its two ends.
    """
    there, back = _Stream(capacity), _Stream(capacity)
    return MemoryLeg(back, there), MemoryLeg(there, back)
