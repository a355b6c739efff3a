"""One session of an HTML page: what each record adds to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from popproxy.formats.html_text import milliseconds, shown_lines, shown_text
from popproxy.records import (
    AuthRecord,
    CommandRecord,
    DataRecord,
    FindingRecord,
    GapRecord,
    GreetingRecord,
    MessagePart,
    Record,
    ResponseRecord,
    RewriteRecord,
    SessionEnd,
    SessionStart,
    TlsEnd,
    TlsFailed,
    TlsPart,
    TlsStart,
    WireRecord,
)

BODY_SHOWN: Final = 64 * 1024
"""Octets of a message's content that are shown."""

LINES_MOST: Final = 20_000
"""Lines of one session that are shown."""

SESSION_MOST: Final = 16 * 1024 * 1024
"""Characters of one session's lines."""

_FOLDED_FROM: Final = 12
_TLS_WORDS: Final = {
    "tls.start": "TLS begins",
    "tls.failed": "TLS failed",
    "tls.end": "TLS ends",
}


@dataclass(slots=True, kw_only=True)
class HtmlSession:
    """What is known and written of a session.

    Attributes:
        number: In the page, from 1.
        id: The session's.
        began: When.
        lines: Its lines, as HTML.
        left_out: Lines that are not shown.
        bars: Of responses: the number of the line, and when it began and ended, in seconds.
    """

    number: int
    id: str
    began: datetime
    start: SessionStart | None = None
    end: SessionEnd | None = None
    user: str = ""
    tls: list[str] = field(default_factory=list)
    commands: int = 0
    retrieved: int = 0
    findings: int = 0
    lines: list[str] = field(default_factory=list)
    size: int = 0
    left_out: int = 0
    bars: list[tuple[int, float, float]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    body_octets: int = 0
    seen: set[int] = field(default_factory=set)
    done: str = ""

    @property
    def timed(self) -> bool:
        """Whether its times are those of the wire, and not an importer's."""
        source = self.start.source if self.start is not None else None
        return source is None or not {"time", "pauses"} & set(source.inferred)


def add(session: HtmlSession, record: Record) -> None:
    """Take a record of the session in.

    Args:
        session: The session.
        record: The record.
    """
    match record:
        case SessionStart():
            session.start = record
        case SessionEnd():
            session.end = record
        case CommandRecord():
            session.commands += 1
            _line(session, record, seq=record.pop3.seq)
        case GreetingRecord():
            _line(session, record)
        case DataRecord():
            _data(session, record)
        case ResponseRecord():
            _response(session, record)
        case AuthRecord():
            _auth(session, record)
        case FindingRecord():
            _finding(session, record)
        case GapRecord():
            lost = f" {record.gap.records:,} records are" if record.gap.records else " something is"
            text = f"<b>gap</b>:{lost} missing: {shown_text(record.gap.reason)}"
            _note(session, text, "gap")
        case RewriteRecord():
            part = record.rewrite
            was, now = (shown_text((one or "nothing").strip()) for one in (part.was, part.now))
            _note(session, f"<b>rewrite</b> {shown_text(part.rule)}: {was} became {now}", "warning")
        case TlsStart() | TlsFailed() | TlsEnd():
            _tls(session, record.event.action, record.tls)
        case _:
            pass


def _put(session: HtmlSession, line: str) -> None:
    if len(session.lines) >= LINES_MOST or session.size > SESSION_MOST:
        session.left_out += 1
        return
    session.lines.append(line)
    session.size += len(line)


def _since(session: HtmlSession, at: datetime) -> str:
    if not session.timed:
        return ""
    return f"{(at - session.began).total_seconds():,.3f}"


def _line(
    session: HtmlSession, record: WireRecord, *, seq: int | None = None, duration: int | None = None
) -> None:
    """Show lines of the wire, each in its row."""
    wire = record.wire
    if not wire:
        return
    side = "c" if record.side == "client" else "s"
    word, name = ("C", "client") if side == "c" else ("S", "server")
    wrong = " err" if side == "s" and wire.startswith(b"-ERR") else ""
    target = ""
    if seq is not None and seq not in session.seen:
        session.seen.add(seq)
        target = f' id="s{session.number}c{seq}"'
    for number, text in enumerate(shown_lines(wire)):
        time = _since(session, record.timestamp) if not number else ""
        timed = duration is not None and session.timed and not number
        taken = milliseconds(duration or 0) if timed else ""
        _put(
            session,
            f'<li class="x {side}{wrong}"{target} tabindex="-1"><span class="t">{time}</span>'
            f'<span class="w" title="{name}">{word}</span><code>{text}</code>'
            f'<span class="d">{taken}</span></li>\n',
        )
        target = ""


def _data(session: HtmlSession, record: DataRecord) -> None:
    if record.pop3.part == "content" and record.side == "server":
        wire = record.wire
        room = BODY_SHOWN - len(session.body)
        session.body += wire[: max(room, 0)]
        session.body_octets += len(wire)
    elif record.wire:
        _line(session, record)
    elif record.pop3.octets:
        _note(session, f"{record.pop3.octets:,} octets that were not read", "dim")


def _response(session: HtmlSession, record: ResponseRecord) -> None:
    part = record.pop3
    if part.multi_line:
        show_body(session, record)
    elif session.body_octets:
        show_body(session, None)
    if part.command == "RETR" and part.ending in ("terminated", "ambiguous"):
        session.retrieved += part.status == "+OK"
    _line(session, record, duration=record.event.duration)
    _bar(session, record)
    if part.ending not in (None, "terminated"):
        _note(session, f"The response ended otherwise: {shown_text(part.ending or '')}.", "warning")


def _bar(session: HtmlSession, record: ResponseRecord) -> None:
    """Remember when an answer was waited for."""
    end = (record.timestamp - session.began).total_seconds()
    known = record.event.duration is not None and session.timed
    if session.lines and known and not session.left_out:
        took = (record.event.duration or 0) / 1e9
        session.bars.append((len(session.lines) - 1, end - took, end))


def draw_bars(session: HtmlSession) -> None:
    """Put into each response's line when it was waited for, within the whole session."""
    whole = max((end for _, _, end in session.bars), default=0.0)
    if session.end is not None and session.end.event.duration is not None:
        whole = max(whole, session.end.event.duration / 1e9)
    for number, begin, end in session.bars if whole > 0 else ():
        left = min(max(begin / whole, 0.0), 1.0) * 100
        width = max(min(end / whole, 1.0) * 100 - left, 0.15)
        bar = (
            '<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect x="{left:.2f}" width="{width:.2f}" height="1" fill="currentColor"/></svg>'
        )
        session.lines[number] = session.lines[number].removesuffix("</li>\n") + bar + "</li>\n"
    session.bars.clear()


def show_body(session: HtmlSession, record: ResponseRecord | None) -> None:
    """Show the content of a response, folded if it is long.

    Args:
        session: The session.
        record: The response's end, if it has come.
    """
    body, octets = bytes(session.body), session.body_octets
    session.body.clear()
    session.body_octets = 0
    part = record.pop3 if record is not None else None
    total = part.octets if part is not None and part.octets is not None else octets
    if not total:
        return
    lines = list(shown_lines(body))
    what = [f"{part.lines:,} lines" if part is not None and part.lines else "content"]
    what.append(f"{total:,} octets")
    facts = _message(part.message) if part is not None and part.message is not None else ""
    left = f"\n… {octets - len(body):,} more octets" if octets > len(body) else ""
    if total > octets:
        left += f"\n… {total - octets:,} octets were not recorded"
    is_open = " open" if len(lines) <= _FOLDED_FROM and not facts else ""
    text = "\n".join(lines) + left
    _put(
        session,
        '<li class="x s" tabindex="-1"><span class="t"></span><span class="w"></span>'
        f"<details{is_open}><summary>{', '.join(what)}{facts}</summary><pre>{text}</pre></details>"
        "</li>\n",
    )


def _message(message: MessagePart) -> str:
    facts = [("subject", message.subject), ("from", message.from_), ("date", message.date)]
    told = "".join(f" · {name} <b>{shown_text(value)}</b>" for name, value in facts if value)
    differ = ""
    if message.octets_announced is not None and message.octets_announced != message.octets:
        differ = f" · announced {message.octets_announced:,}, counted {message.octets:,}"
    return f"{told}{differ} · SHA-256 {shown_text(message.sha256[:16])}…"


def _note(session: HtmlSession, text: str, kind: str, *, odd: bool = True) -> None:
    """Show something that is not of the wire; the text is HTML."""
    mark = " odd" if odd else ""
    _put(
        session,
        f'<li class="x{mark}" tabindex="-1"><span class="t"></span><span class="w"></span>'
        f'<span class="note {kind}">{text}</span></li>\n',
    )


def _finding(session: HtmlSession, record: FindingRecord) -> None:
    part = record.finding
    session.findings += 1
    rfc = f" ({shown_text(part.rfc)})" if part.rfc else ""
    where = f" {shown_text(part.where)}" if part.where else ""
    link = ""
    if part.command_seq is not None:
        target = f"s{session.number}c{part.command_seq:d}"
        link = f' <a href="#{target}">command {part.command_seq:d}</a>'
    kind = part.severity if part.severity in ("info", "warning", "error") else "info"
    text = f"<b>{kind} {shown_text(part.code)}</b>: {shown_text(part.what)}{rfc}{where}{link}"
    _note(session, text, kind)


def _auth(session: HtmlSession, record: AuthRecord) -> None:
    user = record.user.name if record.user is not None else ""
    if record.auth.outcome == "success" and user:
        session.user = user
    who = f" as {shown_text(user)}" if user else ""
    text = f"login by {shown_text(record.auth.mechanism)}{who}: {shown_text(record.auth.outcome)}"
    _note(session, text, "dim", odd=record.auth.outcome == "failure")


def _tls(session: HtmlSession, action: str, part: TlsPart) -> None:
    facts = [part.version, part.cipher, part.server_name, part.cause, part.remedy, part.alert]
    told = ", ".join(shown_text(one) for one in facts if one)
    words = f"{_TLS_WORDS[action]} on the {shown_text(part.leg)} leg"
    cut = ", without close_notify" if part.truncated else ""
    _note(session, f"{words}{': ' + told if told else ''}{cut}", "dim", odd=action == "tls.failed")
    if action == "tls.start":
        session.tls.append(f"{part.leg} leg: {', '.join(one for one in facts[:3] if one)}")
