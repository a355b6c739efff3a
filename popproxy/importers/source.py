"""What an importer yields: what happened on the wire, as far as a log tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Literal

from popproxy.pop3 import Side
from popproxy.records import Endpoint, TlsPart

Inferred = Literal["side", "time", "pauses", "line-ends", "order", "addresses"]
"""What may have been guessed of a whole log."""


class LogError(Exception):
    """A log cannot be read any further.

    Attributes:
        message: Why, and what to do, in words for a person; quotes of the log are escaped.
        line: The line's number, from 1; 0 if it is not known.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message, line)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A connection begins.

    Attributes:
        stream: Tells connections apart that a log holds at the same time.
        at: When, if the log tells.
        client: Where the client is, if the log tells.
        server: Where the server is, if the log tells.
    """

    stream: int = 0
    at: datetime | None = None
    client: Endpoint | None = None
    server: Endpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Piece:
    """Octets that a side sent, in one read as far as is known.

    Attributes:
        side: Who.
        data: The octets.
        stream: On which connection; one that did not begin yet begins here.
        at: When, if the log tells.
        made_up: The log does not have them, but the framing needs them.
    """

    side: Side
    data: bytes
    stream: int = 0
    at: datetime | None = None
    made_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The log lacks something here.

    Attributes:
        why: What, and why, in words; nothing of the log's.
        stream: On which connection.
    """

    why: str
    stream: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsBegins:
    """TLS began: what comes is its content.

    Attributes:
        part: What the log tells of it; nothing that was not checked.
        stream: On which connection.
    """

    part: TlsPart
    stream: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """A connection ended.

    Attributes:
        stream: Which.
        reason: Why, as in `session.end`.
        at: When, if the log tells.
    """

    stream: int = 0
    reason: str = "log-ended"
    at: datetime | None = None


Item = Begin | Piece | Missing | TlsBegins | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """A kind of log.

    Attributes:
        name: As `--from` takes it.
        title: As a person calls it.
        recognises: Tells from the first 64 KiB whether a file is one.
        read: Reads a file that can be read in any order; the path is that of the file, for logs
            that are of two files.
        inferred: What is guessed of every log of the kind.
    """

    name: str
    title: str
    recognises: Callable[[bytes], bool]
    read: Callable[[IO[bytes], Path | None], Iterator[Item]]
    inferred: tuple[Inferred, ...] = ()
