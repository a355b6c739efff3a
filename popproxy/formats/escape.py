r"""Control characters made visible, and back (P43).

Text of a peer goes to terminals, editors and pagers. There, an ESC moves the cursor, U+202E turns
a line around, U+2028 begins a new one, and a lone CR writes over what stood before. `visible` puts
an escape in the place of each of them, and `restore` gives back the bytes exactly:

==============  =====================================================================
`\x1b`          the octet 1B: a C0 control, DEL, or any octet that is not part of UTF-8
`\u202e`        the character U+202E, which was UTF-8: a C1 control, a separator of lines,
                a control of writing direction, an invisible mark
`\\`            a backslash that would read as the beginning of an escape without this
`\`             any other backslash is itself, so that `C:\Users` stays as it is
==============  =====================================================================

TAB stays. Escapes do not depend on what follows the text, so that texts can be joined.
"""

from __future__ import annotations

import re
from typing import Final

ALWAYS_ESCAPED: Final = (
    "\x7f-\x9f"  # DEL and C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # controls of writing direction
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u206a-\u206f\ufeff\ufff9-\ufffb"  # deprecated and invisible format controls
)
"""Characters that no text output holds as they are, in the form of a regular expression's set.

C0 controls are not among them: which of these may stay depends on the format. All have four
hexadecimal digits at most, so that the escape `uXXXX` is enough, here and in JSON.
"""

_SURROGATES = "\ud800-\udfff"  # what `surrogateescape` makes of octets that are not UTF-8
_IN_LINE = rf"\x00-\x08\x0a-\x1f{ALWAYS_ESCAPED}{_SURROGATES}"
_IN_LINES = rf"[\x00-\x08\x0b\x0c\x0e-\x1f{ALWAYS_ESCAPED}{_SURROGATES}]|\r(?!\n)"

_LINE = re.compile(rf"[{_IN_LINE}]|\\(?=[\\xu{_IN_LINE}]|\Z)")
_LINES = re.compile(rf"{_IN_LINES}|\\(?=[\\xu]|{_IN_LINES}|\Z)")
_ESCAPE = re.compile(r"\\(?:(\\)|x([0-9a-f]{2})|u((?!d[89a-f])[0-9a-f]{4}))")

_EXACT = [
    chr(octet) if 0x20 <= octet < 0x7F and octet != 0x5C else f"\\x{octet:02x}"
    for octet in range(256)
]
_EXACT[0x5C] = "\\\\"
_PLAIN = bytes(range(0x20, 0x7F)).replace(b"\\", b"") + b"\t"


def visible(text: str | bytes, *, lines: bool = False) -> str:
    """Put escapes in the place of everything that could act on a terminal or mislead a reader.

    Args:
        text: What to show. Bytes are read as UTF-8, and octets that are not UTF-8 are escaped. In
            a `str`, U+DC80 to U+DCFF stand for such octets, as in the error handler
            `surrogateescape`; other surrogates count as the octets that would encode them.
        lines: Leave CRLF and LF as they are. A CR that no LF follows is escaped all the same.

    Returns:
        Text without C0 controls but TAB (and with `lines`, CRLF and LF), DEL, C1 controls,
        controls of writing direction, U+2028, U+2029 and surrogates.
    """
    if isinstance(text, bytes):
        if is_plain(text, lines=lines):
            return text.decode()
        text = text.decode("utf-8", "surrogateescape")
    elif text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return (_LINES if lines else _LINE).sub(_escape, text)


def exact(octets: bytes) -> str:
    r"""Write each octet that is no printable ASCII as an escape, line ends and TAB among them.

    Args:
        octets: Anything.

    Returns:
        Text of which `restore` gives the octets back; a backslash is always doubled.
    """
    if is_plain(octets) and b"\t" not in octets and octets.isascii():
        return octets.decode()
    return "".join(map(_EXACT.__getitem__, octets))


def restore(text: str) -> bytes:
    """Give back what `visible` was given: the inverse, for both of its forms.

    Args:
        text: Text with escapes, from UTF-8. A backslash that begins none of them is itself.

    Returns:
        The bytes; UTF-8 where the original was a `str`.
    """
    if "\\" in text:
        text = _ESCAPE.sub(_unescape, text)
    return text.encode("utf-8", "surrogateescape")


def is_plain(text: bytes, *, lines: bool = False) -> bool:
    """Say whether `visible` would leave a text as it is, fast; False also if that is not certain.

    Searching every character is slow, but little is left of most text without printable ASCII.

    Args:
        text: What is to be shown.
        lines: As for `visible`.
    """
    rest = text.translate(None, _PLAIN)
    if lines and rest:
        if rest.count(b"\r") != text.count(b"\r\n"):
            return False
        rest = rest.translate(None, b"\r\n")
    if not rest:
        return True
    try:
        if rest.isascii() or b"\\" in rest or _LINE.search(rest.decode()):
            return False
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _escape(match: re.Match[str]) -> str:
    """Write one character, or one octet that was not UTF-8, as an escape."""
    character = match.group()
    if character == "\\":
        return "\\\\"
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF:
        octets = character.encode("utf-8", "surrogatepass")
        return "".join(f"\\x{octet:02x}" for octet in octets)
    return f"\\u{code:04x}"


def _unescape(match: re.Match[str]) -> str:
    """Give the character that an escape stands for; a surrogate for an octet from 80 on."""
    backslash, octet, character = match.groups()
    if backslash:
        return "\\"
    if octet:
        code = int(octet, 16)
        return chr(code if code < 0x80 else 0xDC00 + code)
    return chr(int(character, 16))
