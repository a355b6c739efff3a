"""Text for HTML: visible escapes first, then HTML's, and marks for what is masked."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Final

from popproxy.formats.escape import visible
from popproxy.records import MASK

LINE_MOST: Final = 4_096
"""Characters of a line that are shown (P49)."""

_MARKED: Final = f"<mark>{MASK}</mark>"


def shown_text(text: str) -> str:
    """Make any text fit for HTML, within quotes or without.

    Args:
        text: Whatever a peer, or a file, said.
    """
    more = f"… {len(text) - LINE_MOST:,} more characters" if len(text) > LINE_MOST else ""
    escaped = html.escape(visible(text[:LINE_MOST]), quote=True)
    return escaped.replace(MASK, _MARKED) + more


def shown_lines(wire: bytes) -> Iterator[str]:
    """Cut octets of the wire into lines fit for HTML.

    Args:
        wire: The octets; a line that does not end in CRLF gets a mark that says so.
    """
    for piece in _lines(wire):
        line, end = piece, '<span class="eol" title="the line has no end"> no end</span>'
        if piece.endswith(b"\r\n"):
            line, end = piece[:-2], ""
        elif piece.endswith(b"\n"):
            line, end = piece[:-1], '<span class="eol" title="the line ends in LF alone"> LF</span>'
        more = f"… {len(line) - LINE_MOST:,} more octets" if len(line) > LINE_MOST else ""
        escaped = html.escape(visible(line[:LINE_MOST]), quote=True)
        yield escaped.replace(MASK, _MARKED) + more + end


def _lines(wire: bytes) -> Iterator[bytes]:
    """Cut at LF only: a CR by itself ends no line."""
    start = 0
    while start < len(wire):
        end = wire.find(b"\n", start) + 1 or len(wire)
        yield wire[start:end]
        start = end


def count(number: int, what: str) -> str:
    """Give a number with what it counts."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def milliseconds(nanoseconds: int) -> str:
    """Give a duration as a person reads it."""
    if nanoseconds >= 10_000_000_000:
        return f"{nanoseconds / 1e9:,.1f} s"
    return f"{nanoseconds / 1e6:,.1f} ms"
