"""Lines from a stream: bounded in memory and linear in time, whatever the other end sends."""

from __future__ import annotations

import re

import trio

# LF ends a line, and so does CR NUL, which is what telnet sends for Return (RFC 854).
_LINE_END = re.compile(rb"\n|\r\x00")
_READ = 16_384


class LineTooLongError(Exception):
    """A line was over the limit; it has been dropped, and the next one can be read."""


class EndOfStreamError(Exception):
    """The other end sends nothing more; a last line without an end has been dropped."""


class LineReader:
    """Reads lines.

    Any line end is accepted: CRLF, LF, CR CR LF, CR NUL. A CR elsewhere is content.

    Args:
        stream: Where they come from.
    """

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._searched = 0
        self._ended = False

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return f"<{type(self).__name__}>"

    @property
    def ready(self) -> bool:
        """Whether the next line has come whole."""
        return self._find() is not None

    @property
    def empty(self) -> bool:
        """Whether nothing has come behind the last line."""
        return not self._buffer

    def _find(self) -> tuple[int, int] | None:
        found = _LINE_END.search(self._buffer, self._searched)
        if found is None:
            self._searched = max(len(self._buffer) - 1, 0)
            return None
        self._searched = found.start()
        return found.span()

    async def line(self, limit: int) -> bytes:
        """Read the next line.

        Args:
            limit: The most octets that it may have, line end left out.

        Returns:
            The line without its line end.

        Raises:
            LineTooLongError: It is longer.
            EndOfStreamError: There is none.
            trio.BrokenResourceError: The connection was lost.
        """
        dropped = False
        while (found := self._find()) is None:
            if len(self._buffer) > limit + 2:  # 2: the line end may have come in part
                dropped = True
                del self._buffer[:-1]
                self._searched = 0
            data = b"" if self._ended else await self._stream.receive_some(_READ)
            if not data:
                self._ended = True
                raise EndOfStreamError
            self._buffer += data
        start, end = found
        line = bytes(self._buffer[:start]).rstrip(b"\r")
        del self._buffer[:end]
        self._searched = 0
        if dropped or len(line) > limit:
            raise LineTooLongError
        return line
