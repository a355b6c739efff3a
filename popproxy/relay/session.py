"""One session: two legs, an observer between them, and one reason why it ended.

A session is two pumps, one a direction. Each reads, has the observer record what came, and writes
it to the other leg before it reads again. Ends and losses are passed on as they came:

* *End of stream* from one side: the other leg is half-closed, and the other direction goes on, so
  that a reply still arrives (P26). The session is over when both sides have ended.
* *Loss* (a reset) of one leg: what it sent before is still read and written, then the other leg is
  reset too. A loss that shows in a write is left to the pump that reads from that leg, because
  octets may still wait there; that of a leg that nobody reads from is found by `tick`.

`tick` is called a few times a second for all sessions by one task: a timer for each would cost
memory in each idle session. It compares octet counts, so that the pumps never look at the clock
for it.
"""

from __future__ import annotations

import contextlib

import trio

from popproxy.pop3 import Side
from popproxy.relay.legs import Leg, LegLost
from popproxy.relay.loops import Address
from popproxy.relay.observer import Observer
from popproxy.relay.service import Service, temporary_failure
from popproxy.relay.upstream import Reached, Unreachable

DELIVERY = 0.5
"""Seconds that a leg has to take what was written to it before a reset is passed on to it."""
FAREWELL = 2.0
"""Seconds that a client has to read our last line and to close."""
_POLL = 0.02
"""Seconds between two looks at what a leg has not taken yet."""


