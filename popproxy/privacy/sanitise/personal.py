"""The words of a capture that must not be in what is made of it: learned, and looked for.

This knows nothing of what was replaced, and how; it is the other half of a bundle's proof. Words
are learned from all that was said, as it stands and with its encodings undone. Those of the
allow-list (`popproxy.privacy.sanitise.kept`) do not count, nor what is part of one. Then each file
is searched for every word at once: whatever stands at a place is looked up by its first six octets,
so that the time does not depend on how many words there are.

A word has at least six characters. Numbers count where they can be told from the figures of the
protocol: in messages.
"""

from __future__ import annotations

import binascii
import html
import quopri
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from popproxy.privacy.forms import Span, folded
from popproxy.privacy.sanitise import kept
from popproxy.privacy.sanitise.words import says_nothing

MAX_WORDS: Final = 400_000
"""Words that are remembered at most."""

LEAST: Final = 6
_MOST: Final = 48
_SEEN_MOST: Final = 500_000
_LEAST_LETTERS: Final = 4
"""Different letters that the base64 of a word of six has at least."""
_PART_OF_LINE: Final = 24

_WORD: Final = re.compile(rb"[A-Za-z0-9\x80-\xff]{6,}")
_SHORT: Final = re.compile(rb"(?<![A-Za-z0-9\x80-\xff])[a-z0-9]{1,5}(?![A-Za-z0-9\x80-\xff])")
_MARKS: Final = re.compile(rb"\xc2[\x80-\xbf]|\xe2[\x80\x81][\x80-\xbf]|\xef\xbb\xbf|\xef\xbf\xbd")
_NUMBER: Final = re.compile(rb"[0-9]{6,}")
_OWN_FIELD: Final = re.compile(
    rb"^(?:X-[A-Za-z0-9-]{1,75}[ \t]*:|(?:Content-Length|Lines)[ \t]*:[ \t]*[0-9]{1,8}(?![0-9]))",
    re.IGNORECASE | re.MULTILINE,
)
"""Fields' own names, and what stays of fields on purpose."""

_ESCAPED: Final = re.compile(rb"=([0-9A-F]{2})|=[ \t]*\r?\n")
"""Of quoted-printable, in capitals as RFC 2045 wants: `type=delivery` is no escape."""

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")
_BASE64_LINE: Final = re.compile(rb"[A-Za-z0-9+/]{60,}={0,2}")
_BASE64_LEAST: Final = 60
_FEW: Final = 3
_LEAST_DIFFERENT: Final = 3
"""Different octets of a word: `nnnnnn` says nothing, and any pattern holds it in some reading."""

_FILLING: Final = b"xX0aA"
"""What `fill` makes of words, and what is in the place of base64 that is no text."""

_BASE64_LINES: Final = re.compile(rb"(?:^[A-Za-z0-9+/]{4,100}={0,2}\r?\n)+", re.MULTILINE)
_ENCODED_WORD: Final = re.compile(rb"=\?[^?\s]{1,60}\?[Bb]\?([A-Za-z0-9+/]{4,}={0,2})\?=")
_HEX: Final = re.compile(rb"(?:[0-9a-f]{2}[ :]?){6,}[0-9a-f]?", re.IGNORECASE)
_LINE_END: Final = re.compile(rb"(?:\r?\n|\\r\\n|\\n|\\x0a)")
_EDGE: Final = rb" \t.>=\"'"
_FIGURES: Final = re.compile(
    rb"\b[0-9a-f]{64}\b|SHA-256 [0-9a-f]{16}|[0-9]{8}t[0-9]{6}-shared"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|\+00:00)"
)
"""Digests, times and ids that popproxy itself put into files: they hold no word of anybody."""


class Trace(NamedTuple):
    """Where a word was found.

    Attributes:
        offset: Octet of the file, or of the line that it is part of.
        form: How it stands there.
    """

    offset: int
    form: str


