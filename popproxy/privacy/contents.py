"""The content of multi-line responses to records, and what is known of a whole response."""

from __future__ import annotations

from popproxy.pop3.events import Data, End, Ending, Side, State, Status
from popproxy.pop3.findings import FindingCode
from popproxy.pop3.values import parse_scan_listing, parse_unique_id
from popproxy.privacy.headers import cited_fields
from popproxy.privacy.multiline import Answered, MultiLine
from popproxy.privacy.recording import Recording
from popproxy.privacy.tables import (
    Remembered,
    capabilities,
    scan_listings,
    unique_ids,
)
from popproxy.records import MASK, MessagePart, ResponsePart

_SERVER = Side.SERVER
_NOBODY = Answered(b"", None, None, None, Status.NONE.value, None, "", None)
"""What content belongs to whose status line has not been seen."""


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
    reads, joined = content.end_reads(event)
    known.out.append(
        known.make.response(
            event.at,
            event.raw,
            reads,
            ResponsePart(
                command=answered.command,
                arguments=answered.arguments,
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
            joined=joined,
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
        # Undoing an encoding may have put a secret together; one may have been learned since. All
        # are searched at once: what stands in one of them stands in them joined by empty lines.
        if known.learned.find("\n\n".join(fields.values()).encode()).spans:
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


def _message_number(arguments: str | None) -> int | None:
    first = (arguments or "").split(" ", 1)[0]
    return int(first) if first.isdecimal() and first.isascii() else None
