"""What a bundle is made of, and which of a capture's records are pieces of messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from popproxy.privacy.sanitise import Level
from popproxy.privacy.search import Search
from popproxy.records import CommandRecord, DataRecord, Record, ResponseRecord

TABLES: Final = frozenset({"LIST", "UIDL", "CAPA", "AUTH", "LANG", "HELP"})
"""Commands whose responses of several lines are no messages."""

_COMMANDS_MOST: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the owner of a capture wants.

    Attributes:
        level: What stays of messages.
        keep_lines: Numbers of lines that stay, by message-number; under None those of any message.
        search: Secrets to be looked for as well.
    """

    level: Level = "structure"
    keep_lines: Mapping[int | None, Collection[int]] = field(default_factory=dict)
    search: Search | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Something of the source in what was to be a bundle; never what it is.

    Attributes:
        rule: What was looked for.
        member: The bundle's file.
        offset: Octets from its beginning, roughly.
        form: How it stands there.
    """

    rule: str
    member: str
    offset: int
    form: str


@dataclass(slots=True, kw_only=True)
class Made:
    """What a bundle was made of.

    Attributes:
        removed: What was replaced, by rule.
        sessions: How many it holds.
        messages: Messages in them, by message-number, as they were retrieved.
        words: Words that the proof looked for.
        complete: Whether these are all words of the source.
        hits: What the proof found; a bundle with any must not be packed.
        text: `REMOVED.txt`.
    """

    removed: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    messages: list[int] = field(default_factory=list)
    words: int = 0
    complete: bool = True
    hits: list[Hit] = field(default_factory=list)
    text: str = ""


class Commands:
    """Tells which command a record belongs to, and so whether it is a piece of a message."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], tuple[str, int | None]] = {}

    def of(self, record: Record) -> tuple[str, int | None]:
        """Give the keyword and the message-number of a record's command, as far as known."""
        key = command_of(record)
        if isinstance(record, CommandRecord):
            if len(self._open) >= _COMMANDS_MOST:
                del self._open[next(iter(self._open))]
            self._open[record.session.id, record.pop3.seq] = (
                record.pop3.command,
                record.pop3.message_number,
            )
        elif isinstance(record, ResponseRecord):
            return self._open.pop(key, ("", None))
        return self._open.get(key, ("", None))


def command_of(record: Record) -> tuple[str, int]:
    """Name the command that a record belongs to, by session and number; 0 if there is none."""
    of = getattr(getattr(record, "pop3", None), "command_seq", None)
    return record.session.id, of or 0


def is_message(record: Record, keyword: str) -> bool:
    """Tell whether a record is, or may be, a piece of a message."""
    return (
        isinstance(record, DataRecord) and record.pop3.part == "content" and keyword not in TABLES
    )
