"""Time that grows with what is said, and not faster (P51), by the time that processes compute."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endurance.rig import processor_time
from tests.support.ports import free_ports
from tests.support.proxy import Proxy
from tests.support.sockets import Upstream, receive
from tests.support.waiting import until

MIB = 1 << 20
ABOVE = 1.0
"""Seconds of processor time that popproxy may take beyond a relay that looks at nothing."""


@contextlib.contextmanager
def bare_relay(upstream: int) -> Iterator[tuple[int, int]]:
    """Run the relay that looks at nothing; give its port and process."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.bare_relay", str(port), str(upstream)],
        cwd=Path(__file__).parents[2],
    )
    try:
        until(lambda: _listens(port), "the relay")
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    inode = f"0100007F:{port:04X} 00000000:0000 0A"
    return inode in Path("/proc/net/tcp").read_text()


def cost(upstream: Upstream, port: int, pid: int, line: bytes, from_server: bool) -> float:
    """Give the processor time that a line costs which comes in segments of one octet each."""
    session = upstream.session(port).log_in()
    source, sink = session.client, session.server
    if from_server:
        source, sink = sink, source
    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    before = processor_time(pid)

    def send() -> None:
        for octet in range(len(line)):
            source.send(line[octet : octet + 1])

    sender = threading.Thread(target=send)
    sender.start()
    assert receive(sink, len(line)) == line
    sender.join()
    return processor_time(pid) - before


@pytest.mark.soak
@pytest.mark.parametrize("side", ["client", "server"])
def test_p51_a_mebibyte_in_segments_of_one_octet_costs_little_more_than_passing_it_on(
    side: str, tmp_path: Path
) -> None:
    line = b"NOOP " + b"x" * (MIB - 7) + b"\r\n"
    with Upstream() as upstream:
        with bare_relay(upstream.port) as (port, pid):
            bare = cost(upstream, port, pid, line, side == "server")
        with Proxy(tmp_path / "proxy", upstream.port, "--jsonl", "all.jsonl") as proxy:
            ours = cost(upstream, proxy.port, proxy.process.pid, line, side == "server")
    assert ours - bare < ABOVE
