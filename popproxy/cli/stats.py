"""`popproxy stats`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
import msgspec

from popproxy.cli.captures import choice, opened
from popproxy.cli.console import wants_color
from popproxy.cli.errors import Status
from popproxy.cli.options import Invocation
from popproxy.formats import visible
from popproxy.tools.stats import CommandStats, Durations, Share, Stats
from popproxy.tools.stats import stats as counted

_ROWS: Final = 20
"""Rows of a table; the rest is put together in one. `--json` has all."""


def stats(
    invocation: Invocation,
    path: str,
    kind: str | None,
    which: Mapping[str, str | None],
    *,
    as_json: bool,
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
        click.echo(msgspec.json.encode(made, enc_hook=_durations))
    else:
        colored = wants_color(invocation.color, sys.stdout, invocation.env)
        for line in _lines(made):
            click.echo(line, color=colored)
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


def _lines(made: Stats) -> Iterable[str]:
    span = "no records"
    if made.first is not None and made.last is not None:
        span = f"{made.first:%Y-%m-%d %H:%M:%S} to {made.last:%Y-%m-%d %H:%M:%S} UTC"
    facts = [
        ("time", span),
        ("sessions", f"{made.sessions:,}{_told(made.reasons)}"),
        ("logins", f"{sum(made.logins.values()):,}{_told(made.logins)}"),
        ("TLS", _told(made.tls).strip(" ()") or "none"),
        ("messages", f"{made.retrieved:,} retrieved"),
        (
            "deletions",
            f"{made.deletions_committed:,} committed, {made.deletions_pending:,} pending",
        ),
        ("octets", f"{made.octets_client:,} from clients, {made.octets_server:,} from servers"),
        ("findings", f"{made.findings:,}"),
        ("records", f"{made.records:,}" + (f", {made.lost:,} lost" if made.lost else "")),
    ]
    if made.unfinished:
        facts.insert(2, ("", f"{made.unfinished:,} without an end in this capture"))
    for name, value in facts:
        yield f"{name:<10} {value}"
    if made.commands:
        yield ""
        yield from _table(
            ("command", "sent", "+OK", "-ERR", "octets", "p50 ms", "p95 ms", "max ms"),
            [
                (visible(name), *_command(one))
                for name, one in sorted(made.commands.items(), key=lambda item: -item[1].count)
            ],
        )
    for title, shares in (("user", made.users), ("client", made.clients)):
        if shares:
            yield ""
            yield from _table(
                (title, "sessions", "messages", "octets", "deletions", "failed logins"),
                [
                    (visible(name), *_share(share))
                    for name, share in sorted(shares.items(), key=lambda item: -item[1].octets)
                ],
            )


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


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterable[str]:
    shown = rows[:_ROWS]
    widths = [max(len(row[column]) for row in (head, *shown)) for column in range(len(head))]
    widths[0] = min(widths[0], 32)
    for number, row in enumerate((head, *shown)):
        first = row[0] if len(row[0]) <= widths[0] else row[0][: widths[0] - 1] + "…"
        cells = [f"{first:<{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        line = "  ".join(cells)
        yield click.style(line, bold=True) if number == 0 else line
    if len(rows) > len(shown):
        yield f"… and {len(rows) - len(shown):,} more; --json has all"
