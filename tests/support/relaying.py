"""A relay session between two ends that the test plays, without sockets, and what it recorded."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import trio
import trio.testing

from popproxy.privacy import Policy
from popproxy.records import GapRecord, Record, RoutePart, SessionEnd, SessionStart
from popproxy.relay import Limits, Timeouts, notice
from popproxy.relay.arrivals import Arrival
from popproxy.relay.encryption import Encryption
from popproxy.relay.housekeeping import Housekeeper
from popproxy.relay.memory import CAPACITY, MemoryLeg, memory_legs
from popproxy.relay.rules import Manner
from popproxy.relay.service import Service
from popproxy.relay.session import RelaySession
from popproxy.relay.upstream import Connector, Reached

ROUTE = RoutePart(name="test", listen="pop3://127.0.0.1:1110", upstream="pop3://192.0.2.1:110")
SERVER = ("192.0.2.1", 110)
CLIENT = ("127.0.0.1", 40000)
LISTENER = ("127.0.0.1", 1110)
PLAIN = Manner(listen="pop3", upstream="pop3", mode="pass")
R = TypeVar("R", bound=Record)


class KeepingHub:
    """Keeps all records.

    Attributes:
        records: They.
        answers: What `flushed` gives, one after the other; True when none are left.
    """

    def __init__(self, answers: Iterable[bool] = ()) -> None:
        self.records: list[Record] = []
        self.answers = list(answers)

    def put(self, records: Iterable[Record]) -> None:
        self.records += records

    async def flushed(self, session_id: str | None = None) -> bool:
        await trio.lowlevel.checkpoint()
        return self.answers.pop(0) if self.answers else True

    def of(self, kind: type[R]) -> list[R]:
        """Give the records of one type."""
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def actions(self) -> list[str]:
        return [record.event.action for record in self.records]

    @property
    def end(self) -> SessionEnd:
        """The one record of a session's end."""
        [end] = self.of(SessionEnd)
        return end

    @property
    def start(self) -> SessionStart:
        """The one record of a session's start."""
        [start] = self.of(SessionStart)
        return start

    @property
    def gaps(self) -> list[GapRecord]:
        return self.of(GapRecord)


@dataclass
class MemoryConnector:
    """Reaches a server in memory: `leg` is the relay's end, `server` the test's."""

    leg: MemoryLeg = field(init=False)
    server: MemoryLeg = field(init=False)

    def __post_init__(self) -> None:
        self.leg, self.server = memory_legs()

    async def connect(self) -> Reached:
        await trio.lowlevel.checkpoint()
        return Reached(self.leg, SERVER)


def service(
    hub: KeepingHub,
    connector: Connector,
    *,
    policy: Policy | None = None,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    kind: type[Service] = Service,
    manner: Manner | None = None,
    encryption: Encryption | None = None,
) -> Service:
    """Make what a session needs."""
    policy = policy or Policy(body="full")
    return kind(
        route=ROUTE,
        connector=connector,
        hub=hub,
        policy=policy,
        notice=notice(policy),
        manner=manner or PLAIN,
        encryption=encryption,
        limits=limits or Limits(),
        timeouts=timeouts or Timeouts(),
    )


@dataclass
class Relayed:
    """A session that is being relayed.

    Attributes:
        client: The client's end.
        server: The server's end.
        hub: What was recorded.
        session: The session.
        ended: Set when the session has ended.
    """

    client: MemoryLeg
    server: MemoryLeg
    hub: KeepingHub
    session: RelaySession
    ended: trio.Event

    async def forward(self, data: bytes) -> bytes:
        """Send from the client, give what the server reads next."""
        await self.client.write(data)
        return await self.server.read()

    async def reply(self, data: bytes) -> bytes:
        """Send from the server, give what the client reads next."""
        await self.server.write(data)
        return await self.client.read()


def _virtual_ns() -> int:
    return int(trio.current_time() * 1e9)


async def read_all(leg: MemoryLeg) -> bytes:
    """Read to the end of the stream."""
    parts = []
    while part := await leg.read():
        parts.append(part)
    return b"".join(parts)


@asynccontextmanager
async def relayed(
    *,
    hub: KeepingHub | None = None,
    policy: Policy | None = None,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    kind: type[Service] = Service,
    capacity: int = CAPACITY,
    connector: Connector | None = None,
    manner: Manner | None = None,
    encryption: Encryption | None = None,
) -> AsyncIterator[Relayed]:
    """Relay a session in memory, housekeeping included; leaving the block ends it.

    `capacity` is how much the client's connection takes before a write to it waits.
    """
    hub = hub or KeepingHub()
    memory = MemoryConnector()
    leg, client = memory_legs(capacity)
    ended = trio.Event()
    virtual = isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)
    housekeeper = Housekeeper(_virtual_ns if virtual else time.monotonic_ns)

    def end(session: RelaySession) -> None:
        housekeeper.remove(session)
        ended.set()

    # No test's result depends on this patience; without it a defect would hang the run.
    with trio.fail_after(5000 if virtual else 60):
        async with trio.open_nursery() as nursery:
            session = RelaySession(
                session_id="20111029t223746-aaa0001",
                service=service(
                    hub,
                    connector or memory,
                    policy=policy,
                    timeouts=timeouts,
                    limits=limits,
                    kind=kind,
                    manner=manner,
                    encryption=encryption,
                ),
                client=leg,
                arrival=Arrival(CLIENT, LISTENER),
                nursery=nursery,
                on_ended=end,
            )
            housekeeper.add(session)
            nursery.start_soon(housekeeper.run)
            session.start()
            try:
                yield Relayed(client, memory.server, hub, session, ended)
            finally:
                session.end("shutdown")
            nursery.cancel_scope.cancel()
