r"""Logs in which nothing marks who said a line: PuTTY's, telnet's, s_client's, those of blog posts.

A line is the client's or the server's by what is expected. The commands that wait for an answer are
kept in a queue, as `popproxy.pop3` does, and lines are read against it:

- Within the content of a response of several lines everything is the server's, up to a dot alone.
- A line that begins with `+OK` or `-ERR` answers the oldest command; one that begins with `+` asks
  for the next line of a login, which is the client's then.
- A line whose first word is a command's is the client's. So is a line that nobody knows, if a
  status line follows and no command waits for one.

What a log lacks is met like this: where no dot alone comes before the log ends, one was lost, and
from there on the first command that a status line follows ends content. A list ends with the first
line that is none of a list's. A command that stands there twice and is answered once
was echoed twice.

The lines of the programs themselves, `Trying 192.0.2.1...` and the like, are passed over where they
cannot be of the session. A new greeting behind QUIT's answer, or such a line, begins another
session. Corrections that were typed (`\x08 \x08`) are carried out, as the line came without them.
"""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Iterator
from typing import IO, Final

from popproxy.importers.lines import LINE_MOST, cut_end, lines_of
from popproxy.importers.source import Finish, Item, Missing, Piece
from popproxy.pop3 import Side
from popproxy.pop3.grammar import COMMANDS, Exchange, expects_lines, parse_command
from popproxy.records import MASK

CRLF: Final = b"\r\n"
DOT_LOST: Final = "the line with the final dot is not in the log"

_NOISE = re.compile(
    rb"Trying .{1,200}\.\.\.|Connected to .*|Escape character is .*|Connection closed.*|"
    rb"Connection to .* (?:closed|succeeded).*|telnet> ?.*|\^[\]CD].*|"
    rb"(?:\S*[$#>] ?)?(?:telnet|nc|ncat|netcat|openssl s_client) .*|Script (?:started|done) .*|"
    rb"\[?\S+@\S+[^ ]* ?\S*[$#] .*|DONE|closed|read R BLOCK|RENEGOTIATING|KEYUPDATE|read:errno=\d+",
    re.DOTALL,
)
_BEGINS = re.compile(rb"Trying .*|Connected to .*|CONNECTED\(.*", re.DOTALL)
_S_CLIENT: Final = frozenset({b"DONE", b"closed", b"read R BLOCK", b"RENEGOTIATING", b"KEYUPDATE"})
_STATUS: Final = (b"+OK", b"-ERR")
_LIST_LINE = re.compile(rb"\d{1,10} \S+\s*")
_LISTS: Final = frozenset({b"LIST", b"UIDL"})
_PASS = re.compile(rb"((?:[ \t\x00]|\xef\xbb\xbf)*pass)\b.*", re.IGNORECASE | re.DOTALL)
_ERASED: Final = b"\x08 \x08"
_LOGINS: Final = frozenset({b"AUTH", b"APOP"})
_WORDS = re.compile(rb"(?:[^ ]{1,255}(?: [^ ]+)?)?")
_PENDING_MOST: Final = 10_000
_AHEAD: Final = 2


