"""Bytes of one direction to lines and multi-line content: incremental, linear, bounded.

Borders are found here without a look at what stands between them, so that malformed content never
changes where a line or a message ends.

`Stream` is what has been received and not yet given out. It remembers when its bytes were read,
so that each event can tell the reads that brought it. `Content` finds the end of a multi-line
response in a stream, or of a message that a client sends.

**Where a multi-line response ends** (RFC 1939, section 3): at a line that is a single dot. RFC 1939
knows one line end, CRLF. Servers that end their status line in CRLF are held to it: only
`CRLF . CRLF` ends the response (*strict*). If the status line ended in a bare LF, lines may end
either way. A lone dot between line ends of which one is a bare LF is counted as ambiguous: programs
that read line by line stop there. If it is the last thing that came and the client goes on to its
next command, the client took it for the end, and so does `Content` (`ambiguous_end`).

**Bounds.** A line is held up to `MAX_LINE` octets, content up to `PIECE` and a few more. Each octet
is searched once; `bytearray` drops its front and grows at its end in constant time an octet.
"""

from __future__ import annotations

from typing import NamedTuple

from popproxy.pop3.events import Read

MAX_LINE = 65_536
"""Octets of a line that are held. RFC 5034, section 4, asks for 12,288 and Kerberos tickets are
longer; servers close far below (Dovecot at 9,000)."""

PIECE = 65_536
"""Octets of a piece of content."""

READS_PER_EVENT = 1_024
"""Reads that are remembered apart; beyond it they are merged into the last."""

_KEPT = 5
"""Octets of content that are held back: as long as the end, `CRLF . CRLF`, so that no part of the
line with the dot is given out before it is known to be none."""

_CR, _LF = 13, 10

_OCTETS_PER_DOT = 256  # with more dots than that to look at one by one, one search is faster


_NO_OCTETS = bytearray()
_NO_READS: list[Read] = []
"""What all streams that hold nothing have in common; never changed."""


class Taken(NamedTuple):
    """Octets that left a stream.

    Attributes:
        raw: The octets.
        reads: How they arrived.
        joined: Whether the first of the reads brought octets that were taken before, too.
    """

    raw: bytes
    reads: tuple[Read, ...]
    joined: bool


class Stream:
    """The octets of one direction that have been received and not been given out.

    Attributes:
        ended: No more octets will come.
        head: The beginning of the overlong line that is under way, or empty.
    """

    __slots__ = ("_buffer", "_joined", "_reads", "_searched", "ended", "head")

    def __init__(self) -> None:
        self._buffer = _NO_OCTETS
        self._reads = _NO_READS  # no deque: an empty one takes 600 octets, and few get long
        self._joined = False
        self._searched = 0
        self.ended = False
        self.head = b""

    def __len__(self) -> int:
        """Octets held."""
        return len(self._buffer)

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Stream>"

    @property
    def untouched(self) -> bool:
        """Whether a new stream is as good."""
        return not (self._buffer or self.head or self.ended)

    @property
    def buffer(self) -> bytearray:
        """The octets held, to be read only."""
        return self._buffer

    def feed(self, data: bytes, at: int) -> None:
        """Take octets in.

        Args:
            data: What one read brought, at least one octet.
            at: When, on the monotonic clock, in nanoseconds.
        """
        if not self._buffer:
            self._buffer = bytearray(data)
            self._reads = [Read(at, len(data))]
            return
        self._buffer += data
        if len(self._reads) < READS_PER_EVENT:
            self._reads.append(Read(at, len(data)))
        else:
            last = self._reads[-1]
            self._reads[-1] = Read(last.at, last.size + len(data))

    def line_size(self) -> int:
        """Find the next line.

        Returns:
            Octets of the line with its LF; 0 if it has not come whole. A line of more than
            `MAX_LINE` octets is not found; see `part_due`.
        """
        index = self._buffer.find(b"\n", self._searched, MAX_LINE)
        if index < 0:
            self._searched = min(len(self._buffer), MAX_LINE)
            return 0
        self._searched = index
        return index + 1

    def part_due(self) -> bool:
        """Tell, when `line_size` is 0, whether `MAX_LINE` octets of one line are there."""
        return len(self._buffer) >= MAX_LINE

    def peek(self, size: int) -> bytes:
        """Copy the first octets.

        Args:
            size: How many.
        """
        return bytes(self._buffer[:size])

    def take(self, size: int) -> Taken:
        """Take octets out.

        Args:
            size: How many; no more than are held.

        Returns:
            The octets and how they arrived.
        """
        buffer, reads = self._buffer, self._reads
        joined = self._joined
        self._searched = 0
        if size == len(buffer):
            taken = Taken(bytes(buffer), tuple(reads), joined)
            self._buffer, self._reads = _NO_OCTETS, _NO_READS
            self._joined = False
            return taken
        raw = bytes(memoryview(buffer)[:size])
        del buffer[:size]
        parts: list[Read] = []
        while size:
            first = reads[0]
            if first.size > size:
                parts.append(Read(first.at, size))
                reads[0] = Read(first.at, first.size - size)
                self._joined = True
                break
            parts.append(reads.pop(0))
            size -= first.size
            self._joined = False
        return Taken(raw, tuple(parts), joined)


