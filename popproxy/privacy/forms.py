"""The forms in which a secret may turn up again, and texts made ready to be searched for them.

A `Form` is a secret as it looks in one encoding. A `Text` is a piece of traffic as it looks when
one encoding is undone; it knows for each of its octets where it came from, so that what is found in
it can be masked in the original. Everything is folded: a secret is looked for without regard to
case, and for base64 that costs next to no false finds. Folding works octet by octet; beyond ASCII
it covers the letters of Latin-1, in UTF-8 and by themselves, and takes some others for one. Of all
other letters the secret's own case, capitals throughout and small letters throughout are known.

Two kinds of search cover all encodings:

* *plainly*: the secret itself, in the text as it stands and in the text with quoted-printable
  undone, with percent-encoding undone, and with both undone one after the other. Undoing leaves
  alone what is not encoded, so that a secret that is encoded in part is found, too, and so is one
  that a soft line break of quoted-printable cuts.
* *packed*: base64 at its three alignments, hexadecimal digits, and the secret itself if it holds
  blanks, in each of the same texts with line ends, blanks, colons and `>` left out, since encodings
  are wrapped, grouped and quoted at will, and sentences wrapped at their blanks.

Base64 puts six bits into a letter, so that the letters at both ends of an encoded secret may hold
bits of it and bits of their neighbours. The form is what lies between; its neighbours count as
found with it, and so do the letters behind it up to the end of the word, and the padding: how they
look depends on the secret's length.
"""

from __future__ import annotations

import base64
import html
import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

GAPS = b"\t\n\r :>"
"""What is left out of a packed text."""

TAIL = 100
"""Letters behind an encoded secret that are masked with it, at most."""

_GAP = re.compile(b"[" + GAPS + b"]+")
_BASE64_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789+/")
_FOLDING = bytes(
    octet | 0x20 if octet >= 0x80 or 0x41 <= octet <= 0x5A else octet for octet in range(256)
)
# The URL-safe alphabet of base64 (RFC 4648, section 5) is made the usual one, too.
_PACKING = _FOLDING.replace(b"-", b"+").replace(b"_", b"/")
_ESCAPES = {f"{octet:02x}".encode(): _FOLDING[octet : octet + 1] for octet in range(256)}
_PERCENT, _EQUALS = b"%", b"="
_WORD_END = re.compile(rb"(?:[a-z0-9+/_-]|%%2[bf]){0,%d}(?:=3d|%%3d|=)*" % TAIL)

_HTML = re.compile(rb"[<>&\"']")
_JSON = re.compile(rb"[\x00-\x1f\"'/\\]")
_MIN_TIGHT = 6

Span = tuple[int, int]
"""Where something begins, and where it ends, in octets."""


def folded(data: bytes) -> bytes:
    """Fold case.

    Args:
        data: Any octets.
    """
    return data.translate(_FOLDING)


def packed(data: bytes) -> bytes:
    """Fold case, make URL-safe base64 usual base64 and leave `GAPS` out, in one pass.

    Args:
        data: Any octets.
    """
    return data.translate(_PACKING, GAPS)


class Form(NamedTuple):
    """A secret in one encoding.

    Attributes:
        text: What to look for, folded.
        packed: Whether to look in packed texts, else in plain ones.
        base64: Whether it is base64.
        left: The letter before holds bits of the secret, too.
        right: The letter behind holds bits of the secret, too.
    """

    text: bytes
    packed: bool
    base64: bool = False
    left: bool = False
    right: bool = False


def _escaped(text: bytes, *, quote: bool) -> bytes:
    return html.escape(text.decode("latin-1"), quote=quote).encode("latin-1")


def _in_other_cases(secret: bytes) -> set[bytes]:
    """Give a secret in capitals and in small letters where folding octets does not cover that."""
    if secret.isascii():
        return set()
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return set()
    cases = {folded(case.encode()) for case in (text.lower(), text.upper(), text.casefold())}
    return cases - {folded(secret)}


def _in_json(secret: bytes) -> set[bytes]:
    """Give a secret as strings of JSON, and of languages like it, have it."""
    if secret.isascii() and not _JSON.search(secret):
        return set()
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return set()
    made = [json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True)]
    made += [each.replace("/", "\\/") for each in made]  # as PHP does
    made.append(made[0].replace("'", "\\'"))
    return {folded(each.encode()) for each in made} - {folded(secret)}


