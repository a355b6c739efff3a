"""Files that are there in whole or not at all.

A file is written beside its place, under a name of its own that only its owner can read, and gets
its name when it is complete. Until then nothing has happened: an error, or Ctrl-C, leaves what was
there before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

_MODE: Final = 0o600


class Saved:
    """A file on its way; a context manager that gives it its name, or takes it away."""

    def __init__(self, path: str, *, force: bool = False) -> None:
        """Begin beside the place.

        Args:
            path: Where the file is to be.
            force: Replace a file that is there.

        Raises:
            FileExistsError: There is one, and it is not to be replaced.
            OSError: It cannot be written there.
        """
        self.path = Path(path)
        self._force = force
        if not force and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        self._temporary = self.path.with_name(f".{self.path.name[:80]}.{secrets.token_hex(4)}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._temporary, flags, _MODE)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None  # by the name that matters
        self.file: IO[bytes] = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        """Give the file, to be written."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the file its name, or, after an error, take it away."""
        if kind is not None:
            self.abandon()
            return
        try:
            self.file.close()
            if self._force:
                self._temporary.replace(self.path)
            else:
                os.link(self._temporary, self.path)  # fails if somebody was faster
                self._temporary.unlink()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Take it away."""
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()
