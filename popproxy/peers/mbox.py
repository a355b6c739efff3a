"""An mbox as a maildrop: one file, in which a line that begins with `From ` begins a message.

How messages are found in the file is `popproxy.peers.mbox_file`'s.

**Locks.** A session holds a `flock` on the file, which excludes other sessions, and delivering
programs that use it. Only while the file is listed and while it is rewritten are the locks held
that all others use: `FILE.lock` and a POSIX lock. Mail may thus be delivered during a session.

**Removal.** Under these locks the file is read again, the messages to remove are found by their
unique-ids, whatever else was done to the file, and all that remains goes into a new file with the
same mode and owner, which replaces the old one when it is safe on disk. A crash leaves either the
old file or the new one. (A program that waits for a `flock` and nothing else, and does not look
afterwards whether the file is still the one at the path, would write to the old one; delivering
programs take `FILE.lock` first.)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from popproxy.peers.maildrop import (
    InUseError,
    MaildropError,
    Message,
    MessageGoneError,
    OpenMaildrop,
)
from popproxy.peers.mbox_file import Entry, entries, scan
from popproxy.peers.wire import CHUNK, Reader


@contextlib.contextmanager
def _delivery_locks(path: Path, file: io.FileIO, *, writing: bool) -> Iterator[None]:
    """Hold the locks that programs use which deliver mail.

    `FILE.lock` cannot be made in a directory that is not ours to write; reading goes on without.

    Raises:
        InUseError: Another program holds one of them.
        OSError: A lock cannot be taken.
    """
    dot_lock: Path | None = path.with_name(path.name + ".lock")
    try:
        with dot_lock.open("x") as mark:  # type: ignore[union-attr] # it was set one line above
            mark.write(f"{os.getpid()}\n")
    except FileExistsError as error:
        raise InUseError(f"{dot_lock} exists: another program uses the mbox") from error
    except OSError:
        if writing:
            raise
        dot_lock = None
    try:
        kind = fcntl.LOCK_EX if file.writable() else fcntl.LOCK_SH
        try:
            fcntl.lockf(file, kind | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise InUseError(f"another program has locked {path}") from error
        try:
            yield
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN)
    finally:
        if dot_lock is not None:
            dot_lock.unlink(missing_ok=True)


def _open_file(path: Path) -> io.FileIO:
    """Open the mbox, for writing too if we may: a POSIX lock for writing needs that."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return io.FileIO(os.open(path, os.O_RDWR | flags), "r+b")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return io.FileIO(os.open(path, os.O_RDONLY | flags), "rb")


def _lock_for_session(path: Path, file: io.FileIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUseError(f"{path} is open in another session") from error
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise InUseError(f"{path} has just been replaced")


class Mbox:
    """An mbox file.

    Args:
        path: The file; a symbolic link is followed, so that it is not replaced by a file.
    """

    blocks = True

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    def open(self) -> OpenMaildrop:
        """See `popproxy.peers.maildrop.Maildrop.open`."""
        path = self._path
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(_open_file(path))
                _lock_for_session(path, file)
                with _delivery_locks(path, file, writing=False):
                    opened = _OpenMbox(path, file, scan(file))
            except InUseError:
                raise
            except MaildropError as error:
                raise MaildropError(f"{path} cannot be read: {error}") from error
            except OSError as error:
                raise MaildropError(f"cannot read {path}: {error.strerror}") from error
            stack.pop_all()
        return opened


class _Region:
    """A part of a file, read without moving the file's position."""

    def __init__(self, file: io.FileIO, start: int, end: int) -> None:
        self._file = file
        self._next = start
        self._end = end

    def read(self, size: int, /) -> bytes:
        size = min(size, self._end - self._next)
        if not size:
            return b""
        data = os.pread(self._file.fileno(), size, self._next)
        if not data:
            raise OSError("the mbox became shorter while it was read")
        self._next += len(data)
        return data

    def close(self) -> None:
        pass  # the file belongs to the session


class _OpenMbox:
    def __init__(self, path: Path, file: io.FileIO, entries: Sequence[Entry]) -> None:
        self._path = path
        self._file = file
        self._entries = entries
        self._seen = self._change_mark()
        self.messages: Sequence[Message] = [entry.message for entry in entries]

    def _change_mark(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns

    def read(self, number: int) -> Reader:
        entry = self._entries[number - 1]
        if self._change_mark() != self._seen and not self._unchanged(entry):
            raise MessageGoneError("another program has rewritten the mbox")
        return _Region(self._file, entry.content, entry.end)

    def _unchanged(self, entry: Entry) -> bool:
        """Tell whether a message still stands where it stood, in a file that was written to."""
        size = entry.end - entry.start
        text = os.pread(self._file.fileno(), size, entry.start)
        try:
            found = list(entries(io.BytesIO(text + b"\n")))  # with the separator that is left out
        except MaildropError:
            return False
        return [other.message for other in found] == [entry.message]

    def remove(self, numbers: Collection[int]) -> None:
        if not numbers:
            return
        doomed = Counter(self.messages[number - 1].unique_id for number in numbers)
        try:
            with contextlib.ExitStack() as stack:
                file = self._file
                if not os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                    # Another program replaced it, as we do. What is at the path now counts.
                    file = stack.enter_context(_open_file(self._path))
                with _delivery_locks(self._path, file, writing=True):
                    _rewrite(self._path, file, doomed)
        except InUseError as error:
            raise MaildropError(f"nothing was removed: {error}") from error
        except OSError as error:
            raise MaildropError(
                f"nothing was removed from {self._path}: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        self._file.close()


def _rewrite(path: Path, file: io.FileIO, doomed: Counter[str]) -> None:
    """Replace an mbox by one without some messages, all locks held.

    Args:
        path: Where it is.
        file: It, open.
        doomed: How many copies to remove, by unique-id.
    """
    kept: list[tuple[int, int]] = []
    found = scan(file)
    before = os.fstat(file.fileno())
    ends = [entry.start for entry in found[1:]] + [before.st_size]
    for entry, end in zip(found, ends, strict=True):
        if doomed[entry.message.unique_id] > 0:
            doomed[entry.message.unique_id] -= 1
        else:
            kept.append((entry.start, end))
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(fd, "wb") as target:
            _copy(file, kept, target)
            os.fchmod(fd, stat.S_IMODE(before.st_mode))
            with contextlib.suppress(PermissionError):  # only root gives files away
                os.fchown(fd, before.st_uid, before.st_gid)
            os.fsync(fd)
        _check_size(file, before.st_size)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _copy(file: io.FileIO, parts: Iterable[tuple[int, int]], target: BinaryIO) -> None:
    for start, end in parts:
        region = _Region(file, start, end)
        while data := region.read(CHUNK):
            target.write(data)
    target.flush()


def _check_size(file: io.FileIO, expected: int) -> None:
    if os.fstat(file.fileno()).st_size != expected:
        raise OSError("another program wrote to the mbox in spite of the locks")
