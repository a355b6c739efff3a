"""Feed a `Session` from turns, whole or cut, and look at what it gives."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

from popproxy.pop3 import (
    Command,
    Data,
    Departure,
    End,
    Event,
    Greeting,
    OpaqueStarted,
    Response,
    SaslChallenge,
    SaslResponse,
    Session,
    Side,
    Unanswered,
    Unexpected,
)

Turn = tuple[Side, bytes]
Cut = Callable[[bytes], Iterable[bytes]]


def turns(*lines: str | bytes) -> list[Turn]:
    """Make turns of `C: …` and `S: …` lines; each gets CRLF unless it is bytes."""
    made: list[Turn] = []
    for line in lines:
        raw = line if isinstance(line, bytes) else line.encode() + b"\r\n"
        side = Side.CLIENT if raw.startswith(b"C: ") else Side.SERVER
        assert raw[:3] in (b"C: ", b"S: "), raw
        made.append((side, raw[3:]))
    return made


def whole(data: bytes) -> Iterable[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> Iterable[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def at_random(seed: int) -> Cut:
    """Cut at random places, the same for the same seed."""
    source = random.Random(seed)  # noqa: S311 - no secret hangs on it

    def cut(data: bytes) -> Iterable[bytes]:
        while data:
            size = source.choice((1, 1, 2, 3, 5, 17, 400, 70_000))
            yield data[:size]
            data = data[size:]

    return cut


def feed(session: Session, conversation: Sequence[Turn], cut: Cut = whole) -> list[Event]:
    """Feed turns in their order, each cut as said; the time is the number of the turn."""
    events: list[Event] = []
    for at, (side, data) in enumerate(conversation, 1):
        for piece in cut(data):
            events += session.receive(side, piece, at)
            while session.waiting_for_tls:
                events += session.tls_declined(at)
    return events


def finish(session: Session) -> list[Event]:
    return [*session.end(Side.CLIENT, 10_000), *session.end(Side.SERVER, 10_000)]


def read(conversation: Sequence[Turn], cut: Cut = whole) -> list[Event]:
    """All events of a conversation, its ends included."""
    session = Session()
    return [*feed(session, conversation, cut), *finish(session)]


def joined(events: Iterable[Event], side: Side) -> bytes:
    return b"".join(event.raw for event in events if event.side is side)


def sent(conversation: Iterable[Turn], side: Side) -> bytes:
    return b"".join(data for sender, data in conversation if sender is side)


def timeless(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """What of the events must not depend on the cut, with their types."""
    return [
        (type(event), *(getattr(event, f.name) for f in fields(event) if f.compare))
        for event in events
    ]


def story(events: Iterable[Event]) -> list[str]:
    """Tell events in a few words each, for comparison with what a test expects."""
    told = []
    for event in events:
        match event:
            case Greeting():
                told.append(f"greeting {event.status.value}")
            case Command():
                told.append(f"C{event.seq} {event.keyword.decode('latin-1')}")
            case Response():
                seq = "?" if event.seq is None else event.seq
                several = " several lines" if event.multi_line else ""
                told.append(f"S{seq} {event.status.value}{several}")
            case SaslResponse():
                told.append(f"C{event.seq} response")
            case SaslChallenge():
                told.append(f"S{'?' if event.seq is None else event.seq} challenge")
            case Data():
                told.append(f"{event.side.name[0]}{event.seq} content {len(event.raw)}")
            case End():
                told.append(f"{event.side.name[0]}{event.seq} {event.ending.value}")
            case Unexpected():
                told.append("unexpected")
            case Unanswered():
                told.append(f"C{event.seq} unanswered")
            case Departure():
                told.append(f"! {event.code.value}")
            case OpaqueStarted():
                told.append(f"opaque: {event.reason.value}")
            case _:
                told.append(type(event).__name__)
    return told
