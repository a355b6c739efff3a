"""Legs without sockets, for tests and for programs that bring both ends of a session themselves.

They behave as `popproxy.relay.legs.SocketLeg` does (the same tests hold both to it), with one
difference that makes tests sharper: a read gives exactly what one write brought, so that merged or
parted segments show.
"""

from __future__ import annotations

from collections import deque

import trio

from popproxy.relay.legs import LegLost

CAPACITY = 64 * 1024
"""Octets that one direction takes before a write has to wait for the reader."""


class _Stream:
    """One direction: what was written and not read yet."""

    __slots__ = ("capacity", "changed", "chunks", "ended", "reset", "size")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.ended = False
        self.reset = False
        self.changed = trio.lowlevel.ParkingLot()


class MemoryLeg:
    """One end of an in-memory connection. See `popproxy.relay.legs.Leg`."""

    __slots__ = (
        "_closed",
        "_incoming",
        "_outgoing",
        "octets_in",
        "octets_out",
        "stalled",
        "truncated",
    )

    def __init__(self, incoming: _Stream, outgoing: _Stream) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self.octets_in = 0
        self.octets_out = 0
        self.stalled = False
        self.truncated = False

    async def read(self) -> bytes:
        """See `popproxy.relay.legs.Leg.read`."""
        await trio.lowlevel.checkpoint()
        stream = self._incoming
        while not (stream.chunks or stream.ended or stream.reset):
            self._check_open()
            await stream.changed.park()
        self._check_open()
        if stream.chunks:
            data = stream.chunks.popleft()
            stream.size -= len(data)
            self.octets_in += len(data)
            stream.changed.unpark_all()
            return data
        if stream.reset:
            raise LegLost("connection reset by peer")
        return b""

    async def write(self, data: bytes) -> None:
        """See `popproxy.relay.legs.Leg.write`."""
        stream = self._outgoing
        try:
            while data:
                self._check_open()
                if stream.reset:
                    raise LegLost("connection reset by peer")
                if stream.ended:
                    raise LegLost("broken pipe")
                room = stream.capacity - stream.size
                if room <= 0:
                    self.stalled = True
                    await stream.changed.park()
                    continue
                piece, data = data[:room], data[room:]
                stream.chunks.append(piece)
                stream.size += len(piece)
                self.octets_out += len(piece)
                stream.changed.unpark_all()
        finally:
            self.stalled = False

    async def shutdown_write(self) -> None:
        """See `popproxy.relay.legs.Leg.shutdown_write`."""
        self._outgoing.ended = True
        self._outgoing.changed.unpark_all()

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
            await self._incoming.changed.park()

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
            stream.changed.unpark_all()

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
