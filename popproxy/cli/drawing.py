"""Help pages for a terminal, drawn by rich-click."""

from __future__ import annotations

import os
import shutil
from typing import Any, cast

import click
from rich.padding import Padding
from rich.text import Text
from rich_click import (
    RichCommandPanel,
    RichHelpConfiguration,
    RichHelpFormatter,
    RichOptionPanel,
)
from rich_click.rich_help_rendering import get_rich_help_text

from popproxy.cli.command import Page, option_groups

WIDEST = 100
"""Columns; longer lines are hard to read."""


def draw_help(command: click.Command, page: Page, ctx: click.Context) -> str:
    """Draw a help page.

    Args:
        command: The command that it is about.
        page: What else stands on it.
        ctx: click's context.

    Returns:
        Text with escape sequences, but for colours under `NO_COLOR`.
    """
    configuration = RichHelpConfiguration(
        width=min(WIDEST, shutil.get_terminal_size().columns),
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        force_terminal=True,
        theme="default-slim",
        text_paragraph_linebreaks="\n\n",
    )
    formatter = RichHelpFormatter(config=configuration)
    # rich-click's panels take plain commands as well as its own; its annotations name its own.
    drawn, context = cast("Any", command), cast("Any", ctx)
    pieces = command.collect_usage_pieces(ctx)
    formatter.write_usage(ctx.command_path, " ".join(pieces))
    get_rich_help_text(drawn, context, formatter)
    if isinstance(command, click.Group):
        names = [name for name, one in command.commands.items() if not one.hidden]
        formatter.write(
            RichCommandPanel("Commands", commands=names).render(drawn, context, formatter)
        )
    for title, options in option_groups(command, ctx).items():
        names = [one.opts[0] for one in options]
        formatter.write(RichOptionPanel(title, options=names).render(drawn, context, formatter))
    if page.examples:
        lines = Text()
        for number, (comment, line) in enumerate(page.examples):
            lines.append(("\n\n" if number else "") + f"# {comment}\n", style="dim")
            lines.append(line, style="bold")
        _write(formatter, "Examples", lines)
    for title, text in page.notes:
        _write(formatter, title, Text(text))
    return formatter.getvalue().rstrip("\n")


def _write(formatter: RichHelpFormatter, title: str, content: Text) -> None:
    """Write a section that looks as rich-click's own do."""
    formatter.write(Text(f"{title}:", style=formatter.config.style_options_panel_title_style))
    formatter.write(Padding(content, (0, 0, 1, 2)))