def forms(secret: bytes) -> list[Form]:
    """Give the forms of a secret: plain, in HTML and JSON, hexadecimal, base64 at each alignment.

    Args:
        secret: The secret, at least two octets.
    """
    plain = [folded(secret), *_in_other_cases(secret)]
    if b" " in secret:  # as encoded words (RFC 2047, section 4.2) and forms of the web have it
        plain += [plain[0].replace(b" ", blank) for blank in (b"_", b"+")]
    if _HTML.search(secret):
        plain += [_escaped(plain[0], quote=True), _escaped(plain[0], quote=False)]
    plain += _in_json(secret)
    found = [Form(each, packed=False) for each in plain]
    if len(tight := packed(secret)) in range(_MIN_TIGHT, len(secret)):  # wrapped at a blank
        found.append(Form(tight, packed=True))
    found.append(Form(secret.hex().encode(), packed=True))
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        start, whole = -(-before * 8 // 6), (before + len(secret)) * 8
        found.append(
            Form(
                packed(encoded[start : whole // 6]),
                packed=True,
                base64=True,
                left=before > 0,
                right=whole % 6 > 0,
            )
        )
    return found


class Text:
    """A piece of traffic with encodings undone.

    Attributes:
        data: The octets to search.
        parent: The text that this one was made of; None for the original.
    """

    __slots__ = ("_at", "_from", "_widths", "data", "parent")

    def __init__(self, data: bytes, parent: Text | None = None) -> None:
        self.data = data
        self.parent = parent
        # The octet at _at[k] came from _widths[k] octets of the parent at _from[k]; those behind
        # it, up to the next entry, from one octet each.
        self._at: list[int] = [0]
        self._from: list[int] = [0]
        self._widths: list[int] = [1]

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Text>"

    def _note(self, at: int, origin: int, width: int = 1) -> None:
        if self._at[-1] == at:  # nothing lay between: the newer entry replaces the older
            self._from[-1], self._widths[-1] = origin, width
        else:
            self._at.append(at)
            self._from.append(origin)
            self._widths.append(width)

    def packed(self) -> Text:
        """Make the packed text of this one."""
        made = Text(packed(self.data), self)
        removed = 0
        for gap in _GAP.finditer(self.data):
            made._note(gap.start() - removed, gap.end())
            removed += gap.end() - gap.start()
        return made

    def unescaped(self, mark: bytes) -> Text:
        """Make the text with quoted-printable (`=`) or percent-encoding (`%`) undone.

        Args:
            mark: `=` or `%`.
        """
        pieces: list[tuple[bytes, int, int]] = []
        data = b"".join(_unescape(self.data, mark, pieces))
        made = Text(data, self)
        at = origin = 0
        for octets, width, literal in pieces:
            if octets:
                made._note(at, origin, width)
            at += len(octets)
            origin += width
            made._note(at, origin)
            at += literal
            origin += literal
        return made

    def span(self, start: int, end: int, form: Form) -> Span:
        """Tell where in the original a form stands that was found in this text.

        Args:
            start: Where it begins in this text.
            end: Where it ends; greater than `start`.
            form: The form.

        Returns:
            Its place, with what else has to be masked.
        """
        data = self.data
        if form.left and start and data[start - 1] in _BASE64_LETTERS:
            start -= 1
        if form.right and end < len(data) and data[end] in _BASE64_LETTERS:
            end += 1
        text: Text = self
        while text.parent is not None:
            start, _ = text._origin(start)
            last, width = text._origin(end - 1)
            end = last + width
            text = text.parent
        if form.base64:
            behind = _WORD_END.match(text.data, end)
            end = behind.end() if behind else end
        return start, end

    def _origin(self, position: int) -> tuple[int, int]:
        entry = bisect_right(self._at, position) - 1
        return self._from[entry] + position - self._at[entry], self._widths[entry]


def unescaped_texts(data: bytes) -> Iterator[bytes]:
    """Give what a text is with its encodings undone, for a first look; nothing if it has none.

    Args:
        data: The text, folded.
    """
    if _PERCENT in data:
        yield b"".join(_unescape(data, _PERCENT))
    if _EQUALS in data:
        printable = b"".join(_unescape(data, _EQUALS))
        yield printable
        if _PERCENT in printable:
            yield b"".join(_unescape(printable, _PERCENT))


def all_texts(data: bytes) -> Iterator[Text]:
    """Give the same, and the text itself, as texts that know their origin.

    Args:
        data: The text, as it stands on the wire.
    """
    plain = Text(folded(data))
    yield plain
    if _PERCENT in data:
        yield plain.unescaped(_PERCENT)
    if _EQUALS in data:
        printable = plain.unescaped(_EQUALS)
        yield printable
        if _PERCENT in printable.data:
            yield printable.unescaped(_PERCENT)


def _unescape(
    data: bytes, mark: bytes, pieces: list[tuple[bytes, int, int]] | None = None
) -> Iterator[bytes]:
    """Undo one encoding, in folded text.

    Args:
        data: The text.
        mark: What begins an escape.
        pieces: If given, it gets for each mark the octets that it stands for, how many octets it
            is wide, and how many literal octets follow it; before these, an entry for the octets
            before the first mark.

    Yields:
        The pieces of the result.
    """
    first, *rest = data.split(mark)
    yield first
    if pieces is not None:
        pieces.append((b"", 0, len(first)))
    for text in rest:
        octets = _ESCAPES.get(text[:2])
        if octets is not None:
            width = 3
        elif mark == _EQUALS and (text[:1] == b"\n" or text[:2] == b"\r\n"):
            # A soft line break; the dot that byte-stuffing put behind it goes, too.
            octets, width = b"", text.index(b"\n") + 2
            width += text[width - 1 : width] == b"."
        else:
            octets, width = mark, 1
        literal = text[width - 1 :]
        yield octets
        yield literal
        if pieces is not None:
            pieces.append((octets, width, len(literal)))
