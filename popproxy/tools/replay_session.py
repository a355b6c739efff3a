"""One session of a replay as a server: answers in their pieces, each when its time has come.

The session is a loop in one task: a line is read, the matcher says what becomes of it, its pieces
are sent. Time counts from the later of the last piece and the command, as in the plan, so that a
client may think as long as it likes.

Recorded answers that came in one read, to commands that were sent together, are sent together; for
that the session waits a moment (`TOGETHER`) for the commands.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import trio

from popproxy.peers.lines import EndOfStreamError, LineReader, LineTooLongError
from popproxy.relay.encryption import Encryption, NotEncrypted
from popproxy.relay.legs import Leg, LegLost
from popproxy.relay.tls_leg import TlsLeg
from popproxy.tools.replay_login import Exchange
from popproxy.tools.replay_match import Answer, Matcher
from popproxy.tools.replay_pacing import Pacer
from popproxy.tools.replay_pieces import Split, Splitter
from popproxy.tools.replay_place import Known, Match, TlsMode
from popproxy.tools.replay_plan import Piece
from popproxy.tools.replay_stream import LegStream

TOGETHER = 0.25
"""Seconds to wait for a command that came together with the one before when it was recorded."""
LONGEST_LINE = 65_536
"""Octets of a client's line, its end left out."""
_SLICE = 1.0
"""Seconds between two looks whether the client is still there, in a long pause."""
_LINGER = 1.0
"""Seconds that a client has to close after the last answer."""
_WRITE = 256 * 1024
"""Octets that are written at once at most; each time the client may take `Manner.idle` seconds."""
_APART = 32_768
"""Segments of an answer that the client is made to read apart; its last ones always are."""
_LAST_OCTETS = 16
_TOO_LONG = b"\n"
"""Stands for a line that was too long."""
MAX_DEPARTURES = 100
"""Departures of a session that are kept; the others are counted."""

Report = Callable[[str], None]


