"""The server's events to records: what it says may hold what the client hid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from popproxy.pop3.events import (
    Data,
    End,
    Ending,
    Greeting,
    LinePart,
    Read,
    Response,
    SaslChallenge,
    Side,
    State,
    Status,
    Unanswered,
    Unexpected,
)
from popproxy.pop3.findings import FindingCode
from popproxy.pop3.values import (
    announced_octets,
    parse_scan_listing,
    parse_stat,
    parse_status,
    parse_unique_id,
    response_code,
)
from popproxy.privacy.commands import MASKED, cite, split_line
from popproxy.privacy.forms import Span
from popproxy.privacy.headers import cited_fields
from popproxy.privacy.learned import united
from popproxy.privacy.logins import Outcome
from popproxy.privacy.masking import Masked, reads_of
from popproxy.privacy.multiline import Answered, LongLine, MultiLine
from popproxy.privacy.recording import Recording, Start
from popproxy.privacy.tables import (
    Remembered,
    capabilities,
    scan_listings,
    text_of,
    unique_ids,
)
from popproxy.records import (
    MASK,
    GreetingPart,
    MessagePart,
    ResponsePart,
    ScanListing,
    StatPart,
    UniqueId,
)

_RAW_AND_TEXT = ("raw", "pop3.text")
_SERVER = Side.SERVER


class _Shown(NamedTuple):
    """A server's line as it may be told."""

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
        if _is_hidden(known, status) or (status is Status.NONE and known.policy.body != "full"):
            line = Start(event.reads, event.joined)
        else:
            line = LongLine(known.learned)
        known.server_line = line
    if isinstance(line, LongLine):
        line.add(event.raw, event.reads, joined=event.joined)
        _long_line_records(known, line.take(everything=False), event.at)


def _is_hidden(known: Recording, status: Status) -> bool:
    """Tell whether a line may be part of a SASL exchange, which is hidden (P09)."""
    if status is Status.OK or status is Status.ERR:
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


def _show(
    known: Recording, event: Greeting | Response | Unexpected, status: Status, *, hidden: bool
) -> _Shown:
    """Mask a line: all of it, or what was learned."""
    raw, joined = event.raw, event.joined
    reads: Sequence[Read] = event.reads
    line, known.server_line = known.server_line, None
    if isinstance(line, LongLine):
        line.add(raw, reads, joined=joined)
        _long_line_records(known, line.take(everything=True), event.at)
        return _Shown(b"", (), False, b"", None, ())
    if line is not None:
        reads, joined, hidden = line.reads, line.joined, True
    if hidden or known.learned.overflowed:
        indicator = b"+OK " if status is Status.OK else b"-ERR " if status is Status.ERR else b""
        raw = indicator + MASKED + split_line(raw)[1]
        return _Shown(raw, reads_of(reads, 0, len(raw)), joined, MASKED, None, _RAW_AND_TEXT)
    text = b"" if isinstance(event, Unexpected) else event.text
    if raw:
        spans = known.learned.find_echoes(raw) if known.learned.active else ()
        if isinstance(event, Response) and event.keyword in _ENDS_EXCHANGE:
            spans = united([*spans, *_no_plain_words(raw)])
        if not spans:
            return _Shown(raw, reads, joined, text, response_code(text, status), ())
        raw, first = known.mask_spans(raw, spans)
        text = parse_status(split_line(raw)[0]).text
        reads = reads_of(reads, first, len(raw))
        return _Shown(raw, reads, joined, text, response_code(text, status), _RAW_AND_TEXT)
    # The line itself was recorded before; the event repeats what it means.
    text, first = known.mask_spans(text, known.learned.find_echoes(text))
    fields = () if first is None else ("pop3.text",)
    return _Shown(b"", (), False, text, response_code(text, status), fields)


_ENDS_EXCHANGE = frozenset({b"AUTH", b""})
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
    hidden = _is_hidden(known, event.status)
    shown = _show(known, event, event.status, hidden=hidden)
    known.out.append(
        known.make.greeting(
            event.at,
            shown.raw,
            shown.reads,
            GreetingPart(
                status=event.status.value,
                text=text_of(shown.text),
                code=_text_or_none(shown.code),
                apop_timestamp=event.timestamp is not None,
            ),
            joined=shown.joined,
            masked=shown.masked,
        )
    )


def _text_or_none(octets: bytes | None) -> str | None:
    return None if octets is None else text_of(octets)


def sasl_challenge(known: Recording, event: SaslChallenge) -> None:
    """Record a challenge, hidden (P09).

    Args:
        known: The session's recording.
        event: The challenge.
    """
    line, line_end = split_line(event.raw)
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
    hidden = known.policy.body != "full" or _is_hidden(known, status)
    shown = _show(known, event, Status.NONE, hidden=hidden)
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


