"""Colours: what is marked, and who decides whether."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from popproxy.records import MASK, Record
from popproxy.sinks.terminal import make_console
from popproxy.sinks.terminal.ink import ASCII_GLYPHS, Glyphs, Palette, glyphs_for, palette_for
from tests.support.records import captures
from tests.support.speaking import Speaking
from tests.support.terminal import COLOURS, SGR, conversation, shown


def test_sides_masks_and_bad_responses_are_marked() -> None:
    text = shown(conversation(), palette=COLOURS)
    assert COLOURS.client("user mail@domain.com") in text
    assert COLOURS.client("pass ") + COLOURS.mask(MASK) + "\n" in text
    assert COLOURS.server("+OK Send your password") in text
    assert COLOURS.server_bad("-ERR [SYS/TEMP] no such message") in text
    assert COLOURS.quiet("11.2 ms") in text
    assert COLOURS.slow("1.25 s") in text
    assert COLOURS.header("Subject:") + " Test 1\n" in text


def test_asterisks_that_are_no_mask_are_not_marked() -> None:
    session = Speaking().answers(f"+OK {MASK}\r\n".encode())
    assert COLOURS.mask(MASK) not in shown(session.records, palette=COLOURS)


def test_colours_are_what_rich_makes_of_the_styles() -> None:
    console = make_console("always", io.StringIO(), {"TERM": "xterm"})
    console.print("x", style=Style.parse("bold cyan"), end="")
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == COLOURS.client("x")


@given(captures, st.integers(1, 200))
def test_colours_add_nothing_but_colours(records: list[Record], width: int) -> None:
    coloured = shown(records, palette=COLOURS, width=width)
    assert SGR.sub("", coloured) == shown(records, width=width)


class Tty(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("color", "file", "env", "coloured"),
    [
        ("auto", Tty(), {"TERM": "xterm-256color"}, True),
        ("auto", Tty(), {"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ("auto", Tty(), {"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ("auto", Tty(), {"TERM": "dumb"}, False),
        ("auto", io.StringIO(), {"TERM": "xterm-256color"}, False),
        ("never", Tty(), {"TERM": "xterm-256color"}, False),
        ("never", Tty(), {"TERM": "xterm-256color", "FORCE_COLOR": "1"}, False),
        ("always", io.StringIO(), {"TERM": "xterm-256color"}, True),
        ("always", io.StringIO(), {"TERM": "dumb", "NO_COLOR": "1"}, True),
        ("always", io.StringIO(), {}, True),
    ],
)
def test_color_and_no_color_are_obeyed(
    color: str, file: io.StringIO, env: dict[str, str], coloured: bool
) -> None:
    palette = palette_for(make_console(color, file, env))  # type: ignore[arg-type]  # parametrized
    text = shown(conversation(), palette=palette)
    assert ("\x1b" in text) == coloured
    assert (palette == Palette()) != coloured


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert glyphs_for("utf-8") == Glyphs()
    assert glyphs_for("ascii") == glyphs_for("iso8859-1") == glyphs_for("none") == ASCII_GLYPHS
    text = shown(conversation(), glyphs=ASCII_GLYPHS, encoding="ascii")
    assert "S: +OK goodbye\\u2026" in text
    assert " | Subject: Test 1\n" in text
