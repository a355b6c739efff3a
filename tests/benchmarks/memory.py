"""Memory: of a connection that says nothing, and of one large message."""

from __future__ import annotations

import time

from tests.benchmarks.kit import KitError
from tests.benchmarks.peers import Peer
from tests.benchmarks.results import Figure, figure
from tests.benchmarks.rounds import Stage

IDLE = 2000
"""Connections that are held at once."""

_SETTLE = 0.5
_LARGE = ("bulk", "--messages", "245", "--rounds", "1")
_WARM = ("churn", "--connections", "8", "--messages", "1-200", "--rounds", "5")


def idle(stage: Stage, peer: Peer, connections: int = IDLE) -> list[Figure]:
    """Hold connections that are logged in, and divide what the proxy grew by.

    Args:
        stage: what it needs.
        peer: whose memory is looked at.
        connections: are held at once.

    Raises:
        PeerError: the peer does not run.
        KitError: a connection failed.
    """
    with stage.standing(peer) as (port, process):
        stage.kit.run(_WARM, port)
        before = process.resident()
        with stage.kit.holding(port, connections):
            time.sleep(_SETTLE)
            grown = process.resident() - before
    what = f"memory of one of {connections} idle connections"
    return [figure(what, peer.name, [grown / 1e3 / connections], "kB")]


def large_message(stage: Stage, peer: Peer) -> list[Figure]:
    """Fetch a message of 200 MiB, and say how far the proxy grew meanwhile, and for good.

    Raises:
        PeerError: the peer does not run.
        KitError: the message did not come as it had to.
    """
    with stage.standing(peer) as (port, process):
        stage.kit.run(_WARM, port)
        before = process.resident()
        process.forget_peak()
        load = stage.kit.run(_LARGE, port)
        if load.errors:
            raise KitError(load.first_error)
        peak = process.peak() - before
        kept = process.resident() - before
    return [
        figure("growth during a message of 200 MiB", peer.name, [peak / 1e6], "MB"),
        figure("growth after it", peer.name, [kept / 1e6], "MB"),
    ]
