"""`popproxy help [TOPIC]`: the manual, Markdown in `popproxy/guide/`.

On a terminal it is drawn by rich and shown in a pager if it is long; piped, it is the Markdown
itself, which is made to be read as it is.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
from importlib.resources import files

import click

from popproxy.cli.console import is_terminal, wants_color
from popproxy.cli.errors import CommandError, Status, nearest
from popproxy.cli.options import Invocation
from popproxy.cli.pager import display

INDEX = "index"
WIDEST = 90
"""Columns; longer lines are hard to read."""


_MARKER = re.compile(r"^<!--.*?-->\n\n?", re.MULTILINE | re.DOTALL)
"""What frames the parts of the manual that are drawn from tables."""
_PICTURE = re.compile(r"!\[([^\]\n]+)\]\(([\w-]+\.png)\)")
_LINK = re.compile(r"\[([^\]\n]+)\]\(([\w-]+)\.md(?:#[\w-]*)?\)")


def topics() -> dict[str, str]:
    """Find the topics of the manual.

    Returns:
        Each topic's title by its name, the index left out, in alphabetical order.
    """
    found = {}
    for entry in sorted(files("popproxy").joinpath("guide").iterdir(), key=lambda one: one.name):
        name, dot, suffix = entry.name.rpartition(".")
        if dot and suffix == "md" and name != INDEX:
            text = entry.read_text(encoding="utf-8")
            found[name] = text.partition("\n")[0].lstrip("# ").strip()
    return found


def show(invocation: Invocation, topic: str | None) -> int:
    """Show a topic, or the list of topics; see `popproxy help --help`."""
    _display(_readable(_page(topic)), invocation)
    return Status.DONE


def _page(topic: str | None) -> str:
    known = topics()
    guide = files("popproxy").joinpath("guide")
    if topic is not None and topic.lower() != INDEX:
        name = topic.lower()
        if name not in known:
            raise CommandError(
                f"the manual has no topic {topic!r}",
                hint=f"{nearest(name, known).capitalize()}\n`popproxy help` lists the topics.",
                status=Status.USAGE,
            )
        return guide.joinpath(f"{name}.md").read_text(encoding="utf-8")
    index = guide.joinpath(f"{INDEX}.md")
    text = index.read_text(encoding="utf-8") if index.is_file() else "# popproxy's manual\n"
    linked = {found[2] for found in _LINK.finditer(text)}
    others = "".join(
        f"- **{name}**: {title}\n" for name, title in known.items() if name not in linked
    )
    if others:
        text = f"{text.rstrip()}\n\n## Topics\n\n{others}"
    return f"{text.rstrip()}\n\n`popproxy help TOPIC` shows one.\n"


def _readable(page: str) -> str:
    """Drop what is of no use to a reader; turn pictures into their names, links into topics."""
    named = _PICTURE.sub(r"*\1* (`popproxy/guide/\2`)", _MARKER.sub("", page))
    return _LINK.sub(r"\1 (**\2**)", named)


def _display(text: str, invocation: Invocation) -> None:
    colored = wants_color(invocation.color, sys.stdout, invocation.env)
    if not is_terminal(sys.stdout) and not colored:
        click.echo(text, nl=False)
        return
    drawn = _drawn(text, min(WIDEST, shutil.get_terminal_size().columns), colored=colored)
    display(drawn.splitlines(keepends=True), invocation.env)


def _drawn(text: str, width: int, *, colored: bool) -> str:
    from rich.console import Console
    from rich.markdown import Markdown

    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=colored,
        color_system="standard" if colored else None,
        no_color=not colored,
        legacy_windows=False,
        emoji=False,
    )
    console.print(Markdown(text, code_theme="ansi_dark", hyperlinks=False))
    return buffer.getvalue()
