"""The server's lines to records: greeting, challenges, and lines that answer nothing.

What the server says may hold what the client hid; `show_line` masks it, for responses, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from popproxy.pop3.events import (
    Greeting,
    LinePart,
    Read,
    Response,
    SaslChallenge,
    Side,
    Status,
    Unexpected,
)
from popproxy.pop3.grammar import COMMANDS
from popproxy.pop3.values import parse_status, response_code
from popproxy.privacy.commands import MASKED, split_line
from popproxy.privacy.forms import Span
from popproxy.privacy.learned import united
from popproxy.privacy.masking import Masked, reads_of
from popproxy.privacy.multiline import LongLine
from popproxy.privacy.recording import Recording, Start
from popproxy.privacy.tables import text_of
from popproxy.records import GreetingPart

_RAW_AND_TEXT = ("raw", "pop3.text")
_SERVER = Side.SERVER
_OK, _ERR = Status.OK, Status.ERR


class ShownLine(NamedTuple):
    """A server's line as it may be told.

    Attributes:
        raw: The line, masked; empty if it has been recorded before.
        reads: How it arrived, in masked form.
        joined: Whether the first of the reads is the rest of the read before.
        text: What follows the status indicator, masked.
        code: The response code, masked.
        masked: Which fields of the record hold a mask.
    """

    raw: bytes
    reads: Sequence[Read]
    joined: bool
    text: bytes
    code: bytes | None
    masked: tuple[str, ...]


def line_part(known: Recording, event: LinePart) -> None:
    """Record a part of an overlong line.

    Args:
        known: The session's recording.
        event: The part.
    """
    line = known.server_line
    if line is None:
        status = parse_status(event.raw).status
        if (
            known.logins.exchange is not None  # it may hold the exchange's last message
            or is_hidden(known, status)
            or (status is Status.NONE and known.policy.body != "full")
        ):
            line = Start(event.reads, event.joined)
        else:
            line = LongLine(known.learned)
        known.server_line = line
    if isinstance(line, LongLine):
        line.add(event.raw, event.reads, joined=event.joined)
        _long_line_records(known, line.take(everything=False), event.at)


def is_hidden(known: Recording, status: Status) -> bool:
    """Tell whether a line may be part of a SASL exchange, which is hidden (P09)."""
    if status is _OK or status is _ERR:
        return False
    logins = known.logins
    return (
        status is Status.CHALLENGE
        or logins.exchange is not None
        or (status is Status.OTHER_POSITIVE and logins.sasl_seen)
    )


def _long_line_records(known: Recording, pieces: list[Masked], at: int) -> None:
    for piece in pieces:
        known.out.append(
            known.make.data(
                at,
                _SERVER,
                "line",
                piece.text,
                piece.reads,
                joined=piece.joined,
                masked=bool(piece.masks),
            )
        )


def show_line(
    known: Recording, event: Greeting | Response | Unexpected, status: Status, *, hidden: bool
) -> ShownLine:
    """Mask a line: all of it, or what was learned.

    Args:
        known: The session's recording.
        event: The line.
        status: Its status indicator.
        hidden: Whether all of it is hidden.
    """
    raw, joined = event.raw, event.joined
    reads: Sequence[Read] = event.reads
    line, known.server_line = known.server_line, None
    if isinstance(line, LongLine):
        line.add(raw, reads, joined=joined)
        _long_line_records(known, line.take(everything=True), event.at)
        return ShownLine(b"", (), False, b"", None, ())
    if line is not None:
        reads, joined, hidden = line.reads, line.joined, True
    if raw and (hidden or known.learned.overflowed):
        indicator = b"+OK " if status is _OK else b"-ERR " if status is _ERR else b""
        raw = indicator + MASKED + split_line(raw)[1]
        return ShownLine(raw, reads_of(reads, 0, len(raw)), joined, MASKED, None, _RAW_AND_TEXT)
    text = b"" if isinstance(event, Unexpected) else event.text
    if raw:
        spans = known.learned.find_echoes(raw) if known.learned.active else ()
        if isinstance(event, Response) and may_end_exchange(known, event.keyword):
            spans = united([*spans, *_no_plain_words(raw)])
        if not spans:
            return ShownLine(raw, reads, joined, text, response_code(text, status), ())
        raw, first = known.mask_spans(raw, spans)
        text = parse_status(split_line(raw)[0]).text
        reads = reads_of(reads, first, len(raw))
        return ShownLine(raw, reads, joined, text, response_code(text, status), _RAW_AND_TEXT)
    # The line itself was recorded before; the event repeats what it means.
    if hidden or known.learned.overflowed:
        return ShownLine(b"", (), False, MASKED, None, ("pop3.text",))
    text, first = known.mask_spans(text, known.learned.find_echoes(text))
    fields = () if first is None else ("pop3.text",)
    return ShownLine(b"", (), False, text, response_code(text, status), fields)


def may_end_exchange(known: Recording, keyword: bytes) -> bool:
    """Tell whether the answer to a command may hold the last message of a SASL exchange.

    That is so for AUTH; for lines that are hidden, or that no command waited for; and, where a
    challenge was seen, for what was read as an unknown command: it may have been a SASL response.

    Args:
        known: The session's recording.
        keyword: The command's keyword; empty if there is none, or it is hidden.
    """
    return keyword == b"AUTH" or not keyword or (known.logins.sasl_seen and keyword not in COMMANDS)


_WORD = re.compile(rb"[^ \t\r\n]+")
_PLAIN_WORD = re.compile(
    rb"""[+]OK|-ERR|[+-]|\[(?:LOGIN-DELAY|IN-USE|SYS(?:/TEMP|/PERM)?|AUTH|UTF8)\]"""
    rb"""|[("']*(?:[A-Z]?[a-z]*(?:['/-][A-Za-z]?[a-z]+)*|[A-Z]{2,12})[]"').,:;!?]*"""
)


def _no_plain_words(line: bytes) -> list[Span]:
    """Find what is no plain word in a line that may end a SASL exchange.

    Some servers put their last message there. It is not known from before, and allows to try
    passwords until one fits (P09).
    """
    return [word.span() for word in _WORD.finditer(line) if not _PLAIN_WORD.fullmatch(word[0])]


def greeting(known: Recording, event: Greeting) -> None:
    """Record the greeting. The APOP timestamp in it is no secret (RFC 1939, section 7).

    Args:
        known: The session's recording.
        event: The greeting.
    """
    hidden = is_hidden(known, event.status)
    shown = show_line(known, event, event.status, hidden=hidden)
    known.out.append(
        known.make.greeting(
            event.at,
            shown.raw,
            shown.reads,
            GreetingPart(
                status=event.status.value,
                text=text_of(shown.text),
                code=text_of(shown.code) if shown.code is not None else None,
                apop_timestamp=event.timestamp is not None,
            ),
            joined=shown.joined,
            masked=shown.masked,
        )
    )


def sasl_challenge(known: Recording, event: SaslChallenge) -> None:
    """Record a challenge, hidden (P09).

    Args:
        known: The session's recording.
        event: The challenge.
    """
    line, line_end = split_line(event.raw)
    known.logins.sasl_seen = True
    joined = event.joined
    reads: Sequence[Read] = event.reads
    begun, known.server_line = known.server_line, None
    if isinstance(begun, Start):
        reads, joined = begun
    elif event.seq is not None:
        known.logins.exchanging(event.seq).challenged(line)
    raw = (b"+ " if line[:1] == b"+" or begun else b"") + MASKED + line_end
    known.out.append(
        known.make.data(
            event.at,
            _SERVER,
            "sasl-challenge",
            raw,
            reads_of(reads, 0, len(raw)),
            seq=event.seq,
            joined=joined,
            masked=True,
        )
    )


def unexpected(known: Recording, event: Unexpected) -> None:
    """Record a line that answers nothing; it may belong to a message.

    Args:
        known: The session's recording.
        event: The line.
    """
    status = parse_status(split_line(event.raw)[0]).status
    hidden = known.policy.body != "full" or is_hidden(known, status)
    shown = show_line(known, event, Status.NONE, hidden=hidden)
    if shown.raw:
        known.out.append(
            known.make.data(
                event.at,
                _SERVER,
                "line",
                shown.raw,
                shown.reads,
                joined=shown.joined,
                masked=bool(shown.masked),
            )
        )
