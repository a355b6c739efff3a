"""A session's time as a waterfall: `popproxy show --timing`.

Every exchange has a row, with how long the client was waited for before it and the server for it,
and a bar where on the session's way from left to right that was. Waits for the client that are much
longer than anything else, as those of a person who types, are drawn shorter, with a sign.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from rich.cells import cell_len

from popproxy.cli.screen import Screen
from popproxy.cli.show_list import fitted
from popproxy.formats import visible
from popproxy.records import Record, SessionEnd
from popproxy.sinks.terminal.conversation import SLOW
from popproxy.sinks.terminal.layout import duration
from popproxy.tools.timing import Clock, Scale, Span, Timing

_WIDEST: Final = 140
_SESSIONS_MOST: Final = 10_000
_HELD_MOST: Final = 500_000
_TIME: Final = 9


class TimingDrawing:
    """Draws waterfalls.

    Args:
        screen: What they are drawn for.
    """

    def __init__(self, screen: Screen) -> None:
        self._palette = screen.palette
        self._glyphs = screen.glyphs
        self._width = max(30, min(screen.width, _WIDEST) - 1)
        self._narrow = self._width < 70
        self._signs = _signs(screen.encoding)
        self._name = max(10, min(30, self._width // 4))

    def all(self, records: Iterable[Record]) -> Iterator[str]:
        """Draw every session once it is over, or no record is left."""
        clocks: dict[str, Clock] = {}
        held = 0
        apart = ""
        for record in records:
            name = record.session.id
            clock = clocks.setdefault(name, Clock())
            held -= len(clock.timing.spans)
            clock.add(record)
            held += len(clock.timing.spans)
            over = [name] if isinstance(record, SessionEnd) else []
            if held > _HELD_MOST or len(clocks) > _SESSIONS_MOST:
                over = [next(iter(clocks))]
            for one in over:
                timing = clocks.pop(one).timing
                held -= len(timing.spans)
                yield apart
                yield from self.lines(timing)
                apart = "\n"
        for clock in clocks.values():
            yield apart
            yield from self.lines(clock.timing)
            apart = "\n"

    def lines(self, timing: Timing) -> Iterator[str]:
        """Draw one session."""
        columns = self._width - self._name - (_TIME + 1) * (1 if self._narrow else 2) - 2
        scale = Scale.fitting(timing.spans, timing.length, columns)
        title = f"session {visible(timing.session[:100])}"
        rule = self._glyphs.rule
        room = max(0, self._width - cell_len(title) - 4)
        yield (
            f"{self._palette.rule(rule * 2)} {self._palette.title(title)}"
            f" {self._palette.rule(rule * room)}\n"
        )
        if not timing.timed:
            words = "the log that this session was read from does not tell when anything was said"
            for row in textwrap.wrap(words, self._width):
                yield self._palette.quiet(row) + "\n"
            return
        head = f"{'':<{self._name}}" + ("" if self._narrow else f" {'client':>{_TIME}}")
        yield self._palette.title(f"{head} {'server':>{_TIME}}") + "\n"
        at = 0
        before = 0
        for span in timing.spans:
            wait = max(0, span.began - span.since)
            shown_wait = min(wait, scale.longest)
            at = max(0, at + (span.since - before)) + shown_wait
            before = span.began
            yield self._row(span, wait, at - shown_wait, at, scale, columns)
        if timing.cut:
            yield self._palette.quiet(f"{self._glyphs.more} {timing.cut:,} more") + "\n"
        yield "\n"
        yield from self._foot(timing, scale)

    def _row(
        self, span: Span, wait: int, since: int, began: int, scale: Scale, columns: int
    ) -> str:
        name = fitted(visible(span.name), self._name)
        name += " " * (self._name - cell_len(name))
        length = span.ended - span.began if span.ended is not None else None
        taken = "–" if length is None else duration(length * 1000)
        slow = length is not None and length * 1000 >= SLOW
        ink = self._palette.slow if slow else self._palette.plain
        times = ink(f"{taken:>{_TIME}}")
        if not self._narrow:
            waited = duration(wait * 1000) if wait else "·"
            times = f"{self._palette.quiet(f'{waited:>{_TIME}}')} {times}"
        return f"{name} {times}  {self._bar(span, wait, since, began, scale, columns)}".rstrip() + (
            "\n"
        )

    def _bar(
        self, span: Span, wait: int, since: int, began: int, scale: Scale, columns: int
    ) -> str:
        """Draw where a span lies: what the client was waited for, then the server."""

        def column(at: float) -> int:
            return min(columns, round(at / scale.per_column))

        first = span.first if span.first is not None else span.began
        ended = span.ended if span.ended is not None else first
        middle = min(columns - 1, column(began))
        left = min(middle, column(since))
        turn = max(middle + 1, column(began + first - span.began))
        right = max(turn, column(began + ended - span.began))
        client = self._signs["client"] * (middle - left)
        if wait > scale.longest and len(client) > 2:
            half = len(client) // 2
            client = client[:half] + self._signs["cut"] + client[half + 1 :]
        sign = self._signs["server" if span.owner == "server" else "proxy"]
        wide = self._palette.client if span.owner == "proxy" else self._palette.server
        blank = " " * left
        return (
            f"{blank}{self._palette.quiet(client)}{wide(sign * (turn - middle))}"
            f"{wide(self._signs['transfer'] * (right - turn))}"
        )

    def _foot(self, timing: Timing, scale: Scale) -> Iterator[str]:
        signs = self._signs
        totals = timing.totals
        told = [
            f"{name} {signs[name]} {duration(totals[name] * 1000)}"
            for name in ("client", "server", "proxy")
            if totals[name] or name != "proxy"
        ]
        words = f"{', '.join(told)}; {duration(timing.length * 1000)} in all. "
        words += f"{signs['transfer']} is the response arriving. "
        words += f"One column is {duration(round(scale.per_column * 1000))}"
        if any(span.began - span.since > scale.longest for span in timing.spans):
            words += f"; {signs['cut']} stands in waits that are drawn shorter"
        for row in textwrap.wrap(f"{words}.", self._width, break_on_hyphens=False):
            yield self._palette.quiet(row) + "\n"


def _signs(encoding: str) -> dict[str, str]:
    signs = {"client": "░", "server": "█", "transfer": "▓", "proxy": "▒", "cut": "≈"}
    try:
        "".join(signs.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return {"client": ".", "server": "#", "transfer": "=", "proxy": "%", "cut": "~"}
    return signs