class Content:
    """The search for the end of the content that a stream brings.

    All positions count from the first octet that the stream holds.

    Attributes:
        strict: Whether lines end in CRLF only.
        ambiguous: How many lone dots stood between line ends of which one was a bare LF.
        unstuffed: How many lines began with a single dot and more.
    """

    __slots__ = (
        "_before",
        "_candidate",
        "_line",
        "_next",
        "_unread",
        "ambiguous",
        "strict",
        "unstuffed",
    )

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.ambiguous = 0
        self.unstuffed = 0
        self._before = b"\r\n"  # the two octets before the first: content begins a line
        self._next = 0  # a dot is looked for from here on
        self._candidate: tuple[int, int] | None = None
        # Where the line begins that may be a status line; negative if that has been given out.
        self._line = 0
        self._unread = 0  # its end is looked for from here on

    def find_end(self, stream: Stream, before: int | None = None) -> tuple[int, int] | None:
        """Search what has not been searched.

        Args:
            stream: The stream that brings the content.
            before: Octets behind which something else begins, if that is known: no dot there
                counts.

        Returns:
            Octets of content, and octets of the line with the dot behind it; None if the end has
            not come.
        """
        held, position = stream.buffer, self._next
        while True:
            if position == 0 and held[:1] == b"." and self._before[1:] == b"\n":
                dot = 0
            else:
                dot = _line_with_dot(held, position)
                if dot < 0:
                    self._next = len(held)
                    return None
            if before is not None and dot >= before:
                self._next = dot
                return None
            behind = bytes(held[dot + 1 : dot + 3])
            if behind in (b"", b"\r"):
                self._next = dot
                return None
            size = 3 if behind == b"\r\n" else 2
            position = dot + 1
            after_crlf = not self.strict or self._crlf_before(held, dot)
            if size == 2 and behind[:1] != b"\n":
                self.unstuffed += after_crlf and behind[:1] != b"."
            elif after_crlf and (size == 3 or not self.strict):
                return dot, size
            else:
                self.ambiguous += 1
                self._candidate = (dot, size)

    def _crlf_before(self, held: bytearray, dot: int) -> bool:
        """Tell whether CRLF stands before a dot that an LF stands before."""
        if dot >= 2:
            return held[dot - 2] == _CR
        return self._before == b"\r\n" if dot == 0 else self._before[1] == _CR

    def ambiguous_end(self, stream: Stream) -> tuple[int, int] | None:
        """Tell whether the stream holds nothing behind an ambiguous end.

        Args:
            stream: The stream, searched by `find_end`.

        Returns:
            As `find_end`.
        """
        found = self._candidate
        return found if found is not None and sum(found) == len(stream) else None

    def find_status(self, stream: Stream, *, expected: bool) -> int | None:
        """Look for a whole line that is a status line, in content of uncertain form.

        Args:
            stream: The stream that brings the content.
            expected: Whether a command waits whose response it could be. If not, the lines that
                have come count as content for good.

        Returns:
            Octets of content before it, or None.
        """
        held = stream.buffer
        while (end := held.find(b"\n", self._unread)) >= 0:
            self._unread = end + 1
            begin, self._line = self._line, end + 1
            begins = held[begin : begin + 4] if begin >= 0 else b""
            if expected and (begins[:3] == b"+OK" or begins == b"-ERR"):
                return begin
        self._unread = len(held)
        return None

    def taken(self, raw: bytes) -> None:
        """Note octets of content that were taken from the stream.

        Args:
            raw: The octets.
        """
        size = len(raw)
        self._before = (self._before + raw[-2:])[-2:]
        self._next = max(self._next - size, 0)
        self._line -= size
        self._unread = max(self._unread - size, 0)
        if self._candidate is not None:
            dot = self._candidate[0] - size
            self._candidate = (dot, self._candidate[1]) if dot >= 0 else None

    def spare(self, stream: Stream) -> int:
        """Tell how many octets surely are content, whatever follows.

        Args:
            stream: The stream, searched by `find_end`.
        """
        return max(len(stream) - _KEPT, 0)


