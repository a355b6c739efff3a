"""Logs that mark each line with its side: what is left is to see what they leave out.

Most programs log a response's status line and not the message behind it. The reading of the session
would wait for the message's end, and take all that comes for its content; so a final dot is put in
where a log goes on without one, and the gap is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from popproxy.importers.source import Item, Missing, Piece
from popproxy.pop3 import Side
from popproxy.pop3.grammar import COMMANDS, expects_lines, parse_command

CRLF: Final = b"\r\n"
NOT_LOGGED: Final = "the log has the status line and not what follows it"
NO_GREETING: Final = "the log begins behind the greeting"
_PENDING_MOST: Final = 10_000


class Marked:
    """Turns marked lines into pieces, and fills in the ends that framing needs.

    Attributes:
        stream: The connection that is spoken of.
    """

    def __init__(self, stream: int = 0) -> None:
        self.stream = stream
        self._pending: deque[bool] = deque(maxlen=_PENDING_MOST)  # whether lines may follow
        self._content = False
        self._lines = 0
        self._challenged = False
        self._after_user = False

    def client(self, text: bytes, at: datetime | None = None, end: bytes = CRLF) -> Iterator[Item]:
        """Take a line of the client.

        Args:
            text: The line without its end.
            at: When, if that is known.
            end: Its end.
        """
        yield from self.rest(at)
        if self._challenged:
            self._challenged = False
        else:
            self._pending.append(is_multi_line(text))
            self._after_user = parse_command(text).keyword == b"USER"
        yield self._piece(Side.CLIENT, text + end, at)

    def server(self, text: bytes, at: datetime | None = None, end: bytes = CRLF) -> Iterator[Item]:
        """Take a line of the server; arguments as for `client`."""
        if self._content:
            self._lines += 1
            self._content = text != b"."
        elif text.startswith((b"+OK", b"-ERR")):
            lines = self._pending.popleft() if self._pending else False
            self._content, self._lines = lines and text.startswith(b"+OK"), 0
            self._challenged = False
        elif text.startswith(b"+"):
            self._challenged = True
        yield self._piece(Side.SERVER, text + end, at)

    def greeting(self) -> Iterator[Item]:
        """Put in a greeting: the log begins behind it."""
        yield Missing(why=NO_GREETING, stream=self.stream)
        yield Piece(side=Side.SERVER, data=b"+OK\r\n", stream=self.stream, made_up=True)

    def missing_line(self, at: datetime | None = None) -> Iterator[Item]:
        """Note that the client sent a line that the log leaves out: one with a secret."""
        yield from self.client(b"PASS ********" if self._after_user else b"********", at)

    def rest(self, at: datetime | None = None) -> Iterator[Item]:
        """End a response whose lines the log leaves out."""
        if self._content and not self._lines:
            self._content = False
            yield Missing(why=NOT_LOGGED, stream=self.stream)
            yield Piece(side=Side.SERVER, data=b".\r\n", stream=self.stream, at=at, made_up=True)

    def _piece(self, side: Side, data: bytes, at: datetime | None) -> Piece:
        return Piece(side=side, data=data, stream=self.stream, at=at)


def is_multi_line(line: bytes) -> bool:
    """Tell whether a positive response to a command has several lines (RFC 1939, section 3).

    Args:
        line: The command without its line end.
    """
    command = parse_command(line)
    spec = COMMANDS.get(command.keyword)
    return spec is not None and expects_lines(spec, command.arguments) is True
