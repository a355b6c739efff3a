"""The whole relay on loopback sockets, with the test at both ends of each session."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from popproxy.privacy import Policy
from popproxy.relay import Limits, Listener, Route, Timeouts, parse_url, serve
from popproxy.relay.legs import SocketLeg
from popproxy.relay.settings import Announce, Network, StlsMode
from popproxy.relay.url import Scheme
from popproxy.tls.settings import ListenerTls, UpstreamTls
from tests.support.relaying import KeepingHub


def leg_to(address: tuple[str, int], source: str = "") -> SocketLeg:
    """Connect to an address, perhaps from one of this machine's other loopback addresses."""
    connected = socket.create_connection(
        address, timeout=30, source_address=(source, 0) if source else None
    )
    connected.setblocking(False)
    return SocketLeg(connected)


async def read_until_end(leg: SocketLeg) -> bytes:
    """Read to the end of the stream."""
    parts = []
    while part := await leg.read():
        parts.append(part)
    return b"".join(parts)


async def read_exactly(leg: SocketLeg, size: int) -> bytes:
    """Read a number of octets."""
    data = bytearray()
    while len(data) < size:
        part = await leg.read()
        assert part, f"the stream ended after {len(data)} of {size} octets"
        data += part
    return bytes(data)


class Serving:
    """A relay that serves.

    Attributes:
        listeners: Its listeners.
        hub: What it recorded.
        stop: Set it to stop the relay.
        done: Set when the relay has ended.
    """

    def __init__(self, upstream: socket.socket, hub: KeepingHub, stop: trio.Event) -> None:
        self._upstream = upstream
        self.listeners: list[Listener] = []
        self.hub = hub
        self.stop = stop
        self.done = trio.Event()

    def connect(self, source: str = "") -> SocketLeg:
        """Connect as a client."""
        return leg_to(self.listeners[0].address, source)

    async def accept(self) -> SocketLeg:
        """Accept the relay's next connection, as the server."""
        await trio.lowlevel.wait_readable(self._upstream)
        accepted, _ = self._upstream.accept()
        accepted.setblocking(False)
        return SocketLeg(accepted)

    async def session(self, source: str = "") -> tuple[SocketLeg, SocketLeg]:
        """Begin a session; give the client's and the server's end, greeted."""
        client = self.connect(source)
        server = await self.accept()
        await server.write(b"+OK ready\r\n")
        assert await client.read() == b"+OK ready\r\n"
        return client, server

    async def ended(self, sessions: int) -> None:
        """Wait until so many sessions have been recorded to their end."""
        while self.hub.actions.count("session.end") < sessions:  # noqa: ASYNC110 - no event
            await trio.sleep(0.001)


@asynccontextmanager
async def serving(
    *,
    listen: str = "pop3://127.0.0.1:0",
    allow: tuple[Network, ...] = (),
    proxy_from: tuple[Network, ...] = (),
    proxy_to: Announce = "none",
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    policy: Policy | None = None,
    hub: KeepingHub | None = None,
    more: tuple[Route, ...] = (),
    speak: Scheme = "pop3",
    stls: StlsMode = "intercept",
    listener_tls: ListenerTls | None = None,
    upstream_tls: UpstreamTls | None = None,
) -> AsyncIterator[Serving]:
    """Serve one route, and more; leaving the block cancels it.

    `speak` is how the upstream is spoken to.
    """
    with trio.fail_after(60), socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.setblocking(False)
        stop = trio.Event()
        server = Serving(upstream, hub or KeepingHub(), stop)
        route = Route(
            name="first",
            listen=parse_url(listen, listener=True),
            upstream=parse_url(f"{speak}://127.0.0.1:{upstream.getsockname()[1]}", listener=False),
            allow=allow,
            proxy_from=proxy_from,
            proxy_to=proxy_to,
            stls=stls,
            listener_tls=listener_tls or ListenerTls(authority=Path("/nonexistent")),
            upstream_tls=upstream_tls or UpstreamTls(),
        )

        async def run(task_status: trio.TaskStatus[list[Listener]]) -> None:
            try:
                await serve(
                    [route, *more],
                    hub=server.hub,
                    policy=policy or Policy(body="full"),
                    stop=stop,
                    limits=limits,
                    timeouts=timeouts,
                    task_status=task_status,
                )
            finally:
                server.done.set()

        async with trio.open_nursery() as nursery:
            server.listeners = await nursery.start(run)
            yield server
            nursery.cancel_scope.cancel()