class Personal:
    """The words of a source.

    Args:
        allowed: Words that what is made of it has of its own.
    """

    def __init__(self, allowed: Iterable[bytes] = ()) -> None:
        self._words: set[bytes] = set()
        self._begins: dict[bytes, int] = {}
        self._numbers: set[bytes] = set()
        self._allowed: set[bytes] = set()
        self._short: set[bytes] = set()  # words of fewer characters that are let be
        self._seen: set[int] = set()
        self.complete = True
        for word in kept.ALL:
            self.allow(word + b" =" + word + b" %" + word)  # which look like escapes to a reader
        for word in allowed:
            self.allow(word)

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Personal>"

    def __len__(self) -> int:
        """How many words are known."""
        return len(self._words)

    def allow(self, text: bytes) -> None:
        """Let the words of a text be, and all that is part of one.

        Args:
            text: The text. With encodings undone that it does not have, other words come of it,
                as they do of the same text in the source: these are let be, too.
        """
        for view in {undo(text) for _, mark, undo in _TEXTS if mark in text}:
            self._short.update(_SHORT.findall(folded(view)))
            for word in _WORD.findall(view):
                whole = folded(word)
                for begin in range(len(whole) - LEAST + 1):
                    for end in range(begin + LEAST, min(len(whole), begin + _MOST) + 1):
                        self._allowed.add(whole[begin:end])

    def learn(self, text: bytes, *, numbers: bool = False) -> None:
        """Learn the words of what was said.

        Args:
            text: Lines of the wire, or a value.
            numbers: Whether numbers may be personal there: it is a message.
        """
        text = _OWN_FIELD.sub(b"", text)
        self._learn_plain(text, numbers=numbers)
        if b"=" in text and (decoded := _ESCAPED.sub(_octet, text)) != text:
            self._learn_plain(decoded, numbers=numbers)
        if b"%" in text:
            self._learn_plain(unquote_to_bytes(text), numbers=numbers)
        for word in _ENCODED_WORD.finditer(text):
            self._learn_base64(word[1])
        for lines in _BASE64_LINES.finditer(text):
            self._learn_base64(lines[0])

    def _learn_base64(self, encoded: bytes) -> None:
        letters = encoded.translate(None, b"\r\n=")
        letters = letters[: len(letters) - (len(letters) % 4 == 1)]
        decoded = binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
        if b"\0" in decoded:
            decoded = decoded.translate(None, b"\0")
        if _is_text(decoded[:400]):
            self._learn_plain(decoded, numbers=True)

    def _learn_plain(self, text: bytes, *, numbers: bool) -> None:
        if _BASE64_LINE.search(text):  # one part of each line is enough to know it by
            text = _BASE64_LINE.sub(lambda line: line[0][:_PART_OF_LINE] + b" ", text)
        for word in set(_WORD.findall(_without_marks(text))):
            if len(set(word)) >= _LEAST_DIFFERENT and not says_nothing(word):
                self._add(folded(word)[:_MOST], numbers=numbers)

    def _add(self, word: bytes, *, numbers: bool) -> None:
        if _characters(word) < LEAST or word in self._allowed:
            return
        if word.isdigit():
            if numbers and len(self._numbers) < MAX_WORDS:
                self._numbers.add(word)
        elif len(self._words) >= MAX_WORDS:
            self.complete = self.complete and word in self._words
        else:
            self._words.add(word)
            begin = word[:LEAST]
            self._begins[begin] = self._begins.get(begin, 0) | 1 << len(word)

    def holds(self, text: bytes) -> bool:
        """Tell whether a name or a line holds a word, or a number, that was learned."""
        return any(
            self._in_run(folded(run)) is not None or run in self._numbers
            for run in _WORD.findall(text)
        )

    def numbers_in(self, text: bytes) -> int | None:
        """Look for a number of the source in what is left of a message.

        Returns:
            Where it stands, or None.
        """
        for run in _NUMBER.finditer(text):
            if run[0] in self._numbers and not says_nothing(run[0]):
                return run.start()
        return None

    def find(self, text: bytes) -> Iterator[Trace]:
        """Look for all words, in all forms.

        Args:
            text: A file, or a piece of one that ends at a line end.

        Yields:
            Where something was found, once for each line; clean ones are not searched twice.
        """
        text = _FIGURES.sub(lambda found: b" " * len(found[0]), text)
        at = 0
        last = b""
        for end in (*_LINE_END.finditer(text), None):
            line = text[at : end.start()] if end else text[at:]
            yield from self._in_line(line, at, "")
            tail, head = last.rstrip(_EDGE)[-_MOST * 2 :], line.lstrip(_EDGE)[: _MOST * 2]
            if tail and head:
                yield from self._in_line(tail + head, at, "over two lines, ", seam=len(tail))
            last = line
            at = end.end() if end else at

    def _in_line(self, line: bytes, at: int, where: str, seam: int = 0) -> Iterator[Trace]:
        if len(line) < LEAST:
            return
        mark = hash((line, seam))
        if mark in self._seen:
            return
        for form, view, undo in _views(line):
            border = len(undo(line[:seam])) if seam and undo is not None else 0
            for run in _WORD.finditer(_without_marks(self._without_base64(view))):
                word = folded(run[0])
                if not word.strip(_FILLING) or word in self._allowed:
                    continue
                found = self._in_run(word)
                if found is None:
                    continue
                begin, end = run.start() + found[0], run.start() + found[0] + found[1]
                if border and self._is_kept(view, run.span(), (begin, end), border):
                    continue
                yield Trace(at + (begin if form == "plain" and not seam else 0), where + form)
                return
        if len(self._seen) < _SEEN_MOST:  # only what is clean: it may be searched again
            self._seen.add(mark)

    def _without_base64(self, view: bytes) -> bytes:
        """Blank out lines of base64, whose letters happen to be words, unless one was learned."""

        def blanked(line: re.Match[bytes]) -> bytes:
            words = _WORD.findall(line[0][:_PART_OF_LINE])
            known = any(folded(word)[:_MOST] in self._words for word in words)
            return line[0] if known else b" " * len(line[0])

        return view if len(view) < _BASE64_LEAST else _BASE64_LINE.sub(blanked, view)

    def _is_kept(self, view: bytes, run: Span, word: Span, seam: int) -> bool:
        """Tell whether what was found is a word only because two lines were joined.

        Args:
            view: The end of one line and the beginning of the next.
            run: The letters that were searched.
            word: What was found among them.
            seam: Where the lines meet.
        """
        if not word[0] < seam < word[1]:
            return True  # it does not go over the seam, and was looked at without
        kept = [self._stays(part) for part in (view[run[0] : seam], view[seam : run[1]])]
        if all(kept):
            return True
        # A word that stays, and a letter or two of what stands beside it.
        return (kept[1] and seam - word[0] < _FEW) or (kept[0] and word[1] - seam < _FEW)

    def _stays(self, part: bytes) -> bool:
        return says_nothing(part) or folded(part) in self._short or folded(part) in self._allowed

    def _in_run(self, word: bytes) -> Span | None:
        """Find a word inside a run of letters, folded: where, and how many octets it has."""
        begins = self._begins
        for at in range(len(word) - LEAST + 1):
            sizes = begins.get(word[at : at + LEAST])
            if sizes is None:
                continue
            for size in range(LEAST, min(len(word) - at, _MOST) + 1):
                if sizes >> size & 1 and word[at : at + size] in self._words:
                    return at, size
        return None


