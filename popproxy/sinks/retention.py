"""What becomes of files that are closed: packed by zstd, and removed when their time is over.

Only files are touched that have names as popproxy gives them: those that were set aside,
`NAME.20261127T180000Z.jsonl` and the like, and, where a template has the session's id or a date,
all that it stands for; each also with `.zst`. A file that is being written, or was an hour ago, is
left alone. A thread of its own looks after them, since packing takes long: neither the loop nor
what writes records waits for it.

A packed file is written under a hidden name, is on the disk before it gets its own, and only then
the original goes. So an interruption costs nothing: the hidden file is removed the next time. No
file is replaced: what stands under the packed one's name has to hold the same, or both stay.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Final

from popproxy.formats.packed import open_packed
from popproxy.sinks.base import Notices, explain
from popproxy.sinks.closed_files import UNFINISHED, ClosedFiles, opened
from popproxy.sinks.files import FILE_MODE, PACKED, exists, is_locked, lock
from popproxy.sinks.keeping import utc_now
from popproxy.sinks.naming import Template

INTERVAL: Final = 3600.0
"""Seconds between two looks, if nothing was set aside."""
SOON: Final = 1.0
"""Seconds until another look at a file that was still being written."""
_LAST: Final = 2.0
"""Seconds to wait, at the end, for the removal of one file."""
_PIECE: Final = 256 * 1024
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Retention:
    """How long closed files are kept, and how.

    Attributes:
        keep_days: Days after which one is removed, by the time at which it was set aside, or else
            changed last; 0 for never.
        keep_size: Octets that they may have together, with those that are written; the oldest go
            first. 0 for any number.
        compress: Whether they are packed.
    """

    keep_days: int = 0
    keep_size: int = 0
    compress: bool = False

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.keep_days or self.keep_size or self.compress)


class Caretaker:
    """Looks after the files of one sink.

    Args:
        template: Names the files.
        retention: What is to become of them.
        notices: Where to tell of trouble.
        on_removal: Called with the path of a file that is about to be removed for good.
    """

    def __init__(
        self,
        template: Template,
        retention: Retention,
        notices: Notices,
        on_removal: Callable[[str], None] | None = None,
    ) -> None:
        self._files = ClosedFiles(template)
        self._what = template.text.rpartition("/")[2]
        self._retention = retention
        self._notices = notices
        self._on_removal = on_removal
        self._changed = threading.Condition()
        self._removing = threading.Lock()
        self._woken = self._ended = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Look now; begins with it."""
        with self._changed:
            self._woken = True
            self._changed.notify()
            if self._thread is None and not self._ended:
                thread = threading.Thread(target=self._run, name="popproxy-care", daemon=True)
                with contextlib.suppress(RuntimeError):  # there can be no more threads now
                    thread.start()
                    self._thread = thread

    def end(self) -> None:
        """Look no more; what is being packed is given up.

        A file that is just being removed is waited for, so that the end of the log can tell of it.
        """
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._removing.acquire(timeout=_LAST):
            self._removing.release()

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._woken or self._ended, pause)
                self._woken = False
                if self._ended:
                    return
            try:
                pause = INTERVAL if self.look() else SOON
            except OSError as error:
                if self._ended:
                    return
                pause = INTERVAL
                self._warn(error)
            except Exception as error:  # noqa: BLE001 -- it has to look after files for a year
                pause = INTERVAL
                self._notices.warn(
                    "retention_defect",
                    f"{self._what}: a defect in popproxy ({type(error).__name__}) keeps files that"
                    " were set aside from being looked after; please report it",
                )

    def _warn(self, error: OSError) -> None:
        self._notices.warn(
            "retention_trouble",
            f"files that {self._what} left cannot be packed or removed: {explain(error)}; they"
            " stay, and it is tried again",
            cause=explain(error),
        )

    def look(self) -> bool:
        """Pack and remove what is due.

        Returns:
            False if a file that was set aside is still being written.

        Raises:
            OSError: Something could not be done; the rest was.
        """
        trouble = None
        done = True
        for closed in self._files.find(clean=True) if self._retention.compress else ():
            if self._ended:
                break
            if not closed.free or closed.name.endswith(PACKED):
                continue
            if is_locked(closed.path):
                done = False
                continue
            try:
                with opened(closed.folder) as parent:
                    self._pack(parent, closed.name, closed.path)
            except OSError as error:
                if error.errno == errno.EBUSY:
                    done = False  # it was just opened
                else:
                    trouble = trouble or error
        trouble = self._expire() or trouble
        if trouble is not None:
            raise trouble
        return done

    def _pack(self, parent: int, name: str, path: str) -> None:
        """Pack a file; its time of change stays. Meanwhile nobody writes it: it is locked."""
        unfinished, packed = f".{name}{UNFINISHED}", f"{name}{PACKED}"
        source = os.open(name, _READ, dir_fd=parent)
        with open(source, "rb") as file:  # noqa: PTH123 -- a descriptor
            lock(source)
            status = os.fstat(source)
            if exists(parent, packed):  # popproxy was killed before the original was removed
                if not _same(file, path + PACKED):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), packed)
            else:
                target = os.open(unfinished, _MAKE, FILE_MODE, dir_fd=parent)
                try:
                    self._pack_into(target, file)
                    with contextlib.suppress(OSError):  # its name tells its age, too
                        times = (status.st_atime_ns, status.st_mtime_ns)
                        os.utime(unfinished, ns=times, dir_fd=parent)
                    os.rename(unfinished, packed, src_dir_fd=parent, dst_dir_fd=parent)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.unlink(unfinished, dir_fd=parent)
                    raise
            os.fsync(parent)
            os.unlink(name, dir_fd=parent)

    def _pack_into(self, target: int, file: IO[bytes]) -> None:
        import zstandard  # only who packs needs it

        compressor = zstandard.ZstdCompressor(write_checksum=True)
        with (
            open(target, "wb") as packed,
            compressor.stream_writer(packed, closefd=False) as writer,
        ):
            os.fchmod(target, FILE_MODE)
            while piece := file.read(_PIECE):
                writer.write(piece)
                if self._ended:
                    raise InterruptedError
            writer.flush(zstandard.FLUSH_FRAME)
            packed.flush()
            os.fsync(target)

    def _expire(self) -> OSError | None:
        retention, trouble = self._retention, None
        if not (retention.keep_days or retention.keep_size):
            return None
        every = self._files.find()
        over = 0
        if retention.keep_size:
            over = sum(closed.size for closed in every) - retention.keep_size
        before = utc_now() - timedelta(days=retention.keep_days)
        for closed in every:
            old = retention.keep_days and closed.when < before
            if not closed.free or not (old or over > 0) or is_locked(closed.path):
                continue
            try:
                with self._removing, opened(closed.folder) as parent:
                    if self._ended:
                        break
                    if self._on_removal is not None:
                        self._on_removal(closed.path)
                    os.unlink(closed.name, dir_fd=parent)
                over -= closed.size
            except OSError as error:
                trouble = error
        return trouble


def _same(file: IO[bytes], packed: str) -> bool:
    with open_packed(packed) as unpacked:
        while piece := file.read(_PIECE):
            if unpacked.read(len(piece)) != piece:
                return False
        return not unpacked.read(1)
