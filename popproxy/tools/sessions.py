"""The sessions of a capture: a line about each, and the choice of one.

A capture holds the records of many sessions, those of sessions at the same time one among the
other. Both things here read it as a stream: `overviews` keeps a few figures of each session under
way, `records_of` gives the records of one session as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from popproxy.formats import FormatError
from popproxy.records import (
    AuthRecord,
    CommandRecord,
    Endpoint,
    FindingRecord,
    GapRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    SessionStart,
    TlsStart,
)
from popproxy.tools.captures import OnError, Reading

OPEN_MOST: Final = 100_000
"""Sessions without an end that are kept at once; beyond it the oldest is given out as it stands."""

_TEXT_MOST: Final = 256
_DATE_DIGITS: Final = 8  # ids begin with a date, which is no number of a session


@dataclass(slots=True, kw_only=True)
class Overview:
    """What a line of a list says of a session.

    Attributes:
        number: From 1, by the order of the sessions' first records.
        id: The session's.
        started: Time of its first record.
        ended: Time of its last record.
        client: Where the client was, if its first record is there.
        server: Where the server was, if that is known.
        listen: The listener's URL.
        upstream: The upstream's URL.
        user: Who logged in last, as recorded: perhaps a pseudonym.
        tls: The legs that had TLS.
        commands: Of the client.
        retrieved: Messages that came whole.
        deletions_pending: Messages marked by DELE and not committed.
        deletions_committed: Messages whose deletion was confirmed.
        findings: How many.
        gaps: Places where records are missing.
        reason: Why it ended; None if its last record is not there.
        timed: Whether it is known when it began; an imported log may not tell.
    """

    number: int
    id: str
    started: datetime
    ended: datetime
    client: Endpoint | None = None
    server: Endpoint | None = None
    listen: str | None = None
    upstream: str | None = None
    user: str | None = None
    tls: list[str] = field(default_factory=list)
    commands: int = 0
    retrieved: int = 0
    deletions_pending: int = 0
    deletions_committed: int = 0
    findings: int = 0
    gaps: int = 0
    reason: str | None = None
    timed: bool = True

    @classmethod
    def begun(cls, number: int, record: Record) -> Overview:
        """Begin with a session's first record."""
        at = record.timestamp
        return cls(number=number, id=record.session.id, started=at, ended=at)

    def add(self, record: Record) -> None:
        """Take a record of the session in."""
        self.ended = record.timestamp
        match record:
            case SessionStart():
                self.client, self.server = record.client, record.server
                self.listen, self.upstream = record.route.listen, record.route.upstream
                self.timed = record.source is None or "time" not in record.source.inferred
            case TlsStart() if record.tls.leg not in self.tls:
                self.tls.append(record.tls.leg)
            case CommandRecord():
                self.commands += 1
            case ResponseRecord():
                self._add_response(record)
            case AuthRecord() if record.user is not None and record.auth.outcome == "success":
                self.user = record.user.name[:_TEXT_MOST]
            case FindingRecord():
                self.findings += 1
            case GapRecord():
                self.gaps += 1
            case SessionEnd():
                self._add_end(record)
            case _:
                pass

    def _add_response(self, record: ResponseRecord) -> None:
        part = record.pop3
        if part.status != "+OK":
            return
        if part.command == "RETR" and part.ending in ("terminated", "ambiguous"):
            self.retrieved += 1
        elif part.command == "DELE":
            self.deletions_pending += 1
        elif part.command == "RSET":
            self.deletions_pending = 0
        elif part.command == "QUIT":
            self.deletions_committed += self.deletions_pending
            self.deletions_pending = 0

    def _add_end(self, record: SessionEnd) -> None:
        """Believe the session's own sums: they count what was lost from the capture, too."""
        told = record.summary
        self.reason = told.reason
        self.commands = told.commands
        self.retrieved = told.messages_retrieved
        self.deletions_pending = told.deletions_pending
        self.deletions_committed = told.deletions_committed
        self.findings = max(self.findings, told.findings)


