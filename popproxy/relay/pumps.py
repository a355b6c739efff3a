"""The pumps of a session: octets from one leg to the other, in both directions.

Each reads, has the observer record what came, and writes it to the other leg before it reads again.
Ends and losses are passed on as they came:

* *End of stream* from one side: the other leg is half-closed, and the other direction goes on, so
  that a reply still arrives (P26). The session is over when both sides have ended.
* *Loss* (a reset) of one leg: what it sent before is still read and written, then the other leg is
  reset too. A loss that shows in a write is left to the pump that reads from that leg, because
  octets may still wait there; that of a leg that nobody reads from is found by the session's
  `tick`.

Where the legs differ, what is written goes through a `Translation` first. Where it says that STLS
needs somebody's decision, the pumps either answer the client by themselves, in its turn, or they
stop both at once, without an octet on its way, and `run` says why: the legs are then free to be put
under TLS, and new pumps go on with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import trio

from popproxy.pop3 import Event, Side
from popproxy.relay.course import FAREWELL, Course
from popproxy.relay.legs import LegLost
from popproxy.relay.observer import Observer
from popproxy.relay.service import permanent_failure, temporary_failure
from popproxy.relay.translation import Step, Stop, Translation

ACCEPTED = b"+OK popproxy begins TLS\r\n"
REFUSED = b"-ERR popproxy offers no STLS here\r\n"
_FATAL_ALERT = b"\x15\x03\x01\x00\x02\x02\x28"
"""A TLS record with the fatal alert handshake_failure (RFC 8446, section 6), which a client that
speaks TLS where it is not expected understands in any version."""


class Accepted(NamedTuple):
    """An STLS that is to be followed by TLS.

    Attributes:
        line: The response that the client is to get.
        seq: The command's number.
        own: Whether the response is popproxy's; else it is the server's, whose leg has to be put
            under TLS first.
        injected: Whether something followed that should not have (P29).
    """

    line: bytes
    seq: int | None
    own: bool
    injected: bool


class Pumps:
    """Both directions of a session, as long as its legs stay as they are."""

    __slots__ = (
        "_accepted",
        "_answering",
        "_course",
        "_delivering",
        "_moved",
        "_observer",
        "_scope",
        "translation",
    )

    def __init__(self, course: Course, observer: Observer, translation: Translation | None) -> None:
        """Prepare; `run` moves octets.

        Args:
            course: The session.
            observer: Its observer.
            translation: What is changed; None if nothing is.
        """
        self._course = course
        self._observer = observer
        self.translation = translation
        self._scope: trio.CancelScope | None = None
        self._accepted: Accepted | None = None
        self._delivering = False
        """Octets of the server are on their way to the client."""
        self._answering = False
        """A line of our own is."""
        self._moved: trio.Event | None = None
        """Set when octets of the server have arrived, if somebody waits for that."""

    async def run(self, first: bytes) -> Accepted | None:
        """Relay until the session ends, or until TLS has to begin.

        Args:
            first: Octets of the server that were read before.

        Returns:
            What TLS has to follow; None if the session has ended.
        """
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(self._pump, Side.SERVER, first)
            await self._pump(Side.CLIENT)
        return self._accepted

    async def _pump(self, side: Side, first: bytes = b"") -> None:
        """Relay one direction until it ends."""
        course = self._course
        source = course.leg(side)
        observe, clock = self._observer.observe, course.service.clock
        require_log = course.service.policy.require_log
        translation, from_server = self.translation, side is Side.SERVER
        data = first
        while True:
            try:
                data = data or await source.read()
            except LegLost as loss:
                course.note_loss(side, loss)
                data = b""
            if not data:
                break
            self._delivering = self._delivering or from_server
            events = observe(side, data, clock())
            step = None
            if translation is not None and from_server:
                step = self._of_server(translation, data, events)  # and its changes are recorded
            if require_log and not await self._logged(side):
                return
            if translation is not None:
                if step is None:
                    step = self._of_client(translation, data, events)
                forwarded = await self._follow(translation, side, step)
                if forwarded is None:
                    return
                data = forwarded
            if data and not await self._write(side, data):
                return
            data = b""
            if require_log and from_server:
                course.at_border = self._observer.at_line_border
            if from_server:
                self._delivering = False
                self._tell_moved()
        await self._pass_end_on(side)

    async def _pass_end_on(self, side: Side) -> None:
        """Have the other leg end as this side's did."""
        course = self._course
        if self.translation is not None:
            rest = self.translation.give_up(side)
            if rest and not await self._write(side, rest):
                return
        if side in course.lost:
            reason, cause = course.reason or ("", None)
            if side is Side.SERVER and reason == "tls-failed" and not course.leg(side).octets_in:
                # In TLS 1.3 a server may refuse us after the handshake.
                await course.farewell(permanent_failure(cause or reason))
            await course.pass_loss_on(course.leg(side.other))
        else:
            course.note_end(side)
            self._tell_moved()
            await course.leg(side.other).shutdown_write()

    async def _write(self, side: Side, data: bytes) -> bool:
        """Write what a side sent to the other; False if that leg is lost."""
        course = self._course
        if self._answering and side is Side.SERVER:
            await self._wait_for_move()
        try:
            await course.leg(side.other).write(data)
        except LegLost as loss:
            course.note_loss(side.other, loss)
            if side.other in course.ended:
                course.abort()  # the pump that would have passed it on is done
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

    async def _follow(self, translation: Translation, side: Side, step: Step) -> bytes | None:
        """Go through the points at which octets must not simply be forwarded.

        Returns:
            What is still to be forwarded; None if the pump is over.
        """
        while (stop := step.stop) is not None:
            if step.forward and not await self._write(side, step.forward):
                return None
            if side is Side.SERVER:
                self._accept(stop.line, stop, own=False)
                return None
            if stop.why == "tls":
                await self._refuse("tls-on-plain-port", None, _FATAL_ALERT)
                return None
            if stop.why == "login":
                line = permanent_failure("this port wants STLS before a login")
                await self._refuse("stls-required", "the client did not use STLS first", line)
                return None
            if not await self._is_turn_of_stls(translation):
                return None
            if translation.rules.stls == "answer":
                self._record_own(stop, ACCEPTED)
                self._accept(ACCEPTED, stop, own=True)
                return None
            if not await self._answer(translation, stop, REFUSED):
                return None
            step = translation.client(stop.behind, stop.events)
        return step.forward

    async def _refuse(self, reason: str, detail: str | None, line: bytes) -> None:
        """End the session with a last line to the client."""
        course = self._course
        course.reason = course.reason or (reason, detail)
        await course.farewell(line)
        course.end(reason)

    async def _is_turn_of_stls(self, translation: Translation) -> bool:
        """Wait until all commands before STLS are answered, and the answers delivered."""
        course, observer = self._course, self._observer
        course.held += 1
        try:
            while self._delivering or not translation.at_border or observer.due != b"STLS":
                if Side.SERVER in course.ended or observer.failed:
                    return False  # the session is about to end
                await self._wait_for_move()
        finally:
            course.held -= 1
        return True

    async def _wait_for_move(self) -> None:
        self._moved = self._moved or trio.Event()
        await self._moved.wait()

    def _tell_moved(self) -> None:
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def _answer(self, translation: Translation, stop: Stop, line: bytes) -> bool:
        """Answer the client in the server's place; False if it is lost."""
        self._record_own(stop, line)
        events = self._observer.own_answer(line, self._course.clock())
        translation.own_answer(line)
        translation.read_elsewhere(events, self._observer.due)
        self._answering = True
        try:
            await self._course.client.write(line)
        except LegLost as loss:
            self._course.note_loss(Side.CLIENT, loss)
            return False
        finally:
            self._answering = False
            self._tell_moved()
        return True

    def _record_own(self, stop: Stop, line: bytes) -> None:
        rule = "stls-refused" if line is REFUSED else "stls-answered"
        at, tell = self._course.clock(), self._observer.rewritten
        tell(Side.CLIENT, rule, was=stop.line, now=b"", seq=stop.seq, at=at)
        tell(Side.SERVER, rule, was=b"", now=line, seq=stop.seq, at=at)

    def _accept(self, line: bytes, stop: Stop, *, own: bool) -> None:
        """Stop both pumps, so that TLS can begin."""
        self._accepted = Accepted(line, stop.seq, own, bool(stop.behind))
        if self._scope is not None:
            self._scope.cancel()