def _silent(_sentence: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a session is replayed.

    Attributes:
        match: How commands are matched.
        tls: How the replay speaks with its clients.
        speed: How many times as fast; None for no pauses at all.
        split: Where answers are cut.
        idle: Seconds that a client may be silent, or may refuse to take an answer.
    """

    match: Match = "strict"
    tls: TlsMode = "never"
    speed: float | None = 1.0
    split: Split = field(default_factory=Split)
    idle: float = 600.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a session.

    Attributes:
        commands: How many came.
        departures: How the client departed from the recording, the first of them.
        more: How many departures are not in that list.
        reason: Why it ended.
    """

    commands: int = 0
    departures: list[str] = field(default_factory=list)
    more: int = 0
    reason: str = ""

    @property
    def matched(self) -> bool:
        """Whether everything was as recorded."""
        return not self.departures

    def depart(self, text: str) -> bool:
        """Note a departure.

        Returns:
            Whether it is to be told.
        """
        if len(self.departures) >= MAX_DEPARTURES:
            self.more += 1
            return False
        self.departures.append(text)
        return True


class _OverError(Exception):
    """The session is over; the text says why."""


class ReplaySession:
    """A session with one client.

    Args:
        leg: The connection; closed at the end.
        known: The recording.
        manner: How it is replayed.
        encryption: Puts TLS on the leg; None if that never happens.
        pacer: Has the client read segments apart.
        report: Told of each departure, as it happens.
    """

    def __init__(
        self,
        leg: Leg,
        known: Known,
        manner: Manner,
        *,
        encryption: Encryption | None = None,
        pacer: Pacer | None = None,
        report: Report = _silent,
    ) -> None:
        self._leg = leg
        self._plan = known.plan
        self._manner = manner
        self._encryption = encryption
        self._report = report
        self._matcher = Matcher(known, manner.match, manner.tls)
        self._splitter = Splitter(manner.split)
        self._lines = LineReader(LegStream(leg))
        self._pacer = pacer or Pacer(None)
        self._free_at = trio.current_time()  # from when on the next piece's delay counts
        self._next: Answer | None = None
        self._last: Answer | None = None
        self.outcome = Outcome()

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<ReplaySession>"

    async def run(self) -> Outcome:
        """Hold the session to its end, and close the connection."""
        try:
            if self._manner.tls == "start":
                await self._begin_tls()
            greeting = self._matcher.greeting
            if greeting is not None:
                await self._send(greeting.pieces)
            while not self._ends_here():
                await self._turn()
            await self._end()
            self.outcome.reason = "it ended as recorded"
        except _OverError as over:
            self.outcome.reason = str(over)
        except (LegLost, trio.BrokenResourceError):
            self.outcome.reason = "the client reset the connection"
        finally:
            self._leg.close()
        for step in self._matcher.left():
            self._depart(f"{step.title} did not come")
        return self.outcome

    def _depart(self, text: str) -> None:
        if self.outcome.depart(text):
            self._report(text)

    def _ends_here(self) -> bool:
        """Say whether the server ended the session here, or the client has."""
        end, last = self._plan.end, self._last
        if last is not None and last.last:
            return True
        if end.kind == "wait":
            return False
        if self._manner.match == "strict" or not end.after:
            return self._matcher.passed >= end.after
        return last is not None and last.step is self._plan.steps[end.after - 1]

    # What the client says.

    async def _turn(self) -> None:
        """Take a command, and those that came with it when it was recorded; answer them."""
        answer, self._next = self._next or await self._answer(), None
        if answer is None:
            raise _OverError(f"the client was silent for {self._manner.idle:g} seconds")
        if answer.exchange is not None:
            answer = await self._hold(answer.exchange)
        pieces = list(answer.pieces)
        while pieces and not answer.begins_tls and self._matcher.next_joined():
            following = await self._answer(TOGETHER)
            if following is None:
                break
            if following.departure or following.exchange is not None or not following.pieces:
                self._next = following
                break
            answer = following
            pieces += following.pieces
        self._last = answer
        await self._send(pieces)
        if answer.begins_tls:
            await self._begin_tls()

    async def _answer(self, within: float | None = None) -> Answer | None:
        """Read a command and find its answer; None if none comes in time.

        Args:
            within: Seconds; those that a client may be silent if it is None.
        """
        line = await self._line(self._manner.idle if within is None else within)
        if line is None:
            return None
        self._free_at = trio.current_time()
        self.outcome.commands += 1
        too_long = line is _TOO_LONG
        answer = self._matcher.too_long() if too_long else self._matcher.command(line)
        if answer.departure:
            self._depart(f"command {self.outcome.commands}: {answer.departure}")
        return answer

    async def _line(self, seconds: float) -> bytes | None:
        with trio.move_on_after(seconds):
            try:
                return await self._lines.line(LONGEST_LINE)
            except LineTooLongError:
                return _TOO_LONG
            except EndOfStreamError:
                raise _OverError("the client closed the connection") from None
        return None

    async def _hold(self, exchange: Exchange) -> Answer:
        """Hold a SASL exchange; give the answer to AUTH."""
        recorded = exchange.step.challenges if exchange.step is not None else ()
        for number, challenge in enumerate(exchange.challenges):
            delay = recorded[number].delay if number < len(recorded) else 0.0
            await self._send([Piece(challenge + b"\r\n", delay)])
            line = await self._line(self._manner.idle)
            if line is None:
                raise _OverError(f"the client was silent for {self._manner.idle:g} seconds")
            self._free_at = trio.current_time()
            if line == b"*":
                return self._matcher.exchanged(exchange, cancelled=True)
        return self._matcher.exchanged(exchange, cancelled=False)

    # What it is told.

    async def _send(self, pieces: Sequence[Piece]) -> None:
        left = sum(len(piece.data) for piece in pieces)
        for number, piece in enumerate(self._splitter.cut(_together(pieces))):
            if number < _APART or left <= _LAST_OCTETS:
                await self._pacer.read()
            await self._until(self._free_at + self._scaled(piece.delay))
            await self._write(piece.data)
            self._free_at = trio.current_time()
            left -= len(piece.data)

    def _scaled(self, seconds: float) -> float:
        speed = self._manner.speed
        return 0.0 if speed is None else seconds / speed

    async def _until(self, when: float) -> None:
        """Wait until a time, or until the client is lost."""
        while (left := when - trio.current_time()) > 0:
            await trio.sleep(min(left, _SLICE))
            if self._leg.lost():
                raise _OverError("the client reset the connection")

    async def _write(self, data: bytes) -> None:
        for start in range(0, len(data), _WRITE):
            with trio.move_on_after(self._manner.idle) as waiting:
                await self._leg.write(data[start : start + _WRITE])
            if waiting.cancelled_caught:
                raise _OverError(f"the client took nothing for {self._manner.idle:g} seconds")
        await trio.lowlevel.checkpoint()  # others have to have their turn

    async def _begin_tls(self) -> None:
        if not self._lines.empty:
            self._depart("something was sent in the clear behind STLS")
            raise _OverError("something was sent in the clear behind STLS")
        if self._encryption is None:
            raise _OverError("there is no TLS here")
        try:
            encrypted = await self._encryption.with_client(self._leg)
        except NotEncrypted as failure:
            self._depart(f"TLS did not come about: {failure.cause}")
            raise _OverError(f"TLS did not come about: {failure.cause}") from None
        self._leg = encrypted.leg
        self._lines = LineReader(LegStream(self._leg))
        self._pacer = Pacer(None)
        self._matcher.tls_began()
        self._free_at = trio.current_time()

    # How it ends.

    async def _end(self) -> None:
        """End as the server did: in order, by a reset, or without TLS' own sign of an end."""
        end = self._plan.end
        recorded = self._manner.match == "lenient" or self._matcher.passed >= end.after
        if recorded:
            await self._until(self._free_at + self._scaled(end.delay))
        if end.kind == "reset" and recorded:
            with trio.move_on_after(_LINGER):
                await self._pacer.read()
                while self._leg.unsent():  # noqa: ASYNC110 - the kernel does not tell
                    await trio.sleep(0.01)
            self._leg.abort()
            return
        if self._plan.truncated and isinstance(self._leg, TlsLeg):
            await _cut(self._leg)
            return
        self._leg.half_close()
        await _linger(self._leg)


def _together(pieces: Sequence[Piece]) -> list[Piece]:
    """Join pieces that came in one read."""
    out: list[Piece] = []
    for piece in pieces:
        if piece.joined and out:
            out[-1] = replace(out[-1], data=out[-1].data + piece.data)
        else:
            out.append(piece)
    return out


async def _linger(leg: Leg) -> None:
    """Let the client read the last answer: octets that lie unread would reset the connection."""
    with trio.move_on_after(_LINGER), contextlib.suppress(LegLost):
        while await leg.read():
            pass


async def _cut(leg: TlsLeg) -> None:
    """End a connection under TLS without close_notify."""
    connected = leg.take()
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_WR)
        with trio.move_on_after(_LINGER):
            await trio.lowlevel.wait_readable(connected)
    trio.lowlevel.notify_closing(connected)
    connected.close()