def is_timed(start: SessionStart) -> bool:
    """Tell whether a session's times are those of what happened; an imported log may have none."""
    return start.source is None or not {"time", "pauses"} & set(start.source.inferred)


def overviews(records: Iterable[Record]) -> Iterator[Overview]:
    """Tell the sessions of a capture.

    Args:
        records: All of it.

    Yields:
        Each session once its last record was read; those without a last record at the end.
        `number` is their order.
    """
    under_way: dict[str, Overview] = {}
    number = 0
    for record in records:
        session = record.session.id
        seen = under_way.get(session)
        if seen is None:
            number += 1
            seen = Overview.begun(number, record)
            if len(under_way) >= OPEN_MOST:
                yield under_way.pop(next(iter(under_way)))
            under_way[session] = seen
        seen.add(record)
        if seen.reason is not None:
            yield under_way.pop(session)
    yield from under_way.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which sessions a person wants; with nothing set, all of them.

    Attributes:
        session: A number as in a list, an id, or the beginning or end of one.
        user: The user's name, in whole.
        since: Sessions that had not ended before this time.
        until: Sessions that began before this time.
    """

    session: str | None = None
    user: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return (self.session, self.user, self.since, self.until) == (None, None, None, None)

    @property
    def at_once(self) -> bool:
        """Whether a session's first record tells if it is wanted."""
        return self.user is None and self.since is None and self.until is None

    def matches(self, seen: Overview) -> bool:
        """Tell whether a session is wanted."""
        return (
            self._named(seen)
            and (self.user is None or self.user == seen.user)
            and (self.since is None or seen.ended >= self.since)
            and (self.until is None or seen.started < self.until)
        )

    def _named(self, seen: Overview) -> bool:
        wanted = self.session
        if not wanted:
            return wanted is None
        if wanted.isascii() and wanted.isdecimal() and len(wanted) < _DATE_DIGITS:
            return int(wanted) == seen.number
        return seen.id.startswith(wanted) or seen.id.endswith(wanted)


class _Numbers:
    """Numbers sessions as `overviews` does."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._last = 0

    def of(self, record: Record) -> int:
        """Give the number of a record's session; every record has to be asked for, in order."""
        numbers, session = self._numbers, record.session.id
        number = numbers.get(session)
        if number is None:
            if len(numbers) >= OPEN_MOST:
                del numbers[next(iter(numbers))]
            self._last += 1
            number = numbers[session] = self._last
        if isinstance(record, SessionEnd):
            del numbers[session]
        return number


def records_of(records: Iterable[Record], number: int) -> Iterator[Record]:
    """Give the records of one session as they come.

    Args:
        records: The whole capture.
        number: The session's, as `overviews` counts.

    Yields:
        Its records, to its last one.
    """
    numbers = _Numbers()
    for record in records:
        if numbers.of(record) == number:
            yield record
            if isinstance(record, SessionEnd):
                return


def chosen(read: Reading, choice: Choice, on_error: OnError | None = None) -> Iterator[Record]:
    """Give the records of the sessions that are wanted, in the capture's order.

    Args:
        read: Reads the capture; once, or twice if a session's first record does not tell whether
            it is wanted.
        choice: Which sessions.
        on_error: As in `popproxy.tools.captures.read`.

    Yields:
        The records.
    """
    if choice.everything:
        yield from read(on_error=on_error)
        return
    wanted: set[int] | None = None
    if not choice.at_once:
        found = overviews(read(on_error=_ignore if on_error is not None else None))
        wanted = {seen.number for seen in found if choice.matches(seen)}
    numbers = _Numbers()
    for record in read(on_error=on_error):
        number = numbers.of(record)
        if wanted is not None:
            if number in wanted:
                yield record
        elif choice.matches(Overview.begun(number, record)):
            yield record


def _ignore(_error: FormatError) -> None:
    """Pass over what the second reading tells."""
