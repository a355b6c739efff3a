"""One direction of a session, as its pumps see it."""

from __future__ import annotations

from typing import Protocol

from popproxy.pop3 import Side
from popproxy.relay.legs import Leg


class Mover(Protocol):
    """What is needed of the pumps."""

    def wake(self, outward: Lane) -> None:
        """Go on with both directions of a leg; see `Pumps.wake`."""
        ...


class Lane:
    """One direction. To be called when something can be done with the sender's leg.

    Attributes:
        side: Who sends.
        source: The sender's leg.
        target: The leg that it leads to.
        rest: Octets that were read, and that the other leg has not taken yet.
        busy: A task finishes what was begun; nothing is read until it has.
        done: Nothing more is read.
        mask: What the sender's leg is watched for.
    """

    __slots__ = ("_mover", "busy", "done", "mask", "rest", "side", "source", "target")

    def __init__(self, side: Side, source: Leg, target: Leg, mover: Mover) -> None:
        self.side = side
        self.source = source
        self.target = target
        self._mover = mover
        self.rest: memoryview | None = None
        self.busy = False
        self.done = False
        self.mask = 0

    def __call__(self) -> None:
        """Go on."""
        self._mover.wake(self)