def _line_with_dot(held: bytearray, position: int) -> int:
    """Find the next dot that begins a line.

    Dots are rare in most of what is long, since that is base64, and a search for one octet is
    twenty times as fast as one for two or three.

    Args:
        held: Octets.
        position: Where to begin; a dot may stand there.

    Returns:
        Where the dot stands; negative if there is none.
    """
    dot = held.find(b".", position)
    for _ in range((len(held) - position) // _OCTETS_PER_DOT + 1):
        if dot < 0 or (dot > 0 and held[dot - 1] == _LF):
            return dot
        dot = held.find(b".", dot + 1)
    if dot < 0:
        return dot
    found = held.find(b"\n.", max(dot - 1, 0))
    return found + 1 if found >= 0 else found


class Unstuffer:
    """Removes byte-stuffing (RFC 1939, section 3) from content that comes in pieces.

    The first octet of each line that begins with a dot is left out, whatever follows it.
    """

    __slots__ = ("_before", "_line_end")

    def __init__(self, *, strict: bool = True) -> None:
        self._line_end = b"\r\n" if strict else b"\n"
        self._before = b"\r\n"

    def feed(self, raw: bytes) -> bytes:
        """Take the next piece.

        Args:
            raw: Octets as they stand on the wire, without the line that ends the response.

        Returns:
            The same without byte-stuffing.
        """
        before, line_end = self._before, self._line_end
        if not raw:
            return raw
        self._before = (before + raw[-2:])[-2:]
        seam = before[-len(line_end) :]
        if seam == line_end and raw[:1] == b".":
            raw = raw[1:]
        elif line_end == b"\r\n" and before[1:] == b"\r" and raw[:2] == b"\n.":
            raw = b"\n" + raw[2:]
        return _without_stuffing(raw, line_end)


def _without_stuffing(raw: bytes, line_end: bytes) -> bytes:
    """Remove byte-stuffing behind line ends; see `_line_with_dot`."""
    pieces: list[bytes] = []
    begin, size = 0, len(line_end)
    dot = raw.find(b".")
    for _ in range(len(raw) // _OCTETS_PER_DOT + 1):
        if dot < 0:
            break
        if dot >= begin + size and raw[dot - size : dot] == line_end:
            pieces.append(raw[begin:dot])
            begin = dot + 1
        dot = raw.find(b".", dot + 1)
    if dot >= 0:
        return raw.replace(line_end + b".", line_end)
    if not pieces:
        return raw
    pieces.append(raw[begin:])
    return b"".join(pieces)
