"""curl's `--trace` and `--trace-ascii`.

Each read or write has a head, `<= Recv header, 70 bytes (0x46)`, and its octets below it: in hex,
or as text in which CRLF ends a row, and octets that are no text stand as dots. What belongs to a
mail goes to curl's output and is not in the trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from popproxy.importers.lines import cut_end, lines_of, start_lines
from popproxy.importers.marked import Marked
from popproxy.importers.source import Begin, Finish, Item

_HEAD = re.compile(
    rb"(?:(?:[\d-]+T)?(\d\d):(\d\d):(\d\d)\.(\d{1,6})\S* )?(?:\[[^\]]*\] )?"
    rb"(<=|=>|==) (Recv header|Send header|Recv data|Send data|Info)[,:].*",
    re.DOTALL,
)
_SIZE = re.compile(rb".*?, (\d{1,9}) bytes \(0x[0-9a-f]+\)", re.DOTALL)
_ROW = re.compile(rb"([0-9a-f]{4,8}): (.*)", re.DOTALL)
_HEX = re.compile(rb"(?:[0-9a-f]{2} ){1,16}")
_HEX_COLUMNS = 48
_ROW_MOST = 80
_MOST = 1024 * 1024


def is_curl_trace(start: bytes) -> bool:
    """Tell a trace of curl."""
    return any(
        (found := _HEAD.fullmatch(line)) is not None and found[6] != b"Info"
        for line in start_lines(start)
    )


def read_curl_trace(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read a trace of curl."""
    reader = _Reader()
    for line in lines_of(file):
        text, _ = cut_end(line)
        head = _HEAD.fullmatch(text)
        if head is not None:
            yield from reader.dump()
            yield from reader.head(head, text)
        elif (row := _ROW.fullmatch(text)) is not None:
            reader.row(int(row[1], 16), row[2])
    yield from reader.dump()
    yield from reader.marked.rest()


class _Reader:
    """Puts the rows of a dump together."""

    def __init__(self) -> None:
        self.marked = Marked()
        self._client = self._wanted = False
        self._size = 0
        self._at: datetime | None = None
        self._rows: list[tuple[int, bytes]] = []
        self._held = 0
        self._said = False

    def head(self, head: re.Match[bytes], text: bytes) -> Iterator[Item]:
        """Take the head of a dump."""
        size = _SIZE.match(text)
        self._client = head[5] == b"=>"
        self._wanted = head[6].endswith(b"header") and size is not None
        self._size = int(size[1]) if size else 0
        if head[1]:
            hour, minute, second = (int(head[number]) for number in (1, 2, 3))
            micros = int(head[4].ljust(6, b"0"))
            self._at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
                hours=hour, minutes=minute, seconds=second, microseconds=micros
            )
        if head[6] == b"Info" and b"Connected to " in text:
            if self._said:
                yield Finish()
                self.marked, self._said = Marked(), False
            yield Begin(at=self._at)

    def row(self, offset: int, text: bytes) -> None:
        """Take a row of a dump."""
        # A row of hex has five times the octets that it stands for; an empty one stands for two.
        if self._wanted and self._held < 5 * min(self._size, _MOST) + _ROW_MOST:
            self._rows.append((offset, text))
            self._held += max(len(text), 2)

    def dump(self) -> Iterator[Item]:
        """Give what the rows hold."""
        rows, self._rows, self._held = self._rows, [], 0
        if not self._wanted or not rows:
            return
        octets = _from_hex(rows, self._size)
        if octets is None:
            octets = _from_text(rows, self._size)
        self._said = True
        take = self.marked.client if self._client else self.marked.server
        for line in octets.splitlines(keepends=True):
            text, end = cut_end(line)
            yield from take(text, self._at, end)


def _from_hex(rows: list[tuple[int, bytes]], size: int) -> bytes | None:
    """Read a hex dump; None if it is none."""
    octets = bytearray()
    for offset, text in rows:
        found = _HEX.match(text[:_HEX_COLUMNS])
        if found is None or offset != len(octets):
            return None
        row = bytes.fromhex(found[0].decode())
        shown = bytes(octet if 0x20 <= octet < 0x7F else 0x2E for octet in row)
        if text[_HEX_COLUMNS:].strip(b"\r\n") not in (shown, shown.rstrip()):
            return None
        octets += row
    return bytes(octets) if len(octets) == min(size, _MOST) else None


def _from_text(rows: list[tuple[int, bytes]], size: int) -> bytes:
    """Read rows of text: where the next one begins two octets later than it could, CRLF was."""
    octets = bytearray()
    for number, (_, text) in enumerate(rows):
        octets += text
        end = rows[number + 1][0] if number + 1 < len(rows) else size
        if end - len(octets) == 2:
            octets += b"\r\n"
    return bytes(octets)
