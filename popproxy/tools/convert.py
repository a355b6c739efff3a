"""Captures from one format into another."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, tzinfo
from pathlib import PurePath
from typing import IO, Final

from popproxy.formats import CaptureKind, PuttyMode, Writer, writer_for
from popproxy.records import Record, SessionEnd, SessionStart
from popproxy.sinks.file_sink import server_of
from popproxy.sinks.naming import Template, TemplateError
from popproxy.tools.saving import Saved

ENDINGS: Final[dict[str, CaptureKind]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".log": "putty",
    ".putty": "putty",
    ".txt": "text",
    ".text": "text",
    ".pcapng": "pcapng",
    ".html": "html",
    ".htm": "html",
}
"""What a file's name tells about its format."""

OPEN_MOST: Final = 256
"""Files of sessions under way that may be open at once."""


class SeveralSessionsError(Exception):
    """A format that holds one session is to hold several."""


class TooManyFilesError(Exception):
    """More sessions were under way at once than files can be open."""


def kind_of(path: str) -> CaptureKind | None:
    """Tell a format by a file's name; None if it does not tell.

    Args:
        path: The file.
    """
    return ENDINGS.get(PurePath(path).suffix.lower())


def convert_to_file(
    records: Iterable[Record],
    file: IO[bytes],
    kind: CaptureKind,
    *,
    putty_mode: PuttyMode = "printable",
    tz: tzinfo | None = UTC,
) -> int:
    """Write records into one file.

    Args:
        records: What to write.
        file: Where to.
        kind: The format.
        putty_mode: Which of PuTTY's two ways.
        tz: Time zone of a PuTTY log's header.

    Returns:
        How many records there were.

    Raises:
        SeveralSessionsError: A PuTTY log would hold more than one session.
        OSError: The file cannot be written.
    """
    writer = writer_for(kind, putty_mode=putty_mode, tz=tz)
    count = 0
    session: str | None = None
    for count, record in enumerate(records, start=1):  # noqa: B007 - it is given back
        if kind == "putty" and session not in (None, record.session.id):
            raise SeveralSessionsError
        session = record.session.id
        file.write(writer.write(record))
    file.write(writer.end())
    return count


def convert_to_files(
    records: Iterable[Record],
    template: str,
    kind: CaptureKind,
    *,
    force: bool = False,
    putty_mode: PuttyMode = "printable",
    tz: tzinfo | None = UTC,
) -> list[str]:
    """Write each session into a file of its own.

    Args:
        records: What to write.
        template: Names the files, with the escapes of `popproxy.sinks.naming`.
        kind: The format.
        force: Replace files that are there.
        putty_mode: Which of PuTTY's two ways.
        tz: Time zone of the dates in names, and of a PuTTY log's header.

    Returns:
        The files' names, in the order in which they were done.

    Raises:
        TemplateError: The template cannot name a file.
        SeveralSessionsError: It gives two sessions the same name.
        TooManyFilesError: More than `OPEN_MOST` sessions were under way at once.
        OSError: A file cannot be written. Those that were done stay.
    """
    naming = Template(template)
    done: list[str] = []
    with ExitStack() as stack:
        under_way: dict[str, tuple[Saved, Writer]] = {}
        stack.callback(_abandon, under_way)
        for record in records:
            name = record.session.id
            if name not in under_way:
                path = _path(naming, record, tz)
                if path in done or any(str(one.path) == path for one, _ in under_way.values()):
                    raise SeveralSessionsError
                if len(under_way) >= OPEN_MOST:
                    raise TooManyFilesError
                writer = writer_for(kind, putty_mode=putty_mode, tz=tz)
                under_way[name] = (Saved(path, force=force), writer)
            saved, writer = under_way[name]
            saved.file.write(writer.write(record))
            if isinstance(record, SessionEnd):
                del under_way[name]
                done.append(_finish(saved, writer))
        done.extend(_finish(*under_way.pop(name)) for name in list(under_way))
    return done


def _abandon(under_way: dict[str, tuple[Saved, Writer]]) -> None:
    for saved, _ in under_way.values():
        saved.abandon()


def _finish(saved: Saved, writer: Writer) -> str:
    with saved:
        saved.file.write(writer.end())
    return str(saved.path)


def _path(naming: Template, record: Record, tz: tzinfo | None) -> str:
    host, port = server_of(record) if isinstance(record, SessionStart) else ("", 110)
    when = record.timestamp.astimezone(tz)
    return naming.expand(when=when, host=host, port=port, session_id=record.session.id)


__all__ = [
    "ENDINGS",
    "SeveralSessionsError",
    "TemplateError",
    "TooManyFilesError",
    "convert_to_file",
    "convert_to_files",
    "kind_of",
]
