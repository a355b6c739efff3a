"""Text that stands in for content that was not recorded: as many octets, as many lines."""

from __future__ import annotations

_TEXT = b"not recorded, filled in by popproxy replay; "
_HEADER = b"Subject: not recorded (popproxy replay)\r\n\r\n"
_LINE = 76
"""Octets of a line, its end included, where the number of lines is not known."""


def filler(octets: int, lines: int | None, *, header: bool = False) -> bytes:
    """Make text up.

    Args:
        octets: How many octets it has, line ends included. No line begins with a dot, so that they
            are the same with and without byte-stuffing.
        lines: How many line ends it has, as far as that many octets can have them: CRLF if there
            is room for that, else LF. None if it is not known; lines are of an ordinary length
            then.
        header: Begin as a message does, with a header and an empty line, if there is room.
    """
    if lines is None:
        lines = -(-octets // _LINE)
    head = b""
    room = octets - len(_HEADER)
    if header and lines >= 2 and room >= 2 * (lines - 2) and (lines > 2 or room == 0):
        head, octets, lines = _HEADER, room, lines - 2
    if not lines:
        return head + _text(octets)
    if octets <= lines:
        return head + b"\n" * octets
    size, longer = divmod(octets, lines)
    return head + b"".join(_line(size + (number < longer)) for number in range(lines))


def _line(size: int) -> bytes:
    end = b"\r\n" if size > 1 else b"\n"
    return _text(size - len(end)) + end


def _text(size: int) -> bytes:
    return (_TEXT * (-(-size // len(_TEXT))))[:size]
