"""Colours and glyphs of the live terminal, rendered to escape sequences once.

rich knows which colours a terminal has and how to ask for them, but drawing through it costs tens
of microseconds a line. A sink therefore asks it once for each style, keeps the two strings that
switch the style on and off, and puts lines together from them. Markup never comes into it: text of
a peer is escaped before it gets here and is only ever joined with these strings (P46).

Only the sixteen colours that every theme of a terminal defines are used, so that the transcript is
legible on dark and on light backgrounds; and no meaning is carried by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Literal, NamedTuple

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from popproxy.records import MASK

ColorChoice = Literal["auto", "always", "never"]

_COLOR_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
}


def make_console(
    color: ColorChoice, file: IO[str], env: Mapping[str, str] | None = None
) -> Console:
    """Make a console that obeys `--color`, and with `auto` also NO_COLOR and TERM.

    Nothing printed on it is read as markup, highlighted, or searched for emoji names, and lines
    are not broken.

    Args:
        color: `always` colours whatever `file` is and whatever NO_COLOR says; `never` writes no
            escape sequence at all; `auto` colours a terminal unless NO_COLOR is set and not empty.
        file: Where the console writes.
        env: The environment; the process's own if left out.
    """
    console = _console(color, file, env, "auto")
    if color == "always" and console.color_system is None:
        # rich found no colours (TERM=dumb), but they were asked for.
        console = _console(color, file, env, "standard")
    if color != "always" and console.no_color:
        # With NO_COLOR alone rich would still write bold and reverse.
        console = _console("never", file, env, None)
    return console


def _console(
    color: ColorChoice,
    file: IO[str],
    env: Mapping[str, str] | None,
    color_system: Literal["auto", "standard"] | None,
) -> Console:
    return Console(
        file=file,
        color_system=None if color == "never" else color_system,
        force_terminal=True if color == "always" else None,
        no_color={"auto": None, "always": False, "never": True}[color],
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
        _environ=env,
    )


class Ink(NamedTuple):
    """A style: what switches it on, and off."""

    on: str = ""
    off: str = ""

    def __call__(self, text: str) -> str:
        """Give `text` in this style; text that is empty stays so."""
        return f"{self.on}{text}{self.off}" if text else ""

    def around_masks(self, text: str, mask: Ink) -> str:
        """Give `text` in this style, but each mask in it in the style `mask`."""
        return mask(MASK).join([self(piece) for piece in text.split(MASK)])


_NONE = Ink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """The styles of a transcript, by what they are for."""

    plain: Ink = _NONE
    time: Ink = _NONE
    quiet: Ink = _NONE
    """Notes of ours that should not compete with the conversation: timings, counts, folds."""
    client: Ink = _NONE
    server: Ink = _NONE
    server_bad: Ink = _NONE
    """A response that is not positive."""
    header: Ink = _NONE
    """The name of a header field in a message."""
    mask: Ink = _NONE
    rule: Ink = _NONE
    title: Ink = _NONE
    good: Ink = _NONE
    slow: Ink = _NONE
    info: Ink = _NONE
    warning: Ink = _NONE
    error: Ink = _NONE
    tags: tuple[Ink, ...] = (_NONE,)
    """Sessions take these in turn."""


_STYLES = {
    "time": "dim",
    "quiet": "dim",
    "client": "bold cyan",
    "server": "green",
    "server_bad": "bold red",
    "header": "blue",
    "mask": "black on yellow",
    "rule": "dim",
    "title": "bold",
    "good": "green",
    "slow": "yellow",
    "info": "blue",
    "warning": "yellow",
    "error": "bold red",
}
_TAG_STYLES = ("magenta", "blue", "yellow", "bright_magenta", "bright_blue")  # not those of sides


def palette_for(console: Console) -> Palette:
    """Render the styles for what `console` can show; without colours all of them are empty."""
    system = _COLOR_SYSTEMS.get(console.color_system or "")
    if system is None or console.no_color:
        return Palette()
    styles = {role: _ink(style, system) for role, style in _STYLES.items()}
    return Palette(tags=tuple(_ink(style, system) for style in _TAG_STYLES), **styles)


def _ink(style: str, system: ColorSystem) -> Ink:
    on, _, off = Style.parse(style).render("\0", color_system=system).partition("\0")
    return Ink(on, off)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The few signs that are not letters."""

    bar: str = "│"
    rule: str = "─"
    arrow: str = "→"
    more: str = "…"
    dot: str = "·"


ASCII_GLYPHS = Glyphs(bar="|", rule="-", arrow="->", more="...", dot="-")


def glyphs_for(encoding: str) -> Glyphs:
    """Give signs that `encoding` has."""
    glyphs = Glyphs()
    try:
        "".join((glyphs.bar, glyphs.rule, glyphs.arrow, glyphs.more, glyphs.dot)).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII_GLYPHS
    return glyphs
