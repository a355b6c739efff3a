"""What systemd, or whoever started popproxy, is told: to a socket of the test."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from popproxy.cli.service_manager import STATUS, ServiceManager, Vitals
from tests.cli.test_workers import workers_of
from tests.support.notified import listening
from tests.support.reloading import greeted, greeting, line, name_behind, route, running
from tests.support.waiting import PATIENCE, until

RECORD = '[record]\njsonl = ["all.jsonl"]\n'
TWO = "[process]\nworkers = 2\n"
WELL = Vitals(sessions=0, lost=0, well=True)


@pytest.fixture
def one() -> Iterator[int]:
    with greeting(b"one") as port:
        yield port


@pytest.mark.parametrize("abstract", [False, True])
@pytest.mark.parametrize("process", ["", TWO], ids=["alone", "workers"])
def test_a_manager_is_told_of_the_whole_life(
    process: str, abstract: bool, one: int, tmp_path: Path
) -> None:
    text = RECORD + process + route(one)
    with (
        listening(tmp_path, abstract=abstract) as manager,
        running(tmp_path / "x", text, env=manager.env) as proxy,
    ):
        assert manager.next("READY=1") == "READY=1"
        assert name_behind(proxy.port) == b"one"
        for change, refused in (("", False), ("nonsense", True), ("", False)):
            before = time.monotonic_ns() // 1000
            said = proxy.reload(text + change)
            assert ("was not put in force" in said) == refused
            told = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.next("RELOADING"))
            assert told
            assert before <= int(told[1]) <= time.monotonic_ns() // 1000
            assert manager.next("READY=1") == "READY=1"
            if refused:
                assert manager.next("STATUS=").endswith("; the last reload was refused")
        assert not manager.next("STATUS=").endswith("refused")
        client, _ = greeted(proxy.port)
        client.sendall(b"USER wren\r\n")
        assert line(client) == b"+OK"
        assert manager.next("STATUS=1") == "STATUS=1 session under way, 0 records lost"
        proxy.process.terminate()
        assert re.fullmatch(r"STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000", manager.next("STOPPING"))
        client.close()
        assert proxy.process.wait(PATIENCE) == 0
        manager.forget()
        assert not any("WATCHDOG" in said for said in manager.heard), "nobody asked for it"
        assert not any("wren" in said for said in manager.heard)
        assert manager.heard.count("READY=1") == 4


def test_the_manager_hears_nothing_from_a_start_that_fails(one: int, tmp_path: Path) -> None:
    with listening(tmp_path, abstract=True) as manager, greeting(b"taken") as port:
        wrong = RECORD + route(one, f"pop3://127.0.0.1:{port}")
        with (
            pytest.raises(AssertionError, match="the port is in use"),
            running(tmp_path / "x", wrong, env=manager.env),
        ):
            pass
        manager.forget()
        assert manager.heard == []


def test_workers_do_not_speak_with_the_manager(one: int, tmp_path: Path) -> None:
    with (
        listening(tmp_path, watchdog=60) as manager,
        running(tmp_path / "x", RECORD + TWO + route(one), env=manager.env) as proxy,
    ):
        for number in workers_of(proxy):
            environment = Path(f"/proc/{number}/environ").read_bytes()
            assert b"POPPROXY_WORKER=" in environment
            assert b"NOTIFY_SOCKET" not in environment
            assert b"WATCHDOG" not in environment


def test_signs_of_life_come_while_one_worker_lives_and_one_that_is_stuck_is_replaced(
    one: int, tmp_path: Path
) -> None:
    with (
        listening(tmp_path, watchdog=1.0) as manager,
        running(tmp_path / "x", RECORD + TWO + route(one), env=manager.env) as proxy,
    ):
        manager.next("WATCHDOG=1")
        stuck, other = workers_of(proxy)
        os.kill(stuck, signal.SIGSTOP)
        until(lambda: "worker 1 has stood still" in proxy.said, "a word about it")
        until(lambda: stuck not in (now := workers_of(proxy)) and len(now) == 2, "another")
        manager.forget()
        manager.next("WATCHDOG=1")
        assert other in workers_of(proxy)
        both = workers_of(proxy)
        for number in both:
            os.kill(number, signal.SIGSTOP)
        assert any(manager.silent("WATCHDOG", 1.5) for _ in range(3)), "silence, soon"
        assert workers_of(proxy) == both, "what is left to do is the manager's"
        for number in both:
            os.kill(number, signal.SIGCONT)
        manager.next("WATCHDOG=1")
        assert name_behind(proxy.port) == b"one"


HELD_UP = """
import os, pathlib, threading
write = os.write
def held_up(descriptor, data):
    if pathlib.Path("hold").exists() and "jsonl" in os.readlink(f"/proc/self/fd/{descriptor}"):
        threading.Event().wait()
    return write(descriptor, data)
