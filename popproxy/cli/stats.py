"""`popproxy stats`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from rich.cells import cell_len

from popproxy.cli.captures import choice, opened
from popproxy.cli.errors import Status
from popproxy.cli.options import Invocation
from popproxy.cli.pager import display
from popproxy.cli.screen import Screen, wrapped
from popproxy.cli.show_list import fitted
from popproxy.formats import visible
from popproxy.tools.stats import CommandStats, Durations, Share, Stats
from popproxy.tools.stats import stats as counted

_NAME: Final = 10
_NAME_MOST: Final = 32
_ROWS: Final = 20
"""Rows of a table; the rest is put together in one. `--json` has all."""


def stats(
    invocation: Invocation,
    path: str,
    kind: str | None,
    which: Mapping[str, str | None],
    *,
    as_json: bool,
    paged: bool = True,
) -> int:
    """Count a capture; see `popproxy stats --help`.

    Raises:
        CommandError: The capture cannot be read, or an option is wrong.
    """
    wanted = choice(**which)
    with opened(path, kind, invocation) as capture:
        made = counted(capture.records(wanted))
        damaged = capture.damaged
    if as_json:
        told = msgspec.json.encode(made, enc_hook=_durations).decode() + "\n"
        display([told], invocation.env, paged=False)
    else:
        drawing = _Drawing(Screen.standard(invocation))
        display(drawing.lines(made), invocation.env, paged=paged)
    return Status.FAILED if damaged else Status.DONE


def _durations(value: object) -> dict[str, int | None]:
    """Tell durations in nanoseconds, for JSON."""
    if not isinstance(value, Durations):
        raise NotImplementedError
    return {
        "count": value.count,
        "p50": value.quantile(0.5),
        "p95": value.quantile(0.95),
        "max": value.longest,
        "total": value.total,
    }


class _Drawing:
    """Draws the sums, and tables as wide as there is room for."""

    def __init__(self, screen: Screen) -> None:
        self._palette = screen.palette
        self._more = screen.glyphs.more
        self._width = max(30, screen.width - 1) if screen.terminal else None

    def lines(self, made: Stats) -> Iterator[str]:
        """Give the lines."""
        for name, value in _facts(made):
            rows = wrapped(value, (self._width or 10_000) - _NAME - 1)
            for number, row in enumerate(rows):
                yield f"{name if number == 0 else '':<{_NAME}} {row}\n"
        if made.commands:
            yield "\n"
            yield from self._table(
                ("command", "sent", "+OK", "-ERR", "octets", "p50 ms", "p95 ms", "max ms"),
                [
                    (visible(name) or "(empty)", *_command(one))
                    for name, one in sorted(made.commands.items(), key=lambda item: -item[1].count)
                ],
            )
        for title, shares in (("user", made.users), ("client", made.clients)):
            if shares:
                yield "\n"
                yield from self._table(
                    (title, "sessions", "messages", "octets", "deletions", "failed logins"),
                    [
                        (visible(name), *_share(share))
                        for name, share in sorted(shares.items(), key=lambda item: -item[1].octets)
                    ],
                )

    def _table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
        shown = rows[:_ROWS]
        widths = [
            max(cell_len(row[column]) for row in (head, *shown)) for column in range(len(head))
        ]
        widths[0] = min(widths[0], _NAME_MOST)
        columns = len(head)
        while self._width is not None and sum(widths[:columns]) + 2 * (columns - 1) > self._width:
            columns -= 1
        for number, row in enumerate((head, *shown)):
            first = fitted(row[0], widths[0])
            cells = [first + " " * (widths[0] - cell_len(first))]
            cells += [
                f"{cell:>{width}}"
                for cell, width in zip(row[1:columns], widths[1:columns], strict=True)
            ]
            line = "  ".join(cells)
            yield (self._palette.title(line) if number == 0 else line) + "\n"
        hidden = head[columns:]
        if hidden:
            words = f"{self._more} a wider terminal shows {', '.join(hidden)}, too"
            for line in wrapped(words, self._width or 10_000):
                yield self._palette.quiet(line) + "\n"
        if len(rows) > len(shown):
            words = f"{self._more} and {len(rows) - len(shown):,} more; --json has all"
            yield self._palette.quiet(words) + "\n"


def _facts(made: Stats) -> Iterator[tuple[str, str]]:
    span = "no records"
    if made.first is not None and made.last is not None:
        span = f"{made.first:%Y-%m-%d %H:%M:%S} to {made.last:%Y-%m-%d %H:%M:%S} UTC"
    yield "time", span
    yield "sessions", f"{made.sessions:,}{_told(made.reasons)}"
    if made.unfinished:
        yield "", f"{made.unfinished:,} without an end in this capture"
    yield "logins", f"{sum(made.logins.values()):,}{_told(made.logins)}"
    yield "TLS", _told(made.tls).strip(" ()") or "none"
    yield "messages", f"{made.retrieved:,} retrieved"
    yield (
        "deletions",
        f"{made.deletions_committed:,} committed, {made.deletions_pending:,} pending",
    )
    yield "octets", f"{made.octets_client:,} from clients, {made.octets_server:,} from servers"
    yield "findings", f"{made.findings:,}"
    yield "records", f"{made.records:,}" + (f", {made.lost:,} lost" if made.lost else "")


def _told(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return " (" + ", ".join(f"{visible(name)} {count:,}" for name, count in order[:_ROWS]) + ")"


def _command(one: CommandStats) -> tuple[str, ...]:
    taken = one.durations
    times = (taken.quantile(0.5), taken.quantile(0.95), taken.longest if taken.count else None)
    return (
        f"{one.count:,}",
        f"{one.ok:,}",
        f"{one.err:,}",
        f"{one.octets:,}",
        *("–" if time is None else f"{time / 1e6:,.1f}" for time in times),
    )


def _share(share: Share) -> tuple[str, ...]:
    numbers = (share.sessions, share.retrieved, share.octets, share.deletions, share.failures)
    return tuple(f"{number:,}" for number in numbers)
