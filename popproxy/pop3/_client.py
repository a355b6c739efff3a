"""The client's side of a session: lines become commands, SASL responses or a message."""

from __future__ import annotations

from popproxy.pop3._parts import Parts
from popproxy.pop3.events import (
    Command,
    Ending,
    Event,
    LinePart,
    OpaqueReason,
    Read,
    SaslResponse,
    Side,
    State,
    Unanswered,
)
from popproxy.pop3.findings import FindingCode
from popproxy.pop3.framing import MAX_LINE, PIECE
from popproxy.pop3.grammar import (
    Exchange,
    ParsedCommand,
    Secrecy,
    parse_command,
)
from popproxy.pop3.pending import Waiting

HEAD = 512
"""Octets of an overlong line that are kept to read its keyword or status from."""

_TLS_HANDSHAKE = 0x16
_HTTP_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"PRI"})


def read(parts: Parts, at: int, out: list[Event]) -> None:
    """Read what the client's stream holds.

    Args:
        parts: The session.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.
    """
    stream = parts.client
    while not parts.opaque and len(stream):
        if parts.client_content is not None:
            if not _message(parts, at, out):
                return
        elif not parts.commands and not stream.head and stream.buffer[0] == _TLS_HANDSHAKE:
            # No keyword begins with this octet, so that one octet is enough to tell.
            parts.become_opaque(OpaqueReason.TLS_ON_PLAIN_PORT, at, out)
        elif size := stream.line_size():
            line(parts, size, at, out)
        elif stream.part_due():
            raw, reads, joined = stream.take(MAX_LINE)
            stream.head = stream.head or raw[:HEAD]
            out.append(LinePart(side=Side.CLIENT, raw=raw, at=at, reads=reads, joined=joined))
        else:
            return


def _message(parts: Parts, at: int, out: list[Event]) -> bool:
    """Read on in a message that the client sends; True if it has ended."""
    content, stream, of = parts.client_content, parts.client, parts.client_of
    if content is None or of is None:
        return True
    found = content.find_end(stream)
    if found is None:
        spare = content.spare(stream)
        parts.give_content(Side.CLIENT, spare - spare % PIECE, at, out)
        return False
    parts.give_content(Side.CLIENT, found[0], at, out)
    parts.end_content(Side.CLIENT, found[1], Ending.TERMINATED, at, out)
    receipt = Waiting(of.seq, ParsedCommand(of.keyword, b"", None), at, hidden=False)
    receipt.lines = False
    parts.queue.push(receipt)
    return True


def line(parts: Parts, size: int, at: int, out: list[Event], *, terminated: bool = True) -> None:
    """Read one line.

    Args:
        parts: The session.
        size: Octets of the line that the stream holds, line end included.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.
        terminated: Whether it has a line end.
    """
    stream = parts.client
    raw, reads, joined = stream.take(size)
    head, stream.head = stream.head, b""
    _line(parts, raw, reads, at, out, joined=joined, head=head, terminated=terminated)


def whole_line(parts: Parts, data: bytes, at: int, out: list[Event]) -> bool:
    """Read what one read brought if it is one line and nothing is held: most reads are like that.

    The same as if the stream had been fed with it.

    Args:
        parts: The session.
        data: What the read brought.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.

    Returns:
        Whether it is read; if not, it belongs into the stream.
    """
    if not parts.commands or not parts.starts_afresh(Side.CLIENT, data):
        return False
    _line(parts, data, (Read(at, len(data)),), at, out)
    return True


def _line(
    parts: Parts,
    raw: bytes,
    reads: tuple[Read, ...],
    at: int,
    out: list[Event],
    *,
    joined: bool = False,
    head: bytes = b"",
    terminated: bool = True,
) -> None:
    """Read a line that is in no stream any more.

    Args:
        parts: The session.
        raw: The line, line end included.
        reads: How it arrived.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.
        joined: Whether the first of the reads brought octets before the line, too.
        head: How it begins, if it is longer than `MAX_LINE`.
        terminated: Whether it has a line end.
    """
    queue = parts.queue
    text = head or without_line_end(raw)
    first = queue.first
    if (
        parts.held is not None
        or parts.server_content is not None
        or (first is not None and first.junk)
    ):
        _answered_by_what_came(parts, at, out)
    if queue.full:
        parts.become_opaque(OpaqueReason.TOO_MANY_PENDING, at, out)
    parsed = parse_command(text)
    resumed, parts.resumable = parts.resumable, None
    if resumed is not None and parsed.spec is None:
        resumed.rounds = 1  # the +OK stood for a challenge
        queue.push(resumed)
    if queue.auth is not None:
        out.append(
            SaslResponse(
                side=Side.CLIENT,
                raw=raw,
                at=at,
                reads=reads,
                joined=joined,
                seq=queue.auth.seq,
                overlong=bool(head),
                terminated=terminated,
            )
        )
        queue.reply(text, at)
        return
    pipelined = queue.first is not None
    if parts.lost and not pipelined and parts.server_content is None:
        parts.lost = False  # nothing waits: in step by itself
        parts.departure(FindingCode.STEP_RECOVERED, at, out, side=Side.CLIENT)
    parts.pipelines = parts.pipelines or pipelined
    parts.commands += 1
    out.append(
        Command(
            side=Side.CLIENT,
            raw=raw,
            at=at,
            reads=reads,
            joined=joined,
            seq=parts.commands,
            keyword=parsed.keyword,
            known=parsed.spec is not None,
            arguments=b"" if head else parsed.arguments,
            state=parts.state,
            pipelined=pipelined,
            overlong=bool(head),
            terminated=terminated,
        )
    )
    regular = not head and is_regular(parsed, raw)
    spec = parsed.spec
    if (
        not regular
        or spec is None
        or not parts.greeted
        or queue.stls is not None
        or parts.tls
        or parts.state not in spec.states
    ):
        _departures(parts, parsed, raw, at, out, overlong=bool(head))
    if terminated and not parts.opaque:
        queue.push(Waiting(parts.commands, parsed, at, hidden=False, well_formed=regular))


