"""What is sent on before it is read is read in order, before anything else happens."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from popproxy.pop3 import Session, Side
from popproxy.privacy import Policy, Recorder
from popproxy.relay.later import LATER, Unread
from popproxy.relay.legs import SocketLeg
from popproxy.relay.observer import Observer
from popproxy.relay.poller import READING, Poller
from popproxy.relay.rules import Rules
from popproxy.relay.translation import Translation
from tests.support.relaying import KeepingHub

C, S = Side.CLIENT, Side.SERVER
TALK = [
    (S, b"+OK ready\r\n"),
    (C, b"USER bo\r\nPASS hunter22\r\n"),
    (S, b"+OK\r\n+OK hunter22 is in\r\n"),
    (C, b"CAPA\r\nSTLS\r\nRETR 1\r\n"),
    (S, b"+OK\r\nTOP\r\n.\r\n-ERR no\r\n"),
    (S, b"+OK 20 octets\r\nSubject: a\r\n\r\nhunter22\r\n.\r\n"),
    (C, b"QUIT\r\n"),
    (S, b"+OK\r\n"),
]


def an_observer(hub: KeepingHub) -> Observer:
    start = datetime(2026, 11, 22, tzinfo=UTC)
    return Observer(
        session_id="s1",
        parser=Session(),
        recorder=Recorder("s1", Policy(), start, 0),
        hub=hub,
        started_at=start,
        started_ns=0,
        require_log=False,
    )


def cut(seed: int) -> Iterator[tuple[Side, bytes]]:
    """Cut the conversation anywhere; its order stays."""
    dice = random.Random(seed)  # noqa: S311 - where to cut, nothing secret
    for side, data in TALK:
        while data:
            size = dice.randint(1, len(data))
            yield side, data[:size]
            data = data[size:]


@given(seed=st.integers(0, 2**32), put_off=st.lists(st.booleans(), min_size=1))
def test_what_is_read_later_gives_the_same_records(seed: int, put_off: list[bool]) -> None:
    at_once, later = KeepingHub(), KeepingHub()
    first, second = an_observer(at_once), an_observer(later)
    for number, (side, data) in enumerate(cut(seed)):
        first.observe(side, data, number)
        if put_off[number % len(put_off)]:
            second.unread.add(Unread(side, data, number, None))
        else:
            second.observe(side, data, number)
    first.finish("client-closed", None, 1000)
    second.finish("client-closed", None, 1000)
    assert later.records == at_once.records
    assert len(later.records) > 10


@given(seed=st.integers(0, 2**32))
def test_a_translation_counts_the_same_whether_it_comes_first_or_later(seed: int) -> None:
    first, second = Translation(Rules(stls="upgrade")), Translation(Rules(stls="upgrade"))
    one, other = an_observer(KeepingHub()), an_observer(KeepingHub())
    for number, (side, data) in enumerate(cut(seed)):
        events = one.observe(side, data, number)
        step = first.client(data, events) if side is C else first.server(data, events, one.due)
        if second.passes(side) and (side is C or not other.awaits_stls):
            assert step.forward == data  # so it may be sent on unread
            assert step.stop is None
            other.unread.add(Unread(side, data, number, second.passed))
            other.catch_up()
        else:
            events = other.observe(side, data, number)
            again = second.client(data, events) if side is C else None
            again = again or second.server(data, events, other.due)
            assert again == step
        assert second._server_ahead == first._server_ahead
        assert second._server_held == first._server_held


def test_few_octets_wait_for_being_read() -> None:
    hub = KeepingHub()
    observer = an_observer(hub)
    unread = observer.unread
    unread.add(Unread(S, b"+OK ready\r\n", 1, None))
    unread.add(Unread(C, b"NOOP\r\n", 2, None))
    assert not hub.records
    assert not unread.overdue
    unread.add(Unread(C, b"x" * LATER, 3, None))
    assert unread.overdue
    observer.catch_up()
    assert not unread.overdue
    assert not unread.waiting
    assert [record.event.action for record in hub.records[:2]] == ["pop3.greeting", "pop3.command"]


def test_a_note_that_raises_loses_nothing_of_what_waits_behind_it() -> None:
    def fails(side: Side, data: bytes, events: object) -> None:
        raise RuntimeError

    hub = KeepingHub()
    observer = an_observer(hub)
    observer.unread.add(Unread(S, b"+OK ready\r\n", 1, fails))
    observer.unread.add(Unread(C, b"NOOP\r\n", 2, None))
    with pytest.raises(RuntimeError):
        observer.catch_up()
    observer.finish("internal-error", None, 3)
    assert hub.actions[:2] == ["pop3.greeting", "pop3.command"]
    assert hub.actions[-1] == "session.end"


@pytest.mark.parametrize("question", ["due", "failed", "awaits_stls", "injected", "awaits_login"])
def test_whoever_asks_the_observer_finds_everything_read(question: str) -> None:
    hub = KeepingHub()
    observer = an_observer(hub)
    observer.unread.add(Unread(S, b"+OK ready\r\n", 1, None))
    getattr(observer, question)
    assert len(hub.records) == 1


async def test_who_is_called_afterwards_is_called_behind_all_that_are_ready() -> None:
    poller, calls = Poller(), list[str]()
    pairs = [socket.socketpair() for _ in range(3)]
    for number, (near, far) in enumerate(pairs):
        far.send(b"x")

        def wake(number: int = number, near: socket.socket = near) -> None:
            near.recv(1)
            calls.append(f"ready {number}")
            poller.afterwards(lambda: calls.append(f"afterwards {number}"))

        poller.watch(near.fileno(), wake, READING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        with trio.fail_after(10):
            while len(calls) < 6:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert {*calls[:3]} == {f"ready {number}" for number in range(3)}
    assert {*calls[3:]} == {f"afterwards {number}" for number in range(3)}
    poller.afterwards(lambda: calls.append("at once"))
    assert calls[-1] == "at once"
    for near, far in pairs:
        near.close()
        far.close()


async def test_a_leg_that_nobody_watches_calls_at_once() -> None:
    near, far = socket.socketpair()
    calls: list[str] = []
    near.setblocking(False)
    leg = SocketLeg(near)
    leg.afterwards(lambda: calls.append("called"))
    assert calls == ["called"]
    leg.close()
    far.close()


def _cost(octets: int, side: Side) -> float:
    """Give the processor time of a line that comes octet by octet."""
    observer = an_observer(KeepingHub())
    observer.observe(Side.SERVER, b"+OK\r\n", 0)
    line = b"NOOP " + b"x" * (octets - 7) + b"\r\n"
    began = time.process_time()
    for place in range(octets):
        observer.observe(side, line[place : place + 1], place)
    return time.process_time() - began


@pytest.mark.soak  # it takes times
@pytest.mark.parametrize("side", Side)
def test_p51_a_line_that_comes_octet_by_octet_costs_linear_time(side: Side) -> None:
    """What is four times as long costs four times as much, and not sixteen times."""
    short, long = _cost(1 << 16, side), _cost(1 << 18, side)
    assert long < 9 * short
