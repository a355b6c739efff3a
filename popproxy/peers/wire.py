"""A stored message to the bytes that RETR and TOP send: incremental, linear, bounded.

Messages are stored with whatever line ends the delivering program used. On the wire every line
ends in CRLF (RFC 1939, section 3), the last one too, and sizes count it so (section 11): the size
that LIST gives is the number of octets that RETR brings once byte-stuffing is removed.

The steps are separate because each is wanted without the next: sizes and digests are taken of the
canonical form, TOP cuts it, and only what goes out is stuffed.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Protocol

CHUNK = 256 * 1024
"""Octets read from a maildrop at a time."""


class Reader(Protocol):
    """Where a stored message is read from; a binary file is one."""

    def read(self, size: int, /) -> bytes:
        """Give the next octets, at most `size`; `b""` at the end."""
        ...

    def close(self) -> None:
        """Release what is behind it."""
        ...


class Canonical:
    """Makes every line end CRLF: a bare LF becomes one, and a last line without an end gets one.

    A CR that no LF follows is content and stays.
    """

    __slots__ = ("_held", "_line_open")

    def __init__(self) -> None:
        self._held = b""  # a CR whose successor has not come
        self._line_open = False

    def feed(self, data: bytes) -> bytes:
        """Take the next stored octets and give them in canonical form."""
        data = self._held + data
        self._held = b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        if not data:
            return b""
        self._line_open = not data.endswith(b"\n")
        return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    def end(self) -> bytes:
        """Give what is still due: a CR that was held back, and the last line's end."""
        rest = self._held
        if rest or self._line_open:
            rest += b"\r\n"
        self._held, self._line_open = b"", False
        return rest


class Top:
    """Cuts a canonical message behind its header and a number of lines (RFC 1939, section 7)."""

    __slots__ = ("_in_header", "_lines", "_seam", "done")

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._in_header = True
        self._seam = b"\r\n"  # the end of what came before: a message begins a line
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Take the next octets in canonical form and give those that belong to the top."""
        if self.done or not data:
            return b""
        start = 0
        if self._in_header:
            # A blank line is CRLF behind CRLF; either may have come in the piece before.
            joined = self._seam + data
            found = joined.find(b"\r\n\r\n")
            if found < 0:
                self._seam = joined[-3:]
                return data
            start = found + 4 - len(self._seam)
            self._in_header = False
        while self._lines:
            end = data.find(b"\n", start)
            if end < 0:
                return data
            start = end + 1
            self._lines -= 1
        self.done = True
        return data[:start]


class Stuffer:
    """Doubles the dot that begins a line (RFC 1939, section 3) in canonical octets."""

    __slots__ = ("_seam",)

    def __init__(self) -> None:
        self._seam = b"\r\n"

    def feed(self, data: bytes) -> bytes:
        """Take the next canonical octets and give them byte-stuffed."""
        if not data:
            return b""
        seam = self._seam
        self._seam = (seam + data[-2:])[-2:]
        out = data.replace(b"\r\n.", b"\r\n..")
        if seam == b"\r\n" and data[:1] == b".":
            return b"." + out
        if seam[1:] == b"\r" and data[:2] == b"\n.":
            return b"\n." + out[1:]
        return out


class Measured(NamedTuple):
    """What is known of a message after one reading.

    Attributes:
        octets: Its size in octets, as RETR sends it, without byte-stuffing.
        sha256: Of these octets, in hexadecimal.
    """

    octets: int
    sha256: str


def measure(reader: Reader) -> Measured:
    """Read a message to its end.

    Args:
        reader: The stored message, at its beginning. It is not closed.

    Returns:
        Its size and digest in canonical form.

    Raises:
        OSError: It cannot be read.
    """
    canonical, digest, octets = Canonical(), hashlib.sha256(), 0
    while data := reader.read(CHUNK):
        piece = canonical.feed(data)
        octets += len(piece)
        digest.update(piece)
    piece = canonical.end()
    digest.update(piece)
    return Measured(octets + len(piece), digest.hexdigest())
