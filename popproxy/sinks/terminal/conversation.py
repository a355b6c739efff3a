"""One session as it is shown: what was said, line by line, and what is remembered for that.

A multi-line response's content comes in pieces that end anywhere, between its status line and its
end; other sessions' lines may stand in between, so that every line carries its own gutter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from popproxy.formats.escape import visible
from popproxy.records import (
    CommandRecord,
    DataRecord,
    MessagePart,
    ResponseRecord,
    SideName,
    WireRecord,
)
from popproxy.sinks.terminal import asides
from popproxy.sinks.terminal.asides import joined
from popproxy.sinks.terminal.ink import Ink
from popproxy.sinks.terminal.layout import Layout, Segment, count, duration, shown
from popproxy.sinks.terminal.lines import Content, Line, LineAssembler
from popproxy.sinks.terminal.octets import Octets

SLOW = 1_000_000_000
"""A response that took this many nanoseconds is marked."""
_PROGRESS = timedelta(seconds=2)
_MAX_PENDING = 1000
_FIELD_NAME = re.compile(r"[!-9;-~]+:")
_MESSAGE_COMMANDS = ("RETR", "TOP")
_SIDES: tuple[SideName, SideName] = ("client", "server")


class Conversation:
    """Shows one session.

    Args:
        layout: Puts lines together.
        tag: The session's tag.
        fold: Lines of a multi-line response that are shown.
        cap: Octets of a line that are shown.
        close_messages: Whether a message is shown as one line that says what it is.
        raw: Whether octets are shown, read by read.

    Attributes:
        body: What is recorded of messages: `full`, `headers` or `none`.
        octets: Shows octets, if they are wanted.
        timed: Whether its times are those of what happened, and shown.
    """

    def __init__(
        self,
        layout: Layout,
        tag: Segment,
        *,
        fold: int,
        cap: int,
        close_messages: bool = False,
        raw: bool = False,
    ) -> None:
        self.body = "full"
        self.timed = True
        self.octets = Octets(layout, tag, fold=fold, cap=cap) if raw else None
        self._layout = layout
        self._palette = layout.palette
        self._tag = tag
        self._fold = fold
        self._cap = cap
        self._close_messages = close_messages
        self._pending: dict[int, str] = {}  # unanswered commands by number, in words
        self._lines = {side: LineAssembler(cap) for side in _SIDES}
        self._contents: dict[SideName, Content] = {}
        self._opaque: dict[SideName, int] = {}
        self._mentioned: datetime | None = None  # when the content being folded last was

    def aside(
        self, at: datetime | None, sign: Segment, sentence: list[Segment], *, filled: bool = False
    ) -> str:
        """Give a sentence of ours about this session; see `Layout.note`."""
        at = at if self.timed else None
        return self._layout.note(at, self._tag, sign, sentence, filled=filled)

    def show(self, record: WireRecord) -> Iterator[str]:
        """Give the lines that a record of the wire adds."""
        if self.octets is not None:
            return self.octets.show(record)
        if isinstance(record, DataRecord) and record.pop3.part == "content":
            return self._show_content(record)
        if isinstance(record, DataRecord) and record.pop3.part == "opaque":
            return self._show_opaque(record)
        return self._show_lines(record)

    def finish(self, at: datetime | None) -> Iterator[str]:
        """Give what is still waiting: content, lines that never ended, sums."""
        if self.octets is not None:
            yield from self.octets.finish()
        for side in _SIDES:
            yield from self._close_content(side)
            for line in self._lines[side].rest():
                yield self._line(at, side, line)
            if self._opaque.get(side):
                yield self._quietly(f"opaque traffic of the {side}: {_octets(self._opaque[side])}")
        self._opaque.clear()

    def _quietly(self, words: str, sign: str = "") -> str:
        quiet = self._palette.quiet
        sign = sign or self._layout.glyphs.dot
        return self.aside(None, (sign.rjust(2), quiet), [(words, quiet)])

    # Lines

    def _show_lines(self, record: WireRecord) -> Iterator[str]:
        side = record.side
        note: list[Segment] = []
        match record:
            case CommandRecord():
                note = self._command(record)
            case ResponseRecord():
                # The answer to XTND XMIT is what shows that the client's message has ended.
                yield from self._close_content("client")
                note = self._response(record)
            case DataRecord() if record.pop3.part == "status":
                note = self._answered(record.pop3.command_seq)
        about = record.pop3.message if isinstance(record, ResponseRecord) else None
        content = self._contents.get(side)
        closed = self._close_messages and (content is None or content.closed)
        if closed and about is not None:
            self._contents.pop(side, None)
            yield self._aside_about(about)
        elif content is not None:
            yield from self._close_content(side)
        wire = record.wire
        lines = self._lines[side].feed(wire)
        # A line over the core's cap comes in several records, of which only the last ends it.
        if not (isinstance(record, DataRecord) and record.pop3.part == "line"):
            lines += self._lines[side].rest()
        if not lines and note:
            lines = [Line(b"", 0, 0, ended=True)]
        if record.inferred:
            note.append(("not in the log", self._palette.quiet))
        masked, bad = bool(record.masked), side == "server" and wire.startswith(b"-")
        for number, line in enumerate(lines, 1):
            behind = note if number == len(lines) else []
            yield self._line(record.timestamp, side, line, behind, masked=masked, bad=bad)

    def _line(
        self,
        at: datetime | None,
        side: SideName,
        line: Line,
        note: list[Segment] | None = None,
        *,
        masked: bool = False,
        bad: bool = False,
    ) -> str:
        ink = self._palette.server_bad if bad else self._ink(side)
        label = "C:" if side == "client" else "S:"
        behind = joined(note or [], self._palette.quiet)
        words = [(visible(line.text), ink), *self._hidden(line)]
        at = at if self.timed else None
        return self._layout.wire(at, self._tag, (label, ink), words, behind, masked=masked)

    def _ink(self, side: SideName) -> Ink:
        return self._palette.client if side == "client" else self._palette.server

    def _hidden(self, line: Line) -> list[Segment]:
        if not line.hidden:
            return []
        return [(f" {self._layout.glyphs.more} {_octets(line.hidden)} more", self._palette.quiet)]

    # Commands and responses

    def _command(self, record: CommandRecord) -> list[Segment]:
        command = record.pop3
        words = shown(command.command, 20)
        if command.message_number is not None:
            words += f" {command.message_number}"
        self._pending[command.seq] = words
        if len(self._pending) > _MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        return [] if command.complete else [("cut off", self._palette.warning)]

    def _answered(self, seq: int | None) -> list[Segment]:
        """Say which command a response answers, if that is not the latest one."""
        if seq not in self._pending or seq == next(reversed(self._pending)):
            return []
        return [(f"to {self._pending[seq]}", self._palette.quiet)]

    def _response(self, record: ResponseRecord) -> list[Segment]:
        response = record.pop3
        if response.multi_line:
            note = self._figures(record)
        else:
            note = self._answered(response.command_seq)
        if response.command_seq is not None:
            self._pending.pop(response.command_seq, None)
        elapsed = record.event.duration if self.timed else None
        if elapsed is not None:
            ink = self._palette.slow if elapsed >= SLOW else self._palette.quiet
            note.append((duration(elapsed), ink))
        return note

    def _figures(self, record: ResponseRecord) -> list[Segment]:
        response, quiet = record.pop3, self._palette.quiet
        figures: list[Segment] = []
        if response.lines is not None:
            content = self._contents.get("server")
            missing = response.lines - (content.lines if content is not None else 0)
            words = count(response.lines, "line")
            if missing > 0 and self.body != "full":
                words += f" ({missing:,} not recorded)"
            figures.append((words, quiet))
        octets = response.message.octets if response.message is not None else response.octets
        if octets is not None:
            figures.append((_octets(octets), quiet))
        if response.ending is not None and response.ending != "terminated":
            figures.append((shown(response.ending), self._palette.warning))
        return figures

    # Content

    def _show_content(self, record: DataRecord) -> Iterator[str]:
        side = record.side
        content = self._contents.get(side)
        if content is None:
            for line in self._lines[side].rest():
                yield self._line(record.timestamp, side, line)
            command = self._pending.get(record.pop3.command_seq or 0, "")
            is_message = side == "client" or command.startswith(_MESSAGE_COMMANDS)
            closed = is_message and self._close_messages
            content = Content(self._fold, cap=self._cap, is_message=is_message, closed=closed)
            self._contents[side] = content
            self._mentioned = None
        content.masked = content.masked or bool(record.masked)
        for line, in_header in content.feed(record.wire):
            yield self._content_line(side, line, in_header=in_header, masked=content.masked)
        if not content.folded_lines or content.closed:
            return
        if self._mentioned is None:
            self._mentioned = record.timestamp
        elif record.timestamp - self._mentioned >= _PROGRESS:
            self._mentioned = record.timestamp
            yield self._quietly(f"{_octets(content.octets)} so far", self._layout.glyphs.more)

    def _content_line(self, side: SideName, line: Line, *, in_header: bool, masked: bool) -> str:
        text, plain = visible(line.text), self._palette.plain
        words = [(text, plain)]
        name = _FIELD_NAME.match(text) if in_header else None
        if name is not None:
            words = [(name[0], self._palette.header), (text[name.end() :], plain)]
        bar = self._layout.glyphs.bar.rjust(2), self._ink(side)
        return self._layout.wire(None, self._tag, bar, words + self._hidden(line), masked=masked)

    def _close_content(self, side: SideName) -> Iterator[str]:
        content = self._contents.pop(side, None)
        if content is None:
            return
        for line, in_header in content.end():
            yield self._content_line(side, line, in_header=in_header, masked=content.masked)
        if content.folded_lines:
            what = "line" if content.closed else "more line"
            words = f"{count(content.folded_lines, what)}, {_octets(content.folded_octets)}"
            yield self._quietly(words, self._layout.glyphs.more)

    def _aside_about(self, message: MessagePart) -> str:
        """Say what message it is whose lines are not shown."""
        sign = self._layout.glyphs.more.rjust(2), self._palette.quiet
        return self.aside(None, sign, asides.message(message, self._palette, self._layout.glyphs))

    def _show_opaque(self, record: DataRecord) -> Iterator[str]:
        side = record.side
        if side not in self._opaque:
            self._opaque[side] = 0
            words = f"opaque traffic of the {side}: counted, not shown"
            sign = self._layout.glyphs.dot.rjust(2), self._palette.warning
            yield self.aside(record.timestamp, sign, [(words, self._palette.warning)])
        self._opaque[side] += record.pop3.octets or 0


def _octets(number: int) -> str:
    return count(number, "octet")
