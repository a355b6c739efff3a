"""Two sessions compared: what the one has that the other has not, command by command.

Steps are aligned by their commands (`popproxy.tools.align`), after numbers of messages were turned
into labels; what is left between is aligned once more by keywords alone, so that a command with
other arguments stands next to its counterpart. Of two steps at the same place everything is
compared that their records tell; what is hidden before is in `popproxy.tools.diff_labels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final

from popproxy.formats import visible
from popproxy.records import CommandPart, ResponsePart
from popproxy.tools.align import Key, Pair, align
from popproxy.tools.diff_labels import Labels, label
from popproxy.tools.diff_steps import Session, Step
from popproxy.tools.sessions import is_timed

FACTOR: Final = 2.0
LEAST: Final = 20_000_000
"""Nanoseconds by which times differ at least, however often the one goes into the other."""

_ROWS_TOLD: Final = 5
_LINE_MOST: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something in which two steps differ.

    Attributes:
        what: `command`, `status`, `code`, `text`, `table`, `size`, `content`, `structure`,
            `ending`, `login`, `findings`, `pipelining`, `tls`, `reason`, or `time`.
        a: What it is in the first session.
        b: What it is in the second one.
    """

    what: str
    a: str
    b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Two steps at the same place, or one that has no counterpart.

    Attributes:
        a: The step of the first session.
        b: The step of the second one.
        labels: The message that the command of each names; the same mail has the same label.
        differences: In what they differ; empty if one is missing.
    """

    a: Step | None
    b: Step | None
    labels: tuple[str, str] = ("", "")
    differences: tuple[Difference, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.a is not None and self.b is not None and not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Two sessions compared.

    Attributes:
        a: The first.
        b: The second.
        rows: Their steps, in order.
    """

    a: Session
    b: Session
    rows: tuple[Row, ...]

    @property
    def same(self) -> bool:
        """Whether the sessions do not differ."""
        return all(row.same for row in self.rows)

    def counts(self) -> Counter[str]:
        """Count the differences by what they are, and steps that only one session has."""
        counted: Counter[str] = Counter()
        for row in self.rows:
            counted.update(one.what for one in row.differences)
            counted["only a"] += row.b is None
            counted["only b"] += row.a is None
        return +counted


def diff(a: Session, b: Session, *, factor: float | None = None) -> Diff:
    """Compare two sessions.

    Args:
        a: The first.
        b: The second.
        factor: If it is given, durations differ that go into each other more often than this.
    """
    for one_session in (a, b):
        if one_session.start is not None and not is_timed(one_session.start):
            factor = None  # its times are made up
    sides = tuple(_Side(*one) for one in zip((a, b), label(a, b), strict=True))
    one, other = sides
    rows: list[Row] = []
    i = j = 0
    for i_next, j_next in [*_aligned(one, other), (len(a.steps), len(b.steps))]:
        rows += [Row(a=step, b=None, labels=(one.label(step), "")) for step in a.steps[i:i_next]]
        rows += [Row(a=None, b=step, labels=("", other.label(step))) for step in b.steps[j:j_next]]
        if i_next < len(a.steps):
            first, second = a.steps[i_next], b.steps[j_next]
            differences = tuple(_differences(first, second, one, other, factor))
            labels = one.label(first), other.label(second)
            rows.append(Row(a=first, b=second, labels=labels, differences=differences))
        i, j = i_next + 1, j_next + 1
    return Diff(a=a, b=b, rows=tuple(rows))


def _aligned(a: _Side, b: _Side) -> list[Pair]:
    """Align steps by whole commands, and what is between them by keywords."""
    pairs: list[Pair] = []
    i = j = 0
    for i_next, j_next in [*align(a.keys, b.keys), (len(a.keys), len(b.keys))]:
        between_a = [key[:2] for key in a.keys[i:i_next]]
        between_b = [key[:2] for key in b.keys[j:j_next]]
        pairs += [(i + x, j + y) for x, y in align(between_a, between_b)]
        if i_next < len(a.keys):
            pairs.append((i_next, j_next))
        i, j = i_next + 1, j_next + 1
    return pairs


class _Side:
    """A session with its labels."""

    def __init__(self, session: Session, labels: Labels) -> None:
        self.labels = labels
        self.keys = [self._key(step) for step in session.steps]

    def _key(self, step: Step) -> Key:
        """Give what a step is aligned by: the first two members alone if need be."""
        match step.kind:
            case "command":
                keyword = step.exchange.keyword
                return ("command", keyword, self.arguments(step))
            case "tls" if step.tls is not None:
                return ("tls", f"{step.tls.leg} {step.event}")
            case _:
                return (step.kind, "")

    def arguments(self, step: Step) -> str:
        """Give a command's arguments, the number of a message as its label."""
        command = step.exchange.command
        if command is None or command.pop3.arguments is None:
            return ""
        number, arguments = command.pop3.message_number, command.pop3.arguments
        if number is None:
            return arguments
        _, blank, rest = arguments.partition(" ")
        return self.labels.of(number) + blank + rest

    def label(self, step: Step) -> str:
        """Give the label of the message that a step is about."""
        command = step.exchange.command
        number = command.pop3.message_number if command is not None else None
        return self.labels.by_number.get(number, "") if number is not None else ""


