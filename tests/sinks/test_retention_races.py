"""Files that are looked after while somebody else has to do with them, too (P62)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popproxy.formats.packed import open_packed
from popproxy.sinks import FileSink
from popproxy.sinks.base import Notices
from popproxy.sinks.naming import Template
from popproxy.sinks.retention import Caretaker, Retention
from popproxy.sinks.target import FileTarget
from tests.support import samples

NAME = "20261120t120000-abcdefg.jsonl"


def caretaker(template: Path, wanted: Retention, said: list[str] | None = None) -> Caretaker:
    return Caretaker(
        Template(str(template)), wanted, Notices("x", None if said is None else said.append)
    )


def logs(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def aged(path: Path, hours: float) -> None:
    moment = time.time() - hours * 3600
    os.utime(path, (moment, moment))


def during_packing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have something done when a file was read, and the packed one has not its name yet."""
    pack = Caretaker._pack_into

    def packing(self: Caretaker, target: int, file: object) -> None:
        pack(self, target, file)  # type: ignore[arg-type]
        monkeypatch.setattr(Caretaker, "_pack_into", pack)
        act()

    monkeypatch.setattr(Caretaker, "_pack_into", packing)


def test_p62_a_session_that_goes_on_while_its_file_is_packed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"first\n")
    aged(path, 2)
    target = FileTarget(str(path), lines=True, notices=Notices("x"), locked=True)

    def go_on() -> None:
        with pytest.raises(OSError, match="busy"):
            target.open()

    during_packing(monkeypatch, go_on)
    assert caretaker(tmp_path / "&S.jsonl", Retention(compress=True)).look()
    target.open()
    target.write(memoryview(b"second\n"))
    target.close()
    with open_packed(f"{path}.zst") as packed:
        assert packed.read() + path.read_bytes() == b"first\nsecond\n"


def test_p62_two_caretakers_of_one_folder_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"first\n")
    aged(path, 2)
    answers = []
    other = caretaker(tmp_path / "&S.jsonl", Retention(compress=True))
    during_packing(monkeypatch, lambda: answers.append(other.look()))
    assert caretaker(tmp_path / "&S.jsonl", Retention(compress=True)).look()
    assert answers == [False], "it looks again soon"
    assert [one.name for one in tmp_path.iterdir()] == [f"{NAME}.zst"]
    with open_packed(f"{path}.zst") as packed:
        assert packed.read() == b"first\n"


async def test_p62_a_file_that_is_open_is_not_removed_though_nothing_was_written_for_long(
    tmp_path: Path,
) -> None:
    wanted = Retention(keep_size=1)
    sink = FileSink("text", str(tmp_path / "&Y&M&D.text"), retention=wanted)
    sink.put(samples.start("a"))
    assert await sink.flushed()
    (path,) = logs(tmp_path)
    aged(path, 5)
    caretaker(tmp_path / "&Y&M&D.text", wanted).look()
    assert path.exists()
    await sink.close(5)
    caretaker(tmp_path / "&Y&M&D.text", wanted).look()
    assert not path.exists()
