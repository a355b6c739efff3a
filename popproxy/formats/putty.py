r"""PuTTY's session log, as PuTTY 0.78 writes it.

The file is what a person at PuTTY's raw connection would have logged: one header with the local
time of the first byte, then what reached the terminal, which is the server's bytes and, by local
echo, the client's lines. Nothing else: no times, no notes, no statement that mail is recorded
(P71: the session's other files and the console make it; a reader of PuTTY logs would take any line
more for traffic). Traffic that is not read (`opaque`) is not in the records and so not in the log.

Two modes, named after PuTTY's:

* ``printable`` keeps CRLF, a bare LF and TAB, and shows all other control characters and octets
  that are not UTF-8 as the reversible escapes of `popproxy.formats.escape`. PuTTY would drop them.
  A peer's text that looks like a header gets its first `=` written as ``\x3d`` (P45), so that the
  true header is the only one, wherever in the file somebody looks for one.
* ``all`` is byte-exact, but for what is masked. There the first line is the true header, and the
  only one, as each session has a file of its own; what else looks like one was sent by a peer.

Long lines are not wrapped and not capped, as PuTTY does neither. P49's cap is for what is shown to
a person while it happens (`popproxy.sinks.terminal`); a file is evidence and holds all of it.
"""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Literal

from popproxy.formats.escape import is_plain, visible
from popproxy.records import Record, SessionEnd, WireRecord

PuttyMode = Literal["printable", "all"]

_RULE = "=~" * 11 + "="
_WORDS = " PuTTY log"
_LOOK_ALIKE = re.compile(rf"(\\?)=((?:~=){{1,11}}{_WORDS})", re.IGNORECASE)
_LOOK_ALIKE_BEGUN = "|".join(re.escape(_WORDS[:length]) for length in range(1, len(_WORDS)))

_UNDECIDED = re.compile(
    rb"(?:\\|\\?(?:\r"  # perhaps a backslash that needs no escape; perhaps a CRLF
    rb"|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2}"  # a character cut in two
    rb"|=(?:~=){0,11}(?:~|" + _LOOK_ALIKE_BEGUN.encode() + rb")?))\Z",  # a header cut in two
    re.IGNORECASE,
)
_UNDECIDED_MOST = len("\\" + _RULE + _WORDS)


def header(when: datetime) -> str:
    """Give PuTTY's first line.

    Args:
        when: Local time of the session's first byte.

    Returns:
        The line with its CRLF.
    """
    return f"{_RULE}{_WORDS} {when:%Y.%m.%d %H:%M:%S} {_RULE}\r\n"


class PuttyWriter:
    """Writes one session as a PuTTY log. The header comes with the first byte of the wire.

    Printable output does not depend on how the bytes are cut into records: the few octets at the
    end of a record whose reading depends on the next are held back until that comes, or the
    session ends.

    Args:
        mode: As in the module's description.
        tz: Time zone of the header; the machine's if it is None.
    """

    __slots__ = ("_begun", "_exact", "_held", "_tz")

    def __init__(self, mode: PuttyMode = "printable", tz: tzinfo | None = None) -> None:
        self._exact = mode == "all"
        self._tz = tz
        self._begun = False
        self._held = b""

    def write(self, record: Record) -> bytes:
        """Give what a record adds to the log: its bytes, in the order of records."""
        if isinstance(record, WireRecord) and (wire := record.wire):
            text = wire if self._exact else self._printable(wire)
            if self._begun:
                return text
            self._begun = True
            return header(record.timestamp.astimezone(self._tz)).encode() + text
        return self.end() if isinstance(record, SessionEnd) else b""

    def end(self) -> bytes:
        """Give what was held back; a PuTTY log has no footer."""
        rest, self._held = self._held, b""
        return _shown(rest)

    def _printable(self, wire: bytes) -> bytes:
        """Show the bytes but for those at their end that the next record decides on."""
        text = self._held + wire
        undecided = None
        if not text.endswith(b"\n"):  # most records end a line
            undecided = _UNDECIDED.search(text, max(0, len(text) - _UNDECIDED_MOST))
        end = undecided.start() if undecided else len(text)
        self._held = text[end:]
        return _shown(text[:end])


def _shown(text: bytes) -> bytes:
    """Make bytes printable."""
    if b"~" not in text and is_plain(text, lines=True):  # as most records are
        return text
    shown = visible(text, lines=True)
    if "=~=" in shown:
        # visible() leaves a backslash before `=` single; before an escape it must not be
        shown = _LOOK_ALIKE.sub(r"\1\1\\x3d\2", shown)
    return shown.encode()