class RelaySession:
    """A client's session, from its connection to its end.

    Attributes:
        id: The session's name.
        client_address: Where the client connects from.
    """

    __slots__ = (
        "_aborting",
        "_at_border",
        "_begun",
        "_client",
        "_dirty",
        "_end_recorded",
        "_ended",
        "_ending",
        "_held",
        "_listener",
        "_login_seen",
        "_lost",
        "_moved",
        "_moved_at",
        "_observer",
        "_reason",
        "_scope",
        "_server",
        "_service",
        "_started",
        "client_address",
        "id",
    )

    def __init__(
        self,
        *,
        session_id: str,
        service: Service,
        client: Leg,
        client_address: Address,
        listener: Address,
    ) -> None:
        """Begin; call `run` next.

        Args:
            session_id: Its name.
            service: What it shares with the other sessions of its route.
            client: The client's leg; the session closes it.
            client_address: Where the client connects from.
            listener: Where it connected to.
        """
        self.id = session_id
        self.client_address = client_address
        self._service = service
        self._client = client
        self._server: Reached | None = None
        self._listener = listener
        self._observer: Observer | None = None
        self._begun = service.now()
        self._scope: trio.CancelScope | None = None
        self._reason: tuple[str, str | None] | None = None
        self._end_recorded = False
        self._aborting = False
        self._ending = False
        self._ended: tuple[Side, ...] = ()
        self._lost: tuple[Side, ...] = ()
        self._held = 0
        self._started = self._moved_at = 0.0
        self._moved = 0
        self._dirty = True
        self._login_seen = False
        self._at_border = True

    async def run(self) -> None:
        """Relay the session to its end. The legs get closed and the end recorded in any case."""
        self._started = self._moved_at = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                if self._ending:
                    self._scope.cancel()
                await self._connect_and_relay(nursery)
        except* Exception:
            self.end("internal-error")
            raise
        finally:
            self._finish()

    def end(self, reason: str, detail: str | None = None) -> None:
        """End the session now, by closing its legs.

        Args:
            reason: The reason to record; the first one given stays.
            detail: The cause in words.
        """
        self._reason = self._reason or (reason, detail)
        self._cancel()

    def tick(self, now: float, at: int) -> None:
        """Do what is due by time.

        Args:
            now: trio's clock, in seconds.
            at: The monotonic clock, in nanoseconds.
        """
        observer = self._observer
        if observer is None or self._server is None or self._ending:
            return
        client, server = self._client, self._server.leg
        moved = client.octets_in + client.octets_out + server.octets_in + server.octets_out
        if moved != self._moved:
            self._moved = moved
            self._moved_at = now
            self._dirty = True
        if self._dirty:
            self._dirty = observer.housekeeping(at)
        if self._ended or self._held or self._lost or client.stalled or server.stalled:
            self._find_losses(client, server)
        self._check_timeouts(observer, now)

    async def _connect_and_relay(self, nursery: trio.Nursery) -> None:
        try:
            reached = await self._service.connector.connect()
        except Unreachable as unreachable:
            self._reason = "connect-failed", unreachable.cause
            self._record_end()
            await self._farewell(f"cannot reach the server: {unreachable.cause}")
            return
        self._server = reached
        observer = self._record_start()
        nursery.start_soon(self._pump, observer, Side.SERVER, reached.leg, self._client)
        await self._pump(observer, Side.CLIENT, self._client, reached.leg)

    async def _pump(self, observer: Observer, side: Side, source: Leg, sink: Leg) -> None:
        """Relay one direction until it ends."""
        observe, clock = observer.observe, self._service.clock
        require_log = self._service.policy.require_log
        while True:
            try:
                data = await source.read()
            except LegLost as loss:
                self._note_loss(side, loss)
                data = b""
            if not data:
                break
            observe(side, data, clock())
            if require_log and not await self._logged(observer, side):
                return
            try:
                await sink.write(data)
            except LegLost as loss:
                self._note_loss(side.other, loss)
                if side.other in self._ended:
                    self._abort()  # the pump that would have passed it on is done
                return
            if require_log and side is Side.SERVER:
                self._at_border = observer.at_line_border
        if side in self._lost:
            await self._pass_loss_on(sink)
        else:
            self._ended += (side,)
            observer.ended(side, clock())
            sink.shutdown_write()

    async def _logged(self, observer: Observer, side: Side) -> bool:
        """Wait until what was observed is written; if it cannot be, end the session (P27)."""
        self._held += 1
        try:
            written = await observer.written()
        finally:
            self._held -= 1
        if written:
            if side is Side.SERVER:
                self._at_border = False  # until it has arrived in full
            return True
        if self._at_border:
            self._at_border = False
            with trio.move_on_after(FAREWELL):
                await self._tell_client("the session cannot be recorded, so it is ended")
        self.end("log-unavailable")
        return False

    async def _farewell(self, text: str) -> None:
        """Tell the client why it gets no further, and give it time to read that and to close."""
        with trio.move_on_after(FAREWELL):
            await self._tell_client(text)
            # Closing while octets lie unread would reset the connection, and the line with it.
            with contextlib.suppress(LegLost):
                while await self._client.read():
                    pass

    async def _tell_client(self, text: str) -> None:
        """Write a last line of our own."""
        with contextlib.suppress(LegLost):
            await self._client.write(temporary_failure(text))
        self._client.shutdown_write()

    async def _pass_loss_on(self, leg: Leg) -> None:
        """Reset a leg because the other is lost, once it took what was written to it."""
        with trio.move_on_after(DELIVERY):
            while leg.unsent():  # noqa: ASYNC110 - the kernel does not tell when it is done
                await trio.sleep(_POLL)
        self._abort()

    def _abort(self) -> None:
        """End the session by resetting its legs; the reason is known."""
        self._aborting = True
        self._cancel()

    def _cancel(self) -> None:
        """Have the pumps end; if there are none yet, before they begin."""
        self._ending = True
        if self._scope is not None:
            self._scope.cancel()

    def _note_loss(self, side: Side, loss: LegLost) -> None:
        """Remember that a leg is lost: it is reported only once."""
        if side not in self._lost:
            self._lost += (side,)
        # A peer that closed in full answers what still comes by a reset: it closed, first of all.
        how = "closed" if side in self._ended else "reset"
        self._reason = self._reason or (f"{side.value}-{how}", loss.cause)

    def _find_losses(self, client: Leg, server: Leg) -> None:
        """Pass on the loss of a leg that nobody reads from at present."""
        for side, leg, other in (
            (Side.CLIENT, client, server),
            (Side.SERVER, server, client),
        ):
            unread = side in self._ended or other.stalled or self._held
            if unread and (side in self._lost or leg.lost()):
                self._note_loss(side, LegLost("connection reset by peer"))
                self._abort()

    def _check_timeouts(self, observer: Observer, now: float) -> None:
        timeouts, still = self._service.timeouts, now - self._moved_at
        if still >= timeouts.idle:
            self.end("idle-timeout", f"nothing was sent for {timeouts.idle:g} seconds")
        elif self._ended[:1] == (Side.SERVER,) and still >= timeouts.closing:
            self.end("server-closed", "the client did not close in its turn")
        elif not self._login_seen and now - self._started >= timeouts.login:
            self._login_seen = True
            if observer.awaits_login:
                self.end("login-timeout", f"no login within {timeouts.login:g} seconds")

    def _record_start(self) -> Observer:
        """Record the beginning, as soon as it is known where the session leads to."""
        server = self._server.server if self._server is not None else None
        self._observer = self._service.begin(
            self.id, self.client_address, self._listener, server, self._begun
        )
        return self._observer

    def _record_end(self) -> None:
        """Record the end, once, with the reason that is known by now."""
        if self._end_recorded:
            return
        self._end_recorded = True
        observer = self._observer or self._record_start()
        if self._reason is None:
            self._reason = (f"{self._ended[0].value}-closed" if self._ended else "shutdown"), None
        observer.finish(*self._reason, self._service.clock())

    def _finish(self) -> None:
        """Record the end and close the legs, whatever becomes of the record."""
        try:
            self._record_end()
        finally:
            legs = [self._client]
            if self._server is not None:
                legs.append(self._server.leg)
            for leg in legs:
                if self._aborting:
                    leg.abort()
                else:
                    leg.close()
