"""Descriptors that logs are written to: files opened by name, and streams that are open already.

A target never lets two records run into each other (P61). When a write failed in the middle of a
record, the file is cut back to where that record began, provided that nobody else has appended to
it since; where that is impossible, line-based formats get a newline first, and the whole record is
written once more behind it. The same newline ends a line that an earlier process left torn.

No call waits longer than `PATIENCE` for a FIFO, pipe or terminal that is full.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from datetime import datetime
from typing import Protocol

from popproxy.sinks.base import Notices
from popproxy.sinks.files import (
    lock,
    open_log,
    readable_by_others,
    set_aside,
    sync_directory,
)

PATIENCE = 0.05
"""Seconds to wait for room in a pipe before other outputs get their turn."""


class Target(Protocol):
    """What an output is written to. Only the sink's thread calls it."""

    @property
    def name(self) -> str:
        """What people call it: the path, or `standard output`."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it holds a descriptor of its own that `close` would give back."""
        ...

    def open(self) -> bool:
        """Make ready for writing whole records.

        Returns:
            True if what was written before is no longer in front of what comes now, because the
            file was replaced or truncated: the format has to begin anew.

        Raises:
            OSError: It cannot be opened.
        """
        ...

    def write(self, data: memoryview) -> int:
        """Write some octets, and say how many.

        Raises:
            BlockingIOError: No room within `PATIENCE`.
            OSError: It failed.
        """
        ...

    def cut(self, excess: int) -> bool:
        """Undo the last octets written, the beginning of a record, after a failure.

        Returns:
            True if the record can be written anew from its beginning; False if only what is
            missing of it may follow.
        """
        ...

    def vanished(self) -> bool:
        """Tell, after writing, whether the file was deleted while it was open."""
        ...

    def close(self) -> None:
        """Close it; `open` opens it again by its name."""
        ...


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _cut_back(descriptor: int, excess: int) -> bool:
    """Take the last octets off a regular file, if it ends with what we wrote last."""
    try:
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_size != end:
            return False
        os.ftruncate(descriptor, end - excess)
        os.lseek(descriptor, end - excess, os.SEEK_SET)
    except OSError:
        return False
    return True


