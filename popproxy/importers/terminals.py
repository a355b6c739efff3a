"""Logs of terminals: PuTTY's session log, telnet, netcat, `openssl s_client`.

What they have in common is in `popproxy.importers.unmarked`. PuTTY's log begins with a header that
tells the local time without a zone; it is taken for UTC. Another header, directly behind the last
octet, is where PuTTY went on writing to the same file.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from popproxy.importers.lines import lines_of, start_lines
from popproxy.importers.source import Begin, Item, TlsBegins
from popproxy.importers.unmarked import Unmarked, has_session
from popproxy.records import TlsPart

_HEADER = re.compile(
    rb"(?:=~){11}= PuTTY log (\d{4})\.(\d\d)\.(\d\d) (\d\d):(\d\d):(\d\d) (?:=~){11}=\r?\n?"
)
_START: Final = 64 * 1024
_IN_MEMORY: Final = 1024 * 1024
_CIPHER = re.compile(rb"New, (TLSv[0-9.]{1,4}), Cipher is ([A-Za-z0-9_-]{1,64})")


def is_putty(start: bytes) -> bool:
    """Tell PuTTY's session log."""
    return _HEADER.match(start.removeprefix(b"\xef\xbb\xbf")) is not None


def read_putty(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read PuTTY's session log, which may hold several sessions, each behind its header."""
    begin = Begin()
    part = _temporary()
    lf = _is_lf(file)
    for line in lines_of(file):
        place = 0
        for header in _HEADER.finditer(line):
            part.write(line[place : header.start()])
            yield from _session(part, begin, lf=lf)
            part, begin, place = _temporary(), Begin(at=_time(header)), header.end()
        part.write(line[place:])
    yield from _session(part, begin, lf=lf)


def _temporary() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_IN_MEMORY)


def _session(part: IO[bytes], begin: Begin, *, lf: bool) -> Iterator[Item]:
    with part:
        size = part.tell()
        part.seek(0)
        if size:
            yield begin
            yield from Unmarked(part, lf=lf).read()


def _time(header: re.Match[bytes]) -> datetime | None:
    try:
        return datetime(*(int(number) for number in header.groups()), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None


def _is_lf(file: IO[bytes]) -> bool:
    """Tell whether a log's lines end in LF alone."""
    start = _peek(file)
    return b"\r\n" not in start


def _peek(file: IO[bytes]) -> bytes:
    at = file.tell()
    start = file.read(_START)
    file.seek(at, io.SEEK_SET)
    return start


def is_terminal(start: bytes) -> bool:
    """Tell a session without marks, as of telnet, netcat or a blog post."""
    return has_session(start_lines(start))


def read_terminal(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read a session without marks."""
    start = _peek(file)
    entities = b"&lt;" in start and b"<" not in start
    yield from Unmarked(file, lf=_is_lf(file), entities=entities).read()


def is_s_client(start: bytes) -> bool:
    """Tell what `openssl s_client` says."""
    return any(line.startswith(b"CONNECTED(") for line in start_lines(start)) and b"---" in start


def read_s_client(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read what `openssl s_client` says."""
    start = _peek(file)
    yield Begin()
    if found := _CIPHER.search(start):
        version, cipher = (text.decode() for text in found.groups())
        yield TlsBegins(part=TlsPart(leg="client", version=version, cipher=cipher))
    yield from Unmarked(file, lf=_is_lf(file), framed=True).read()
