"""Whether the other end has read what it was sent."""

from __future__ import annotations

import socket
import sys

import pytest
import trio
import trio.testing

from popproxy.tools import replay_pacing
from popproxy.tools.replay_pacing import Pacer

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def connected(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection of this machine."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as listening:
        ours = socket.create_connection(listening.getsockname()[:2])
        theirs, _ = listening.accept()
    return ours, theirs


def pacer(ours: socket.socket) -> Pacer:
    return Pacer((ours.getsockname()[:2], ours.getpeername()[:2]), ours.family)


@linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_it_waits_until_the_peer_has_read(family: socket.AddressFamily) -> None:
    ours, theirs = connected(family)
    with ours, theirs, trio.fail_after(30):
        pacing = pacer(ours)
        ours.send(b"one segment")
        read = trio.Event()

        async def wait() -> None:
            await pacing.read()
            assert read.is_set(), "it did not wait"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()  # it looks less often by now
            read.set()
            assert theirs.recv(100) == b"one segment"
        await pacing.read()


@linux
async def test_a_peer_that_never_reads_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay_pacing, "PATIENCE", 0.01)
    ours, theirs = connected(socket.AF_INET)
    with ours, theirs, trio.fail_after(30):
        ours.send(b"nobody reads this")
        await pacer(ours).read()


async def test_where_it_does_not_show_a_pause_has_to_do(
    autojump_clock: trio.testing.MockClock,
) -> None:
    elsewhere = Pacer((("127.0.0.1", 1), ("192.0.2.1", 2)))
    begun = trio.current_time()
    await elsewhere.read()
    await elsewhere.read()
    assert trio.current_time() - begun == pytest.approx(2 * replay_pacing.PAUSE)
    with_zone = Pacer((("fe80::1%lo", 1), ("fe80::2%lo", 2)), socket.AF_INET6)
    await with_zone.read()
    assert trio.current_time() - begun == pytest.approx(3 * replay_pacing.PAUSE)


async def test_a_kernel_that_may_not_be_asked_is_asked_once(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = connected(socket.AF_INET)
    asked = 0

    def refuse(*_arguments: object) -> None:
        nonlocal asked
        asked += 1
        raise PermissionError

    with ours, theirs:
        pacing = pacer(ours)
        with monkeypatch.context() as broken:
            broken.setattr("popproxy.tools.replay_pacing.socket.socket", refuse)
            await pacing.read()
            await pacing.read()
    assert asked == (1 if sys.platform == "linux" else 0)


async def test_nothing_is_to_be_done_under_tls_and_in_memory(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun = trio.current_time()
    await Pacer(None).read()
    assert trio.current_time() == begun
