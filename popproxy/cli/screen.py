"""What the verbs that show captures draw for: colours, signs and width of standard output."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import Final, cast

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