class Unmarked:
    """Reads the lines of one log; they come as pairs of text and end."""

    def __init__(
        self, file: IO[bytes], *, lf: bool = False, entities: bool = False, framed: bool = False
    ) -> None:
        """Begin where the file stands.

        Args:
            file: The log; it can be read in any order.
            lf: Lines end in LF alone in the log; it is taken for CRLF.
            entities: `<` and the like are written as in HTML.
            framed: What `openssl s_client` says stands around the session, between lines of `---`.
        """
        self._file = file
        self._lf = lf
        self._entities = entities
        self._framed = self._skipping = framed
        self._impatient = False  # a dot was lost: a command ends content from here on
        self._ahead: deque[tuple[bytes, bytes]] = deque()
        self._forget()
        self._said = False

    def _forget(self) -> None:
        """Know nothing of the session."""
        self._pending: deque[bytes] = deque(maxlen=_PENDING_MOST)
        self._content = b""  # keyword whose content is under way
        self._challenged = False
        self._quit = False

    # Lines, and those ahead of them.

    def _fill(self) -> None:
        while len(self._ahead) <= _AHEAD:
            line = self._file.readline(LINE_MOST)
            if not line:
                return
            if self._entities:
                line = html.unescape(line.decode("latin-1")).encode("utf-8", "replace")
            text, end = cut_end(line)
            self._ahead.append((text, end))

    def _next_text(self, number: int = 0) -> bytes | None:
        """Look at a line ahead; None if there is none."""
        self._fill()
        return self._ahead[number][0] if len(self._ahead) > number else None

    def read(self) -> Iterator[Item]:
        """Read to the end of the file."""
        while True:
            self._fill()
            if not self._ahead:
                break
            text, end = self._ahead.popleft()
            if not (self._framed and self._is_framing(text)):
                yield from self._line(text, end)
        if self._said:
            yield Finish()

    def _dot_follows(self) -> bool:
        """Tell whether a line with a dot alone comes before the log ends."""
        if any(text == b"." for text, _ in self._ahead):
            return True
        at = self._file.tell()
        found = any(cut_end(line)[0] == b"." for line in lines_of(self._file))
        self._file.seek(at)
        return found

    def _dot_before_status(self) -> bool:
        """Tell whether a dot alone comes before the next status line."""
        self._fill()
        for text, _ in self._ahead:
            if text == b"." or text.startswith(_STATUS):
                return text == b"."
        at = self._file.tell()
        texts = (cut_end(line)[0] for line in lines_of(self._file))
        found = next((text for text in texts if text == b"." or text.startswith(_STATUS)), b"")
        self._file.seek(at)
        return found == b"."

    def _is_framing(self, text: bytes) -> bool:
        """Tell whether a line is s_client's own."""
        if self._skipping:
            self._skipping = not (
                text.startswith(_STATUS) and (self._said or not text.startswith(b"-ERR "))
            )
        elif text == b"---":
            self._skipping = True
        elif text in _S_CLIENT:
            return True
        return self._skipping

    def _line(self, text: bytes, end: bytes) -> Iterator[Item]:
        if self._content:
            yield from self._content_line_of(text, end)
            return
        if self._is_noise(text):
            if _BEGINS.match(text) and self._said:
                yield from self._new_session()
            return
        yield from self._by_expectation(text, end)

    def _is_noise(self, text: bytes) -> bool:
        return not self._challenged and (
            _NOISE.fullmatch(text) is not None or _BEGINS.fullmatch(text) is not None
        )

    def _new_session(self) -> Iterator[Item]:
        if self._said:
            yield Finish()
        self._forget()
        self._said = False

    def _content_line_of(self, text: bytes, end: bytes) -> Iterator[Item]:
        ended_by_command = _is_command(text) and (self._next_text() or b"").startswith(_STATUS)
        lost = ended_by_command and (
            self._impatient or (self._content in _LISTS and not _LIST_LINE.fullmatch(text))
        )
        if lost:
            yield from self._put_dot()
            yield from self._by_expectation(text, end)
            return
        if text == b".":
            self._content = b""
        yield self._said_by(Side.SERVER, text, end)

    def _put_dot(self) -> Iterator[Item]:
        self._content = b""
        yield Missing(why=DOT_LOST)
        yield Piece(side=Side.SERVER, data=b".\r\n", made_up=True)

    def _by_expectation(self, text: bytes, end: bytes) -> Iterator[Item]:
        if text.startswith(_STATUS):
            yield from self._status(text, end)
        elif self._awaits_challenge():
            yield from self._within_login(text, end)
        elif _is_command(text) or _PASS.fullmatch(text) or self._is_answered(text):
            yield from self._command(text, end)
        elif text or self._pending:
            yield self._said_by(Side.SERVER, text, end)

    def _within_login(self, text: bytes, end: bytes) -> Iterator[Item]:
        """Read a line of a login: only challenges are the server's (RFC 5034, section 4)."""
        if text == b"+" or text.startswith(b"+ " if self._challenged else b"+"):
            self._challenged = True
            yield self._said_by(Side.SERVER, text, end)
            return
        asked, self._challenged = self._challenged, False
        if not asked and _is_command(text):
            self._pending.append(text)
        yield self._said_by(Side.CLIENT, text, end)

    def _is_answered(self, text: bytes) -> bool:
        """Tell whether a line that nobody knows is a command: nothing else waits for the answer."""
        answer = self._next_text() or b""
        return bool(text) and not self._pending and answer.startswith((*_STATUS, b"+ "))

    def _awaits_challenge(self) -> bool:
        return bool(self._pending) and _exchange(self._pending[0]) is Exchange.SASL

    def _status(self, text: bytes, end: bytes) -> Iterator[Item]:
        if self._quit and not self._pending:
            yield from self._new_session()
        command = self._pending.popleft() if self._pending else b""
        self._challenged = False
        parsed = parse_command(command)
        if text.startswith(b"+OK") and parsed.spec is not None:
            if expects_lines(parsed.spec, parsed.arguments):
                self._content = parsed.keyword
            elif expects_lines(parsed.spec, parsed.arguments) is None:
                self._content = parsed.keyword if self._dot_before_status() else b""
        self._quit = self._quit or parsed.keyword == b"QUIT"
        yield self._said_by(Side.SERVER, text, end)
        if self._content and not self._impatient:
            self._impatient = not self._dot_follows()

    def _command(self, text: bytes, end: bytes) -> Iterator[Item]:
        ahead, behind = self._next_text(), self._next_text(1) or b""
        if text and ahead == text and behind.startswith(_STATUS):
            after = self._next_text(2)
            if after is None or not after.startswith(_STATUS):
                return  # the echo of the line that comes now
        if self._quit and not self._pending:
            yield from self._new_session()
        self._pending.append(text)
        yield self._said_by(Side.CLIENT, text, end)

    def _said_by(self, side: Side, text: bytes, end: bytes) -> Item:
        self._said = True
        if side is Side.CLIENT:
            text = corrected(text)
        elif found := _PASS.fullmatch(text):
            # Whichever side it was taken for, what stands behind PASS is not told.
            text = found[1] + b" " + MASK.encode()
        return Piece(side=side, data=text + (CRLF if end == b"\n" and self._lf else end))


