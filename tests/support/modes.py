"""With which modes files come into being (P69): what is mended later was open for a moment."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def modes_at_birth(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collect the mode of each file that `os.open` makes, under a umask that forbids nothing."""
    seen: list[int] = []
    real = os.open

    def spy(path: str, flags: int, given: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = real(path, flags, given, dir_fd=dir_fd)
        if flags & os.O_CREAT:
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    before = os.umask(0)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", spy)
            yield seen
    finally:
        os.umask(before)
