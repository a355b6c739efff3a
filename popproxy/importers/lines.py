"""A log's lines, none longer than can be held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final

LINE_MOST: Final = 1024 * 1024
"""Octets of a line at most; a longer one comes in pieces."""


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Give the lines of a file, ends included, from where it stands."""
    while line := file.readline(LINE_MOST):
        yield line


def start_lines(start: bytes) -> list[bytes]:
    """Cut the beginning of a file into lines without their ends."""
    return [line.rstrip(b"\r") for line in start.removeprefix(b"\xef\xbb\xbf").split(b"\n")]


def cut_end(line: bytes) -> tuple[bytes, bytes]:
    """Cut a line into its text and its end."""
    text = line.removesuffix(b"\n").removesuffix(b"\r") if line.endswith(b"\n") else line
    return text, line[len(text) :]
