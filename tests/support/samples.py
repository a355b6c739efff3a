"""Plain, predictable records for tests of what comes behind the recorder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from popproxy.records import (
    CommandPart,
    CommandRecord,
    DataPart,
    DataRecord,
    Endpoint,
    EventPart,
    PolicyPart,
    Record,
    RoutePart,
    SessionEnd,
    SessionPart,
    SessionStart,
    SummaryPart,
)

BEGINNING = datetime(2025, 11, 22, 22, 37, 46, tzinfo=UTC)


def moment(seq: int) -> datetime:
    """Give the time of a session's record: one microsecond between any two."""
    return BEGINNING + timedelta(microseconds=seq)


def start(session: str = "s1", *, upstream: str = "pop3://pop.example.org:110") -> SessionStart:
    """Make the first record of a session."""
    return SessionStart(
        timestamp=moment(1),
        schema="popproxy/1",
        event=EventPart(action="session.start"),
        session=SessionPart(id=session, seq=1),
        client=Endpoint(address="127.0.0.1", port=40000),
        listener=Endpoint(address="127.0.0.1", port=1110),
        route=RoutePart(name="main", listen="pop3://127.0.0.1:1110", upstream=upstream),
        policy=PolicyPart(body="full"),
        notice="Mail is being recorded here.",
        version="0.1.0",
    )


def command(session: str = "s1", seq: int = 2, keyword: str = "NOOP") -> CommandRecord:
    """Make a command's record."""
    return CommandRecord(
        timestamp=moment(seq),
        schema="popproxy/1",
        event=EventPart(action="pop3.command"),
        session=SessionPart(id=session, seq=seq),
        side="client",
        raw=f"{keyword}\r\n",
        segments=[(seq, len(keyword) + 2)],
        pop3=CommandPart(seq=max(1, seq - 1), state="TRANSACTION", command=keyword),
    )


def data(session: str = "s1", seq: int = 2, text: str = "a line of a mail\r\n") -> DataRecord:
    """Make the record of a piece of a message."""
    return DataRecord(
        timestamp=moment(seq),
        schema="popproxy/1",
        event=EventPart(action="pop3.data"),
        session=SessionPart(id=session, seq=seq),
        side="server",
        raw=text,
        segments=[(seq, len(text.encode()))],
        pop3=DataPart(part="content", command_seq=1),
    )


def end(session: str = "s1", seq: int = 3) -> SessionEnd:
    """Make the last record of a session."""
    return SessionEnd(
        timestamp=moment(seq),
        schema="popproxy/1",
        event=EventPart(action="session.end", duration=seq * 1000),
        session=SessionPart(id=session, seq=seq),
        summary=SummaryPart(reason="quit", commands=max(0, seq - 2)),
    )


def session(name: str = "s1", commands: int = 1) -> Iterator[Record]:
    """Make all records of a session."""
    yield start(name)
    for seq in range(2, commands + 2):
        yield command(name, seq)
    yield end(name, commands + 2)
