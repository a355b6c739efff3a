"""What is done where octets must not simply be forwarded: STLS, a login too early, TLS by surprise.

Where a `Translation` says that somebody has to decide (`Stop`), a direction rests, and a task goes
through these points here, one after the other. popproxy then either answers the client by itself,
in its turn, and the direction goes on; or both directions stop at once, without an octet on its
way, for TLS has to begin; or the session ends with a last line.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from popproxy.pop3 import Side
from popproxy.relay.course import Course
from popproxy.relay.legs import LegLost
from popproxy.relay.observer import Observer
from popproxy.relay.service import permanent_failure
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


class Way(Protocol):
    """What is needed of the pumps.

    Attributes:
        answering: A line of our own is on its way to the client.
    """

    answering: bool

    @property
    def delivering(self) -> bool:
        """Whether octets of the server are on their way to the client."""
        ...

    async def write(self, side: Side, data: bytes) -> bool:
        """Write what a side sent to the other; False if that leg is lost."""
        ...

    async def wait_for_move(self) -> None:
        """Wait until octets of the server have arrived, or cannot arrive any more."""
        ...

    def tell_moved(self) -> None:
        """Wake who waits for a move."""
        ...

    def accept(self, accepted: Accepted) -> None:
        """Stop both directions, so that TLS can begin."""
        ...


class Owner(Protocol):
    """Whose pumps they are."""

    def pumped(self, accepted: Accepted | None) -> None:
        """Go on: the session has ended, or TLS has to begin.

        Args:
            accepted: What TLS has to follow; None if the session has ended.
        """
        ...


class Stops:
    """Goes through the stops of a step."""

    def __init__(
        self, course: Course, observer: Observer, translation: Translation, way: Way
    ) -> None:
        """Begin with a session's parts.

        Args:
            course: The session.
            observer: Its observer.
            translation: What found the stops.
            way: The pumps.
        """
        self._course = course
        self._observer = observer
        self._translation = translation
        self._way = way

    async def follow(self, side: Side, step: Step) -> bytes | None:
        """Go through the points at which octets must not simply be forwarded.

        Args:
            side: Who sent what the step is of.
            step: The translation of it.

        Returns:
            What is still to be forwarded; None if the direction is over.
        """
        while (stop := step.stop) is not None:
            if step.forward and not await self._way.write(side, step.forward):
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
            if not await self._is_turn_of_stls():
                return None
            if self._translation.rules.stls == "answer":
                self._record_own(stop, ACCEPTED)
                self._accept(ACCEPTED, stop, own=True)
                return None
            if not await self._answer(stop, REFUSED):
                return None
            step = self._translation.client(stop.behind, stop.events)
        return step.forward

    async def _refuse(self, reason: str, detail: str | None, line: bytes) -> None:
        """End the session with a last line to the client."""
        course = self._course
        course.reason = course.reason or (reason, detail)
        await course.farewell(line)
        course.end(reason)

    async def _is_turn_of_stls(self) -> bool:
        """Wait until all commands before STLS are answered, and the answers delivered."""
        course, observer, way = self._course, self._observer, self._way
        course.held += 1
        try:
            while way.delivering or not self._translation.at_border or observer.due != b"STLS":
                if Side.SERVER in course.ended or observer.failed:
                    return False  # the session is about to end
                await way.wait_for_move()
        finally:
            course.held -= 1
        return True

    async def _answer(self, stop: Stop, line: bytes) -> bool:
        """Answer the client in the server's place; False if it is lost."""
        self._record_own(stop, line)
        events = self._observer.own_answer(line, self._course.clock())
        self._translation.own_answer(line)
        self._translation.read_elsewhere(events, self._observer.due)
        self._way.answering = True
        try:
            await self._course.client.write(line)
        except LegLost as loss:
            self._course.note_loss(Side.CLIENT, loss)
            return False
        finally:
            self._way.answering = False
            self._way.tell_moved()
        return True

    def _record_own(self, stop: Stop, line: bytes) -> None:
        rule = "stls-refused" if line is REFUSED else "stls-answered"
        at, tell = self._course.clock(), self._observer.rewritten
        tell(Side.CLIENT, rule, was=stop.line, now=b"", seq=stop.seq, at=at)
        tell(Side.SERVER, rule, was=b"", now=line, seq=stop.seq, at=at)

    def _accept(self, line: bytes, stop: Stop, *, own: bool) -> None:
        """Have TLS begin."""
        self._way.accept(Accepted(line, stop.seq, own, bool(stop.behind)))
