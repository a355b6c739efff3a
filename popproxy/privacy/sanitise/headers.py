"""Header fields: names, order and folding stay; of values, what says how and not who or what."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal

from popproxy.privacy.sanitise import addresses, dates, kept
from popproxy.privacy.sanitise.encodings import encoded_word, escaped
from popproxy.privacy.sanitise.keys import Keys
from popproxy.privacy.sanitise.words import CODED, fill

FieldKind = Literal["people", "ids", "content", "trace", "text"]

_KINDS: Final[dict[bytes, FieldKind]] = {
    **dict.fromkeys(
        b"from to cc bcc sender reply-to return-path delivered-to envelope-to apparently-to"
        b" errors-to x-original-to disposition-notification-to return-receipt-to"
        b" mail-followup-to mail-reply-to resent-from resent-to resent-cc resent-bcc"
        b" resent-sender resent-reply-to"
        b" old-return-path final-recipient original-recipient x-envelope-to"
        b" x-envelope-from".split(),
        "people",
    ),
    **dict.fromkeys(
        b"message-id in-reply-to references resent-message-id content-id original-message-id"
        b" x-message-id supersedes obsoletes list-id".split(),
        "ids",
    ),
    **dict.fromkeys(b"content-type content-disposition".split(), "content"),
    **dict.fromkeys(
        b"subject comments keywords thread-topic content-description organization x-subject"
        b" summary".split(),
        "text",
    ),
}  # fmt: skip
_PLAIN_CONTENT: Final = frozenset(
    b"content-transfer-encoding mime-version content-language content-length lines".split()
)

_PIECE: Final = re.compile(
    rb"(?P<word>=\?([^?\s]{1,60})\?([QqBb])\?([^?\r\n]*)\?=)"
    rb"|(?P<date>" + dates.MAIL_DATE + rb")"
    rb"|(?P<atom>[^\s<>()\[\],;\"\\]+)",
    re.IGNORECASE,
)
_ENCODED: Final = re.compile(rb"=\?([^?\s]{1,60})\?([QqBb])\?([^?\r\n]*)\?=")
_RUN: Final = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
_KEYED: Final = re.compile(rb"([A-Za-z0-9.*_-]{1,40})=")
_PARAMETER: Final = re.compile(
    rb"(;[ \t\r\n]*)([A-Za-z0-9_-]{1,40})((?:\*[0-9]{1,3})?\*?)([ \t\r\n]*=[ \t\r\n]*)"
    rb"(\"(?:[^\"\\]|\\.)*\"?|[^\s;\"]*)",
    re.DOTALL,
)
_EXTENDED: Final = re.compile(rb"(\"?)([^']{0,60})('[^']{0,40}')")
_EXTENSION: Final = re.compile(rb"\.([A-Za-z0-9]{1,4})(\"?)\Z")
_LONG: Final = 40
_SPECIAL: Final = b'"\\'

_TELLING_PARAMETERS: Final = frozenset(
    b"charset format delsp type protocol micalg report-type method reporttype".split()
)


class Headers:
    """Replaces what header fields tell.

    Args:
        keys: Gives the pseudonyms.
        offset: What dates are shifted by.
        removed: Counts what is replaced, by rule.
        taken: Tells whether a word occurs elsewhere in what is to be hidden.
    """

    def __init__(
        self,
        keys: Keys,
        offset: timedelta,
        removed: Counter[str],
        taken: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._keys = keys
        self._offset = offset
        self._removed = removed
        self._taken = taken

    def name(self, name: bytes) -> bytes:
        """Give a field's name as it may be told: a known one, or `X-` and no private word."""
        lower = name.lower()
        if lower in kept.HEADER_NAMES:
            return name
        if not lower.startswith(b"x-"):
            return fill(name)
        if self._taken is None:
            return name
        return _RUN.sub(self._part_of_name, name)

    def _part_of_name(self, found: re.Match[bytes]) -> bytes:
        part: bytes = found[0]
        if part.lower() in kept.ALL or self._taken is None or not self._taken(part):
            return part
        return fill(part)

    def value(self, name: bytes, value: bytes) -> bytes:
        """Replace what a field's value tells.

        Args:
            name: The field's name.
            value: What follows the colon, folded lines and line ends included.

        Returns:
            As many octets, with line ends and blanks where they were.
        """
        lower = name.strip().lower()
        if lower in _PLAIN_CONTENT:
            return _RUN.sub(lambda word: self._content_word(word[0], digits=True), value)
        kind = _KINDS.get(lower, "trace")
        if b"\x1b" in value:  # another charset, whose letters look like anything
            return self.text(value)
        if kind == "content":
            return self._content(value)
        return _PIECE.sub(lambda found: self._piece(found, kind), value)

    def text(self, text: bytes) -> bytes:
        """Replace what a text without a form tells, but for encoded words' own form."""
        if b"\x1b" in text:
            return fill(text)
        return _PIECE.sub(lambda found: self._piece(found, "text"), text)

    def _piece(self, found: re.Match[bytes], kind: FieldKind) -> bytes:
        text: bytes = found[0]
        if found.lastgroup == "date" and kind != "text":
            self._removed["dates"] += 1
            return dates.shift_mail_date(text, self._offset)
        if found.lastgroup == "word" and (word := _ENCODED.fullmatch(text)):
            return encoded_word(
                word, lambda given, charset: self._decoded(given, charset, kind), charset_name
            )
        return self._atom(text, kind)

    def _decoded(self, decoded: bytes, charset: bytes, kind: FieldKind) -> bytes:
        """Replace what an encoded word says; names have pseudonyms there, too."""
        filled = fill(decoded, charset)
        if kind == "people" and filled == fill(decoded) and b"\x1b" not in decoded:
            return _RUN.sub(lambda found: self._person(found[0]), decoded)
        self._count("words of headers", decoded, filled)
        return filled

    def _person(self, word: bytes) -> bytes:
        self._removed["names of people"] += 1
        return self._keys.token("person", word) if len(word) < _LONG else fill(word)

    def _count(self, rule: str, before: bytes, after: bytes) -> None:
        if before != after:
            self._removed[rule] += len(_RUN.findall(before))

    def _atom(self, atom: bytes, kind: FieldKind) -> bytes:
        """Replace a run of octets without blanks, brackets, quotes, commas and semicolons."""
        if kind == "text":
            made = fill(atom)
            self._count("words of headers", atom, made)
            return made
        if b"@" in atom:
            return self._address(atom, kind)
        begun: list[bytes] = []
        at, end = 0, len(atom.rstrip(b"="))
        while not CODED.fullmatch(atom, at, end):
            key = _KEYED.match(atom, at)
            if key is None:
                return b"".join(begun) + self._bare(atom[at:], kind)
            begun.append(_RUN.sub(lambda word: self._word(word[0], "trace"), key[0]))
            at = key.end()
        return b"".join(begun) + self._coded(atom[at:])

    def _coded(self, atom: bytes) -> bytes:
        """Replace a signature, or what looks like one."""
        self._removed["words of headers"] += 1
        return fill(atom)

    def _bare(self, atom: bytes, kind: FieldKind) -> bytes:
        """Replace an atom in which nothing is assigned."""
        prefix = 5 if atom[:5].lower() == b"ipv6:" else 0
        if addresses.is_ipv4(atom) or addresses.is_ipv6(atom[prefix:]):
            self._removed["IP addresses"] += 1
            return atom[:prefix] + addresses.place(self._keys, atom[prefix:])
        if kind != "people" and addresses.is_host(atom):
            self._removed["host names"] += 1
            return addresses.host(self._keys, atom)
        return _RUN.sub(lambda word: self._word(word[0], kind), atom)

    def _address(self, atom: bytes, kind: FieldKind) -> bytes:
        """Replace an address, or a Message-ID, with what is glued before it."""
        before = b""
        key = _KEYED.match(atom) if kind == "trace" else None
        if key and all(word in kept.TRACE_WORDS for word in _RUN.findall(key[1].lower())):
            before = key[0]
        elif atom[:7].lower() == b"mailto:":
            before = atom[:7]
        rule = "Message-IDs" if kind == "ids" else "mail addresses"
        self._removed[rule] += 1
        name = "id" if kind == "ids" else "mailbox"
        return before + addresses.address(self._keys, atom[len(before) :], name)

    def _word(self, word: bytes, kind: FieldKind) -> bytes:
        lower = word.lower()
        if kind == "people":
            return word if lower == b"rfc822" else self._person(word)
        if lower in kept.TRACE_WORDS or (lower in kept.HEADER_NAMES and kind == "trace"):
            return word
        if kind == "ids" or len(word) < _LONG:
            self._removed["words of headers"] += 1
            return self._keys.token("id", word) if kind == "ids" else self._other(word)
        self._removed["words of headers"] += 1
        return fill(word)

    def _other(self, word: bytes) -> bytes:
        return fill(word) if word.isdigit() else self._keys.token("word", word)

    def _content(self, value: bytes) -> bytes:
        """Replace what the values of Content-Type and Content-Disposition tell."""
        pieces: list[bytes] = []
        at = 0
        boundary = self._keys.boundary(boundary_of(value))
        for found in _PARAMETER.finditer(value):
            pieces.append(self._content_words(value[at : found.start()]))
            size = len(found[5].strip(b'"')) if found[2].lower() == b"boundary" else 0
            pieces.append(self._parameter(found, boundary[:size]))
            boundary = boundary[size:]
            at = found.end()
        pieces.append(self._content_words(value[at:]))
        return b"".join(pieces)

    def _content_words(self, text: bytes) -> bytes:
        return _RUN.sub(lambda word: self._content_word(word[0]), text)

    def _parameter(self, found: re.Match[bytes], boundary: bytes) -> bytes:
        before, name, section, equals, value = found.groups()
        lower = name.lower()
        bare = value.strip(b'"')
        start = value.find(bare)
        end = start + len(bare)
        if lower == b"boundary":
            self._removed["MIME boundaries"] += 1
            value = value[:start] + boundary + value[end:]
        elif lower == b"charset":
            value = value[:start] + charset_name(bare) + value[end:]
        elif lower in _TELLING_PARAMETERS:
            value = self._content_words(value)
        else:
            value = self._free(value, extended=section.endswith(b"*"))
        shown = name if lower in kept.CONTENT_WORDS else fill(name)
        return before + shown + section + equals + value

    def _free(self, value: bytes, *, extended: bool) -> bytes:
        """Replace a parameter's text, as a file's name (RFC 2231, section 4)."""
        self._removed["names of files and other parameters"] += 1
        if extended:
            head = b""
            if start := _EXTENDED.match(value):
                head = start[1] + charset_name(start[2]) + fill(start[3])
            return head + escaped(value[len(head) :], self._file, percent=True)
        pieces: list[bytes] = []
        at = 0
        for word in _ENCODED.finditer(value):
            pieces.append(fill(value[at : word.start()]))
            pieces.append(
                encoded_word(
                    word,
                    lambda given, charset: (
                        self._file(given) if b"\0" not in given else fill(given, charset)
                    ),
                    charset_name,
                )
            )
            at = word.end()
        pieces.append(self._file(value[at:]) if not at else fill(value[at:]))
        return b"".join(pieces)

    def _file(self, name: bytes) -> bytes:
        filled = fill(name)
        if (end := _EXTENSION.search(name)) and end[1].lower() in kept.EXTENSIONS:
            return filled[: end.start()] + end[0]
        return filled

    def _content_word(self, word: bytes, *, digits: bool = False) -> bytes:
        if word.lower() in kept.CONTENT_WORDS or (digits and word.isdigit() and len(word) < 9):
            return word
        filled = fill(word)
        self._count("words of headers", word, filled)
        return filled


def boundary_of(content_type: bytes) -> bytes:
    """Find the boundary that a Content-Type names, whole or in sections (RFC 2231, section 3).

    Args:
        content_type: The field's value.

    Returns:
        The boundary; empty if there is none.
    """
    return b"".join(
        found[5].strip(b'"')
        for found in _PARAMETER.finditer(content_type)
        if found[2].lower() == b"boundary"
    )


def charset_name(name: bytes) -> bytes:
    """Give a charset's name as it may be told: one that is known, or its shape."""
    try:
        known = codecs.lookup(name.partition(b"*")[0].decode("ascii")).name
    except (LookupError, ValueError):
        known = ""
    return name if known and b"*" not in name and len(name) < _LONG else fill(name)
