"""One message of a capture: its header, decoded, and the tree of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len

from popproxy.cli.screen import Screen, wrapped
from popproxy.cli.show_list import fitted
from popproxy.formats import visible
from popproxy.privacy.headers import decoded
from popproxy.sinks.terminal.layout import MAX_WIDTH, count
from popproxy.tools import mail
from popproxy.tools.mail import Part
from popproxy.tools.messages import Fetched

_INDENT: Final = "   "
_COLUMN: Final = 14
_FIELDS_MOST: Final = 500
_FIELD_MOST: Final = 20_000
_VALUE_MOST: Final = 4_000
_LINE_MOST: Final = 1024 * 1024


class MessageDrawing:
    """Draws messages.

    Args:
        screen: What it is drawn for.
        body: Whether the body is shown, too.
    """

    def __init__(self, screen: Screen, *, body: bool) -> None:
        self._palette = screen.palette
        self._glyphs = screen.glyphs
        self._width = max(20, min(screen.width, MAX_WIDTH) - 1)
        self._body = body
        self._branches = ("├─ ", "└─ ", "│  ")
        if screen.glyphs.bar == "|":
            self._branches = ("+- ", "`- ", "|  ")

    def lines(self, number: int, message: Fetched) -> Iterator[str]:
        """Give the lines about one message."""
        yield from self._head(number, message)
        if message.about is None:
            words = f"{visible(message.command)} was answered {visible(message.status[:40])}"
            yield from self._flowing(words, _INDENT)
            return
        if not message.content:
            yield from self._flowing("the content was not recorded", _INDENT)
            return
        read = mail.read(message.content, body=message.whole and message.command == "RETR")
        for name, value in read.fields[:_FIELDS_MOST]:
            yield from self._field(name, value)
        if len(read.fields) > _FIELDS_MOST:
            more = count(len(read.fields) - _FIELDS_MOST, "more field")
            yield self._palette.quiet(f"{_INDENT}{self._glyphs.more} {more}") + "\n"
        yield "\n"
        if read.root is not None:
            yield from self._tree(read.root, "", "")
        else:
            yield from self._flowing(_why_no_tree(message), _INDENT)
        if self._body:
            yield "\n"
            yield from self._text(message.content)

    def _head(self, number: int, message: Fetched) -> Iterator[str]:
        rule, title = self._glyphs.rule, f"message {number}"
        words = f"{title} of session {visible(message.session[:100])}"
        yield from self._flowing(words, f"{rule * 2} ", ink_title=title, fill=True)
        facts = [f"{visible(message.command[:20])} at {message.at.astimezone():%Y-%m-%d %H:%M:%S}"]
        about = message.about
        if about is not None:
            facts.append(count(about.octets, "octet"))
            if message.lines is not None:
                facts.append(count(message.lines, "line"))
            if about.octets_announced not in (None, about.octets):
                facts.append(f"{about.octets_announced:,} octets were announced")
            if about.unique_id is not None:
                facts.append(f"unique-id {visible(about.unique_id[:100])}")
            facts.append(f"SHA-256 {visible(about.sha256[:16])}{self._glyphs.more}")
        yield from self._flowing(", ".join(facts), _INDENT, quiet=True)
        yield "\n"

    def _flowing(
        self,
        words: str,
        begin: str,
        *,
        ink_title: str = "",
        fill: bool = False,
        quiet: bool = False,
    ) -> Iterator[str]:
        """Break a sentence of ours between words."""
        rows = wrapped(words, max(16, self._width - len(begin)))
        for number, row in enumerate(rows):
            lead = begin if number == 0 else " " * len(begin)
            text = row
            if number == 0 and ink_title and row.startswith(ink_title):
                text = self._palette.title(ink_title) + row.removeprefix(ink_title)
            elif quiet:
                text = self._palette.quiet(row)
            room = self._width - len(lead) - cell_len(row) - 1
            if fill and number == len(rows) - 1 and room > 0:
                text += " " + self._palette.rule(self._glyphs.rule * room)
            yield f"{self._palette.rule(lead) if lead.strip() else lead}{text}\n"

    def _field(self, name: str, value: str) -> Iterator[str]:
        shown = visible(name[:100]) + ":"
        text = _shown(value)
        column = _COLUMN if self._width >= 60 else 0
        indent = len(_INDENT) + (column or 2)
        first = max(column, cell_len(shown) + 1)
        rows = wrapped(
            text, max(16, self._width - indent), max(1, self._width - len(_INDENT) - first)
        )
        blank = " " * (first - cell_len(shown))
        yield f"{_INDENT}{self._palette.header(shown)}{blank}{rows[0]}".rstrip() + "\n"
        for row in rows[1:]:
            yield " " * indent + row + "\n"

    def _tree(self, part: Part, prefix: str, below: str) -> Iterator[str]:
        """Draw a part and those within it."""
        facts = [visible(text[:20]) for text in (part.charset, part.encoding) if text]
        left = f"{_INDENT}{prefix}{fitted(visible(part.type[:80]), 40)}"
        room = max(8, self._width - cell_len(left) - 3)
        name = f" “{fitted(visible(part.name[:200]), room)}”" if part.name else ""
        if self._glyphs.bar == "|":
            name = name.replace("“", '"').replace("”", '"')
        if part.disposition == "attachment":
            facts.insert(0, "attachment")
        middle = "  " + ", ".join(facts) if facts else ""
        figures = f"{count(part.lines, 'line')}, {count(part.octets, 'octet')}"
        if part.parts or part.deeper:
            figures = count(len(part.parts) or part.deeper, "part")
            figures += ", too deep to be shown" if part.deeper else ""
        room = self._width - cell_len(left + name + middle) - len(figures)
        if cell_len(left + name + middle) > self._width:
            middle = ""
        line = left + self._palette.title(name) + self._palette.quiet(middle)
        if room >= 2:
            yield f"{line}{' ' * room}{self._palette.quiet(figures)}\n"
        else:
            yield f"{line}\n{' ' * max(0, self._width - len(figures))}"
            yield f"{self._palette.quiet(figures)}\n"
        for one in part.parts:
            last = one is part.parts[-1]
            branch = self._branches[1 if last else 0]
            yield from self._tree(
                one, below + branch, below + (" " * len(branch) if last else self._branches[2])
            )

    def _text(self, content: bytes) -> Iterator[str]:
        bar = f" {self._palette.server(self._glyphs.bar)} "
        lines = content.split(b"\n")
        for line in lines if lines[-1] else lines[:-1]:
            shown = visible(line.removesuffix(b"\r")[:_LINE_MOST])
            yield f"{bar}{shown}".rstrip() + "\n"


def _shown(value: str) -> str:
    """Give a field's body as it is shown: decoded (RFC 2047), escaped, and not too long."""
    octets = value.replace("\t", " ").strip().encode("utf-8", "surrogateescape")[:_FIELD_MOST]
    return visible(decoded(octets)[:_VALUE_MOST])


def _why_no_tree(message: Fetched) -> str:
    if message.command != "RETR":
        return "TOP brought a part of it: its structure is not known"
    if not message.whole:
        return "the body was not recorded, or not whole: its structure is not known"
    return "its structure is too deep, or too odd, to be told"
