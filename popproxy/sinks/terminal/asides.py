"""What the live transcript says about the conversation, in sentences: one function a record type.

Every value that did not originate here is escaped, names of routes and causes of errors too.
"""

from __future__ import annotations

from popproxy.records import (
    MASK,
    AuthRecord,
    Endpoint,
    FindingRecord,
    GapRecord,
    MessagePart,
    RewriteRecord,
    SessionEnd,
    SessionStart,
    TlsEnd,
    TlsFailed,
    TlsPart,
    TlsStart,
)
from popproxy.sinks.terminal.ink import Glyphs, Ink, Palette
from popproxy.sinks.terminal.layout import Segment, count, duration, shown


def start(record: SessionStart, palette: Palette, glyphs: Glyphs) -> list[Segment]:
    """Say which session began, who the client is and where it is taken."""
    ends = f" {_endpoint(record.client)} {glyphs.arrow} {shown(record.route.upstream)}"
    if record.source is not None:
        ends = f" {_endpoint(record.client)}" if record.client.port else ""
        if record.server is not None:
            ends += f" {glyphs.arrow} {_endpoint(record.server)}"
    return [(f"session {shown(record.session.id)}", palette.title), (ends, palette.plain)]


def notice(record: SessionStart, palette: Palette) -> list[Segment]:
    """Say that mail is recorded, and how it is masked (P71)."""
    row: list[Segment] = []
    for piece in shown(record.notice, 1000).split(MASK):
        row += [(MASK, palette.mask)] if row else []
        row.append((piece, palette.quiet))
    if record.source is not None:
        guessed = [_GUESSED[one] for one in record.source.inferred if one in _GUESSED]
        if guessed:
            row.append((f" Guessed: {', '.join(guessed)}.", palette.quiet))
    return row


_GUESSED = {
    "side": "who said what",
    "time": "times (not shown)",
    "pauses": "times between lines (not shown)",
    "line-ends": "line ends",
    "order": "the order of both sides",
}
"""What an importer guesses, in words; addresses are not there to be seen."""


def rewrite(what: str, palette: Palette) -> list[Segment]:
    """Say that something changes the traffic (P28)."""
    return [("changes traffic", palette.warning), (f": {shown(what)}", palette.plain)]


def rewritten(record: RewriteRecord, palette: Palette) -> list[Segment]:
    """Say how a line was changed."""
    part = record.rewrite
    was, now = (shown(text.rstrip("\r\n")) for text in (part.was or "", part.now or ""))
    if not was:
        words = f"popproxy added {now}"
    elif not now:
        words = f"popproxy left out {was}"
    else:
        words = f"popproxy sent {now} instead of {was}"
    return [(words, palette.plain), (f" [{shown(part.rule)}]", palette.quiet)]


def end(record: SessionEnd, palette: Palette, *, timed: bool = True) -> list[Segment]:
    """Sum the session up.

    Args:
        record: Its last record.
        palette: The styles.
        timed: Whether its length is known.
    """
    summary = record.summary
    title = shown(summary.reason.replace("-", " "))
    if timed and record.event.duration is not None:
        title += f" after {duration(record.event.duration)}"
    if summary.detail:
        title += f" ({shown(summary.detail)})"
    figures = [(count(summary.commands, "command"), palette.plain)]
    for number, one, many in (
        (summary.messages_retrieved, "message retrieved", "messages retrieved"),
        (summary.deletions_committed, "deletion committed", "deletions committed"),
    ):
        if number:
            figures.append((count(number, one, many), palette.plain))
    for number, one, many in (
        (summary.deletions_pending, "deletion not committed", "deletions not committed"),
        (summary.unanswered_commands, "unanswered command", "unanswered commands"),
        (summary.unmatched_responses, "unmatched response", "unmatched responses"),
        (summary.findings, "finding", "findings"),
    ):
        if number:
            figures.append((count(number, one, many), palette.warning))
    octets = f"{count(summary.octets_client, 'octet')} sent, {summary.octets_server:,} received"
    figures.append((octets, palette.plain))
    return [(title, palette.title), (": ", palette.plain), *joined(figures, palette.plain)]


