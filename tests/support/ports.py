"""Ports on loopback for servers that are told theirs before they start."""

from __future__ import annotations

import contextlib
import socket

from tests.support.waiting import PATIENCE


def free_ports(count: int) -> list[int]:
    """Give ports of 127.0.0.1 that nobody listens on, each one once."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def greets(host: str, port: int) -> bool:
    """Tell whether a POP3 server greets there, in the clear."""
    try:
        with socket.create_connection((host, port), timeout=PATIENCE) as probe:
            return probe.recv(512).startswith(b"+OK")
    except OSError:
        return False
