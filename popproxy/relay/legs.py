"""Legs: the two connections of a session, behind one narrow interface.

A leg reads and writes bytes, passes on an end (half-close) or a reset, and nothing more; the rest
of the relay does not know whether a socket, TLS or a test's memory lies beneath.

There are two ways to use a leg. `receive` and `send` never wait; `watch` tells when they can go on:
so the pumps relay, for thousands of sessions in one task (`popproxy.relay.poller`). `read` and
`write` do the same and wait, for whoever has a task of its own, at the beginning of a session for
example. Three rules come with that:

* *Fairness.* A read that needs no waiting is no chance for other tasks to run, nor for a
  cancellation to be seen. After `TURN` of them in a row `read` gives way by itself.
* *Read boundaries.* What one read brought is written before the next read is made; segments of a
  client are never merged (some servers lose commands that come together with the login), and never
  parted unless the kernel takes only a part.
* *Resets.* Linux reports a reset once, to whichever call comes first, and an ordinary end of
  stream to all others. So whoever catches `LegLost` has to remember it. A leg that nobody reads
  from is asked by `lost`, which leaves the report where it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import sys
import termios
from typing import Protocol

import trio

from popproxy.relay.poller import READING, WRITING, Poller, Wake, current_poller
from popproxy.tls.failures import TlsFailure

READ = 64 * 1024
"""Octets asked for in one read."""
READ_MORE = 256 * 1024
"""Octets asked for after a read that came back full; also the most that a direction holds (P53)."""
TURN = 4
"""Reads without waiting, after which `read` lets other tasks run."""

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class LegLost(Exception):  # noqa: N818 - it says what happened to the leg; not every loss is an error
    """The connection is gone without an orderly end: a reset, or a network that failed.

    Attributes:
        cause: The system's words for it; never a peer's.
        failure: What went wrong in TLS, if it was that.
    """

    def __init__(self, cause: str, failure: TlsFailure | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.failure = failure


class Leg(Protocol):
    """One connection of a session.

    Attributes:
        octets_in: Octets read so far.
        octets_out: Octets written so far, those of a write that has not ended included.
        stalled: Whether octets wait for the peer to take them.
        truncated: Whether the stream ended without the sign that TLS has for an end (P41).
        emptied: Whether the last `receive` took all that had come, as far as is known: another one
            at once would most often be for nothing.
        reads_when: What has to be possible before `receive` can go on: `READING`, or `WRITING`
            where TLS has to write first.
        writes_when: The same for `send`.
    """

    octets_in: int
    octets_out: int
    stalled: bool
    truncated: bool
    emptied: bool
    reads_when: int
    writes_when: int

    def receive(self) -> bytes | None:
        """Give what one read brings, without waiting.

        Returns:
            At least one octet; empty at the end of the stream, None if nothing has come.

        Raises:
            LegLost: The connection is gone.
        """
        ...

    def send(self, data: bytes | memoryview) -> int:
        """Hand octets to the peer's connection, without waiting.

        Returns:
            How many it took, 0 if it takes none now.

        Raises:
            LegLost: The connection is gone.
        """
        ...

    def half_close(self) -> None:
        """Tell the peer that no more octets will come, as soon as possible. Reading goes on."""
        ...

    def watch(self, wake: Wake, mask: int) -> None:
        """Have somebody called when `receive` or `send` may go on, again and again.

        Args:
            wake: Whom to call; must not raise. Never called from inside a method of the leg.
            mask: `READING`, `WRITING`, both, or 0 for an end.
        """
        ...

    def soon(self, wake: Wake) -> None:
        """Have somebody called once, when other tasks have had their turn."""
        ...

    def afterwards(self, wake: Wake) -> None:
        """Have somebody called once, when all legs that are ready now have been seen to."""
        ...

    async def read(self) -> bytes:
        """Wait for octets and give what one read brings; empty at the end of the stream.

        Raises:
            LegLost: The connection is gone.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Hand all octets to the peer's connection, waiting while it takes none.

        Raises:
            LegLost: The connection is gone.
        """
        ...

    def peek(self) -> bytes | None:
        """Give the first octet of the connection that was not read yet, and leave it there.

        Under TLS it is an octet of the connection all the same, not of what is said inside.

        Returns:
            The octet; empty at the end of the stream or if the connection is gone, None if
            nothing has come.
        """
        ...

    async def readable(self) -> None:
        """Wait until `peek` tells something."""
        ...

    def lost(self) -> bool:
        """Say whether the connection is gone, without reading from it and without waiting."""
        ...

    def unsent(self) -> int:
        """Give how many written octets the peer has not yet acknowledged, as far as is known."""
        ...

    def abort(self) -> None:
        """Reset the connection: the peer learns that it was no orderly end. For good."""
        ...

    def close(self) -> None:
        """Close the connection in both directions. For good; closing twice does nothing."""
        ...


class SocketLeg:
    """A leg over a connected TCP socket. See `Leg` for its attributes and methods."""

    __slots__ = (
        "_ask",
        "_descriptor",
        "_poller",
        "_socket",
        "_turn",
        "emptied",
        "octets_in",
        "octets_out",
        "stalled",
    )

    truncated: bool = False
    reads_when: int = READING
    writes_when: int = WRITING

    def __init__(self, connected: socket.socket) -> None:
        """Take a socket over; it is closed by the leg from now on.

        Args:
            connected: A connected, non-blocking TCP socket.
        """
        # Without it Nagle's algorithm holds small commands back for an acknowledgement (P24).
        with contextlib.suppress(OSError):  # macOS: the peer may have reset the connection already
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._descriptor = connected.fileno()
        self._poller: Poller | None = None
        self._ask = READ
        self._turn = 0
        self.octets_in = 0
        self.octets_out = 0
        self.stalled = False
        self.emptied = True

    def receive(self) -> bytes | None:
        """See `Leg.receive`."""
        try:
            data = self._socket.recv(self._ask)
        except BlockingIOError:
            self.emptied = True
            return None
        except OSError as error:
            raise leg_lost(error) from None
        size = len(data)
        self.octets_in += size
        # A read that did not fill its buffer emptied the kernel's.
        self.emptied = size < self._ask
        self._ask = READ if size < READ else READ_MORE
        return data

    def send(self, data: bytes | memoryview) -> int:
        """See `Leg.send`."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise leg_lost(error) from None
        self.octets_out += sent
        return sent

    def half_close(self) -> None:
        """See `Leg.half_close`."""
        self._shut_down()

    def watch(self, wake: Wake, mask: int) -> None:
        """See `Leg.watch`."""
        if self._descriptor < 0:
            return
        if self._poller is None:
            if not mask:
                return
            self._poller = current_poller()
        self._poller.watch(self._descriptor, wake, mask)

    def soon(self, wake: Wake) -> None:
        """See `Leg.soon`."""
        trio.lowlevel.current_trio_token().run_sync_soon(wake)

    def afterwards(self, wake: Wake) -> None:
        """See `Leg.afterwards`."""
        if self._poller is None:
            wake()
        else:
            self._poller.afterwards(wake)

    async def read(self) -> bytes:
        """See `Leg.read`."""
        while True:
            if self.reads_when == WRITING:
                await trio.lowlevel.wait_writable(self._descriptor)
                self._turn = 0
            elif self.emptied:
                await trio.lowlevel.wait_readable(self._descriptor)
                self._turn = 0
            elif self._turn >= TURN:
                await trio.lowlevel.checkpoint()
                self._turn = 0
            data = self.receive()
            if data is not None:
                self._turn += 1
                return data

    async def write(self, data: bytes) -> None:
        """See `Leg.write`."""
        sent = self.send(data)
        if sent < len(data):
            await self._write_rest(memoryview(data)[sent:])

    async def _write_rest(self, rest: memoryview) -> None:
        self.stalled = True
        try:
            while rest:
                if self.writes_when == READING:
                    await trio.lowlevel.wait_readable(self._descriptor)
                else:
                    await trio.lowlevel.wait_writable(self._descriptor)
                rest = rest[self.send(rest) :]
        finally:
            self.stalled = False

    def _shut_down(self) -> None:
        # If the connection is gone already, whoever reads from it will be told.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def peek(self) -> bytes | None:
        """See `Leg.peek`."""
        try:
            return socket.socket.recv(self._socket, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def readable(self) -> None:
        """See `Leg.readable`."""
        await trio.lowlevel.wait_readable(self._descriptor)

    def take(self) -> socket.socket:
        """Give the socket away: the leg is of no use afterwards, and closes nothing.

        Nobody may watch it.
        """
        self._descriptor = -1
        return self._socket

    def lost(self) -> bool:
        """See `Leg.lost`."""
        if self._descriptor < 0:
            return True
        # With no events asked for, poll tells of errors and of the end of both directions; the
        # latter is orderly. Asking so leaves the error to be reported by recv or send as well.
        poll = select.poll()
        poll.register(self._socket, 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))

    def unsent(self) -> int:
        """See `Leg.unsent`."""
        try:
            answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # closed, or a system that does not tell
            return 0
        return int.from_bytes(answer, sys.byteorder)

    def abort(self) -> None:
        """See `Leg.abort`."""
        self._reset_at_close()
        self.close()

    def _reset_at_close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)

    def close(self) -> None:
        """See `Leg.close`."""
        if self._descriptor >= 0:
            if self._poller is not None:
                self._poller.forget(self._descriptor)
            trio.lowlevel.notify_closing(self._descriptor)
            self._descriptor = -1  # the number may stand for another connection next
            self._socket.close()


def leg_lost(error: OSError) -> LegLost:
    """Say in the system's words why a connection is gone.

    Args:
        error: What the system reported.
    """
    return LegLost(os.strerror(error.errno).lower() if error.errno else "connection lost")
