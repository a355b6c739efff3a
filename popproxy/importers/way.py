"""From an importer's items to records: the way of live traffic, without the traffic.

Each connection has a `Session`, which reads, and a `Recorder`, which masks. Its name is made of the
time and its number in the log, so that the same log gives the same records. Where a log tells no
times, a millisecond lies between two pieces; where it tells no date either, it begins at `EPOCH`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final

import msgspec

from popproxy.importers.kinds import KINDS
from popproxy.importers.source import Begin, Finish, Importer, Item, Missing, Piece, TlsBegins
from popproxy.pop3 import Session, Side
from popproxy.privacy import Policy, Recorder
from popproxy.records import (
    Endpoint,
    FindingRecord,
    Record,
    RoutePart,
    SessionEnd,
    SessionPart,
    SourcePart,
    WireRecord,
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of what has none."""

UNKNOWN: Final = Endpoint(address="unknown", port=0)
"""The end of a connection that a log does not tell."""

STEP: Final = 1_000_000
"""Nanoseconds between two pieces of which no time is known: they came one after the other."""

STREAMS_MOST: Final = 10_000
"""Connections under way at once; beyond it the one that was silent longest is ended."""

_TLS_HANDSHAKE = b"\x16\x03"
_MICROSECOND = timedelta(microseconds=1)


def read(file: IO[bytes], kind: str, path: Path | None = None) -> Iterator[Record]:
    """Read a log.

    Args:
        file: The log; it can be read in any order.
        kind: One of `popproxy.importers.KINDS`.
        path: The file's, for logs that are of two files.

    Yields:
        Records, masked as those of live traffic are.

    Raises:
        LogError: It cannot be read any further.
    """
    importer = KINDS[kind]
    return records_of(importer.read(file, path), importer)


def records_of(items: Iterable[Item], importer: Importer) -> Iterator[Record]:
    """Make records of what an importer yields.

    Args:
        items: What it yields.
        importer: The importer.
    """
    under_way: dict[int, _Stream] = {}
    number = 0
    for item in items:
        stream = under_way.pop(item.stream, None)
        if isinstance(item, Begin) and stream is not None:
            yield from stream.finish(Finish(stream=item.stream))
            stream = None
        if stream is None:
            if isinstance(item, Finish):
                continue
            if len(under_way) >= STREAMS_MOST:
                oldest = next(iter(under_way))
                yield from under_way.pop(oldest).finish(Finish(stream=oldest))
            number += 1
            stream = _Stream(item, number, importer)
            yield from stream.start()
        if isinstance(item, Finish):
            yield from stream.finish(item)
            continue
        yield from stream.take(item)
        under_way[item.stream] = stream
    for left in under_way.values():
        yield from left.finish(Finish())


class _Stream:
    """One connection of a log."""

    def __init__(self, first: Item, number: int, importer: Importer) -> None:
        self._importer = importer
        self._begin = first if isinstance(first, Begin) else Begin()
        at = self._begin.at or (first.at if isinstance(first, Piece) else None)
        self._has_time = at is not None
        self._started = at or EPOCH
        self._now = self._left_out = 0
        self._id = f"{self._started:%Y%m%dt%H%M%S}-{importer.name}-{number}"
        self._session = Session()
        self._recorder = Recorder(self._id, Policy(), self._started, 0)

    def start(self) -> Iterator[Record]:
        """Give the first record."""
        begin, importer = self._begin, self._importer
        inferred = [what for what in importer.inferred if what != "time" or not self._has_time]
        records = self._recorder.start(
            client=begin.client or UNKNOWN,
            server=begin.server,
            listener=begin.server or UNKNOWN,
            route=RoutePart(name="import", listen="unknown", upstream="unknown"),
            notice=f"popproxy read this session from {importer.title}, and masked passwords and"
            " other credentials.",
        )
        for record in records:
            yield msgspec.structs.replace(
                record, source=SourcePart(kind=importer.name, inferred=list(inferred))
            )

    def take(self, item: Item) -> Iterator[Record]:
        """Give the records of an item."""
        for record in self._taken(item):
            yield self._numbered(record)

    def _numbered(self, record: Record) -> Record:
        """Number a record so that none seems to be missing for one that was left out."""
        if not self._left_out:
            return record
        session = SessionPart(id=self._id, seq=record.session.seq - self._left_out)
        return msgspec.structs.replace(record, session=session)

    def _taken(self, item: Item) -> Iterator[Record]:
        match item:
            case Piece():
                self._move_to(item.at)
                yield from self._said(item)
            case Missing():
                yield from self._recorder.record(self._session.flush(self._now))
                yield from self._recorder.gap(item.why, self._now)
            case TlsBegins():
                yield from self._recorder.tls_start(item.part, self._now)
                if self._session.waiting_for_tls:
                    yield from self._recorder.record(self._session.tls_started(self._now))
            case _:
                pass

    def _said(self, piece: Piece) -> Iterator[Record]:
        session, recorder, now = self._session, self._recorder, self._now
        records: list[Record] = []
        if session.waiting_for_tls:
            # Either the log goes on with what was said inside of TLS, or with TLS itself.
            passed = piece.data.startswith(_TLS_HANDSHAKE)
            begun = session.tls_passed(now) if passed else session.tls_started(now)
            records += recorder.record(begun)
        records += recorder.record(session.receive(piece.side, piece.data, now))
        for record in records:
            if piece.made_up and isinstance(record, FindingRecord):
                self._left_out += 1  # it is about what the log lacks
            elif piece.made_up and isinstance(record, WireRecord) and record.wire == piece.data:
                yield msgspec.structs.replace(record, inferred=["made-up"])
            else:
                yield record

    def _move_to(self, at: datetime | None) -> None:
        """Set the clock, which never goes back, and goes on by `STEP` where no time is known."""
        if at is None:
            self._now += STEP
        else:
            self._now = max(self._now, (at - self._started) // _MICROSECOND * 1000)

    def finish(self, finish: Finish) -> Iterator[Record]:
        """Give the last records."""
        self._move_to(finish.at)
        for side in Side:
            for record in self._recorder.record(self._session.end(side, self._now)):
                yield self._numbered(record)
        for record in self._recorder.end(reason=finish.reason, at=self._now):
            if isinstance(record, SessionEnd):
                findings = record.summary.findings - self._left_out
                summary = msgspec.structs.replace(record.summary, findings=findings)
                yield self._numbered(msgspec.structs.replace(record, summary=summary))
            else:
                yield self._numbered(record)
