"""How a line of the live transcript is laid out: gutter, text, and what stands at the right.

    22:37:46.132 k3x7 S: +OK Send your password                                    11.2 ms

Peer text is never broken: a line longer than the terminal is left to the terminal to wrap, so that
it can be copied as it was said. Sentences of ours are broken between words and hang below their
beginning. On a narrow terminal the gutter gives way first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo

from rich.cells import cell_len

from popproxy.formats.escape import visible
from popproxy.sinks.terminal.ink import Glyphs, Ink, Palette

MAX_WIDTH = 110
"""Nothing is moved further to the right than this, however wide the terminal is."""
_LABEL = 3
_FINE, _FINE_FROM = len("22:37:46.132 "), 80
_COARSE, _COARSE_FROM = len("22:37:46 "), 50
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Segment = tuple[str, Ink]
"""Text that needs no escaping any more, and its style."""


class Layout:
    """Puts lines together.

    Args:
        palette: The styles.
        glyphs: The signs.
        width: Gives the terminal's width in columns.
        tz: The time zone of the times shown; local time if None.

    Attributes:
        tagged: Whether sessions' tags are shown.
        timed: Whether there is a column for times.
    """

    def __init__(
        self, palette: Palette, glyphs: Glyphs, width: Callable[[], int], tz: tzinfo | None = None
    ) -> None:
        self.palette = palette
        self.glyphs = glyphs
        self.tagged = False
        self.timed = True
        self._measure = width
        self._tz = tz
        self._width = -1
        self._second = _LONG_AGO
        self._clock = ""
        self.measure()

    def measure(self) -> None:
        """Look how wide the terminal is now."""
        width = self._measure()
        if width == self._width:
            return
        self._width = width
        # One column stays free: many terminals begin a new line when the last one is filled.
        self._edge = max(1, min(width, MAX_WIDTH)) - 1
        self._time = _FINE if width >= _FINE_FROM else _COARSE if width >= _COARSE_FROM else 0

    def wire(
        self,
        at: datetime | None,
        tag: Segment,
        label: Segment,
        text: Sequence[Segment],
        note: Sequence[Segment] = (),
        *,
        masked: bool = False,
    ) -> str:
        """Lay out a line of the conversation.

        Args:
            at: The time in the gutter, or None to leave its place blank.
            tag: The session's tag, which is shown if `tagged` is set.
            label: Who said it: at most three columns.
            text: The line, escaped; more than one segment where styles differ.
            note: What stands at the right; below the line if there is no room.
            masked: Whether masks in the text are ones that popproxy put there.
        """
        gutter, used = self._gutter(at, tag, label)
        words = "".join(part for part, _ in text)
        if not note and not words:
            return gutter.rstrip(" ") + "\n"
        if masked:
            line = gutter + "".join(ink.around_masks(part, self.palette.mask) for part, ink in text)
        else:
            line = gutter + "".join(ink(part) for part, ink in text)
        if not note:
            return line + "\n"
        size = sum(cell_len(part) for part, _ in note)
        used += cell_len(words)
        behind = "".join(ink(part) for part, ink in note)
        gap = self._edge - used - size
        if gap < 2:
            return f"{line}\n{' ' * max(0, self._edge - size)}{behind}\n"
        if "\t" in words:
            gap = 2  # A tab is as wide as the terminal likes.
        return f"{line}{' ' * gap}{behind}\n"

    def note(
        self,
        at: datetime | None,
        tag: Segment,
        label: Segment,
        segments: Iterable[Segment],
        *,
        filled: bool = False,
    ) -> str:
        """Lay out a sentence of ours.

        Args:
            at: As in `wire`.
            tag: As in `wire`.
            label: A sign: at most three columns.
            segments: The sentence. Segments are joined as they are.
            filled: Whether a rule fills the rest of the line.
        """
        gutter, indent = self._gutter(at, tag, label)
        rows = _flow(segments, max(20, self._edge - indent))
        hang = "\n" + " " * indent
        lines = hang.join("".join(ink(part) for part, ink in row) for row in rows)
        room = self._edge - indent - sum(cell_len(part) for part, _ in rows[-1]) - 1
        if filled and room > 0:
            lines += " " + self.palette.rule(self.glyphs.rule * room)
        return f"{gutter}{lines}\n"

    def _gutter(self, at: datetime | None, tag: Segment, label: Segment) -> tuple[str, int]:
        """Give the gutter, label included, and its width in columns."""
        column = self._time if self.timed else 0
        gutter, used = "", column + _LABEL
        if column and at is not None:
            time = self._time_of_day(at)
            gutter = self.palette.time(time) + " "
        else:
            gutter = " " * column
        if self.tagged:
            name, ink = tag
            gutter += ink(name) + " "
            used += cell_len(name) + 1
        sign, ink = label
        return gutter + ink(sign) + " " * (_LABEL - len(sign)), used

    def _time_of_day(self, at: datetime) -> str:
        second = at.replace(microsecond=0)
        if second != self._second:
            # Once a second: looking a time zone up takes longer than all the rest of a line.
            self._second = second
            self._clock = f"{second.astimezone(self._tz):%H:%M:%S}"
        return f"{self._clock}.{at.microsecond // 1000:03}" if self._time == _FINE else self._clock


def _flow(segments: Iterable[Segment], width: int) -> list[list[Segment]]:
    """Break segments between words into rows of at most `width` columns, where that is possible."""
    rows: list[list[Segment]] = [[]]
    used = 0
    for word in _words(segments):
        size = sum(cell_len(part) for part, _ in word)
        if rows[-1] and used + 1 + size > width:
            rows.append([])
            used = 0
        row = rows[-1]
        blank = " " if row else ""
        used += size + len(blank)
        for part, ink in word:
            if row and row[-1][1] is ink:
                row[-1] = row[-1][0] + blank + part, ink
            else:
                if blank:
                    row[-1] = row[-1][0] + blank, row[-1][1]
                row.append((part, ink))
            blank = ""
    return rows


def _words(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """Split at blanks; a word may consist of segments in several styles."""
    word: list[Segment] = []
    for text, ink in segments:
        for number, part in enumerate(text.split(" ")):
            if number and word:
                yield word
                word = []
            if part:
                word.append((part, ink))
    if word:
        yield word


def duration(nanoseconds: int) -> str:
    """Give a length of time as people say it, to about three figures."""
    milliseconds = nanoseconds / 1e6
    if milliseconds < 99.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = nanoseconds / 1e9
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def count(number: int, one: str, many: str = "") -> str:
    """Give a number with its noun, as in `1 octet`, `2,859 octets`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def shown(text: str, limit: int = 300) -> str:
    """Give text of a peer or of a setting for use in a sentence of ours: short, escaped."""
    return visible(text if len(text) <= limit else text[:limit] + "...")
