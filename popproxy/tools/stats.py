"""A capture in numbers: who fetched and deleted how much, what was answered how fast.

One pass, and memory that does not grow with the capture: durations go into a histogram whose steps
are a tenth of a power of two wide, so that a quantile is told to within 7 %, and users, clients and
keywords beyond `NAMES_MOST` are put together as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from popproxy.records import (
    AuthRecord,
    CommandRecord,
    GapRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    SessionStart,
    TlsStart,
)
from popproxy.tools.sessions import Overview, is_timed, overviews

T = TypeVar("T")

NAMES_MOST: Final = 10_000
"""Different users, clients, keywords and reasons that are told apart."""

OTHERS: Final = "(others)"
"""Stands for all names beyond `NAMES_MOST`."""

NOBODY: Final = "(nobody)"
"""Stands for the user of sessions in which nobody logged in."""

_STEPS = 10  # of the histogram, for each doubling
_NAME_MOST = 256


class Durations:
    """How long something took, as a histogram."""

    __slots__ = ("_counts", "count", "longest", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.longest = 0
        self.total = 0

    def add(self, nanoseconds: int) -> None:
        """Count one."""
        nanoseconds = max(nanoseconds, 1)
        self.count += 1
        self.total += nanoseconds
        self.longest = max(self.longest, nanoseconds)
        step = round(math.log2(nanoseconds) * _STEPS)
        self._counts[step] = self._counts.get(step, 0) + 1

    def quantile(self, share: float) -> int | None:
        """Give the duration that a share of all does not exceed, in nanoseconds.

        Args:
            share: From 0 to 1; 0.5 gives the median.

        Returns:
            The duration to within 7 %; None if there are none.
        """
        wanted = share * self.count
        passed = 0
        for step in sorted(self._counts):
            passed += self._counts[step]
            if passed >= wanted:
                return min(round(2 ** (step / _STEPS)), self.longest)
        return None


@dataclass(slots=True, kw_only=True)
class CommandStats:
    """One keyword.

    Attributes:
        count: How often it was sent.
        ok: Positive responses.
        err: Negative responses.
        octets: Content that the responses brought, as on the wire.
        durations: From the command to the end of its response.
    """

    count: int = 0
    ok: int = 0
    err: int = 0
    octets: int = 0
    durations: Durations = field(default_factory=Durations)


@dataclass(slots=True, kw_only=True)
class Share:
    """What one user, or one client, did.

    Attributes:
        sessions: How many.
        retrieved: Messages that came whole.
        octets: Octets that the server sent, or, without the sessions' ends, of messages.
        deletions: Messages whose deletion was confirmed.
        failures: Logins that failed.
    """

    sessions: int = 0
    retrieved: int = 0
    octets: int = 0
    deletions: int = 0
    failures: int = 0


@dataclass(slots=True, kw_only=True)
class Stats:
    """A capture in numbers.

    Attributes:
        first: Time of the first record.
        last: Time of the last record.
        records: How many.
        sessions: How many.
        unfinished: Sessions whose last record is not there.
        reasons: Why sessions ended, counted.
        logins: Logins by outcome.
        tls: Legs with TLS by version.
        commands: By keyword.
        users: By name.
        clients: By address.
        retrieved: Messages that came whole.
        deletions_pending: Messages marked by DELE and not committed.
        deletions_committed: Messages whose deletion was confirmed.
        octets_client: Octets that clients sent, masked lines counted as masked.
        octets_server: Octets that servers sent.
        findings: How many.
        lost: Records that gaps say are missing.
    """

    first: datetime | None = None
    last: datetime | None = None
    records: int = 0
    sessions: int = 0
    unfinished: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    logins: dict[str, int] = field(default_factory=dict)
    tls: dict[str, int] = field(default_factory=dict)
    commands: dict[str, CommandStats] = field(default_factory=dict)
    users: dict[str, Share] = field(default_factory=dict)
    clients: dict[str, Share] = field(default_factory=dict)
    retrieved: int = 0
    deletions_pending: int = 0
    deletions_committed: int = 0
    octets_client: int = 0
    octets_server: int = 0
    findings: int = 0
    lost: int = 0


def stats(records: Iterable[Record]) -> Stats:
    """Count what a capture holds.

    Args:
        records: All of it, or the sessions that matter.
    """
    made = Stats()
    counting = _Counting(made)
    for seen in overviews(counting.each(records)):
        counting.session(seen)
    return made


class _Counting:
    """Counts records as they pass, and sessions as they end."""

    def __init__(self, made: Stats) -> None:
        self._made = made
        self._octets: dict[str, int] = {}  # of the server, in sessions under way
        self._failures: dict[str, int] = {}
        self._untimed: dict[str, int] = {}

    def each(self, records: Iterable[Record]) -> Iterable[Record]:
        made = self._made
        for record in records:
            made.records += 1
            at = record.timestamp
            made.first = at if made.first is None else min(made.first, at)
            made.last = at if made.last is None else max(made.last, at)
            self._count(record)
            yield record

    def _count(self, record: Record) -> None:
        made = self._made
        match record:
            case SessionStart() if not is_timed(record):
                _bump(self._untimed, record.session.id, 1)
            case CommandRecord():
                _of(made.commands, record.pop3.command, CommandStats).count += 1
            case ResponseRecord():
                self._response(record)
            case AuthRecord():
                outcome = record.auth.outcome
                made.logins[outcome] = made.logins.get(outcome, 0) + 1
                if outcome == "failure":
                    _bump(self._failures, record.session.id, 1)
            case TlsStart():
                _bump(made.tls, record.tls.version or "passed through", 1)
            case GapRecord():
                made.lost += record.gap.records or 0
            case SessionEnd():
                made.octets_client += record.summary.octets_client
                made.octets_server += record.summary.octets_server
                self._octets[record.session.id] = record.summary.octets_server
            case _:
                pass

    def _response(self, record: ResponseRecord) -> None:
        part = record.pop3
        if part.command is None:
            return
        of = _of(self._made.commands, part.command, CommandStats)
        of.ok += part.status == "+OK"
        of.err += part.status == "-ERR"
        of.octets += part.octets or 0
        if record.event.duration is not None and record.session.id not in self._untimed:
            of.durations.add(record.event.duration)
        if part.message is not None:
            _bump(self._octets, record.session.id, part.message.octets)

    def session(self, seen: Overview) -> None:
        made = self._made
        made.sessions += 1
        made.unfinished += seen.reason is None
        if seen.reason is not None:
            _bump(made.reasons, seen.reason, 1)
        made.retrieved += seen.retrieved
        made.deletions_pending += seen.deletions_pending
        made.deletions_committed += seen.deletions_committed
        made.findings += seen.findings
        octets = self._octets.pop(seen.id, 0)
        failures = self._failures.pop(seen.id, 0)
        self._untimed.pop(seen.id, None)
        address = seen.client.address if seen.client is not None else NOBODY
        for share in (
            _of(made.users, seen.user or NOBODY, Share),
            _of(made.clients, address, Share),
        ):
            share.sessions += 1
            share.retrieved += seen.retrieved
            share.octets += octets
            share.deletions += seen.deletions_committed
            share.failures += failures


def _known(names: Mapping[str, object], name: str) -> str:
    """Give a name to count under: its own, or that of the others if there are too many."""
    name = name[:_NAME_MOST]
    return name if name in names or len(names) < NAMES_MOST else OTHERS


def _of(table: dict[str, T], name: str, make: Callable[[], T]) -> T:
    name = _known(table, name)
    found = table.get(name)
    if found is None:
        found = table[name] = make()
    return found


def _bump(table: dict[str, int], name: str, by: int) -> None:
    name = _known(table, name)
    table[name] = table.get(name, 0) + by
