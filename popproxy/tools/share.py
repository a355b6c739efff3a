"""Makes the bundle of a bug report: a capture without what is private in it, and the proof of that.

The capture is read twice. First its words are learned (`popproxy.privacy.sanitise.personal`), then
it is sanitised and written, file by file, into a folder of its own. All that was written is then
searched for every word that was learned, in every encoding, before it is packed. Whoever packs a
bundle asks its owner first, with the list of what was replaced.

Nothing of the process outlives it but the bundle: the key of the pseudonyms is in memory only.
"""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from popproxy.formats import HtmlWriter, PuttyWriter, jsonl
from popproxy.privacy.sanitise import Keys, Sanitiser, sanitise
from popproxy.records import (
    Record,
    SessionEnd,
    TlsEnd,
    TlsFailed,
    TlsStart,
)
from popproxy.tools.captures import BUNDLED
from popproxy.tools.check import Checked, check
from popproxy.tools.share_learner import Learner
from popproxy.tools.share_parts import Made, Wish
from popproxy.tools.share_proof import PIECE, members, prove
from popproxy.tools.share_texts import README, removed_text, tls_text, versions

Source = Callable[[], Iterator[Record]]
"""Reads all records that are to be shared, from the beginning, as often as it is called."""

_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""What a zip file's members are dated: the earliest that there is, so that it tells nothing."""

_TLS_MOST: Final = 10_000

__all__ = ["Made", "Source", "Wish", "make", "pack"]


def make(source: Source, folder: Path, wish: Wish, *, attempts: int = 2) -> Made:
    """Make a bundle's files, and look for what must not be in them.

    Args:
        source: The capture.
        folder: An empty folder of the caller's.
        wish: What is wanted.
        attempts: How often to try with another key if a pseudonym happens to be a word that is
            looked for.

    Returns:
        What was made. If there are hits, the files must be thrown away.
    """
    learner = Learner(wish)
    for record in source():
        learner.learn(record)
    made = Made()
    for _ in range(attempts):
        made = _write(source, folder, wish, learner)
        made.hits = [*prove(folder, wish, learner.personal)]
        if not made.hits:
            break
    return made


def _write(source: Source, folder: Path, wish: Wish, learner: Learner) -> Made:
    """Sanitise a capture and write a bundle's files."""
    for file in (*folder.glob("*.*"), *folder.glob("putty/*")):
        if file.is_file():
            file.unlink()
    sanitiser = Sanitiser(
        Keys(secrets.token_bytes(32), taken=learner.personal.holds),
        level=wish.level,
        keep_lines=wish.keep_lines,
        taken=learner.personal.holds,
    )
    facts: list[Record] = []
    with _Files(folder) as files:
        checked = check(_written(sanitise(source(), sanitiser), files, facts))
        sessions = files.sessions
    made = Made(
        removed=sanitiser.removed,
        sessions=sessions,
        messages=learner.messages,
        words=len(learner.personal),
        complete=learner.personal.complete,
    )
    made.text = removed_text(made, wish)
    _put(folder / "REMOVED.txt", made.text)
    _put(folder / "README.txt", README)
    _put(folder / "findings.txt", _findings(checked))
    _put(folder / "findings.json", msgspec.json.encode(checked).decode() + "\n")
    _put(folder / "tls.txt", tls_text(facts))
    _put(folder / "versions.txt", versions())
    return made


def _written(records: Iterable[Record], files: _Files, facts: list[Record]) -> Iterator[Record]:
    for record in records:
        files.write(record)
        if isinstance(record, TlsStart | TlsFailed | TlsEnd) and len(facts) < _TLS_MOST:
            facts.append(record)
        yield record


class _Files:
    """The capture as JSON lines and as a page, and a PuTTY log of each session.

    A file is open only while something is written to it: a capture may have thousands of sessions
    at the same time.
    """

    def __init__(self, folder: Path) -> None:
        self._putty = folder / "putty"
        self._putty.mkdir(mode=0o700, exist_ok=True)
        self._capture = (folder / BUNDLED).open("wb")
        self._page = (folder / "capture.html").open("wb")
        self._html = HtmlWriter()
        self._writers: dict[str, PuttyWriter] = {}
        self.sessions = 0

    def __enter__(self) -> _Files:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is held, and close."""
        for name, writer in self._writers.items():
            self._append(name, writer.end())
        self._page.write(self._html.end())
        self._page.close()
        self._capture.close()

    def write(self, record: Record) -> None:
        """Write a record to all files that it belongs to."""
        self._capture.write(jsonl.encode(record))
        self._page.write(self._html.write(record))
        name = record.session.id
        writer = self._writers.get(name)
        if writer is None:
            self.sessions += 1
            writer = self._writers[name] = PuttyWriter("printable", tz=record.timestamp.tzinfo)
        self._append(name, writer.write(record))
        if isinstance(record, SessionEnd):
            del self._writers[name]

    def _append(self, name: str, octets: bytes) -> None:
        if octets:
            safe = "".join(char if char.isalnum() and char.isascii() else "-" for char in name)[
                :100
            ]
            with (self._putty / f"{safe}.log").open("ab") as file:
                file.write(octets)


def _put(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _findings(checked: Checked) -> str:
    lines = [f"sessions: {checked.sessions}, commands: {checked.commands}", ""]
    for found in checked.found:
        lines.append(f"{found.severity}: {found.code}, {found.count} times")
        lines.append(f"    {found.what} {found.rfc}".rstrip())
        lines += [
            f"    session {place.session}, record {place.seq}"
            + (
                f", command {place.command_seq} {place.command or ''}".rstrip()
                if place.command_seq
                else ""
            )
            for place in found.places
        ]
    if not checked.found:
        lines.append("Nothing was found.")
    return "\n".join(lines) + "\n"


def pack(folder: Path, file: IO[bytes]) -> None:
    """Pack a bundle's files.

    Args:
        folder: Where they are.
        file: Where the bundle goes.

    Raises:
        OSError: It cannot be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in members(folder):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o600 << 16
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as member:
                while piece := source.read(PIECE):
                    member.write(piece)
