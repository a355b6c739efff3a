"""Who was waited for, and how long: a session's time divided between client, server and proxy.

Every moment of a session belongs to one of them. popproxy's own are the TLS handshakes, which it
does with either side: from the session's beginning (or from the response to STLS) until TLS began;
connecting to the server is among them there. What it passes on takes it microseconds, which no
record tells. The server is waited for until it has greeted, and whenever a command is unanswered;
otherwise it is the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from popproxy.records import (
    CommandRecord,
    DataRecord,
    GreetingRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    SessionStart,
    TlsFailed,
    TlsStart,
)
from popproxy.tools.sessions import is_timed

SPANS_MOST: Final = 100_000
"""Exchanges of a session that are told."""

Owner = Literal["client", "server", "proxy"]


@dataclass(slots=True, kw_only=True)
class Span:
    """An exchange in time. All times are microseconds since the session's first record.

    Attributes:
        name: The command as recorded, `greeting`, or `TLS with the client` and the like.
        owner: Who was waited for: the server, or the proxy.
        since: When what was before it had ended: from there to `began`, the client is waited for.
        began: When the command was there.
        first: When the first of the response was there.
        ended: When all of it was; None if it never was.
    """

    name: str
    owner: Owner
    since: int
    began: int
    first: int | None = None
    ended: int | None = None


@dataclass(slots=True, kw_only=True)
class Timing:
    """A session in time, in microseconds.

    Attributes:
        session: The session's id.
        began: The time of its first record.
        length: From its first record to its last.
        spans: What happened, in order.
        totals: How long each was waited for; they add up to the length.
        cut: Exchanges beyond `SPANS_MOST`, which are not among the spans.
        timed: Whether times are known; an imported log may have none.
    """

    session: str = ""
    began: datetime | None = None
    length: int = 0
    spans: list[Span] = field(default_factory=list)
    totals: dict[Owner, int] = field(default_factory=lambda: {"client": 0, "server": 0, "proxy": 0})
    cut: int = 0
    timed: bool = True


class Clock:
    """Takes the time of one session, record by record."""

    def __init__(self) -> None:
        self.timing = Timing()
        self._now = 0
        self._quiet_since = 0
        self._opening = True
        self._handshaking = False
        self._open: dict[int, Span] = {}
        self._waiting: set[int] = set()
        self._held = 0  # the server's time in the opening, as long as it may be a handshake's

    def add(self, record: Record) -> None:
        """Take a record; they come in the session's order."""
        made = self.timing
        if made.began is None:
            made.began, made.session = record.timestamp, record.session.id
        at = max(self._now, (record.timestamp - made.began) // timedelta(microseconds=1))
        self._pass(at)
        match record:
            case SessionStart():
                made.timed = is_timed(record)
            case TlsStart() | TlsFailed():
                self._handshake_ended(record, at)
            case GreetingRecord():
                self._span(Span(name="greeting", owner="server", since=0, began=self._quiet_since))
                self._end(made.spans[-1] if made.spans else None, at)
                self._opened(at)
            case CommandRecord():
                self._opened(at)
                self._handshaking = False
                self._command(record, at)
            case DataRecord() if record.side == "server":
                self._first(record.pop3.command_seq, at)
            case ResponseRecord():
                self._first(record.pop3.command_seq, at)
                self._response(record, at)
            case SessionEnd():
                self._opened(at)
            case _:
                pass
        made.length = at

    def _pass(self, at: int) -> None:
        """Give the time since the last record to whoever was waited for."""
        passed, self._now = at - self._now, at
        owner: Owner = "client"
        if self._opening:
            self._held += passed
            owner = "server"
        elif self._handshaking:
            owner = "proxy"
        elif self._waiting:
            owner = "server"
        self.timing.totals[owner] += passed

    def _opened(self, at: int) -> None:
        """Nothing is waited for any more that comes before the first command."""
        if self._opening:
            self._opening = False
            self._held = 0
            self._quiet_since = at

    def _handshake_ended(self, record: TlsStart | TlsFailed, at: int) -> None:
        if not (self._opening or self._handshaking):
            return
        peer = "client" if record.tls.leg == "client" else "server"
        began = self._quiet_since
        self._span(Span(name=f"TLS with the {peer}", owner="proxy", since=began, began=began))
        self._end(self.timing.spans[-1] if self.timing.spans else None, at)
        if isinstance(record, TlsFailed) or record.tls.leg == "client":
            self._handshaking = False  # the client's comes last
        self.timing.totals["server"] -= self._held
        self.timing.totals["proxy"] += self._held
        self._held = 0
        self._quiet_since = at

    def _command(self, record: CommandRecord, at: int) -> None:
        words = [record.pop3.command]
        if record.pop3.arguments is not None:
            words.append(record.pop3.arguments)
        since = min(self._quiet_since, at) if not self._waiting else at
        span = Span(name=" ".join(words)[:200], owner="server", since=since, began=at)
        self._span(span)
        self._waiting.add(record.pop3.seq)
        if len(self._waiting) > SPANS_MOST:
            self._waiting.clear()
        if len(self.timing.spans) < SPANS_MOST:
            self._open[record.pop3.seq] = span

    def _first(self, seq: int | None, at: int) -> None:
        span = self._open.get(seq) if seq is not None else None
        if span is not None and span.first is None:
            span.first = at

    def _response(self, record: ResponseRecord, at: int) -> None:
        seq = record.pop3.command_seq
        if seq is None:
            return
        self._end(self._open.pop(seq, None), at)
        self._waiting.discard(seq)
        if not self._waiting:
            self._quiet_since = at
        if record.pop3.command == "STLS" and record.pop3.status == "+OK":
            self._handshaking = True

    def _span(self, span: Span) -> None:
        if len(self.timing.spans) < SPANS_MOST:
            self.timing.spans.append(span)
        else:
            self.timing.cut += 1

    def _end(self, span: Span | None, at: int) -> None:
        if span is not None:
            span.first = at if span.first is None else span.first
            span.ended = at


def timing(records: Iterable[Record]) -> Timing:
    """Take the time of a session.

    Args:
        records: Its records.
    """
    clock = Clock()
    for record in records:
        clock.add(record)
    return clock.timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From time to columns, with long waits for the client shortened.

    Attributes:
        per_column: Microseconds that a column stands for.
        longest: Waits for the client are drawn no longer than this, in microseconds.
    """

    per_column: float
    longest: int

    @classmethod
    def fitting(cls, spans: Sequence[Span], length: int, columns: int) -> Scale:
        """Make the scale with which spans fill some columns."""
        busy = [span.ended - span.began for span in spans if span.ended is not None]
        longest = max([*busy, sum(busy) // 4, 1])
        drawn = drawn_length(spans, length, longest)
        return cls(per_column=max(drawn / max(1, columns), 1e-9), longest=longest)


def drawn_length(spans: Sequence[Span], length: int, longest: int) -> int:
    """Give the length of a session with waits for the client shortened."""
    last = max((span.ended or span.began for span in spans), default=0)
    return last - sum(max(0, span.began - span.since - longest) for span in spans) or length
