"""sslsplit's content log (`-L`).

Each piece has a head, `TIME [ADDRESS]:PORT -> [ADDRESS]:PORT (OCTETS):`, and its octets below it.
Several connections may be in a log. Those of one connection each (`-S`, `-F`) have no heads; they
are read as a terminal's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from popproxy.importers.source import Begin, Finish, Item, LogError, Piece
from popproxy.pop3 import Side
from popproxy.records import Endpoint

_HEAD = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d) UTC "
    rb"\[?([0-9A-Fa-f:.]+)\]?:(\d{1,5}) -> \[?([0-9A-Fa-f:.]+)\]?:(\d{1,5}) "
    rb"\((\d{1,12}|EOF)\):?\r?\n"
)
_PIECE: Final = 64 * 1024
_CONNECTIONS_MOST: Final = 10_000

End = tuple[bytes, int]


def is_sslsplit(start: bytes) -> bool:
    """Tell a content log of sslsplit."""
    return _HEAD.match(start) is not None


def read_sslsplit(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read a content log of sslsplit.

    Raises:
        LogError: A head is none.
    """
    known: OrderedDict[frozenset[End], tuple[int, End]] = OrderedDict()  # number, and the server
    number = 0
    while head := file.readline(1024):
        found = _HEAD.fullmatch(head)
        if found is None:
            if not head.strip():
                continue
            raise LogError("between two pieces there is something else: the log is damaged")
        at = _time(found)
        source, destination = (found[7], int(found[8])), (found[9], int(found[10]))
        key = frozenset((source, destination))
        size = 0 if found[11] == b"EOF" else int(found[11])
        if key not in known:
            number += 1
            start = file.read(min(size, 4))
            file.seek(-len(start), 1)
            server = source if start.startswith((b"+OK", b"-ER")) else destination
            client = destination if server == source else source
            known[key] = number, server
            yield Begin(stream=number, at=at, client=_endpoint(client), server=_endpoint(server))
            if len(known) > _CONNECTIONS_MOST:
                _, (oldest, _) = known.popitem(last=False)
                yield Finish(stream=oldest)
        stream, server = known[key]
        side = Side.SERVER if source == server else Side.CLIENT
        while size:
            data = file.read(min(size, _PIECE))
            if not data:
                break
            size -= len(data)
            yield Piece(side=side, data=data, stream=stream, at=at)
        if found[11] == b"EOF":
            del known[key]
            yield Finish(stream=stream, at=at, reason="closed")


def _time(found: re.Match[bytes]) -> datetime | None:
    try:
        return datetime(*(int(found[number]) for number in range(1, 7)), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None


def _endpoint(end: End) -> Endpoint:
    return Endpoint(address=end[0].decode(), port=min(end[1], 65_535))
