"""A session's records as a person thinks of them: a command, and all that belongs to it.

Records stand in the order in which things happened; with pipelining, several commands come before
the first answer. Here they are put together by the number of the command that they belong to. What
belongs to none, a line that answers nothing for instance, is an exchange without a command.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from popproxy.records import (
    AuthRecord,
    CommandRecord,
    DataRecord,
    FindingRecord,
    GapRecord,
    GreetingRecord,
    Record,
    ResponseRecord,
    RewriteRecord,
    SessionEnd,
    SessionStart,
    TlsEnd,
    TlsFailed,
    TlsStart,
)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A command and its response, or the greeting, or lines that answer nothing.

    Attributes:
        greeting: The greeting, in the exchange that it is.
        command: The command.
        status: The status line of a response of several lines.
        content: The content of such a response, in pieces, as far as it was recorded; or a message
            that the client sends.
        sasl: Challenges and responses of a login, masked.
        lines: Lines that answer nothing, and counts of traffic that was not read.
        response: The response, the last if there are several; for several lines the end of it.
        earlier: Responses before the last one, as to XTND XMIT, with their status lines.
        auth: How the login went that this command ended.
        findings: What is odd about any of these.
        rewrites: Lines of these that were changed on their way.
    """

    greeting: GreetingRecord | None = None
    command: CommandRecord | None = None
    status: DataRecord | None = None
    content: list[DataRecord] = field(default_factory=list)
    sasl: list[DataRecord] = field(default_factory=list)
    lines: list[DataRecord] = field(default_factory=list)
    response: ResponseRecord | None = None
    earlier: list[DataRecord | ResponseRecord] = field(default_factory=list)
    auth: AuthRecord | None = None
    findings: list[FindingRecord] = field(default_factory=list)
    rewrites: list[RewriteRecord] = field(default_factory=list)

    @property
    def keyword(self) -> str:
        """The command's keyword as recorded; empty if there is none."""
        if self.command is not None:
            return self.command.pop3.command
        if self.response is not None:
            return self.response.pop3.command or ""
        return ""

    @property
    def began(self) -> datetime | None:
        """When the first of it was recorded."""
        first = (
            self.greeting,
            self.command,
            *self.sasl[:1],
            self.status,
            *self.content[:1],
            *self.lines[:1],
            self.response,
            *self.findings[:1],
        )
        return min((record.timestamp for record in first if record is not None), default=None)

    @property
    def duration(self) -> int | None:
        """Nanoseconds from the command to the end of its response, if both are there."""
        return self.response.event.duration if self.response is not None else None

    def wire(self) -> bytes:
        """Give the server's octets of it, masked, as far as they were recorded."""
        pieces: list[GreetingRecord | DataRecord | ResponseRecord] = [
            *([self.greeting] if self.greeting is not None else []),
            *self.earlier,
            *([self.status] if self.status is not None else []),
            *(piece for piece in self.content if piece.side == "server"),
            *([self.response] if self.response is not None else []),
        ]
        return b"".join(piece.wire for piece in pieces)


@dataclass(slots=True, kw_only=True)
class Conversation:
    """A session.

    Attributes:
        start: Its first record.
        exchanges: In the order in which each began.
        tls: What is known of TLS, in order.
        gaps: Where records are missing.
        findings: What is odd, and belongs to no command.
        end: Its last record.
        records: All of them, in the capture's order.
    """

    start: SessionStart | None = None
    exchanges: list[Exchange] = field(default_factory=list)
    tls: list[TlsStart | TlsFailed | TlsEnd] = field(default_factory=list)
    gaps: list[GapRecord] = field(default_factory=list)
    findings: list[FindingRecord] = field(default_factory=list)
    end: SessionEnd | None = None
    records: list[Record] = field(default_factory=list)


class Pairing:
    """Puts the records of one session into exchanges, as they come.

    An exchange is remembered by its command's number until it is forgotten: whoever reads a stream
    forgets those that are over.
    """

    def __init__(self) -> None:
        self._by_seq: dict[int, Exchange] = {}

    def add(self, record: Record) -> tuple[Exchange, bool] | None:
        """Put a record where it belongs.

        Returns:
            The exchange, and whether it begins with this record; None if the record belongs to no
            exchange that is remembered.
        """
        seq = command_seq(record)
        match record:
            case GreetingRecord():
                exchange, new = Exchange(), True
                exchange.greeting = record
            case CommandRecord():
                exchange, new = self._exchange(seq)
                exchange.command = record
            case DataRecord():
                exchange, new = self._exchange(seq)
                _add_data(exchange, record)
            case ResponseRecord():
                exchange, new = self._exchange(seq)
                _add_response(exchange, record)
            case AuthRecord() | FindingRecord() | RewriteRecord() if seq in self._by_seq:
                exchange, new = self._by_seq[seq], False
                _add_aside(exchange, record)
            case _:
                return None
        return exchange, new

    def forget(self, exchange: Exchange) -> None:
        """Have no exchange for its command any more."""
        for record in (exchange.command, exchange.response, exchange.status):
            if record is not None and (seq := command_seq(record)) is not None:
                self._by_seq.pop(seq, None)
        for piece in (*exchange.content[:1], *exchange.sasl[:1], *exchange.lines[:1]):
            if piece.pop3.command_seq is not None:
                self._by_seq.pop(piece.pop3.command_seq, None)

    def _exchange(self, seq: int | None) -> tuple[Exchange, bool]:
        found = self._by_seq.get(seq) if seq is not None else None
        if found is not None:
            return found, False
        made = Exchange()
        if seq is not None:
            self._by_seq[seq] = made
        return made, True


def command_seq(record: Record) -> int | None:
    """Give the number of the command that a record is, or belongs to; None if there is none."""
    match record:
        case CommandRecord():
            return record.pop3.seq
        case DataRecord() | ResponseRecord():
            return record.pop3.command_seq
        case AuthRecord():
            return record.auth.command_seq
        case FindingRecord():
            return record.finding.command_seq
        case RewriteRecord():
            return record.rewrite.command_seq
        case _:
            return None


def conversation(records: Iterable[Record]) -> Conversation:
    """Put the records of one session together.

    Args:
        records: All records of the session, in their order.
    """
    made, pairing = Conversation(), Pairing()
    for record in records:
        made.records.append(record)
        belongs = pairing.add(record)
        if belongs is not None:
            exchange, new = belongs
            if new:
                made.exchanges.append(exchange)
            continue
        match record:
            case SessionStart():
                made.start = record
            case FindingRecord():
                made.findings.append(record)
            case TlsStart() | TlsFailed() | TlsEnd():
                made.tls.append(record)
            case GapRecord():
                made.gaps.append(record)
            case SessionEnd():
                made.end = record
            case _:
                pass
    return made


def _add_aside(exchange: Exchange, record: AuthRecord | FindingRecord | RewriteRecord) -> None:
    match record:
        case AuthRecord():
            exchange.auth = record
        case FindingRecord():
            exchange.findings.append(record)
        case RewriteRecord():
            exchange.rewrites.append(record)


def _add_response(exchange: Exchange, record: ResponseRecord) -> None:
    if exchange.response is not None:
        exchange.earlier.append(exchange.response)
    exchange.response = record


def _add_data(exchange: Exchange, record: DataRecord) -> None:
    match record.pop3.part:
        case "status":
            if exchange.status is not None:
                exchange.earlier.append(exchange.status)
            exchange.status = record
        case "content":
            exchange.content.append(record)
        case "sasl-challenge" | "sasl-response":
            exchange.sasl.append(record)
        case _:
            exchange.lines.append(record)
