"""A capture that grows, is cut off in a line, is rotated away, and is truncated."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from popproxy.formats import FormatError, TextWriter, jsonl
from popproxy.records import Record
from popproxy.tools import follow as follow_module
from popproxy.tools.captures import CaptureError
from popproxy.tools.follow import follow
from tests.support.make_samples import SAMPLES, records

MADE = records("ordinary-session", 1)
LINES = [jsonl.encode(record) for record in MADE]


class OverError(Exception):
    """Nothing more will happen."""


def followed(
    path: Path, *events: Callable[[], object], kind: str | None = None
) -> list[list[Record]]:
    """Follow a file while things happen to it; give what came before each of them."""
    waiting = iter(events)
    came: list[list[Record]] = [[]]
    errors: list[FormatError] = []

    def wait() -> None:
        event = next(waiting, None)
        if event is None:
            raise OverError
        came.append([])
        event()

    def read() -> None:
        for record in follow(str(path), wait, kind=kind, on_error=errors.append):
            came[-1].append(record)

    with pytest.raises(OverError):
        read()
    assert errors == []
    return came


def append(path: Path, *pieces: bytes) -> Callable[[], None]:
    def event() -> None:
        with path.open("ab") as file:
            file.writelines(pieces)

    return event


def test_what_is_there_comes_at_once_and_the_rest_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"".join(LINES[:3]))
    came = followed(path, append(path, *LINES[3:5]), lambda: None, append(path, *LINES[5:]))
    assert came == [MADE[:3], MADE[3:5], [], MADE[5:]]


def test_a_torn_line_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(LINES[0] + LINES[1][:20])
    came = followed(
        path, append(path, LINES[1][20:-1]), append(path, b"\n" + LINES[2][:1]), lambda: None
    )
    assert came == [MADE[:1], [], MADE[1:2], []]


def test_an_empty_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.touch()
    assert followed(path, lambda: None, append(path, *LINES)) == [[], [], MADE]


def test_a_text_transcript_is_followed_too(tmp_path: Path) -> None:
    path = tmp_path / "c"
    writer = TextWriter()
    pieces = [writer.write(record) for record in MADE]
    path.write_bytes(pieces[0])
    came = followed(path, *(append(path, piece) for piece in pieces[1:]))
    assert [one for some in came for one in some] == MADE


@pytest.mark.parametrize("text", [False, True])
def test_a_file_that_is_moved_away_is_read_to_its_end(tmp_path: Path, *, text: bool) -> None:
    def written(some: Iterable[Record]) -> bytes:
        writer = TextWriter()
        return b"".join(map(writer.write if text else jsonl.encode, some))

    path, old = tmp_path / "c", tmp_path / "c.1"
    second = records("stls-refused", 2)
    whole = written(MADE)
    path.write_bytes(whole[: len(whole) // 2])

    def rotated() -> None:
        path.rename(old)
        append(old, whole[len(whole) // 2 :])()
        path.write_bytes(written(second))

    came = followed(path, lambda: path.rename(old), lambda: old.rename(path), rotated)
    assert [one for some in came for one in some] == [*MADE, *second]


def test_a_file_that_is_copied_and_truncated_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"".join(LINES[:5]) + b'{"torn')

    def rotated() -> None:
        shutil.copy(path, tmp_path / "c.1")
        os.truncate(path, 0)

    came = followed(path, rotated, append(path, *LINES[5:7]))
    assert came == [MADE[:5], [], MADE[5:7]]


def test_the_file_is_not_looked_at_again_and_again_while_it_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"".join(LINES))
    waited = 0

    def wait() -> None:
        nonlocal waited
        waited += 1
        if waited == 5:
            raise OverError

    reads = 0

    class Counted(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal reads
            reads += 1
            return super().read(size)

    monkeypatch.setattr(follow_module, "FileIO", Counted)
    with pytest.raises(OverError):
        list(follow(str(path), wait))
    assert reads == 1 + 5


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"PK\x03\x04junk\n", "can be followed"), (b"\x00\x01\n", "can be followed")],
)
def test_what_does_not_grow_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "c"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=words):
        next(follow(str(path), lambda: None))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(CaptureError, match=words):
            next(follow(str(path), lambda: None))


def test_a_line_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_module, "MAX_LINE", 1_000)
    path = tmp_path / "c"
    path.write_bytes(LINES[0] + b"x" * 2_000)
    with pytest.raises(CaptureError, match="MiB"):
        list(follow(str(path), lambda: None))


def test_damage_is_told_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(LINES[0] + b"junk\n" + LINES[1])
    errors: list[FormatError] = []

    def wait() -> None:
        raise OverError

    with pytest.raises(OverError):
        list(follow(str(path), wait, on_error=errors.append))
    assert [error.line for error in errors] == [2]
    assert (SAMPLES / "session.jsonl").exists()
