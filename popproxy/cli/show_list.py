"""The sessions of a capture as a table: `popproxy show --list`.

It is drawn as it comes. Widths are those that the first rows need, so that a list of any length
takes no more memory than these; a wider value in a later row is cut on a terminal, and moves the
rest of its row where a program reads.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

import msgspec
from rich.cells import cell_len, set_cell_size

from popproxy.formats import visible
from popproxy.records import Endpoint
from popproxy.sinks.terminal.ink import Ink, Palette
from popproxy.tools.sessions import Overview

NARROW: Final = 72
"""Columns below which a session takes two rows."""

_WIDE: Final = 96
_MEASURED: Final = 1_000
_HELD_MOST: Final = 100_000
_LONGEST: Final = 48
_GAP: Final = "  "


def in_order(seen: Iterable[Overview]) -> Iterator[Overview]:
    """Give sessions by their number, as far as that needs no more than `_HELD_MOST` to wait."""
    waiting: list[tuple[int, Overview]] = []
    following = 1
    for one in seen:
        heapq.heappush(waiting, (one.number, one))
        while waiting and (waiting[0][0] <= following or len(waiting) > _HELD_MOST):
            number, first = heapq.heappop(waiting)
            following = number + 1
            yield first
    while waiting:
        yield heapq.heappop(waiting)[1]


def as_json(seen: Iterable[Overview]) -> Iterator[str]:
    """Give each session as a line of JSON."""
    for one in seen:
        yield msgspec.json.encode(one).decode() + "\n"


def table(seen: Iterable[Overview], palette: Palette, width: int | None) -> Iterator[str]:
    """Draw the sessions.

    Args:
        seen: The sessions.
        palette: The styles.
        width: The terminal's columns; None if it is none, and nothing is cut.

    Yields:
        Lines.
    """
    if width is not None and width < NARROW:
        yield from _cards(seen, palette, width)
        return
    rows = iter(seen)
    first = list(islice(rows, _MEASURED))
    dated = width is not None
    drawn = _Table(first, palette, width)
    yield drawn.head()
    date = ""
    for one in chain(first, rows):
        day = f"{one.started.astimezone():%Y-%m-%d}"
        if dated and one.timed and day != date:
            date = day
            yield palette.quiet(day) + "\n"
        yield drawn.row(one)


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    ink: Ink
    right: bool = False


class _Table:
    """One line a session."""

    def __init__(self, first: Sequence[Overview], palette: Palette, width: int | None) -> None:
        self._palette = palette
        self._dated = width is None
        long = width is None or width >= _WIDE
        counts = ("commands", "retrieved", "deleted", "findings")
        short = ("cmds", "retr", "dele", "find")
        self._titles = ("#", "start", "client", "user", *(counts if long else short), "end")
        rows = [[cell.text for cell in self._cells(one)] for one in first]
        self._widths = [
            max(cell_len(row[column]) for row in (self._titles, *rows))
            for column in range(len(self._titles))
        ]
        if width is not None:
            self._fit(width)

    def _fit(self, width: int) -> None:
        """Take from the texts what is too much: the widest first."""
        widths, texts = self._widths, (2, 3, len(self._widths) - 1)
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - (width - 1)
        while excess > 0:
            widest = max(texts, key=lambda column: widths[column])
            if widths[widest] <= 6:
                return
            widths[widest] -= 1
            excess -= 1

    def _cells(self, one: Overview) -> list[_Cell]:
        plain, quiet, warning = self._palette.plain, self._palette.quiet, self._palette.warning
        clock = "%Y-%m-%d %H:%M:%S" if self._dated else "%H:%M:%S"
        return [
            _Cell(str(one.number), self._palette.title, right=True),
            _Cell(f"{one.started.astimezone():{clock}}" if one.timed else "–", self._palette.time),
            _Cell(_address(one.client), plain),
            _Cell(_user(one), plain if one.user else quiet),
            *(
                _Cell(f"{number:,}" if number else "·", plain if number else quiet, right=True)
                for number in (one.commands, one.retrieved, one.deletions_committed)
            ),
            _Cell(
                f"{one.findings:,}" if one.findings else "·",
                warning if one.findings else quiet,
                right=True,
            ),
            _Cell(_end(one), quiet if one.reason else warning),
        ]

    def head(self) -> str:
        right = [cell.right for cell in self._cells(_NOTHING)]
        cells = [
            _Cell(title, self._palette.title, right=to_right)
            for title, to_right in zip(self._titles, right, strict=True)
        ]
        return self._line(cells)

    def row(self, one: Overview) -> str:
        return self._line(self._cells(one))

    def _line(self, cells: Sequence[_Cell]) -> str:
        drawn: list[str] = []
        for cell, width in zip(cells, self._widths, strict=True):
            text = cell.text if self._dated else fitted(cell.text, width)
            blank = " " * max(0, width - cell_len(text))
            drawn.append(blank + cell.ink(text) if cell.right else cell.ink(text) + blank)
        return _GAP.join(drawn).rstrip() + "\n"


def _cards(seen: Iterable[Overview], palette: Palette, width: int) -> Iterator[str]:
    """Draw two rows a session."""
    date = ""
    for one in seen:
        started = one.started.astimezone()
        if one.timed and f"{started:%Y-%m-%d}" != date:
            date = f"{started:%Y-%m-%d}"
            yield palette.quiet(date) + "\n"
        number = f"{one.number:>3}"
        room = max(8, width - 1 - len(number) - 10)
        who = one.user if one.user is not None else _address(one.client)
        clock = f"{started:%H:%M:%S}" if one.timed else f"{'–':<8}"
        name = fitted(visible(who[:256]), room)
        yield f"{palette.title(number)} {palette.time(clock)} {name}\n"
        facts = [
            f"{figure:,} {word}"
            for figure, word in (
                (one.commands, "cmds"),
                (one.retrieved, "retr"),
                (one.deletions_committed, "dele"),
            )
            if figure
        ]
        found = f"{one.findings:,} find, " if one.findings else ""
        text = fitted(", ".join([*facts, _end(one)]), max(8, width - 5 - len(found)))
        yield f"    {palette.warning(found)}{palette.quiet(text)}\n"


def fitted(text: str, width: int) -> str:
    """Cut a text that is wider than its column, and say so."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(1, width - 1)).rstrip() + "…"


def _address(endpoint: Endpoint | None) -> str:
    return "–" if endpoint is None else visible(endpoint.address[:_LONGEST])


def _user(one: Overview) -> str:
    return "–" if one.user is None else visible(one.user[:_LONGEST])


def _end(one: Overview) -> str:
    return visible(one.reason.replace("-", " ")[:_LONGEST]) if one.reason else "no end"


_NOTHING: Final = msgspec.convert(
    {"number": 0, "id": "", "started": "1970-01-01T00:00:00Z", "ended": "1970-01-01T00:00:00Z"},
    Overview,
)
