"""The server's side of a session: lines answer commands, content follows some of them."""

from __future__ import annotations

from popproxy.pop3 import _unasked
from popproxy.pop3._client import HEAD, without_line_end
from popproxy.pop3._parts import Parts
from popproxy.pop3.events import (
    Ending,
    Event,
    LinePart,
    Read,
    Response,
    Side,
    State,
    Status,
    StlsWaiting,
)
from popproxy.pop3.findings import FindingCode
from popproxy.pop3.framing import MAX_LINE, PIECE, Taken
from popproxy.pop3.grammar import Exchange, Secrecy, Trigger, next_state
from popproxy.pop3.pending import Waiting
from popproxy.pop3.values import StatusLine, parse_status, response_code

_TRANSACTION_ONLY = frozenset({State.TRANSACTION})


def read(parts: Parts, at: int, out: list[Event]) -> None:
    """Read what the server's stream holds.

    Args:
        parts: The session.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.
    """
    stream = parts.server
    while len(stream) and not parts.opaque and not parts.waiting_for_tls:
        if parts.server_content is not None:
            if not _content(parts, at, out):
                return
        elif size := stream.line_size():
            line(parts, size, at, out)
        elif stream.part_due():
            if parts.held is not None and not stream.head and _undecided(parts, MAX_LINE, out):
                continue
            taken = stream.take(MAX_LINE)
            stream.head = stream.head or taken.raw[:HEAD]
            out.append(
                LinePart(
                    side=Side.SERVER,
                    raw=taken.raw,
                    at=at,
                    reads=taken.reads,
                    joined=taken.joined,
                )
            )
        else:
            return


def _content(parts: Parts, at: int, out: list[Event]) -> bool:
    """Read on in a multi-line response; True if it has ended."""
    content, stream, of = parts.server_content, parts.server, parts.server_of
    if content is None:
        return True
    status = None
    if of is not None and of.lines is None:
        status = content.find_status(stream, expected=len(parts.queue) > 0)
    found = content.find_end(stream, before=status)
    if found is None and status is not None:
        parts.give_content(Side.SERVER, status, at, out)
        parts.end_content(Side.SERVER, 0, Ending.RESYNCHRONISED, at, out)
        return True
    if found is None:
        spare = content.spare(stream)
        parts.give_content(Side.SERVER, spare - spare % PIECE, at, out)
        return False
    parts.give_content(Side.SERVER, found[0], at, out)
    parts.end_content(Side.SERVER, found[1], Ending.TERMINATED, at, out)
    return True


def _undecided(parts: Parts, size: int, out: list[Event]) -> bool:
    """Decide, by the line that follows it, whether the held response has several lines.

    Returns:
        True if it has: the line is content, and stays in the stream.
    """
    held, of = parts.held, parts.server_of
    if held is None:
        return False
    status = parse_status(without_line_end(parts.server.peek(size))).status
    lines = status not in (Status.OK, Status.ERR)
    parts.release(out, lines=lines)
    if lines:
        parts.begin_content(Side.SERVER, of, strict=held.raw.endswith(b"\r\n"))
    return lines


def line(parts: Parts, size: int, at: int, out: list[Event], *, terminated: bool = True) -> None:
    """Read one line that is not content.

    Args:
        parts: The session.
        size: Octets of the line that the stream holds, line end included.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.
        terminated: Whether it has a line end.
    """
    stream = parts.server
    if parts.held is not None and not stream.head and _undecided(parts, size, out):
        return
    head, last = stream.head, parts.last
    parsed = parse_status(head or without_line_end(stream.peek(size)))
    if parsed.status is Status.NONE and last is not None and terminated and not head:
        first = parts.queue.first
        if first is not None and first.lines:
            parts.last = None
            _recover(parts, first, last, at, out)
            return
    taken = stream.take(size)
    stream.head = b""
    _line(parts, parsed, taken, at, out, overlong=bool(head), terminated=terminated)


def whole_line(parts: Parts, data: bytes, at: int, out: list[Event]) -> bool:
    """Read what one read brought if it is one line with a status, and nothing is held.

    See `popproxy.pop3._client.whole_line`.

    Args:
        parts: The session.
        data: What the read brought.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.

    Returns:
        Whether it is read; if not, it belongs into the stream.
    """
    if parts.held is not None or not parts.starts_afresh(Side.SERVER, data):
        return False
    parsed = parse_status(without_line_end(data))
    if parsed.status is Status.NONE:
        return False
    _line(parts, parsed, Taken(data, (Read(at, len(data)),), False), at, out)
    return True


def _line(
    parts: Parts,
    parsed: StatusLine,
    taken: Taken,
    at: int,
    out: list[Event],
    *,
    overlong: bool = False,
    terminated: bool = True,
) -> None:
    """Read a line that is in no stream any more.

    Args:
        parts: The session.
        parsed: What it says.
        taken: Its octets.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.
        overlong: Whether it is longer than `MAX_LINE`.
        terminated: Whether it has a line end.
    """
    parts.last = None
    first = parts.queue.first
    _line_departures(parts, first, taken.raw, at, out, overlong=overlong)
    if not parts.greeted and (parts.state is State.GREETING or _unasked.greets_late(parts, parsed)):
        _unasked.greeting(parts, parsed, taken, at, out)
    elif first is None:
        _unasked.unasked(parts, parsed, taken, at, out, terminated=terminated)
    elif parsed.status is Status.CHALLENGE or (
        first.sasl and parsed.status in (Status.OTHER_POSITIVE, Status.NONE)
    ):
        _unasked.challenge(parts, first, parsed, taken, at, out, terminated=terminated)
    elif parsed.status is Status.NONE:
        first.junk = True
        parts.departure(FindingCode.UNSOLICITED_LINE, at, out, once=True)
        _unasked.unexpected(parts, taken, at, out, terminated=terminated)
    else:
        _answer(parts, parsed, taken, at, out, overlong=overlong, terminated=terminated)


