"""What a parent makes of what a worker says."""

from __future__ import annotations

import socket

import msgspec
import structlog
import trio

from popproxy.cli.service_manager import Vitals
from popproxy.cli.worker import READY
from popproxy.cli.worker_process import Worker


async def test_a_worker_of_another_version_is_told_once_and_counts_as_alive(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, structlog.testing.capture_logs() as logged:
        ours.setblocking(False)
        worker = Worker(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.hear, ours)
            theirs.send(READY)
            await worker.ready.wait()
            await trio.sleep(5)
            assert worker.silent() >= 5
            for said in (b'{"sessions":"many"}', b"\xff", b'{"sessions":1}'):
                theirs.send(said)
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.1)
            assert worker.silent() < 1, "it lives"
            assert worker.vitals.sessions == 0
            theirs.send(msgspec.json.encode(Vitals(sessions=7, lost=0, well=True)))
            await trio.sleep(0.1)
            assert worker.vitals.sessions == 7
            theirs.close()  # `hear` ends by itself
    [told] = logged
    assert told["event"] == "worker-of-another-version"
    assert told["message"].startswith("worker 2 was started by another version of popproxy")
    assert told["message"].endswith("restart popproxy")
