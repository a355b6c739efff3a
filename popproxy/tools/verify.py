"""Searches files for strings that must not be in them: any file, folders, what archives hold."""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from popproxy.privacy.search import PIECE, Search

DEPTH: Final = 3
"""Archives in archives that are looked into; what lies deeper is searched as it stands."""

MAX_UNPACKED: Final = 64 * 1024**3
"""Octets that one archive may hold; more is what is made to fill disks."""

_TOLD_MOST: Final = 100
"""Places that are told of one file."""

_ARCHIVES: Final = (b"PK\x03\x04", b"\x1f\x8b")


class VerifyError(Exception):
    """A file cannot be searched; the message says which and why, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a string was found.

    Attributes:
        file: The file's path; of what an archive holds, behind it, an exclamation mark and a name.
        line: The line that it stands in, from 1.
        offset: The octet of the file, from 0.
        number: Which string it is, from 1.
        form: How it stands there, in words.
    """

    file: str
    line: int
    offset: int
    number: int
    form: str


@dataclass(slots=True)
class Sum:
    """What was searched.

    Attributes:
        files: How many, those in archives included.
        octets: Of all of them.
        places: Where something was found, those that were not told included.
        problems: What could not be searched, for a person.
        skipped: Paths of the list of strings itself.
    """

    files: int = 0
    octets: int = 0
    places: int = 0
    problems: int = 0
    skipped: int = 0


class Verifier:
    """Searches files.

    Args:
        strings: What to look for; empty ones are passed over, but count.
        not_in: The file of the strings itself, which holds all of them.

    Attributes:
        sum: What was searched so far.
    """

    def __init__(self, strings: Sequence[bytes], not_in: os.stat_result | None = None) -> None:
        self.sum = Sum()
        self._numbers = [number for number, string in enumerate(strings, 1) if string]
        self._search = Search([string for string in strings if string])
        self._not_in = not_in

    def paths(self, path: str) -> Iterator[Place | VerifyError]:
        """Search a file, or all files of a folder.

        Args:
            path: Its path. Links in a folder are not followed.

        Yields:
            Each place, and what could not be searched.
        """
        root = Path(path)
        if not root.is_dir():
            yield from self._file(root, path)
            return
        for folder, folders, names in os.walk(root, onerror=None):
            folders.sort()
            for name in sorted(names):
                file = Path(folder) / name
                if file.is_file() and not file.is_symlink():
                    yield from self._file(file, str(file))

    def _file(self, file: Path, name: str) -> Iterator[Place | VerifyError]:
        try:
            with file.open("rb") as opened:
                if self._not_in is not None and os.path.samestat(
                    os.fstat(opened.fileno()), self._not_in
                ):
                    self.sum.skipped += 1
                    return
                yield from self._opened(opened, name, 0)
        except OSError as error:
            self.sum.problems += 1
            yield VerifyError(f"{name} cannot be read: {error.strerror or error}")

    def _opened(self, opened: IO[bytes], name: str, depth: int) -> Iterator[Place | VerifyError]:
        """Search an open file as it stands, and what it holds."""
        yield from self._stream(opened, name)
        if depth >= DEPTH or not opened.seekable():
            return
        opened.seek(0)
        start = opened.read(4)
        opened.seek(0)
        if not start.startswith(_ARCHIVES):
            return
        try:
            if start.startswith(b"PK"):
                yield from self._zip(opened, name, depth)
            else:
                with gzip.open(opened) as unpacked:
                    yield from self._opened(cast("IO[bytes]", unpacked), f"{name}!", depth + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            self.sum.problems += 1
            yield VerifyError(f"{name} cannot be unpacked, and was searched as it stands: {error}")

    def _zip(self, opened: IO[bytes], name: str, depth: int) -> Iterator[Place | VerifyError]:
        with zipfile.ZipFile(opened) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_UNPACKED:
                raise zipfile.BadZipFile("it would become too large")
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as unpacked:
                        yield from self._opened(unpacked, f"{name}!{member.filename}", depth + 1)
                yield from self._named(member.filename, name)

    def _named(self, text: str, name: str) -> Iterator[Place]:
        """Search the name of an archive's member, which tells as much as content does."""
        for found in self._search.find(iter([text.encode("utf-8", "surrogateescape")])):
            self.sum.places += 1
            yield Place(
                file=f"{name}, the name of what it holds",
                line=1,
                offset=found.offset,
                number=self._numbers[found.number - 1],
                form=found.form,
            )

    def _stream(self, opened: IO[bytes], name: str) -> Iterator[Place]:
        self.sum.files += 1
        lines = _Lines(opened)
        for told, found in enumerate(self._search.find(iter(lines)), 1):
            self.sum.places += 1
            if told <= _TOLD_MOST:
                yield Place(
                    file=name,
                    line=lines.line_of(found.offset),
                    offset=found.offset,
                    number=self._numbers[found.number - 1],
                    form=found.form,
                )
        self.sum.octets += lines.size


class _Lines:
    """Reads a file in pieces, and knows which line an octet near the last ones is in."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self._pieces: list[tuple[int, int, bytes]] = []  # offset, line ends before, octets
        self._line_ends = 0
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        """Give the pieces."""
        while piece := self._opened.read(PIECE):
            if self.size + len(piece) > MAX_UNPACKED:
                raise EOFError("it becomes too large")
            self._pieces = [*self._pieces[-3:], (self.size, self._line_ends, piece)]
            self._line_ends += piece.count(b"\n")
            self.size += len(piece)
            yield piece

    def line_of(self, offset: int) -> int:
        """Give the number of the line that holds an octet."""
        for begin, line_ends, piece in reversed(self._pieces):
            if begin <= offset:
                return line_ends + piece.count(b"\n", 0, offset - begin) + 1
        return 1
