"""What Python's poplib prints after `set_debuglevel`.

Level 2 shows what was put and got, as `repr` writes octets; level 1 commands only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from popproxy.importers.lines import cut_end, lines_of, start_lines
from popproxy.importers.marked import Marked
from popproxy.importers.source import Item, Missing

_LINE = re.compile(
    rb"\*(cmd|put|get)\* (b?(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"))\s*", re.DOTALL
)
_NO_RESPONSES = "at debug level 1 poplib does not print responses: use set_debuglevel(2)"


def is_poplib(start: bytes) -> bool:
    """Tell poplib's debug output."""
    return any(_LINE.fullmatch(line) for line in start_lines(start))


def read_poplib(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read poplib's debug output."""
    marked = Marked()
    said_any = False
    command: bytes | None = None
    told = False
    for line in lines_of(file):
        found = _LINE.fullmatch(cut_end(line)[0])
        said = _octets(found[2]) if found is not None else None
        if found is None or said is None:
            continue
        kind = found[1]
        if not said_any and kind != b"get":
            yield from marked.greeting()
        said_any = True
        if command is not None and kind != b"put":
            if not told:
                told = True
                yield Missing(why=_NO_RESPONSES)
            yield from marked.client(command)
        command = None
        if kind == b"cmd":
            command = said
        elif kind == b"put":
            yield from marked.client(said.removesuffix(b"\r\n"))
        else:
            text, end = cut_end(said)
            yield from marked.server(text, end=end)
    if command is not None:
        yield from marked.client(command)
    yield from marked.rest()


def _octets(literal: bytes) -> bytes | None:
    """Read what `repr` wrote of octets or of text."""
    try:
        value = ast.literal_eval(literal.decode())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) else None
