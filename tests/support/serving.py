"""The embedded server over memory streams, for its own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from popproxy.peers.accounts import Accounts
from popproxy.peers.client import ScriptedClient
from popproxy.peers.maildrop import Maildrop, MemoryMaildrop
from popproxy.peers.server import Server, Settings

USER, PASSWORD = "ada", "canary-kiosk-0471"
FIRST = b"Subject: one\r\n\r\n.dotted\r\nplain\r\n"
SECOND = b"Subject: two\r\n\r\n"
LOGIN = [b"USER ada", b"PASS " + PASSWORD.encode()]


def maildrop() -> MemoryMaildrop:
    return MemoryMaildrop([FIRST, SECOND])


def server_for(drop: Maildrop, settings: Settings | None = None) -> Server:
    return Server(Accounts(lambda _user: drop, {USER: PASSWORD}), settings)


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[trio.abc.HalfCloseableStream]:
    """Give the client's end of a connection to the server."""
    client, end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handle, end)
        yield client
        await client.aclose()


async def talk(server: Server, *commands: bytes) -> list[bytes]:
    """Hold a conversation; give the answers, the greeting's left out."""
    async with connected(server) as stream:
        said = await ScriptedClient(stream).converse(commands)
    return [exchange.answer for exchange in said[1:]]


async def everything(stream: trio.abc.ReceiveStream) -> bytes:
    """Read to the end."""
    return b"".join([data async for data in stream])
