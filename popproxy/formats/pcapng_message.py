"""The response of several lines in segments that Wireshark's POP dissector reads as what it is.

The dissector (Wireshark 4.0, epan/dissectors/packet-pop.c) keeps three things of a connection:
whether a message was asked for, how many octets of it are to come, and how many came. `Dissector`
keeps the same, so that it is known what it would make of a segment:

- It asks for a message when a segment of the client begins with RETR or TOP.
- The next segment of the server that begins with `+OK` or `-ERR` answers; the number behind `+OK `
  is the count to come.
- Any other segment of the server is a piece of a message. It is put behind the pieces before it,
  and when as many octets came as were to come, or if none were, they are a message: read as mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from popproxy.formats.packets import PAYLOAD_MOST

_COUNT = re.compile(rb"[ \t]*([0-9]{1,9})")
_STATUS: Final = (b"+OK", b"-ERR")


class Piece(NamedTuple):
    """A segment of the server: its octets, when it came, and what is to be said of it."""

    data: bytes
    at: datetime
    comment: str = ""


class Dissector:
    """What Wireshark's POP dissector knows of a connection."""

    __slots__ = ("asked", "read", "total")

    def __init__(self) -> None:
        self.asked = False
        self.total = 0
        self.read = 0

    def request(self, segment: bytes) -> None:
        """See a segment of the client."""
        start = segment[:4].upper()
        self.asked = self.asked or start.startswith((b"RETR", b"TOP"))

    def response(self, segment: bytes) -> None:
        """See a segment of the server."""
        if segment.startswith(_STATUS):
            if self.asked and segment.startswith(b"+OK "):
                self.read, self.total = 0, announced(segment)
            self.asked = False
            return
        self.read += len(segment)
        if self.read >= self.total:
            self.read = self.total = 0


def announced(status: bytes) -> int:
    """Give the octets that a status line announces, as the dissector reads them.

    Args:
        status: The line, which begins with `+OK `.
    """
    found = _COUNT.match(status, 4)
    return int(found[1]) if found else 0


class Message:
    """A response of several lines on its way into segments.

    Args:
        status: Its status line.
        at: When that came.
        dissector: What Wireshark knows of the connection.
        mail: It answers RETR or TOP.

    Attributes:
        octets: How many came behind the status line.
    """

    __slots__ = ("_at", "_begun", "_dissector", "_held", "_reads", "_status", "_wants", "octets")

    def __init__(self, status: bytes, at: datetime, dissector: Dissector, *, mail: bool) -> None:
        self._status = status
        self._at = at
        self._dissector = dissector
        self._reads: list[tuple[bytearray, datetime]] = []
        self._held = 0
        self.octets = 0
        self._begun = False  # the status line is written
        after = Dissector()
        after.asked, after.total, after.read = dissector.asked, dissector.total, dissector.read
        after.response(status)
        # Octets that the dissector waits for; if it waits for none, the message has to be one
        # segment, and what is no mail stands behind its status line.
        self._wants = after.total - after.read if mail and status.startswith(b"+OK") else -1

    def add(self, reads: list[tuple[bytes, datetime]], *, joined: bool) -> Iterator[Piece]:
        """Take in what came.

        Args:
            reads: Octets, and when they came.
            joined: The first of them came in one read with what is before them.

        Returns:
            What can be written by now.
        """
        for number, (data, at) in enumerate(reads):
            if number == 0 and joined and self._reads:
                self._reads[-1][0].extend(data)
            else:
                self._reads.append((bytearray(data), at))
            self._held += len(data)
            self.octets += len(data)
        return self._write_early() if self._held > PAYLOAD_MOST else iter(())

    def _write_early(self) -> Iterator[Piece]:
        """Write what need not be held until the end is known."""
        yield from self._begin(whole=False)
        while self._held > PAYLOAD_MOST:
            left = self._wants - 1 if self._wants > 0 else 0
            size = min(left, PAYLOAD_MOST, self._held)
            if size <= 0:
                yield self._take(PAYLOAD_MOST, "longer than announced, or not announced: cut here")
            else:
                yield self._next_read(size)

    def end(self, ending: str | None, missing: int) -> Iterator[Piece]:
        """Write the rest.

        Args:
            ending: How the response ended; None if that is not known.
            missing: Octets of its content that were not recorded.
        """
        comments = []
        if missing:
            comments.append(f"{missing:,} octets of content were not recorded")
        elif self._wants > self.octets and not self._begun:
            comments.append("fewer octets than announced: Wireshark would wait for more")
        if ending not in (None, "terminated"):
            comments.append(f"ending: {ending}")
        whole = not self._begun and (self._wants < 0 or self._wants > self.octets)
        comment = "; ".join(comments)
        yield from self._begin(whole=whole, comment=comment)
        while self._reads:
            first = len(self._reads[0][0])
            if self._held <= PAYLOAD_MOST and (len(self._reads) == 1 or first >= self._wants):
                yield self._take(self._held, "" if whole else comment)
            elif first < self._wants:
                yield self._next_read(PAYLOAD_MOST)
            else:
                yield self._next_read(min(max(self._wants - 1, 0), PAYLOAD_MOST) or PAYLOAD_MOST)

    def _begin(self, *, whole: bool, comment: str = "") -> Iterator[Piece]:
        """Write the status line, by itself or with what is behind it."""
        if self._begun:
            return
        self._begun = True
        data = self._status
        if whole or self._wants < 0:
            room = max(PAYLOAD_MOST - len(data), 0)
            reads = len(self._reads)
            data += self._taken(min(room, self._held))
            if reads > 1:
                comment = "; ".join(filter(None, (comment, f"{reads} reads of a response, joined")))
        for start in range(0, len(data), PAYLOAD_MOST):
            yield self._see(Piece(data[start : start + PAYLOAD_MOST], self._at, comment))

    def _next_read(self, most: int) -> Piece:
        """Write a read, or as much of it as there is room for."""
        size = min(len(self._reads[0][0]), most)
        # What begins like a status line would be taken for one.
        rest = bytes(self._reads[0][0][size : size + 4])
        if not rest and len(self._reads) > 1:
            rest = bytes(self._reads[1][0][:4])
        if rest.startswith(_STATUS) and size > 1:
            size -= 1
        elif rest.startswith(_STATUS):
            size += 1
        return self._take(size, "")

    def _take(self, size: int, comment: str) -> Piece:
        at = self._reads[0][1]
        reads = len(self._reads)
        data = self._taken(size)
        over = reads - len(self._reads)
        if over > 1:
            comment = "; ".join(filter(None, (comment, f"{over} reads, joined")))
        self._wants = max(self._wants - len(data), 0) if self._wants >= 0 else -1
        return self._see(Piece(data, at, comment))

    def _taken(self, size: int) -> bytes:
        """Take octets from what is held."""
        data = bytearray()
        while len(data) < size and self._reads:
            read, at = self._reads[0]
            wanted = size - len(data)
            data += read[:wanted]
            if wanted < len(read):
                self._reads[0] = (read[wanted:], at)
            else:
                del self._reads[0]
        self._held -= len(data)
        return bytes(data)

    def _see(self, piece: Piece) -> Piece:
        self._dissector.response(piece.data)
        return piece
