"""The whole relay on loopback: sessions, refusals, faults, stopping."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from popproxy.pop3 import Side
from popproxy.privacy import Policy
from popproxy.records import SessionEnd, SessionStart
from popproxy.relay import (
    CannotListen,
    Limits,
    Route,
    RouteError,
    Timeouts,
    accepting,
    parse_url,
    serve,
)
from popproxy.relay.legs import LegLost, SocketLeg
from popproxy.relay.loops import OwnAddresses
from popproxy.relay.pumps import Pumps
from popproxy.relay.session import RelaySession
from tests.relay.test_upstream import Resolver
from tests.support.loopback import Serving, leg_to, read_exactly, read_until_end, serving
from tests.support.relaying import KeepingHub


def route(listen: str, upstream: str = "pop3://192.0.2.1", name: str = "r") -> Route:
    return Route(
        name=name,
        listen=parse_url(listen, listener=True),
        upstream=parse_url(upstream, listener=False),
    )


async def start(*routes: Route) -> None:
    """Serve until it stops by itself, at once."""
    stop = trio.Event()
    stop.set()
    await serve(routes, hub=KeepingHub(), policy=Policy(body="full"), stop=stop)


async def fetch(server: Serving) -> None:
    """Show that a session works."""
    client, upstream = await server.session()
    await client.write(b"QUIT\r\n")
    assert await upstream.read() == b"QUIT\r\n"
    await upstream.write(b"+OK bye\r\n")
    upstream.close()
    assert await read_until_end(client) == b"+OK bye\r\n"
    client.close()


async def test_a_session_passes_and_is_recorded() -> None:
    async with serving() as server:
        await fetch(server)
        await server.ended(1)
        hub = server.hub
        assert hub.end.summary.reason == "server-closed"
        assert hub.start.listener.port == server.listeners[0].url.port
        assert hub.start.route.name == "first"
        assert hub.start.rewrites == ["channel-binding-removed-after-stls"]
        assert "pop3.command" in hub.actions


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "127.3.4.5"])
async def test_listening_on_ipv4_and_ipv6(host: str) -> None:
    async with serving(listen=f"pop3://{host}:0") as server:
        [listener] = server.listeners
        assert str(listener.url) == f"pop3://{host}:{listener.address[1]}"
        await fetch(server)


async def test_a_name_is_listened_on_with_all_its_addresses_and_one_port() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(["127.0.0.1", "::1", "127.0.0.2"]))
    async with serving(listen="pop3://localhost:0") as server:
        assert len(server.listeners) == 3
        assert len({listener.url.port for listener in server.listeners}) == 1
        for listener in server.listeners:
            client = leg_to(listener.address)
            upstream = await server.accept()
            client.close()
            upstream.close()


async def test_several_routes_serve_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as second:
        second.setblocking(False)
        upstream = f"pop3://127.0.0.1:{second.getsockname()[1]}"
        async with serving(more=(route("pop3://127.0.0.1:0", upstream, "second"),)) as server:
            await fetch(server)
            client = leg_to(server.listeners[1].address)
            await trio.lowlevel.wait_readable(second)
            accepted, _ = second.accept()
            accepted.sendall(b"+OK from the second\r\n")
            assert await client.read() == b"+OK from the second\r\n"
            accepted.close()
            client.close()
            await server.ended(2)
            names = {record.route.name for record in server.hub.of(SessionStart)}
            assert names == {"first", "second"}


async def test_p23_noise_passes_unchanged_both_ways() -> None:
    noise = random.Random(23)  # noqa: S311 - to be repeatable
    up, down = noise.randbytes(300_000), noise.randbytes(3_000_000)
    got: dict[Side, bytes] = {}

    async def send(leg: SocketLeg, data: bytes) -> None:
        await leg.write(data)
        leg.half_close()

    async def receive(leg: SocketLeg, side: Side) -> None:
        got[side] = await read_until_end(leg)

    async with serving(policy=Policy(body="none")) as server:
        client = server.connect()
        upstream = await server.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, client, up)
            nursery.start_soon(send, upstream, down)
            nursery.start_soon(receive, upstream, Side.CLIENT)
            nursery.start_soon(receive, client, Side.SERVER)
        client.close()
        upstream.close()
    assert got == {Side.CLIENT: up, Side.SERVER: down}


async def test_p24_each_octet_arrives_before_the_next_is_sent() -> None:
    async with serving() as server:
        client, upstream = await server.session()
        for octet in b"USER bo\r\nPASS correct horse\r\n":
            await client.write(bytes([octet]))
            assert await upstream.read() == bytes([octet])
        for octet in b"+OK\r\n+OK\r\n":
            await upstream.write(bytes([octet]))
            assert await client.read() == bytes([octet])
        client.close()
        upstream.close()


async def test_p26_half_close_passes_and_a_long_reply_is_delivered() -> None:
    body = b"+OK\r\n" + b"x" * 70 + b"\r\n" * 1_400_000 + b".\r\n"
    async with serving(policy=Policy(body="none")) as server:
        client, upstream = await server.session()
        await client.write(b"RETR 1\r\n")
        client.half_close()
        assert await read_until_end(upstream) == b"RETR 1\r\n"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upstream.write, body)
            assert await read_exactly(client, len(body)) == body
        upstream.close()
        assert await client.read() == b""
        client.close()
        await server.ended(1)
        assert server.hub.end.summary.reason == "client-closed"


@pytest.mark.parametrize("by_client", [True, False])
async def test_p26_a_reset_passes_while_idle_and_other_sessions_are_untouched(
    by_client: bool,
) -> None:
    async with serving() as server:
        other_client, other_upstream = await server.session()
        client, upstream = await server.session()
        near, far = (client, upstream) if by_client else (upstream, client)
        near.abort()
        with trio.fail_after(10), pytest.raises(LegLost, match="reset"):
            await far.read()
        await server.ended(1)
        assert server.hub.end.summary.reason == ("client-reset" if by_client else "server-reset")
        await other_client.write(b"NOOP\r\n")
        assert await other_upstream.read() == b"NOOP\r\n"
        for leg in (other_client, other_upstream, far):
            leg.close()


@pytest.mark.parametrize("by_client", [True, False])
async def test_p26_a_reset_passes_though_the_other_side_reads_nothing(by_client: bool) -> None:
    async with serving() as server:
        client, upstream = await server.session()
        near, far = (client, upstream) if by_client else (upstream, client)
        with trio.move_on_after(60) as scope:
            async with trio.open_nursery() as nursery:

                async def flood() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await near.write(bytes(1 << 28))

                nursery.start_soon(flood)
                last = -1
                while last != near.octets_out:  # until nothing moves any more
                    last = near.octets_out
                    await trio.sleep(0.05)
                near.abort()
                while not far.lost():  # noqa: ASYNC110 - the kernel has no event for it
                    await trio.sleep(0.01)
        assert not scope.cancelled_caught
        far.close()
        await server.ended(1)
        assert server.hub.end.summary.reason == ("client-reset" if by_client else "server-reset")


async def test_p26_a_reset_after_a_half_close_passes() -> None:
    async with serving() as server:
        client, upstream = await server.session()
        client.half_close()
        assert await upstream.read() == b""
        client.abort()
        while not upstream.lost():  # noqa: ASYNC110 - the kernel has no event for it
            await trio.sleep(0.01)
        upstream.close()
        await server.ended(1)
        assert server.hub.end.summary.reason == "client-closed"


async def test_p26_replies_sent_before_a_reset_arrive() -> None:
    # As mailutils: it answers and closes; what the client sent behind QUIT makes that a reset.
    async with serving() as server:
        client, upstream = await server.session()
        await client.write(b"QUIT\r\nNOOP\r\n")
        while upstream.octets_in == 0:
            await upstream.read()
        await client.write(b"NOOP\r\n")
        await upstream.write(b"+OK bye\r\n")
        await trio.lowlevel.wait_readable(upstream._socket)
        upstream.close()
        assert await client.read() == b"+OK bye\r\n"
        with pytest.raises(LegLost):
            await client.read()
        client.close()
        await server.ended(1)
        assert server.hub.end.summary.reason == "server-reset"


async def test_p55_over_the_cap_a_client_is_told_and_may_come_back() -> None:
    limits = Limits(connections=2, connections_per_client=1)
    with capture_logs() as logs:
        async with serving(limits=limits) as server:
            first, upstream = await server.session("127.0.0.1")
            second = server.connect("127.0.0.1")
            assert await read_until_end(second) == (
                b"-ERR [SYS/TEMP] popproxy: too many connections from your address\r\n"
            )
            second.close()
            third, third_upstream = await server.session("127.0.0.2")
            fourth = server.connect("127.0.0.3")
            assert await read_until_end(fourth) == (
                b"-ERR [SYS/TEMP] popproxy: too many connections, try again later\r\n"
            )
            fourth.close()
            first.close()
            upstream.close()
            while server.hub.actions.count("session.end") < 3:  # noqa: ASYNC110 - no event
                await trio.sleep(0.001)
            client, again = await server.session("127.0.0.1")
            for leg in (third, third_upstream, client, again):
                leg.close()
    refused = [
        record.summary.detail
        for record in server.hub.of(SessionEnd)
        if record.summary.reason == "refused"
    ]
    assert refused == [
        "too many connections from your address",
        "too many connections, try again later",
    ]
    assert [log["event"] for log in logs] == ["client-refused"]  # one in ten seconds


async def test_p55_a_flood_of_refusals_does_not_flood_the_record() -> None:
    with capture_logs():
        async with serving(limits=Limits(connections=0)) as server:
            for _ in range(100):
                client = server.connect()
                assert (await read_until_end(client)).startswith(b"-ERR [SYS/TEMP] popproxy: ")
                client.close()
    assert 2 <= len(server.hub.records) < 200


async def test_p67_clients_outside_the_allowed_networks_are_refused_and_recorded() -> None:
    with capture_logs() as logs:
        async with serving(
            listen="pop3://0.0.0.0:0", allow=(ip_network("127.0.0.8/29"),)
        ) as server:
            client = leg_to(("127.0.0.1", server.listeners[0].address[1]))
            assert (await read_until_end(client)).startswith(b"-ERR [SYS/TEMP] popproxy: ")
            client.close()
            assert server.hub.actions == ["session.start", "session.end"]
            assert server.hub.end.summary.reason == "refused"
            assert server.hub.start.client.address == "127.0.0.1"
            client, upstream = await server.session("127.0.0.9")
            client.close()
            upstream.close()
    assert logs[0]["client"] == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])  # noqa: S104 - what is to be refused
async def test_p67_an_address_that_others_reach_needs_an_allow_list(host: str) -> None:
    with pytest.raises(RouteError, match="allow"):
        await start(route(f"pop3://{host}:0"))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_p56_without_descriptors_sessions_go_on_and_accepting_resumes(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exhausted = False
    accept = socket.socket.accept
    acceptor = accepting.Acceptor()

    def exhausted_accept(self: socket.socket) -> tuple[socket.socket, Any]:
        if exhausted and acceptor._reserve is not None:
            raise OSError(code, os.strerror(code))
        return accept(self)

    monkeypatch.setattr("popproxy.relay.server.Acceptor", lambda: acceptor)
    monkeypatch.setattr(socket.socket, "accept", exhausted_accept)
    with capture_logs() as logs:
        async with serving() as server:
            client, upstream = await server.session()
            exhausted = True
            for _ in range(3):
                turned_away = server.connect()
                assert (await read_until_end(turned_away)).startswith(b"-ERR [SYS/TEMP] popproxy")
                turned_away.close()
            await client.write(b"NOOP\r\n")
            assert await upstream.read() == b"NOOP\r\n"
            exhausted = False
            await fetch(server)
            client.close()
            upstream.close()
    assert [log["event"] for log in logs] == ["cannot-accept"]
    assert "ulimit" in logs[0]["remedy"]


async def test_p57_a_session_that_raises_does_not_end_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Pumps.start

    def broken(self: Pumps, *arguments: Any) -> None:
        monkeypatch.setattr(Pumps, "start", original)
        raise ValueError("canary")

    monkeypatch.setattr(Pumps, "start", broken)
    with capture_logs() as logs:
        async with serving() as server:
            client = server.connect()
            upstream = await server.accept()
            assert await client.read() == b""
            upstream.close()
            client.close()
            await server.ended(1)
            assert server.hub.end.summary.reason == "internal-error"
            await fetch(server)
    assert logs[0]["event"] == "session-failed"
    assert "ValueError" in logs[0]["where"]
    assert "canary" not in str(logs)


async def test_p57_a_session_that_cannot_begin_does_not_end_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = RelaySession.__init__

    def broken(self: RelaySession, **named: Any) -> None:
        monkeypatch.setattr(RelaySession, "__init__", original)
        raise ValueError("canary")

    monkeypatch.setattr(RelaySession, "__init__", broken)
    with capture_logs() as logs:
        async with serving(limits=Limits(connections=1)) as server:
            client = server.connect()
            assert await client.read() == b""
            client.close()
            await fetch(server)
    assert logs[0]["event"] == "session-not-begun"
    assert "canary" not in str(logs)


async def test_p60_a_refusing_upstream_is_told_to_the_client_and_recorded() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    other = route("pop3://127.0.0.1:0", f"pop3://127.0.0.1:{port}", "dead")
    async with serving(more=(other,)) as server:
        client = leg_to(server.listeners[1].address)
        assert await read_until_end(client) == (
            b"-ERR [SYS/TEMP] popproxy: cannot reach the server:"
            b" 127.0.0.1 port %d: connection refused\r\n" % port
        )
        client.close()
        assert server.hub.end.summary.reason == "connect-failed"
        assert "connection refused" in (server.hub.end.summary.detail or "")


LOOPS = ["127.0.0.1", "0.0.0.0", "localhost", "[::ffff:127.0.0.1]"]  # noqa: S104 - loops


@pytest.mark.parametrize("host", LOOPS)
async def test_p59_a_route_onto_itself_is_refused_at_the_start(host: str) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(["127.0.0.1"]))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(RouteError, match="lead to itself") as caught:
        await start(route(f"pop3://127.0.0.1:{port}", f"pop3://{host}:{port}"))
    assert str(port) in str(caught.value)


async def test_p59_routes_in_a_circle_are_refused_at_the_start() -> None:
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports.append(probe.getsockname()[1])
    one, two = (f"pop3://127.0.0.1:{port}" for port in ports)
    with pytest.raises(RouteError, match="route a"):
        await start(route(one, two, "a"), route(two, one, "b"))


async def test_p59_a_loop_that_only_shows_later_is_refused_at_connect() -> None:
    resolver = Resolver([])
    trio.socket.set_custom_hostname_resolver(resolver)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    loop = route(f"pop3://127.0.0.1:{port}", f"pop3://pop.example.org:{port}", "loop")
    async with serving(more=(loop,)) as server:
        resolver.addresses = ["127.0.0.1"]
        client = leg_to(server.listeners[1].address)
        assert b"popproxy itself" in await read_until_end(client)
        client.close()
        assert server.hub.end.summary.reason == "connect-failed"


async def test_p59_a_loop_that_no_address_shows_is_ended_by_the_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As when a firewall leads our connection back to us.
    monkeypatch.setattr(OwnAddresses, "leads_back", lambda *_: False)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    loop = route(f"pop3://127.0.0.1:{port}", f"pop3://127.0.0.1:{port}", "loop")
    with capture_logs():
        async with serving(more=(loop,), limits=Limits(connections_per_client=9)) as server:
            client = leg_to(server.listeners[1].address)
            assert b"too many connections from your address" in await read_until_end(client)
            client.close()
            await server.ended(10)


async def test_p63_stopping_lets_sessions_end_by_themselves() -> None:
    async with serving() as server:
        client, upstream = await server.session()
        server.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        await client.write(b"QUIT\r\n")
        assert await upstream.read() == b"QUIT\r\n"
        upstream.close()
        assert await client.read() == b""
        client.close()
        await server.done.wait()
        assert server.hub.end.summary.reason == "server-closed"


async def test_p63_sessions_that_do_not_end_are_ended_with_that_reason() -> None:
    async with serving(timeouts=Timeouts(drain=0)) as server:
        client, upstream = await server.session()
        server.stop.set()
        assert await client.read() == b""
        assert await upstream.read() == b""
        await server.done.wait()
        assert server.hub.end.summary.reason == "shutdown"
        client.close()
        upstream.close()


async def test_p63_draining_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    # On virtual time, so nothing may hang on what only sockets tell.
    async with serving(timeouts=Timeouts(drain=10)) as server:
        client = server.connect()
        upstream = await server.accept()
        server.stop.set()
        await server.done.wait()
        assert 10 <= trio.current_time() < 12
        assert server.hub.end.summary.reason == "shutdown"
        client.close()
        upstream.close()


async def test_p63_being_cancelled_records_the_end_too() -> None:
    async with serving() as server:
        client, upstream = await server.session()
    await server.done.wait()
    assert server.hub.end.summary.reason == "shutdown"
    client.close()
    upstream.close()


async def test_a_port_in_use_is_said_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=r"in use by another program.*port 0") as caught:
            await start(route(f"pop3://127.0.0.1:{port}"))
    assert str(port) in str(caught.value)


async def test_two_routes_on_one_port_are_said_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"pop3://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(CannotListen, match="routes a and b have the same port"):
        await start(route(url, name="a"), route(url, name="b"))
    with socket.create_server(("127.0.0.1", parse_url(url, listener=True).port)):
        pass  # nothing was left open


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.EACCES, "choose a higher one, e.g. pop3://127.0.0.1:1110"),
        (errno.EADDRNOTAVAIL, "no such address"),
        (errno.ENOBUFS, "No buffer space"),
    ],
)
async def test_other_reasons_not_to_listen_are_said_with_a_remedy(
    code: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("popproxy.relay.binding.socket.socket.bind", fail)
    with pytest.raises(CannotListen, match=hint):
        await start(route("pop3://127.0.0.1:110"))


async def test_a_name_without_an_address_cannot_be_listened_on() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver([]))
    with pytest.raises(CannotListen, match=r"no address was found for nowhere\.example"):
        await start(route("pop3://nowhere.example"))


@pytest.mark.parametrize("look", [lambda: Path("/proc/self/comm").read_text(encoding="ascii")])
async def test_p14_no_peer_data_in_task_names(look: Callable[[], str]) -> None:
    names: list[str] = []

    class Names(trio.abc.Instrument):
        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            names.append(task.name)

    async with serving() as server:
        trio.lowlevel.add_instrument(Names())
        await fetch(server)
        await server.ended(1)
    assert names
    for name in names:
        assert "127.0.0.1" not in name
        assert str(server.listeners[0].address[1]) not in name
    assert "127" not in look()
