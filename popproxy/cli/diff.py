"""`popproxy diff`: two sessions next to each other, or below each other where there is no room.

What differs is marked by a sign at its line, and its colour only adds to that. Steps that are the
same are folded, but for a few around those that differ.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec
from rich.cells import cell_len, chop_cells

from popproxy.cli.captures import Opened, opened
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.pager import display
from popproxy.cli.screen import Screen
from popproxy.formats import visible
from popproxy.sinks.terminal.ink import Ink
from popproxy.tools.captures import STDIN
from popproxy.tools.diff import FACTOR, Diff, Row, diff
from popproxy.tools.diff_steps import Session, Step, session
from popproxy.tools.sessions import Choice, overviews, records_of

SIDE_BY_SIDE: Final = 100
"""Columns from which there is room for two sessions next to each other."""

_CONTEXT: Final = 2
_FOLDED: Final = 3
_LONGEST: Final = 400
_ONLY: Final = {"only a": "only in A", "only b": "only in B"}
_ON_THE_LINE: Final = {"status", "code", "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What is compared: two captures, and which session of each."""

    a: str
    b: str | None
    session_a: str | None
    session_b: str | None


def compare(
    invocation: Invocation,
    sides: Sides,
    kind: str | None,
    *,
    timing: bool,
    everything: bool,
    as_json: bool,
    paged: bool,
) -> int:
    """Compare two sessions; see `popproxy diff --help`.

    Raises:
        CommandError: A capture cannot be read, or does not tell which session is meant.
    """
    if sides.b is None and None in (sides.session_a, sides.session_b):
        raise CommandError(
            "with one capture, both --session-a and --session-b are needed",
            hint=f"popproxy show --list {sides.a} lists its sessions.",
            status=Status.USAGE,
        )
    path_b = sides.a if sides.b is None else sides.b
    if sides.a == path_b == STDIN:
        raise CommandError(
            "standard input can be read once only",
            hint="Write it to a file first.",
            status=Status.USAGE,
        )
    one, whole = _session(invocation, sides.a, kind, "--session-a", sides.session_a)
    other, whole_too = _session(invocation, path_b, kind, "--session-b", sides.session_b)
    found = diff(one, other, factor=FACTOR if timing else None)
    if as_json:
        pieces: Iterable[str] = [msgspec.json.encode(_json(found)).decode() + "\n"]
    else:
        names = (visible(sides.a), visible(path_b))
        pieces = _Drawing(found, names, Screen.standard(invocation), everything=everything).lines()
    display(pieces, invocation.env, paged=paged and not as_json)
    return Status.DONE if found.same and whole and whole_too else Status.FAILED


def _session(
    invocation: Invocation, path: str, kind: str | None, option: str, which: str | None
) -> tuple[Session, bool]:
    """Read the session that is meant, and say whether all of the capture could be read.

    Raises:
        CommandError: There is none, or there are several.
    """
    with opened(path, kind, invocation) as capture:
        number = _number(capture, option, which)
        damaged = capture.damaged
        return session(records_of(capture.records(again=True), number)), not damaged


def _number(capture: Opened, option: str, which: str | None) -> int:
    choice = Choice(session=which)
    fitting = (one for one in overviews(capture.records()) if choice.matches(one))
    found = list(islice(fitting, 2))
    if len(found) == 1:
        return found[0].number
    hint = f"popproxy show --list {capture.name} lists them."
    if not found:
        what = "no session fits" if which else "there is no session in it"
        raise CommandError(f"{capture.name}: {what}", hint=hint if which else "")
    what = f"{which!r} fits several sessions" if which else "it holds several sessions"
    raise CommandError(
        f"{capture.name}: {what}",
        hint=f"Say which with {option}: its number, or its id. {hint}",
        status=Status.USAGE,
    )


# JSON


def _json(found: Diff) -> dict[str, Any]:
    return {
        "same": found.same,
        "a": _session_json(found.a),
        "b": _session_json(found.b),
        "counts": dict(found.counts()),
        "steps": len(found.rows),
        "rows": [_row_json(row) for row in found.rows if not row.same],
    }


