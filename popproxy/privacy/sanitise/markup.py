"""HTML without its words: tags, names of attributes and figures of layout stay."""

from __future__ import annotations

import re
from typing import Final

from popproxy.privacy.sanitise import kept
from popproxy.privacy.sanitise.words import fill

_TAG: Final = re.compile(rb"<[/!?]?[A-Za-z][^<>]*>?")
_NAME: Final = re.compile(rb"(<[/!?]?)([A-Za-z][A-Za-z0-9:]*)")
_ATTRIBUTE: Final = re.compile(
    rb"(?<![\s/])([\s/]++)([A-Za-z][A-Za-z0-9:-]{0,40})(?:(\s*=\s*)(\"[^\"]*\"?|'[^']*'?|[^\s\"'>]+))?"
)
_ENTITY: Final = re.compile(rb"&(#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_RUN: Final = re.compile(rb"[A-Za-z0-9]+")
_LAYOUT: Final = frozenset(
    b"align border cellpadding cellspacing cols colspan dir height hspace http-equiv media method"
    b" rel rows rowspan size type valign vspace width".split()
)
"""Attributes whose values are figures and words of layout."""

_SCHEME: Final = re.compile(rb"([\"']?)(https?|mailto|cid|tel|ftp|file|data):", re.IGNORECASE)


def fill_html(text: bytes, charset: bytes = b"") -> bytes:
    """Replace the words of HTML.

    Args:
        text: HTML, well-formed or not.
        charset: Its charset.

    Returns:
        As many octets.
    """
    pieces: list[bytes] = []
    at = 0
    for tag in _TAG.finditer(text):
        pieces.append(_plain(text[at : tag.start()], charset))
        pieces.append(_tag(tag[0], charset))
        at = tag.end()
    pieces.append(_plain(text[at:], charset))
    return b"".join(pieces)


def _plain(text: bytes, charset: bytes) -> bytes:
    """Fill what stands between tags; entities stay entities."""
    if b"&" not in text:
        return fill(text, charset)
    pieces: list[bytes] = []
    at = 0
    for entity in _ENTITY.finditer(text):
        pieces.append(fill(text[at : entity.start()], charset))
        name = entity[1]
        if name.lower() in kept.HTML_ENTITIES:
            pieces.append(entity[0])
        elif name.startswith(b"#"):
            head = 2 if name[1:2] in (b"x", b"X") else 1
            pieces.append(b"&" + name[:head] + b"1" * (len(name) - head) + b";")
        else:
            pieces.append(b"&" + b"x" * len(name) + b";")
        at = entity.end()
    pieces.append(fill(text[at:], charset))
    return b"".join(pieces)


def _tag(tag: bytes, charset: bytes) -> bytes:
    name = _NAME.match(tag)
    if name is None:  # `_TAG` begins as `_NAME` does
        return fill(tag, charset)
    known = name[2].lower() in kept.HTML_NAMES
    pieces = [name[1], name[2] if known else fill(name[2])]
    at = name.end()
    if name[1] == b"<!":  # DOCTYPE
        return b"".join(pieces) + _RUN.sub(_word, fill_foreign_in(tag[at:], charset))
    for attribute in _ATTRIBUTE.finditer(tag, at):
        pieces.append(fill(tag[at : attribute.start()], charset))
        pieces.append(_attribute(attribute, charset))
        at = attribute.end()
    pieces.append(fill(tag[at:], charset))
    return b"".join(pieces)


def fill_foreign_in(text: bytes, charset: bytes) -> bytes:
    """Fill a text that has more than ASCII in it; leave others."""
    return text if text.isascii() else fill(text, charset)


def _attribute(found: re.Match[bytes], charset: bytes) -> bytes:
    blank, name, equals, value = found.groups()
    lower = name.lower()
    shown = name if lower in kept.HTML_NAMES else fill(name)
    if equals is None:
        return blank + shown
    if lower in _LAYOUT and value.isascii():
        value = _RUN.sub(_figure, value)
    elif scheme := _SCHEME.match(value):
        value = scheme[0] + _plain(value[scheme.end() :], charset)
    else:
        value = _plain(value, charset)
    return blank + shown + equals + value


def _word(found: re.Match[bytes]) -> bytes:
    word: bytes = found[0]
    return word if word.lower() in kept.HTML_NAMES else fill(word)


def _figure(found: re.Match[bytes]) -> bytes:
    word: bytes = found[0]
    if word.isdigit() and len(word) < 5:
        return word
    return word if word.lower() in kept.HTML_NAMES | kept.CONTENT_WORDS else fill(word)
