"""A spool: messages that wait on disk for a collector, bounded, in the order in which they came.

Every message has a number, from 0, in the life of the spool's folder. The messages lie in segment
files, each named by the number of its first, as entries of length, CRC and octets. Entries are
appended with one `write`, so that a SIGKILL leaves whole entries; a power cut may leave a torn one
at the end, where reading stops. After a restart a new segment is begun, nothing is written behind
what may be torn.

The file `position` holds the number of the first message that is not known to be with the
collector. It is written before the segments in front of it are deleted, so that what is missing
between it and the first segment has really been lost: dropped because the spool was full, or
deleted by somebody. How many messages that are thus follows from numbers alone, also after a crash.

All methods may be called by several threads.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import fcntl
import os
import threading
from typing import NamedTuple

from popproxy.sinks.files import FILE_MODE, open_directory
from popproxy.sinks.spool_entries import (
    FLAGS,
    HEAD,
    POSITION,
    SUFFIX,
    Segment,
    measured,
    octets_at,
    pack_position,
    position_in,
)
from popproxy.sinks.spool_reader import Reader

_SEGMENTS = 8
"""Into how many segments the room is divided; one of them is dropped at a time."""
LEAST_SIZE = 1024 * 1024
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR})
"""Errors that say nothing about the file."""


def largest(size: int) -> int:
    """Give the octets of the largest message that a spool of this size takes."""
    return size // _SEGMENTS - HEAD


class Batch(NamedTuple):
    """Messages that were read.

    Attributes:
        missing: How many messages in front of them are gone.
        damaged: They are gone because a file is damaged, not because the spool was full.
        messages: The messages.
        end: The number behind the last of them.
    """

    missing: int
    damaged: bool
    messages: list[bytes]
    end: int


class Spool:
    """The messages of one collector.

    Attributes:
        path: The folder.
        keep: Rather than drop what was not delivered, refuse more (ENOSPC).
        lost: Messages that were dropped before they were sent, since this object was made.
    """

    def __init__(self, path: str, size: int) -> None:
        """Prepare; nothing is opened before the first use.

        Args:
            path: The folder; made with mode 0700 if it is missing.
            size: Octets on disk, at most, but for a few of bookkeeping.
        """
        self.path = path
        self.keep = False
        self.lost = 0
        self._size = size
        self._lock = threading.Lock()
        self._directory: int | None = None
        self._locked: int | None = None
        self._position_file = -1
        self._writing: int | None = None  # of the last segment
        self._reader = Reader()
        self._segments: list[Segment] = []
        self._end = 0  # the number of the next message
        self._next: int | None = None  # the number of the message that is read next
        self._confirmed = 0
        self._persisted = -1
        self._unsynced = False

    # Opening and closing. The caller of what begins with _ holds the lock.

    def open(self) -> None:
        """Open it, unless it is open.

        Raises:
            OSError: It cannot be; EBUSY if another process has it.
        """
        with self._lock:
            self._open()

    def _open(self) -> None:
        if self._directory is not None:
            return
        directory = open_directory(self.path)
        try:
            self._take_lock(directory)
            self._load(directory)
        except BaseException:
            self._release()
            os.close(directory)
            raise
        self._directory = directory

    def _take_lock(self, directory: int) -> None:
        self._locked = os.open("lock", os.O_RDWR | os.O_CREAT | FLAGS, FILE_MODE, dir_fd=directory)
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY)) from None

    def _load(self, directory: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | FLAGS
        self._position_file = os.open("position", flags, FILE_MODE, dir_fd=directory)
        position = position_in(os.pread(self._position_file, POSITION, 0))
        names = [name for name in os.listdir(directory) if name.endswith(SUFFIX)]
        firsts = sorted(int(name[: -len(SUFFIX)]) for name in names if name[:20].isdecimal())
        self._segments = []
        for first in firsts:
            segment = Segment(first)
            segment.octets, segment.count = measured(directory, segment.name)
            self._segments.append(segment)
        for segment, following in zip(self._segments, self._segments[1:], strict=False):
            segment.count = following.first - segment.first
        oldest = self._segments[0].first if self._segments else 0
        latest = self._segments[-1].end if self._segments else 0
        if self._next is None:  # else the folder is opened anew, and we know better
            self._confirmed = oldest if position is None else position
            self._next = self._confirmed
        self._end = max(self._end, latest, self._confirmed)
        self._persisted = -1 if position is None else position
        # A new spool's too: without it, what is dropped before the first confirmation is not known.
        with contextlib.suppress(OSError):
            self._write_position()

    def close(self) -> None:
        """Write the position down and give everything back; what waits stays on disk."""
        with self._lock:
            if self._directory is not None:
                with contextlib.suppress(OSError):
                    self._persist()
            self._shut()

    def _shut(self) -> None:
        self._release()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    def _release(self) -> None:
        self._reader.close()
        for descriptor in (self._writing, self._locked, self._position_file):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._writing, self._locked, self._position_file = None, None, -1

    # Writing.

    def append(self, entries: bytes | memoryview) -> int:
        """Append entries that `spool_entries.pack` made.

        Returns:
            The octets that were taken: whole entries, one at least.

        Raises:
            OSError: Nothing was taken. ENOSPC also if the spool is full and drops nothing.
        """
        view, done = memoryview(entries), 0
        with self._lock:
            while done < len(view):
                try:
                    done += self._append_some(view[done:])
                except OSError:
                    if done:
                        break
                    raise
        return done

    def _append_some(self, view: memoryview) -> int:
        self._open()
        limit = self._size // _SEGMENTS
        if self._writing is None or self._segments[-1].octets + octets_at(view, 0) > limit:
            self._begin_segment(limit)
        segment, taken, count = self._segments[-1], 0, 0
        while taken < len(view):
            octets = octets_at(view, taken)
            if count and segment.octets + taken + octets > limit:
                break
            taken, count = taken + octets, count + 1
        assert self._writing is not None  # noqa: S101 - a segment was begun
        try:
            written = os.write(self._writing, view[:taken])
        except OSError:
            self._abandon_segment(segment)
            raise
        if written < taken:
            self._abandon_segment(segment)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        segment.octets += taken
        segment.count += count
        self._end += count
        self._unsynced = True
        return taken

    def _begin_segment(self, limit: int) -> None:
        while self._segments and self.octets + limit > self._size:
            self._drop_oldest()
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None
        segment = Segment(self._end)
        if self._segments and self._segments[-1].first == segment.first:
            self._segments.pop()  # nothing whole was ever in it
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | FLAGS
        try:
            self._writing = os.open(segment.name, flags, FILE_MODE, dir_fd=self._directory)
        except OSError:
            self._shut()  # the folder may be gone: it is made again
            raise
        self._segments.append(segment)

    def _abandon_segment(self, segment: Segment) -> None:
        """Leave behind what is torn; the next entry begins another segment."""
        assert self._writing is not None  # noqa: S101 - it was written to
        with contextlib.suppress(OSError):
            os.ftruncate(self._writing, segment.octets)
        os.close(self._writing)
        self._writing = None

    def _drop_oldest(self) -> None:
        oldest = self._segments[0]
        if self.keep and oldest.end > self._confirmed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.lost += max(0, oldest.end - max(oldest.first, self._next or 0))
        self._delete_oldest()

    def _delete_oldest(self) -> None:
        oldest = self._segments.pop(0)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(oldest.name, dir_fd=self._directory)
        if not self._segments and self._writing is not None:
            os.close(self._writing)
            self._writing = None
        self._reader.close(oldest)

    @property
    def octets(self) -> int:
        """How much is on disk."""
        return sum(segment.octets for segment in self._segments)

    def sync(self) -> None:
        """Have the system write to the disk what was appended (`fsync`)."""
        with self._lock:
            if not self._unsynced or self._writing is None:
                return
            self._unsynced = False
            descriptor = os.dup(self._writing)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # Reading.

    @property
    def waiting(self) -> int:
        """How many messages are not known to be with the collector."""
        return self._end - self._confirmed

    @property
    def end(self) -> int:
        """The number behind the last message."""
        return self._end

    @property
    def untidy(self) -> bool:
        """Whether there is something for `persist` or `sync` to do."""
        return self._unsynced or self._confirmed != self._persisted

    @property
    def unread(self) -> int:
        """How many messages have still to be sent."""
        return self._end - (self._next or 0)

    def read(self, octets: int) -> Batch:
        """Read on where reading stopped.

        Args:
            octets: About how much; one message at least, if there is one.

        Raises:
            OSError: It failed, and may work later.
        """
        with self._lock:
            self._open()
            assert self._next is not None  # noqa: S101 - opening sets it
            first = self._segments[0].first if self._segments else self._end
            if self._next < first:
                return self._skip(first, damaged=False)
            if self._next >= self._end:
                return Batch(0, False, [], self._end)
            place = bisect.bisect_right(self._segments, self._next, key=lambda one: one.first) - 1
            segment = self._segments[place]
            try:
                messages = self._reader.read(self._directory, segment, self._next, octets)
            except OSError as error:
                if error.errno in _SHORT:
                    raise
                messages = []
            if not messages:
                later = self._segments[place + 1 :]
                return self._skip(later[0].first if later else self._end, damaged=True)
            self._next += len(messages)
            return Batch(0, False, messages, self._next)

    def _skip(self, number: int, *, damaged: bool) -> Batch:
        assert self._next is not None  # noqa: S101 - opening sets it
        missing, self._next = number - self._next, number
        return Batch(missing, damaged, [], number)

    def rewind(self) -> None:
        """Read again from the first message that is not known to be with the collector."""
        with self._lock:
            if self._next is not None:
                self._next = self._confirmed

    def confirm(self, number: int) -> None:
        """All messages in front of a number are with the collector."""
        with self._lock:
            self._confirmed = max(self._confirmed, number)

    def persist(self) -> None:
        """Write down what was confirmed, and delete the segments that hold nothing else.

        Raises:
            OSError: It failed; call again.
        """
        with self._lock:
            if self._directory is not None:
                self._persist()

    def _write_position(self) -> None:
        if self._confirmed != self._persisted:
            os.pwrite(self._position_file, pack_position(self._confirmed), 0)
            self._persisted = self._confirmed

    def _persist(self) -> None:
        self._write_position()
        if self._segments and self._segments[0].end <= self._confirmed:
            # The number first, else after a power cut what was deleted would pass for lost.
            os.fsync(self._position_file)
        # The last one too, if all of it is delivered: it holds records, and is of no use.
        while self._segments and self._segments[0].end <= self._confirmed:
            self._delete_oldest()
