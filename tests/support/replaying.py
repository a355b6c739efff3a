"""Captures of conversations, and a client that holds them with a replay at the recorded times."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from popproxy.peers.script import Action, Conversation
from popproxy.pop3 import Session, Side
from popproxy.privacy import Policy
from popproxy.records import Record, WireRecord
from popproxy.relay import Url, parse_url
from popproxy.relay.legs import Leg, LegLost, SocketLeg
from popproxy.relay.memory import memory_legs
from popproxy.relay.url import Scheme
from popproxy.tls.settings import ListenerTls
from popproxy.tools.replay_place import Known, tls_mode
from popproxy.tools.replay_planner import make_plan
from popproxy.tools.replay_server import Events, Stage, Tally, serve
from popproxy.tools.replay_session import Manner, Outcome, ReplaySession
from tests.support.loopback import leg_to
from tests.support.recording import SECOND, begin, recorder

REASONS = {
    (Side.SERVER, Action.EOF): "server-closed",
    (Side.SERVER, Action.RESET): "server-reset",
    (Side.CLIENT, Action.EOF): "client-closed",
    (Side.CLIENT, Action.RESET): "client-reset",
}


def captured(
    conversation: Conversation, secret: bytes = b"", policy: Policy | None = None
) -> list[Record]:
    """The records of a conversation. The time is the line of the script, in seconds."""
    session, made = Session(), recorder(policy, exposed=["upstream"])
    records = begin(made)
    at, reason = 0, ""
    for turn in conversation.render(secret):
        at = turn.line * SECOND
        if turn.action is Action.SEND:
            records += made.record(session.receive(turn.side, turn.data, at))
            if session.waiting_for_tls:
                records += made.record(session.tls_declined(at))
        elif turn.action is not Action.WAIT:
            reason = reason or REASONS[turn.side, turn.action]
            records += made.record(session.end(turn.side, at))
    for side in Side:
        records += made.record(session.end(side, at))
    return [*records, *made.end(reason=reason or "client-closed", detail=None, at=at)]


Read = tuple[float, bytes]


def reads(records: Sequence[Record]) -> list[Read]:
    """What the server sent, masked, read by read, with the time in seconds."""
    found: list[Read] = []
    for record in records:
        if not isinstance(record, WireRecord) or record.side != "server":
            continue
        start = 0
        for number, (at, size) in enumerate(record.segments):
            data = record.wire[start : start + size]
            start += size
            if number == 0 and record.joined and found:
                found[-1] = (found[-1][0], found[-1][1] + data)
            else:
                found.append((at / 1e6, data))
    return found


@dataclass
class Held:
    """A conversation that was held with a replay.

    Attributes:
        reads: What the client read, with the time since the beginning.
        lost: Whether the connection was reset.
        closed_at: When the server closed.
        outcome: What the replay says of it.
    """

    reads: list[Read] = field(default_factory=list)
    lost: bool = False
    closed_at: float = 0.0
    outcome: Outcome = field(default_factory=Outcome)


async def hold(
    records: Sequence[Record],
    conversation: Conversation,
    secret: bytes = b"",
    manner: Manner | None = None,
) -> Held:
    """Replay records to a client that says what it says in a conversation, at the same times.

    The clock has to be virtual.
    """
    ours, theirs = memory_legs(capacity=1 << 20)
    plan = make_plan(records)
    held = Held()
    begun = trio.current_time()

    async def serve() -> None:
        session = ReplaySession(theirs, Known(plan), manner or Manner(tls=tls_mode(plan, "pop3")))
        held.outcome = await session.run()

    async def read() -> None:
        try:
            while data := await ours.read():
                held.reads.append((trio.current_time() - begun, data))
        except (LegLost, trio.ClosedResourceError):
            held.lost = True
        held.closed_at = trio.current_time() - begun
        nursery.cancel_scope.deadline = trio.current_time() + 5

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(read)
        await _speak(ours, conversation, secret, begun)
    return held


async def _speak(leg: Leg, conversation: Conversation, secret: bytes, begun: float) -> None:
    for turn in conversation.render(secret):
        await trio.sleep_until(begun + turn.line)
        if turn.side is not Side.CLIENT:
            continue
        try:
            if turn.action is Action.SEND:
                await leg.write(turn.data)
            elif turn.action is Action.EOF:
                leg.half_close()
            elif turn.action is Action.RESET:
                leg.abort()
                return
        except LegLost:
            return
    await trio.sleep(700)
    leg.half_close()


class Told(Events):
    """Keeps what a replay tells."""

    def __init__(self) -> None:
        self.departures: list[str] = []
        self.outcomes: list[Outcome] = []
        self.errors: list[Exception] = []

    def departed(self, number: int, text: str) -> None:
        self.departures.append(f"{number}: {text}")

    def ended(self, number: int, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def failed(self, number: int, error: Exception) -> None:
        self.errors.append(error)


@dataclass
class Replaying:
    """A replay that listens.

    Attributes:
        url: Where.
        told: What it tells.
        stop: Set it to stop it.
        tally: What came of it, once it has ended.
    """

    url: Url
    told: Told
    stop: trio.Event
    tally: list[Tally]

    def connect(self) -> SocketLeg:
        """Connect as a client."""
        return leg_to((self.url.host, self.url.port))


@asynccontextmanager
async def replaying(
    records: Sequence[Record],
    *,
    scheme: Scheme = "pop3",
    authority: Path = Path(),
    manner: Manner | None = None,
    connections: int = 64,
    once: bool = False,
) -> AsyncIterator[Replaying]:
    """Replay on a free port of this machine."""
    plan = make_plan(records)
    mode = tls_mode(plan, scheme)
    manner = dataclasses.replace(manner or Manner(speed=None), tls=mode)
    stage = Stage(
        plan=plan,
        manner=manner,
        listen=parse_url(f"{scheme}://127.0.0.1:0", listener=True),
        tls=ListenerTls(authority=authority),
        connections=connections,
        once=once,
    )
    stop, told, tally = trio.Event(), Told(), list[Tally]()
    bound: list[Url] = []
    ready = trio.Event()

    def listens(urls: list[Url]) -> None:
        bound.extend(urls)
        ready.set()

    async def run() -> None:
        tally.append(await serve(stage, stop, told, drain=1.0, ready=listens))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await ready.wait()
            yield Replaying(bound[0], told, stop, tally)
            stop.set()
