r"""The conversation octet by octet, read by read: for those who look for where it was cut.

    22:37:46.132 S: +OK 59 octets\x0d\x0a
    22:37:46.140 S: From: <test@dom
    22:37:46.141 S: ain.com>\x0d\x0a

Each read begins a row with its time, each line a row. A row without a line end at its end was cut
there by a read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from popproxy.formats.escape import exact
from popproxy.records import DataRecord, SideName, WireRecord
from popproxy.sinks.terminal.layout import Layout, Segment, count

_LINE_ENDS = (b"\r\n", b"\n")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")


class Octets:
    """Shows one session's octets.

    Args:
        layout: Puts lines together.
        tag: The session's tag.
        fold: Rows of a multi-line response, or of what a client sends, that are shown.
        cap: Octets of a row that are shown.

    Attributes:
        began: When the session began, if that is known: reads are timed from there.
        timed: Whether times are shown.
    """

    def __init__(self, layout: Layout, tag: Segment, *, fold: int, cap: int) -> None:
        self.began: datetime | None = None
        self.timed = True
        self._layout = layout
        self._tag = tag
        self._fold = fold
        self._cap = cap
        self._rows: dict[SideName, int] = {}
        self._folded: dict[SideName, int] = {}

    def show(self, record: WireRecord) -> Iterator[str]:
        """Give the rows that a record of the wire adds."""
        side = record.side
        is_content = isinstance(record, DataRecord) and record.pop3.part == "content"
        if not is_content:
            yield from self.finish()
            self._rows.clear()
        for at, piece in self._reads(record):
            for number, line in enumerate(_LINE.findall(piece)):
                rows = self._rows[side] = self._rows.get(side, 0) + 1
                if is_content and rows > self._fold:
                    self._folded[side] = self._folded.get(side, 0) + len(line)
                else:
                    yield self._row(at if number == 0 else None, side, line)

    def finish(self) -> Iterator[str]:
        """Say how much was folded."""
        for octets in self._folded.values():
            quiet = self._layout.palette.quiet
            sign = self._layout.glyphs.more.rjust(2), quiet
            words = count(octets, "more octet")
            yield self._layout.note(None, self._tag, sign, [(words, quiet)])
        self._folded.clear()

    def _reads(self, record: WireRecord) -> Iterator[tuple[datetime | None, bytes]]:
        """Give what each read brought, with its time; none where it goes on with a read before."""
        wire, position = record.wire, 0
        for number, (microseconds, octets) in enumerate(record.segments):
            at: datetime | None = record.timestamp
            if self.began is not None and microseconds < _FURTHEST:
                at = self.began + timedelta(microseconds=microseconds)
            goes_on = number == 0 and record.joined
            yield None if goes_on else at, wire[position : position + octets]
            position += octets
        if position < len(wire):
            yield None if record.segments else record.timestamp, wire[position:]

    def _row(self, at: datetime | None, side: SideName, line: bytes) -> str:
        palette = self._layout.palette
        ink = palette.client if side == "client" else palette.server
        label = ("C:" if side == "client" else "S:") if at is not None else ""
        end = next((end for end in _LINE_ENDS if line.endswith(end)), b"")
        text = line.removesuffix(end)
        words = [(exact(text[: self._cap]), palette.plain), (exact(end), palette.quiet)]
        if len(text) > self._cap:
            hidden = count(len(text) - self._cap, "octet")
            words.insert(1, (f" {self._layout.glyphs.more} {hidden} more ", palette.quiet))
        return self._layout.wire(at if self.timed else None, self._tag, (label, ink), words)


_FURTHEST = 10**15  # thirty years: beyond it a hostile file would overflow a date
