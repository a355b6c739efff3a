"""Reaching an upstream: addresses, time-outs, words for what went wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from popproxy.relay import Timeouts
from popproxy.relay.loops import OwnAddresses
from popproxy.relay.upstream import Unreachable, Upstream
from popproxy.relay.url import Url, parse_url


class Resolver(trio.abc.HostnameResolver):
    """Answers from a list, after a while."""

    def __init__(self, addresses: list[str], delay: float = 0) -> None:
        self.addresses = addresses
        self.delay = delay
        self.asked: list[Any] = []

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        self.asked.append(host)
        await trio.sleep(self.delay)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in self.addresses
        ]

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


def resolve_by(resolver: Resolver) -> None:
    trio.socket.set_custom_hostname_resolver(resolver)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of 127.0.0.1 that answers no connection: its backlog is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
            fillers.append(filler)
        yield server.getsockname()[1]
        for filler in fillers:
            filler.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def to(url: str, **timeouts: float) -> Upstream:
    return Upstream(parse_url(url, listener=False), Timeouts(**timeouts), OwnAddresses())


async def test_a_numeric_address_is_reached_without_looking_it_up(listening: socket.socket) -> None:
    resolver = Resolver([])
    resolve_by(resolver)
    port = listening.getsockname()[1]
    reached = await to(f"pop3://127.0.0.1:{port}").connect()
    peer, _ = listening.accept()
    assert reached.server == ("127.0.0.1", port)
    assert resolver.asked == []
    peer.sendall(b"+OK\r\n")
    assert await reached.leg.read() == b"+OK\r\n"
    reached.leg.close()
    peer.close()


async def test_ipv6_is_reached() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        reached = await to(f"pop3://[::1]:{port}").connect()
        assert reached.server == ("::1", port)
        reached.leg.close()


async def test_p60_refused_is_said_in_words() -> None:
    port = free_port()
    with pytest.raises(Unreachable) as caught:
        await to(f"pop3://127.0.0.1:{port}").connect()
    assert caught.value.cause == f"127.0.0.1 port {port}: connection refused"


async def test_p58_p60_a_black_hole_is_given_up_in_time(
    black_hole: int, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(Unreachable) as caught:
        await to(f"pop3://127.0.0.1:{black_hole}").connect()
    assert trio.current_time() == pytest.approx(10)
    assert caught.value.cause == f"127.0.0.1 port {black_hole}: no answer within 10 seconds"


async def test_p60_an_unknown_name_is_said_in_words() -> None:
    resolve_by(Resolver([]))
    with pytest.raises(Unreachable) as caught:
        await to("pop3://pop.example.org").connect()
    assert caught.value.cause == "looking up pop.example.org: name or service not known"


async def test_p58_p60_a_name_server_that_does_not_answer_is_given_up_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    resolve_by(Resolver(["127.0.0.1"], delay=1000))
    with pytest.raises(Unreachable) as caught:
        await to("pop3://pop.example.org").connect()
    assert trio.current_time() == pytest.approx(5)
    assert caught.value.cause == "looking up pop.example.org took longer than 5 seconds"


async def test_p60_no_descriptors_left_is_said_in_words(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("popproxy.relay.upstream.socket.socket", exhausted)
    with pytest.raises(Unreachable, match="too many open files"):
        await to(f"pop3://127.0.0.1:{listening.getsockname()[1]}").connect()


async def test_a_name_is_looked_up_for_each_session(listening: socket.socket) -> None:
    resolver = Resolver(["127.0.0.1"])
    resolve_by(resolver)
    target = to(f"pop3://pop.example.org:{listening.getsockname()[1]}")
    for _ in range(2):
        reached = await target.connect()
        reached.leg.close()
    assert len(resolver.asked) == 2


async def test_the_next_address_is_tried_when_one_refuses(listening: socket.socket) -> None:
    resolve_by(Resolver(["127.0.0.2", "127.0.0.3", "127.0.0.1"]))
    reached = await to(f"pop3://pop.example.org:{listening.getsockname()[1]}").connect()
    assert reached.server[0] == "127.0.0.1"
    reached.leg.close()


async def test_the_next_address_is_tried_while_one_does_not_answer(
    black_hole: int, autojump_clock: trio.testing.MockClock
) -> None:
    with socket.create_server(("127.0.0.2", black_hole)):
        resolve_by(Resolver(["127.0.0.1", "127.0.0.2"]))
        reached = await to(f"pop3://pop.example.org:{black_hole}").connect()
        assert reached.server[0] == "127.0.0.2"
        assert trio.current_time() < 1
        reached.leg.close()


async def test_p60_when_all_addresses_fail_the_first_cause_is_told() -> None:
    resolve_by(Resolver(["127.0.0.1", "::1"]))
    port = free_port()
    with pytest.raises(Unreachable) as caught:
        await to(f"pop3://pop.example.org:{port}").connect()
    assert caught.value.cause == f"pop.example.org port {port}: connection refused"


async def test_families_take_turns() -> None:
    resolve_by(Resolver(["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"]))
    found = await to("pop3://pop.example.org").resolve()
    assert [address[0] for _, address in found] == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]


async def test_a_cancelled_attempt_leaves_no_socket_open(black_hole: int) -> None:
    # pytest makes an error of the warning about a socket that nobody closed.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(to(f"pop3://127.0.0.1:{black_hole}").connect)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_p59_an_upstream_that_is_a_listener_of_ours_is_refused_at_connect() -> None:
    own = OwnAddresses()
    own.listens([("127.0.0.1", 1110)])
    resolve_by(Resolver(["127.0.0.1"]))
    with pytest.raises(Unreachable, match="popproxy itself"):
        await Upstream(Url("pop3", "pop.example.org", 1110), Timeouts(), own).connect()