def response(known: Recording, event: Response) -> None:
    """Record a status line.

    Args:
        known: The session's recording.
        event: The line.
    """
    seq, keyword, status, at = event.seq, event.keyword, event.status, event.at
    if seq is None:
        known.unmatched += 1
    elif seq in known.hidden:  # the rest of a password, read as a command
        known.hidden -= {seq}
        keyword = b""
    doubtful = seq is None or not known.in_step
    hidden = _is_hidden(known, status) or (doubtful and known.policy.body != "full")
    shown = _show(known, event, status, hidden=hidden)
    command, arguments = _cited(known, event) if keyword else (None, None)
    answered = Answered(
        keyword=keyword,
        command=command,
        arguments=arguments,
        seq=seq,
        status=status.value,
        code=_text_or_none(shown.code),
        text=text_of(shown.text),
        announced=announced_octets(shown.text) if keyword == b"RETR" else None,
    )
    if event.multi_line:
        if shown.raw:
            known.out.append(
                known.make.data(
                    at,
                    _SERVER,
                    "status",
                    shown.raw,
                    shown.reads,
                    seq=seq,
                    joined=shown.joined,
                    masked=bool(shown.masked),
                )
            )
        known.content = MultiLine(
            answered, known.learned, known.policy.body, event.state, in_step=known.in_step
        )
    else:
        ok = status is Status.OK
        stat, listing, ids = _values(known, keyword, shown.text) if ok else (None, None, None)
        known.out.append(
            known.make.response(
                at,
                shown.raw,
                shown.reads,
                ResponsePart(
                    command=command,
                    arguments=_text_or_none(arguments),
                    command_seq=seq,
                    status=answered.status,
                    code=answered.code,
                    text=answered.text,
                    state=event.state.value,
                    stat=stat,
                    listing=listing,
                    unique_ids=ids,
                ),
                joined=shown.joined,
                masked=shown.masked,
                duration=event.elapsed,
            )
        )
        if keyword in _COUNTED and ok:
            _count(known, keyword)
    if keyword and (login := known.logins.settle(seq)) is not None:
        outcome: Outcome = "unknown"
        if status in (Status.OK, Status.OTHER_POSITIVE):
            outcome = "success"
        elif status in (Status.ERR, Status.OTHER_NEGATIVE):
            outcome = "failure"
        known.login_ended(login, seq, outcome, at)


_COUNTED = frozenset({b"DELE", b"RSET", b"QUIT"})


def _count(known: Recording, keyword: bytes) -> None:
    """Keep the count of deletions (RFC 1939, sections 5 and 6)."""
    if keyword == b"DELE":
        known.pending += 1
        return
    if keyword == b"QUIT":
        known.committed += known.pending
    known.pending = 0


def _cited(known: Recording, event: Response) -> tuple[str | None, bytes | None]:
    """Tell which command a response answers."""
    command, arguments = cite(event.keyword, event.arguments, known.policy.pseudonyms)
    if arguments is not None and known.learned.active:
        if known.learned.overflowed or (
            event.keyword == b"USER"
            and known.policy.pseudonyms is not None
            and known.is_secret(event.arguments)
        ):
            return command, MASKED
        arguments = known.mask(arguments)
    return command, arguments


def _values(
    known: Recording, keyword: bytes, text: bytes
) -> tuple[StatPart | None, list[ScanListing] | None, list[UniqueId] | None]:
    """Read the values of a response of one line, and remember them."""
    if keyword == b"STAT" and (numbers := parse_stat(text)):
        return StatPart(messages=numbers.first, octets=numbers.second), None, None
    if keyword == b"LIST" and (numbers := parse_scan_listing(text)):
        known.listing = known.listing or Remembered()
        known.listing.add(text)
        return None, [ScanListing(message=numbers.first, octets=numbers.second)], None
    if keyword == b"UIDL" and (unique_id := parse_unique_id(text)):
        known.unique_ids = known.unique_ids or Remembered()
        known.unique_ids.add(text)
        one = UniqueId(message=unique_id.message, unique_id=text_of(unique_id.unique_id))
        return None, None, [one]
    return None, None, None


def unanswered(known: Recording, event: Unanswered) -> None:
    """Note a command that will not be answered.

    Args:
        known: The session's recording.
        event: Which command.
    """
    known.unanswered += 1
    if event.keyword and (login := known.logins.settle(event.seq)) is not None:
        known.login_ended(login, event.seq, "unknown", event.at)


