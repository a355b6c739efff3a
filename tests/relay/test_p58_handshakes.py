"""A TLS handshake that a peer does not do is given up after its time, on either leg (P58, P60)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from popproxy.records import TlsFailed
from popproxy.relay import Timeouts
from popproxy.relay.legs import LegLost, SocketLeg
from tests.support.loopback import read_until_end
from tests.support.tls_peers import Peers, tls_serving

HANDSHAKE = Timeouts().handshake
HALF_A_HELLO = b"\x16\x03\x01\x02\x00"
Ends = tuple[SocketLeg, list[SocketLeg]]
"""The client's end, and what else has to be closed."""


async def _silent_client(peers: Peers) -> Ends:
    return peers.relay.connect(), []


async def _client_with_half_a_hello(peers: Peers) -> Ends:
    client = peers.relay.connect()
    await client.write(HALF_A_HELLO)
    return client, []


async def _client_silent_behind_stls(peers: Peers) -> Ends:
    client, server = await peers.relay.session()
    await client.write(b"STLS\r\n")
    assert await server.read() == b"STLS\r\n"
    await server.write(b"+OK\r\n")
    secured = await peers.secure_server(server)
    assert await client.read() == b"+OK\r\n"
    return client, [secured]


async def _silent_server(peers: Peers) -> Ends:
    client = peers.relay.connect()
    return client, [await peers.relay.accept()]


async def _server_silent_behind_stls(peers: Peers) -> Ends:
    client = peers.relay.connect()
    server = await peers.relay.accept()
    await server.write(b"+OK ready\r\n")
    assert await server.read() == b"STLS\r\n"
    return client, [server]


async def _server_silent_behind_its_ok(peers: Peers) -> Ends:
    client, server = await peers.relay.session()
    await client.write(b"STLS\r\n")
    assert await server.read() == b"STLS\r\n"
    await server.write(b"+OK\r\n")
    return client, [server]


async def _end_of(client: SocketLeg) -> bytes:
    try:
        return await read_until_end(client)
    except LegLost:
        return b""  # what it had sent lay unread


TEMPORARY = b"-ERR [SYS/TEMP] popproxy: no TLS with the server: "
PORT = b"-ERR [SYS/PERM] popproxy: this port expects TLS"


@pytest.mark.parametrize(
    ("listen", "speak", "begin", "leg", "answer"),
    [
        ("pop3s", "pop3", _silent_client, "client", PORT),
        ("pop3s", "pop3", _client_with_half_a_hello, "client", b""),
        ("pop3", "pop3", _client_silent_behind_stls, "client", b""),
        ("pop3", "pop3s", _silent_server, "upstream", TEMPORARY),
        ("pop3", "pop3+stls", _silent_server, "upstream", TEMPORARY),
        ("pop3", "pop3+stls", _server_silent_behind_stls, "upstream", TEMPORARY),
        ("pop3", "pop3", _server_silent_behind_its_ok, "upstream", TEMPORARY),
    ],
    ids=[
        "silent-client",
        "client-with-half-a-hello",
        "client-behind-stls",
        "silent-server",
        "server-without-greeting",
        "server-behind-our-stls",
        "server-behind-the-clients-stls",
    ],
)
async def test_p58_p60_a_handshake_that_a_peer_does_not_do_is_given_up_in_time(
    listen: str,
    speak: str,
    begin: Callable[[Peers], Awaitable[Ends]],
    leg: str,
    answer: bytes,
    tmp_path: Path,
    mock_clock: trio.testing.MockClock,
) -> None:
    # The clock stands still but for the jumps: what takes sockets their time takes none of it.
    async with tls_serving(tmp_path, listen, speak) as peers:
        client, others = await begin(peers)
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(HANDSHAKE - 0.1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not peers.relay.hub.of(TlsFailed)
        mock_clock.jump(0.2)
        mock_clock.rate = 1  # a peer gets a moment to read its alert
        with trio.fail_after(HANDSHAKE / 2):
            assert (await _end_of(client)).startswith(answer)
        for one in (client, *others):
            one.close()
        await peers.relay.ended(1)
    [failed] = peers.relay.hub.of(TlsFailed)
    assert (failed.tls.leg, failed.tls.code) == (leg, "timeout")
    assert "10 seconds" in (failed.tls.cause or "")
    end = peers.relay.hub.end.summary
    assert (end.reason, end.detail) == ("tls-failed", failed.tls.cause)
