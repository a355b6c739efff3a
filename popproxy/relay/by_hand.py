"""The last resort of a recording: two records that are made without a recorder (P25)."""

from __future__ import annotations

from datetime import datetime, timedelta

from popproxy.records import (
    EventPart,
    GapPart,
    GapRecord,
    Record,
    SessionEnd,
    SessionPart,
    SummaryPart,
)


class ByHand:
    """Makes records of one session whose recorder failed."""

    __slots__ = ("_seq", "_session_id", "_started_at", "_started_ns")

    def __init__(self, session_id: str, started_at: datetime, started_ns: int, seq: int) -> None:
        """Prepare.

        Args:
            session_id: The session's name.
            started_at: When the session began, in UTC.
            started_ns: The same moment on the monotonic clock, in nanoseconds.
            seq: Number of the session's last record.
        """
        self._session_id = session_id
        self._started_at = started_at
        self._started_ns = started_ns
        self._seq = seq

    def gap(self, at: int) -> Record:
        """Say that from here on records are missing.

        Args:
            at: When, monotonic, in nanoseconds.
        """
        reason = "popproxy failed to record this session; it was forwarded unchanged"
        timestamp, session = self._begin(at)
        return GapRecord(
            timestamp=timestamp,
            schema="popproxy/1",
            event=EventPart(action="gap"),
            session=session,
            gap=GapPart(reason=reason),
        )

    def end(self, reason: str, detail: str | None, at: int) -> Record:
        """Say that the session ended.

        Args:
            reason: Why.
            detail: The cause in words, if there is one.
            at: When, monotonic, in nanoseconds.
        """
        timestamp, session = self._begin(at)
        return SessionEnd(
            timestamp=timestamp,
            schema="popproxy/1",
            event=EventPart(action="session.end", duration=max(0, at - self._started_ns)),
            session=session,
            summary=SummaryPart(reason=reason, detail=detail),
        )

    def _begin(self, at: int) -> tuple[datetime, SessionPart]:
        self._seq += 1
        since_start = timedelta(microseconds=(at - self._started_ns) // 1000)
        return self._started_at + since_start, SessionPart(id=self._session_id, seq=self._seq)
