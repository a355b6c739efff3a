"""What becomes of files that were set aside: packed by zstd, and removed when their time is over.

Only files that popproxy set aside itself are touched: `NAME.20261127T180000Z.jsonl` and the like,
beside the file that is being written, and the same with `.zst`. A thread of its own looks after
them, since packing takes long: neither the loop nor what writes records waits for it.

A packed file is written under a hidden name, is on the disk before it gets its own, and only then
the original goes. So an interruption costs nothing: the hidden file is removed the next time. No
file is replaced: what stands under the packed one's name has to hold the same, or both stay.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Final, NamedTuple

from popproxy.formats.packed import open_packed
from popproxy.sinks.base import Notices, explain
from popproxy.sinks.files import (
    FILE_MODE,
    PACKED,
    exists,
    is_locked,
    open_directory,
    stem_and_suffix,
)
from popproxy.sinks.keeping import utc_now

INTERVAL: Final = 3600.0
"""Seconds between two looks, if nothing was set aside."""
SOON: Final = 1.0
"""Seconds until another look at a file that was still being written."""
_PIECE: Final = 256 * 1024
_RESERVED: Final = timedelta(hours=1)  # an empty file this old is no name that is being taken
_UNFINISHED: Final = f"{PACKED}.new"
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Retention:
    """How long files that were set aside are kept, and how.

    Attributes:
        keep_days: Days after which one is removed, by the time in its name; 0 for never.
        keep_size: Octets that they may have together, with the one that is written; the oldest go
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


class _Aside(NamedTuple):
    """A file that was set aside; sorts by age."""

    when: datetime
    number: int
    name: str
    size: int


class Caretaker:
    """Looks after the files that one output set aside.

    Args:
        path: The file that is written.
        retention: What is to become of the others.
        notices: Where to tell of trouble.
        on_removal: Called with the path of a file that is about to be removed for good.
    """

    def __init__(
        self,
        path: str,
        retention: Retention,
        notices: Notices,
        on_removal: Callable[[str], None] | None = None,
    ) -> None:
        self._directory, self._name = os.path.split(path)
        stem, suffix = stem_and_suffix(self._name)
        self._pattern = re.compile(
            re.escape(stem) + r"\.(\d{8}T\d{6}Z)(?:-(\d{1,4}))?" + re.escape(suffix) + r"(\.zst)?"
        )
        self._retention = retention
        self._notices = notices
        self._on_removal = on_removal
        self._changed = threading.Condition()
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
        """Look no more; what is being packed is given up."""
        with self._changed:
            self._ended = True
            self._changed.notify()

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
                    f"{self._name}: a defect in popproxy ({type(error).__name__}) keeps files that"
                    " were set aside from being looked after; please report it",
                )

    def _warn(self, error: OSError) -> None:
        self._notices.warn(
            "retention_trouble",
            f"files that {self._name} left cannot be packed or removed: {explain(error)}; they"
            " stay, and it is tried again",
            cause=explain(error),
        )

    def look(self) -> bool:
        """Pack and remove what is due.

        Returns:
            False if a file is still being written.

        Raises:
            OSError: Something could not be done; the rest was.
        """
        parent = open_directory(self._directory)
        try:
            trouble = self._clean(parent)
            done = True
            if self._retention.compress:
                for aside in self._asides(parent):
                    if aside.name.endswith(PACKED):
                        continue
                    if is_locked(self._path(aside.name)):
                        done = False
                        continue
                    try:
                        self._pack(parent, aside.name)
                    except OSError as error:
                        trouble = trouble or error
            trouble = self._expire(parent) or trouble
        finally:
            os.close(parent)
        if trouble is not None:
            raise trouble
        return done

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)  # noqa: PTH118 -- paths are text here

    def _asides(self, parent: int) -> list[_Aside]:
        """List the files, the oldest first."""
        found = []
        for name in os.listdir(parent):
            match = self._pattern.fullmatch(name)
            if match is None:
                continue
            with contextlib.suppress(OSError, ValueError):
                when = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                taken = status.st_size or when < utc_now() - _RESERVED
                if stat.S_ISREG(status.st_mode) and taken:
                    found.append(_Aside(when, int(match[2] or 1), name, status.st_size))
        return sorted(found)

    def _clean(self, parent: int) -> OSError | None:
        """Remove what an interrupted run left."""
        trouble = None
        for name in os.listdir(parent):
            original = name.removesuffix(_UNFINISHED).removeprefix(".")
            if name == f".{original}{_UNFINISHED}" and self._pattern.fullmatch(original):
                try:
                    os.unlink(name, dir_fd=parent)
                except OSError as error:
                    trouble = error
        return trouble

    def _pack(self, parent: int, name: str) -> None:
        """Pack a file; its time of change stays."""
        unfinished, packed = f".{name}{_UNFINISHED}", f"{name}{PACKED}"
        source = os.open(name, _READ, dir_fd=parent)
        with open(source, "rb") as file:  # noqa: PTH123 -- a descriptor
            status = os.fstat(source)
            if exists(parent, packed):  # popproxy was killed before the original was removed
                if not _same(file, self._path(packed)):
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

    def _expire(self, parent: int) -> OSError | None:
        retention, trouble = self._retention, None
        asides = self._asides(parent)
        over = 0
        if retention.keep_size:
            over = sum(aside.size for aside in asides) - retention.keep_size
            with contextlib.suppress(OSError):
                over += os.stat(self._name, dir_fd=parent, follow_symlinks=False).st_size
        before = utc_now() - timedelta(days=retention.keep_days)
        for aside in asides:
            old = retention.keep_days and aside.when < before
            if not old and over <= 0:
                continue
            if is_locked(self._path(aside.name)):
                continue
            try:
                if self._on_removal is not None:
                    self._on_removal(self._path(aside.name))
                os.unlink(aside.name, dir_fd=parent)
                over -= aside.size
            except OSError as error:
                trouble = error
        return trouble


def _same(file: IO[bytes], packed: str) -> bool:
    with open_packed(packed) as unpacked:
        while piece := file.read(_PIECE):
            if unpacked.read(len(piece)) != piece:
                return False
        return not unpacked.read(1)
