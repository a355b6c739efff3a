"""Where messages stand in an mbox: one file, in which a `From ` line begins a message.

**Reading.** A message begins at a `From ` line that is the file's first or follows an empty line;
it ends before the empty line that separates it from the next. Nothing is unquoted: a `>From ` is
sent as it stands, for nobody can tell who wrote the `>`.

**Identity.** A unique-id is a digest of the message with its `From ` line, without the header
fields in which mail programs keep what they did to it. Two identical copies have the same one,
which RFC 1939, section 7, allows.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from popproxy.peers.maildrop import MaildropError, Message
from popproxy.peers.wire import Canonical

_BEGIN = b"From "
_BLANK = (b"\n", b"\r\n")
_BOOKKEEPING = (b"status:", b"x-status:", b"x-keywords:", b"x-uid:", b"x-imap:", b"x-imapbase:")
_LINE = 65_536
"""Octets of a line that are read at a time; longer lines come in several pieces."""


class Entry(NamedTuple):
    """A message in the file.

    Attributes:
        start: Where its `From ` line begins.
        content: Where the message itself begins.
        end: Where the message ends, the empty line behind it left out.
        message: Its size and unique-id.
    """

    start: int
    content: int
    end: int
    message: Message


class _Message:
    """The message that a reading of the file is in."""

    def __init__(self, start: int, begin: bytes) -> None:
        self._start = start
        self._content = self._end = start + len(begin)
        self._canonical = Canonical()
        self._octets = 0
        self._digest = hashlib.sha256(begin.rstrip(b"\r\n"))
        self._in_header = True
        self._skipped = False

    def feed(self, piece: bytes, *, begins_line: bool) -> None:
        """Take a line of the message, or a piece of one."""
        self._end += len(piece)
        canonical = self._canonical.feed(piece)
        self._octets += len(canonical)
        if begins_line and self._in_header:
            if piece in _BLANK:
                self._in_header = False
            if piece[:1] not in (b" ", b"\t"):
                self._skipped = piece.lower().startswith(_BOOKKEEPING)
        if not self._skipped:
            self._digest.update(canonical)

    def entry(self) -> Entry:
        """Give what is known at its end."""
        rest = self._canonical.end()
        self._digest.update(rest)
        message = Message(octets=self._octets + len(rest), unique_id=self._digest.hexdigest()[:32])
        return Entry(self._start, self._content, self._end, message)


def entries(pieces: Iterable[bytes]) -> Iterator[Entry]:
    """List the messages.

    Args:
        pieces: The file by lines; a line may come in several pieces.

    Yields:
        The messages in order.

    Raises:
        MaildropError: The file is no mbox.
    """
    current: _Message | None = None
    offset = 0
    held = b""  # an empty line that may be the separator of two messages
    begins_line, after_blank, in_begin = True, True, False
    for piece in pieces:
        ended = piece.endswith(b"\n")
        if begins_line and after_blank and piece.startswith(_BEGIN):
            if current is not None:
                yield current.entry()
            current, held, in_begin = _Message(offset, piece), b"", True
        elif in_begin and not begins_line:
            raise MaildropError("a line that begins a message is over 64 KB long")
        elif current is not None:
            in_begin = False
            if held:
                current.feed(held, begins_line=True)
            held = piece if begins_line and piece in _BLANK else b""
            if not held:
                current.feed(piece, begins_line=begins_line)
        elif piece not in _BLANK:
            raise MaildropError("it does not begin with a line `From …`, as an mbox does")
        after_blank = begins_line and piece in _BLANK
        begins_line = ended
        offset += len(piece)
    if current is not None:
        yield current.entry()


def scan(file: io.FileIO) -> list[Entry]:
    """List the messages of an mbox as it is now.

    Args:
        file: The mbox; it is read from its beginning.

    Raises:
        MaildropError: The file is no mbox.
        OSError: It cannot be read.
    """
    file.seek(0)
    # A buffer of its own: one that lived on would show the file as it was.
    lines = io.BufferedReader(file, _LINE)
    try:
        return list(entries(iter(lambda: lines.readline(_LINE), b"")))
    finally:
        lines.detach()
