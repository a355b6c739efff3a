"""Records of the exchanges that a filter picks, from a stream of records.

A filter judges a command together with its response, so an exchange's records wait until it is
over: until its response is there and something else of its session comes, since a finding or a
login's outcome may still belong to it. They come out exchange by exchange, which puts a pipelined
command and its response next to each other.

What waits is bounded. Beyond `HELD_MOST` octets of messages, records wait in a temporary file;
beyond `OPEN_MOST` exchanges of a session, `RECORDS_MOST` records of an exchange, or `SESSIONS_MOST`
sessions, the oldest is judged as it stands.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Final

from popproxy.formats import jsonl
from popproxy.records import (
    AuthRecord,
    DataRecord,
    FindingRecord,
    Record,
    SessionEnd,
    SessionStart,
    WireRecord,
)
from popproxy.tools.exchanges import Exchange, Pairing
from popproxy.tools.filter_fields import Seen
from popproxy.tools.filter_tree import Filter

HELD_MOST: Final = 8 * 1024 * 1024
"""Octets of messages that wait in memory."""

OPEN_MOST: Final = 500
RECORDS_MOST: Final = 100_000
SESSIONS_MOST: Final = 4_096


class Sieve:
    """Lets the records of wanted exchanges through.

    Of a session with such an exchange the first and the last record come, too.

    Args:
        condition: Which exchanges are wanted.

    Attributes:
        picked: Exchanges that came through so far.
        sessions: Numbers of the sessions that they are of, as `overviews` counts.
    """

    def __init__(self, condition: Filter) -> None:
        self.picked = 0
        self.sessions: set[int] = set()
        self._condition = condition
        self._sessions: dict[str, _Session] = {}
        self._number = 0
        self._store = _Store()

    def feed(self, record: Record) -> Iterator[Record]:
        """Take a record, and give those that are wanted by now."""
        name = record.session.id
        session = self._sessions.get(name)
        if session is None:
            if len(self._sessions) >= SESSIONS_MOST:
                yield from self._decided(self._sessions.pop(next(iter(self._sessions))))
            self._number += 1
            session = self._sessions[name] = _Session(name, self._number, self._store)
        if isinstance(record, SessionStart):
            session.start = record
            return
        if isinstance(record, SessionEnd):
            yield from self._decided(self._sessions.pop(name))
            if session.told:
                yield record
            return
        held = session.place(record)
        if held is None:
            return
        if isinstance(record, WireRecord):
            yield from self._decided(session, but=held)
        if held.is_full:
            session.waiting.remove(held)
            yield from self._judged(session, held)
        elif len(session.waiting) > OPEN_MOST:
            yield from self._judged(session, session.waiting.pop(0))

    def settle(self) -> Iterator[Record]:
        """Give what is wanted of the exchanges that have their response; others go on waiting."""
        for session in self._sessions.values():
            yield from self._decided(session, whole_only=True)

    def end(self) -> Iterator[Record]:
        """Give what is wanted of all that waits. No record may follow."""
        for session in self._sessions.values():
            yield from self._decided(session)
        self._sessions.clear()
        self._store.close()

    def _decided(
        self, session: _Session, *, but: _Held | None = None, whole_only: bool = False
    ) -> Iterator[Record]:
        """Judge those that wait: all of them, or those that are over."""
        if but is not None or whole_only:
            over = [held for held in session.waiting if held is not but and held.is_over]
        else:
            over = session.waiting[:]
        for held in over:
            session.waiting.remove(held)
            yield from self._judged(session, held)

    def _judged(self, session: _Session, held: _Held) -> Iterator[Record]:
        session.forget(held)
        wanted = self._condition.matches(
            Seen(
                exchange=held.exchange,
                session=session.name,
                start=session.start,
                user=held.user,
            )
        )
        if wanted:
            self.picked += 1
            if not session.told and session.start is not None:
                yield session.start
            session.told = True
            self.sessions.add(session.number)
            yield from held.records()
        held.drop()


class _Session:
    """What is known of a session under way."""

    __slots__ = ("_by_exchange", "_pairing", "_store", "name", "number", "start", "told", "user",
                 "waiting")  # fmt: skip

    def __init__(self, name: str, number: int, store: _Store) -> None:
        self.name = name
        self.number = number
        self.start: SessionStart | None = None
        self.user: str | None = None
        self.told = False
        self.waiting: list[_Held] = []
        self._pairing = Pairing()
        self._by_exchange: dict[int, _Held] = {}
        self._store = store

    def place(self, record: Record) -> _Held | None:
        """Put a record to its exchange; None if it belongs to none."""
        belongs = self._pairing.add(record)
        if belongs is None:
            if not isinstance(record, FindingRecord):
                return None
            exchange, new = Exchange(findings=[record]), True
        else:
            exchange, new = belongs
        if new:
            held = _Held(exchange, self.user, self._store)
            self.waiting.append(held)
            self._by_exchange[id(exchange)] = held
        else:
            held = self._by_exchange[id(exchange)]
        held.add(record)
        if isinstance(record, AuthRecord) and record.auth.outcome == "success" and record.user:
            self.user = record.user.name
        return held

    def forget(self, held: _Held) -> None:
        self._pairing.forget(held.exchange)
        del self._by_exchange[id(held.exchange)]


class _Held:
    """The records of an exchange that wait."""

    __slots__ = ("_records", "_store", "exchange", "user")

    def __init__(self, exchange: Exchange, user: str | None, store: _Store) -> None:
        self.exchange = exchange
        self.user = user
        self._store = store
        self._records: list[Record | tuple[int, int]] = []

    @property
    def is_full(self) -> bool:
        return len(self._records) >= RECORDS_MOST

    @property
    def is_over(self) -> bool:
        exchange = self.exchange
        return exchange.response is not None or exchange.command is None

    def add(self, record: Record) -> None:
        if not isinstance(record, DataRecord):
            self._records.append(record)
            return
        self._records.append(self._store.keep(record))
        for pieces in (self.exchange.content, self.exchange.sasl, self.exchange.lines):
            del pieces[1:]  # no filter looks at them

    def records(self) -> Iterator[Record]:
        for kept in self._records:
            yield kept if isinstance(kept, Record) else self._store.fetch(kept)

    def drop(self) -> None:
        for kept in self._records:
            self._store.drop(kept)
        self._records.clear()


class _Store:
    """Keeps records in memory as long as there is room, then in a temporary file."""

    def __init__(self) -> None:
        self._octets = 0
        self._file: IO[bytes] | None = None
        self._filed = 0

    def keep(self, record: DataRecord) -> Record | tuple[int, int]:
        """Give the record, or where it lies."""
        size = len(record.raw or record.raw_b64 or "")
        if self._octets + size <= HELD_MOST:
            self._octets += size
            return record
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="popproxy-")  # noqa: SIM115 - see `close`
        line = jsonl.encode(record)
        place = self._file.seek(0, 2)
        self._file.write(line)
        self._filed += 1
        return place, len(line)

    def fetch(self, place: tuple[int, int]) -> Record:
        """Read a record that lies in the file."""
        if self._file is None:
            raise ValueError("nothing was filed")
        self._file.seek(place[0])
        return jsonl.decode(self._file.read(place[1]))

    def drop(self, kept: Record | tuple[int, int]) -> None:
        """Have room for another one."""
        if isinstance(kept, DataRecord):
            self._octets -= len(kept.raw or kept.raw_b64 or "")
        elif isinstance(kept, tuple):
            self._filed -= 1
            if not self._filed and self._file is not None:
                self._file.truncate(0)

    def close(self) -> None:
        """Drop everything."""
        if self._file is not None:
            self._file.close()
            self._file = None


def sifted(records: Iterator[Record], condition: Filter) -> Iterator[Record]:
    """Give the records of the exchanges that a filter picks.

    Args:
        records: A capture's.
        condition: The filter.

    Yields:
        Their records, of each session that has any together with its first and its last record.
    """
    sieve = Sieve(condition)
    for record in records:
        yield from sieve.feed(record)
    yield from sieve.end()
