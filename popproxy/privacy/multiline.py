"""A multi-line response on its way: content masked, counted, cut into records, read for values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from popproxy.pop3.events import Data, End, Read, State
from popproxy.pop3.framing import PIECE, Unstuffer
from popproxy.privacy.content import Cutter, Digest, HeaderSplit
from popproxy.privacy.learned import Learned
from popproxy.privacy.masking import Masked, MaskedStream
from popproxy.privacy.tables import MAX_ENTRIES, MAX_TABLE
from popproxy.records import BodyPolicy

TABLES = frozenset({b"CAPA", b"LIST", b"UIDL", b"AUTH", b"LANG"})
"""Keywords whose multi-line responses hold no text of messages."""

MESSAGES = frozenset({b"RETR", b"TOP"})


class Answered(NamedTuple):
    """The command that a response answers, and its status line, as far as it may be told.

    Attributes:
        keyword: The command's keyword as the session read it.
        command: The same as it is shown; None if there is no command, or it is hidden.
        arguments: The command's arguments, masked.
        seq: The command's number.
        status: The status indicator.
        code: The response code, masked.
        text: The text, masked.
        announced: Octets of the message that the status line announces.
    """

    keyword: bytes
    command: str | None
    arguments: str | None
    seq: int | None
    status: str
    code: str | None
    text: str
    announced: int | None


class MultiLine:
    """The content of a multi-line response.

    Attributes:
        answered: What it belongs to.
        lines: Lines of masked content so far.
        octets: Octets of masked content so far.
        state: The session's state.
        message: Figures of the message, if it is one.
        cut_table: Whether `table` lacks something.
    """

    __slots__ = (
        "_cutter",
        "_header",
        "_last_piece",
        "_news",
        "_stream",
        "_strict",
        "_table",
        "_table_size",
        "answered",
        "cut_table",
        "lines",
        "message",
        "octets",
        "state",
    )

    def __init__(
        self,
        answered: Answered,
        learned: Learned,
        body: BodyPolicy,
        state: State,
        *,
        in_step: bool,
    ) -> None:
        """Begin.

        Args:
            answered: What it belongs to.
            learned: The session's secrets.
            body: How much of messages is recorded.
            state: The session's state.
            in_step: Whether commands and responses are in step; if not, anything may turn out to be
                a message.
        """
        keyword = answered.keyword
        self.answered = answered
        self.state = state
        self.lines = self.octets = 0
        self.message = Digest() if keyword in MESSAGES else None
        self.cut_table = False
        self._stream = MaskedStream(learned)
        self._strict: bool | None = None
        self._last_piece = 0
        self._news = False  # whether something was added since the last look
        is_table = keyword in TABLES
        whole = body == "full" or (is_table and in_step)
        headers = body == "headers" and keyword in MESSAGES and in_step
        self._cutter = Cutter() if whole or headers else None
        self._header = HeaderSplit() if headers and not whole else None
        self._table: list[bytes] | None = [] if is_table else None
        self._table_size = 0

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<MultiLine>"

    @property
    def masked(self) -> bool:
        """Whether a mask was put in so far."""
        return self._stream.masked

    def end_reads(self, event: End) -> tuple[Sequence[Read], bool]:
        """Give the reads of the line that ends the response, and whether the first is joined.

        From a mask on all reads count as one, this line included.

        Args:
            event: The end.
        """
        read = self._stream.end(len(event.raw))
        if read is None or not event.raw:
            return event.reads, event.joined
        return (read,), True

    def add(self, event: Data) -> None:
        """Take a piece of content in; `take` gives out what comes of it.

        Args:
            event: The piece.
        """
        if self._strict is None:
            self._strict = event.strict
            if self.message is not None:
                self.message.begin(strict=event.strict)
        self._last_piece = len(event.raw)
        self._stream.add(event.raw, event.reads, joined=event.joined)
        self._news = True

    def take(self, *, everything: bool) -> list[Masked]:
        """Give out the pieces that make records.

        Args:
            everything: The content has ended.
        """
        if not (self._news or everything):
            return []
        self._news = False
        masked = self._stream.take(everything=everything)
        text = masked.text
        if text:
            self.octets += len(text)
            self.lines += text.count(b"\n")
            if self.message is not None:
                self.message.feed(text)
            if self._table is not None:
                self._collect(text)
            if self._cutter is not None:
                self._show(masked, self._cutter)
        if self._cutter is None:
            return []
        # A last piece that is not full: the session was told to give out what it holds.
        flushed = 0 < self._last_piece < PIECE
        return self._cutter.take(everything=everything or flushed)

    def _show(self, masked: Masked, cutter: Cutter) -> None:
        if self._header is None:
            cutter.add(masked)
            return
        size = self._header.feed(masked.text)
        if not size:
            return
        part = Cutter()
        part.add(masked)
        cutter.add(part.first(size))

    def _collect(self, text: bytes) -> None:
        if self._table is None:
            return
        room = MAX_TABLE - self._table_size
        self.cut_table = self.cut_table or len(text) > room
        self._table.append(text[:room])
        self._table_size += len(self._table[-1])

    def table(self) -> bytes | None:
        """Give the content as a table's text, byte-stuffing removed, without a last line cut.

        Returns:
            The text, or None if the command brings no table.
        """
        if self._table is None:
            return None
        text = b"".join(self._table)
        if self.cut_table:
            text = text[: text.rfind(b"\n") + 1]
        self.cut_table = self.cut_table or text.count(b"\n") > MAX_ENTRIES
        return Unstuffer(strict=bool(self._strict)).feed(text)


class LongLine:
    """A line of the server that is longer than lines are held, and may be shown."""

    __slots__ = ("_cutter", "_stream")

    def __init__(self, learned: Learned) -> None:
        self._cutter = Cutter()
        self._stream = MaskedStream(learned)

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<LongLine>"

    def add(self, raw: bytes, reads: Sequence[Read], *, joined: bool) -> None:
        """Take a part of the line in; the arguments are those of `MaskedStream.add`."""
        self._stream.add(raw, reads, joined=joined)

    def take(self, *, everything: bool) -> list[Masked]:
        """Give out the pieces that make records.

        Args:
            everything: The line has ended.
        """
        self._cutter.add(self._stream.take(everything=everything))
        return self._cutter.take(everything=everything)
