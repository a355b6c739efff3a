"""Looks for strings in a file, in all forms that they may have.

The forms are those of `popproxy.privacy.forms`, and UTF-16. A file is searched piece by piece; what
stands at a place is looked up by its first octets, so that the time does not depend on how many
strings there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from popproxy.privacy.forms import Form, Text, folded, forms

LEAST: Final = 4
"""Octets that a string must have to be looked for: shorter ones are found everywhere."""

MAX_STRINGS: Final = 10_000
MAX_SIZE: Final = 4_096

PIECE: Final = 1 << 20
_OVERLAP: Final = 16_384


class Found(NamedTuple):
    """Where a string was found.

    Attributes:
        number: Which string, from 1.
        offset: The octet of the file, from 0.
        form: How it stands there, in words.
    """

    number: int
    offset: int
    form: str


class Search:
    """Searches files for strings.

    Args:
        strings: What to look for; each of `LEAST` octets at least.
    """

    def __init__(self, strings: Sequence[bytes]) -> None:
        self._forms: dict[bool, dict[bytes, list[tuple[bytes, int, Form, str]]]] = {}
        found: dict[bool, dict[bytes, tuple[int, Form, str]]] = {False: {}, True: {}}
        for number, string in enumerate(strings, 1):
            for form, name in _all_forms(string):
                if len(form.text) >= LEAST:
                    found[form.packed].setdefault(form.text, (number, form, name))
        self._sizes: dict[bool, int] = {}
        for packed, of_kind in found.items():
            size = min(map(len, of_kind), default=0)
            self._sizes[packed] = size
            table = self._forms[packed] = {}
            for text, (number, form, name) in of_kind.items():
                table.setdefault(text[:size], []).append((text, number, form, name))

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Search>"

    def find(self, pieces: Iterator[bytes]) -> Iterator[Found]:
        """Search a file.

        Args:
            pieces: The file, in pieces of any size.

        Yields:
            Each place once, in order of their offset within some pieces.
        """
        held, at = b"", 0
        told: set[Found] = set()
        for piece in pieces:
            held += piece
            if len(held) < PIECE + _OVERLAP:
                continue
            found = set(self._in(held, at))
            yield from sorted(found - told, key=_place)
            told = found
            at += len(held) - _OVERLAP
            held = held[-_OVERLAP:]
        yield from sorted(set(self._in(held, at)) - told, key=_place)

    def _in(self, data: bytes, at: int) -> Iterator[Found]:
        """Search a piece, in all readings of it."""
        seen: set[tuple[int, int]] = set()
        for undone, text in _readings(data):
            for packed in (False, True):
                view = text.packed() if packed else text
                for start, end, number, form, name in self._matches(view.data, packed=packed):
                    begin, _ = view.span(start, end, form)
                    if (number, begin) not in seen:
                        seen.add((number, begin))
                        yield Found(number, at + begin, _told(name, undone))

    def _matches(self, data: bytes, *, packed: bool) -> Iterator[tuple[int, int, int, Form, str]]:
        table, size = self._forms[packed], self._sizes[packed]
        if not size:
            return
        for at in range(len(data) - size + 1):
            of_place = table.get(data[at : at + size])
            if of_place is None:
                continue
            for text, number, form, name in of_place:
                if data.startswith(text, at):
                    yield at, at + len(text), number, form, name


def _place(found: Found) -> tuple[int, int, str]:
    return found.offset, found.number, found.form


def _all_forms(string: bytes) -> Iterator[tuple[Form, str]]:
    """Give the forms of a string with what they are called."""
    yield from _named(string, "")
    try:
        text = string.decode()
    except UnicodeDecodeError:
        return
    for encoding in ("utf-16-le", "utf-16-be"):
        yield from _named(text.encode(encoding), encoding.upper())


def _named(string: bytes, encoding: str) -> Iterator[tuple[Form, str]]:
    hexadecimal = string.hex().encode()
    for form in forms(string):
        name = (
            "base64"
            if form.base64
            else "hexadecimal"
            if form.packed and form.text == hexadecimal
            else "wrapped"
            if form.packed
            else "plain"
        )
        yield form, (f"{name} of {encoding}" if name != "plain" else encoding) if encoding else name


def _readings(data: bytes) -> Iterator[tuple[str, Text]]:
    """Give a text as it stands and with encodings undone, with what these are called."""
    plain = Text(folded(data))
    yield "", plain
    if b"%" in data and len((text := plain.unescaped(b"%")).data) < len(data):
        yield "percent-encoded", text
    if b"=" in data and len((text := plain.unescaped(b"=")).data) < len(data):
        yield "quoted-printable", text
        if b"%" in text.data:
            yield "percent-encoded, quoted-printable", text.unescaped(b"%")


def _told(name: str, undone: str) -> str:
    if not undone:
        return name
    return undone if name == "plain" else f"{name}, {undone}"
