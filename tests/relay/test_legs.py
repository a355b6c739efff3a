"""Legs: one set of tests for sockets and for memory, so that the fake does what sockets do."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from popproxy.relay.legs import READ, READ_MORE, TURN, Leg, LegLost, SocketLeg
from popproxy.relay.memory import memory_legs

Pair = tuple[Leg, Leg]


def socket_legs() -> tuple[SocketLeg, SocketLeg]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setblocking(False)
    far.setblocking(False)
    return SocketLeg(near), SocketLeg(far)


@pytest.fixture(params=["socket", "memory"])
async def legs(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    pair: Pair = socket_legs() if request.param == "socket" else memory_legs()
    yield pair
    for leg in pair:
        leg.close()


async def lost(leg: Leg) -> None:
    """Wait until a loss can be seen without reading."""
    with trio.fail_after(10):
        while not leg.lost():  # noqa: ASYNC110 - the kernel has no event for it
            await trio.sleep(0.001)


async def test_octets_arrive_unchanged_in_both_directions(legs: Pair) -> None:
    near, far = legs
    await near.write(b"\x00\xff\r")
    assert await far.read() == b"\x00\xff\r"
    await far.write(b"+OK\n")
    assert await near.read() == b"+OK\n"
    assert (near.octets_out, near.octets_in) == (3, 4)
    assert (far.octets_out, far.octets_in) == (4, 3)


async def test_p26_half_close_passes_and_the_other_direction_goes_on(legs: Pair) -> None:
    near, far = legs
    await near.write(b"QUIT\r\n")
    near.half_close()
    assert await far.read() == b"QUIT\r\n"
    assert await far.read() == b""
    await far.write(b"+OK\r\n")
    far.half_close()
    assert await near.read() == b"+OK\r\n"
    assert await near.read() == b""
    assert not near.lost()
    assert not far.lost()


async def test_p26_an_abort_is_seen_as_a_loss_behind_what_was_sent(legs: Pair) -> None:
    near, far = legs
    await near.write(b"tail")
    near.abort()
    await lost(far)
    assert await far.read() == b"tail"
    with pytest.raises(LegLost, match="reset"):
        await far.read()


async def test_p26_a_loss_is_seen_by_a_write(legs: Pair) -> None:
    near, far = legs
    near.abort()
    await lost(far)
    with pytest.raises(LegLost):
        await far.write(b"x")


async def test_asking_for_a_loss_leaves_it_to_be_reported(legs: Pair) -> None:
    near, far = legs
    assert not far.lost()
    near.abort()
    await lost(far)
    assert far.lost()
    with pytest.raises(LegLost):
        await far.read()


async def test_an_orderly_end_is_no_loss(legs: Pair) -> None:
    near, far = legs
    near.close()
    assert await far.read() == b""
    assert not far.lost()


async def test_closing_on_unread_octets_is_a_loss(legs: Pair) -> None:
    near, far = legs
    await far.write(b"never read")
    near.close()
    await lost(far)
    with pytest.raises(LegLost):
        await far.read()


async def test_closing_and_aborting_twice_do_nothing(legs: Pair) -> None:
    near, _ = legs
    near.close()
    near.close()
    near.abort()
    near.half_close()
    assert near.lost()
    assert near.unsent() >= 0


async def test_p53_a_write_waits_while_nobody_reads_and_says_so(legs: Pair) -> None:
    near, far = legs
    data = bytes(range(256)) * (1 << 16)
    arrived = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.write, data)
        with trio.fail_after(10):
            while not near.stalled:  # noqa: ASYNC110 - the attribute has no event
                await trio.sleep(0.001)
        assert near.octets_out < len(data)
        assert near.unsent() > 0
        while len(arrived) < len(data):
            arrived += await far.read()
    assert bytes(arrived) == data
    assert not near.stalled
    assert near.octets_out == len(data)


async def test_a_write_that_waits_is_told_of_a_loss(legs: Pair) -> None:
    near, far = legs

    async def write() -> None:
        with pytest.raises(LegLost):
            await near.write(bytes(1 << 24))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        while not near.stalled:  # noqa: ASYNC110 - the attribute has no event
            await trio.sleep(0.001)
        far.abort()
    assert not near.stalled


async def test_a_read_that_waits_is_cancelled(legs: Pair) -> None:
    near, far = legs
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.read)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    await far.write(b"still here")
    assert await near.read() == b"still here"


async def test_unsent_is_zero_when_all_has_arrived(legs: Pair) -> None:
    near, far = legs
    await near.write(b"x")
    await far.read()
    with trio.fail_after(10):
        while near.unsent():  # noqa: ASYNC110 - the kernel has no event for it
            await trio.sleep(0.001)


async def test_p24_nagle_is_off() -> None:
    near, far = socket_legs()
    for leg in (near, far):
        assert leg._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        leg.close()


class Endless:
    """A socket that always has more, and never makes anybody wait."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def setsockopt(self, *_: int) -> None: ...

    def fileno(self) -> int:
        return 0

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        return bytes(size)


async def test_a_busy_leg_lets_others_run_and_sees_a_cancellation() -> None:
    endless = Endless()
    leg = SocketLeg(endless)  # type: ignore[arg-type] # a stand-in with what is used
    leg.emptied = False
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(TURN * 10):
                await leg.read()
            assert others >= 5
            scope.cancel()
            for _ in range(TURN + 1):
                await leg.read()
            pytest.fail("the cancellation was never seen")  # pragma: no cover
    assert scope.cancelled_caught
    assert endless.asked[0] == READ
    assert set(endless.asked[1:]) == {READ_MORE}


async def test_reads_grow_for_a_flood_and_shrink_for_a_dialogue() -> None:
    near, far = socket_legs()
    asked: list[int] = []
    data = bytes(4 * READ_MORE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.write, data)
        total = 0
        while total < len(data):
            asked.append(far._ask)
            total += len(await far.read())
    assert max(asked) in (READ, READ_MORE)
    assert max(asked) <= READ_MORE
    await near.write(b"NOOP\r\n")
    await far.read()
    assert far._ask == READ
    near.close()
    far.close()
