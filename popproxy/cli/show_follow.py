"""A capture that is still being written: `popproxy show --follow`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from popproxy.cli import interrupts
from popproxy.cli.pager import write_through
from popproxy.records import Record
from popproxy.sinks.terminal import Transcript
from popproxy.tools.captures import OnError
from popproxy.tools.filter_fields import FIELDS
from popproxy.tools.filter_tree import All, Compare, Filter
from popproxy.tools.follow import Wait
from popproxy.tools.sessions import Choice, chosen
from popproxy.tools.sieve import Sieve

LOOKS: Final = 0.25
"""Seconds between two looks at the file: as short as people notice, as long as costs nothing."""


class Following:
    """Shows records as they come, until it is interrupted.

    Args:
        transcript: What they look like.
        wanted: Which sessions. Times are those of records, as nobody knows when a session that is
            under way will have ended; a user is looked for from the login on.
        condition: Which exchanges.
        encoding: Of standard output.
        sleep: Waits for a time in seconds.
    """

    def __init__(
        self,
        transcript: Transcript,
        wanted: Choice,
        condition: Filter | None,
        *,
        encoding: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transcript = transcript
        self._wanted = wanted
        self._encoding = encoding
        self._sleep = sleep
        if wanted.user is not None:
            by_user = Compare(FIELDS["user"], "==", (wanted.user,))
            condition = by_user if condition is None else All((condition, by_user))
        self._sieve = Sieve(condition) if condition is not None else None

    def show(self, read: Callable[[Wait], Iterator[Record]], *, at_once: bool) -> None:
        """Show what is there and what comes.

        Args:
            read: Reads the capture; it is told how to wait.
            at_once: Whether every record is shown at once, as nothing ever waits.

        Raises:
            CommandError: The capture cannot be read.
        """
        with interrupts.remembered() as raise_if_interrupted:
            self._show(partial(read, partial(self._wait, raise_if_interrupted)), at_once)

    def _show(self, read: Callable[[], Iterator[Record]], at_once: bool) -> None:
        def reading(*, on_error: OnError | None = None) -> Iterator[Record]:
            del on_error  # `read` tells
            return read()

        for record in chosen(reading, Choice(session=self._wanted.session)):
            if self._in_time(record):
                for one in self._sieve.feed(record) if self._sieve is not None else (record,):
                    self._write(one)
            if at_once:
                sys.stdout.flush()
        for one in self._sieve.end() if self._sieve is not None else ():
            self._write(one)
        if shown := self._transcript.end():
            write_through(shown.decode(self._encoding))
        sys.stdout.flush()

    def _in_time(self, record: Record) -> bool:
        since, until = self._wanted.since, self._wanted.until
        at = record.timestamp
        return (since is None or at >= since) and (until is None or at < until)

    def _write(self, record: Record) -> None:
        if shown := self._transcript.write(record):
            write_through(shown.decode(self._encoding))

    def _wait(self, raise_if_interrupted: Callable[[], None]) -> None:
        """Show what is complete, and give the file time."""
        raise_if_interrupted()
        for record in self._sieve.settle() if self._sieve is not None else ():
            self._write(record)
        sys.stdout.flush()
        self._sleep(LOOKS)