def finding(record: FindingRecord, palette: Palette) -> tuple[Segment, list[Segment]]:
    """Give a finding's sign and its sentence."""
    part = record.finding
    sign, ink = {
        "info": (" i", palette.info),
        "warning": (" !", palette.warning),
        "error": ("!!", palette.error),
    }[part.severity]
    place = [shown(part.where)] if part.where else []
    figure = [f"{part.count:,}"] if part.count is not None else []
    source = [shown(text) for text in (part.code, part.rfc) if text]
    what = f": {shown(part.what, 1000)}"
    if place or figure:
        what += f" ({', '.join(place + figure)})"
    return (sign, ink), [
        (part.severity, ink),
        (what, palette.plain),
        (f" [{', '.join(source)}]", palette.quiet),
    ]


def login(record: AuthRecord, palette: Palette) -> list[Segment]:
    """Say how a login went."""
    words, ink = {
        "success": ("logged in", palette.good),
        "failure": ("login failed", palette.error),
        "unknown": ("login without an outcome", palette.warning),
    }[record.auth.outcome]
    user = f" as {shown(record.user.name)}" if record.user is not None else ""
    return [(words + user, ink), (f" ({shown(record.auth.mechanism)})", palette.quiet)]


def message(part: MessagePart, palette: Palette, glyphs: Glyphs) -> list[Segment]:
    """Say what a message is about and who sent it, as far as that was recorded."""
    if part.subject is None and part.from_ is None:
        return [("a message", palette.quiet)]
    row: list[Segment] = []
    for name, value in (("Subject:", part.subject), ("From:", part.from_)):
        if value is not None:
            row += [(f" {glyphs.dot} ", palette.quiet)] if row else []
            row += [(name, palette.header), (f" {shown(value, 120)}", palette.plain)]
    return row


def gap(record: GapRecord, palette: Palette) -> list[Segment]:
    """Say that records are missing."""
    number = record.gap.records
    lost = count(number, "record") if number is not None else "records"
    return [(f"{lost} lost", palette.error), (f": {shown(record.gap.reason)}", palette.plain)]


def tls(record: TlsStart | TlsFailed | TlsEnd, palette: Palette) -> list[Segment]:
    """Say what became of TLS on a leg."""
    part = record.tls
    peer = "the client" if part.leg == "client" else "the server"
    match record:
        case TlsFailed():
            words = part.cause or part.alert
            cause = f": {shown(words, 400)}" if words else ""
            remedy = f" - {shown(part.remedy, 400)}" if part.remedy else ""
            return [
                (f"no TLS with {peer}", palette.error),
                (cause, palette.plain),
                (remedy, palette.quiet),
            ]
        case TlsEnd():
            if not part.truncated:
                return [(f"TLS with {peer} ended", palette.quiet)]
            return [(f"TLS with {peer} ended without close_notify", palette.warning)]
        case _:
            if part.passed_through:
                words = "TLS between client and server; what follows cannot be read"
                return [(words, palette.warning)]
            facts = joined([(fact, palette.quiet) for fact in _tls_facts(part)], palette.quiet)
            return [
                (f"TLS with {peer}", palette.good),
                *([(": ", palette.quiet)] if facts else []),
                *facts,
            ]


def _tls_facts(part: TlsPart) -> list[str]:
    facts = [shown(fact) for fact in (part.version, part.cipher) if fact]
    if part.server_name:
        facts.append(f"SNI {shown(part.server_name)}")
    if part.certificate_names:
        facts.append(f"certificate for {shown(', '.join(part.certificate_names))}")
    return facts


def joined(segments: list[Segment], comma: Ink) -> list[Segment]:
    """Put commas between segments."""
    row: list[Segment] = []
    for segment in segments:
        if row:
            row.append((", ", comma))
        row.append(segment)
    return row


def _endpoint(endpoint: Endpoint) -> str:
    address = shown(endpoint.address)
    return f"[{address}]:{endpoint.port}" if ":" in address else f"{address}:{endpoint.port}"
