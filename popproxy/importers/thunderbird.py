r"""Thunderbird's POP3 log.

Up to 91 it is one of NSPR's, `… SEND: STAT` and `… RECV: +OK 2 120`, a line each, with the time.
Since then it goes to the console, if `mailnews.pop3.loglevel` is `All`, and with
`devtools.console.stdout.chrome` to standard output:

    console.debug: pop3.server1.1: "C: STAT"
    console.debug: pop3.server1.1: "S: +OK 2 120\r\n"

There a line is what one read brought, several lines or a part of one, written as JavaScript writes
a string; the name tells the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from popproxy.importers.lines import cut_end, lines_of, start_lines
from popproxy.importers.marked import Marked
from popproxy.importers.prefixed import time_of
from popproxy.importers.source import Begin, Finish, Item, Piece
from popproxy.pop3 import Side

_LINE = re.compile(rb".*?POP3.*?\b(SEND|RECV): ?(.*)", re.DOTALL)
_CONSOLE = re.compile(
    rb".*?\b((?:mailnews\.)?pop3\.[\w.]{1,80}): (\"(?:[^\"\\]|\\.)*\")\s*", re.DOTALL
)
_SUPPRESSED = re.compile(rb"\(?\s*logging suppressed", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_CONTROLS: Final = dict(zip("nrtbfv0", "\n\r\t\b\f\v\0", strict=True))
_CONNECTED: Final = "Connected"
_STREAMS_MOST: Final = 10_000


def is_thunderbird(start: bytes) -> bool:
    """Tell a log of Thunderbird's POP3."""
    return any(_LINE.fullmatch(line) or _CONSOLE.fullmatch(line) for line in start_lines(start))


def read_thunderbird(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read a log of Thunderbird's POP3."""
    marked = Marked()
    streams: dict[bytes, int] = {}
    number = 0
    for line in lines_of(file):
        text, _ = cut_end(line)
        if found := _LINE.fullmatch(text):
            yield from _line(marked, found, text)
            continue
        console = _CONSOLE.fullmatch(text)
        if console is None:
            continue
        name, said = console[1], _string(console[2])
        if said == _CONNECTED and name in streams:
            yield Finish(stream=streams.pop(name))
        if not said.startswith(("C: ", "S: ")):
            continue
        if name not in streams:
            if len(streams) >= _STREAMS_MOST:
                yield Finish(stream=streams.pop(next(iter(streams))))
            number += 1
            streams[name] = number
            yield Begin(stream=number)
        yield from _said(streams[name], said)
    yield from marked.rest()


def _line(marked: Marked, found: re.Match[bytes], text: bytes) -> Iterator[Item]:
    at = time_of(text)
    if found[1] == b"RECV":
        yield from marked.server(found[2], at)
    elif _SUPPRESSED.match(found[2]):
        yield from marked.missing_line(at)
    else:
        yield from marked.client(found[2], at)


def _said(stream: int, said: str) -> Iterator[Item]:
    side, _, text = said.partition(": ")
    # A character stands for an octet, unless somebody decoded it.
    octets = text.encode("latin-1" if max(text, default="") <= "\xff" else "utf-8", "replace")
    if side == "S":
        yield Piece(side=Side.SERVER, data=octets, stream=stream)
    elif _SUPPRESSED.match(octets):
        yield Piece(side=Side.CLIENT, data=b"PASS ********\r\n", stream=stream, made_up=True)
    else:
        yield Piece(side=Side.CLIENT, data=octets + b"\r\n", stream=stream)


def _string(literal: bytes) -> str:
    """Read what JavaScript wrote of a string: a literal, quotes included."""
    return _ESCAPE.sub(_unescaped, literal[1:-1].decode("utf-8", "replace"))


def _unescaped(found: re.Match[str]) -> str:
    code, other = found[1] or found[2], found[3]
    return chr(int(code, 16)) if code else _CONTROLS.get(other, other)
