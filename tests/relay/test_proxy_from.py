"""A load balancer says who the client is: PROXY headers in, before anything else."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from popproxy.records import Endpoint, SessionEnd, SessionStart, TlsStart
from popproxy.relay import Limits, Timeouts
from popproxy.relay.legs import LegLost, SocketLeg
from popproxy.relay.proxy_header import write_header
from tests.support.loopback import Serving, read_exactly, read_until_end, serving
from tests.support.tls_peers import tls_serving

BALANCER = "127.0.0.2"
FROM = (ip_network(f"{BALANCER}/32"),)
WHO = ("192.0.2.7", 50_123)
WHERE = ("198.51.100.1", 110)
V1 = write_header("v1", WHO, WHERE)
V2 = write_header("v2", WHO, WHERE)
LOCAL = V2[:12] + b"\x20\x00\x00\x00"


async def proxied(server: Serving, header: bytes, said: bytes = b"") -> tuple[SocketLeg, SocketLeg]:
    """Begin a session through the load balancer; give both ends."""
    client = server.connect(BALANCER)
    await client.write(header + said)
    upstream = await server.accept()
    await upstream.write(b"+OK ready\r\n")
    assert await client.read() == b"+OK ready\r\n"
    return client, upstream


def end(*legs: SocketLeg) -> None:
    for leg in legs:
        leg.close()


def warned(logs: list[Any], event: str) -> list[Any]:
    return [log for log in logs if log["event"] == event]


@pytest.mark.parametrize("header", [V1, V2, V2[:14] + b"\x00\x13" + V2[16:] + b"\x04\x00\x04abcd"])
async def test_the_header_names_the_client_and_goes_no_further(header: bytes) -> None:
    async with serving(proxy_from=FROM) as server:
        client, upstream = await proxied(server, header, b"USER bo\r\n")
        assert await upstream.read() == b"USER bo\r\n"
        end(client, upstream)
        await server.ended(1)
    start = server.hub.start
    assert start.client == Endpoint(address=WHO[0], port=WHO[1])
    assert start.destination == Endpoint(address=WHERE[0], port=WHERE[1])
    assert start.via is not None
    assert start.via.address == BALANCER
    assert start.listener.address == "127.0.0.1"
    assert start.rewrites == ["channel-binding-removed-after-stls"]
    assert "PROXY" not in "".join(str(record) for record in server.hub.records)


async def test_a_header_that_comes_octet_by_octet_is_read() -> None:
    async with serving(proxy_from=FROM) as server:
        client = server.connect(BALANCER)
        for octet in V1 + b"NOOP\r\n":
            await client.write(bytes([octet]))
            await trio.testing.wait_all_tasks_blocked()
        upstream = await server.accept()
        assert await read_exactly(upstream, 6) == b"NOOP\r\n"
        end(client, upstream)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", LOCAL])
async def test_without_an_address_in_the_header_the_connection_s_own_counts(header: bytes) -> None:
    async with serving(proxy_from=FROM) as server:
        end(*await proxied(server, header))
        await server.ended(1)
    start = server.hub.start
    assert start.client == start.via
    assert start.client.address == BALANCER
    assert start.destination is None


async def test_p11_a_header_from_anybody_else_is_a_line_of_the_client() -> None:
    async with serving(proxy_from=FROM) as server:
        client, upstream = await server.session("127.0.0.1")
        await client.write(V1)
        assert await upstream.read() == V1
        end(client, upstream)
        await server.ended(1)
    start = server.hub.start
    assert (start.client.address, start.via, start.destination) == ("127.0.0.1", None, None)
    told = "".join(str(record) for record in server.hub.records)
    assert WHO[0] not in told


BAD = [
    (b"USER bo\r\n", "it does not begin as a PROXY header does"),
    (b"\x16\x03\x01\x02\x00", "it does not begin as a PROXY header does"),
    (b"PROXY " + b"x" * 200, "it is longer than 107 octets"),
    (V2[:14] + b"\xff\xff", "it is longer than 4112 octets"),
]


@pytest.mark.parametrize(("said", "cause"), BAD)
async def test_a_load_balancer_without_a_header_is_hung_up_on(said: bytes, cause: str) -> None:
    with capture_logs() as logs:
        async with serving(proxy_from=FROM) as server:
            for number in range(1, 4):
                client = server.connect(BALANCER)
                await client.write(said)
                assert await _hung_up(client)
                client.close()
                await server.ended(number)
            end(*await server.session("127.0.0.1"))  # and nobody has connected to the server before
            await server.ended(4)
    [start, *_] = server.hub.of(SessionStart)
    assert (start.client.address, start.server) == (BALANCER, None)
    details = [record.summary.detail for record in server.hub.of(SessionEnd)]
    assert details == [*[f"no PROXY header: {cause}"] * 3, None]
    [log] = warned(logs, "bad-proxy-header")
    assert (log["peer"], log["cause"]) == (BALANCER, cause)
    assert "send-proxy" in log["remedy"]


async def _hung_up(client: SocketLeg) -> bool:
    try:
        return await read_until_end(client) == b""
    except LegLost:
        return True  # octets lay unread


@pytest.mark.parametrize("said", [b"", V1[:20], V2[:20]])
async def test_p58_a_header_has_its_time(said: bytes) -> None:
    with capture_logs() as logs:
        async with serving(proxy_from=FROM, timeouts=Timeouts(proxy_header=0.05)) as server:
            client = server.connect(BALANCER)
            await client.write(said)
            assert await _hung_up(client)
            client.close()
            await server.ended(1)
    assert server.hub.end.summary.reason == "refused"
    cause = "it did not come within 0.05 seconds"
    assert server.hub.end.summary.detail == f"no PROXY header: {cause}"
    assert [log["cause"] for log in warned(logs, "bad-proxy-header")] == [cause]


async def test_a_probe_of_the_port_is_no_session_and_no_news() -> None:
    with capture_logs() as logs:
        async with serving(proxy_from=FROM) as server:
            server.connect(BALANCER).close()
            half = server.connect(BALANCER)
            await half.write(V1[:9])
            half.close()  # inside the header: that is news
            await server.ended(1)
    detail = server.hub.end.summary.detail
    assert detail == "no PROXY header: the connection ended inside it"
    assert len(warned(logs, "bad-proxy-header")) == 1


async def test_p67_networks_are_those_of_the_real_clients() -> None:
    allow = (ip_network("192.0.2.0/24"),)
    with capture_logs() as logs:
        async with serving(proxy_from=FROM, allow=allow) as server:
            end(*await proxied(server, V1))
            for header in (write_header("v1", ("203.0.113.5", 1), WHERE), b"PROXY UNKNOWN\r\n"):
                client = server.connect(BALANCER)
                await client.write(header)
                assert (await read_until_end(client)).startswith(b"-ERR [SYS/TEMP] popproxy: ")
                client.close()
            # Its own connections are no client's, and it is known by its address.
            end(*await proxied(server, LOCAL))
            await server.ended(4)
    refused = [log["client"] for log in warned(logs, "client-refused")]
    assert refused == ["203.0.113.5"]


async def test_p55_real_clients_are_counted_each_for_itself() -> None:
    with capture_logs():
        async with serving(
            proxy_from=FROM, limits=Limits(connections=3, connections_per_client=1)
        ) as server:
            first = await proxied(server, V2)
            again = server.connect(BALANCER)
            await again.write(write_header("v1", (WHO[0], 1), WHERE))
            assert b"too many connections from your address" in await read_until_end(again)
            second = await proxied(server, write_header("v2", ("192.0.2.8", 1), WHERE))
            # One that has not said who it is counts, too.
            third = server.connect(BALANCER)
            await third.write(V1[:9])
            fourth = server.connect("127.0.0.1")
            assert b"too many connections, try again later" in await read_until_end(fourth)
            await third.write(write_header("v1", ("192.0.2.9", 1), WHERE)[9:])
            upstream = await server.accept()
            end(*first, again, *second, third, fourth, upstream)
            await server.ended(5)
            end(*await proxied(server, V2))  # all places are free again


async def test_the_header_comes_before_tls(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3s", "pop3", proxy_from=FROM) as peers:
        leg = peers.relay.connect(BALANCER)
        await leg.write(V1)
        client = await peers.secure_client(leg)
        upstream = await peers.relay.accept()
        await upstream.write(b"+OK ready\r\n")
        assert await client.read() == b"+OK ready\r\n"
        end(client, upstream)
        await peers.relay.ended(1)
    assert peers.relay.hub.start.client.address == WHO[0]
    assert len(peers.relay.hub.of(TlsStart)) == 1


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_p63_a_stop_does_not_wait_for_headers() -> None:
    descriptors = _descriptors()
    async with serving(proxy_from=FROM, timeouts=Timeouts(proxy_header=1e6)) as server:
        client = server.connect(BALANCER)
        await client.write(V1[:9])
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.stop.set()
        await server.done.wait()
        assert await _hung_up(client)
        client.close()
    assert server.hub.records == []
    assert _descriptors() == descriptors
