"""Makes plans (`popproxy.tools.replay_plan`) of the records of a session.

Nothing here does any input or output. What the recording does not hold is either made up here, and
then `Plan.notes` says so, or it is absent; no octet stands in a plan silently that nobody sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from popproxy.records import (
    MASK,
    CommandRecord,
    DataRecord,
    GapRecord,
    GreetingRecord,
    Record,
    ResponsePart,
    ResponseRecord,
    SessionEnd,
    SessionStart,
    TlsEnd,
    TlsStart,
    WireRecord,
)
from popproxy.tools.replay_filler import filler
from popproxy.tools.replay_lists import left_out
from popproxy.tools.replay_plan import End, EndKind, Piece, Plan, Step, after

MAX_OCTETS = 256 * 1024 * 1024
"""Octets of the server that one session may have: a plan is held in memory."""
MAX_COMMANDS = 200_000
"""Commands that one session may have, for the same reason."""
LONGEST_DELAY = 86_400.0
"""Seconds that a server is believed to have taken."""
_MICRO = 1_000_000
_A_MICROSECOND = timedelta(microseconds=1)


class PlanError(Exception):
    """A session cannot be replayed; the text says why, and what to do."""


@dataclass(slots=True)
class _Open:
    """A step that is still being read."""

    step: Step
    came: int
    """When its command came, or the last line of its SASL exchange: microseconds."""
    pieces: list[Piece] = field(default_factory=list)
    challenges: list[Piece] = field(default_factory=list)
    content: int | None = None
    """Where the content begins."""
    recorded: int = 0
    """Octets of content that were recorded."""
    lines: int = 0
    ended: bool = False
    place: int = -1
    """Which command it is, from 0."""

    @property
    def size(self) -> int:
        return sum(len(piece.data) for piece in self.pieces)


class _Planner:
    """Reads the records of one session."""

    def __init__(self) -> None:
        self.session = ""
        self.greeting: _Open | None = None
        self.open: list[_Open] = []
        self.by_seq: dict[int, _Open] = {}
        self.last: _Open | None = None
        """The step that the server's last octets belong to."""
        self.started: datetime | None = None
        self.waiting = 0
        """Place of the first step behind the one that was answered last."""
        self.at = 0
        """When the server's last octets came."""
        self.octets = 0
        self.ended: SessionEnd | None = None
        self.tls: Literal["never", "stls", "start"] = "never"
        self.versions: dict[str, str | None] = {}
        self.truncated = False
        self.under_tls = False
        self.gaps = 0
        self.opaque = False

    def read(self, record: Record) -> None:
        self.session = self.session or record.session.id
        match record:
            case SessionStart():
                self.started = record.timestamp
            case SessionEnd():
                self.ended = record
            case TlsStart():
                self._tls(record)
            case TlsEnd():
                self.truncated |= record.tls.leg == "upstream" and record.tls.truncated
            case GapRecord():
                self.gaps += 1
            case GreetingRecord():
                self._server(record, self._begun())
            case CommandRecord():
                self._command(record)
            case ResponseRecord():
                self._response(record)
            case DataRecord():
                self._data(record)

    def _tls(self, record: TlsStart) -> None:
        if record.tls.passed_through:
            self.opaque = True
            return
        self.versions[record.tls.leg] = record.tls.version
        if record.tls.leg != "client":
            return
        self.under_tls = True
        stls = next((one for one in reversed(self.open) if one.step.command == "STLS"), None)
        if stls is None:
            self.tls = "start"
        else:
            self.tls = "stls"
            stls.step = replace(stls.step, begins_tls=True)

    def _command(self, record: CommandRecord) -> None:
        step = Step(
            seq=record.pop3.seq,
            command=record.pop3.command,
            arguments=record.pop3.arguments or "",
            state=record.pop3.state,
            pipelined=record.pop3.pipelined,
            under_tls=self.under_tls,
        )
        if len(self.open) >= MAX_COMMANDS:
            raise PlanError(
                f"session {self.session} has more than {MAX_COMMANDS:,} commands: choose a shorter"
                " one"
            )
        if record.pop3.complete:  # the rest of a line that never came is no command
            opened = self.by_seq[record.pop3.seq] = _Open(
                step, self._came(record), place=len(self.open)
            )
            self.open.append(opened)

    def _begun(self) -> _Open:
        """Give the step that is no command's."""
        if self.greeting is None:
            self.greeting = _Open(Step(seq=None, under_tls=self.under_tls), 0)
        return self.greeting

    def _of(self, seq: int | None) -> _Open:
        """Give the step of a command.

        Octets that answer nothing belong to the command that waits for an answer, if it came
        behind what was answered last; else they come after that.
        """
        if seq is not None and seq in self.by_seq:
            return self.by_seq[seq]
        if self.waiting < len(self.open):
            return self.open[self.waiting]
        return self.last or self._begun()

    def _came(self, record: WireRecord) -> int:
        """Give when a line of the client's was complete; reads of masked ones tell less."""
        last = record.segments[-1][0] if record.segments else 0
        if self.started is None:
            self.started = record.timestamp - timedelta(microseconds=last)
        return max(last, (record.timestamp - self.started) // _A_MICROSECOND)

    def _response(self, record: ResponseRecord) -> None:
        step = self._of(record.pop3.command_seq)
        if record.pop3.multi_line and step.content is not None:
            self._fill(step, record.pop3)
            step.step = replace(step.step, content=(step.content, step.size))
        answers = record.pop3.command_seq is not None and not step.ended
        if answers:
            step.step = replace(step.step, answer=record.pop3)
            step.ended = True
            self.waiting = max(self.waiting, step.place + 1)
        self._server(record, step)

    def _fill(self, step: _Open, answer: ResponsePart) -> None:
        """Make up the content that was not recorded."""
        missing = (answer.octets or 0) - step.recorded
        if missing <= 0:
            return
        if self.octets + missing > MAX_OCTETS:
            raise _too_large(self.session)
        lines = None if answer.lines is None else max(answer.lines - step.lines, 0)
        data = filler(missing, lines, header=not step.recorded and answer.message is not None)
        step.pieces.append(Piece(data))
        step.step = replace(step.step, filled=missing)
        self.octets += missing

    def _data(self, record: DataRecord) -> None:
        part = record.pop3.part
        if part == "opaque":
            self.opaque = True
        elif record.side == "client":
            if part == "sasl-response" and self.open:
                self._of(record.pop3.command_seq).came = self._came(record)
        else:
            step = self._of(record.pop3.command_seq)
            if part == "status":
                self._server(record, step)
                step.content = step.size
                return
            if part == "content" and not step.ended:
                wire = record.wire
                step.recorded += len(wire)
                step.lines += wire.count(b"\n")
            self._server(record, step, challenge=part == "sasl-challenge")

    def _server(self, record: WireRecord, step: _Open, *, challenge: bool = False) -> None:
        wire, start = record.wire, 0
        if not wire:
            return
        self.octets += len(wire)
        if self.octets > MAX_OCTETS:
            raise _too_large(self.session)
        pieces = step.challenges if challenge else step.pieces
        segments: Sequence[tuple[int, int]] = record.segments
        sizes = [size for _, size in segments]
        if sum(sizes) != len(wire) or min(sizes) < 0:
            segments = [(segments[0][0] if segments else self.at, len(wire))]
        for number, (at, size) in enumerate(segments):
            data = wire[start : start + size]
            start += size
            joined = record.joined and number == 0
            if not data:
                continue
            if joined and pieces and self.last is step:
                pieces[-1] = replace(pieces[-1], data=pieces[-1].data + data)
            else:
                delay = _seconds(at - max(self.at, step.came))
                pieces.append(Piece(data, delay, joined))
            self.at = max(at, self.at)
        self.last = step

    def plan(self) -> Plan:
        steps = []
        deleted: frozenset[int] = frozenset()
        every = [self.greeting] if self.greeting is not None else []
        every += self.open
        for one in every:
            step = replace(
                one.step,
                pieces=tuple(one.pieces),
                challenges=tuple(one.challenges),
                deleted=deleted,
            )
            steps.append(step)
            deleted = after(step.command, step.arguments, deleted) if step.ok else deleted
        return Plan(
            session=self.session,
            steps=tuple(steps),
            end=self._end(steps, every),
            tls=self.tls,
            tls_version=self.versions.get("upstream") or self.versions.get("client"),
            truncated=self.truncated,
            notes=tuple(self._notes(steps)),
        )

    def _end(self, steps: Sequence[Step], every: Sequence[_Open]) -> End:
        after = len(steps)
        while after and steps[after - 1].pipelined and not steps[after - 1].pieces:
            after -= 1
        reason = self.ended.summary.reason if self.ended is not None else ""
        kind: EndKind = "wait"
        delay = 0.0
        if reason in ("server-closed", "server-reset") and self.ended is not None:
            kind = "close" if reason == "server-closed" else "reset"
            came = max([self.at, *(one.came for one in every[:after])])
            ended = (self.ended.event.duration or 0) / 1000
            delay = _seconds(ended - came)
        elif steps and steps[-1].command == "QUIT" and steps[-1].ok:
            kind = "close"
        return End(kind=kind, delay=delay, after=after)

    def _notes(self, steps: Sequence[Step]) -> Iterable[str]:
        filled = [step for step in steps if step.filled]
        if filled:
            octets = sum(step.filled for step in filled)
            yield (
                f"{octets:,} octets in {len(filled)} answer{'s' * (len(filled) != 1)} were not"
                " recorded: other text of the same octets and lines stands in for them"
            )
        if mechanisms := left_out(steps):
            yield (
                f"{', '.join(mechanisms)}: left out of the server's lists, as a server needs the"
                " password for them"
            )
        if self.gaps:
            yield "records are missing from the capture: what they held is not served"
        if self.opaque:
            yield "a part of the session was not read when it was recorded, and is not served"
        if any(MASK.encode() in step.wire for step in steps):
            yield f"what was masked in the server's lines is served as {MASK}"


def _seconds(microseconds: float) -> float:
    return min(max(microseconds, 0) / _MICRO, LONGEST_DELAY)


def _too_large(session: str) -> PlanError:
    return PlanError(
        f"session {session} has more than {MAX_OCTETS // 1024 // 1024} MiB of the server's, which"
        " is more than popproxy holds in memory: choose a shorter one"
    )


def make_plan(records: Iterable[Record]) -> Plan:
    """Make a plan of one session.

    Args:
        records: The session's records, in the order of `session.seq`.

    Raises:
        PlanError: The session cannot be replayed: nothing in it was read, or it is too large.
    """
    planner = _Planner()
    for record in records:
        planner.read(record)
    plan = planner.plan()
    if not plan.steps:
        why = "it was passed through under TLS" if planner.opaque else "nothing was said in it"
        raise PlanError(
            f"session {plan.session or 'of this capture'} holds nothing to replay: {why}"
        )
    return plan
