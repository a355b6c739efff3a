"""Logs that put a mark before each line: MailKit, fetchmail, curl -v, plain `C:`/`S:` transcripts.

    MailKit        S: +OK ready                 2025-11-22T10:00:00.0000000Z C: QUIT
    fetchmail -vv  fetchmail: POP3< +OK ready   fetchmail: POP3> QUIT
    curl -v        < +OK ready                  > QUIT

Everything else in them is for people, and passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, NamedTuple

from popproxy.importers.lines import cut_end, lines_of, start_lines
from popproxy.importers.marked import Marked
from popproxy.importers.source import Begin, Finish, Item
from popproxy.pop3 import Side

_ISO = re.compile(rb"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")

_MAILKIT = re.compile(
    rb"(?:(?P<time>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)?) )?(?P<side>[CS]): ?(?P<text>.*)",
    re.DOTALL,
)
_FETCHMAIL = re.compile(
    rb"(?:.*?\s)?fetchmail(?:\[\d+\])?: POP3(?P<side>[<>]) ?(?P<text>.*)", re.DOTALL
)
# With -o, curl draws a progress meter, and goes on behind it without a new line.
_CURL = re.compile(
    rb"(?:\r[ 0-9.:kMGTP-]++)*+(?:\d\d:\d\d:\d\d\.\d+ )?(?P<side>[<>]) ?(?P<text>.*)", re.DOTALL
)
_CURL_NOTE = re.compile(rb"(?:\d\d:\d\d:\d\d\.\d+ )?\* ")
_SUPPRESSED = re.compile(rb"\(?\s*logging suppressed", re.IGNORECASE)
_CONNECTED = re.compile(rb"Connected to pop3s?://", re.IGNORECASE)
_CLIENT: Final = frozenset({b"C", b">"})


class Mark(NamedTuple):
    """A line of a log that speaks of the wire."""

    side: Side
    text: bytes
    at: datetime | None = None


def time_of(text: bytes) -> datetime | None:
    """Read a time in ISO 8601; without a zone it counts as UTC."""
    found = _ISO.match(text)
    if found is None:
        return None
    day, fraction, zone = (part.decode() if part else "" for part in found.groups())
    try:
        at = datetime.fromisoformat(f"{day}.{(fraction + '000000')[:6]}{zone or '+00:00'}")
    except ValueError:
        return None
    return at.astimezone(UTC)


def _side(mark: bytes) -> Side:
    return Side.CLIENT if mark.upper() in _CLIENT else Side.SERVER


def _read(
    file: IO[bytes],
    mark_of: Callable[[bytes], Mark | None],
    begins: Callable[[bytes], bool] | None = None,
) -> Iterator[Item]:
    """Read a log.

    Args:
        file: The log.
        mark_of: Reads a line.
        begins: Tells a line with which a connection begins.
    """
    marked, said = Marked(), False
    for line in lines_of(file):
        text, _ = cut_end(line)
        mark = mark_of(text)
        if mark is None:
            if said and begins is not None and begins(text):
                yield from marked.rest()
                yield Finish()
                marked, said = Marked(), False
            continue
        if not said:
            yield Begin(at=mark.at)
            said = True
        if mark.side is Side.CLIENT and _SUPPRESSED.match(mark.text):
            yield from marked.missing_line(mark.at)
        elif mark.side is Side.CLIENT:
            yield from marked.client(mark.text, mark.at)
        else:
            yield from marked.server(mark.text, mark.at)
    yield from marked.rest()


def _by(pattern: re.Pattern[bytes]) -> Callable[[bytes], Mark | None]:
    def mark_of(text: bytes) -> Mark | None:
        found = pattern.fullmatch(text)
        if found is None:
            return None
        named = found.groupdict()
        return Mark(_side(named["side"]), named["text"], time_of(named.get("time") or b""))

    return mark_of


def _count(start: bytes, pattern: re.Pattern[bytes]) -> int:
    return sum(pattern.fullmatch(line) is not None for line in start_lines(start))


def _has_status(start: bytes, pattern: re.Pattern[bytes]) -> bool:
    """Tell whether a line with the mark holds a status line."""
    for line in start_lines(start):
        found = pattern.fullmatch(line)
        if found is not None and found["text"].startswith((b"+OK", b"-ERR")):
            return True
    return False


def is_mailkit(start: bytes) -> bool:
    """Tell a protocol log of MailKit."""
    lines = start_lines(start)
    return any(_CONNECTED.match(line) for line in lines[:5]) and _has_status(start, _MAILKIT)


def read_mailkit(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read a protocol log of MailKit."""
    return _read(file, _by(_MAILKIT), lambda text: _CONNECTED.match(text) is not None)


def is_transcript(start: bytes) -> bool:
    """Tell a plain transcript."""
    return _has_status(start, _MAILKIT)


def read_transcript(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read a plain transcript; an empty line between lines changes nothing."""
    return _read(file, _by(_MAILKIT))


def is_fetchmail(start: bytes) -> bool:
    """Tell what `fetchmail -v` says."""
    return _has_status(start, _FETCHMAIL)


def read_fetchmail(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read what `fetchmail -vv` says."""
    return _read(file, _by(_FETCHMAIL), lambda text: b"querying" in text or b"poll started" in text)


def is_curl(start: bytes) -> bool:
    """Tell what `curl -v` says."""
    lines = start_lines(start)
    return _has_status(start, _CURL) and any(_CURL_NOTE.search(line) for line in lines)


def read_curl(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read what `curl -v` says; the mail itself goes to standard output without a mark."""
    return _read(file, _by(_CURL), lambda text: b"Connected to " in text)