def corrected(text: bytes) -> bytes:
    """Carry out the corrections of somebody who typed a line.

    Args:
        text: The line as the terminal showed it.
    """
    left = bytearray()
    place = 0
    while (found := text.find(_ERASED, place)) >= 0:
        left += text[place:found]
        while left and left[-1] & 0xC0 == 0x80:  # the rest of a character in UTF-8
            left.pop()
        if left:
            left.pop()
        place = found + len(_ERASED)
    return bytes(left) + text[place:]


def _exchange(command: bytes) -> Exchange:
    spec = parse_command(command).spec
    return spec.exchange if spec is not None else Exchange.NONE


def _is_command(text: bytes) -> bool:
    """Tell whether a line is a command whose arguments have the right shape."""
    command = parse_command(text)
    if command.spec is None or text.startswith((b" ", b"\t")):
        return False
    if command.keyword in _LOGINS:
        return _WORDS.fullmatch(command.arguments) is not None
    return re.fullmatch(command.spec.shape, command.arguments) is not None


def has_session(lines: list[bytes]) -> bool:
    """Tell whether lines look like a session without marks.

    Args:
        lines: The beginning of a log.
    """
    greeting = next((n for n, line in enumerate(lines) if line.startswith(_STATUS)), None)
    if greeting is None:
        return False
    return any(parse_command(line).keyword in COMMANDS for line in lines[greeting:] if line)
