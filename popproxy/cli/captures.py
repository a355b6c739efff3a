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
from popproxy.tools.sessions import Choice, chosen

_AGO: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TOLD_MOST: Final = 10


class Opened:
    """A capture that a verb reads.

    Attributes:
        name: What messages call it.
        damaged: Places that could not be read; the first few have been told.
    """

    def __init__(self, reading: Reading, name: str, invocation: Invocation) -> None:
        self._reading = reading
        self._invocation = invocation
        self.name = name
        self.damaged = 0

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
        self.damaged = 0
        on_error = self._count if again else self._damaged
        try:
            yield from chosen(self._reading, choice or Choice(), on_error)
        except CaptureError as error:
            raise _told(error) from None

    def _count(self, _error: FormatError) -> None:
        self.damaged += 1

    def _damaged(self, error: FormatError) -> None:
        self.damaged += 1
        if self.damaged > _TOLD_MOST:
            return
        place = f"{self.name}, line {error.line}" if error.line else self.name
        last = self.damaged == _TOLD_MOST
        hint = "If there are more such places, they are passed over in silence." if last else ""
        show_error(
            f"{place}: {error.message}",
            hint,
            env=self._invocation.env,
            color=self._invocation.color,
        )


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
    if kind is not None and kind not in captures.KINDS:
        raise CommandError(
            f"--from: there is no kind {kind!r}",
            hint=nearest(kind, captures.KINDS).capitalize(),
            status=Status.USAGE,
        )
    try:
        with captures.rereadable(path, kind=kind) as reading:
            yield Opened(reading, captures.name_of(path), invocation)
    except CaptureError as error:
        raise _told(error) from None


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
