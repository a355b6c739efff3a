"""Small questions about records that stand for the wire, and the members that hold it."""

from __future__ import annotations

from typing import Any

from popproxy.privacy.content import Digest
from popproxy.records import DataRecord, Record


def seq_of(record: Record) -> int | None:
    """Give the number of the command that a piece of the conversation belongs to."""
    return record.pop3.command_seq if isinstance(record, DataRecord) else None


def is_content(record: Record, of: int | None) -> bool:
    """Tell whether a record is a piece of the content that a command brought."""
    return (
        isinstance(record, DataRecord)
        and record.pop3.part == "content"
        and record.pop3.command_seq == of
        and record.side == "server"
    )


def how_lines_end(message: bytes, sha256: str) -> bool | None:
    """Tell how the lines of a message end, if its digest is of what is held of it."""
    for strict in (True, False) if message else ():
        made = Digest()
        made.begin(strict=strict)
        made.feed(message)
        if made.sha256() == sha256:
            return strict
    return None


def raw(wire: bytes) -> dict[str, Any]:
    """Give the members of a record that hold octets of the wire."""
    if not wire:
        return {"raw": None, "raw_b64": None}
    try:
        return {"raw": wire.decode(), "raw_b64": None}
    except UnicodeDecodeError:
        return {"raw": None, "raw_b64": wire}


def cut(segments: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Give the reads of the first octets of a record."""
    made: list[tuple[int, int]] = []
    for at, octets in segments:
        if size <= 0:
            break
        made.append((at, min(octets, size)))
        size -= octets
    return made
