"""The text of a scripted line: escapes and placeholders, read once, rendered for any secret.

The format is described in `popproxy.peers.script`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

MAX_OCTETS = 16 * 1024 * 1024
"""Octets that one line may have once it is rendered."""

_ESCAPES = {
    "r": b"\r",
    "n": b"\n",
    "t": b"\t",
    "0": b"\0",
    "a": b"\a",
    "b": b"\b",
    "e": b"\x1b",
    "s": b" ",
    "\\": b"\\",
    "{": b"{",
    "}": b"}",
    ":": b":",
}
_HEX = {"x": 2, "u": 4, "U": 8}
_SECRET = re.compile(r"secret(?:\[(-?\d*):(-?\d*)\])?")
_NAME = re.compile(r"[a-z0-9-]+(?=:)")
_NUMBER = re.compile(r"[0-9]{1,8}(?=:)")


class TextError(ValueError):
    """A text is malformed; the message says how."""


def _percent_all(octets: bytes) -> bytes:
    return b"".join(b"%%%02X" % octet for octet in octets)


def _quoted_printable(octets: bytes) -> bytes:
    return b"".join(b"=%02X" % octet for octet in octets)


def _utf16(octets: bytes) -> bytes:
    return octets.decode("latin-1").encode("utf-16-le")


def _wrap(width: int, octets: bytes) -> bytes:
    starts = range(0, len(octets), width)
    return b"\r\n".join(octets[start : start + width] for start in starts)


_UNARY: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "hex": lambda octets: octets.hex().encode(),
    "hex-colons": lambda octets: octets.hex(":").encode(),
    "percent": lambda octets: urllib.parse.quote_from_bytes(octets, safe="").encode(),
    "percent-all": _percent_all,
    "quoted-printable": _quoted_printable,
    "utf16": _utf16,
    "upper": bytes.upper,
    "lower": bytes.lower,
    "reverse": lambda octets: octets[::-1],
    # The digests are those of the protocols that the scripts speak.
    "md5": lambda octets: hashlib.md5(octets, usedforsecurity=False).digest(),
    "sha256": lambda octets: hashlib.sha256(octets).digest(),
}
_WITH_KEY: dict[str, Callable[[bytes, bytes], bytes]] = {
    "hmac-md5": lambda key, octets: hmac.digest(key, octets, "md5"),
    "hmac-sha256": lambda key, octets: hmac.digest(key, octets, "sha256"),
}
_WITH_NUMBER: dict[str, Callable[[int, bytes], bytes]] = {
    "repeat": lambda count, octets: octets * count,
    "wrap": _wrap,
}
FUNCTIONS = tuple(sorted([*_UNARY, *_WITH_KEY, *_WITH_NUMBER, "bytewise"]))
"""The names that may stand in `{name:…}`."""


@dataclass(frozen=True, slots=True)
class _Secret:
    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    text: Text
    key: Text | None = None
    number: int = 0


class _Cut:
    """Where a segment ends."""


_Part = bytes | _Secret | _Call | _Cut


@dataclass(frozen=True, slots=True)
class Text:
    """A text that may hold placeholders.

    Attributes:
        parts: What it consists of.
    """

    parts: tuple[_Part, ...]

    @property
    def has_secret(self) -> bool:
        """Whether rendering depends on the secret."""
        return any(
            isinstance(part, _Secret)
            or (
                isinstance(part, _Call)
                and (part.text.has_secret or (part.key is not None and part.key.has_secret))
            )
            for part in self.parts
        )

    def render(self, secret: bytes) -> list[bytes]:
        """Fill the placeholders in.

        Args:
            secret: What stands for `{secret}`.

        Returns:
            The octets, in segments; empty ones are left out.

        Raises:
            TextError: It becomes too large.
        """
        segments = [bytearray()]
        for part in self.parts:
            if isinstance(part, bytes):
                segments[-1] += part
            elif isinstance(part, _Secret):
                segments[-1] += secret[part.start : part.stop]
            elif isinstance(part, _Cut):
                segments.append(bytearray())
            elif part.name == "bytewise":
                octets = part.text.join(secret)
                segments[-1] += octets[:1]
                segments += [bytearray((octet,)) for octet in octets[1:]]
            else:
                segments[-1] += _apply(part, secret)
            if len(segments[-1]) > MAX_OCTETS:
                raise TextError(f"the line becomes longer than {MAX_OCTETS} octets")
        return [bytes(segment) for segment in segments if segment]

    def join(self, secret: bytes) -> bytes:
        """Render without regard to segments.

        Args:
            secret: What stands for `{secret}`.
        """
        return b"".join(self.render(secret))


def _apply(call: _Call, secret: bytes) -> bytes:
    """Compute what a function gives."""
    octets = call.text.join(secret)
    if call.name in _UNARY:
        return _UNARY[call.name](octets)
    if call.key is not None:
        return _WITH_KEY[call.name](call.key.join(secret), octets)
    if call.name == "repeat" and len(octets) * call.number > MAX_OCTETS:
        raise TextError(f"the line becomes longer than {MAX_OCTETS} octets")
    return _WITH_NUMBER[call.name](call.number, octets)


class _Reader:
    """Reads a text from its source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._next = 0

    def text(self, *, until: str = "", cuts: bool = True) -> Text:
        """Read up to a character, which is passed over, or to the end of the source.

        Args:
            until: The character; empty for the end.
            cuts: Whether segments may end inside.
        """
        parts: list[_Part] = []
        literal = bytearray()
        while self._next < len(self._source):
            letter = self._source[self._next]
            self._next += 1
            if letter == until:
                break
            if letter == "\\":
                literal += self._escape()
                continue
            if letter == "}":
                missing = f"a {{ without its {until}" if until else "a } without a {; write \\}"
                raise TextError(missing)
            if letter != "{":
                literal += letter.encode()
                continue
            part = self._placeholder()
            if not cuts and (isinstance(part, _Cut) or _named(part, "bytewise")):
                raise TextError("a segment cannot be cut inside a function")
            parts += [bytes(literal), part] if literal else [part]
            literal.clear()
        else:
            if until:
                raise TextError(f"a {{ without its {until}")
        return Text((*parts, bytes(literal)) if literal else tuple(parts))

    def _escape(self) -> bytes:
        letter = self._source[self._next : self._next + 1]
        self._next += 1
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        digits = self._source[self._next : self._next + _HEX.get(letter, 0)]
        self._next += len(digits)
        try:
            number = int(digits, 16)
            return bytes([number]) if letter == "x" else chr(number).encode()
        except (ValueError, OverflowError):
            raise TextError(f"unknown escape \\{letter}{digits}") from None

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._source, self._next)
        if found is not None:
            self._next = found.end()
        return found

    def _placeholder(self) -> _Part:
        """Read what stands in braces; the opening one has been read."""
        if self._source.startswith("cut}", self._next):
            self._next += len("cut}")
            return _Cut()
        found = self._match(_SECRET)
        if found is not None and self._source.startswith("}", self._next):
            self._next += 1
            start, stop = (int(limit) if limit else None for limit in found.groups())
            return _Secret(start, stop)
        name = self._match(_NAME)
        if name is None or name.group() not in FUNCTIONS:
            known = ", ".join(("secret", "cut", *FUNCTIONS))
            raise TextError(f"unknown placeholder; known are {known}")
        self._next += 1
        return self._call(name.group())

    def _call(self, name: str) -> _Call:
        key, number = None, 0
        if name in _WITH_KEY:
            key = self.text(until=":", cuts=False)
        elif name in _WITH_NUMBER:
            found = self._match(_NUMBER)
            if found is None or not (number := int(found.group())):
                raise TextError(f"{name} needs a number: {{{name}:10:text}}")
            self._next += 1
        return _Call(name, self.text(until="}", cuts=False), key, number)


def _named(part: _Part, name: str) -> bool:
    return isinstance(part, _Call) and part.name == name


def read_text(source: str) -> Text:
    """Read the text of a scripted line.

    Args:
        source: The text with escapes and placeholders.

    Raises:
        TextError: It is malformed.
    """
    return _Reader(source).text()
