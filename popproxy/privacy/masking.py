"""Putting the mask in place of what was found, and the reads of a text that was masked.

Two rules keep figures from telling how long a secret is (P03). The mask has one width, and a text
counts as it looks masked. And from the first mask to the end of a line, or of a multi-line
response, all reads count as one: where a read ended in or behind a secret depends on its length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from popproxy.pop3.events import Read
from popproxy.privacy.commands import MASKED
from popproxy.privacy.forms import Span
from popproxy.privacy.learned import REACH, Learned

MAX_HELD = 262_144
"""Octets that are held back at most for a secret that may go on."""


def replace(data: bytes, spans: Sequence[Span]) -> tuple[bytes, list[int]]:
    """Put the mask in place of spans.

    Args:
        data: The text.
        spans: What to mask: in order, apart from each other.

    Returns:
        The masked text, and where in it the masks begin.
    """
    pieces: list[bytes] = []
    places: list[int] = []
    position = size = 0
    for start, end in spans:
        pieces += (data[position:start], MASKED)
        size += start - position
        places.append(size)
        size += len(MASKED)
        position = end
    pieces.append(data[position:])
    return b"".join(pieces), places


def reads_of(reads: Sequence[Read], hidden_from: int | None, size: int) -> Sequence[Read]:
    """Give the reads of a masked line.

    Args:
        reads: The reads of the line as it was sent.
        hidden_from: Octets of it before the first mask; None if there is none.
        size: Octets of the masked line.

    Returns:
        The reads up to the one that brought what is masked, which counts for all the rest.
    """
    if hidden_from is None:
        return reads
    found: list[Read] = []
    before = 0
    for read in reads:
        if before + read.size > hidden_from:
            found.append(Read(read.at, size - before))
            break
        found.append(read)
        before += read.size
    else:  # the line was cut off before what the mask stands for
        if found:
            found.append(Read(found[-1].at, found.pop().size + size - before))
    return found


def _cut(size: int, spans: Sequence[Span]) -> int:
    """Find the last place behind which at least `REACH` octets stand, in masked form, too.

    Args:
        size: Octets of a text.
        spans: What is masked in it.
    """
    reach, behind = REACH, size
    for start, end in reversed(spans):
        if behind - end >= reach:
            break
        reach -= behind - end + len(MASKED)
        behind = start
    return max(behind - max(reach, 0), 0)


class Masked(NamedTuple):
    """Content that was masked and may be told.

    Attributes:
        text: The content.
        masks: Where in it masks begin.
        reads: How it arrived.
        joined: Whether the first of the reads brought content that was given out before, too.
    """

    text: bytes
    masks: list[int]
    reads: list[Read]
    joined: bool


class MaskedStream:
    """Masks content that comes in pieces, wherever they were cut.

    What may still turn out to be part of a secret is held back: always the last `REACH` octets,
    whether or not secrets are known, since otherwise where a record ends would tell something of
    them; and more, up to `MAX_HELD`, while something that was found may go on. Secrets among them
    count as they look masked, since where a record ends would otherwise tell how long they are.

    Attributes:
        masked: Whether a mask was put in so far.
    """

    __slots__ = (
        "_collapsed",
        "_held",
        "_hidden",
        "_joined",
        "_learned",
        "_pieces",
        "_reads",
        "masked",
    )

    def __init__(self, learned: Learned) -> None:
        self._learned = learned
        self._pieces: list[bytes] = []
        self._held = 0
        self._reads: deque[Read] = deque()
        self._joined = False
        self._collapsed: int | None = None  # when what is masked came: all reads behind count as it
        self._hidden = False
        self.masked = False

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<MaskedStream>"

    def __len__(self) -> int:
        """Octets held."""
        return self._held

    def end(self, size: int) -> Read | None:
        """Give the read that the end of a masked response counts as part of.

        Args:
            size: Octets of the line that ends it.

        Returns:
            The read that brought what was masked first; None if nothing was masked.
        """
        return None if self._collapsed is None else Read(self._collapsed, size)

    def add(self, raw: bytes, reads: Sequence[Read], *, joined: bool) -> None:
        """Take a piece in.

        Args:
            raw: The piece.
            reads: How it arrived.
            joined: Whether the first of the reads is the rest of the read before.
        """
        if not self._held and self._collapsed is None:
            self._joined = joined
        elif joined and self._reads:
            last = self._reads.pop()
            self._reads.append(Read(last.at, last.size + reads[0].size))
            reads = reads[1:]
        self._pieces.append(raw)
        self._held += len(raw)
        if self._collapsed is None:
            self._reads.extend(reads)

    def take(self, *, everything: bool) -> Masked:
        """Give out what may be told.

        Args:
            everything: No more will come.
        """
        data = b"".join(self._pieces)
        if self._learned.overflowed:
            return self._hide(data)
        found = self._learned.find(data)
        spans, cut = found.spans, len(data)
        if not everything:
            cut = _cut(len(data), spans)
            if found.unfinished is not None:
                cut = min(cut, found.unfinished)
                for start, end in spans:
                    if start < cut < end:  # it stands right behind another, and counts as one
                        cut = start
            if len(data) - cut > MAX_HELD:
                self._learned.overflow()  # what was found goes on and on
                return self._hide(data)
            spans = [span for span in spans if span[1] <= cut]
        self._pieces, self._held = [data[cut:]], len(data) - cut
        text, masks = replace(data[:cut], spans) if spans else (data[:cut], [])
        return self._with_reads(text, masks, cut, spans[0][0] if spans else None)

    def _hide(self, data: bytes) -> Masked:
        """Tell nothing of content from here on, but that there is some."""
        self._pieces, self._held = [], 0
        text, masks = (b"", []) if self._hidden or not data else (MASKED, [0])
        self._hidden = self._hidden or bool(data)
        return self._with_reads(text, masks, 0, 0 if text else None)

    def _with_reads(
        self, text: bytes, masks: list[int], size: int, hidden_from: int | None
    ) -> Masked:
        joined, reads = self._joined, self._reads
        if self._collapsed is not None:
            given = [Read(self._collapsed, len(text))] if text else []
            return Masked(text, masks, given, joined=True)
        given = []
        left = size if hidden_from is None else hidden_from
        while left:
            first = reads[0]
            if first.size > left:
                given.append(Read(first.at, left))
                reads[0] = Read(first.at, first.size - left)
                self._joined = True
                break
            given.append(reads.popleft())
            left -= first.size
            self._joined = False
        if hidden_from is not None:
            self.masked = True
            self._collapsed = reads[0].at
            rest = len(text) - hidden_from
            if self._joined and given:
                rest += given.pop().size
            given.append(Read(self._collapsed, rest))
            reads.clear()
        return Masked(text, masks, given, joined)