def _wait_for_room(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(PATIENCE * 1000):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class FileTarget:
    """A file, FIFO or device that is opened by its name."""

    __slots__ = (
        "_descriptor",
        "_device",
        "_end",
        "_inode",
        "_lines",
        "_locked",
        "_named",
        "_notices",
        "_regular",
        "_torn",
        "name",
    )

    def __init__(self, path: str, *, lines: bool, notices: Notices, locked: bool = False) -> None:
        """Remember the name; nothing is opened yet.

        Args:
            path: The path.
            lines: The format is made of lines, so that a newline may end a torn one.
            notices: Where to tell about a file that others can read.
            locked: No other popproxy may write the file meanwhile: two would break its chain.
        """
        self.name = path
        self._locked = locked
        self._lines = lines
        self._notices = notices
        self._descriptor: int | None = None
        self._regular = False
        self._named = False  # the disk has the file's name
        self._device: int | None = None  # written to last, as is the inode
        self._inode = 0
        self._end = 0  # the file's size when it was written to last
        self._torn = False  # the last record is incomplete and could not be cut off

    @property
    def is_open(self) -> bool:
        """See `Target.is_open`."""
        return self._descriptor is not None

    @property
    def size(self) -> int:
        """Octets in the open file; 0 if none is open, or it is no regular file."""
        if self._descriptor is None or not self._regular:
            return 0
        return os.fstat(self._descriptor).st_size

    @property
    def modified(self) -> float:
        """When the open file was written to last, in seconds since 1970; 0 if none is open."""
        return 0.0 if self._descriptor is None else os.fstat(self._descriptor).st_mtime

    def sync(self) -> None:
        """Wait until the disk has what was written to the open file, and the file's name.

        Raises:
            OSError: It failed.
        """
        if self._descriptor is None or not self._regular:
            return
        os.fsync(self._descriptor)
        if not self._named:
            sync_directory(self.name)
            self._named = True

    def set_aside(self, when: datetime) -> str | None:
        """Rename the open file, which stays open; see `popproxy.sinks.files.set_aside`.

        Raises:
            OSError: It cannot be renamed.
        """
        return None if self._descriptor is None else set_aside(self.name, self._descriptor, when)

    def open(self) -> bool:
        """See `Target.open`."""
        opened = self._descriptor is None
        if self._descriptor is None:
            self._descriptor = self._open()
        status = os.fstat(self._descriptor)
        device, inode = self._device, self._inode
        self._device, self._inode = status.st_dev, status.st_ino
        if device is None:
            return False
        if not self._regular:
            return opened  # Who reads a FIFO now did not see what went through it before.
        same = (device, inode) == (status.st_dev, status.st_ino)
        replaced = not same or status.st_size < self._end
        if replaced:
            self._end = 0
        return replaced

    def _open(self) -> int:
        descriptor = open_log(self.name)
        try:
            self._regular = _is_regular(descriptor)
            if self._locked and self._regular:
                lock(descriptor)
            if readable_by_others(descriptor):
                self._notices.warn(
                    "log_readable_by_others",
                    f"{self.name} existed already and can be read by other users; chmod 600 it",
                    path=self.name,
                )
            if self._lines and self._regular and self._ends_torn(descriptor):
                os.write(descriptor, b"\n")
                self._notices.warn(
                    "log_line_torn",
                    f"{self.name} ended within a line, as after a crash; the line was ended where"
                    " it broke off, and records go on behind it",
                    path=self.name,
                )
        except OSError:
            os.close(descriptor)
            raise
        self._torn = False
        self._named = False
        return descriptor

    def _ends_torn(self, descriptor: int) -> bool:
        size = os.fstat(descriptor).st_size
        if size == 0:
            return False
        try:
            return os.pread(descriptor, 1, size - 1) != b"\n"
        except OSError:  # Not open for reading, or the disk fails.
            return self._torn

    def write(self, data: memoryview) -> int:
        """See `Target.write`."""
        if self._descriptor is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            _wait_for_room(self._descriptor)
            return os.write(self._descriptor, data)

    def cut(self, excess: int) -> bool:
        """See `Target.cut`."""
        if not self._regular:
            return True  # It is closed after a failure: who reads it next has seen nothing yet.
        if self._descriptor is not None and _cut_back(self._descriptor, excess):
            return True
        self._torn = self._lines
        return self._lines

    def vanished(self) -> bool:
        """See `Target.vanished`."""
        if self._descriptor is None or not self._regular:
            return False
        status = os.fstat(self._descriptor)
        self._end = status.st_size
        return status.st_nlink == 0

    def close(self) -> None:
        """See `Target.close`."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # It is closed even if the file system complains, as NFS does.
            with contextlib.suppress(OSError):
                os.close(descriptor)


class StreamTarget:
    """A descriptor that others opened and share, such as standard output; it stays open.

    It is in blocking mode, and must stay so for the others' sake. Only as much is written at a
    time as a pipe that reports room is sure to take.
    """

    is_open = False

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._regular = False

    def open(self) -> bool:
        """See `Target.open`."""
        self._regular = _is_regular(self._descriptor)
        return False

    def write(self, data: memoryview) -> int:
        """See `Target.write`."""
        if self._regular:
            return os.write(self._descriptor, data)
        _wait_for_room(self._descriptor)
        return os.write(self._descriptor, data[: select.PIPE_BUF])

    def cut(self, excess: int) -> bool:
        """See `Target.cut`."""
        return self._regular and _cut_back(self._descriptor, excess)

    def vanished(self) -> bool:
        """See `Target.vanished`; nothing can be done about a stream."""
        return False

    def close(self) -> None:
        """See `Target.close`; others may still use the descriptor."""