def is_regular(parsed: ParsedCommand, raw: bytes) -> bool:
    """Say whether a command's line is as its specification has it; secrets may be anything.

    Args:
        parsed: The command.
        raw: Its line, line end included.
    """
    spec = parsed.spec
    if spec is None or spec.secrecy is Secrecy.SECRET:
        return spec is not None
    return (
        raw.find(b"\r") == len(raw) - 2
        and raw.endswith(b"\r\n")
        and b"\x00" not in raw
        and spec.shape.fullmatch(parsed.arguments) is not None
    )


def without_line_end(raw: bytes) -> bytes:
    """Remove CRLF, or a bare LF, from a line."""
    if raw.endswith(b"\r\n"):
        return raw[:-2]
    return raw[:-1] if raw.endswith(b"\n") else raw


def _answered_by_what_came(parts: Parts, at: int, out: list[Event]) -> None:
    """Draw the conclusions from the client's going on."""
    parts.release(out, lines=False)
    queue, content = parts.queue, parts.server_content
    if content is not None and not len(queue):
        found = content.ambiguous_end(parts.server)
        if found is not None:
            parts.give_content(Side.SERVER, found[0], at, out)
            parts.end_content(Side.SERVER, found[1], Ending.AMBIGUOUS, at, out)
    first = queue.first
    if first is not None and first.junk and len(queue) == 1 and not parts.pipelines:
        queue.pop()
        parts.departure(FindingCode.NO_STATUS, at, out, seq=first.seq)
        out.append(Unanswered(side=Side.CLIENT, seq=first.seq, keyword=first.keyword, at=at))


def _departures(
    parts: Parts, parsed: ParsedCommand, raw: bytes, at: int, out: list[Event], *, overlong: bool
) -> None:
    """Report what is wrong with a command, but nothing that depends on a secret (P02, P03)."""
    spec, seq = parsed.spec, parts.commands

    def report(code: FindingCode, *, once: bool = False) -> None:
        parts.departure(code, at, out, side=Side.CLIENT, seq=seq, once=once)

    if parts.state is State.GREETING and not parts.greeted:
        report(FindingCode.COMMAND_BEFORE_GREETING, once=True)
    if parts.queue.stls is not None:
        report(FindingCode.LINES_BEHIND_STLS, once=True)
    if spec is None:
        if parsed.keyword in _HTTP_METHODS and b" HTTP/" in parsed.arguments:
            report(FindingCode.HTTP_ON_POP3_PORT, once=True)
        elif not parsed.keyword and not parsed.arguments:
            report(FindingCode.EMPTY_COMMAND, once=True)
        else:
            report(FindingCode.UNKNOWN_COMMAND)
        return
    if parts.tls and spec.exchange is Exchange.TLS:
        report(FindingCode.STLS_IN_TLS)
    if not len(parts.queue) and parts.greeted and parts.state not in spec.states:
        report(FindingCode.COMMAND_IN_WRONG_STATE)
    if spec.secrecy is Secrecy.SECRET:
        return
    if overlong:
        report(FindingCode.LINE_TOO_LONG)
        return
    if not raw.endswith(b"\r\n") and raw.endswith(b"\n"):
        report(FindingCode.BARE_LF, once=True)
    if b"\x00" in raw:
        report(FindingCode.NUL, once=True)
    if b"\r" in without_line_end(raw):
        report(FindingCode.BARE_CR, once=True)
    if not spec.shape.fullmatch(parsed.arguments):
        report(FindingCode.MALFORMED_COMMAND)
