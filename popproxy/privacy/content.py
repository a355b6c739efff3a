"""Masked content to pieces that become records, and to figures.

Where a record of content ends depends on the masked text only: at the last line end within
`RECORD` octets. The pieces in which the traffic came would tell by their sizes how long the secrets
in them were (P03).
"""

from __future__ import annotations

import hashlib
import re

from popproxy.pop3.events import Read
from popproxy.pop3.framing import Unstuffer
from popproxy.privacy.commands import MASKED
from popproxy.privacy.masking import Masked

RECORD = 65_536
"""Octets of content in one record, at most."""

MAX_HEADERS = 65_536
"""Octets of a message's header that are kept to read From, Subject and the like."""

_BLANK_LINE = re.compile(rb"\n\r?\n")
_CONTINUATION = 0b1100_0000, 0b1000_0000  # mask and value of an octet inside a UTF-8 sequence
_MAX_SEQUENCE = 4


class Cutter:
    """Cuts masked content into pieces for records."""

    __slots__ = ("_joined", "_masks", "_reads", "_size", "_texts")

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._size = 0
        self._masks: list[int] = []
        self._reads: list[Read] = []
        self._joined = False

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Cutter>"

    def add(self, masked: Masked) -> None:
        """Take masked content in."""
        reads = masked.reads
        if not self._size:
            self._joined = masked.joined
        elif masked.joined and self._reads and reads:
            last = self._reads.pop()
            self._reads.append(Read(last.at, last.size + reads[0].size))
            reads = reads[1:]
        self._reads += reads
        self._masks += [self._size + at for at in masked.masks]
        self._texts.append(masked.text)
        self._size += len(masked.text)

    def take(self, *, everything: bool) -> list[Masked]:
        """Give the pieces that are full, or all there is.

        Args:
            everything: Also a last piece that is not full.
        """
        given: list[Masked] = []
        while self._size > RECORD or (everything and self._size):
            text = self._texts[0] if len(self._texts) == 1 else b"".join(self._texts)
            self._texts = [text]
            given.append(self.first(len(text) if self._size <= RECORD else self._end(text)))
        return given

    def first(self, size: int) -> Masked:
        """Give the first octets, which stand in one text.

        Args:
            size: How many; not within a mask.
        """
        text = self._texts[0]
        self._texts[0] = text[size:]
        self._size -= size
        masks = [at for at in self._masks if at < size]
        self._masks = [at - size for at in self._masks if at >= size]
        joined = self._joined
        return Masked(text[:size], masks, self._take_reads(size), joined)

    def _end(self, text: bytes) -> int:
        """Find where the first piece ends."""
        end = text.rfind(b"\n", 0, RECORD) + 1
        if end:
            return end
        end = RECORD
        for at in self._masks:
            if at < end < at + len(MASKED):
                return at or at + len(MASKED)
        mask, value = _CONTINUATION
        while end > RECORD - _MAX_SEQUENCE and text[end] & mask == value:
            end -= 1
        return end

    def _take_reads(self, size: int) -> list[Read]:
        taken: list[Read] = []
        self._joined = False
        for number, read in enumerate(self._reads):
            if size == 0:
                self._reads = self._reads[number:]
                return taken
            if read.size > size:
                taken.append(Read(read.at, size))
                self._reads = [Read(read.at, read.size - size), *self._reads[number + 1 :]]
                self._joined = True
                return taken
            taken.append(read)
            size -= read.size
        self._reads = []
        return taken


class HeaderSplit:
    """Finds the blank line that ends a message's header, in content that comes in pieces."""

    __slots__ = ("_tail", "ended")

    def __init__(self) -> None:
        self._tail = b"\n"
        self.ended = False

    def feed(self, text: bytes) -> int:
        """Take the next piece.

        Args:
            text: The piece.

        Returns:
            How many of its octets belong to the header, the blank line included.
        """
        if self.ended:
            return 0
        before = len(self._tail)
        found = _BLANK_LINE.search(self._tail + text)
        if found is None:
            self._tail = (self._tail + text)[-2:]
            return len(text)
        self.ended = True
        return found.end() - before


class Digest:
    """Counts a message and makes its SHA-256, byte-stuffing removed.

    Attributes:
        octets: Octets so far.
        header: The header so far, up to `MAX_HEADERS` octets.
    """

    __slots__ = ("_hash", "_split", "_unstuffer", "header", "octets")

    def __init__(self) -> None:
        self._unstuffer = Unstuffer()
        self._hash = hashlib.sha256(usedforsecurity=False)
        self._split = HeaderSplit()
        self.octets = 0
        self.header = b""

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Digest>"

    def begin(self, *, strict: bool) -> None:
        """Tell how lines end, before the first piece.

        Args:
            strict: As in `popproxy.pop3.events.Data`.
        """
        self._unstuffer = Unstuffer(strict=strict)

    def feed(self, text: bytes) -> None:
        """Take the next piece of masked content, as it stood on the wire."""
        text = self._unstuffer.feed(text)
        self._hash.update(text)
        self.octets += len(text)
        if not self._split.ended:
            size = self._split.feed(text[: MAX_HEADERS - len(self.header)])
            self.header += text[:size]
            if len(self.header) >= MAX_HEADERS:
                self._split.ended = True

    def sha256(self) -> str:
        """Give the digest in hexadecimal digits."""
        return self._hash.hexdigest()
