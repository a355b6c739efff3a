r"""The text transcript: made to be read by people, and complete.

    # session 20251122t223746-k3fa [k3fa]
    # 2025-11-22
    22:37:46.400000            C: STAT
    22:37:46.400500   0.500123 S: +OK 2 5718
    22:37:46.500000            C: LIST
    22:37:46.500600            S: +OK 2 messages (5718 octets)
    22:37:46.500600*           S: 1 2859
                               S: 2 2859
                               # pop3.data joined=true
    22:37:46.500600*  0.600000 S: .
                               # pop3.response command=LIST lines=2 octets=16 joined=true

A record begins with a line that holds its time (UTC), the milliseconds of its `event.duration` if
it has one, and a line of the conversation, or else its note behind `#`. A star behind the time says
that the record goes on: more lines of the conversation, and always a note, with which it ends. So a
record that was cut off is noticed, wherever it stands. `[tag]` names the session when several
are under way; without one, it is the session of the record before.

A note (`popproxy.formats.notes`) holds what the lines do not tell, as far as
`popproxy.formats.expectation` can read them. Both together are the record, and `read` gives the
very same back. Lines of the conversation end in CRLF unless the last octets before the end are the
escape `\x0a` (LF alone) or a single backslash (no end: the line was cut there).

Lines that begin with `#` in the first column belong to the file: its header, dates, sessions, and
whatever a person adds. Long lines are neither wrapped nor capped: P49's cap is for the terminal,
while this file has to give the records back.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

from popproxy.formats.escape import visible
from popproxy.formats.expectation import Expectation
from popproxy.formats.notes import ABSENT, Members, members_of, write_note, write_value
from popproxy.formats.text_reader import TITLE, read
from popproxy.records import MASK, SCHEMA, Record, SessionEnd, WireRecord

__all__ = ["HEADER", "TextWriter", "read"]

HEADER: Final = f"""\
{TITLE}{SCHEMA}
# Mail is being recorded here. Passwords and other secrets are masked: {MASK} is in their place.
# A line is: time (UTC), milliseconds since the command, C: what the client or S: the server sent.
# A star behind the time: the record goes on until its note, the next line of blanks and a #.
# Escapes: \\x1b an octet, \\u202e a character, \\\\ a backslash; \\ at the end: the line goes on.
"""
"""What a file begins with (P71)."""

_INDENT: Final = " " * 16
_NO_DURATION: Final = " " * 10
_SHOWN: Final = {"pop3.response": ("command", "arguments")}
"""Members that a note of this kind names although they are expected: people look for them."""
_DURATION_MOST: Final = 10**20  # nanoseconds that the reader takes; no session is that long
_SESSIONS_MOST: Final = 10_000

_TAG = re.compile(r"[a-z0-9]{1,12}")
_LONE_LF = re.compile(r"(?<!\r)\n")
_BACKSLASH_AT_END = re.compile(r"\\(?=\r?\n)")


class TextWriter:
    """Writes the transcript of one file. Any record may come first (rotation)."""

    def __init__(self) -> None:
        self._before = HEADER  # lines of the file that the next record's lines need before them
        self._date: date | None = None
        self._sessions: dict[str, tuple[str, Expectation]] = {}  # tag and state by id
        self._last = ""
        self._tags = 0

    def write(self, record: Record) -> bytes:
        """Give the lines of a record, and before them whatever line of the file they need."""
        when = record.timestamp.astimezone(UTC)
        session = record.session.id
        if session not in self._sessions:
            self._announce(session)
        if when.date() != self._date:
            self._date = when.date()
            self._before += f"# {self._date.isoformat()}\n"
        tag, expectation = self._sessions[session]
        untagged = len(self._sessions) == 1 and session == self._last
        lines = _lines(record, when, "" if untagged else f"[{tag}] ", expectation)
        # From here on nothing fails: what was written and what is expected stay in step.
        before, self._before = self._before, ""
        expectation.saw(record)
        self._last = session
        if isinstance(record, SessionEnd):
            del self._sessions[session]
        return (before + lines).encode()

    def end(self) -> bytes:
        """Give what belongs at the end of a file: nothing, as each record shows its own end."""
        return b""

    def _announce(self, session: str) -> None:
        """Begin with a session: choose its tag, and say so."""
        name = write_value(session)
        if len(self._sessions) >= _SESSIONS_MOST:  # their ends were lost
            del self._sessions[next(iter(self._sessions))]
        self._tags += 1
        tag = session.rpartition("-")[2]
        if not _TAG.fullmatch(tag) or any(tag == used for used, _ in self._sessions.values()):
            tag = f"s{self._tags}"
        self._sessions[session] = tag, Expectation()
        self._last = session
        self._before += f"\n# session {name} [{tag}]\n"


def _lines(record: Record, when: datetime, tag: str, expectation: Expectation) -> str:
    """Write the lines of one record."""
    members = members_of(record)
    del members["session.id"]
    duration = members.get("event.duration", -1)
    time = _NO_DURATION
    if 0 <= duration < _DURATION_MOST:
        del members["event.duration"]
        time = f"{duration // 1_000_000:3}.{duration % 1_000_000:06}"
    stamp = when.time().isoformat("microseconds")
    action = record.event.action
    wire = record.wire if isinstance(record, WireRecord) else b""
    side = record.side if isinstance(record, WireRecord) and wire else ""
    expected = expectation.members(action, side, wire, record.timestamp)
    note = _note(members, expected)
    if not side:
        return f"{stamp} {tag}{time} # {write_note(action, note)}\n"
    mark = "C:" if side == "client" else "S:"
    indent = _INDENT + " " * (len(tag) + len(time)) + " "
    shown = [f"{mark} {line}" if line else mark for line in _wire(wire)]
    if not note and len(shown) == 1 and action == expectation.action(side, wire):
        return f"{stamp} {tag}{time} {shown[0]}\n"
    note = {name: members[name] for name in _SHOWN.get(action, ()) if name in members} | note
    shown.append(f"# {write_note(action, note)}\n")
    return f"{stamp}*{tag}{time} " + f"\n{indent}".join(shown)


def _note(members: Members, expected: Members) -> Members:
    """Give what is not expected, and ABSENT for what is expected and not there."""
    note = {
        name: value
        for name, value in members.items()
        if name not in expected or expected[name] != value
    }
    return note | {name: ABSENT for name in expected if name not in members}


def _wire(wire: bytes) -> list[str]:
    """Show bytes as lines from which `popproxy.formats.text_reader` can tell the bytes."""
    if wire.endswith(b"\r\n"):
        wire, end = wire[:-2], ""
    elif wire.endswith(b"\n"):
        wire, end = wire[:-1], "\\x0a"
    else:
        end = "\\"
    shown = visible(wire, lines=True)
    if "\\" in shown:  # a single one at the end of a line means something else here
        shown = _BACKSLASH_AT_END.sub(r"\\\\", shown)
    if shown.count("\n") != shown.count("\r\n"):
        shown = _LONE_LF.sub(r"\\x0a\r\n", shown)
    return (shown + end).split("\r\n")
