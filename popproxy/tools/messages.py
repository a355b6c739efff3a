"""Messages that a session fetched, whole, from a stream of records.

Of each message only as much is held as `CONTENT_MOST`; what lies beyond is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from popproxy.records import CommandRecord, DataRecord, MessagePart, Record, ResponseRecord

CONTENT_MOST: Final = 32 * 1024 * 1024
"""Octets of a message that are held."""

_FETCHING_MOST: Final = 64
_STUFFED: Final = re.compile(rb"^\.(?=\.)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A message that RETR or TOP brought.

    Attributes:
        session: The session's id.
        command: `RETR` or `TOP`.
        at: When its response ended.
        status: The response's status indicator.
        about: What is known of the message; None if the response brought none.
        lines: Lines of the content.
        content: Its octets as far as they were recorded, byte-stuffing removed.
        whole: Whether the content is all of it.
    """

    session: str
    command: str
    at: datetime
    status: str
    about: MessagePart | None
    lines: int | None
    content: bytes
    whole: bool


def fetched(records: Iterable[Record], number: int) -> Iterator[Fetched]:
    """Find a message by its number.

    Args:
        records: Of one session or of several.
        number: The message's number.

    Yields:
        It, as often as it was fetched.
    """
    fetching: dict[tuple[str, int], bytearray] = {}
    for record in records:
        session = record.session.id
        match record:
            case CommandRecord() if record.pop3.message_number == number:
                if record.pop3.command in ("RETR", "TOP"):
                    if len(fetching) >= _FETCHING_MOST:
                        del fetching[next(iter(fetching))]
                    fetching[session, record.pop3.seq] = bytearray()
            case DataRecord() if record.pop3.part == "content":
                held = fetching.get((session, record.pop3.command_seq or 0))
                if held is not None and len(held) <= CONTENT_MOST:
                    held += record.wire
            case ResponseRecord():
                content = fetching.pop((session, record.pop3.command_seq or 0), None)
                if content is not None:
                    yield _fetched(record, bytes(content))
            case _:
                pass


def _fetched(record: ResponseRecord, wire: bytes) -> Fetched:
    part = record.pop3
    return Fetched(
        session=record.session.id,
        command=part.command or "",
        at=record.timestamp,
        status=part.status,
        about=part.message,
        lines=part.lines,
        content=_STUFFED.sub(b"", wire[:CONTENT_MOST]),
        whole=part.octets is not None and len(wire) == part.octets <= CONTENT_MOST,
    )