def _recover(parts: Parts, first: Waiting, text: bytes, at: int, out: list[Event]) -> None:
    """Take the last status line for the answer to the command whose content comes now.

    Args:
        parts: The session.
        first: The command.
        text: What the status line said behind its +OK.
        at: When, monotonic, in nanoseconds.
        out: Where the events go.
    """
    parts.queue.pop()
    parts.lost = True
    parts.departure(FindingCode.STEP_LOST, at, out, seq=first.seq)
    out.append(
        Response(
            side=Side.SERVER,
            at=at,
            seq=first.seq,
            keyword=first.keyword,
            arguments=first.arguments,
            status=Status.OK,
            text=text,
            code=response_code(text, Status.OK),
            multi_line=True,
            elapsed=at - first.sent_at,
            state=parts.state,
        )
    )
    parts.begin_content(Side.SERVER, first, strict=parts.last_strict)


def _answer(
    parts: Parts,
    parsed: StatusLine,
    taken: Taken,
    at: int,
    out: list[Event],
    *,
    overlong: bool,
    terminated: bool,
) -> None:
    """Pair a status line with the oldest command that waits."""
    status, text = parsed
    of = parts.queue.pop()
    positive = status in (Status.OK, Status.OTHER_POSITIVE)
    lines = of.lines if positive and terminated else False
    code = response_code(text, status)
    beyond = parts.queue.settle(of) if of.sasl else 0
    if positive:
        _enter(parts, of)
    response = Response(
        side=Side.SERVER,
        raw=taken.raw,
        at=at,
        reads=taken.reads,
        joined=taken.joined,
        seq=of.seq,
        keyword=of.keyword,
        arguments=of.arguments,
        status=status,
        text=text,
        code=code,
        multi_line=bool(lines),
        elapsed=at - of.sent_at,
        state=parts.state,
        overlong=overlong,
        terminated=terminated,
    )
    if lines is None:
        parts.held, parts.server_of = response, of
        return
    out.append(response)
    if lines:
        parts.begin_content(Side.SERVER, of, strict=taken.raw.endswith(b"\r\n"))
    elif status is Status.OK:
        parts.last, parts.last_strict = text, taken.raw.endswith(b"\r\n")
    if status is Status.OK:
        if code is not None:
            parts.departure(FindingCode.CODE_ON_OK, at, out, seq=of.seq, once=True)
    elif status is not Status.ERR:
        parts.departure(FindingCode.MALFORMED_STATUS, at, out, seq=of.seq, once=True)
    if beyond:
        # No count: how many lines a client's blob was cut into depends on the secret.
        parts.departure(
            FindingCode.SASL_LINES_BEYOND_EXCHANGE, at, out, side=Side.CLIENT, seq=of.seq
        )
    spec = of.spec
    if spec is not None and spec.exchange is not Exchange.NONE:
        _begin_exchange(parts, of, at, out, positive=positive)


def _enter(parts: Parts, of: Waiting) -> None:
    """Change the state after a positive response (RFC 1939, section 3)."""
    spec = of.spec
    if spec is None:
        return
    if spec.logs_in and (of.sasl or spec.exchange is not Exchange.SASL):
        parts.state = next_state(parts.state, Trigger.LOGIN)
    elif spec.keyword == b"QUIT":
        parts.state = next_state(parts.state, Trigger.QUIT)
    elif parts.state is not State.TRANSACTION and spec.states == _TRANSACTION_ONLY:
        parts.state = next_state(parts.state, Trigger.TRANSACTION_COMMAND)


def _begin_exchange(
    parts: Parts, of: Waiting, at: int, out: list[Event], *, positive: bool
) -> None:
    """Begin what the response to a command begins, beyond lines of content."""
    if of.exchange is Exchange.TLS:
        if positive:
            parts.waiting_for_tls = True
            out.append(StlsWaiting(side=Side.SERVER, seq=of.seq, at=at))
        else:
            parts.departure(FindingCode.STLS_REFUSED, at, out, seq=of.seq)
    elif of.exchange is Exchange.MESSAGE and positive:
        parts.begin_content(Side.CLIENT, of, strict=True)
    elif of.sasl and positive and not of.rounds and not of.initial:
        parts.resumable = of


def _line_departures(
    parts: Parts, first: Waiting | None, raw: bytes, at: int, out: list[Event], *, overlong: bool
) -> None:
    """Report what is wrong with a line as such.

    Nothing is said of a line that may echo a secret: what is odd in it may be the secret's.
    """
    if first is None:
        if parts.commands:  # a second answer, perhaps
            return
    else:
        spec = first.spec
        if not first.keyword or spec is None or spec.secrecy is Secrecy.SECRET:
            return
    if overlong:
        parts.departure(FindingCode.LINE_TOO_LONG, at, out, once=True)
    if raw.endswith(b"\n") and not raw.endswith(b"\r\n"):
        parts.departure(FindingCode.BARE_LF, at, out, once=True)
    if b"\x00" in raw:
        parts.departure(FindingCode.NUL, at, out, once=True)
    if b"\r" in without_line_end(raw):
        parts.departure(FindingCode.BARE_CR, at, out, once=True)
