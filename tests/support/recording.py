"""Hold a conversation before a `Session` and a `Recorder`, and look at the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from popproxy.peers.script import Action, Conversation
from popproxy.pop3 import Session, Side
from popproxy.privacy import Policy, Recorder
from popproxy.records import Endpoint, LegName, Record, RoutePart, WireRecord
from tests.support.core import Turn, turns, whole

STARTED = datetime(2025, 11, 22, 22, 37, 46, tzinfo=UTC)
SECOND = 1_000_000_000

Cut = Callable[[bytes], Iterable[bytes]]
R = TypeVar("R", bound=Record)


def recorder(policy: Policy | None = None, *, exposed: Sequence[LegName] = ()) -> Recorder:
    """Make a recorder of a session that began at 0 on the monotonic clock."""
    return Recorder("s1", policy or Policy(), STARTED, 0, exposed=exposed)


def begin(made: Recorder) -> list[Record]:
    """The first record."""
    return made.start(
        client=Endpoint(address="127.0.0.1", port=40000),
        listener=Endpoint(address="127.0.0.1", port=1110),
        server=Endpoint(address="127.0.0.2", port=110),
        route=RoutePart(name="main", listen="pop3://127.0.0.1:1110", upstream="pop3://127.0.0.2"),
        notice="Mail is being recorded here.",
    )


def told(
    conversation: Sequence[Turn],
    policy: Policy | None = None,
    *,
    cut: Cut = whole,
    exposed: Sequence[LegName] = (),
) -> list[Record]:
    """All records of turns, the first and the last of the session left out.

    The time is the number of the turn, in seconds; both sides end after the last.
    """
    session, made = Session(), recorder(policy, exposed=exposed)
    records: list[Record] = []
    at = 0
    for number, (side, data) in enumerate(conversation, 1):
        at = number * SECOND
        for piece in cut(data):
            records += made.record(session.receive(side, piece, at))
            if session.waiting_for_tls:
                records += made.record(session.tls_declined(at))
    for side in Side:
        records += made.record(session.end(side, at))
    return [*records, *made.end(reason="closed", detail=None, at=at)][:-1]


def said(*lines: str | bytes, policy: Policy | None = None) -> list[Record]:
    """The same of `C: …` and `S: …` lines (see `tests.support.core.turns`)."""
    return told(turns(*lines), policy)


def play(
    conversation: Conversation, secret: bytes, policy: Policy | None = None, *, cut: Cut = whole
) -> bytes:
    """JSON lines of a whole conversation. The time is the line of the script."""
    session, made = Session(), recorder(policy, exposed=["upstream"])
    records = begin(made)
    at = 0
    for turn in conversation.render(secret):
        at = turn.line * SECOND
        if turn.action is Action.SEND:
            for piece in cut(turn.data):
                records += made.record(session.receive(turn.side, piece, at))
                if session.waiting_for_tls:
                    records += made.record(session.tls_declined(at))
        elif turn.action is not Action.WAIT:
            records += made.record(session.end(turn.side, at))
    for side in Side:
        records += made.record(session.end(side, at))
    return lines([*records, *made.end(reason="closed", detail=None, at=at)])


def lines(records: Iterable[Record]) -> bytes:
    """Records as JSON, one a line."""
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def of(records: Iterable[Record], kind: type[R]) -> list[R]:
    """The records of one kind."""
    return [record for record in records if isinstance(record, kind)]


def one(records: Iterable[Record], kind: type[R]) -> R:
    """The only record of a kind."""
    (found,) = of(records, kind)
    return found


def wire(records: Iterable[Record], side: str) -> bytes:
    """What a side said, masked."""
    return b"".join(record.wire for record in of(records, WireRecord) if record.side == side)
