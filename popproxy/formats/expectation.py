"""What the lines of a text transcript already tell of a record, so that its note need not.

Most records follow from the lines before them: `S: +OK 2 5718` after `C: STAT` is the response to
STAT, with two messages of 5718 octets. An `Expectation` follows one session record by record and
says which members it expects of the next. The writer notes what differs, the reader applies the
notes to the same expectation. It may therefore be wrong at no more cost than a longer note: it is
no second parser of POP3, and what it expects is never taken for what happened.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from contextlib import suppress
from datetime import datetime, timedelta

from popproxy.formats import lines
from popproxy.formats.notes import Members
from popproxy.records import (
    MASK,
    CommandRecord,
    DataRecord,
    GreetingRecord,
    Record,
    ResponseRecord,
    SessionStart,
    WireRecord,
)

_MULTI_LINE = frozenset({"RETR", "TOP", "CAPA"})
_MULTI_LINE_BARE = frozenset({"LIST", "UIDL", "AUTH", "LANG"})
_LOGINS = frozenset({"PASS", "APOP", "AUTH"})
_PENDING_MOST = 1000
_TABLE_MOST = 1 << 20
"""Octets of a table that are kept in order to read it; a longer one goes into the note."""

_MICROSECOND = timedelta(microseconds=1)


class Expectation:
    """Follows one session and expects its next record."""

    def __init__(self) -> None:
        self._seq = 0
        self._started: datetime | None = None
        self._last_read: dict[str, datetime] = {}
        self._state = "GREETING"
        self._command_seq = 0
        self._pending: deque[tuple[int, str, str | None]] = deque(maxlen=_PENDING_MOST)
        self._status: Members | None = None  # of the multi-line response that is under way
        self._table = bytearray()

    def action(self, side: str, wire: bytes) -> str:
        """Guess what kind of record stands for these bytes of that side."""
        if self._part(side, wire):
            return "pop3.data"
        if side == "client":
            return "pop3.command"
        return "pop3.greeting" if self._state == "GREETING" else "pop3.response"

    def members(self, action: str, side: str, wire: bytes, timestamp: datetime) -> Members:
        """Expect the members of a record.

        Args:
            action: Its `event.action`.
            side: Who sent it; empty if the record stands for no bytes.
            wire: Its bytes, masked.
            timestamp: Its time.
        """
        members: Members = {"session.seq": self._seq + 1}
        if not side:
            return members
        members["side"] = side
        if not wire:
            return members
        try:
            members["raw"] = wire.decode()
        except UnicodeDecodeError:
            members["raw_b64"] = b64encode(wire).decode()
        if self._started is not None:
            members["segments"] = [((timestamp - self._started) // _MICROSECOND, len(wire))]
        if self._last_read.get(side) == timestamp:
            members["joined"] = True
        match action:
            case "pop3.greeting":
                members |= lines.greeting(lines.line_of(wire))
            case "pop3.command":
                members |= self._command(lines.line_of(wire))
            case "pop3.response":
                members |= self._response(lines.line_of(wire))
            case "pop3.data":
                members["part"] = self._part(side, wire) or "line"
                if self._pending:
                    members["command_seq"] = self._pending[0][0]
        if MASK.encode() in wire:
            members["masked"] = lines.masked_fields(action, members)
        return members

    def saw(self, record: Record) -> None:
        """Learn from the record that came."""
        self._seq = record.session.seq
        if isinstance(record, SessionStart):
            self._started = record.timestamp
        if not isinstance(record, WireRecord):
            return
        if record.wire:
            self._last_read[record.side] = record.timestamp
            if self._started is None and record.segments:
                with suppress(OverflowError):  # no session is that old
                    self._started = record.timestamp - record.segments[-1][0] * _MICROSECOND
        match record:
            case GreetingRecord():
                self._state = "AUTHORIZATION"
            case CommandRecord(pop3=part):
                self._state, self._command_seq = part.state, part.seq
                self._pending.append((part.seq, part.command, part.arguments))
            case ResponseRecord(pop3=part):
                self._state, self._status = part.state, None
                self._table.clear()
                answered = part.command_seq or 0
                while self._pending and self._pending[0][0] <= answered:
                    self._pending.popleft()
            case DataRecord(pop3=part) if part.part == "status":
                self._status = lines.status_line(lines.line_of(record.wire))
            case DataRecord(pop3=part) if part.part == "content" and self._is_table():
                self._table += record.wire

    def _is_table(self) -> bool:
        """Tell whether the multi-line response under way is a table that is worth keeping."""
        return (
            bool(self._pending)
            and self._pending[0][1] in lines.TABLES
            and len(self._table) <= _TABLE_MOST
        )

    def _part(self, side: str, wire: bytes) -> str:
        """Guess which part of the conversation a piece is; empty if it seems to be no piece."""
        _, awaited, arguments = self._pending[0] if self._pending else (0, "", None)
        if side == "client":
            return "sasl-response" if awaited == "AUTH" else ""
        if self._status is not None:
            return "" if wire == b".\r\n" else "content"
        if not wire.startswith(b"+OK"):
            return "sasl-challenge" if awaited == "AUTH" and wire.startswith(b"+") else ""
        multi_line = awaited in _MULTI_LINE or (awaited in _MULTI_LINE_BARE and not arguments)
        return "status" if multi_line else ""

    def _command(self, line: str) -> Members:
        members = lines.command_line(line)
        members |= {"seq": self._command_seq + 1, "state": self._state}
        if self._pending:
            members["pipelined"] = True
        return members

    def _response(self, line: str) -> Members:
        """Expect what a status line, or the end of a multi-line response, tells."""
        if self._status is None:
            members = lines.status_line(line)
        else:
            members = {**self._status, "multi_line": True, "ending": "terminated"}
        members["state"] = self._state
        if not self._pending:
            return members
        members["command_seq"], command, arguments = self._pending[0]
        if command:
            members["command"] = command
            if arguments is not None and MASK not in arguments and command != "AUTH":
                members["arguments"] = arguments
        if members["status"] != "+OK":
            return members
        if self._status is not None:
            return members | (lines.table(command, bytes(self._table)) if self._is_table() else {})
        if command in _LOGINS:
            members["state"] = "TRANSACTION"
        elif command == "QUIT" and self._state == "TRANSACTION":
            members["state"] = "UPDATE"
        return members | lines.values(command, members["text"])
