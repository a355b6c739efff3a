"""A Maildir as a maildrop: one file a message, in `new` and `cur`.

Other programs may deliver, rename and remove at any time, without a lock; that is what the format
is for. A message is therefore known by the unique part of its file name (all before the `:` behind
which flags stand), and looked up again under it when its file is not where it was.

Files are opened for reading only, never moved from `new` to `cur` and never marked as seen: looking
at mail through this server leaves no trace. Removal is one unlink a message.

The lock of RFC 1939, section 4, is a `flock` on the directory itself: it needs no file that could
be left behind, and it ends with the process. It excludes other POP3 sessions of this program;
mail programs do not lock a Maildir.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

from popproxy.peers.maildrop import (
    UNIQUE_ID_SIZE,
    InUseError,
    MaildropError,
    Message,
    MessageGoneError,
    OpenMaildrop,
)
from popproxy.peers.wire import Reader, measure

_FOLDERS = ("new", "cur")
"""In this order: a message that moves while both are read is then seen at least once."""

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_TIME = re.compile(r"[0-9]{1,15}")


class Maildir:
    """A Maildir.

    Args:
        path: The directory that holds `new` and `cur`.

    Raises:
        MaildropError: The path is no Maildir.
    """

    blocks = True

    def __init__(self, path: Path) -> None:
        missing = [folder for folder in _FOLDERS if not (path / folder).is_dir()]
        if missing:
            raise MaildropError(
                f"{path} is no Maildir: it holds no directory {' and no '.join(missing)}"
            )
        self._path = path

    def open(self) -> OpenMaildrop:
        """See `popproxy.peers.maildrop.Maildrop.open`."""
        try:
            lock = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise MaildropError(f"cannot open {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _OpenMaildir(self._path, lock)
        except BlockingIOError as error:
            os.close(lock)
            raise InUseError(f"{self._path} is open in another session") from error
        except OSError as error:
            os.close(lock)
            raise MaildropError(f"cannot read {self._path}: {error.strerror}") from error
        except BaseException:
            os.close(lock)
            raise


def _list(path: Path) -> dict[str, Path]:
    """Find the messages.

    Returns:
        Their files by the unique part of their names.
    """
    found: dict[str, Path] = {}
    for folder in _FOLDERS:
        with os.scandir(path / folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    found[entry.name.partition(":")[0]] = Path(entry.path)
    return found


def _order(base: str) -> tuple[int, str]:
    """Give a sort key: by time of delivery, with which names begin, then by name."""
    time = _TIME.match(base)
    return int(time.group()) if time else 0, base


def _unique_id(base: str) -> str:
    """Make a unique-id of a name: itself where it fits, else a digest of it."""
    if len(base) <= UNIQUE_ID_SIZE and _PRINTABLE.fullmatch(base):
        return base
    return hashlib.sha256(os.fsencode(base)).hexdigest()


def _open_regular(path: Path) -> io.FileIO:
    """Open a file for reading, and nothing but a regular file: a FIFO would stall the server."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is no regular file")
    return io.FileIO(fd, "rb")


class _OpenMaildir:
    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock = lock
        self._bases: list[str] = []
        self._files: dict[str, Path] = _list(path)
        self.messages: Sequence[Message] = []
        messages = []
        for base in sorted(self._files, key=_order):
            try:
                with self._open(base) as file:
                    octets = measure(file).octets
            except MessageGoneError:
                continue
            self._bases.append(base)
            messages.append(Message(octets=octets, unique_id=_unique_id(base)))
        self.messages = messages

    def _open(self, base: str) -> io.FileIO:
        try:
            return _open_regular(self._files[base])
        except FileNotFoundError:
            file = self._find(base)
        try:
            return _open_regular(file)
        except FileNotFoundError as error:
            raise MessageGoneError("a message was removed by another program") from error

    def _find(self, base: str) -> Path:
        """Look again for a file that was renamed."""
        for known, file in _list(self._path).items():
            if known in self._files:
                self._files[known] = file
            if known == base:
                return file
        raise MessageGoneError("a message was removed by another program")

    def read(self, number: int) -> Reader:
        return self._open(self._bases[number - 1])

    def remove(self, numbers: Collection[int]) -> None:
        failed = 0
        for number in numbers:
            base = self._bases[number - 1]
            try:
                try:
                    self._files[base].unlink()
                except FileNotFoundError:
                    self._find(base).unlink(missing_ok=True)
            except MessageGoneError:
                continue
            except OSError:
                failed += 1
        if failed:
            raise MaildropError(
                f"{failed} of {len(numbers)} messages could not be removed from {self._path}"
            )

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
