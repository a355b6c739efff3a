"""Messages that keep their shape and lose what they say (RFCs 5322 and 2045 to 2049).

A message is walked line by line, as a parser of MIME does: the header, then the body, in which the
boundaries that the header named begin and end parts with headers of their own. Whatever is not
recognised is text, and text is filled (`popproxy.privacy.sanitise.words`); there is no way through
here on which a line stays as it was. All that comes out has as many octets as went in, and its line
ends and leading dots in the same places, so that nothing here needs to know of byte-stuffing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from popproxy.privacy.sanitise import kept
from popproxy.privacy.sanitise.encodings import base64, escaped, looks_binary
from popproxy.privacy.sanitise.headers import Headers, boundary_of
from popproxy.privacy.sanitise.keys import Keys
from popproxy.privacy.sanitise.markup import fill_html
from popproxy.privacy.sanitise.words import fill, flatten, is_wide

_DEPTH: Final = 40
"""Multiparts and messages in each other; what lies deeper is text."""

_NAME: Final = re.compile(rb"([\x21-\x39\x3b-\x7e]{1,77})([ \t]*:)")
_TYPE: Final = re.compile(rb"[\s]*([A-Za-z0-9.+-]{1,80}/[A-Za-z0-9.+_-]{1,120})")
_CHARSET: Final = re.compile(rb"charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_DASHES: Final = re.compile(rb"^--([^\r\n]{1,998})", re.MULTILINE)
_STATUS: Final = re.compile(rb"\+OK|-ERR|ERR", re.IGNORECASE)

_UU_BEGIN: Final = re.compile(rb"^[> ]{0,20}begin(?:-base64)? [0-7]{3,4} ", re.MULTILINE)
_UU_LINE: Final = re.compile(rb"^[> ]{0,20}\.?M[\x20-\x60]{60}[\x20-\x7e]{0,2}\r?\n", re.MULTILINE)
_YENC: Final = re.compile(rb"^=y(?:begin|part|end) ", re.MULTILINE)
_UU_DATA: Final = re.compile(rb"([> ]{0,20}\.?)([\x21-\x60][\x20-\x60]{0,90})(\r?\n)\Z")
_QUOTE: Final = re.compile(rb"[> ]{0,20}")
_YENC_FILLING: Final = bytes(
    ord("x") if 0x20 < octet < 0x7F else 1 if 0 < octet < 9 or 13 < octet < 0x20 else octet
    for octet in range(256)
)
"""yEnc's data is any octets; each stays of its kind."""

