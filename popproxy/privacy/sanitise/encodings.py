"""Replaces the words of encoded text, and encodes the result as the source was, octet for octet.

A *filling* takes decoded octets and gives as many back. What is escaped stays escaped in the same
place, soft line breaks stay, base64 keeps its lines and its padding.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from typing import Final

from popproxy.privacy.sanitise.words import fill, flatten, is_wide

Filling = Callable[[bytes], bytes]

_QP: Final = re.compile(rb"=([0-9A-Fa-f]{2})|=[ \t]*\r?\n")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_HEX_UPPER: Final = [b"%02X" % octet for octet in range(256)]
_HEX_LOWER: Final = [b"%02x" % octet for octet in range(256)]

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=]+")
_NO_BASE64: Final = bytes(
    octet
    for octet in range(256)
    if not (chr(octet).isalnum() and octet < 128) and octet not in b"+/="
)
_TO_A: Final = bytes(
    ord("A") if octet < 128 and (chr(octet).isalnum() or octet in b"+/") else octet
    for octet in range(256)
)
_WORD: Final = re.compile(rb"=\?([^?\s]{1,60})\?([QqBb])\?([^?\r\n]*)\?=")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f]")

SIGNATURES: Final = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"%PDF-1.", b"PK\x03\x04",
    b"\x1f\x8b",
)  # fmt: skip
"""What files of well-known kinds begin with: it tells the kind, which the name tells as well."""


def escaped(data: bytes, filling: Filling, *, percent: bool = False) -> bytes:
    """Replace the words of quoted-printable or percent-encoded text.

    Args:
        data: The text.
        filling: Gives as many octets as it gets.
        percent: Whether it is percent-encoded.

    Returns:
        As many octets; escapes and soft line breaks are where they were.
    """
    pattern = _PERCENT if percent else _QP
    literals: list[bytes] = []
    marks: list[bytes] = []
    at = 0
    for found in pattern.finditer(data):
        literals.append(data[at : found.start()])
        marks.append(found[0])
        at = found.end()
    literals.append(data[at:])
    if not marks:
        return filling(data)
    decoded: list[bytes] = []
    for literal, mark in zip(literals, marks, strict=False):
        decoded += (literal, _octet(mark))
    decoded.append(literals[-1])
    filled = filling(b"".join(decoded))
    return b"".join(_escape(filled, literals, marks))


def _octet(mark: bytes) -> bytes:
    """Give the octet that an escape stands for; nothing for a soft line break."""
    return b"" if mark.endswith(b"\n") else binascii.unhexlify(mark[1:])


def _escape(filled: bytes, literals: list[bytes], marks: list[bytes]) -> Iterator[bytes]:
    at = 0
    for literal, mark in zip(literals, marks, strict=False):
        yield filled[at : at + len(literal)]
        at += len(literal)
        if mark.endswith(b"\n"):
            yield mark
        else:
            # Digits alone are in both cases: capitals are what RFC 2045 wants.
            table = _HEX_LOWER if any(digit > 0x60 for digit in mark) else _HEX_UPPER
            yield mark[:1] + table[filled[at]]
            at += 1
    yield filled[at:]


def base64(data: bytes, filling: Filling | None) -> bytes:
    """Replace what base64 holds.

    Args:
        data: Base64 in lines, or anything that claims to be it.
        filling: Gives as many octets as it gets; None if it is no text. Then only what tells the
            kind of a file stays.

    Returns:
        As many octets; what is no letter of base64 stays, or is filled as text.
    """
    letters = data.translate(None, _NO_BASE64)
    decoded = _decoded(letters)
    if decoded is None or (filling is None and not decoded.startswith(SIGNATURES)):
        made = letters.translate(_TO_A)
    else:
        made = binascii.b2a_base64(_fill(decoded, filling), newline=False)
    if len(letters) == len(data):
        return made
    pieces: list[bytes] = []
    at = place = 0
    for run in _BASE64.finditer(data):
        pieces.append(fill(data[place : run.start()]))
        size = run.end() - run.start()
        pieces.append(made[at : at + size])
        at += size
        place = run.end()
    pieces.append(fill(data[place:]))
    return b"".join(pieces)


def _decoded(letters: bytes) -> bytes | None:
    """Decode base64 that is well-formed, so that encoding it gives the same letters; else None."""
    try:
        decoded = binascii.a2b_base64(letters, strict_mode=True)
    except binascii.Error:
        return None
    return decoded if binascii.b2a_base64(decoded, newline=False) == letters else None


def _fill(decoded: bytes, filling: Filling | None) -> bytes:
    if filling is not None:
        return filling(decoded)
    kept = next(each for each in SIGNATURES if decoded.startswith(each))
    return kept + bytes(len(decoded) - len(kept))


def looks_binary(decoded: bytes) -> bool:
    """Tell whether decoded octets are no text: most of their controls are none of text."""
    return len(_CONTROLS.findall(decoded[:4096])) * 50 > min(len(decoded), 4096)


def encoded_words(
    text: bytes, filling: Callable[[bytes, bytes], bytes], charset_of: Filling
) -> bytes:
    """Replace the words of encoded words (RFC 2047), and nothing between them.

    Args:
        text: Text that may hold some.
        filling: Gives as many octets as it gets, and gets the charset, too.
        charset_of: Gives the name of the charset as it may be shown.
    """
    return _WORD.sub(lambda found: encoded_word(found, filling, charset_of), text)


def encoded_word(
    found: re.Match[bytes], filling: Callable[[bytes, bytes], bytes], charset_of: Filling
) -> bytes:
    """Replace the words of one encoded word.

    Args:
        found: Its match, in groups: charset, encoding, text.
        filling: As in `encoded_words`.
        charset_of: As in `encoded_words`.
    """
    charset, encoding, text = found.groups()
    name = charset.partition(b"*")[0]

    def filled(decoded: bytes) -> bytes:
        return filling(decoded, name)

    def raw(decoded: bytes) -> bytes:
        return flatten(decoded) if is_wide(name) else filled(decoded)

    made = escaped(text, raw) if encoding in b"Qq" else base64(text, filled)
    return b"=?" + charset_of(charset) + b"?" + encoding + b"?" + made + b"?="