def _session_json(of: Session) -> dict[str, Any]:
    return {"session": of.id, "user": of.user, "steps": len(of.steps), "cut": of.cut}


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "a": _step_json(row.a),
        "b": _step_json(row.b),
        "labels": list(row.labels) if any(row.labels) else None,
        "differences": [{"what": one.what, "a": one.a, "b": one.b} for one in row.differences],
    }


def _step_json(step: Step | None) -> dict[str, Any] | None:
    if step is None:
        return None
    command, response = step.exchange.command, step.exchange.response
    return {
        "kind": step.kind,
        "seq": command.session.seq if command is not None else None,
        "command_seq": command.pop3.seq if command is not None else None,
        "command": command.pop3.command if command is not None else None,
        "arguments": command.pop3.arguments if command is not None else None,
        "status": response.pop3.status if response is not None else None,
        "text": response.pop3.text if response is not None else None,
        "duration": step.exchange.duration,
    }


# Drawing


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of both sides; None where a side has nothing to show."""

    a: str | None
    b: str | None
    differs: bool


class _Drawing:
    """Draws a comparison."""

    def __init__(
        self, found: Diff, names: tuple[str, str], screen: Screen, *, everything: bool
    ) -> None:
        self._found = found
        self._names = names
        self._screen = screen
        self._palette = screen.palette
        self._everything = everything
        self._beside = screen.width >= SIDE_BY_SIDE
        self._width = max(20, min(screen.width, 160) - 1)
        self._signs = _signs(screen.encoding)

    def lines(self) -> Iterator[str]:
        """Give the lines."""
        yield from self._head()
        shown = self._shown()
        folded = 0
        for number, row in enumerate(self._found.rows):
            if number not in shown:
                folded += 1
                continue
            if folded:
                yield self._fold(folded)
                folded = 0
            for line in _lines(row):
                yield from self._beside_each_other(line) if self._beside else self._below(line)
        if folded:
            yield self._fold(folded)
        yield from self._foot()

    def _shown(self) -> set[int]:
        """Tell which rows are shown: what differs, what is near it, and runs too short to fold."""
        rows = self._found.rows
        if self._everything:
            return set(range(len(rows)))
        shown: set[int] = set()
        for number, row in enumerate(rows):
            if not row.same:
                shown.update(range(number - _CONTEXT, number + _CONTEXT + 1))
        missing = 0
        for number in range(len(rows) + 1):
            if number < len(rows) and number not in shown:
                missing += 1
                continue
            if missing < _FOLDED:
                shown.update(range(number - missing, number))
            missing = 0
        return shown

    def _head(self) -> Iterator[str]:
        for sign, name, of in zip("AB", self._names, (self._found.a, self._found.b), strict=True):
            user = f", {visible(of.user[:_LONGEST])}" if of.user else ""
            text = f"{name}, session {visible(of.id[:_LONGEST])}{user}"
            for number, part in enumerate(textwrap.wrap(text, self._width - 3)):
                mark = self._palette.title(sign) if number == 0 else " "
                yield f"{mark}  {part}\n"
        yield "\n"

    def _foot(self) -> Iterator[str]:
        found, counts = self._found, self._found.counts()
        if found.same:
            words = f"no difference in {_count(len(found.rows), 'step')}"
            ink = self._palette.good
        else:
            differing = sum(not row.same for row in found.rows)
            ink = self._palette.warning
            told = [f"{_ONLY.get(what, what)} {number:,}" for what, number in counts.most_common()]
            words = f"{differing:,} of {_count(len(found.rows), 'step')} differ: {', '.join(told)}"
        yield "\n"
        for part in textwrap.wrap(words, self._width):
            yield ink(part) + "\n"
        if found.a.cut or found.b.cut:
            yield self._palette.warning("what follows in these sessions was not compared") + "\n"

    def _fold(self, number: int) -> str:
        words = f"{self._screen.glyphs.more} {_count(number, 'step')} the same"
        return self._palette.quiet(f"   {words}" if not self._beside else f"  {words}") + "\n"

    def _beside_each_other(self, line: _Line) -> Iterator[str]:
        room = (self._width - 3) // 2
        left = _broken(line.a or "", room)
        right = _broken(line.b or "", room)
        mark = self._signs["both"] if line.differs else " "
        if line.a is None or line.b is None:
            mark = self._signs["b" if line.a is None else "a"]
        ink = self._ink(line)
        for number in range(max(len(left), len(right))):
            one = left[number] if number < len(left) else ""
            other = right[number] if number < len(right) else ""
            sign = mark if number == 0 else " "
            blank = " " * (room - cell_len(one))
            yield f"{ink(one)}{blank} {self._palette.warning(sign)} {ink(other)}".rstrip() + "\n"

    def _below(self, line: _Line) -> Iterator[str]:
        ink = self._ink(line)
        if not line.differs:
            yield from self._marked(" ", line.a or "", ink)
            return
        for sign, text in (("-", line.a), ("+", line.b)):
            if text is not None:
                yield from self._marked(sign, text, ink)

    def _marked(self, sign: str, text: str, ink: Ink) -> Iterator[str]:
        for part in _broken(text, self._width - 2):
            yield f"{self._palette.warning(sign)} {ink(part)}".rstrip() + "\n"

    def _ink(self, line: _Line) -> Ink:
        return self._palette.title if line.differs else self._palette.plain


def _signs(encoding: str) -> dict[str, str]:
    try:
        "≠".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return {"both": "|", "a": "<", "b": ">"}
    return {"both": "≠", "a": "<", "b": ">"}


def _lines(row: Row) -> Iterator[_Line]:
    """Give the lines of a row: the command, its status line, and whatever else differs."""
    ours = _told(row.a, row.labels[0]) if row.a is not None else None
    theirs = _told(row.b, row.labels[1]) if row.b is not None else None
    if ours is None or theirs is None:
        for told in (ours, theirs):
            for text in told or ():
                yield _Line(text if told is ours else None, text if told is theirs else None, True)
        return
    what = {one.what for one in row.differences}
    first, second = "command" in what, bool(what & _ON_THE_LINE)
    if row.a is not None and row.a.kind != "command":
        first = second
    yield _Line(ours[0], theirs[0], first)
    if len(ours) > 1 or len(theirs) > 1:
        yield _Line(ours[1] if ours[1:] else "", theirs[1] if theirs[1:] else "", second)
    for one in row.differences:
        if one.what not in _ON_THE_LINE | {"command"}:
            a, b = (visible(text[:_LONGEST]) for text in (one.a, one.b))
            yield _Line(f"   {one.what}: {a}", f"   {one.what}: {b}", True)


def _told(step: Step, label: str) -> list[str]:
    """Say what a step was, in a line or two."""
    exchange = step.exchange
    if step.kind == "end":
        return [f"end: {visible(step.reason.replace('-', ' ')[:_LONGEST])}"]
    if step.tls is not None:
        peer = "client" if step.tls.leg == "client" else "server"
        event = {"tls.start": "begins", "tls.failed": "fails", "tls.end": "ends"}
        return [f"TLS with the {peer} {event.get(step.event, visible(step.event))}"]
    said: list[str] = []
    if exchange.command is not None:
        part = exchange.command.pop3
        line = f"{part.command} {part.arguments}" if part.arguments is not None else part.command
        said.append(f"C: {visible(line[:_LONGEST])}" + (f"  ({label})" if label else ""))
    answer = exchange.greeting or exchange.response
    if answer is not None:
        line = f"{answer.pop3.status} {answer.pop3.text}".rstrip()
        said.append(f"S: {visible(line[:_LONGEST])}")
    elif exchange.command is not None:
        said.append("S: (no response)")
    for piece in exchange.lines[:1]:
        side = "C" if piece.side == "client" else "S"
        line_sent = piece.wire[:_LONGEST].split(b"\n", 1)[0].rstrip(b"\r")
        said.append(f"{side}: {visible(line_sent)}")
    return said or ["(lines that answer nothing)"]


def _broken(text: str, width: int) -> list[str]:
    """Break a line into rows that fit."""
    return chop_cells(text, max(2, width)) or [""]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
