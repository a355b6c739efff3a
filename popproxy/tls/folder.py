"""The folder of the local authority: who may touch it, and how two files change as one (P34).

Rules as ssh has them: a private key that others can read, that belongs to somebody else or that is
a symbolic link is not used, nor is a folder in which others could exchange it. Every refusal says
how to mend it.

A pair is put in place in this order: both files are written under other names and synced, then
the key is renamed, then the certificate. Whoever dies in between leaves a certificate that waits
under its other name for the key that is in place already, and the next one to look renames it.
So there is no moment at which a pair is lost. Who changes something holds a lock; who only reads
needs none, and looks again under the lock if what it reads does not fit together.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from popproxy.tls.failures import TlsSetupError

CERTIFICATE = "authority.pem"
KEY = "authority.key"
WAITING = ".new"
"""Ends the names of files that are not in place yet."""
LOCK = ".lock"

_LONGEST = 1 << 16
"""Octets that are read of a file; a pair has less than 2,000."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODES = {KEY: 0o600, CERTIFICATE: 0o644}


class Folder:
    """An open folder whose owner and mode are as they should be.

    Args:
        path: Where it is.
        descriptor: The open folder; it is closed by `close`.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, *, make: bool = False, trusting: bool = False) -> Iterator[Folder]:
        """Open a folder, and close it at the end.

        Args:
            path: Where it is.
            make: Whether to make it, for its owner only, if it is missing.
            trusting: Whether to open it whatever its owner and mode are.

        Raises:
            TlsSetupError: It is missing, cannot be used, or others could change its content.
        """
        try:
            if make:
                _make(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise TlsSetupError(
                f"the folder of the local authority, {path}, cannot be used: {error.strerror};"
                " name another one, or give this user the right to it"
            ) from None
        try:
            if not trusting:
                _check_folder(path, os.fstat(descriptor))
            yield cls(path, descriptor)
        finally:
            os.close(descriptor)

    def read(self, name: str, *, trusting: bool = False) -> bytes | None:
        """Read a file of the pair.

        Args:
            name: `CERTIFICATE` or `KEY`, perhaps waiting.
            trusting: Whether to read it whatever its owner and mode are.

        Returns:
            Its content; None if there is no such file.

        Raises:
            TlsSetupError: It cannot be read, or others can reach it.
        """
        path = self.path / name
        try:
            descriptor = os.open(name, _READ, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise TlsSetupError(
                    f"{path} is a symbolic link, and the local authority is not read through"
                    " links; put the file itself in its place, or name the folder that holds it"
                ) from None
            raise TlsSetupError(
                f"{path} cannot be read: {error.strerror}; it has to belong to the user that"
                " runs popproxy"
            ) from None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise TlsSetupError(f"{path} is no file; move it away")
            if not trusting:
                _check_file(path, status, private=name.startswith(KEY))
            return file.read(_LONGEST)

    def names(self) -> list[str]:
        """List the files that are there."""
        return os.listdir(self._descriptor)  # noqa: PTH208 - pathlib knows no descriptors

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from changing the pair for a while.

        Raises:
            OSError: Nothing can be written here.
        """
        # A file, not the folder itself: a folder on NFS cannot be locked.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(LOCK, flags, 0o600, dir_fd=self._descriptor)
        try:
            if os.fstat(lock).st_mode & 0o600 != 0o600:
                os.fchmod(lock, 0o600)  # the umask took away too much
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def put(self, certificate: bytes, key: bytes) -> None:
        """Put a new pair in place; the lock must be held.

        Raises:
            OSError: It cannot be written.
        """
        for name in (KEY, CERTIFICATE):  # what a process that died may have left
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name + WAITING, dir_fd=self._descriptor)
        self.create(KEY + WAITING, key, _MODES[KEY])
        self.create(CERTIFICATE + WAITING, certificate, _MODES[CERTIFICATE])
        os.fsync(self._descriptor)
        self.settle(KEY)
        self.settle(CERTIFICATE)

    def settle(self, name: str) -> None:
        """Give a file that waits its name; the lock must be held.

        Raises:
            OSError: It cannot be renamed.
        """
        here = self._descriptor
        os.rename(name + WAITING, name, src_dir_fd=here, dst_dir_fd=here)
        os.fsync(here)

    def create(self, name: str, content: bytes, mode: int) -> None:
        """Write a file that does not exist yet.

        Its mode is there from the start: there is no moment at which it is wider.

        Raises:
            OSError: It exists, or cannot be written.
        """
        descriptor = os.open(name, _CREATE, mode, dir_fd=self._descriptor)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # the umask may have taken away too much
            file.write(content)
            file.flush()
            os.fsync(descriptor)

    def keep_aside(self, day: str) -> list[Path]:
        """Copy what is there to names with a day; the lock must be held.

        Args:
            day: As `2026-10-01`.

        Returns:
            The copies.

        Raises:
            OSError: They cannot be written.
            TlsSetupError: What is there cannot be read.
        """
        # Who renews does so perhaps because others can read the key: it is copied all the same.
        found = {name: self.read(name, trusting=True) for name in (CERTIFICATE, KEY)}
        kept = {name: content for name, content in found.items() if content is not None}
        names = self._free_names(day)
        for name, content in kept.items():
            self.create(names[name], content, _MODES[name])
        return [self.path / names[name] for name in kept]

    def _free_names(self, day: str) -> dict[str, str]:
        taken = set(self.names())
        number, suffix = 1, ""
        while True:
            names = {name: f"{Path(name).stem}-{day}{suffix}{Path(name).suffix}" for name in _MODES}
            if taken.isdisjoint(names.values()):
                return names
            number += 1
            suffix = f"-{number}"


def _make(path: Path) -> None:
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        try:
            one.mkdir(0o700)
        except FileExistsError:
            continue  # somebody was faster: it is theirs, and looked at like any other
        if one.stat().st_mode & 0o700 != 0o700:
            one.chmod(0o700)  # the umask took away too much


def _check_folder(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise TlsSetupError(
            f"the folder of the local authority, {path}, belongs to another user (number"
            f" {status.st_uid}), who could exchange what is in it; run popproxy as that user,"
            " or name another folder"
        )
    if status.st_mode & 0o022:
        raise TlsSetupError(
            f"the folder of the local authority, {path}, can be written by others (mode"
            f" {stat.S_IMODE(status.st_mode):04o}), who could exchange what is in it; close it"
            f" with: chmod 700 {shlex.quote(str(path))}"
        )


def _check_file(path: Path, status: os.stat_result, *, private: bool) -> None:
    quoted = shlex.quote(str(path))
    what = "the key" if private else "the certificate"
    owners = {os.geteuid()} if private else {os.geteuid(), 0}
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in owners:
        raise TlsSetupError(
            f"{what} of the local authority, {path}, belongs to another user (number"
            f" {status.st_uid}); run popproxy as that user, or, if it is yours:"
            f" chown {os.geteuid()} {quoted}"
        )
    if private and mode & 0o077:
        raise TlsSetupError(
            f"the key of the local authority, {path}, is open to other users (mode {mode:04o});"
            f" close it with: chmod 600 {quoted} - and if somebody may have read it, replace it"
            f" with: popproxy ca renew --authority {shlex.quote(str(path.parent))}"
        )
    if mode & 0o022:
        raise TlsSetupError(
            f"the certificate of the local authority, {path}, can be written by others (mode"
            f" {mode:04o}); close it with: chmod 644 {quoted}"
        )