def _differences(
    a: Step, b: Step, side_a: _Side, side_b: _Side, factor: float | None
) -> Iterator[Difference]:
    ours, theirs = dict(_aspects(a, side_a)), dict(_aspects(b, side_b))
    for what in [*ours, *(one for one in theirs if one not in ours)]:
        mine, other = ours.get(what, _NOTHING), theirs.get(what, _NOTHING)
        if mine.value == other.value:
            continue
        if _NOTHING in (mine, other) and ours.get("status") != theirs.get("status"):
            continue  # what comes with +OK alone
        if what == "structure" and _NOTHING in (mine, other):
            continue  # one of them was not recorded whole
        sizes = [side.get("size", _NOTHING).value for side in (ours, theirs)]
        if what == "content" and sizes[0] != sizes[1]:
            continue  # other sizes say enough
        if what == "table":
            yield _tables(mine, other)
        else:
            yield Difference(what=what, a=mine.told, b=other.told)
    times = (a.exchange.duration, b.exchange.duration)
    if factor is not None and times[0] is not None and times[1] is not None:
        short, long = sorted((times[0], times[1]))
        if long > short * factor and long - short >= LEAST:
            yield Difference(what="time", a=_time(times[0]), b=_time(times[1]))


def _tables(a: _Aspect, b: _Aspect) -> Difference:
    """Tell the rows that only one table has."""
    rows_a, rows_b = Counter(a.rows), Counter(b.rows)
    return Difference(what="table", a=_rows(rows_a - rows_b, a), b=_rows(rows_b - rows_a, b))


def _rows(rows: Counter[str], of: _Aspect) -> str:
    listed = list(rows.elements())
    if not listed:
        return of.told
    more = f", and {len(listed) - _ROWS_TOLD:,} more" if len(listed) > _ROWS_TOLD else ""
    return ", ".join(listed[:_ROWS_TOLD]) + more


# What is compared


@dataclass(frozen=True, slots=True)
class _Aspect:
    """One thing that is compared: its value without what is hidden, and how it is told."""

    value: Hashable
    told: str
    rows: tuple[str, ...] = ()


_NOTHING: Final = _Aspect(None, "nothing")


def _aspects(step: Step, side: _Side) -> Iterator[tuple[str, _Aspect]]:
    exchange = step.exchange
    if step.kind == "end":
        yield "reason", _Aspect(step.reason, step.reason.replace("-", " "))
    if step.tls is not None:
        part = step.tls
        facts = [part.version, part.cipher, part.alpn, part.code, part.alert]
        if part.truncated:
            facts.append("without close_notify")
        yield "tls", _Aspect(tuple(facts), ", ".join(fact for fact in facts if fact) or "TLS")
    if exchange.command is not None:
        yield from _of_command(exchange.command.pop3, side.arguments(step))
    if exchange.greeting is not None:
        greeting = exchange.greeting.pop3
        yield "status", _Aspect(greeting.status, greeting.status)
        yield "code", _Aspect(greeting.code, greeting.code or "no code")
        yield "text", _Aspect(side.labels.text(greeting.text), greeting.text)
    if exchange.response is not None:
        number = exchange.command.pop3.message_number if exchange.command is not None else None
        yield from _of_response(exchange.response.pop3, side.labels, number)
    elif exchange.command is not None:
        yield "status", _Aspect("", "no response")
    for line in exchange.lines:
        said = visible(line.wire[:_LINE_MOST].split(b"\n", 1)[0])
        yield "text", _Aspect(side.labels.text(said), said)
    if step.structure:
        yield "structure", _Aspect(step.structure, step.structure)
    if exchange.auth is not None:
        auth = exchange.auth.auth
        name = exchange.auth.user.name if exchange.auth.user is not None else None
        told = f"{auth.outcome} by {auth.mechanism}" + (f" as {name}" if name else "")
        yield "login", _Aspect((auth.outcome, auth.mechanism, name), told)
    codes = tuple(sorted({found.finding.code for found in exchange.findings}))
    yield "findings", _Aspect(codes, ", ".join(codes) or "none")


def _of_command(part: CommandPart, arguments: str) -> Iterator[tuple[str, _Aspect]]:
    told = f"{part.command} {part.arguments}" if part.arguments is not None else part.command
    yield "command", _Aspect((part.command, arguments, part.complete), told)
    yield "pipelining", _Aspect(part.pipelined, "pipelined" if part.pipelined else "not pipelined")


def _of_response(
    part: ResponsePart, labels: Labels, number: int | None
) -> Iterator[tuple[str, _Aspect]]:
    yield "status", _Aspect(part.status, part.status)
    yield "code", _Aspect(part.code, part.code or "no code")
    yield "text", _Aspect(labels.text(part.text, number), part.text or "no text")
    if part.multi_line:
        yield "ending", _Aspect(part.ending, part.ending or "unknown")
    rows = _table(part, labels)
    if rows is not None:
        shown = tuple(rows)
        told = f"{len(shown):,} row" + ("" if len(shown) == 1 else "s")
        yield "table", _Aspect(tuple(sorted(shown)), told, shown)
    elif part.message is not None:
        yield "size", _Aspect(part.message.octets, f"{part.message.octets:,} octets")
        yield "content", _Aspect(part.message.sha256, f"SHA-256 {part.message.sha256[:12]}…")
    elif part.octets is not None:
        yield "size", _Aspect((part.octets, part.lines), f"{part.octets:,} octets")


def _table(part: ResponsePart, labels: Labels) -> list[str] | None:
    if part.listing is not None:
        return [f"{labels.of(row.message)}: {row.octets:,} octets" for row in part.listing]
    if part.unique_ids is not None:
        return [labels.of(row.message) for row in part.unique_ids]
    if part.capabilities is not None:
        return [" ".join((row.tag, *row.arguments)) for row in part.capabilities]
    return None


def _time(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:,.1f} ms"
