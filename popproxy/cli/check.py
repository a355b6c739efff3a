"""`popproxy check`: findings, the gravest first, each with its places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

import msgspec

from popproxy.cli.captures import choice, opened
from popproxy.cli.errors import Status
from popproxy.cli.options import Invocation
from popproxy.cli.pager import display
from popproxy.cli.screen import WIDTH, Screen, wrapped
from popproxy.formats import visible
from popproxy.sinks.terminal.layout import count
from popproxy.tools.check import Checked, Found, Place, Severity
from popproxy.tools.check import check as put_together

_NARROW: Final = 60
_INDENT: Final = 9


def check(
    invocation: Invocation,
    path: str,
    kind: str | None,
    which: Mapping[str, str | None],
    *,
    fail_on: str,
    severity: str,
    as_json: bool,
    paged: bool = True,
) -> int:
    """List findings; see `popproxy check --help`.

    Raises:
        CommandError: The capture cannot be read, or an option is wrong.
    """
    wanted = choice(**which)
    with opened(path, kind, invocation) as capture:
        checked = put_together(capture.records(wanted))
        damaged = capture.damaged
    shown = checked.at_least(cast("Severity", severity))
    if as_json:
        display([_json(checked, shown)], invocation.env, paged=False)
    else:
        screen = Screen.standard(invocation)
        display(_Drawing(screen, path).lines(checked, shown), invocation.env, paged=paged)
    failed = fail_on != "never" and checked.at_least(cast("Severity", fail_on))
    return Status.FAILED if failed or damaged else Status.DONE


def _json(checked: Checked, shown: list[Found]) -> str:
    told = {"sessions": checked.sessions, "commands": checked.commands, "findings": shown}
    return msgspec.json.encode(told).decode() + "\n"


class _Drawing:
    """Draws findings."""

    def __init__(self, screen: Screen, path: str) -> None:
        palette = self._palette = screen.palette
        self._inks = {"error": palette.error, "warning": palette.warning, "info": palette.info}
        self._screen = screen
        self._path = path
        self._width = max(20, min(screen.width, WIDTH) - 1)
        self._indent = " " * (_INDENT if self._width >= _NARROW else 2)

    def lines(self, checked: Checked, shown: list[Found]) -> Iterator[str]:
        """Give the lines."""
        number = sum(found.count for found in shown)
        sums = (
            count(checked.sessions, "session"),
            count(checked.commands, "command"),
            count(number, "finding"),
        )
        yield ", ".join(sums) + "\n"
        for found in shown:
            yield "\n"
            yield from self._found(found)
        if shown and self._screen.terminal:
            yield "\n"
            code = visible(shown[0].code)
            words = f"popproxy show -Y 'finding == {code}' {visible(self._path)}"
            for row in wrapped(f"{words} shows the first in its place", self._width):
                yield self._palette.quiet(row) + "\n"

    def _found(self, found: Found) -> Iterator[str]:
        ink, rfc = self._inks[found.severity], visible(found.rfc)
        title = f"{found.severity:<8} {visible(found.code)}"
        head = ink(title[:8]) + self._palette.title(title[8:])
        if not rfc or len(title) + 2 + len(rfc) <= self._width:
            yield head + (f"  {self._palette.quiet(rfc)}" if rfc else "") + "\n"
        else:
            yield head + "\n"
            yield f"{self._indent}{self._palette.quiet(rfc)}\n"
        yield from self._rows(visible(found.what))
        if found.count == found.sessions == 1:
            yield from self._place(found.places[0])
            return
        times = f"{count(found.count, 'time')} in {count(found.sessions, 'session')}:"
        yield from self._rows(times)
        for place in found.places:
            yield from self._place(place)
        if rest := found.count - len(found.places):
            words = f"{self._screen.glyphs.more} {rest:,} more"
            yield self._indent + self._palette.quiet(words) + "\n"

    def _place(self, place: Place) -> Iterator[str]:
        words = [f"session {visible(place.session)}"]
        if place.command_seq is not None:
            keyword = f" ({visible(place.command)})" if place.command else ""
            words.append(f"command {place.command_seq}{keyword}")
        if place.where:
            words.append(visible(place.where))
        yield from self._rows(", ".join(words), hanging="  ")

    def _rows(self, text: str, *, hanging: str = "") -> Iterator[str]:
        room = max(16, self._width - len(self._indent))
        for number, row in enumerate(wrapped(text, room - len(hanging), room)):
            yield f"{self._indent}{hanging if number else ''}{row}\n"
