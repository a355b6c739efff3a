"""The relay in a process of its own, for what a test cannot do to itself: limits, memory.

Run as `python -m tests.support.relay_process UPSTREAM_PORT DESCRIPTORS`. It prints its port, then
answers each line on standard input with the kilobytes that it has in memory, and ends with its
input. Records are encoded and thrown away, so that memory is the relay's alone.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import trio

from popproxy.formats.jsonl import encode
from popproxy.privacy import Policy
from popproxy.records import Record
from popproxy.relay import Limits, Route, parse_url, serve


class EncodingHub:
    """Encodes records, as a sink would, and keeps none."""

    def put(self, records: Iterable[Record]) -> None:
        for record in records:
            encode(record)

    async def flushed(self, session_id: str | None = None) -> bool:
        return True


def resident() -> int:
    """Give this process's resident memory in kilobytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() // 1024


async def answer(stop: trio.Event) -> None:
    """Answer lines until the input ends."""
    async with trio.lowlevel.FdStream(os.dup(0)) as lines:
        while await lines.receive_some():
            print(resident(), flush=True)  # noqa: T201 - the answer
    stop.set()


async def main(upstream: int, descriptors: int) -> None:
    """Serve one route until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, most))
    stop = trio.Event()
    route = Route(
        name="first",
        listen=parse_url("pop3://127.0.0.1:0", listener=True),
        upstream=parse_url(f"pop3://127.0.0.1:{upstream}", listener=False),
    )
    run = partial(
        serve,
        [route],
        hub=EncodingHub(),
        policy=Policy(body="full"),
        stop=stop,
        limits=Limits(connections=10_000, connections_per_client=10_000),
    )
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(run)
        print(listeners[0].url.port, flush=True)  # noqa: T201 - for the test
        await answer(stop)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
