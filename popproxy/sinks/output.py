"""One output being written: records become octets in chunks, and a chunk stays until it is safe.

Records wait as they are and are encoded just before they are written, so that a blocked output
costs memory for records only. A chunk of encoded records is kept until all of it is in the file,
and the file still has a name; only then do its records count as written.
"""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from collections.abc import Callable

from popproxy.formats import Writer
from popproxy.records import Record
from popproxy.sinks.backlog import gap_after
from popproxy.sinks.base import Notices
from popproxy.sinks.target import Target

CHUNK = 128 * 1024
"""Octets that are written at once, give or take a record."""

_ATTEMPTS = 3  # How often in a row a file may be deleted under our hands.


class Output:
    """The records of one file or stream, in the order in which they were put.

    Attributes:
        target: What is written to.
        failing: Whether people should know that it is not written.
        retry_at: Monotonic time before which it is not tried again.
        blocked_since: Monotonic time since which there was no room; 0 if there is.
    """

    def __init__(
        self,
        target: Target,
        writer: Writer,
        *,
        notices: Notices,
        on_lost: Callable[[Record], None],
    ) -> None:
        """Take charge of a target.

        Args:
            target: What to write to.
            writer: The format.
            notices: Where to tell people about trouble.
            on_lost: Called with a record that the format could not express.
        """
        self.target = target
        self.failing = False
        self.retry_at = 0.0
        self.blocked_since = 0.0
        self._writer = writer
        self._notices = notices
        self._on_lost = on_lost
        self._entries: deque[tuple[int, int, Record]] = deque()
        self._ending = False
        self._ended = False
        self._unencodable: tuple[Record, int] | None = None
        self._clear_chunk()

    def _clear_chunk(self) -> None:
        self._parts: list[bytes] = []
        self._chunk = b""
        self._done = 0
        self._number = 0
        self._weight = 0
        self._count = 0
        self._records = 0  # of the entries: those that were put, and are not gaps of our own

    @property
    def unwritten(self) -> int:
        """Records that wait, those included that are partly written."""
        return len(self._entries) + self._count

    @property
    def first_unwritten(self) -> int | None:
        """Number of the first record that waits."""
        if self._count:
            return self._number
        return self._entries[0][0] if self._entries else None

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not (self._entries or self._count or self._chunk or self._must_end)

    @property
    def ended(self) -> bool:
        """Whether everything, the end included, was written."""
        return self._ended and self.idle

    @property
    def _must_end(self) -> bool:
        return self._ending and not self._ended

    def add(self, number: int, weight: int, record: Record) -> None:
        """Add a record.

        Args:
            number: The number of the record in the sink.
            weight: What `step` is to return when it is written; 0 for a gap of our own.
            record: The record.
        """
        self._entries.append((number, weight, record))

    def end(self) -> None:
        """Nothing more will be added; the format's end is written behind what waits."""
        self._ending = True

    def step(self) -> tuple[int, int] | None:
        """Encode and write one chunk.

        Returns:
            Weight and number of the records written, or None if nothing waits.

        Raises:
            BlockingIOError: There is no room now; call again.
            OSError: It failed; nothing is lost, call again later.
        """
        if self.idle:
            return None
        if not (self._chunk or self._count):
            self._encode()
        if self._chunk:
            self._write()
        written = self._weight, self._records
        self._clear_chunk()
        return written

    def _encode(self) -> None:
        size = 0
        self._number = self._entries[0][0] if self._entries else 0
        while self._entries and size < CHUNK:
            _, weight, record = self._entries.popleft()
            part = self._octets_of(record)
            self._count += 1
            self._weight += weight
            self._records += weight > 0
            size += self._add_part(part)
        self._add_part(self._gap())
        if self._must_end and not self._entries:
            self._ended = True
            self._add_part(self._octets_of_end())
        self._chunk = b"".join(self._parts)

    def _add_part(self, part: bytes) -> int:
        if part:
            self._parts.append(part)
        return len(part)

    def _octets_of(self, record: Record) -> bytes:
        try:
            part = self._writer.write(record)
        except Exception as error:  # noqa: BLE001 -- a defect in a format must not end the log (P25)
            self._report(error)
            first, count = self._unencodable or (record, 0)
            self._unencodable = (first, count + 1)
            self._on_lost(record)
            return b""
        return self._gap() + part if self._unencodable else part

    def _gap(self) -> bytes:
        if self._unencodable is None:
            return b""
        first, count = self._unencodable
        self._unencodable = None
        try:
            return self._writer.write(gap_after(first, count, "the format failed to write them"))
        except Exception as error:  # noqa: BLE001 -- as above; the loss is counted all the same
            self._report(error)
            return b""

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
        for _ in range(_ATTEMPTS):
            self.target.open()
            try:
                while self._done < len(self._chunk):
                    self._done += self.target.write(memoryview(self._chunk)[self._done :])
                vanished = self.target.vanished()
            except BlockingIOError:
                raise
            except OSError:
                self._done = self._restart()
                self.target.close()
                raise
            if not vanished:
                return
            self.target.close()
            self._done = 0
            self._notices.warn(
                "output_trouble",
                f"{self.target.name} was removed while it was written; it is made anew",
                cause="removed",
            )
        raise FileNotFoundError("the file is removed again and again")

    def _restart(self) -> int:
        """Give the place in the chunk from which to go on after a failure."""
        borders = [0, *itertools.accumulate(map(len, self._parts))]
        border = borders[bisect.bisect_right(borders, self._done) - 1]
        if border == self._done or self.target.cut(self._done - border):
            return border
        return self._done

    def release(self) -> None:
        """Give the descriptor back; the next record opens the file again by its name."""
        if self._done == 0:
            self.target.close()
