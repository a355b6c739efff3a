"""Looks into sealed files that an earlier process left: how far they came, and what they are."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Final

from popproxy.formats.chain import State, link_of
from popproxy.formats.file_lines import FileLine, decode
from popproxy.formats.jsonl import is_about_file
from popproxy.formats.packed import open_packed
from popproxy.sinks.files import PACKED

_SPANS: Final = (64 * 1024, 1024 * 1024, 16 * 1024 * 1024)
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def is_regular(path: str) -> bool:
    """Tell whether a path names a regular file."""
    try:
        return stat.S_ISREG(os.stat(path, follow_symlinks=False).st_mode)  # noqa: PTH116 -- paths are text here
    except OSError:
        return False


def inode_of(path: str) -> int:
    """Give a file's number in its file system; 0 if there is none."""
    try:
        return os.stat(path, follow_symlinks=False).st_ino  # noqa: PTH116 -- paths are text here
    except OSError:
        return 0


def of_inode(folder: str, inode: int) -> Iterator[str]:
    """Give the regular files of a folder that have a number.

    Raises:
        OSError: It cannot be looked into.
    """
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            if inode and entry.inode() == inode and entry.is_file(follow_symlinks=False):
                yield entry.path


def last_link(path: str) -> State | None:
    """Give the link of a file's last line that has one; what an interrupted write left has none.

    Returns:
        It; None if there is no such file, or no link in its last 16 MiB.
    """
    if path.endswith(PACKED):
        return _last_packed(path)
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        size = os.fstat(descriptor).st_size
        for span in _SPANS:
            begin = max(0, size - span)
            lines = os.pread(descriptor, size - begin, begin).split(b"\n")
            for line in reversed(lines if not begin else lines[1:]):
                link = link_of(line)
                if link is not None:
                    return link
            if not begin:
                break
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _last_packed(path: str) -> State | None:
    """Do as `last_link` does, for a packed file, which has to be read whole."""
    found = None
    if is_regular(path):
        with contextlib.suppress(OSError), open_packed(path) as file:
            for line in iter(lambda: file.readline(_SPANS[-1]), b""):
                found = link_of(line) or found
    return found


def file_lines(path: str) -> tuple[FileLine | None, set[int]]:
    """Read a whole file, packed or not, for what it says of itself.

    Returns:
        Its first line, if that is about the file; and the numbers that it has in its series.
        Nothing of what is no regular file: a FIFO would have to be waited for.
    """
    first: FileLine | None = None
    numbers: set[int] = set()
    if not is_regular(path):
        return first, numbers
    try:
        with open_packed(path) as file:
            for place, line in enumerate(iter(lambda: file.readline(_SPANS[-1]), b"")):
                about = decode(line) if is_about_file(line) else None
                if about is None:
                    continue
                if place == 0:
                    first = about
                numbers.add(about.file.number)
    except OSError:
        pass
    return first, numbers
