"""The connection as a session of the embedded server uses it: lines in, answers out.

Answers are gathered while more commands are at hand and sent before the session waits, so that a
client which pipelines (RFC 2449, section 6.6) gets them together, as from other servers.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from popproxy.peers.lines import LineReader

_GATHERED = 65_536
"""Octets of answers that are gathered before they are sent."""
_LINGER = 1.0
"""Seconds that the client has to close after QUIT, before the connection is closed under it."""


class SessionLostError(Exception):
    """The session is over, without the UPDATE state: the client is gone, or was silent for long."""


class Channel:
    """A connection with a client.

    Args:
        stream: The connection.
        idle: Seconds that the client may be silent, or may refuse to take an answer.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, idle: float) -> None:
        self._stream = stream
        self._idle = idle
        self._lines = LineReader(stream)
        self._out = bytearray()

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Channel>"

    async def line(self, limit: int) -> bytes:
        """Read the next line; what has been gathered is sent first if that means to wait.

        Args:
            limit: The most octets that the line may have.

        Raises:
            LineTooLongError: It is longer. The next one can be read.
            EndOfStreamError: The client sends nothing more.
            SessionLostError: The client was silent for too long.
            trio.BrokenResourceError: The connection was lost.
        """
        if not self._lines.ready:
            await self.flush()
        with trio.move_on_after(self._idle):
            return await self._lines.line(limit)
        raise SessionLostError

    async def answer(self, line: bytes) -> None:
        """Answer with one line.

        Args:
            line: The line without its line end.
        """
        await self.content(line + b"\r\n")

    async def multi_line(self, first: bytes, lines: Iterable[bytes]) -> None:
        """Answer with several lines (RFC 1939, section 3), none of which begins with a dot."""
        await self.answer(first)
        for line in lines:
            await self.answer(line)
        await self.answer(b".")

    async def content(self, octets: bytes) -> None:
        """Send octets as they are."""
        self._out += octets
        if len(self._out) > _GATHERED:
            await self.flush()

    async def flush(self) -> None:
        """Send what has been gathered.

        Raises:
            SessionLostError: The client took none of it for too long.
            trio.BrokenResourceError: The connection was lost.
        """
        out = bytes(self._out)
        self._out.clear()
        if not out:
            return
        with trio.move_on_after(self._idle):
            await self._stream.send_all(out)
            return
        raise SessionLostError

    async def linger(self) -> None:
        """Let the client take the last answer.

        Closing a socket that holds unread octets resets the connection, and the client would lose
        what was sent before.
        """
        with trio.move_on_after(_LINGER):
            await self._stream.send_eof()
            for _ in range(16):
                if not await self._stream.receive_some(_GATHERED):
                    break
