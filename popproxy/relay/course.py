"""What the parts of a running session share: its legs, its observer, its tasks, and why it ends.

A session that only relays has no task: the poller calls its pumps. What has to wait for something
but a leg gets a task for as long as that takes (`spawn`). A session that is told to end does so
when the last of them is over, at once if there is none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

import trio

from popproxy.pop3 import Side
from popproxy.records import LegName, TlsPart
from popproxy.relay import diagnostics
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


_NONE: frozenset[LegName] = frozenset()  # Python makes another each time, of 216 octets


class Owner(Protocol):
    """Whose course it is."""

    def halt(self) -> None:
        """Move nothing any more: the session has been told to end."""
        ...

    def finish(self) -> None:
        """End: the session has been told to, and the last of its tasks is over."""
        ...


class Course:
    """The state of a session that is under way.

    Attributes:
        id: The session's name.
        service: What it shares with the other sessions of its route.
        client: The client's leg.
        server: The server's leg, once there is one.
        server_address: The server's address, likewise, until the beginning is recorded.
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
        "_nursery",
        "_owner",
        "_scopes",
        "_tasks",
        "aborting",
        "at_border",
        "busy",
        "client",
        "ended",
        "ending",
        "held",
        "id",
        "lost",
        "observer",
        "reason",
        "server",
        "server_address",
        "service",
        "under_tls",
    )

    def __init__(
        self,
        session_id: str,
        service: Service,
        client: Leg,
        nursery: trio.Nursery,
        owner: Owner,
    ) -> None:
        """Begin.

        Args:
            session_id: The session's name.
            service: What the session shares with the other sessions of its route.
            client: The client's leg.
            nursery: Where the session's tasks run.
            owner: Hears of its end.
        """
        self.id = session_id
        self._nursery = nursery
        self._scopes: tuple[trio.CancelScope, ...] = ()
        self._tasks = 0
        self._owner = owner
        self.service = service
        self.client = client
        self.server: Leg | None = None
        self.server_address: Address | None = None
        self.observer: Observer | None = None
        self.under_tls = _NONE
        self.reason: tuple[str, str | None] | None = None
        self.aborting = False
        self.ending = False
        self.ended: tuple[Side, ...] = ()
        self.lost: tuple[Side, ...] = ()
        self.held = 0
        self.busy = True
        self.at_border = True

    def spawn(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Do something in a task of its own; the session does not end before it has.

        Args:
            work: What to do. If it raises, the session ends as failed.
            arguments: Its arguments.
        """
        self._tasks += 1
        self._nursery.start_soon(self._run, work, arguments)

    async def _run(self, work: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]) -> None:
        scope = trio.CancelScope()
        self._scopes += (scope,)
        try:
            if not self.ending:
                with scope:
                    await work(*arguments)
        except Exception as error:  # noqa: BLE001 - P57: one connection never ends the server
            self.fail(error)
        except BaseException:
            self.ending = True  # the whole relay is cancelled
            raise
        finally:
            self._scopes = tuple(each for each in self._scopes if each is not scope)
            self._tasks -= 1
            if self.ending and not self._tasks:
                self._owner.finish()

    def fail(self, error: Exception) -> None:
        """End the session because of a defect, and tell people where that is (P57)."""
        diagnostics.warn("session-failed", session=self.id, where=diagnostics.whereabouts(error))
        self.end("internal-error")

    def cancel_tasks(self) -> None:
        """Cancel the tasks that are under way. One that calls this goes on to its next wait."""
        for scope in self._scopes:
            scope.cancel()

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

    def finish(self) -> None:
        """End the session, since nothing is left to be done; the reason is known, or shows."""
        self._cancel()

    def _cancel(self) -> None:
        if self.ending:
            return
        self.ending = True
        self._owner.halt()
        self.cancel_tasks()
        if not self._tasks:
            self._owner.finish()

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
        self.client.half_close()

    async def pass_loss_on(self, leg: Leg) -> None:
        """Reset a leg because the other is lost, once it took what was written to it."""
        with trio.move_on_after(DELIVERY):
            while leg.unsent():  # noqa: ASYNC110 - the kernel does not tell when it is done
                await trio.sleep(_POLL)
        self.abort()


def leg_name(side: Side) -> Literal["client", "upstream"]:
    """Give the name that records have for a side's leg."""
    return "client" if side is Side.CLIENT else "upstream"
