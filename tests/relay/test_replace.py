"""Other terms for a relay that runs: all of them, or none."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
import trio
import trio.testing

from popproxy.privacy import Policy
from popproxy.relay import (
    CannotListen,
    Limits,
    Listener,
    Relay,
    RelayError,
    Route,
    RouteError,
    Terms,
    Timeouts,
    parse_url,
)
from tests.relay.test_upstream import Resolver
from tests.support.loopback import leg_to, read_until_end
from tests.support.relaying import KeepingHub

NOWHERE = parse_url("pop3://127.0.0.1:9", listener=False)


def route(listen: str = "pop3://127.0.0.1:0", name: str = "r") -> Route:
    return Route(name=name, listen=parse_url(listen, listener=True), upstream=NOWHERE)


def terms(*routes: Route, hub: KeepingHub | None = None, limits: Limits | None = None) -> Terms:
    return Terms(
        routes=routes,
        hub=hub or KeepingHub(),
        policy=Policy(body="full"),
        limits=limits or Limits(),
        timeouts=Timeouts(),
    )


@asynccontextmanager
async def relaying(first: Terms) -> AsyncIterator[tuple[Relay, list[Listener], trio.Event]]:
    relay, stop = Relay(first), trio.Event()

    async def run(task_status: trio.TaskStatus[list[Listener]]) -> None:
        await relay.run(stop=stop, task_status=task_status)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(run)
            yield relay, listeners, stop
            nursery.cancel_scope.cancel()


async def greeting(listener: Listener) -> bytes:
    client = leg_to(listener.address)
    try:
        return await read_until_end(client)
    finally:
        client.close()


async def test_limits_are_those_of_the_last_terms() -> None:
    one = route()
    async with relaying(terms(one)) as (relay, [listener], _):
        assert b"refused" in await greeting(listener), "the upstream is not there"
        assert await relay.replace(terms(one, limits=Limits(connections=0))) == []
        assert b"too many connections" in await greeting(listener)


async def test_a_listener_that_cannot_be_had_leaves_everything_as_it_was() -> None:
    hub, other = KeepingHub(), KeepingHub()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with relaying(terms(route(), hub=hub)) as (relay, [listener], _):
            with pytest.raises(CannotListen, match="in use"):
                await relay.replace(
                    terms(route(name="new"), route(f"pop3://127.0.0.1:{port}"), hub=other)
                )
            await greeting(listener)
            assert hub.start.route.name == "r"
            assert not other.records


async def test_two_routes_on_any_port_keep_theirs_in_order() -> None:
    first, second = KeepingHub(), KeepingHub()
    routes = route(name="a"), route(name="b")
    async with relaying(terms(*routes, hub=first)) as (relay, listeners, _):
        await relay.replace(terms(route(name="c"), route(name="d"), hub=second))
        for listener in listeners:
            await greeting(listener)
        assert [one.route.name for one in second.records if hasattr(one, "route")] == ["c", "d"]
        assert not first.records


async def test_p67_a_listener_that_stays_is_not_opened_to_strangers() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(["0.0.0.0"]))  # noqa: S104 - nobody else is let in
    closed = route("pop3://mail.example:0")
    opened = dataclasses.replace(closed, allow=(ip_network("192.0.2.0/24"),))
    async with relaying(terms(opened)) as (relay, [listener], _):
        with pytest.raises(RouteError, match="other machines can reach"):
            await relay.replace(terms(closed))
        client = leg_to(("127.0.0.1", listener.address[1]))
        assert b"not served here" in await read_until_end(client), "the networks are as before"
        client.close()


async def test_p59_a_new_route_that_leads_back_is_refused() -> None:
    async with relaying(terms(route())) as (relay, [listener], _):
        upstream = parse_url(f"pop3://127.0.0.1:{listener.address[1]}", listener=False)
        with pytest.raises(RouteError, match="would lead to itself"):
            await relay.replace(terms(dataclasses.replace(route(), upstream=upstream)))


async def test_p63_a_relay_that_ends_takes_no_other_terms() -> None:
    async with relaying(terms(route())) as (relay, [listener], stop):
        stop.set()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RelayError, match="about to end"):
            await relay.replace(terms(route()))
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(listener.address)


async def test_a_hub_is_in_use_while_a_load_balancer_introduces_its_client(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hub = KeepingHub()
    balanced = dataclasses.replace(route(), proxy_from=(ip_network("127.0.0.0/8"),))
    async with relaying(terms(balanced, hub=hub)) as (relay, [listener], _):
        client = leg_to(listener.address)
        await trio.testing.wait_all_tasks_blocked()
        await relay.replace(terms(balanced))
        with trio.move_on_after(0) as scope:
            await relay.unused(hub)
        assert scope.cancelled_caught
        await client.write(b"PROXY UNKNOWN\r\n")
        assert b"refused" in await read_until_end(client)
        await relay.unused(hub)
        assert hub.end.summary.reason == "connect-failed"
        client.close()
