"""Captures of any kind as records: whatever a tool works on comes through here.

A capture is told by what it begins with, never by its name: JSON lines and text transcripts are
popproxy's own formats, a bundle is what `popproxy share` makes (a zip that holds `capture.jsonl`),
and the logs of other programs are those of `popproxy.importers`.
Records come one by one, so that the size of a file does not matter. What a hostile file could make
large is bounded: a line has `MAX_LINE` octets at most, and nothing else is held.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol

from popproxy import importers
from popproxy.formats import FormatError, TornError, jsonl, text
from popproxy.formats.packed import is_packed, unpacked
from popproxy.formats.text_reader import TITLE
from popproxy.records import Record

KINDS: Final = ("jsonl", "text", "bundle", *importers.KINDS)
"""The kinds that `read` takes: popproxy's own, and other programs' logs."""

STDIN: Final = "-"
"""The path that stands for standard input."""

BUNDLED: Final = "capture.jsonl"
"""The member of a bundle that holds its records."""

MAX_LINE: Final = 64 * 1024 * 1024
"""Octets of the longest line that is read. The longest that popproxy writes, of a table of 100,000
messages, has a tenth of this."""

_START: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_READERS: Final = {"jsonl": jsonl.read, "text": text.read}


class CaptureError(Exception):
    """A capture cannot be read.

    Attributes:
        path: Which, as the person wrote it, or `standard input`.
        message: What is wrong and what to do about it, fit for a terminal.
        line: The line's number, from 1; 0 if it is not known.
    """

    def __init__(self, path: str, message: str, line: int = 0) -> None:
        super().__init__(path, message, line)
        self.path = path
        self.message = message
        self.line = line

    def __str__(self) -> str:
        """Path, line and message."""
        place = f"{self.path}, line {self.line}" if self.line else self.path
        return f"{place}: {self.message}"


OnError = Callable[[FormatError], None]
"""Hears of a place that cannot be read; reading goes on behind it."""


class Reading(Protocol):
    """Reads one capture from its beginning, as often as it is called."""

    def __call__(self, *, on_error: OnError | None = None) -> Iterator[Record]:
        """Give its records; see `read`."""
        ...


def name_of(path: str) -> str:
    """Give a path as a message names it."""
    return "standard input" if path == STDIN else path


def recognise(start: bytes) -> str | None:
    """Tell which kind of capture a file is.

    Args:
        start: What it begins with; 64 KiB are more than enough.

    Returns:
        The kind, or None if it is none that is known.
    """
    if start.startswith(b"PK\x03\x04"):
        return "bundle"
    begun = start.removeprefix(_BOM).lstrip()
    if begun.startswith(b"{"):
        return "jsonl"
    if begun.startswith(TITLE.encode()):
        return "text"
    return importers.recognise(start)


def read(
    path: str,
    *,
    kind: str | None = None,
    name: str | None = None,
    on_error: OnError | None = None,
) -> Iterator[Record]:
    """Read a capture of any kind.

    Args:
        path: The file, or `-` for standard input.
        kind: Which kind it is; recognised if it is None.
        name: What errors call the file, if not by its path.
        on_error: Called with the error of a place that cannot be read; reading goes on behind it.
            Without it such an error ends the reading.

    Yields:
        The records, in the file's order.

    Raises:
        CaptureError: The file cannot be opened or read, is of no kind that is known, or, without
            `on_error`, is damaged at some place.
    """
    name = name or name_of(path)
    try:
        with ExitStack() as closing:
            file = closing.enter_context(_unpacked(_open(path, name)))
            kind = kind or _recognised(file, name)
            if kind not in _READERS:
                file = closing.enter_context(_seekable(file))
            if kind == "bundle":
                file = closing.enter_context(_bundled(file, name))
            elif kind in importers.KINDS:
                yield from importers.read(file, kind, Path(path))
                return
            yield from _READERS["text" if kind == "text" else "jsonl"](
                _lines(file), on_error=on_error
            )
    except (FormatError, importers.LogError) as error:
        raise CaptureError(name, error.message, error.line) from None
    except OSError as error:
        raise CaptureError(name, f"cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise CaptureError(
            name, "this zip file is damaged: ask for the file once more, or unpack what is left"
        ) from None


@contextmanager
def rereadable(path: str, *, kind: str | None = None) -> Iterator[Reading]:
    """Have a capture that can be read more than once.

    Args:
        path: The file, or `-` for standard input. What comes through a pipe is kept in a temporary
            file, which is gone at the end.
        kind: As in `read`.

    Yields:
        What reads it.

    Raises:
        CaptureError: It cannot be opened or read.
    """
    name = name_of(path)
    with ExitStack() as closing:
        if path == STDIN or not Path(path).is_file():
            try:
                file = closing.enter_context(_open(path, name))
                copy = closing.enter_context(tempfile.NamedTemporaryFile(prefix="popproxy-"))
                _copy(file, copy)
            except OSError as error:
                raise CaptureError(name, f"cannot be read: {error.strerror or error}") from None
            path = copy.name
        yield partial(read, path, kind=kind, name=name)


def is_bundle(path: str) -> bool:
    """Tell whether a capture is a bundle, whose words are not those of its original.

    Args:
        path: The file; standard input is taken for none.
    """
    try:
        with Path(path).open("rb") as file:
            return path != STDIN and recognise(file.read(_START)) == "bundle"
    except OSError:
        return False


def is_torn(error: Exception) -> bool:
    """Tell whether an error means no more than that the file's end is still to be written."""
    return isinstance(error, TornError)


def _open(path: str, name: str) -> IO[bytes]:
    if path == STDIN:
        return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), _START)
    if Path(path).is_dir():
        raise CaptureError(name, "this is a directory: name a file in it")
    return Path(path).open("rb", buffering=_START)


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """Give what a file holds that gzip or zstd packed, or the file itself."""
    start = file.peek(4)[:4] if isinstance(file, io.BufferedReader) else b""
    return unpacked(file, start) if is_packed(start) else file


def _recognised(file: IO[bytes], name: str) -> str:
    start = file.peek(_START)[:_START] if isinstance(file, io.BufferedReader) else b""
    if not start:
        raise CaptureError(name, "this file is empty: there is nothing in it to read")
    if (kind := recognise(start)) is not None:
        return kind
    raise CaptureError(
        name,
        "this is no capture that popproxy knows: it reads JSON lines, text transcripts, the bundles"
        " of `popproxy share`, and other programs' logs (popproxy help importing). If it is one all"
        " the same, say which with --from",
    )


def _seekable(file: IO[bytes]) -> IO[bytes]:
    """Give a file that can be read in any order; what comes through a pipe is kept on disk."""
    if file.seekable():
        return file
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    _copy(file, copy)
    return copy


def _copy(file: IO[bytes], copy: IO[bytes]) -> None:
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    copy.flush()


def _bundled(file: IO[bytes], name: str) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    try:
        return archive.open(BUNDLED)
    except (KeyError, RuntimeError):  # RuntimeError: it needs a password
        raise CaptureError(
            name, f"there is no {BUNDLED} that can be read in this zip file, so it is no bundle"
        ) from None


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Give the lines, and refuse those that are too long to be held."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            raise FormatError(f"there is a line of more than {MAX_LINE // 1024**2} MiB")
        yield line
