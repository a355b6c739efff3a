"""Records to records: a capture without what is private in it, and of the same framing.

Every line of the wire comes out with as many octets as it had, so that reads, cuts and figures stay
true, and whatever choked on the framing chokes again. What has no place on the wire is replaced by
the rules of `popproxy.privacy.sanitise.fields`.

A message is sanitised as a whole, since MIME reaches from its first line to its last: the records
of a session are held from the first piece of a message to its end. What is held is bounded; the
rest of a message that is longer is text of which nothing but its shape is told.

Sanitising twice is the same as doing it once: what was sanitised says so in its session's id, and
keeps its pseudonyms and dates. Bodies are filled again, which changes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, cast, get_args

import msgspec

from popproxy.pop3.values import parse_status
from popproxy.privacy.commands import split_line
from popproxy.privacy.content import Digest, HeaderSplit
from popproxy.privacy.headers import cited_fields
from popproxy.privacy.sanitise.dates import offset_for
from popproxy.privacy.sanitise.fields import SHARED, Fields
from popproxy.privacy.sanitise.headers import Headers
from popproxy.privacy.sanitise.keys import Keys, SameNames
from popproxy.privacy.sanitise.lines import SessionLines
from popproxy.privacy.sanitise.mime import Messages
from popproxy.privacy.sanitise.wire import cut, how_lines_end, is_content, raw, seq_of
from popproxy.privacy.sanitise.words import fill, in_text
from popproxy.privacy.tables import capabilities, text_of
from popproxy.records import (
    BodyPolicy,
    CommandRecord,
    DataRecord,
    GreetingRecord,
    MessagePart,
    Record,
    ResponseRecord,
    SessionEnd,
    SessionStart,
    WireRecord,
)

Level = Literal["structure", "headers", "nothing", "all"]
"""What stays of messages: their shape, that of their headers only, none of it, or everything."""

MAX_HELD: Final = 32 * 1024 * 1024
"""Octets of messages that are held at once, at most."""

_COMMANDS_MOST: Final = 1_000
_SESSIONS_MOST: Final = 5_000
_RECORD: Final = 1_000
"""What a record takes of memory beside its octets, roughly."""

_RECORDED: Final[dict[str, BodyPolicy]] = {"headers": "headers", "nothing": "none"}
_ORDER: Final = ("none", "headers", "full")
_CITED: Final = {
    "message_id": b"message-id", "from_": b"from", "to": b"to", "subject": b"subject",
    "date": b"date",
}  # fmt: skip
_NOTICE: Final = "popproxy share made this: names, addresses and dates are pseudonyms, {}."
_NOTICES: Final = {
    "structure": "messages keep their shape and none of their words",
    "headers": "of messages only the shape of their headers is left",
    "nothing": "nothing is left of messages",
    "all": "messages are as they were",
}
_LINES = re.compile(rb"[^\r\n]+")


@dataclass(slots=True)
class _Session:
    """What has to be known of a session while its records come."""

    fields: Fields
    lines: SessionLines
    messages: Messages
    headers: Headers
    commands: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    held: list[Record] = field(default_factory=list)
    size: int = 0
    content_of: int | None = None
    was: bytes = b""
    now: bytes = b""
    whole: bool = True
    left_out: int = 0
    status: tuple[bytes, bytes] = (b"", b"")


class Sanitiser:
    """Sanitises a capture, record by record.

    Args:
        keys: Gives the pseudonyms.
        level: What stays of messages.
        keep_lines: Numbers of lines, from 1, that stay as they are, by message-number; under None
            those of every message.
        taken: Tells whether a word occurs in what is to be hidden; see `Keys`.

    Attributes:
        removed: How often each rule replaced something.
        notice: What sessions' first records say instead of their notice.
    """

    LEVELS: Final[tuple[Level, ...]] = get_args(Level)
    RULES: Final = (
        "user names", "mail addresses", "names of people", "host names", "IP addresses", "dates",
        "Message-IDs", "unique-ids", "MIME boundaries", "names of files and other parameters",
        "words of headers", "words of messages", "words of the server", "octets of attachments",
    )  # fmt: skip
    """What `removed` counts."""

    def __init__(
        self,
        keys: Keys,
        *,
        level: Level = "structure",
        keep_lines: Mapping[int | None, Collection[int]] | None = None,
        taken: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.removed: Counter[str] = Counter()
        self._keys = keys
        self._level: Level = level
        self._keep = keep_lines or {}
        self._taken = taken
        self._offset: timedelta | None = None
        self._sessions: dict[str, _Session] = {}
        self._held = 0
        self.notice = _NOTICE.format(_NOTICES[level])

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Sanitiser>"

    def feed(self, record: Record) -> Iterator[Record]:
        """Take the next record in.

        Args:
            record: The next of the capture.

        Yields:
            Records that are done; those of one session in their order.
        """
        name = record.session.id
        session = self._sessions.get(name)
        if session is None:
            if len(self._sessions) >= _SESSIONS_MOST:  # their ends are missing
                yield from self._release(self._sessions.pop(next(iter(self._sessions))))
            session = self._sessions[name] = self._begin(record)
        content = isinstance(record, DataRecord) and record.pop3.part == "content"
        ends = isinstance(record, ResponseRecord | GreetingRecord | SessionEnd)
        if session.held and not ends:
            if content and session.content_of != seq_of(record):
                yield from self._release(session)
                session.whole, session.was, session.now = True, b"", b""
            self._hold(session, record)
            if self._held > MAX_HELD:
                yield from self._release(session)
                session.whole = False
            return
        if content and session.content_of != seq_of(record):
            session.whole, session.was, session.now = True, b"", b""
        if content:
            self._hold(session, record)
            return
        yield from self._release(session)
        yield from self._given(session, self._one(session, record))
        if isinstance(record, SessionEnd):
            del self._sessions[name]

    def end(self) -> Iterator[Record]:
        """Give what is held, at the end of the capture."""
        for session in self._sessions.values():
            yield from self._release(session)
        self._sessions.clear()

    def _begin(self, record: Record) -> _Session:
        done = SHARED.fullmatch(record.session.id) is not None
        if not done and self._offset is None:
            self._offset = offset_for(record.timestamp)
        keys: Keys = SameNames() if done else self._keys
        offset = timedelta() if done or self._offset is None else self._offset
        removed = Counter[str]() if done else self.removed
        lines = SessionLines(keys, removed)
        headers = Headers(keys, offset, removed, None if done else self._taken)
        return _Session(
            Fields(keys, offset, removed, lines, self.notice),
            lines,
            Messages(keys, headers, removed),
            headers,
        )

    def _hold(self, session: _Session, record: Record) -> None:
        session.held.append(record)
        session.content_of = (
            seq_of(record) if isinstance(record, DataRecord) else session.content_of
        )
        size = _RECORD + (len(record.wire) if isinstance(record, WireRecord) else 0)
        session.size += size
        self._held += size

    def _release(self, session: _Session) -> Iterator[Record]:
        """Sanitise what is held."""
        held, session.held = session.held, []
        self._held -= session.size
        session.size = 0
        of = session.content_of
        mine = [is_content(record, of) for record in held]
        was = b"".join(
            record.wire for record, one in zip(held, mine, strict=True)
            if one and isinstance(record, WireRecord)
        )  # fmt: skip
        if not was:
            for record in held:
                yield from self._given(session, self._one(session, record))
            return
        now = self._content(session, of, was)
        if session.whole:
            session.was, session.now = was, now
        else:
            session.was = session.now = b""
        at = 0
        for record, one in zip(held, mine, strict=True):
            if not one or not isinstance(record, DataRecord):
                yield from self._given(session, self._one(session, record))
                continue
            size = len(record.wire)
            wire = now[at : at + size]
            at += size
            if not wire:
                session.left_out += 1
                continue
            cleaned = session.fields.clean(record)
            segments = cut(record.segments, len(wire))
            made = msgspec.structs.replace(cleaned, segments=segments, **raw(wire))
            yield from self._given(session, made)

    def _content(self, session: _Session, of: int | None, was: bytes) -> bytes:
        """Sanitise the content of a response, or as much of it as is held."""
        keyword, number = session.commands.get(of or 0, ("", None))
        if (line := session.lines.table(keyword)) is not None:
            return _LINES.sub(lambda found: line(found[0]), was)
        if self._level == "nothing":
            return b""
        if self._level == "headers":
            was = was[: HeaderSplit().feed(was)] if session.whole else b""
        if self._level == "all":
            return was
        if not session.whole:
            return session.messages.body(was)
        keep = {*self._keep.get(None, ()), *(self._keep.get(number, ()) if number else ())}
        return session.messages.message(was, keep)

    def _given(self, session: _Session, record: Record) -> Iterator[Record]:
        if session.left_out:
            seq = record.session.seq - session.left_out
            record = msgspec.structs.replace(
                record, session=msgspec.structs.replace(record.session, seq=max(seq, 1))
            )
        yield record

    def _one(self, session: _Session, record: Record) -> Record:
        """Sanitise a record that is no piece of a message."""
        cleaned = session.fields.clean(record)
        match record:
            case SessionStart():
                return self._start(record, cast("SessionStart", cleaned))
            case GreetingRecord():
                return self._answer(session, record, cleaned, "")
            case CommandRecord():
                return self._command(session, record, cleaned)
            case ResponseRecord():
                return self._response(session, record, cleaned)
            case DataRecord():
                return self._data(session, record, cleaned)
            case _:
                return cleaned

    def _start(self, record: SessionStart, cleaned: SessionStart) -> Record:
        told = _RECORDED.get(self._level, "full")
        body = min(record.policy.body, told, key=_ORDER.index)
        policy = msgspec.structs.replace(cleaned.policy, body=body)
        return msgspec.structs.replace(cleaned, policy=policy)

    def _command(self, session: _Session, record: CommandRecord, cleaned: Record) -> Record:
        part = record.pop3
        if len(session.commands) >= _COMMANDS_MOST:
            del session.commands[next(iter(session.commands))]
        session.commands[part.seq] = part.command, part.message_number
        return msgspec.structs.replace(
            cleaned,
            pop3=msgspec.structs.replace(
                cleaned.pop3,  # type: ignore[attr-defined] # it is of the record's own type
                command=in_text(session.lines.keyword, part.command),
                arguments=session.lines.arguments_text(part.command, part.arguments),
            ),
            **raw(session.lines.command(record.wire)),
        )

    def _answer(
        self, session: _Session, record: GreetingRecord | ResponseRecord, cleaned: Record, of: str
    ) -> Record:
        """Sanitise a line of the server, and read its text from what came of it."""
        was = record.wire
        now = session.lines.server(was, of)
        text = record.pop3.text
        if isinstance(record, ResponseRecord) and record.pop3.multi_line:
            now = was if not was.strip(b".\r\n") else now
            told = session.status
        else:
            told = (was, now)
        if text and text_of(parse_status(split_line(told[0])[0]).text) == text:
            text = text_of(parse_status(split_line(told[1])[0]).text)
        else:
            text = in_text(session.lines.text, text)
        part = msgspec.structs.replace(cleaned.pop3, text=text)  # type: ignore[attr-defined]
        return msgspec.structs.replace(cleaned, pop3=part, **raw(now))

    def _response(self, session: _Session, record: ResponseRecord, cleaned: Record) -> Record:
        part = record.pop3
        if part.command_seq is not None:
            session.commands.pop(part.command_seq, None)
        made = self._answer(session, record, cleaned, part.command or "")
        pop3 = made.pop3  # type: ignore[attr-defined] # it is of the record's own type
        changes: dict[str, Any] = {
            "command": None
            if part.command is None
            else in_text(session.lines.keyword, part.command),
            "arguments": session.lines.arguments_text(part.command or "", part.arguments),
        }
        if part.capabilities is not None:
            line = session.lines.table(part.command or "") or fill
            table = "\n".join(" ".join((one.tag, *one.arguments)) for one in part.capabilities)
            now = b"\n".join(line(one) for one in table.encode("utf-8", "replace").split(b"\n"))
            changes["capabilities"] = capabilities(now)
        if part.message is not None:
            changes["message"] = self._message(session, part.message, pop3.message)
        session.was = session.now = b""
        session.content_of, session.whole = None, True
        return msgspec.structs.replace(made, pop3=msgspec.structs.replace(pop3, **changes))

    def _message(self, session: _Session, told: MessagePart, cleaned: MessagePart) -> MessagePart:
        """Tell of the sanitised message what its record told of the message."""
        changes: dict[str, Any] = {}
        digest = how_lines_end(session.was, told.sha256)
        if digest is not None and len(session.now) == len(session.was):
            strict = digest
            made = Digest()
            made.begin(strict=strict)
            made.feed(session.now)
            found = cited_fields(made.header)
            changes["sha256"] = made.sha256()
            for member, name in _CITED.items():
                if getattr(told, member) is not None:
                    changes[member] = found.get(name.decode(), "")
        else:
            for member, name in _CITED.items():
                if (value := getattr(told, member)) is not None:
                    changes[member] = in_text(partial(session.headers.value, name), value)
        return msgspec.structs.replace(cleaned, **changes)

    def _data(self, session: _Session, record: DataRecord, cleaned: Record) -> Record:
        part, was = record.pop3, record.wire
        if not was:
            return cleaned
        keyword, _ = session.commands.get(part.command_seq or 0, ("", None))
        if record.side == "client":
            now = fill(was)
        elif part.part in ("status", "line", "sasl-challenge"):
            now = session.lines.server(was, keyword if part.part == "status" else "")
        else:
            now = session.messages.body(was)
        if part.part == "status":
            session.status = was, now
        return msgspec.structs.replace(cleaned, **raw(now))


def sanitise(records: Iterable[Record], sanitiser: Sanitiser) -> Iterator[Record]:
    """Sanitise a capture.

    Args:
        records: All of it.
        sanitiser: Does it.
    """
    for record in records:
        yield from sanitiser.feed(record)
    yield from sanitiser.end()
