"""One output being written: records become octets in chunks, and a chunk stays until it is safe.

Records wait as they are and are encoded just before they are written, so that a blocked output
costs memory for records only. A chunk of encoded records is kept until all of it is in the file,
and the file still has a name; only then do its records count as written.
"""

from __future__ import annotations

import bisect
import errno
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from popproxy.formats import Writer
from popproxy.records import Record
from popproxy.sinks.backlog import gap_after
from popproxy.sinks.base import Notices
from popproxy.sinks.keeping import Closing, Keeping
from popproxy.sinks.target import Target
from popproxy.sinks.turns import Turns

CHUNK = 256 * 1024
"""Weight of the records that are written at once, give or take a record."""

_ATTEMPTS = 3  # How often in a row a file may be deleted under our hands.


class Output:
    """The records of one file or stream, in the order in which they were put.

    Attributes:
        target: What is written to.
        failing: Whether people should know that it is not written.
        retry_at: Monotonic time before which it is not tried again.
        blocked_since: Monotonic time since which there was no room; 0 if there is.
    """

    __slots__ = (
        "_chunk",
        "_ended",
        "_ending",
        "_entries",
        "_keeping",
        "_make_writer",
        "_notices",
        "_on_lost",
        "_predecessor",
        "_tail",
        "_writer",
        "blocked_since",
        "failing",
        "retry_at",
        "target",
    )

    def __init__(
        self,
        target: Target,
        make_writer: Callable[[], Writer],
        *,
        notices: Notices,
        on_lost: Callable[[Record], None],
        keeping: Keeping | None = None,
    ) -> None:
        """Take charge of a target.

        Args:
            target: What to write to.
            make_writer: Makes the format's writer; once more when the file has to begin anew.
            notices: Where to tell people about trouble.
            on_lost: Called with a record that the format could not express.
            keeping: What else is done with the target's file.
        """
        self.target = target
        self.failing = False
        self.retry_at = 0.0
        self.blocked_since = 0.0
        self._make_writer = make_writer
        self._writer = make_writer()
        self._notices = notices
        self._on_lost = on_lost
        self._entries: list[tuple[int, int, Record]] | None = None  # while none wait
        self._ending = False
        self._ended = False
        self._predecessor: Output | None = None
        self._chunk = _NO_CHUNK
        self._keeping = keeping
        self._tail: memoryview | None = None  # what a file that was set aside still lacks

    @property
    def unwritten(self) -> int:
        """Records that wait, those included that are partly written."""
        return len(self._entries or ()) + len(self._chunk.records)

    @property
    def first_unwritten(self) -> int | None:
        """Number of the first record that waits."""
        if self._chunk.records:
            return self._chunk.number
        return self._entries[0][0] if self._entries else None

    @property
    def ending(self) -> bool:
        """Whether nothing more will be added."""
        return self._ending

    @property
    def waits_for_another(self) -> bool:
        """Whether another output has to be written first."""
        if self._predecessor is not None and self._predecessor.ended:
            self._predecessor = None
        return self._predecessor is not None

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not (self._entries or self._chunk.filled or (self._ending and not self._ended))

    @property
    def ended(self) -> bool:
        """Whether everything, the end included, was written."""
        return self._ended and self.idle

    def add(self, number: int, weight: int, record: Record) -> None:
        """Add a record.

        Args:
            number: The number of the record in the sink.
            weight: What `step` is to return when it is written; 0 for a gap of our own.
            record: The record.
        """
        if self._entries is None:
            self._entries = []
        self._entries.append((number, weight, record))

    def follow(self, predecessor: Output) -> None:
        """Be written behind what another output has still to write to the same file."""
        self._predecessor = predecessor

    def end(self) -> None:
        """Nothing more will be added; the format's end is written behind what waits."""
        self._ending = True

    def prepare(self, turns: Turns | None = None) -> None:
        """Encode the chunk that `step` writes next, unless that was done before.

        Args:
            turns: Those of the thread.
        """
        if not self._chunk.filled and not self.idle:
            self._fill(turns or Turns())

    def step(self) -> tuple[int, int] | None:
        """Encode and write one chunk.

        Returns:
            Weight and number of the records written, or None if nothing waits.

        Raises:
            BlockingIOError: There is no room now; call again.
            OSError: It failed; nothing is lost, call again later.
        """
        self.prepare()
        if not self._chunk.filled:
            return None
        if self._chunk.octets or (self._chunk.ends and self._has_books):
            self._write()
            self._tell_written()
        written, self._chunk = self._chunk, _NO_CHUNK
        return written.weight, written.count

    def _fill(self, turns: Turns) -> None:
        chunk = self._chunk = _Chunk(filled=True)
        entries = self._entries or []
        chunk.number = entries[0][0] if entries else 0
        for _, weight, record in entries:
            if chunk.weight >= CHUNK:
                break
            chunk.records.append(record)
            chunk.weight += weight
            chunk.count += weight > 0
        del entries[: len(chunk.records)]
        self._entries = entries or None
        if self._ending and not self._entries:
            self._ended = chunk.ends = True
        self._encode(turns)

    def _encode(self, turns: Turns) -> None:
        chunk = self._chunk
        chunk.parts = []
        for place, record in enumerate(chunk.records):
            turns.offer()
            part = self._octets_of(record)
            if part is None:
                self._on_lost(record)
                gap = gap_after(record, 1, "a defect: the format could not express it")
                chunk.records[place] = gap
                part = self._octets_of(gap)
            chunk.parts.append(part or b"")
        if chunk.ends:
            chunk.parts.append(self._octets_of_end())
        chunk.octets = b"".join(chunk.parts)
        chunk.plain = chunk.parts
        chunk.sealed = False
        chunk.done = 0

    def _octets_of(self, record: Record) -> bytes | None:
        try:
            return self._writer.write(record)
        except Exception as error:  # noqa: BLE001 -- a defect in a format must not end the log (P25)
            self._report(error)
            return None

    def _octets_of_end(self) -> bytes:
        try:
            return self._writer.end()
        except Exception as error:  # noqa: BLE001 -- as above; the file only lacks its end
            self._report(error)
            return b""

    def _report(self, error: Exception) -> None:
        # The type alone: the message may quote the record (P15).
        self._notices.warn(
            "record_not_encoded",
            f"{self.target.name}: a record could not be written ({type(error).__name__}); this is"
            " a defect in popproxy, please report it; the traffic is not affected",
            error=type(error).__name__,
        )

    def _write(self) -> None:
        if self._tail is not None:
            self._write_tail()
        for _ in range(_ATTEMPTS):
            held = self.target.is_open
            anew = self.target.open()
            if anew:
                self._begin_anew()
            if self._set_aside():
                self.target.open()
                self._begin_anew()
                held = False
            self._seal(opened=anew or not held)
            if not self._write_chunk():
                return
            self.target.close()
            self._notices.warn(
                "output_trouble",
                f"{self.target.name} was removed while it was written; it is made anew",
                cause="removed",
            )
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _sync_written(self) -> None:
        if self._keeping is not None:
            self._keeping.wrote()

    @property
    def sync_at(self) -> float:
        """Monotonic time at which to call `sync`; 0 if nothing waits for the disk."""
        return self._keeping.sync_at if self._keeping is not None else 0.0

    def sync(self) -> None:
        """Wait until the disk has what was written, if that was asked for."""
        if self._keeping is not None:
            self._keeping.sync()

    def _begin_anew(self) -> None:
        self._writer = self._make_writer()
        self._encode(Turns())

    def _set_aside(self) -> bool:
        """Let the open file end here, between two records, if it is full."""
        chunk, keeping = self._chunk, self._keeping
        if keeping is None or chunk.done or not chunk.records:
            return False
        if not keeping.set_aside(len(chunk.octets)):
            return False
        self._tail = memoryview(self._octets_of_end() + self._closing("rotated"))
        self._write_tail()
        return True

    def _write_tail(self) -> None:
        while self._tail:
            self._tail = self._tail[self.target.write(self._tail) :]
        self._sync_written()
        self._tail = None
        self._tell_written()
        self.sync()
        self.target.close()

    @property
    def _has_books(self) -> bool:
        """Whether there is a file whose end a keeper wants to write; it may be closed for now."""
        keeping = self._keeping
        if keeping is None or keeping.keeper is None:
            return False
        return self.target.is_open or keeping.keeper.lacks_end

    def _seal(self, *, opened: bool) -> None:
        """Have the keeper, if there is one, put its octets into the chunk."""
        chunk, keeping = self._chunk, self._keeping
        if keeping is None or keeping.keeper is None or chunk.done:
            return
        if chunk.sealed and not opened:
            return
        keeper, parts = keeping.keeper, []
        if opened:
            parts.append(keeper.opened(self.target.name, keeping.size))
        parts += [keeper.seal(part) for part in chunk.plain]
        if chunk.ends:
            parts.append(self._closing("ended"))
        chunk.parts = parts
        chunk.octets = b"".join(parts)
        chunk.sealed = True

    def _closing(self, reason: Closing) -> bytes:
        keeping = self._keeping
        return b"" if keeping is None or keeping.keeper is None else keeping.keeper.closing(reason)

    def _tell_written(self) -> None:
        if self._keeping is not None and self._keeping.keeper is not None:
            self._keeping.keeper.written()

    def _write_chunk(self) -> bool:
        """Write what is missing of the chunk; True if the file was deleted meanwhile."""
        chunk = self._chunk
        try:
            while chunk.done < len(chunk.octets):
                chunk.done += self.target.write(memoryview(chunk.octets)[chunk.done :])
            self._sync_written()
            return self.target.vanished()
        except BlockingIOError:
            raise
        except OSError:
            border = 0 if self._undone() else chunk.border()
            if border == chunk.done or self.target.cut(chunk.done - border):
                chunk.done = border
            self.target.close()
            raise

    def _undone(self) -> bool:
        """Take a chunk off a keeper's file, whose books end in front of it."""
        chunk, keeping = self._chunk, self._keeping
        if keeping is None or keeping.keeper is None or not chunk.done:
            return False
        before = keeping.size - chunk.done
        self.target.cut(chunk.done)
        if before < 0 or keeping.size != before:
            return False
        chunk.done = 0
        return True

    def release(self) -> None:
        """Give the descriptor back; the next record opens the file again by its name."""
        if not self._chunk.done and self._tail is None:
            self.sync()
            self.target.close()


@dataclass(slots=True, repr=False)
class _Chunk:
    """Records on their way into the file.

    Attributes:
        filled: Whether records were taken into it.
        number: Number of the first record.
        weight: What the records weigh.
        count: How many they are, gaps of our own not counted.
        ends: The format's end stands behind them.
        plain: Each record's octets, and the end's, as the format has them.
        parts: The same as they are written, with a keeper's octets.
        sealed: Whether a keeper has seen them.
        octets: The parts, joined.
        done: How many octets are written.
    """

    filled: bool = False
    number: int = 0
    weight: int = 0
    count: int = 0
    ends: bool = False
    records: list[Record] = field(default_factory=list)
    plain: list[bytes] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    sealed: bool = False
    octets: bytes = b""
    done: int = 0

    def border(self) -> int:
        """Give the end of the last record that is written whole."""
        borders = [0, *itertools.accumulate(map(len, self.parts))]
        return borders[bisect.bisect_right(borders, self.done) - 1]


_NO_CHUNK = _Chunk()
"""What all outputs that have nothing on its way have in common; never changed."""