def data(known: Recording, event: Data) -> None:
    """Take a piece of a multi-line response in.

    Args:
        known: The session's recording.
        event: The piece.
    """
    if known.content is None:
        nobody = Answered(b"", None, None, event.seq, Status.NONE.value, None, "", None)
        known.content = MultiLine(
            nobody, known.learned, known.policy.body, State.TRANSACTION, in_step=False
        )
    known.content.add(event)


def drain(known: Recording, content: MultiLine, at: int, *, ended: bool) -> None:
    """Record what of a multi-line response may be told by now.

    Args:
        known: The session's recording.
        content: The response.
        at: When, monotonic, in nanoseconds.
        ended: Whether it has ended.
    """
    before = content.octets
    for piece in content.take(everything=ended):
        known.out.append(
            known.make.data(
                at,
                _SERVER,
                "content",
                piece.text,
                piece.reads,
                seq=content.answered.seq,
                joined=piece.joined,
                masked=bool(piece.masks),
                counted=True,
            )
        )
    known.make.server += content.octets - before


def end(known: Recording, event: End) -> None:
    """Record the end of a multi-line response, and all that is known of it.

    Args:
        known: The session's recording.
        event: The end.
    """
    content, known.content = known.content, None
    if content is None:
        return
    drain(known, content, event.at, ended=True)
    answered = content.answered
    ok = answered.status == Status.OK.value
    table = content.table() if ok and not known.learned.overflowed else None
    listing = ids = tags = None
    if table is not None:
        if answered.keyword == b"LIST":
            listing = scan_listings(table)
            known.listing = known.listing or Remembered()
            known.listing.replace(table)
        elif answered.keyword == b"UIDL":
            ids = unique_ids(table)
            known.unique_ids = known.unique_ids or Remembered()
            known.unique_ids.replace(table)
        else:
            tags = capabilities(table)
    message = _message(known, content)
    known.out.append(
        known.make.response(
            event.at,
            event.raw,
            event.reads,
            ResponsePart(
                command=answered.command,
                arguments=_text_or_none(answered.arguments),
                command_seq=answered.seq,
                status=answered.status,
                code=answered.code,
                text=answered.text,
                state=content.state.value,
                multi_line=True,
                ending=event.ending.value,
                lines=content.lines,
                octets=content.octets,
                listing=listing,
                unique_ids=ids,
                capabilities=tags,
                values_truncated=content.cut_table,
                message=message,
            ),
            joined=event.joined,
            masked=_masked_fields(content, message),
            duration=event.elapsed,
        )
    )
    if answered.keyword == b"RETR" and event.ending in (Ending.TERMINATED, Ending.AMBIGUOUS):
        known.retrieved += ok
        if message is not None and not content.masked:
            announced = message.octets_announced
            if announced is not None and announced != message.octets:
                known.find(event.at, FindingCode.OCTETS_DIFFER, "server", seq=answered.seq)


def _masked_fields(content: MultiLine, message: MessagePart | None) -> tuple[str, ...]:
    fields: list[str] = []
    if MASK in content.answered.text:
        fields.append("pop3.text")
    if content.masked:
        fields.append("pop3.message" if message is not None else "pop3.octets")
    return tuple(fields)


def _message(known: Recording, content: MultiLine) -> MessagePart | None:
    """Tell what is known of a message that RETR or TOP brought."""
    digest, answered = content.message, content.answered
    if digest is None:
        return None
    unique_id: str | None = None
    announced = answered.announced
    number = _message_number(answered.arguments)
    if number is not None and not known.learned.overflowed:
        found = known.unique_ids.line(number) if known.unique_ids is not None else None
        if found is not None and (listed := parse_unique_id(found)):
            unique_id = known.text(listed.unique_id)
        found = known.listing.line(number) if known.listing is not None else None
        if announced is None and answered.keyword == b"RETR" and found is not None:
            listing = parse_scan_listing(known.mask(found))
            announced = listing.second if listing is not None else None
    fields: dict[str, str] = {}
    if known.policy.body != "none" and not known.learned.overflowed:
        fields = cited_fields(digest.header)
        if known.learned.active:
            # Undoing an encoding may have put a secret together; one may have been learned since.
            fields = {name: known.text(value.encode()) for name, value in fields.items()}
    return MessagePart(
        number=number,
        unique_id=unique_id,
        octets_announced=announced,
        octets=digest.octets,
        sha256=digest.sha256(),
        message_id=fields.get("message-id"),
        from_=fields.get("from"),
        to=fields.get("to"),
        subject=fields.get("subject"),
        date=fields.get("date"),
    )


def _message_number(arguments: bytes | None) -> int | None:
    first = (arguments or b"").split(b" ", 1)[0]
    return int(first) if first.isdigit() else None
