"""From pieces of wire text to lines that are fit to be shown: capped, and folded after some.

Pieces end anywhere, so that a line's first half waits here until the rest has come. What waits is
capped as a shown line is (P49), and what lies beyond is only counted: a line without an end costs
no memory.
"""

from __future__ import annotations

from typing import NamedTuple

CAP = 500
"""Octets of a line that are shown unless told otherwise."""


_CR = 13


class Line(NamedTuple):
    """A line as far as it is shown.

    Attributes:
        text: Its first octets, without the line end.
        hidden: How many octets of it are not shown; the line end does not count.
        octets: The octets of the whole line, its end included.
        ended: False if it was given out before its end came.
    """

    text: bytes
    hidden: int
    octets: int
    ended: bool


class LineAssembler:
    """Joins one side's pieces into lines.

    Args:
        cap: Octets of a line that are shown at most.
    """

    __slots__ = ("_cap", "_last", "_octets", "_start")

    def __init__(self, cap: int = CAP) -> None:
        self._cap = cap
        self._start = b""
        self._octets = 0
        self._last = b""

    def feed(self, data: bytes) -> list[Line]:
        """Take in a piece and give the lines that it completes."""
        size = len(data)
        if not self._octets and size <= self._cap and data.find(b"\n") == size - 1 > 0:
            # One line, whole and short, as nearly every command and response is.
            text = data[:-2] if data[-2] == _CR else data[:-1]
            return [Line(text, 0, size, ended=True)]
        lines = []
        position = 0
        while position < len(data):
            line, position = self.next_line(data, position)
            if line is not None:
                lines.append(line)
        return lines

    def next_line(self, data: bytes, position: int) -> tuple[Line | None, int]:
        """Take in a piece from `position` up to the next line end.

        Returns:
            The line, or None if its end has not come yet; and the position behind what was taken.
        """
        end = data.find(b"\n", position) + 1 or len(data)
        room = max(0, self._cap + 2 - len(self._start))
        self._start += data[position : min(end, position + room)]
        self._octets += end - position
        self._last = (self._last + data[max(position, end - 2) : end])[-2:]
        return (self._give() if self._last.endswith(b"\n") else None), end

    def rest(self) -> list[Line]:
        """Give the line that has not ended, if there is one, and forget it."""
        return [self._give()] if self._octets else []

    def _give(self) -> Line:
        ended = self._last.endswith(b"\n")
        end = 0 if not ended else 2 if self._last == b"\r\n" else 1
        length = self._octets - end
        text = self._start[: min(length, self._cap)]
        if length > self._cap:
            text = _whole_characters(text)
        line = Line(text, length - len(text), self._octets, ended)
        self._start, self._octets, self._last = b"", 0, b""
        return line


def _whole_characters(text: bytes) -> bytes:
    """Cut off the UTF-8 character that a cap has split at the end of `text`, if it has."""
    for back in range(1, min(4, len(text) + 1)):
        octet = text[-back]
        if octet & 0xC0 != 0x80:
            width = 1 if octet < 0xC0 else 2 if octet < 0xE0 else 3 if octet < 0xF0 else 4
            return text[:-back] if width > back else text
    return text


class Content:
    """The content of one multi-line response: its first lines are shown, the others counted.

    The first `limit` lines are shown. Of a message the whole header is, up to three times as many,
    and at least a few lines of its body, so that one sees what kind of mail it is. A quarter more
    waits until it is clear whether there is much to fold: five lines are as short as a fold.

    Args:
        limit: How many lines are shown.
        cap: Octets of a line that are shown at most.
        is_message: Whether the content is a message, which begins with a header.
        closed: Whether no line of it is shown.

    Attributes:
        lines: Lines that came so far.
        octets: Octets that came so far.
        closed: As given.
        folded_lines: Lines that are not shown.
        masked: Whether something in it is masked.
    """

    __slots__ = (
        "_assembler", "_body", "_held", "_in_header", "_limit", "_open", "_shown", "closed",
        "folded_lines", "lines", "masked", "octets",
    )  # fmt: skip

    def __init__(
        self, limit: int, *, cap: int = CAP, is_message: bool = False, closed: bool = False
    ) -> None:
        self._assembler = LineAssembler(cap)
        self._limit = limit
        self._in_header = is_message
        self._body = 0
        self._shown = 0
        self._open = False
        self._held: list[tuple[Line, bool]] = []
        self.closed = closed
        self.lines = 0
        self.octets = 0
        self.folded_lines = 0
        self.masked = False

    @property
    def folded_octets(self) -> int:
        """Octets of the lines that are not shown, line ends included."""
        return self.octets - self._shown

    def feed(self, data: bytes) -> list[tuple[Line, bool]]:
        """Take in a piece.

        Returns:
            The lines to show, and of each whether it belongs to a message's header.
        """
        self.octets += len(data)
        shown = []
        position = 0
        while position < len(data) and not (self.folded_lines or self.closed):
            line, position = self._assembler.next_line(data, position)
            if line is not None:
                shown += self._pick(line)
        if position < len(data):
            ended = data.count(b"\n", position)
            self.lines += ended
            self.folded_lines += ended
            self._open = not data.endswith(b"\n")
        return shown

    def end(self) -> list[tuple[Line, bool]]:
        """Give the lines that waited for the end. Nothing can be fed afterwards."""
        if self._open:
            self.lines += 1
            self.folded_lines += 1
        shown = [shown for line in self._assembler.rest() for shown in self._pick(line)]
        shown += self._held
        self._shown += sum(line.octets for line, _ in self._held)
        return shown

    def _pick(self, line: Line) -> list[tuple[Line, bool]]:
        """Count a line in, and give it if it is shown now."""
        self.lines += 1
        if not line.text:
            self._in_header = False
        if self._held or not self._fits():
            self._held.append((line, self._in_header))
            if len(self._held) > self._limit // 4:
                self.folded_lines = len(self._held)
                self._held.clear()
            return []
        self._shown += line.octets
        return [(line, self._in_header)]

    def _fits(self) -> bool:
        if self._in_header:
            return self.lines <= 3 * self._limit
        self._body += 1
        return self.lines <= self._limit or self._body <= self._limit // 8 + 1
