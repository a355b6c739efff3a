"""Legs: the two connections of a session, behind one narrow interface.

A leg reads and writes bytes, passes on an end (half-close) or a reset, and nothing more; the rest
of the relay does not know whether a socket, TLS or a test's memory lies beneath.

`SocketLeg` calls `recv` and `send` of a non-blocking socket first and asks trio to wait only when
the kernel has nothing to give or to take: a pass through trio's scheduler costs more than both
calls. Three rules come with that:

* *Fairness.* A read that needs no waiting is no chance for other tasks to run, nor for a
  cancellation to be seen. After `TURN` of them in a row the leg gives way by itself.
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

from popproxy.tls.failures import TlsFailure

READ = 64 * 1024
"""Octets asked for in one read."""
READ_MORE = 256 * 1024
"""Octets asked for after a read that came back full; also the most that a direction holds (P53)."""
TURN = 4
"""Reads without waiting, after which a leg lets other tasks run."""

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
        stalled: Whether a write waits for the peer to take octets.
        truncated: Whether the stream ended without the sign that TLS has for an end (P41).
    """

    octets_in: int
    octets_out: int
    stalled: bool
    truncated: bool

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

    async def shutdown_write(self) -> None:
        """Tell the peer that no more octets will come (half-close). Reading goes on."""
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
        "_socket",
        "_turn",
        "_wait",
        "octets_in",
        "octets_out",
        "stalled",
        "truncated",
    )

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
        self._ask = READ
        self._wait = True
        self._turn = 0
        self.octets_in = 0
        self.octets_out = 0
        self.stalled = False
        self.truncated = False

    async def read(self) -> bytes:
        """See `Leg.read`."""
        while True:
            if self._wait:
                await trio.lowlevel.wait_readable(self._descriptor)
                self._turn = 0
            elif self._turn >= TURN:
                await trio.lowlevel.checkpoint()
                self._turn = 0
            try:
                data = self._socket.recv(self._ask)
            except BlockingIOError:
                self._wait = True
                continue
            except OSError as error:
                raise leg_lost(error) from None
            size = len(data)
            self.octets_in += size
            self._turn += 1
            # A read that did not fill its buffer emptied the kernel's: asking again at once would
            # most often cost a call for nothing.
            self._wait = size < self._ask
            self._ask = READ if size < READ else READ_MORE
            return data

    async def write(self, data: bytes) -> None:
        """See `Leg.write`."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise leg_lost(error) from None
        self.octets_out += sent
        if sent < len(data):
            await self._write_rest(memoryview(data)[sent:])

    async def _write_rest(self, rest: memoryview) -> None:
        self.stalled = True
        try:
            while rest:
                await trio.lowlevel.wait_writable(self._descriptor)
                try:
                    sent = self._socket.send(rest)
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise leg_lost(error) from None
                self.octets_out += sent
                rest = rest[sent:]
        finally:
            self.stalled = False

    async def shutdown_write(self) -> None:
        """See `Leg.shutdown_write`."""
        self._shut_down()

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
        """Give the socket away: the leg is of no use afterwards, and closes nothing."""
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
            trio.lowlevel.notify_closing(self._descriptor)
            self._descriptor = -1  # the number may stand for another connection next
            self._socket.close()


def leg_lost(error: OSError) -> LegLost:
    """Say in the system's words why a connection is gone.

    Args:
        error: What the system reported.
    """
    return LegLost(os.strerror(error.errno).lower() if error.errno else "connection lost")
