"""`popproxy show`: a capture's sessions as a list, or what was said in them as a transcript.

The transcript is the one that `popproxy run` shows live. Sessions are shown as a stream, in the
order of the capture, so that a capture of months is no more work to begin with than one of a
minute; only the list, which tells whether there are several sessions, reads all of it.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, TypeVar

from popproxy.cli import show_list
from popproxy.cli.captures import Opened, choice, following, opened
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.pager import display
from popproxy.cli.screen import Screen
from popproxy.cli.show_follow import Following
from popproxy.cli.show_message import MessageDrawing
from popproxy.cli.show_timing import TimingDrawing
from popproxy.formats import visible
from popproxy.records import Record
from popproxy.sinks.terminal import Transcript
from popproxy.tools import filters
from popproxy.tools.captures import STDIN
from popproxy.tools.filter_tree import Filter
from popproxy.tools.filters import FilterError
from popproxy.tools.messages import fetched
from popproxy.tools.sessions import Choice, Overview, overviews
from popproxy.tools.sieve import Sieve, sifted

_T = TypeVar("_T")
_FOLD: Final = 12
"""Lines of a table that are shown, where they are folded."""
_UNFOLDED: Final = sys.maxsize
_CAP: Final = 500
_CAP_IN_FULL: Final = 1024 * 1024
"""Octets of a line that are shown with `--body` (P49)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What is to be shown and how; see `popproxy show --help`."""

    message: int | None = None
    listed: bool = False
    everything: bool = False
    condition: str | None = None
    body: bool = False
    raw: bool = False
    timing: bool = False
    follow: bool = False
    as_json: bool = False
    kind: str | None = None
    paged: bool = True


def show(invocation: Invocation, path: str, which: Mapping[str, str | None], manner: Manner) -> int:
    """Show a capture; see `popproxy show --help`.

    Raises:
        CommandError: The capture cannot be read, no session fits, or an option is wrong.
    """
    wanted = choice(**which)
    condition = parsed(manner.condition)
    _check(manner)
    screen = Screen.standard(invocation)
    if manner.follow:
        live = Following(transcript(screen, manner), wanted, condition, encoding=screen.encoding)
        live.show(
            lambda wait: following(path, manner.kind, invocation, wait), at_once=path == STDIN
        )
        return Status.DONE
    with opened(path, manner.kind, invocation) as capture:
        lines = _Show(capture, wanted, manner, condition, screen).lines()
        display(lines, invocation.env, paged=manner.paged)
        damaged = capture.damaged
    return Status.FAILED if damaged else Status.DONE


def _check(manner: Manner) -> None:
    """Refuse what does not go together.

    Raises:
        CommandError: There is such.
    """
    if manner.as_json and not manner.listed:
        raise CommandError(
            "--json goes with --list",
            hint="The records themselves are JSON: popproxy convert CAPTURE --to jsonl -o -",
            status=Status.USAGE,
        )
    ways = {
        "--list": manner.listed,
        "a message": manner.message is not None,
        "--timing": manner.timing,
        "--raw": manner.raw,
    }
    given = [name for name, wanted in ways.items() if wanted]
    if manner.timing and manner.condition is not None:
        given = ["--timing", "--filter"]
    if manner.follow and not manner.raw and given:
        given = ["--follow", *given]
    if len(given) > 1:
        raise CommandError(
            f"{given[0]} and {given[1]} are different ways to look at a capture",
            hint="Choose one of them.",
            status=Status.USAGE,
        )


def transcript(screen: Screen, manner: Manner) -> Transcript:
    """Make what draws the transcript."""
    return Transcript(
        screen.palette,
        screen.glyphs,
        lambda: screen.width,
        encoding=screen.encoding,
        fold=_UNFOLDED if manner.body else _FOLD,
        cap=_CAP_IN_FULL if manner.body else _CAP,
        close_messages=not manner.body,
        reading=True,
        raw=manner.raw,
    )


def parsed(condition: str | None) -> Filter | None:
    """Parse what `--filter` says.

    Raises:
        CommandError: It is no filter; the message points at the place.
    """
    if condition is None:
        return None
    try:
        return filters.parse(condition)
    except FilterError as error:
        before = visible(error.text[: error.column])
        wrong = visible(error.text[error.column : error.column + error.length])
        after = visible(error.text[error.column + error.length :])
        pointer = " " * len(before) + "^" * max(1, len(wrong))
        raise CommandError(
            f"--filter: {error.message}",
            hint=f"{before}{wrong}{after}\n{pointer}\n{error.hint}",
            status=Status.USAGE,
        ) from None


class _Show:
    """Makes the lines that are shown of one capture."""

    def __init__(
        self,
        capture: Opened,
        wanted: Choice,
        manner: Manner,
        condition: Filter | None,
        screen: Screen,
    ) -> None:
        self._capture = capture
        self._wanted = wanted
        self._manner = manner
        self._condition = condition
        self._screen = screen

    def lines(self) -> Iterator[str]:
        """Give the lines.

        Raises:
            CommandError: Nothing fits, or the capture cannot be read.
        """
        if self._manner.listed:
            yield from self._list(self._sessions())
        elif self._manner.message is not None:
            yield from self._message(self._manner.message)
        elif self._manner.everything or self._condition is not None:
            yield from self._some(self._transcript(self._records(self._wanted)))
        else:
            sessions = self._sessions()
            first = list(islice(sessions, 2))
            if len(first) == 1:
                only = Choice(session=str(first[0].number))
                yield from self._transcript(self._records(only, again=True))
            else:
                yield from self._list(chain(first, sessions))
                yield from self._how_to_choose()

    def _records(self, wanted: Choice, *, again: bool = False) -> Iterator[Record]:
        records = self._capture.records(wanted, again=again)
        return records if self._condition is None else sifted(records, self._condition)

    def _sessions(self) -> Iterator[Overview]:
        """Give the sessions that are wanted, by number."""
        fitting: set[int] | None = None
        if self._condition is not None:
            sieve = Sieve(self._condition)
            for record in self._capture.records():
                for _ in sieve.feed(record):
                    pass
            for _ in sieve.end():
                pass
            fitting = sieve.sessions
        seen = overviews(self._capture.records(again=fitting is not None))
        return self._some(
            one
            for one in show_list.in_order(seen)
            if self._wanted.matches(one) and (fitting is None or one.number in fitting)
        )

    def _some(self, shown: Iterable[_T]) -> Iterator[_T]:
        """Give what is shown, and raise an error if it is nothing."""
        shown = iter(shown)
        for first in shown:
            yield first
            yield from shown
            return
        if self._wanted.everything and self._condition is None:
            raise CommandError(f"{self._capture.name}: there is no record in it")
        what = "--filter fits no command or response" if self._condition else "no session fits"
        raise CommandError(
            f"{self._capture.name}: {what}",
            hint=f"popproxy show --list {self._capture.name} lists the sessions there are.",
        )

    def _list(self, seen: Iterable[Overview]) -> Iterator[str]:
        if self._manner.as_json:
            return show_list.as_json(seen)
        screen = self._screen
        return show_list.table(seen, screen.palette, screen.width if screen.terminal else None)

    def _how_to_choose(self) -> Iterator[str]:
        """Say how to go on, where a person looks."""
        if self._screen.terminal:
            words = "--session N shows one of them, --all every one, --filter what fits"
            for line in ["", *textwrap.wrap(words, max(20, self._screen.width - 1))]:
                yield self._screen.palette.quiet(line) + "\n"

    def _message(self, number: int) -> Iterator[str]:
        """Show a message of every session that is wanted and fetched it."""
        drawing = MessageDrawing(self._screen, body=self._manner.body)
        found = False
        for message in fetched(self._records(self._wanted), number):
            if found:
                yield "\n"
            found = True
            yield from drawing.lines(number, message)
        if not found:
            raise CommandError(
                f"{self._capture.name}: message {number} was not fetched"
                + ("" if self._wanted.everything else " in these sessions"),
                hint="It can be shown if a session has a RETR or TOP of it: popproxy show"
                f" {self._capture.name}\n-Y 'pop.request.command in {{RETR, TOP}}' shows these.",
            )

    def _transcript(self, records: Iterable[Record]) -> Iterator[str]:
        if self._manner.timing:
            yield from TimingDrawing(self._screen).all(records)
            return
        drawn = transcript(self._screen, self._manner)
        for record in records:
            if shown := drawn.write(record):
                yield shown.decode(self._screen.encoding)
        if shown := drawn.end():
            yield shown.decode(self._screen.encoding)
