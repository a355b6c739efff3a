"""The pumps of a session: octets from one leg to the other, in both directions.

Each reads, has the observer record what came, and writes it to the other leg before it reads again.
No task does that: when a leg can be read from or written to, the poller calls, and all that can be
done without waiting is done. If the other leg does not take everything, the rest is kept and
nothing more is read until it has (P53).

What has to wait for something else gets a task for as long as that takes (`_finish_later`), and its
direction rests: for a log that is required, for the turn of an STLS, for a last line to be read.

Ends and losses are passed on as they came:

* *End of stream* from one side: the other leg is half-closed, and the other direction goes on, so
  that a reply still arrives (P26). The session is over when both sides have ended.
* *Loss* (a reset) of one leg: what it sent before is still read and written, then the other leg is
  reset too. A loss that shows in a write is left to the pump that reads from that leg, because
  octets may still wait there; that of a leg that nobody reads from is found by the session's
  `tick`.

Where the legs differ, what is written goes through a `Translation` first. Where it says that STLS
needs somebody's decision, `Stops` takes it. If TLS has to begin, both directions stop: the legs are
then free to be put under it, and new pumps go on with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from popproxy.pop3 import Event, Side
from popproxy.relay.course import FAREWELL, Course
from popproxy.relay.lane import Lane
from popproxy.relay.later import Unread
from popproxy.relay.legs import LegLost
from popproxy.relay.observer import Observer
from popproxy.relay.poller import BUDGET
from popproxy.relay.service import permanent_failure, temporary_failure
from popproxy.relay.stops import Accepted, Owner, Stops
from popproxy.relay.translation import Step, Translation


class Pumps:
    """Both directions of a session, as long as its legs stay as they are."""

    __slots__ = (
        "_client",
        "_clock",
        "_course",
        "_log_required",
        "_moved",
        "_observer",
        "_owner",
        "_server",
        "_stopped",
        "answering",
        "translation",
    )

    def __init__(
        self,
        course: Course,
        observer: Observer,
        translation: Translation | None,
        owner: Owner,
    ) -> None:
        """Prepare; `start` moves octets.

        Args:
            course: The session.
            observer: Its observer.
            translation: What is changed; None if nothing is.
            owner: Hears of their end, once.
        """
        self._course = course
        self._observer = observer
        self._owner = owner
        self.translation = translation
        self._clock = course.service.clock
        self._log_required = course.service.policy.require_log
        client, server = course.leg(Side.CLIENT), course.leg(Side.SERVER)
        self._client = Lane(Side.CLIENT, client, server, self)
        self._server = Lane(Side.SERVER, server, client, self)
        self._stopped = False
        self.answering = False
        """A line of our own is on its way to the client."""
        self._moved: trio.Event | None = None
        """Set when octets of the server have arrived, if somebody waits for that."""

    @property
    def requires_stls(self) -> bool:
        """Whether the client has to use STLS before it logs in."""
        return self.translation is not None and self.translation.rules.require_stls

    def start(self, first: bytes) -> None:
        """Relay until the session ends, or until TLS has to begin.

        Args:
            first: Octets of the server that were read before.
        """
        if first:
            self._pass(self._server, first)
        for lane in (self._client, self._server):
            if lane.source.emptied:
                self._watch_both()
            else:
                self._move(lane)

    def stop(self) -> None:
        """Move nothing any more."""
        self._stopped = True
        for lane in (self._client, self._server):
            lane.source.watch(lane, 0)

    def wake(self, outward: Lane) -> None:
        """Go on with both directions of a leg, for something can be done with it.

        Args:
            outward: What its peer sends.
        """
        if self._stopped:
            return
        inward = self._server if outward is self._client else self._client
        try:
            if inward.rest is not None and not inward.busy:
                self._send(inward, inward.rest)
                if inward.rest is None:
                    self._move(inward)
            self._move(outward)
        except Exception as error:  # noqa: BLE001 - P57: one connection never ends the server
            self._course.fail(error)

    def _move(self, lane: Lane) -> None:
        """Relay what one side has sent, as far as that is possible now."""
        source = lane.source
        budget = BUDGET
        while not (lane.rest is not None or lane.busy or lane.done or self._stopped):
            try:
                data = source.receive()
            except LegLost as loss:
                self._course.note_loss(lane.side, loss)
                data = b""
            if data is None:
                break
            if not data:
                self._end(lane)
                break
            self._pass(lane, data)
            if source.emptied:
                break
            budget -= len(data)
            if budget <= 0:
                source.soon(lane)
                break
        self._watch_both()

    def _watch_both(self) -> None:
        """Have us called when something can be done with a leg."""
        if not self._stopped:
            self._watch(self._client, self._server)
            self._watch(self._server, self._client)

    def _watch(self, outward: Lane, inward: Lane) -> None:
        leg = outward.source
        rests = outward.rest is not None or outward.busy or outward.done
        mask = 0 if rests else leg.reads_when
        if inward.rest is not None and not inward.busy:
            mask |= leg.writes_when
        if mask != outward.mask:
            outward.mask = mask
            leg.watch(outward, mask)

    def _pass(self, lane: Lane, data: bytes) -> None:
        """Observe what one side sent, and send it on; the other way round if that can be."""
        course, side = self._course, lane.side
        at = self._clock()
        if self._goes_first(lane):
            note = self.translation.passed if self.translation is not None else None
            unread = self._observer.unread
            unread.add(Unread(side, data, at, note))  # first: the session may end by being sent on
            self._send(lane, data)
            if unread.overdue:
                self._catch_up()
            elif len(unread.waiting) == 1:
                lane.source.afterwards(self._catch_up)
            return
        events = self._observer.observe(side, data, at)
        step = None
        if self.translation is not None:
            translate = self._of_server if side is Side.SERVER else self._of_client
            step = translate(self.translation, data, events)  # and its changes are recorded
            data = step.forward
        waits = step is not None and step.stop is not None
        if waits or self._log_required or (self.answering and lane is self._server):
            lane.busy = True
            course.spawn(self._finish_later, lane, step or Step(data))
        elif data:
            self._send(lane, data)

    def _goes_first(self, lane: Lane) -> bool:
        """Whether octets may be sent on before anybody has read what they say."""
        if self._log_required or self.answering:
            return False
        translation = self.translation
        return translation is None or (
            translation.passes(lane.side)
            and (lane is self._client or not self._observer.awaits_stls)
        )

    def _catch_up(self) -> None:
        """Have read what was sent on first."""
        try:
            self._observer.catch_up()
        except Exception as error:  # noqa: BLE001 - P57: one connection never ends the server
            self._course.fail(error)

    def _send(self, lane: Lane, data: bytes | memoryview) -> None:
        """Send octets on, and keep what is not taken."""
        target = lane.target
        try:
            sent = target.send(data)
        except LegLost as loss:
            lane.rest, target.stalled = None, False
            self._give_up(lane, loss)
            return
        if sent < len(data):
            lane.rest = memoryview(data)[sent:]
            target.stalled = True
        else:
            lane.rest, target.stalled = None, False
            self._arrived(lane)

    def _arrived(self, lane: Lane) -> None:
        """Note that all octets of a side that were read have been sent on."""
        if lane is self._server:
            if (border := self._observer.border) is not None:
                self._course.at_border = border.here
            self.tell_moved()

    def _give_up(self, lane: Lane, loss: LegLost) -> None:
        """Stop a direction, since the leg that it leads to is lost."""
        course = self._course
        course.note_loss(lane.side.other, loss)
        lane.done = True
        if lane.side.other in course.ended:
            course.abort()  # nobody reads from that leg any more who would pass it on
        else:
            self._check_over()

    def _end(self, lane: Lane) -> None:
        """Have the other leg end as this side's did."""
        course, side = self._course, lane.side
        lane.done = True
        held = self.translation.give_up(side) if self.translation is not None else b""
        if held or side in course.lost:
            lane.busy = True
            course.spawn(self._end_later, lane, held)
        else:
            self._half_close(lane)

    def _half_close(self, lane: Lane) -> None:
        course = self._course
        course.note_end(lane.side)
        self.tell_moved()
        lane.target.half_close()
        self._check_over()

    def _check_over(self) -> None:
        if self._stopped or not all(
            lane.done and not lane.busy for lane in (self._client, self._server)
        ):
            return
        self.stop()
        self._owner.pumped(None)

    async def _end_later(self, lane: Lane, held: bytes) -> None:
        """Pass on what was held back, and the end or the loss behind it."""
        course, side = self._course, lane.side
        if held and not await self.write(side, held):
            lane.busy = False
            self._check_over()
            return
        lane.busy = False
        if side not in course.lost:
            self._half_close(lane)
            return
        reason, cause = course.reason or ("", None)
        if side is Side.SERVER and reason == "tls-failed" and not course.leg(side).octets_in:
            # In TLS 1.3 a server may refuse us after the handshake.
            await course.farewell(permanent_failure(cause or reason))
        await course.pass_loss_on(course.leg(side.other))

    async def _finish_later(self, lane: Lane, step: Step) -> None:
        """Send something on that has to wait for something else first."""
        if self._stopped or (self._log_required and not await self._logged(lane.side)):
            return
        forward: bytes | None = step.forward
        if self.translation is not None:
            stops = Stops(self._course, self._observer, self.translation, self)
            forward = await stops.follow(lane.side, step)
        if forward and not await self.write(lane.side, forward):
            forward = None
        lane.busy = False
        if forward is not None:
            self._arrived(lane)
            self._move(lane)
        elif not self._stopped:
            lane.done = True
            self._check_over()

    async def write(self, side: Side, data: bytes) -> bool:
        """Write what a side sent to the other; False if that leg is lost."""
        course = self._course
        if self.answering and side is Side.SERVER:
            await self.wait_for_move()
        try:
            await course.leg(side.other).write(data)
        except LegLost as loss:
            course.note_loss(side.other, loss)
            if side.other in course.ended:
                course.abort()  # nobody reads from that leg any more who would pass it on
            return False
        return True

    async def _logged(self, side: Side) -> bool:
        """Wait until what was observed is written; if it cannot be, end the session (P27)."""
        course = self._course
        course.held += 1
        try:
            written = await self._observer.written()
        finally:
            course.held -= 1
        if written:
            if side is Side.SERVER:
                course.at_border = False  # until it has arrived in full
            return True
        if course.at_border:
            course.at_border = False
            with trio.move_on_after(FAREWELL):
                await course.tell_client(
                    temporary_failure("the session cannot be recorded, so it is ended")
                )
        course.end("log-unavailable")
        return False

    def _of_server(self, translation: Translation, data: bytes, events: Sequence[Event]) -> Step:
        """Translate what the server sent, and record what was changed in it."""
        if self._observer.failed:
            return self._untranslated(translation, Side.SERVER, data)
        step = translation.server(data, events, self._observer.due)
        for side, seq, rule, was, now in step.rewrites:
            at = self._course.clock()
            self._observer.rewritten(side, rule, was=was, now=now, seq=seq, at=at)
        return step

    def _of_client(self, translation: Translation, data: bytes, events: Sequence[Event]) -> Step:
        """Translate what the client sent."""
        if self._observer.failed:
            return self._untranslated(translation, Side.CLIENT, data)
        return translation.client(data, events)

    def _untranslated(self, translation: Translation, side: Side, data: bytes) -> Step:
        """Forward everything as it is, for nobody understands it any more (P25)."""
        if translation.rules.require_stls:
            self._course.end("internal-error")
            return Step(b"")
        return Step(translation.give_up(side) + data)

    @property
    def delivering(self) -> bool:
        """Whether octets of the server are on their way to the client."""
        return self._server.busy or self._server.rest is not None

    async def wait_for_move(self) -> None:
        """Wait until octets of the server have arrived, or cannot arrive any more."""
        self._moved = self._moved or trio.Event()
        await self._moved.wait()

    def tell_moved(self) -> None:
        """Wake who waits for a move."""
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    def accept(self, accepted: Accepted) -> None:
        """Stop both directions, so that TLS can begin."""
        self.stop()
        self._course.cancel_tasks()
        self._owner.pumped(accepted)
