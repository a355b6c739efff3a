"""What is done with a log file beside writing records: setting it aside, and keeping books of it.

A file that grows past a size is renamed between two records, and a new one is begun under its
name. It is renamed first and gets its end afterwards, so that no end ever stands in front of
records. A file that cannot be renamed is written on, and tried again a minute later: a log that is
too long is better than none.

A `Keeper` hears of all that happens to files, and may add octets of its own. It is called by the
sink's thread, in this order for each file: `opened`, then `seal` for each record, then `closing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, Protocol

from popproxy.sinks.base import Notices, explain
from popproxy.sinks.target import FileTarget

AGAIN = 60.0
"""Seconds until a file that could not be renamed is tried again."""

INTERVAL = 1.0
"""Seconds for which records may be with the system alone, if files are synced by interval."""

Fsync = Literal["never", "interval", "record"]
Every = Literal["never", "hour", "day", "week", "month"]
Closing = Literal["rotated", "ended"]


class Keeper(Protocol):
    """Keeps books of the files of one output. It must not raise: records would wait as for a disk.

    A file that others renamed or cut gets no `closing`; `opened` comes for the one that follows.

    A write may fail after `seal`: if nothing of it stays in the file, `opened` is called once more
    and the same records are sealed anew. What was sealed before `written` is in the file.
    """

    @property
    def lacks_end(self) -> bool:
        """Whether its file, which may be closed for now, is there by its name and has no end."""
        ...

    def opened(self, path: str, size: int) -> bytes:
        """Hear that a file was opened.

        Args:
            path: Its path.
            size: Octets that stand in it; 0 if it is new.

        Returns:
            What to write in front of the records.
        """
        ...

    def seal(self, octets: bytes) -> bytes:
        """Give the octets of a record, which may be none, as they are to be written."""
        ...

    def written(self) -> None:
        """Hear that all that was sealed is in the file."""
        ...

    def closing(self, reason: Closing) -> bytes:
        """Give what to write at the end of the file."""
        ...

    def set_aside(self, path: str, now: str) -> None:
        """Hear that the file was renamed.

        Args:
            path: The name it had.
            now: The name it has.
        """
        ...

    def removing(self, path: str) -> None:
        """Hear that a closed file is about to be removed for good. Any thread may call it."""
        ...


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def period_of(when: datetime, every: Every) -> tuple[int, ...]:
    """Give the hour, day, week or month of a moment, in UTC; later ones are greater.

    Args:
        when: The moment.
        every: What to tell apart; weeks begin on Mondays, as ISO 8601 has them.
    """
    utc = when.astimezone(UTC)
    if every == "week":
        return utc.isocalendar()[:2]
    if every == "never":
        return ()
    parts = {"month": 2, "day": 3, "hour": 4}[every]
    return (utc.year, utc.month, utc.day, utc.hour)[:parts]


class Keeping:
    """When to set the file of a target aside or to sync it, and who keeps books of it.

    Attributes:
        keeper: Who keeps books.
        sync_at: Monotonic time at which to call `sync`; 0 if nothing waits for the disk.
    """

    __slots__ = (
        "_again_at",
        "_begun",
        "_fsync",
        "_notices",
        "_on_aside",
        "_rotate_every",
        "_rotate_size",
        "_target",
        "keeper",
        "sync_at",
    )

    def __init__(
        self,
        target: FileTarget,
        notices: Notices,
        *,
        rotate_size: int = 0,
        rotate_every: Every = "never",
        fsync: Fsync = "never",
        keeper: Keeper | None = None,
        on_aside: Callable[[], None] | None = None,
    ) -> None:
        """Take charge.

        Args:
            target: The file.
            notices: Where to tell that it cannot be renamed.
            rotate_size: Octets that the file may hold, unless the records that are written at
                once are more; 0 for any number.
            rotate_every: The period that a file is for; the next one's first record begins another.
            fsync: When to wait until the disk has what was written.
            keeper: Who keeps books.
            on_aside: Called when the file was renamed.
        """
        self.keeper = keeper
        self._on_aside = on_aside
        self._target = target
        self._notices = notices
        self._rotate_size = rotate_size
        self._fsync = fsync
        self._rotate_every: Every = rotate_every
        self._begun: datetime | None = None  # the file's beginning, as far as is known
        self._again_at = 0.0
        self.sync_at = 0.0

    @property
    def size(self) -> int:
        """Octets in the file; 0 if it is none."""
        return self._target.size

    def wrote(self) -> None:
        """Hear that something was written; with `record`, wait until the disk has it.

        Raises:
            OSError: The disk failed.
        """
        if self._fsync == "record":
            self._target.sync()
        elif self._fsync == "interval" and not self.sync_at:
            self.sync_at = time.monotonic() + INTERVAL

    def sync(self) -> None:
        """Wait until the disk has what waits for it; warn if it fails."""
        if not self.sync_at:
            return
        self.sync_at = 0.0
        try:
            self._target.sync()
        except OSError as error:
            self._notices.warn(
                "log_not_synced",
                f"{self._target.name}: it is not sure that the disk has what was written:"
                f" {explain(error)}",
                cause=explain(error),
            )

    def set_aside(self, octets: int) -> bool:
        """Rename the open file if it is full, or of an earlier period; it stays open.

        A clock that is turned back sets nothing aside: the file is written on until its period is
        over. Of a file that was there already, the last write tells the period.

        Args:
            octets: How many are to be written next.

        Returns:
            Whether it was renamed.
        """
        if not self._due(octets) or time.monotonic() < self._again_at:
            return False
        try:
            now = self._target.set_aside(utc_now())
        except OSError as error:
            self._again_at = time.monotonic() + AGAIN
            self._notices.warn(
                "log_not_rotated",
                f"{self._target.name} is due for rotation and cannot be renamed: {explain(error)};"
                " it is written on, and tried again in a minute",
                cause=explain(error),
            )
            return False
        self._begun = utc_now()
        if now is not None and self.keeper is not None:
            self.keeper.set_aside(self._target.name, now)
        if self._on_aside is not None:
            self._on_aside()
        return True

    def _due(self, octets: int) -> bool:
        if not self._rotate_size and self._rotate_every == "never":
            return False
        size = self._target.size
        if not size:
            self._begun = utc_now()
            return False
        if self._begun is None:
            self._begun = datetime.fromtimestamp(self._target.modified, UTC)
        if self._rotate_size and size + octets > self._rotate_size:
            return True
        every = self._rotate_every
        return period_of(utc_now(), every) > period_of(self._begun, every)
