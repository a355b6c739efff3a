"""The least that a relay in Python does: trio's streams, 64 KiB at a time, nothing looked at.

`python -m tests.benchmarks.bare_relay LISTEN UPSTREAM`, two ports of loopback.
"""

from __future__ import annotations

import sys

import trio

_BUFFER = 1 << 16


async def _pass_on(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    while data := await source.receive_some(_BUFFER):
        await sink.send_all(data)
    await sink.send_eof()


async def _relay(client: trio.SocketStream, upstream_port: int) -> None:
    server = await trio.open_tcp_stream("127.0.0.1", upstream_port)
    try:
        async with server, trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on, client, server)
            nursery.start_soon(_pass_on, server, client)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # one of the two is gone; the other one is closed, and that is all


async def _main(listen: int, upstream: int) -> None:
    await trio.serve_tcp(lambda client: _relay(client, upstream), listen, host="127.0.0.1")


if __name__ == "__main__":
    trio.run(_main, int(sys.argv[1]), int(sys.argv[2]))
