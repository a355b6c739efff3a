"""What the parts of a running session share: its legs, its observer, and why it ends."""

from __future__ import annotations

import contextlib
from typing import Literal

import trio

from popproxy.pop3 import Side
from popproxy.records import LegName, TlsPart
from popproxy.relay.encryption import Encrypted, NotEncrypted
from popproxy.relay.legs import Leg, LegLost
from popproxy.relay.loops import Address
from popproxy.relay.observer import Observer
from popproxy.relay.service import Service

FAREWELL = 2.0
"""Seconds that a client has to read our last line and to close."""
DELIVERY = 0.5
"""Seconds that a leg has to take what was written to it before a reset is passed on to it."""
_POLL = 0.02
"""Seconds between two looks at what a leg has not taken yet."""


class Course:
    """The state of a session that is under way.

    Attributes:
        service: What it shares with the other sessions of its route.
        client: The client's leg.
        server: The server's leg, once there is one.
        server_address: The server's address, likewise.
        observer: Reads along, once the session's beginning is recorded.
        under_tls: Legs under TLS.
        reason: Why the session ends, and the cause in words; the first one stays.
        aborting: Whether the legs are to be reset.
        ending: Whether the session has been told to end.
        ended: Sides that have sent everything, in order.
        lost: Sides whose leg is lost.
        held: How many pumps do not read because they wait for something but a leg.
        busy: Whether the legs are in other hands than the pumps'.
        at_border: Whether a line of ours could follow what the client was sent (P27).
    """

    __slots__ = (
        "_scope",
        "aborting",
        "at_border",
        "busy",
        "client",
        "ended",
        "ending",
        "held",
        "lost",
        "observer",
        "reason",
        "server",
        "server_address",
        "service",
        "under_tls",
    )

    def __init__(self, service: Service, client: Leg) -> None:
        """Begin.

        Args:
            service: What the session shares with the other sessions of its route.
            client: The client's leg.
        """
        self.service = service
        self.client = client
        self.server: Leg | None = None
        self.server_address: Address | None = None
        self.observer: Observer | None = None
        self.under_tls: frozenset[LegName] = frozenset()
        self.reason: tuple[str, str | None] | None = None
        self.aborting = False
        self.ending = False
        self.ended: tuple[Side, ...] = ()
        self.lost: tuple[Side, ...] = ()
        self.held = 0
        self.busy = True
        self.at_border = True
        self._scope = trio.CancelScope()

    @property
    def scope(self) -> trio.CancelScope:
        """What is cancelled to end the session."""
        return self._scope

    def leg(self, side: Side) -> Leg:
        """Give the leg of a side; there are both."""
        leg = self.client if side is Side.CLIENT else self.server
        assert leg is not None  # noqa: S101 - says so to the type checker
        return leg

    def clock(self) -> int:
        """Give the monotonic time in nanoseconds."""
        return self.service.clock()

    def end(self, reason: str, detail: str | None = None) -> None:
        """End the session now, by closing its legs.

        Args:
            reason: The reason to record; the first one given stays.
            detail: The cause in words.
        """
        self.reason = self.reason or (reason, detail)
        self._cancel()

    def abort(self) -> None:
        """End the session by resetting its legs; the reason is known."""
        self.aborting = True
        self._cancel()

    def _cancel(self) -> None:
        self.ending = True
        self._scope.cancel()

    def take_client(self, encrypted: Encrypted) -> None:
        """Go on with the client's leg under TLS."""
        self.client = encrypted.leg
        self.under_tls |= {"client"}

    def take_server(self, encrypted: Encrypted) -> None:
        """Go on with the server's leg under TLS."""
        self.server = encrypted.leg
        self.under_tls |= {"upstream"}

    def note_loss(self, side: Side, loss: LegLost) -> None:
        """Remember that a leg is lost: it is reported only once."""
        if side not in self.lost:
            self.lost += (side,)
            if loss.failure is not None and self.observer is not None:
                part = NotEncrypted(loss.failure, leg_name(side)).part
                self.observer.tls(part, self.clock(), became="failed")
        # A peer that closed in full answers what still comes by a reset: it closed, first of all.
        how = "closed" if side in self.ended else "reset"
        reason = "tls-failed" if loss.failure is not None else f"{side.value}-{how}"
        self.reason = self.reason or (reason, loss.cause)

    def note_end(self, side: Side) -> None:
        """Remember, and record, that a side has sent everything."""
        self.ended += (side,)
        observer, at = self.observer, self.clock()
        if observer is not None:
            observer.ended(side, at)
            if (name := leg_name(side)) in self.under_tls:
                part = TlsPart(leg=name, truncated=self.leg(side).truncated)
                observer.tls(part, at, became="ended")

    async def farewell(self, line: bytes) -> None:
        """Tell the client why it gets no further, and give it time to read that and to close.

        Args:
            line: What it is told, line end included.
        """
        with trio.move_on_after(FAREWELL):
            await self.tell_client(line)
            # Closing while octets lie unread would reset the connection, and the line with it.
            with contextlib.suppress(LegLost):
                while await self.client.read():
                    pass

    async def tell_client(self, line: bytes) -> None:
        """Write a last line of our own.

        Args:
            line: The line, line end included.
        """
        with contextlib.suppress(LegLost):
            await self.client.write(line)
        await self.client.shutdown_write()

    async def pass_loss_on(self, leg: Leg) -> None:
        """Reset a leg because the other is lost, once it took what was written to it."""
        with trio.move_on_after(DELIVERY):
            while leg.unsent():  # noqa: ASYNC110 - the kernel does not tell when it is done
                await trio.sleep(_POLL)
        self.abort()


def leg_name(side: Side) -> Literal["client", "upstream"]:
    """Give the name that records have for a side's leg."""
    return "client" if side is Side.CLIENT else "upstream"
