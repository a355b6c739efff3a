r"""Text that keeps its shape and loses its words.

Every octet is replaced by one of its own class, in its place:

* a small letter by `x`, a capital by `X`, a digit by `0`; other ASCII stays;
* a character of UTF-8 by one of as many octets; punctuation, blanks, marks of writing direction
  and the byte order mark, which say nothing and trip parsers, stay;
* any other octet from 80 on by E4, which is a letter in most charsets of one octet, may begin a
  character in most charsets of two, and is not UTF-8 there either;
* in a charset of two octets what follows such an octet, by `x` or E4;
* a long run of letters and digits, as base64 and hexadecimal digits are, by `x` throughout: which
  of them are small, capital or digits tells enough to try texts until one fits;
* characters that an escape sequence (ISO 2022) or `~{` (HZ) switches to, by `0`, since these are
  made of ASCII octets.

What is left is the same for all texts of one shape. Doing it twice is the same as doing it once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from popproxy.privacy.tables import text_of

_FILLING: Final = bytes(
    ord("x")
    if 0x61 <= octet <= 0x7A
    else ord("X")
    if 0x41 <= octet <= 0x5A
    else ord("0")
    if 0x30 <= octet <= 0x39
    else octet
    for octet in range(256)
)
_SWITCHES: Final = re.compile(
    rb"(\x1b\$[()*+./-]?[@-Z]|\x1b\([I]|\x0e|~\{)([^\x1b\x0f\r\n~]*)"  # what follows is letters
    rb"|(\x1b[()*+./-][0-9@-~]|\x1b\[[0-9;]{0,16}[A-Za-z])"  # back to ASCII; colours of a terminal
)
_TO_ZERO: Final = bytes(ord("0") if 0x20 < octet < 0x7F else octet for octet in range(256))
CODED: Final = re.compile(rb"[A-Za-z0-9+/]{20,}")
"""What may be base64 or hexadecimal digits; if it has letters and digits, it counts as such."""

_CODED_TO_X: Final = bytes(
    ord("x") if octet < 0x80 and (chr(octet).isalnum() or octet in b"+/") else octet
    for octet in range(256)
)
_CHARACTER: Final = re.compile(
    rb"([\xc2-\xdf][\x80-\xbf])"
    rb"|(\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf])"
    rb"|(\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})"
    rb"|[\x80-\xff]"
)
_FLAT: Final = bytes(
    ord("x") if 0x20 < octet < 0x7F and octet != ord(".") else 1 if 0 < octet < 9 or 13 < octet < 27
    else octet
    for octet in range(256)
)  # fmt: skip
_FILLERS: Final = (b"\xe4", b"\xc3\xa9", b"\xe4\xb8\x80", b"\xf0\x9f\x99\x82")
"""By group of `_CHARACTER`: E4, and a letter, an ideograph and a picture in UTF-8."""

_PAIR: Final = re.compile(rb"[\x80-\xff][\x40-\x7e\x80-\xff]?")
_PAIRED: Final = re.compile(
    rb"gb|big5|shift|sjis|x-sjis|euc|cp9[345]|ms9[345]|windows-9[345]|ks_c|johab", re.IGNORECASE
)
_OCTET: Final = re.compile(rb"\\x([89a-f][0-9a-f])")
_WIDE: Final = re.compile(rb"(?:utf-?|ucs-?|iso-10646-ucs-?)(16|32|2|4)(le|be)?", re.IGNORECASE)


def fill(text: bytes, charset: bytes = b"") -> bytes:
    """Replace the words of a text by ones without meaning.

    Args:
        text: Any octets.
        charset: The charset that they claim to be in; only those of two and more octets a
            character make a difference.

    Returns:
        As many octets.
    """
    text = CODED.sub(_uncoded, text)
    if charset and (wide := _WIDE.fullmatch(charset)):
        return _fill_wide(text, wide[1] in (b"32", b"4"), (wide[2] or b"").lower())
    if b"\x1b" in text or b"\x0e" in text or b"~{" in text:
        return b"".join(_switched(text, charset))
    return _fill_plain(text, charset)


def _fill_plain(text: bytes, charset: bytes) -> bytes:
    if not text.isascii():
        if charset and _PAIRED.match(charset):
            text = _PAIR.sub(_pair, text)
        else:
            text = _CHARACTER.sub(_character, text)
    return text.translate(_FILLING)


def is_wide(charset: bytes) -> bool:
    """Tell whether a charset has two octets or four for every character, ASCII included."""
    return _WIDE.fullmatch(charset) is not None


def flatten(text: bytes) -> bytes:
    """Fill text of such a charset that stands on the wire as it is; it looks like anything.

    Args:
        text: Any octets; only line ends, dots and blanks stay.
    """
    return fill(text).translate(_FLAT)


def fill_foreign(text: bytes) -> bytes:
    """Replace only what is not ASCII, as `fill` does.

    Args:
        text: Any octets.
    """
    return text if text.isascii() else _CHARACTER.sub(_character, text)


def says_nothing(word: bytes) -> bool:
    """Tell whether a word is one that `fill` leaves as it is."""
    return fill(word) == word


def in_text(rule: Callable[[bytes], bytes], text: str) -> str:
    r"""Apply what sanitises octets to a text that a record holds.

    Args:
        rule: Gives octets for octets.
        text: Text; `\\x..` in it stands for an octet, as `popproxy.privacy.tables.text_of` has it.
    """
    octets = text.encode("utf-8", "surrogatepass")
    if "\\x" in text:
        restored = _OCTET.sub(lambda found: bytes.fromhex(found[1].decode()), octets)
        octets = restored if text_of(restored) == text else octets
    return text_of(rule(octets))


def _switched(text: bytes, charset: bytes) -> Iterator[bytes]:
    """Fill text in which escape sequences switch between charsets."""
    at = 0
    for found in _SWITCHES.finditer(text):
        yield _fill_plain(text[at : found.start()], charset)
        yield found[3] or found[1] + _fill_plain(found[2].translate(_TO_ZERO), charset)
        at = found.end()
    yield _fill_plain(text[at:], charset)


def _character(found: re.Match[bytes]) -> bytes:
    kind = found.lastindex or 0
    octets = found[0]
    if kind == 1 and octets[0] == 0xC2:  # C1 controls, NBSP and the signs of Latin-1
        return octets
    if kind == 2 and octets[:2] in (b"\xe2\x80", b"\xe2\x81"):  # general punctuation
        return octets
    if octets in (b"\xef\xbb\xbf", b"\xef\xbf\xbd"):  # byte order mark, replacement character
        return octets
    return _FILLERS[kind]


def _uncoded(found: re.Match[bytes]) -> bytes:
    run: bytes = found[0]
    letters = run.translate(None, b"0123456789+/")
    return run if len(letters) in (0, len(run)) else run.translate(_CODED_TO_X)


def _pair(found: re.Match[bytes]) -> bytes:
    octets = found[0]
    if len(octets) == 1:
        return b"\xe4"
    return b"\xe4\xe4" if octets[1] >= 0x80 else b"\xe4x"


def _fill_wide(text: bytes, four: bool, order: bytes) -> bytes:
    """Fill text of 16 or 32 bits a character."""
    size = 4 if four else 2
    if not order:
        order = b"be" if text[:2] == b"\xfe\xff" or text[:4] == b"\0\0\xfe\xff" else b"le"
    made = bytearray(text)
    for at in range(0, len(text), size):
        unit = text[at : at + size]
        code = int.from_bytes(unit, "big" if order == b"be" else "little")
        if len(unit) < size:
            made[at:] = fill(unit)
        elif code < 0x80:
            made[at : at + size] = fill(unit)
        elif code not in (0xFEFF, 0xFFFE) and not 0xD800 <= code < 0xE000:
            made[at : at + size] = (0x4E00).to_bytes(size, "big" if order == b"be" else "little")
        elif 0xD800 <= code < 0xE000:
            flat = 0xD83D if code < 0xDC00 else 0xDE42
            made[at : at + size] = flat.to_bytes(size, "big" if order == b"be" else "little")
    return bytes(made)
