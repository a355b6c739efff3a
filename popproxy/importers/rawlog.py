"""Dovecot's rawlog: a file for each side, `.in` for what the client sent, `.out` for the server.

Either of the two is enough to find the other. Lines begin with a time, if Dovecot wrote one; the
two files are put together by it. Without times a command is put before the response that is next.
Rawlog begins when the client has logged in, so what came before is missing.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from popproxy.importers.lines import cut_end, lines_of, start_lines
from popproxy.importers.marked import Marked
from popproxy.importers.source import Begin, Item, LogError, Missing
from popproxy.pop3 import Side

_TIMED = re.compile(rb"(\d{9,11})\.(\d{6}) (?:([IO]): )?(.*)", re.DOTALL)
_NO_LOGIN = "Dovecot's rawlog begins behind the login"


class _Line(NamedTuple):
    at: float
    order: int
    client: bool
    text: bytes
    end: bytes


def is_rawlog(start: bytes) -> bool:
    """Tell a rawlog whose lines begin with times."""
    lines = [line for line in start_lines(start) if line]
    return bool(lines) and _TIMED.fullmatch(lines[0]) is not None


def read_rawlog(file: IO[bytes], path: Path | None) -> Iterator[Item]:
    """Read a rawlog.

    Raises:
        LogError: The file of the other side is needed, and is not there.
    """
    first = _peek(file)
    timed = _TIMED.fullmatch(first)
    marked = Marked()
    begun = False
    for line in _merged(file, path, both=timed is not None and timed[3] is not None):
        at = datetime.fromtimestamp(line.at, UTC) if line.at else None
        if not begun:
            yield Begin(at=at)
            if line.client:
                yield from marked.greeting()
            yield Missing(why=_NO_LOGIN)
            begun = True
        take = marked.client if line.client else marked.server
        yield from take(line.text, at, line.end)
    yield from marked.rest()


def _peek(file: IO[bytes]) -> bytes:
    line = cut_end(file.readline(4096))[0]
    file.seek(0)
    return line


def _merged(file: IO[bytes], path: Path | None, *, both: bool) -> Iterator[_Line]:
    if both:
        yield from _lines(file, Side.CLIENT)
        return
    if path is None or path.suffix not in (".in", ".out"):
        raise LogError(
            "a rawlog is two files, NAME.in and NAME.out: name one of them, and have the other"
            " beside it"
        )
    here = Side.CLIENT if path.suffix == ".in" else Side.SERVER
    other = path.with_suffix(".out" if here is Side.CLIENT else ".in")
    try:
        with other.open("rb") as there:
            yield from heapq.merge(_lines(file, here), _lines(there, here.other))
    except FileNotFoundError:
        raise LogError(
            f"a rawlog is two files, and the one of the other side is not there: {other}"
        ) from None


def _lines(file: IO[bytes], side: Side) -> Iterator[_Line]:
    at = 0.0
    for number, line in enumerate(lines_of(file)):
        text, end = cut_end(line)
        found = _TIMED.fullmatch(text)
        client = side is Side.CLIENT
        if found is not None:
            at, text = max(at, int(found[1]) + int(found[2]) / 1e6), found[4]
            client = found[3] == b"I" if found[3] else client
        # At the same moment the server's line is an answer to what the client sent before.
        yield _Line(at, number * 2 + (not client), client, text, end or b"")
