r"""Conversations as text: who sends what, in which segments, in which order.

A conversation is a text file in UTF-8. It is a recording that was written by hand: it fixes the
octets of both sides and their order, and nothing else. One file holds one session.

    # What it shows, in a few words. P06
    S: +OK ready
    C: USER ada
    S: +OK
    C: pass {secret}
    S: -ERR [AUTH] no
    C: QUIT
    S: +OK bye
    S! eof

**Lines.** `C:` and `S:` begin what client or server send: one blank, the text, and CRLF, sent as
one segment. `C+` and `S+` add a line to the segment of the line before. `#` begins a comment; empty
lines are passed over. A blank at a line's end is refused, since it would not be seen; write `\s`.

| line | meaning |
|---|---|
| `C! eof` | the client sends nothing more (half-close) |
| `C! rst` | the client resets the connection; nothing follows |
| `C! lf` | from here on the client's lines end in LF; `C! crlf` goes back |
| `! wait 2.5` | 2.5 seconds pass |

**Escapes.** `\r \n \t \a \b \e` (ESC) `\s` (blank) `\0` (NUL) `\\ \{ \} \:`, `\xff` for an octet,
`\u20ac` and `\U0001f600` for a character in UTF-8. A `\` at the very end: no line end is added.

**Placeholders.** `{secret}` is the secret, given when the conversation is rendered, so that the
same conversation can be held with different ones; `{secret[:6]}` and the like are parts of it, as
in Python. `{cut}` ends the segment. Functions take a text, which may hold placeholders again:

| function | gives |
|---|---|
| `{base64:TEXT}` `{base64url:TEXT}` | base64 of the text; with the alphabet for URLs |
| `{hex:TEXT}` `{hex-colons:TEXT}` | hexadecimal digits, lower case; in pairs with colons |
| `{percent:TEXT}` `{percent-all:TEXT}` | percent-encoding; of every octet |
| `{quoted-printable:TEXT}` | every octet as `=XX` |
| `{upper:TEXT}` `{lower:TEXT}` `{reverse:TEXT}` | in capitals; in small letters; backwards |
| `{utf16:TEXT}` | octets widened to UTF-16, little-endian |
| `{md5:TEXT}` `{sha256:TEXT}` | the digest, as octets |
| `{hmac-md5:KEY:TEXT}` `{hmac-sha256:KEY:TEXT}` | the same with a key |
| `{repeat:70000:TEXT}` | the text as often as said |
| `{wrap:76:TEXT}` | the text with CRLF after so many octets each |
| `{bytewise:TEXT}` | every octet in a segment of its own |

`AUTH PLAIN {base64:\0ada\0{secret}}` is a PLAIN login, and `{hex:{md5:<1.2@example.org>{secret}}}`
an APOP digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from popproxy.peers.script_text import Text, TextError, read_text
from popproxy.pop3.events import Side

_LINE = re.compile(r"([CS])([:+])(?: (.*))?")
_ACTION = re.compile(r"([CS])! (eof|rst|lf|crlf)")
_WAIT = re.compile(r"! wait (\d{1,6}(?:\.\d{1,6})?)")
_PROMISE = re.compile(r"\bP\d\d\b")
_SIDES = {"C": Side.CLIENT, "S": Side.SERVER}


class ScriptError(ValueError):
    """A conversation is malformed.

    Args:
        name: The conversation.
        line: The line in it, from 1.
        message: What is wrong.
    """

    def __init__(self, name: str, line: int, message: str) -> None:
        super().__init__(f"{name}:{line}: {message}")
        self.name = name
        self.line = line


class Action(Enum):
    """What a turn does."""

    SEND = "send"
    EOF = "eof"
    """The side sends nothing more."""
    RESET = "rst"
    """The side resets the connection."""
    WAIT = "wait"
    """Time passes."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Turn:
    """One thing that happens in a conversation.

    Attributes:
        action: What.
        side: Who does it; for a wait, whoever acted before.
        data: One segment, if something is sent.
        seconds: How long a wait is.
        line: The line in the file.
    """

    action: Action
    side: Side
    data: bytes = b""
    seconds: float = 0.0
    line: int

    def __repr__(self) -> str:
        """Tell what and where, but not the octets: they may be secret (P13)."""
        return f"<Turn {self.action.value} of {self.side.value} at line {self.line}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A turn, or several, not yet rendered."""

    action: Action
    side: Side
    texts: tuple[Text, ...] = ()
    seconds: float = 0.0
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation as it was read.

    Attributes:
        name: Its name: of a file, without the suffix.
        comment: The comment at its beginning, lines joined.
        steps: What happens, not yet rendered.
    """

    name: str
    comment: str
    steps: tuple[_Step, ...]

    @property
    def has_secret(self) -> bool:
        """Whether a secret is said in it."""
        return any(text.has_secret for step in self.steps for text in step.texts)

    @property
    def promises(self) -> frozenset[str]:
        """The promises that the comment cites, as `P06`."""
        return frozenset(_PROMISE.findall(self.comment))

    def render(self, secret: bytes = b"") -> list[Turn]:
        """Hold the conversation with a secret.

        Args:
            secret: What stands for `{secret}`.

        Returns:
            The turns in order.

        Raises:
            ScriptError: A line becomes too large.
        """
        turns = []
        for step in self.steps:
            segments = self._segments(step, secret) if step.action is Action.SEND else [b""]
            turns += [
                Turn(
                    action=step.action,
                    side=step.side,
                    data=segment,
                    seconds=step.seconds,
                    line=step.line,
                )
                for segment in segments
            ]
        return turns

    def _segments(self, step: _Step, secret: bytes) -> list[bytes]:
        whole = Text(tuple(part for text in step.texts for part in text.parts))
        try:
            return whole.render(secret)
        except TextError as error:
            raise ScriptError(self.name, step.line, str(error)) from None


class _Parser:
    """Reads the lines of one file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = 0
        self._comment: list[str] = []
        self._steps: list[_Step] = []
        self._line_ends = {Side.CLIENT: b"\r\n", Side.SERVER: b"\r\n"}
        self._ended: set[Side] = set()

    def parse(self, source: str) -> Conversation:
        for self._line, line in enumerate(source.split("\n"), start=1):
            if line.startswith("#"):
                if not self._steps:
                    self._comment.append(line.lstrip("# ").rstrip())
            elif line:
                self._take(line)
        if not self._steps:
            raise self._error("nothing is said")
        comment = " ".join(self._comment).strip()
        return Conversation(name=self._name, comment=comment, steps=tuple(self._steps))

    def _error(self, message: str) -> ScriptError:
        return ScriptError(self._name, self._line, message)

    def _take(self, line: str) -> None:
        if line != line.rstrip():
            raise self._error("blanks at the end of the line; write \\s")
        if found := _LINE.fullmatch(line):
            side, kind, source = found.groups()
            self._say(_SIDES[side], source or "", joined=kind == "+")
        elif found := _ACTION.fullmatch(line):
            self._act(_SIDES[found[1]], found[2])
        elif found := _WAIT.fullmatch(line):
            side = self._steps[-1].side if self._steps else Side.SERVER
            self._add(
                _Step(action=Action.WAIT, side=side, seconds=float(found[1]), line=self._line)
            )
        else:
            raise self._error("neither C: S: C+ S+ C! S! nor ! wait, nor a comment")

    def _say(self, side: Side, source: str, *, joined: bool) -> None:
        if side in self._ended:
            raise self._error(f"the {side.value} has ended")
        bare = len(source) - len(source.rstrip("\\"))
        line_end = self._line_ends[side]
        if bare % 2:  # a backslash that escapes nothing
            source, line_end = source[:-1], b""
        try:
            text = read_text(source)
        except TextError as error:
            raise self._error(str(error)) from None
        text = Text((*text.parts, line_end))
        if not joined:
            self._add(_Step(action=Action.SEND, side=side, texts=(text,), line=self._line))
            return
        last = self._steps[-1] if self._steps else None
        if last is None or last.action is not Action.SEND or last.side is not side:
            raise self._error(f"there is no line of the {side.value} before it to be joined to")
        self._steps[-1] = _Step(
            action=Action.SEND, side=side, texts=(*last.texts, text), line=last.line
        )

    def _act(self, side: Side, what: str) -> None:
        if what in ("lf", "crlf"):
            self._line_ends[side] = b"\n" if what == "lf" else b"\r\n"
            return
        if side in self._ended:
            raise self._error(f"the {side.value} has ended")
        action = Action(what)
        self._ended |= {side} if action is Action.EOF else set(Side)
        self._add(_Step(action=action, side=side, line=self._line))

    def _add(self, step: _Step) -> None:
        self._steps.append(step)


def parse(source: str, name: str = "conversation") -> Conversation:
    """Read a conversation.

    Args:
        source: The text, in the format that this module describes.
        name: What to call it, in errors too.

    Raises:
        ScriptError: It is malformed; the message begins with name and line.
    """
    return _Parser(name).parse(source)


def load(path: Path) -> Conversation:
    """Read a conversation from a file.

    Args:
        path: The file.

    Raises:
        ScriptError: It is malformed, or not UTF-8.
        OSError: It cannot be read.
    """
    octets = path.read_bytes()
    try:
        source = octets.decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ScriptError(path.name, line, "not UTF-8; write octets as \\xff") from None
    conversation = parse(source.replace("\r\n", "\n"), path.name)
    return Conversation(name=path.stem, comment=conversation.comment, steps=conversation.steps)
