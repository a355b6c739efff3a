"""One direction of a session, as its pumps see it."""

from __future__ import annotations

from popproxy.pop3 import Side
from popproxy.relay.legs import Leg
from popproxy.relay.poller import Wake


class Lane:
    """One direction.

    Attributes:
        side: Who sends.
        source: The sender's leg.
        target: The leg that it leads to.
        wake: Goes on with both directions of the sender's leg.
        rest: Octets that were read, and that the other leg has not taken yet.
        busy: A task finishes what was begun; nothing is read until it has.
        done: Nothing more is read.
        mask: What the sender's leg is watched for.
    """

    __slots__ = ("busy", "done", "mask", "rest", "side", "source", "target", "wake")

    def __init__(self, side: Side, source: Leg, target: Leg, wake: Wake) -> None:
        self.side = side
        self.source = source
        self.target = target
        self.wake = wake
        self.rest: memoryview | None = None
        self.busy = False
        self.done = False
        self.mask = 0