def _without_marks(text: bytes) -> bytes:
    """Blank out what `fill` leaves of characters that are not ASCII: it is no part of a word."""
    return text if text.isascii() else _MARKS.sub(lambda mark: b" " * len(mark[0]), text)


def _is_text(decoded: bytes) -> bool:
    """Tell whether octets are text; most of those that base64 stands for are not."""
    if any(octet < 0x20 and octet not in b"\t\r\n\x1b" for octet in decoded):
        return False
    letters = sum(octet < 0x7F for octet in decoded)
    try:
        decoded[:-4].decode()
    except UnicodeDecodeError:
        return letters * 3 > len(decoded) * 2
    return True


def _octet(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] else b""


def _characters(word: bytes) -> int:
    return sum(1 for octet in word if octet & 0xC0 != 0x80)


def _plain(line: bytes) -> bytes:
    return line


def _without_nul(line: bytes) -> bytes:
    return line.translate(None, b"\0")


def _without_entities(line: bytes) -> bytes:
    text = line.decode("utf-8", "surrogateescape")
    return html.unescape(text).encode("utf-8", "surrogateescape")


_TEXTS: Final[tuple[tuple[str, bytes, Callable[[bytes], bytes]], ...]] = (
    ("plain", b"", _plain),
    ("UTF-16", b"\0", _without_nul),
    ("quoted-printable", b"=", quopri.decodestring),
    ("percent-encoded", b"%", unquote_to_bytes),
    ("HTML", b"&", _without_entities),
)
"""Forms in which text stays text: their name, what they cannot do without, how they are undone."""


def _views(line: bytes) -> Iterator[tuple[str, bytes, Callable[[bytes], bytes] | None]]:
    """Give a line as it stands, and with each encoding undone that it may have."""
    for form, mark, undo in _TEXTS:
        if mark in line:
            yield form, undo(line), undo
    for run in _BASE64.finditer(line):
        letters = run[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        if not letters.strip(b"xX0A") or len(set(letters)) < _LEAST_LETTERS:  # a ruler of dashes
            continue
        for skipped in range(4):
            part = letters[skipped:]
            part = part[: len(part) - len(part) % 4] if len(part) % 4 == 1 else part
            try:
                decoded = binascii.a2b_base64(part + b"=" * (-len(part) % 4))
            except binascii.Error:
                continue
            yield "base64", decoded, None
            if b"\0" in decoded:
                yield "base64 of UTF-16", _without_nul(decoded), None
    for digits in _HEX.finditer(line):
        packed = digits[0].translate(None, b" :")
        for skipped in range(2):
            part = packed[skipped:]
            yield "hexadecimal", binascii.unhexlify(part[: len(part) - len(part) % 2]), None
