"""The files that one output writes, one after the other or side by side: their numbers and chain.

A hidden file beside the logs, the *note*, remembers what the last file was, so that the chain goes
on over restarts: `.NAME.chain`. It is written when a file is opened, before and after its first
line is there, and when a file is closed. What a crash left behind is not in the note but in the log
itself, at its end. A lost note costs a look through the whole log, and no more; a forged one cannot
make a log whole that is not.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from popproxy.formats.chain import State
from popproxy.formats.file_lines import Earlier
from popproxy.formats.sealing import Sign
from popproxy.sinks import tail
from popproxy.sinks.base import Notices, explain
from popproxy.sinks.closed_files import ClosedFiles
from popproxy.sinks.files import FILE_MODE, PACKED, open_directory
from popproxy.sinks.naming import Template

CHECKPOINT: Final = 60.0
"""Seconds between two checkpoints, if records come."""
_NOTE_MAX: Final = 4 * 1024 * 1024
_LATEST: Final = 3  # files that were set aside last, among which one is looked for


@dataclass(frozen=True, slots=True)
class Chain:
    """How JSON lines are sealed.

    Attributes:
        sign: Signs lines about files; None leaves them unsigned.
        checkpoint: Seconds between two checkpoints, if records come.
        on_line: Called with each line about a file that is written, by any sink's thread. May not
            wait, and may not raise.
    """

    sign: Sign | None = None
    checkpoint: float = CHECKPOINT
    on_line: Callable[[str, bytes], None] | None = None


class Note(msgspec.Struct, kw_only=True, frozen=True):
    """What is remembered of a series.

    Attributes:
        series: The series.
        number: Number of the file that was opened last.
        path: Its path.
        pending: Whether it is not known to hold its first line.
        inode: Its number in its file system, by which it is found if others rename it.
        before: What it is to go on from, while that is not known.
        n: Number of the last line, if it was closed.
        sha256: The hash of that.
        removed: Files that were removed for good, of which no line tells yet.
    """

    series: str
    number: int
    path: str
    pending: bool = False
    inode: int = 0
    n: int | None = None
    sha256: str | None = None
    before: Earlier | None = None
    removed: list[Earlier] = []

    @property
    def earlier(self) -> Earlier:
        """The file as the one behind it will name it."""
        name = os.path.basename(self.path)  # noqa: PTH119 -- paths are text here
        return Earlier(number=self.number, name=name, n=self.n, sha256=self.sha256)


def earlier(number: int, name: str, state: State | None) -> Earlier:
    """Name a file for the one behind it.

    Args:
        number: Its number in the series.
        name: Its name.
        state: How far its chain came, if that is known.
    """
    if state is None:
        return Earlier(number=number, name=name)
    return Earlier(number=number, name=name, n=state.n, sha256=state.digest.hex())


class Series:
    """Numbers the files of an output. Only the sink's thread uses it, but for `remove`.

    Args:
        template: Names the files.
        notices: Where to tell that the note cannot be written.

    Attributes:
        id: The same for all its files, also of earlier processes.
        single: Whether only one file at a time is written, so that the chain goes on over files.
        last: The file that was opened last.
        without_end: By path, how far files came that were not closed, for who goes on with one.
    """

    def __init__(self, template: Template, notices: Notices) -> None:
        self.id = ""
        self.single = not (template.per_session or template.per_server)
        self.last: Earlier | None = None
        self.without_end: dict[str, tuple[State | None, Earlier | None]] = {}
        self._lock = threading.Lock()  # for what is noted
        self._noted: Note | None = None
        self._untold: list[Earlier] = []  # files that were removed, of which no line tells yet
        self._telling: set[int] = set()  # the numbers of those of which one is being written
        self._number = 0
        self._notices = notices
        self._closed = ClosedFiles(template)
        self._directory = template.fixed_directory
        rest = template.text[len(self._directory) :].lstrip("/")
        self._name = f".{rest.replace('/', '.')}.chain"

    def load(self, path: str) -> None:
        """Find out, before the first file is opened, what an earlier process wrote.

        Args:
            path: The file that is opened, or that was set aside before it was; tells what it is,
                should the note be lost.
        """
        if self.id:
            return
        note = self._read()
        if note is None:
            first, numbers = tail.file_lines(path)
            self.id = first.file.series if first is not None else secrets.token_hex(8)
            if first is not None:
                note = Note(series=self.id, number=max(numbers), path=path)
                self._number = note.number
                self.last = _with_state(note)
            return
        self.id = note.series
        with self._lock:
            self._untold = note.removed + self._untold
        where = note.path if note.n is not None else self._where(note)
        number = note.number
        if note.pending and where is None:
            number -= 1  # what was begun has left nothing, wherever the file is by now
        self._number = number
        if number < note.number and note.before is not None:
            self.last = note.before
        elif number:
            note = msgspec.structs.replace(note, number=number)
            path = where or self._where(note) or note.path
            self.last = _with_state(msgspec.structs.replace(note, path=path))

    def _where(self, note: Note) -> str | None:
        """Find a file that was not closed, by its number; None if it is nowhere."""
        for path in self._perhaps(note):
            first, numbers = tail.file_lines(path)
            ours = first is not None and first.file.series == note.series
            if ours and note.number in numbers:
                return path
        return None

    def _perhaps(self, note: Note) -> Iterator[str]:
        """Say where a file may be: others rename it, as logrotate does, and popproxy, too."""
        yield note.path
        with contextlib.suppress(OSError):
            yield from tail.of_inode(os.path.dirname(note.path), note.inode)  # noqa: PTH120 -- text
        with contextlib.suppress(OSError):
            for closed in reversed(self._closed.find()[-_LATEST:]):
                yield closed.path
                yield closed.path + PACKED  # it may have been packed just now

    def reserve(self) -> int:
        """Give the next file's number."""
        self._number += 1
        return self._number

    def reached(self, file: Earlier) -> None:
        """Hear how far a file has come, for the one that is opened next."""
        if file.number == self._number:
            self.last = file

    def announce(self, number: int, path: str, before: Earlier | None) -> None:
        """Note that a file is opened, whose first line is still to be written.

        Args:
            number: The file's number.
            path: Its path.
            before: What its chain goes on from, if that is known.
        """
        self._note(Note(series=self.id, number=number, path=path, pending=True, before=before))

    def remember(self, number: int, path: str, state: State | None) -> None:
        """Note that a file was begun, or closed.

        Args:
            number: The file's number.
            path: Its path.
            state: How far its chain came, if it is closed.
        """
        n, sha256 = (state.n, state.digest.hex()) if state is not None else (None, None)
        self._note(Note(series=self.id, number=number, path=path, n=n, sha256=sha256))

    def _note(self, note: Note) -> None:
        if note.number < self._number:
            return  # another file was opened since
        with self._lock:
            self._noted = msgspec.structs.replace(note, inode=tail.inode_of(note.path))
            self._save()

    def remove(self, files: list[Earlier]) -> None:
        """Hear of files that are about to be removed for good; any thread may tell.

        It is noted at once, so that a line tells of it even if popproxy is killed before.
        """
        with self._lock:
            self._untold += files
            self._save()

    def to_tell(self) -> list[Earlier]:
        """Give the removed files of which a line is to be written now."""
        if not self._untold:
            return []
        with self._lock:
            files = [file for file in self._untold if file.number not in self._telling]
            self._telling.update(file.number for file in files)
            return files

    def not_told(self, files: list[Earlier]) -> None:
        """Hear that lines about removed files were not written after all."""
        with self._lock:
            self._telling.difference_update(file.number for file in files)

    def told(self, files: list[Earlier]) -> None:
        """Hear that lines about removed files were written."""
        with self._lock:
            numbers = {file.number for file in files}
            self._telling -= numbers
            self._untold = [file for file in self._untold if file.number not in numbers]
            self._save()

    def _save(self) -> None:
        if self._noted is None:
            return
        note = msgspec.structs.replace(self._noted, removed=self._untold)
        try:
            self._write(msgspec.json.encode(note) + b"\n")
        except OSError as error:
            self._notices.warn(
                "chain_not_noted",
                f"{self._name} cannot be written: {explain(error)}; records are sealed all the"
                " same, but a restart may begin a new chain",
                cause=explain(error),
            )

    def _read(self) -> Note | None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            parent = open_directory(self._directory)
            try:
                descriptor = os.open(self._name, flags, dir_fd=parent)
            finally:
                os.close(parent)
            with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor
                note = msgspec.json.decode(file.read(_NOTE_MAX), type=Note)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._notices.warn(
                "chain_note_unreadable",
                f"{self._name} cannot be read; the log itself is looked through instead",
            )
            return None
        return note if note.series and note.number > 0 else None

    def _write(self, octets: bytes) -> None:
        parent = open_directory(self._directory)
        temporary = f"{self._name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(temporary, flags, FILE_MODE, dir_fd=parent)
            with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor
                file.write(octets)
            os.rename(temporary, self._name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            os.close(parent)


def _with_state(note: Note) -> Earlier:
    """Complete what a note says of a file by what the file itself says, which may be more."""
    state = tail.last_link(note.path)
    return note.earlier if state is None else earlier(note.number, note.earlier.name, state)
