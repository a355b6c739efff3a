"""What a session costs that is logged in and silent, of the memory that popproxy itself takes."""

from __future__ import annotations

import gc
import tracemalloc
from functools import partial
from pathlib import Path

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from popproxy.privacy import Policy
from popproxy.relay import Limits, Route, parse_url, serve
from popproxy.relay.housekeeping import TICK
from popproxy.sinks import FileSink
from popproxy.sinks.hub import Hub

SESSIONS = 100
MOST = 4_500
"""Octets of a session, as Python counts them; there were 3,200 to 3,700 when this was written."""
_OURS = [
    tracemalloc.Filter(True, pattern)
    for pattern in (f"*{Path('popproxy')}/*/*.py", "*/selectors.py", "<string>")
]

TALK = (
    (b"", b"+OK ready\r\n"),
    (b"USER bo@example.org\r\n", b"+OK\r\n"),
    (b"PASS Correct-Horse-1\r\n", b"+OK logged in\r\n"),
    (b"STAT\r\n", b"+OK 245 300000000\r\n"),
)


async def log_in(port: int, upstream: trio.SocketListener) -> list[trio.SocketStream]:
    """Begin a session and leave it there; give both of its ends."""
    client = await trio.open_tcp_stream("127.0.0.1", port)
    server = await upstream.accept()
    for asked, answered in TALK:
        if asked:
            await client.send_all(asked)
            assert await server.receive_some() == asked
        await server.send_all(answered)
        assert await client.receive_some() == answered
    return [client, server]


def taken() -> int:
    gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces(_OURS)
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


async def test_a_silent_session_takes_little_memory(tmp_path: Path, mock_clock: MockClock) -> None:
    (upstream,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    route = Route(
        name="first",
        listen=parse_url("pop3://127.0.0.1:0", listener=True),
        upstream=parse_url(f"pop3://127.0.0.1:{upstream.socket.getsockname()[1]}", listener=False),
    )
    sinks = [
        FileSink("jsonl", str(tmp_path / "all.jsonl")),
        FileSink("putty", str(tmp_path / "&S")),
    ]
    limits = Limits(connections_per_client=2 * SESSIONS)
    hub, stop = Hub(sinks, required=True), trio.Event()
    ends: list[trio.SocketStream] = []
    tracemalloc.start()
    try:
        async with trio.open_nursery() as nursery:
            serving = partial(
                serve, [route], hub=hub, policy=Policy(body="full"), stop=stop, limits=limits
            )
            (listener,) = await nursery.start(serving)
            used = []
            for sessions in (SESSIONS, SESSIONS):  # the first ones pay for what all share
                for _ in range(sessions):
                    ends += await log_in(listener.address[1], upstream)
                assert await hub.flushed()
                least: list[int] = []
                for _ in range(6):  # a session rests once it has not moved since the last look
                    mock_clock.jump(TICK)
                    await wait_all_tasks_blocked()
                    least.append(taken())
                used.append(min(least))
            for end in ends:
                await end.aclose()
            stop.set()
    finally:
        tracemalloc.stop()
        await hub.aclose()
        await upstream.aclose()
    assert (used[1] - used[0]) / SESSIONS < MOST