_TO_X: Final = bytes(ord("X") if 0x20 < octet < 0x7F else octet for octet in range(256))
_CALENDAR: Final = re.compile(rb"^(\.?)([A-Za-z-]{2,20})(?=[:;])(.*)$", re.MULTILINE)
_CALENDAR_VALUES: Final = re.compile(
    rb":V(?:CALENDAR|EVENT|TIMEZONE|CARD|TODO|ALARM)\r?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Part:
    """What a header says of the body behind it.

    Attributes:
        type: The media type in small letters; text/plain if there is none.
        encoding: The content transfer encoding in small letters.
        charset: The charset as named.
        boundary: The boundary of a multipart; empty if it is none.
    """

    type: bytes = b"text/plain"
    encoding: bytes = b""
    charset: bytes = b""
    boundary: bytes = b""


class Messages:
    """Sanitises messages.

    Args:
        keys: Gives the pseudonyms.
        headers: Replaces what header fields tell.
        removed: Counts what is replaced, by rule.
    """

    def __init__(self, keys: Keys, headers: Headers, removed: Counter[str]) -> None:
        self._keys = keys
        self._headers = headers
        self._removed = removed

    def message(self, data: bytes, keep: Collection[int] = ()) -> bytes:
        """Sanitise a message.

        Args:
            data: The message as it stands on the wire, byte-stuffing included or not.
            keep: Numbers of lines, from 1, that stay as they are.

        Returns:
            As many octets.
        """
        made = b"".join(self._message(data, 0))
        if not keep:
            return made
        were, are = data.split(b"\n"), made.split(b"\n")
        for number in keep:
            if 0 < number <= len(were):
                are[number - 1] = were[number - 1]
        return b"\n".join(are)

    def body(self, data: bytes) -> bytes:
        """Sanitise text that has no header."""
        return _with_status(data, self._text(data, _Part()))

    def _message(self, data: bytes, depth: int) -> Iterator[bytes]:
        """Walk a message."""
        stack: list[bytes] = []
        lines = _Lines(data)
        part = _Part()
        in_header, fields_only = True, False
        while lines.more:
            if in_header:
                header = lines.header(stack)
                made, described = self._header(header)
                yield made
                if not fields_only:
                    part = described
                nested = part.type in (b"message/rfc822", b"message/global", b"message/news")
                if part.boundary and not fields_only and len(stack) < _DEPTH:
                    stack.append(part.boundary)
                fields_only = fields_only or part.type in (
                    b"message/delivery-status", b"message/disposition-notification",
                    b"text/rfc822-headers", b"message/global-headers",
                )  # fmt: skip
                encoded = part.encoding in (b"base64", b"quoted-printable")
                in_header = (nested or fields_only) and not encoded and lines.blank_was_last
                depth += in_header
                if depth > _DEPTH:
                    in_header = False
                if in_header and lines.at_boundary(stack) is None:
                    continue
                in_header = False
            body = lines.body(stack)
            if body:
                made = self._body(body, part, depth)
                if part.encoding != b"base64":
                    made = _with_status(body, self._look_alikes(body, made, stack))
                yield made
            found = lines.at_boundary(stack)
            if found is None:
                continue
            level, line = found
            lines.skip()
            boundary = stack[level]
            yield line[:2] + self._keys.boundary(boundary) + fill(line[2 + len(boundary) :])
            closing = line[2 + len(boundary) :].startswith(b"--")
            del stack[level + (not closing) :]
            part, in_header, fields_only = _Part(), not closing, False

    def _body(self, body: bytes, part: _Part, depth: int) -> bytes:
        """Replace what the body of a part says."""

        def text(decoded: bytes) -> bytes:
            return self._text(decoded, part)

        def raw(decoded: bytes) -> bytes:
            return flatten(decoded) if is_wide(part.charset) else text(decoded)

        is_text = part.type.startswith((b"text/", b"message/", b"multipart/")) or part.type in (
            b"application/json", b"application/xml", b"application/ics",
            b"application/pgp-encrypted",
        )  # fmt: skip
        if part.encoding == b"base64":
            if not is_text:
                self._removed["octets of attachments"] += len(body)
                return base64(body, None)

            def decoded(content: bytes) -> bytes:
                if not is_wide(part.charset) and looks_binary(content):
                    return bytes(len(content))
                if part.type.startswith(b"message/") and depth < 5:
                    return b"".join(self._message(content, depth + _DEPTH // 5))
                return text(content)

            return base64(body, decoded)
        if part.encoding == b"quoted-printable":
            return escaped(body, raw)
        return raw(body)

    def _text(self, text: bytes, part: _Part) -> bytes:
        self._removed["words of messages"] += len(text.split())
        if part.type == b"text/html":
            return fill_html(text, part.charset)
        made = (
            _with_encoded_files(text, part.charset) if b"\n" in text else fill(text, part.charset)
        )
        if part.type in (b"text/calendar", b"text/vcard", b"application/ics"):
            made = _with_names_of_lines(text, made)
        return made

    def _look_alikes(self, body: bytes, made: bytes, stack: list[bytes]) -> bytes:
        """Keep what begins as a boundary and goes on: some parsers take it for one."""
        out = bytearray(made)
        for found in _DASHES.finditer(body) if stack else ():
            line = found[1]
            begun = max((one for one in stack if line.startswith(one)), key=len, default=b"")
            out[found.start(1) : found.start(1) + len(begun)] = self._keys.boundary(begun)
        return bytes(out)

    def _header(self, header: list[bytes]) -> tuple[bytes, _Part]:
        """Replace what a header tells, and read what it says of the body."""
        made: list[bytes] = []
        fields: dict[bytes, bytes] = {}
        field: list[bytes] = []
        malformed = False

        def flush() -> None:
            if field:
                made.append(self._field(b"".join(field), fields))
                field.clear()

        for line in header:
            if line[:1] in (b" ", b"\t") and field and line.strip():
                field.append(line)
                continue
            flush()
            named = _NAME.match(line)
            if named is None or (malformed and named[1].lower() not in kept.HEADER_NAMES):
                malformed = malformed or bool(line.strip())
                made.append(_with_status(line, self._headers.text(line)))
            else:
                field.append(line)
        flush()
        return b"".join(made), _described(fields)

    def _field(self, field: bytes, fields: dict[bytes, bytes]) -> bytes:
        named = _NAME.match(field)
        if named is None:
            return self._headers.text(field)
        name, colon = named.groups()
        value = field[named.end() :]
        fields.setdefault(name.lower(), value)
        return self._headers.name(name) + colon + self._headers.value(name, value)


class _Lines:
    """The lines of a message, read once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.blank_was_last = False

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def _end(self, at: int) -> int:
        end = self._data.find(b"\n", at)
        return len(self._data) if end < 0 else end + 1

    def skip(self) -> None:
        """Pass over a line."""
        self._at = self._end(self._at)

    def header(self, stack: list[bytes]) -> list[bytes]:
        """Take lines up to a blank one, which is taken too, or up to a boundary."""
        lines: list[bytes] = []
        self.blank_was_last = False
        while self.more and self.at_boundary(stack) is None:
            end = self._end(self._at)
            line = self._data[self._at : end]
            self._at = end
            lines.append(line)
            if line in (b"\r\n", b"\n"):
                self.blank_was_last = True
                break
        return lines

    def at_boundary(self, stack: list[bytes]) -> tuple[int, bytes] | None:
        """Tell whether a boundary is the next line, the innermost first."""
        if not stack or not self._data.startswith(b"--", self._at):
            return None
        line = self._data[self._at : self._end(self._at)]
        text = line[2:].rstrip(b" \t\r\n")
        for level in range(len(stack) - 1, -1, -1):
            if text in (stack[level], stack[level] + b"--"):
                return level, line
        return None

    def body(self, stack: list[bytes]) -> bytes:
        """Take lines up to a boundary."""
        begin = self._at
        while self._at < len(self._data):
            if not stack:
                self._at = len(self._data)
                break
            if self.at_boundary(stack) is not None:
                break
            found = self._data.find(b"\n--", self._at)
            self._at = len(self._data) if found < 0 else found + 1
        return self._data[begin : self._at]


def _described(fields: dict[bytes, bytes]) -> _Part:
    """Read what a header says of the body behind it."""
    content = fields.get(b"content-type", b"")
    named = _TYPE.match(content)
    kind = named[1].lower() if named else b"text/plain"
    encoding = fields.get(b"content-transfer-encoding", b"").strip().lower()
    charset = _CHARSET.search(content)
    return _Part(
        type=kind,
        encoding=encoding.partition(b" ")[0],
        charset=charset[1] if charset else b"",
        boundary=boundary_of(content) if kind.startswith(b"multipart/") else b"",
    )


def _with_status(text: bytes, made: bytes) -> bytes:
    """Keep what reads as a status indicator at the beginning of a line: framing hangs on it."""
    if b"OK" not in text and b"ERR" not in text.upper():
        return made
    pieces = []
    for was, line in zip(text.split(b"\n"), made.split(b"\n"), strict=True):
        status = _STATUS.match(was)
        pieces.append(status[0] + line[status.end() :] if status else line)
    return b"\n".join(pieces)


def _with_names_of_lines(text: bytes, made: bytes) -> bytes:
    """Keep the names of lines in iCalendar and vCard."""
    out = bytearray(made)
    for found in _CALENDAR.finditer(text):
        if found[2].lower() in kept.CALENDAR_WORDS:
            out[found.start(2) : found.end(2)] = found[2]
            if value := _CALENDAR_VALUES.match(found[3]):
                out[found.start(3) : found.start(3) + len(value[0])] = value[0]
    return bytes(out)


def _with_encoded_files(text: bytes, charset: bytes) -> bytes:
    """Fill text in which files may stand as uuencode or yEnc, whose letters are any ASCII."""
    if not (_UU_LINE.search(text) or _UU_BEGIN.search(text) or _YENC.search(text)):
        return fill(text, charset)
    pieces: list[bytes] = []
    plain: list[bytes] = []
    inside = ""

    def flush() -> None:
        pieces.append(fill(b"".join(plain), charset))
        plain.clear()

    for line in _lines(text):
        if begin := (_UU_BEGIN.match(line) or _YENC.match(line)):
            inside = "" if begin[0] == b"=yend " else "yenc" if begin[0][:1] == b"=" else "uu"
            flush()
            pieces.append(begin[0] + fill(line[begin.end() :]))
        elif inside == "yenc":
            dots = len(line) - len(line.lstrip(b"."))
            pieces.append(line[:dots] + fill(line[dots:]).translate(_YENC_FILLING))
        elif inside == "uu" and _QUOTE.sub(b"", line, count=1).strip() == b"end":
            inside = ""
            flush()
            pieces.append(line)
        elif _UU_LINE.match(line) or (inside == "uu" and _UU_DATA.match(line)):
            flush()
            pieces.append(_uuencoded(line))
        else:
            plain.append(line)
    flush()
    return b"".join(pieces)


def _lines(text: bytes) -> Iterator[bytes]:
    for line in text.split(b"\n")[:-1]:
        yield line + b"\n"
    if last := text.rpartition(b"\n")[2]:
        yield last


def _uuencoded(line: bytes) -> bytes:
    """Replace a line of uuencode; its first letter, which tells its length, stays."""
    quote = _QUOTE.match(line)
    start = quote.end() if quote else 0
    start += line[start : start + 1] == b"."
    return line[: start + 1] + line[start + 1 :].translate(_TO_X)
