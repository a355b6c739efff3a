"""Records that wait for being written: bounded in octets, with losses kept in their place (P54).

When there is no room a whole record is dropped and counted. The count stands in the backlog where
the records would have stood, and becomes a `gap` record there. Once something was dropped, more is
dropped until a quarter of the room is free again: one gap, not one between any two records.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from popproxy.records import (
    EventPart,
    GapPart,
    GapRecord,
    Record,
    ResponseRecord,
    SessionPart,
    WireRecord,
)

QUEUE_OCTETS = 16 * 1024 * 1024
SESSIONS_PER_LOSS = 1024
"""Of how many sessions a loss is kept apart; those beyond are counted only."""

SLOW = "this output was too slow, or failed"
"""The reason of gaps that the backlog makes."""

_RECORD = 1024  # What the objects of a small record take, all told.
_CHARACTER = 4  # The most that a character takes in memory.
_ROW = 200  # A line of a parsed table.
_SEGMENT = 120  # A tuple of two integers, and its place in a list.


def weigh(record: Record) -> int:
    """Estimate the memory that a record takes, in octets. Never raises."""
    if not isinstance(record, WireRecord):
        return _RECORD
    weight = _RECORD + _SEGMENT * len(record.segments)
    raw = record.raw
    if raw is not None:
        weight += len(raw) if raw.isascii() else _CHARACTER * len(raw)
    elif record.raw_b64 is not None:
        weight += len(record.raw_b64)
    if isinstance(record, ResponseRecord):
        values = record.pop3
        if table := values.listing or values.unique_ids or values.capabilities:
            weight += _ROW * len(table)  # there is one of them at the most
    return weight


def gap_after(first: Record, records: int, reason: str) -> GapRecord:
    """Make the record that says what is missing.

    Args:
        first: The first record that was lost; the gap takes its place in its session.
        records: How many were lost, in all sessions that the output holds.
        reason: Why, in words.
    """
    return GapRecord(
        timestamp=first.timestamp,
        schema="popproxy/1",
        event=EventPart(action="gap"),
        session=SessionPart(id=first.session.id, seq=first.session.seq),
        gap=GapPart(reason=reason, records=records),
    )


@dataclass(slots=True, repr=False)
class SessionLoss:
    """What one session lost: its first lost record stands for the place. Content is dropped."""

    place: GapRecord
    records: int = 1
    ended: bool = False


@dataclass(slots=True, repr=False)
class Loss:
    """Records that found no room, one after the other."""

    records: int = 0
    sessions: dict[str, SessionLoss] = field(default_factory=dict)
    elsewhere: int = 0
    """Records of sessions beyond `SESSIONS_PER_LOSS`."""

    def add(self, record: Record) -> None:
        """Count a record."""
        self.records += 1
        session = record.session.id
        known = self.sessions.get(session)
        if known is not None:
            known.records += 1
        elif len(self.sessions) < SESSIONS_PER_LOSS:
            known = self.sessions[session] = SessionLoss(gap_after(record, 1, ""))
        else:
            self.elsewhere += 1
            return
        known.ended = known.ended or record.event.action == "session.end"


Entry = tuple[int, int, Record | Loss]
"""A record in its place: how many records had been put when it was put, itself included; what it
counts against the room, given back when it is written; and the record, or the records that were
lost in its place. A plain tuple, because making it is the larger part of what the loop does here.
"""


class Backlog:
    """The records that one sink has still to write. The caller holds the lock.

    Attributes:
        limit: Octets of memory that may wait, those included that were taken but not written.
        octets: Octets that wait now.
        untaken: Those of them that were not taken yet.
        added: Records that were ever added, the lost ones included.
        lost: Records that found no room, ever.
    """

    def __init__(self, limit: int = QUEUE_OCTETS) -> None:
        self.limit = limit
        self.octets = 0
        self.untaken = 0
        self.added = 0
        self.lost = 0
        self._entries: deque[Entry] = deque()
        self._loss: Loss | None = None  # behind all entries; grows until there is room again

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._entries) or (self._loss is not None and self._has_room())

    def _has_room(self) -> bool:
        return self.octets <= self.limit - self.limit // 4

    def add(self, record: Record) -> bool:
        """Add a record if there is room, else count it as lost.

        Returns:
            Whether there was room.
        """
        weight = weigh(record)
        octets = self.octets + weight
        number = self.added = self.added + 1
        if octets > self.limit or (self._loss is not None and not self._has_room()):
            if self._loss is None:
                self._loss = Loss()
            self._loss.add(record)
            self.lost += 1
            return False
        if self._loss is not None:
            self._place_loss(number - 1)
        self.octets = octets
        self.untaken += weight
        self._entries.append((number, weight, record))
        return True

    def _place_loss(self, number: int) -> None:
        if self._loss is not None:
            self._entries.append((number, 0, self._loss))
            self._loss = None

    def take(self, *, final: bool = False) -> deque[Entry]:
        """Take all entries; their octets count until `release`.

        Args:
            final: Nothing will be added: a loss is given out though there is no room yet.
        """
        if final or self._has_room():
            self._place_loss(self.added)
        taken, self._entries = self._entries, deque()
        self.untaken = 0
        return taken

    def release(self, octets: int) -> None:
        """Give back the room of entries that were written."""
        self.octets -= octets
