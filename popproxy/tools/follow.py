"""A capture that is still being written, record by record as it grows.

A file is read to its end, and again whenever whoever reads has waited. A line comes once it has its
end, so that one that is being written waits for its rest. When the file is another one under its
name (rotation by `mv`), the old one is read to its end first; when it has become shorter (rotation
by `copytruncate`), reading begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Final

from popproxy.formats import FormatError, jsonl, text
from popproxy.records import Record
from popproxy.tools.captures import MAX_LINE, CaptureError, OnError, recognise

_PIECE: Final = 256 * 1024

Wait = Callable[[], None]
"""Called whenever there is nothing to read; returns when it is time to look again."""


def follow(
    path: str, wait: Wait, *, kind: str | None = None, on_error: OnError | None = None
) -> Iterator[Record]:
    """Read a capture that grows. It has no end but what `wait` raises.

    Args:
        path: The file.
        wait: Waits.
        kind: `jsonl` or `text`; recognised if it is None.
        on_error: Called with the error of a place that cannot be read; reading goes on behind it.

    Yields:
        The records, as soon as they are whole.

    Raises:
        CaptureError: The file cannot be opened or read, or is of a kind that does not grow.
    """
    try:
        lines = _lines(path, wait)
        first = next(lines)
        kind = kind or recognise(first)
        if kind not in ("jsonl", "text"):
            raise CaptureError(
                path,
                "only JSON lines and text transcripts grow line by line, and can be followed",
            )
        read = jsonl.read if kind == "jsonl" else text.read
        yield from read(chain([first], lines), on_error=on_error)
    except FormatError as error:
        raise CaptureError(path, error.message, error.line) from None
    except OSError as error:
        raise CaptureError(path, f"cannot be read: {error.strerror or error}") from None


def _lines(path: str, wait: Wait) -> Iterator[bytes]:
    """Give whole lines for ever."""
    if Path(path).is_dir():
        raise CaptureError(path, "this is a directory: name a file in it")
    file = FileIO(path)
    begun: list[bytes] = []
    held = 0
    try:
        while True:
            moved = _is_elsewhere(path, file)  # before reading: what it had then is read now
            while piece := file.read(_PIECE):
                begun.append(piece)
                held += len(piece)
                if held > MAX_LINE:
                    raise FormatError(f"there is a line of more than {MAX_LINE // 1024**2} MiB")
                if b"\n" in piece:
                    *whole, rest = b"".join(begun).split(b"\n")
                    begun, held = [rest], len(rest)
                    for line in whole:
                        yield line + b"\n"
            if moved and Path(path).exists():
                file.close()
                file = FileIO(path)
            elif os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            else:
                wait()
                continue
            begun, held = [], 0  # the rest of a line that was cut off will never come
    finally:
        file.close()


def _is_elsewhere(path: str, file: FileIO) -> bool:
    """Tell whether another file has taken the name."""
    try:
        named = os.stat(path)  # noqa: PTH116 - beside fstat
    except FileNotFoundError:
        return False
    return not os.path.samestat(named, os.fstat(file.fileno()))
