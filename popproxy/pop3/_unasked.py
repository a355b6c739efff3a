"""Lines of the server that answer no command: greetings, challenges, what nobody asked for."""

from __future__ import annotations

from popproxy.pop3._parts import Parts
from popproxy.pop3.events import (
    Event,
    Greeting,
    Response,
    SaslChallenge,
    Side,
    Status,
    Unexpected,
)
from popproxy.pop3.findings import FindingCode
from popproxy.pop3.framing import Taken
from popproxy.pop3.grammar import Trigger, next_state
from popproxy.pop3.pending import Waiting
from popproxy.pop3.values import StatusLine, apop_timestamp, response_code


def greets_late(parts: Parts, parsed: StatusLine) -> bool:
    """Tell whether the line is the greeting proper, behind lines without status indicator."""
    return not parts.commands and parsed.status is not Status.NONE


def greeting(parts: Parts, parsed: StatusLine, taken: Taken, at: int, out: list[Event]) -> None:
    status, text = parsed
    parts.greeted = status is not Status.NONE
    parts.state = next_state(parts.state, Trigger.GREETING)
    greeting = Greeting(
        side=Side.SERVER,
        raw=taken.raw,
        at=at,
        reads=taken.reads,
        joined=taken.joined,
        status=status,
        text=text,
        timestamp=apop_timestamp(text),
        early_commands=len(parts.queue),
    )
    out.append(greeting)
    if status is Status.OK:
        parts.last, parts.last_strict = text, taken.raw.endswith(b"\r\n")
    elif status is not Status.ERR:
        parts.departure(FindingCode.GREETING_MALFORMED, at, out, once=True)


def unasked(
    parts: Parts,
    parsed: StatusLine,
    taken: Taken,
    at: int,
    out: list[Event],
    *,
    terminated: bool,
) -> None:
    """Report a line though no command waits."""
    status, text = parsed
    if status is Status.CHALLENGE:
        challenge(parts, None, parsed, taken, at, out, terminated=terminated)
    elif status is Status.NONE:
        code = (
            FindingCode.UNSOLICITED_LINE
            if parts.commands
            else FindingCode.GREETING_OF_SEVERAL_LINES
        )
        parts.departure(code, at, out, once=True)
        unexpected(parts, taken, at, out, terminated=terminated)
    else:
        parts.departure(FindingCode.UNSOLICITED_RESPONSE, at, out, once=True)
        out.append(
            Response(
                side=Side.SERVER,
                raw=taken.raw,
                at=at,
                reads=taken.reads,
                joined=taken.joined,
                seq=None,
                keyword=b"",
                arguments=b"",
                status=status,
                text=text,
                code=response_code(text, status),
                multi_line=False,
                state=parts.state,
                terminated=terminated,
            )
        )


def unexpected(parts: Parts, taken: Taken, at: int, out: list[Event], *, terminated: bool) -> None:
    out.append(
        Unexpected(
            side=Side.SERVER,
            raw=taken.raw,
            at=at,
            reads=taken.reads,
            joined=taken.joined,
            during=parts.state,
            terminated=terminated,
        )
    )


def challenge(
    parts: Parts,
    first: Waiting | None,
    parsed: StatusLine,
    taken: Taken,
    at: int,
    out: list[Event],
    *,
    terminated: bool,
) -> None:
    """Give out a line that is, or may be, part of a SASL exchange (P09)."""
    seq = None
    if first is not None and first.sasl:
        seq = first.seq
        if parsed.status is Status.NONE:
            parts.departure(FindingCode.NO_STATUS, at, out, seq=seq, once=True)
        else:
            first.rounds += 1
    else:
        parts.departure(FindingCode.UNSOLICITED_CHALLENGE, at, out, once=True)
        if first is not None and first.spec is None:
            parts.queue.pop()  # a SASL blob that was read as a command, and answered by this
    out.append(
        SaslChallenge(
            side=Side.SERVER,
            raw=taken.raw,
            at=at,
            reads=taken.reads,
            joined=taken.joined,
            seq=seq,
            terminated=terminated,
        )
    )
