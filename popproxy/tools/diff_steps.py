"""A session as steps that can be compared with those of another: commands, TLS, the end.

A step keeps what is known of a command and its response, and of a message's content no more than
the shape of its MIME parts, so that a session of gigabytes takes the memory of its commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from popproxy.records import (
    DataRecord,
    Endpoint,
    FindingRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    SessionStart,
    TlsEnd,
    TlsFailed,
    TlsPart,
    TlsStart,
)
from popproxy.tools import mail
from popproxy.tools.exchanges import Exchange, Pairing

STEPS_MOST: Final = 100_000
"""Steps of a session that are compared."""

CONTENT_MOST: Final = 4 * 1024 * 1024
"""Octets of a message whose parts are told."""

Kind = Literal["greeting", "command", "lines", "tls", "end"]


@dataclass(slots=True, kw_only=True)
class Step:
    """A step of a session.

    Attributes:
        kind: What it is.
        exchange: What was said; contents are not in it.
        structure: The MIME parts of the message that came, in words; empty if there was none, or
            it was not recorded whole.
        tls: What is known of TLS.
        event: What became of it: `tls.start`, `tls.failed`, `tls.end`.
        reason: Why the session ended.
    """

    kind: Kind
    exchange: Exchange = field(default_factory=Exchange)
    structure: str = ""
    tls: TlsPart | None = None
    event: str = ""
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class Session:
    """A session that is compared.

    Attributes:
        id: The session's.
        start: Its first record, if it is there.
        user: Who logged in last.
        steps: What happened, in order.
        cut: Whether there is more than `STEPS_MOST`.
    """

    id: str = ""
    start: SessionStart | None = None
    user: str | None = None
    steps: list[Step] = field(default_factory=list)
    cut: bool = False

    def names(self) -> Iterator[str]:
        """Give the names and addresses of hosts that belong to this session."""
        if self.start is not None:
            start = self.start
            ends: tuple[Endpoint | None, ...] = (start.client, start.server, start.via)
            ends += (start.destination,)
            yield from (end.address for end in ends if end is not None)
            yield self.start.listener.address
            for url in (self.start.route.upstream, self.start.route.listen):
                yield url.partition("://")[2].rpartition(":")[0] or url.partition("://")[2]
        for step in self.steps:
            if step.tls is not None:
                yield from step.tls.certificate_names
                yield step.tls.server_name or ""


def session(records: Iterable[Record]) -> Session:
    """Take a session in.

    Args:
        records: Its records.
    """
    made, pairing = Session(), Pairing()
    steps: dict[int, Step] = {}
    contents: dict[int, bytearray] = {}
    for record in records:
        made.id = record.session.id
        belongs = pairing.add(record)
        if belongs is None:
            _beside(made, record)
            continue
        exchange, new = belongs
        if new:
            if len(made.steps) >= STEPS_MOST:
                made.cut = True
                break
            steps[id(exchange)] = step = Step(kind=_kind(exchange), exchange=exchange)
            made.steps.append(step)
        if isinstance(record, DataRecord):
            _take_content(exchange, record, contents)
        elif isinstance(record, ResponseRecord):
            content = contents.pop(id(exchange), None)
            if content is not None and record.pop3.message is not None:
                steps[id(exchange)].structure = _structure(bytes(content), record)
        elif exchange.auth is not None and exchange.auth.user is not None:
            made.user = exchange.auth.user.name
    return made


def _kind(exchange: Exchange) -> Kind:
    if exchange.greeting is not None:
        return "greeting"
    return "command" if exchange.command is not None or exchange.response is not None else "lines"


def _beside(made: Session, record: Record) -> None:
    match record:
        case SessionStart():
            made.start = record
        case TlsStart() | TlsFailed() | TlsEnd():
            made.steps.append(Step(kind="tls", tls=record.tls, event=record.event.action))
        case FindingRecord():
            if made.steps and made.steps[-1].kind != "end":
                made.steps[-1].exchange.findings.append(record)
        case SessionEnd():
            made.steps.append(Step(kind="end", reason=record.summary.reason))
        case _:
            pass


def _take_content(exchange: Exchange, record: DataRecord, contents: dict[int, bytearray]) -> None:
    for pieces in (exchange.content, exchange.sasl, exchange.lines):
        del pieces[1:]
    if record.pop3.part != "content":
        return
    exchange.content.clear()
    held = contents.setdefault(id(exchange), bytearray())
    if len(held) <= CONTENT_MOST:
        held += record.wire


def _structure(content: bytes, record: ResponseRecord) -> str:
    part = record.pop3
    whole = part.octets is not None and len(content) == part.octets <= CONTENT_MOST
    if part.command != "RETR" or not whole:
        return ""
    root = mail.read(content).root
    return _told(root) if root is not None else ""


def _told(part: mail.Part) -> str:
    inner = ", ".join(map(_told, part.parts))
    return f"{part.type}({inner})" if inner else part.type
