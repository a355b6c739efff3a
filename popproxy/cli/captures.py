"""Captures for verbs: what the options say of them, and what is told when one is damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from popproxy.cli.console import show_error
from popproxy.cli.errors import CommandError, Status, nearest
from popproxy.cli.options import Invocation
from popproxy.formats import FormatError
from popproxy.records import Record
from popproxy.tools import captures
from popproxy.tools.captures import CaptureError, Reading
from popproxy.tools.follow import Wait, follow
from popproxy.tools.sessions import Choice, chosen

_AGO: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TOLD_MOST: Final = 10


class Damage:
    """Tells of places that could not be read; of the first few.

    Attributes:
        places: How many there were.
    """

    def __init__(self, name: str, invocation: Invocation) -> None:
        self.places = 0
        self._name = name
        self._invocation = invocation

    def tell(self, error: FormatError) -> None:
        """Tell of a place."""
        self.places += 1
        if self.places > _TOLD_MOST:
            return
        place = f"{self._name}, line {error.line}" if error.line else self._name
        last = self.places == _TOLD_MOST
        hint = "If there are more such places, they are passed over in silence." if last else ""
        show_error(
            f"{place}: {error.message}",
            hint,
            env=self._invocation.env,
            color=self._invocation.color,
        )

    def count(self, _error: FormatError) -> None:
        """Take note of a place that was told before."""
        self.places += 1


class Opened:
    """A capture that a verb reads.

    Attributes:
        name: What messages call it.
    """

    def __init__(self, reading: Reading, name: str, invocation: Invocation) -> None:
        self._reading = reading
        self._invocation = invocation
        self._damage = Damage(name, invocation)
        self.name = name

    @property
    def damaged(self) -> int:
        """Places that could not be read when it was read last; the first few have been told."""
        return self._damage.places

    def records(self, choice: Choice | None = None, *, again: bool = False) -> Iterator[Record]:
        """Read it from the beginning; places that cannot be read are told and passed over.

        Args:
            choice: Which sessions; all of them if it is None.
            again: It has been read before, and such places have been told.

        Yields:
            The records.

        Raises:
            CommandError: Nothing of it can be read.
        """
        damage = self._damage = Damage(self.name, self._invocation)
        on_error = damage.count if again else damage.tell
        try:
            yield from chosen(self._reading, choice or Choice(), on_error)
        except CaptureError as error:
            raise _told(error) from None


@contextmanager
def opened(path: str, kind: str | None, invocation: Invocation) -> Iterator[Opened]:
    """Open a capture.

    Args:
        path: The file, or `-` for standard input.
        kind: What `--from` says.
        invocation: Of the verb.

    Raises:
        CommandError: It cannot be opened, or there is no such kind.
    """
    _check(kind)
    try:
        with captures.rereadable(path, kind=kind) as reading:
            yield Opened(reading, captures.name_of(path), invocation)
    except CaptureError as error:
        raise _told(error) from None


def following(path: str, kind: str | None, invocation: Invocation, wait: Wait) -> Iterator[Record]:
    """Read a capture that is still being written, as it grows.

    Args:
        path: The file; `-` for standard input, which has an end.
        kind: What `--from` says.
        invocation: Of the verb.
        wait: See `popproxy.tools.follow`.

    Yields:
        The records.

    Raises:
        CommandError: It cannot be read, is of a kind that does not grow, or there is no such kind.
    """
    _check(kind)
    damage = Damage(captures.name_of(path), invocation)
    try:
        if path == captures.STDIN:
            yield from captures.read(path, kind=kind, on_error=damage.tell)
        else:
            yield from follow(path, wait, kind=kind, on_error=damage.tell)
    except CaptureError as error:
        raise _told(error) from None


def _check(kind: str | None) -> None:
    """Refuse a kind that there is not.

    Raises:
        CommandError: There is no such kind.
    """
    if kind is not None and kind not in captures.KINDS:
        raise CommandError(
            f"--from: there is no kind {kind!r}",
            hint=nearest(kind, captures.KINDS).capitalize(),
            status=Status.USAGE,
        )


def _told(error: CaptureError) -> CommandError:
    return CommandError(str(error))


def choice(
    *, session: str | None, user: str | None, since: str | None, until: str | None
) -> Choice:
    """Make a choice of sessions from the options of `session_options`.

    Raises:
        CommandError: A time is none.
    """
    return Choice(
        session=session,
        user=user,
        since=_time("--since", since),
        until=_time("--until", until),
    )


def _time(option: str, text: str | None) -> datetime | None:
    """Read a time: ISO 8601, local unless it says otherwise, or how long ago it was."""
    if text is None:
        return None
    try:
        if match := _AGO.fullmatch(text.strip()):
            ago = timedelta(**{_UNITS[match[2]]: int(match[1])})
            return datetime.now().astimezone() - ago
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option}: {text!r} is no time",
            hint="Write 2026-11-22, '2026-11-22 14:00', 2026-11-22T14:00:00Z, or 2h for two hours\n"
            "ago (s, m, h, d, w).",
            status=Status.USAGE,
        ) from None