os.write = held_up
from popproxy.cli.main import entry_point
entry_point()
"""


def test_no_sign_of_life_while_a_write_does_not_come_back(one: int, tmp_path: Path) -> None:
    with (
        listening(tmp_path, watchdog=1.0) as manager,
        running(
            tmp_path / "x",
            RECORD + route(one),
            command=[sys.executable, "-c", HELD_UP],
            env=manager.env,
        ) as proxy,
    ):
        assert name_behind(proxy.port) == b"one"
        manager.next("WATCHDOG=1")
        (proxy.home / "hold").touch()
        assert name_behind(proxy.port) == b"one", "traffic goes on"
        manager.next("STATUS=0 sessions under way, 0 records lost; writing stands still")
        manager.forget()
        assert manager.silent("WATCHDOG", 1.5)
        assert name_behind(proxy.port) == b"one", "traffic goes on"


def test_a_manager_that_is_gone_holds_nothing_up(one: int, tmp_path: Path) -> None:
    env = {"NOTIFY_SOCKET": str(tmp_path / "nowhere"), "WATCHDOG_USEC": "200000"}
    with running(tmp_path / "x", RECORD + route(one), env=env) as proxy:
        assert name_behind(proxy.port) == b"one"
        until(lambda: "NOTIFY_SOCKET" in proxy.said, "a word about it")
        proxy.reload()
        assert proxy.said.count("NOTIFY_SOCKET") == 1


async def test_what_may_not_get_lost_waits_for_a_manager_that_does_not_keep_up(
    tmp_path: Path, autojump_clock: MockClock, request: pytest.FixtureRequest
) -> None:
    del autojump_clock
    with listening(tmp_path, watchdog=4.0) as manager:
        told = ServiceManager.of(manager.env)
        request.addfinalizer(told.close)
        while told._send("STATUS=full"):
            pass
        told.ready()
        told.stopping(1.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.keep_told, lambda _: WELL)
            await trio.testing.wait_all_tasks_blocked()
            manager.forget()
            assert {*manager.heard} == {"STATUS=full"}
            manager.heard.clear()
            await trio.sleep(told.pause + 0.1)
            nursery.cancel_scope.cancel()
        manager.forget()
        assert manager.heard[:3] == [
            "READY=1",
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000",
            "WATCHDOG=1",
        ]


async def test_signs_of_life_come_at_half_of_the_time_and_only_if_all_is_well(
    tmp_path: Path, autojump_clock: MockClock, request: pytest.FixtureRequest
) -> None:
    del autojump_clock
    well = True
    with listening(tmp_path, watchdog=4.0) as manager:
        told = ServiceManager.of(manager.env)
        request.addfinalizer(told.close)
        assert told.patience == 2.0

        def look(patience: float) -> Vitals:
            assert patience == told.patience
            return Vitals(sessions=0, lost=0, well=well)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.keep_told, look)
            await trio.sleep(19)
            manager.forget()
            assert manager.heard == [], "it is not told what it did not ask about"
            told.ready()
            await trio.sleep(12)
            manager.forget()
            assert manager.heard.count("WATCHDOG=1") == 6
            assert len(manager.heard) == 8, "the status line is said when it changes"
            well = False
            await trio.sleep(20)
            nursery.cancel_scope.cancel()
        manager.forget()
        assert manager.heard.count("WATCHDOG=1") == 6
        assert manager.heard[-1].endswith("0 records lost; writing stands still")


@pytest.mark.parametrize(
    ("env", "listens", "watchdog"),
    [
        ({}, False, 0.0),
        ({"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "1"}, False, 0.0),
        ({"NOTIFY_SOCKET": "/x"}, True, 0.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}, True, 30.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, True, 0.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}, True, 0.0),
        (
            {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())},
            True,
            60.0,
        ),
    ],
)
def test_a_manager_is_known_by_the_environment(
    env: dict[str, str], listens: bool, watchdog: float
) -> None:
    manager = ServiceManager.of(env)
    assert (manager.listens, manager.watchdog) == (listens, watchdog)
    assert manager.pause == min(STATUS, watchdog / 2 or STATUS)
    manager.close()
