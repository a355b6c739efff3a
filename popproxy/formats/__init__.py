"""Records to bytes and back, without input or output.

`writer_for` gives the writer of a format. The formats that can be read back have a `read` in their
own module: `popproxy.formats.jsonl.read`, `popproxy.formats.text.read`.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Literal, Protocol, assert_never, get_args

from popproxy.formats.errors import FormatError, TornError
from popproxy.formats.escape import restore, visible
from popproxy.formats.html import HtmlWriter
from popproxy.formats.jsonl import JsonLinesWriter
from popproxy.formats.pcapng import PcapngWriter
from popproxy.formats.putty import PuttyMode, PuttyWriter
from popproxy.formats.text import TextWriter
from popproxy.records import Record

Kind = Literal["jsonl", "text", "putty", "pcapng"]
WRITERS: tuple[Kind, ...] = get_args(Kind)
"""The formats that sessions can be recorded in as they happen."""

CaptureKind = Literal["jsonl", "text", "putty", "pcapng", "html"]
"""The formats that a finished capture can be written in."""

__all__ = [
    "WRITERS",
    "CaptureKind",
    "FormatError",
    "HtmlWriter",
    "JsonLinesWriter",
    "Kind",
    "PcapngWriter",
    "PuttyMode",
    "PuttyWriter",
    "TextWriter",
    "TornError",
    "Writer",
    "restore",
    "visible",
    "writer_for",
]


class Writer(Protocol):
    """Turns records into the bytes of one file; for a PuTTY log, of one session."""

    def write(self, record: Record) -> bytes:
        """Give the bytes that a record adds to the file; none if the format does not show it."""
        ...

    def end(self) -> bytes:
        """Give what belongs at the file's end. No record may follow."""
        ...


def writer_for(
    kind: CaptureKind, *, putty_mode: PuttyMode = "printable", tz: tzinfo | None = None
) -> Writer:
    """Make the writer for a new file.

    Args:
        kind: The format.
        putty_mode: Which of PuTTY's two ways to log; other formats have one only.
        tz: Time zone of a PuTTY log's header; the machine's if it is None.
    """
    match kind:
        case "jsonl":
            return JsonLinesWriter()
        case "text":
            return TextWriter()
        case "putty":
            return PuttyWriter(putty_mode, tz)
        case "pcapng":
            return PcapngWriter()
        case "html":
            return HtmlWriter()
        case _:
            assert_never(kind)
