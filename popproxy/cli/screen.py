"""What the verbs that show captures draw for: colours, signs and width of standard output."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import Final, cast

from rich.cells import cell_len

from popproxy.cli.console import is_terminal
from popproxy.cli.options import Invocation
from popproxy.sinks.terminal import ColorChoice, make_console
from popproxy.sinks.terminal.ink import Glyphs, Palette, glyphs_for, palette_for

WIDTH: Final = 100
"""Columns where there is no terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Standard output, as it is drawn for.

    Attributes:
        palette: The styles; empty ones without colours.
        glyphs: The signs.
        width: Columns.
        terminal: Whether it is a terminal: if not, a program may read it.
        encoding: Of standard output.
    """

    palette: Palette
    glyphs: Glyphs
    width: int
    terminal: bool
    encoding: str

    @classmethod
    def standard(cls, invocation: Invocation) -> Screen:
        """Look at standard output."""
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        console = make_console(cast("ColorChoice", invocation.color), sys.stdout, invocation.env)
        terminal = is_terminal(sys.stdout)
        return cls(
            palette=palette_for(console),
            glyphs=glyphs_for(encoding),
            width=shutil.get_terminal_size().columns if terminal else WIDTH,
            terminal=terminal,
            encoding=encoding,
        )


def wrapped(text: str, width: int, first: int | None = None) -> list[str]:
    """Break a text between words into rows; a word that is too long stays whole.

    Args:
        text: The text, escaped.
        width: Columns of a row.
        first: Columns of the first row, if there are fewer.
    """
    rows: list[str] = []
    row, used, room = "", 0, width if first is None else first
    for word in text.split(" "):
        size = cell_len(word)
        if row and used + 1 + size > room:
            rows.append(row.rstrip())
            row, used, room = "", 0, width
        if row:
            row, used = f"{row} {word}", used + 1 + size
        else:
            row, used = word, size
    return [*rows, row.rstrip()]
