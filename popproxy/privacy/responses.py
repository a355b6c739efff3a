"""The server's responses to records: status lines, their values, and what they say of a session."""

from __future__ import annotations

from collections.abc import Sequence

from popproxy.pop3.events import Read, Response, Side, Status, Unanswered
from popproxy.pop3.values import (
    announced_octets,
    parse_scan_listing,
    parse_stat,
    parse_unique_id,
)
from popproxy.privacy.commands import cite
from popproxy.privacy.logins import Outcome
from popproxy.privacy.multiline import Answered, MultiLine
from popproxy.privacy.recording import Recording
from popproxy.privacy.server_lines import is_hidden, may_end_exchange, show_line
from popproxy.privacy.tables import Remembered, text_of
from popproxy.records import MASK, ResponsePart, ScanListing, StatPart, UniqueId

_SERVER = Side.SERVER
_OK, _ERR = Status.OK, Status.ERR
_OUTCOMES: dict[Status, Outcome] = {
    Status.OK: "success",
    Status.OTHER_POSITIVE: "success",
    Status.ERR: "failure",
    Status.OTHER_NEGATIVE: "failure",
}


_COUNTED = frozenset({b"DELE", b"RSET", b"QUIT"})
_LOGS_IN = frozenset({b"PASS", b"APOP", b"AUTH"})
_VALUED = frozenset({b"STAT", b"LIST", b"UIDL"})


def response(known: Recording, event: Response) -> None:
    """Record a status line.

    Args:
        known: The session's recording.
        event: The line.
    """
    seq, keyword, status, raw = event.seq, event.keyword, event.status, event.raw
    if seq is None:
        known.unmatched += 1
    elif known.hidden and seq in known.hidden:  # the rest of a password, read as a command
        known.hidden -= {seq}
        keyword = b""
    hidden = known.policy.body != "full" and (seq is None or not known.in_step)
    masked: tuple[str, ...] = ()
    reads: Sequence[Read]
    if (
        raw
        and not hidden
        and (status is _OK or status is _ERR)
        and known.server_line is None
        and not may_end_exchange(known, keyword)
        and not (known.learned.active and known.learned.find_echoes(raw))
    ):  # nothing to mask, as nearly always
        reads, joined, text, code = event.reads, event.joined, event.text, event.code
    else:
        hidden = hidden or is_hidden(known, status)
        raw, reads, joined, text, code, masked = show_line(known, event, status, hidden=hidden)
    command, arguments = _cited(known, event) if keyword else (None, None)
    if event.multi_line:
        _begin(known, event, raw, reads, masked, joined=joined)
        known.content = MultiLine(
            Answered(
                keyword=keyword,
                command=command,
                arguments=arguments,
                seq=seq,
                status=status.value,
                code=None if code is None else text_of(code),
                text=text_of(text),
                announced=announced_octets(text) if keyword == b"RETR" else None,
            ),
            known.learned,
            known.policy.body,
            event.state,
            in_step=known.in_step,
        )
    else:
        stat = listing = ids = None
        if status is _OK:
            if keyword in _VALUED:
                stat, listing, ids = _values(known, keyword, text)
            elif keyword in _COUNTED:
                _count(known, keyword)
        known.out.append(
            known.make.response(
                event.at,
                raw,
                reads,
                ResponsePart(
                    command=command,
                    arguments=arguments,
                    command_seq=seq,
                    status=status._value_,  # as in `popproxy.privacy.client_side`
                    code=None if code is None else text_of(code),
                    text=text_of(text),
                    state=event.state._value_,
                    stat=stat,
                    listing=listing,
                    unique_ids=ids,
                ),
                joined=joined,
                masked=masked,
                duration=event.elapsed,
            )
        )
    if keyword in _LOGS_IN and (login := known.logins.settle(seq)) is not None:
        known.login_ended(login, seq, _OUTCOMES.get(status, "unknown"), event.at)


def _begin(
    known: Recording,
    event: Response,
    raw: bytes,
    reads: Sequence[Read],
    masked: tuple[str, ...],
    *,
    joined: bool,
) -> None:
    """Record the status line of a multi-line response, unless it has been recorded before."""
    if raw:
        known.out.append(
            known.make.data(
                event.at,
                _SERVER,
                "status",
                raw,
                reads,
                seq=event.seq,
                joined=joined,
                masked=bool(masked),
            )
        )


def _count(known: Recording, keyword: bytes) -> None:
    """Keep the count of deletions (RFC 1939, sections 5 and 6)."""
    if keyword == b"DELE":
        known.pending += 1
        return
    if keyword == b"QUIT":
        known.committed += known.pending
    known.pending = 0


def _cited(known: Recording, event: Response) -> tuple[str, str | None]:
    """Tell which command a response answers."""
    cited = known.cited
    if (
        cited is not None
        and cited.seq == event.seq
        and cited.keyword == event.keyword
        and cited.sent == event.arguments
        and not known.learned.overflowed
    ):
        known.cited = None
        return cited.command, cited.arguments
    command, arguments = cite(event.keyword, event.arguments, known.policy.pseudonyms)
    if arguments is None:
        return command, None
    if known.learned.active:
        if known.learned.overflowed or (
            event.keyword == b"USER"
            and known.policy.pseudonyms is not None
            and known.is_secret(event.arguments)
        ):
            return command, MASK
        arguments = known.mask_arguments(command, arguments)
    return command, text_of(arguments)


def _values(
    known: Recording, keyword: bytes, text: bytes
) -> tuple[StatPart | None, list[ScanListing] | None, list[UniqueId] | None]:
    """Read the values of a response of one line, and remember them."""
    if keyword == b"STAT" and (numbers := parse_stat(text)):
        return StatPart(messages=numbers.first, octets=numbers.second), None, None
    if keyword == b"LIST" and (numbers := parse_scan_listing(text)):
        known.listing = known.listing or Remembered()
        known.listing.add(numbers.first, text)
        return None, [ScanListing(message=numbers.first, octets=numbers.second)], None
    if keyword == b"UIDL" and (unique_id := parse_unique_id(text)):
        known.unique_ids = known.unique_ids or Remembered()
        known.unique_ids.add(unique_id.message, text)
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
