"""Reads a text transcript back; `popproxy.formats.text` describes its form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time
from typing import Any, Final, NamedTuple

from popproxy.formats.errors import FormatError, TornError, quoted
from popproxy.formats.escape import restore
from popproxy.formats.expectation import Expectation
from popproxy.formats.jsonl import check_kind
from popproxy.formats.notes import ABSENT, Members, read_note, read_value, record_of
from popproxy.records import SCHEMA, Record, SessionEnd

TITLE: Final = "# popproxy transcript, schema "

_RECORD = re.compile(
    r"(\d\d:\d\d:\d\d\.\d{6})(?P<star>[ *])(?:\[(?P<tag>[a-z0-9]+)\] )? *"
    r"(?:(?P<ms>\d{1,15})\.(?P<ns>\d{6}) )?(?:(?P<side>[CS]):(?: (?P<text>.*))?|# (?P<note>.*))",
    re.ASCII,
)
_MORE = re.compile(r" +(?:(?P<side>[CS]):(?: (?P<text>.*))?|# (?P<note>.*))")
_DATE = re.compile(r"# (\d{4}-\d\d-\d\d)", re.ASCII)
_SESSION = re.compile(r"# session (\S+|\".*\") \[([a-z0-9]+)\]")
_SIDES = {"C": "client", "S": "server"}
_CUT_OFF = "this record has no end: it was cut off while it was written, and is lost"


def read(
    lines: Iterable[bytes], *, on_error: Callable[[FormatError], None] | None = None
) -> Iterator[Record]:
    """Read a text transcript.

    Args:
        lines: The file's lines, ends included, as iterating over a binary file gives them.
        on_error: Called with each error, `TornError` among them, and reading goes on: behind a
            record that was cut off with the next one; behind anything else where a writer began
            anew, as the members of records rest on the records before. Without it, errors are
            raised.

    Yields:
        The records, in the file's order.

    Raises:
        TornError: The last record was cut off while it was written; all others came before.
        FormatError: Lines are not as `popproxy.formats.text.TextWriter` writes them.
    """

    def report(error: FormatError) -> None:
        if on_error is None:
            raise error
        on_error(error)

    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            report(TornError(_CUT_OFF, reader.abandon() or number))
            return
        if not line.startswith(b" ") and (begun := reader.abandon()):
            report(FormatError(_CUT_OFF, begun))
        try:
            record = reader.line(line, number)
        except FormatError as error:
            reader.give_up()
            report(error)
        else:
            if record is not None:
                yield record
    if begun := reader.abandon():
        report(TornError(_CUT_OFF, begun))


class _Begun(NamedTuple):
    """A record of which the note is still to come."""

    number: int
    when: datetime
    session: str
    side: str
    duration: int | None
    lines: list[str]


class _Reader:
    """Reads line by line, and knows what the file has said of its sessions so far."""

    def __init__(self) -> None:
        self._begun: _Begun | None = None
        self._start()

    def _start(self) -> None:
        """Know nothing yet, as at the beginning of a file or where a writer began anew."""
        self._given_up = False
        self._date: date | None = None
        self._sessions: dict[str, tuple[str, Expectation]] = {}  # id and state by tag
        self._tag = ""

    def abandon(self) -> int:
        """Forget a record that has not ended; give the number of its first line, or 0."""
        begun, self._begun = self._begun, None
        return begun.number if begun else 0

    def give_up(self) -> None:
        """Pass over everything up to the place where a writer began anew."""
        self.abandon()
        self._given_up = True

    def line(self, line: bytes, number: int) -> Record | None:
        """Read one line.

        Returns:
            The record that it completed.

        Raises:
            FormatError: It does not belong here.
        """
        try:
            text = line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise FormatError("this is not UTF-8, so no line of a transcript", number) from None
        if text.startswith("#"):
            self._file_line(text, number)
        elif not text or self._given_up:
            pass
        elif text.startswith(" "):
            return self._continue(text, number)
        elif match := _RECORD.fullmatch(text):
            return self._begin(match, number)
        else:
            raise FormatError(
                f"a line of a transcript begins with a time, a blank or #, not as {quoted(text)}",
                number,
            )
        return None

    def _file_line(self, text: str, number: int) -> None:
        """Read a line that belongs to the file; most are for people only."""
        if text.startswith(TITLE):
            if (schema := text.removeprefix(TITLE)) != SCHEMA:
                check_kind(schema, "", number)
            self._start()
        elif match := _DATE.fullmatch(text):
            try:
                self._date = date.fromisoformat(match[1])
            except ValueError:
                raise FormatError(f"{match[1]} is no date", number) from None
        elif match := _SESSION.fullmatch(text):
            try:
                session = read_value(match[1])
            except ValueError:
                session = None
            if not isinstance(session, str):
                raise FormatError(f"{quoted(match[1])} is no name of a session", number)
            self._tag = match[2]
            self._sessions[self._tag] = session, Expectation()

    def _begin(self, match: re.Match[str], number: int) -> Record | None:
        """Read the first line of a record."""
        self._tag = match["tag"] or self._tag
        if self._tag not in self._sessions:
            raise FormatError(
                "no line before this one tells which session the record belongs to: take the file"
                " from its beginning, or from where its session is named",
                number,
            )
        if self._date is None:
            raise FormatError(
                "no line before this one tells the date: take the file from its beginning", number
            )
        try:
            when = datetime.combine(self._date, time.fromisoformat(match[1]), UTC)
        except ValueError:
            raise FormatError(f"{match[1]} is no time", number) from None
        duration = int(match["ms"] + match["ns"]) if match["ms"] else None
        side = _SIDES[match["side"]] if match["side"] else ""
        begun = _Begun(number, when, self._tag, side, duration, [match["text"] or ""])
        if match["star"] == "*" and match["note"] is None:
            self._begun = begun
            return None
        return self._record(begun, match["note"], number)

    def _continue(self, text: str, number: int) -> Record | None:
        """Read a further line of a record."""
        begun, match = self._begun, _MORE.fullmatch(text)
        if begun is None or match is None:
            raise FormatError("this line continues no record", number)
        if match["note"] is not None:
            self._begun = None
            return self._record(begun, match["note"], number)
        if _SIDES[match["side"]] != begun.side:
            raise FormatError("a record holds lines of one side only", number)
        begun.lines.append(match["text"] or "")
        return None

    def _record(self, begun: _Begun, note: str | None, number: int) -> Record:
        """Put a record together."""
        session, expectation = self._sessions[begun.session]
        wire = _wire(begun.lines) if begun.side else b""
        action, noted = "", dict[str, Any]()
        if note is not None:
            action, noted = read_note(note, number)
        action = action or expectation.action(begun.side, wire)
        members: Members = expectation.members(action, begun.side, wire, begun.when)
        members["session.id"] = session
        if begun.duration is not None:
            members["event.duration"] = begun.duration
        members |= noted
        members = {name: value for name, value in members.items() if value is not ABSENT}
        record = record_of(action, members, begun.when, number)
        expectation.saw(record)
        if isinstance(record, SessionEnd):
            del self._sessions[begun.session]
        return record


def _wire(lines: list[str]) -> bytes:
    """Give the bytes that the lines of one record stand for."""
    octets = bytearray()
    for line in lines:
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            octets += restore(line[:-1])
            continue
        octets += restore(line)
        if not (line.endswith("\\x0a") and octets.endswith(b"\n")):
            octets += b"\r\n"
    return bytes(octets)
