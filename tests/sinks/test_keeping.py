"""Files that are set aside when they are full, and who keeps books of them (P61, P62)."""

from __future__ import annotations

import errno
import os
import stat
import threading
from datetime import datetime
from pathlib import Path

import pytest

from popproxy.formats import Kind
from popproxy.sinks import FileSink, keeping
from popproxy.sinks.files import set_aside
from popproxy.sinks.keeping import Closing, Every
from tests.support import samples
from tests.support.sinks import FaultyDisk, disk, places
from tests.support.waiting import until

__all__ = ["disk"]


class Books:
    """Writes down what it hears, and puts lines of its own around the records."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def opened(self, path: str, size: int) -> bytes:
        self.heard.append(f"opened {'new' if size == 0 else 'old'}")
        return b"# first\n"

    def seal(self, octets: bytes) -> bytes:
        self.heard.append("seal")
        return octets and b"+" + octets

    def written(self) -> None:
        self.heard.append("written")

    @property
    def lacks_end(self) -> bool:
        return False

    def closing(self, reason: Closing) -> bytes:
        self.heard.append(f"closing {reason}")
        return b"# last\n"

    def set_aside(self, path: str, now: str) -> None:
        self.heard.append("set aside")

    def removing(self, path: str) -> None:
        self.heard.append("removing")


def captures(folder: Path) -> list[Path]:
    """Give the files in the order in which they were written."""
    aside = [path for path in folder.iterdir() if path.name != "all.jsonl"]
    return [*sorted(aside, key=lambda path: path.stat().st_mtime_ns), folder / "all.jsonl"]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def fill(sink: FileSink, sessions: int) -> list[tuple[str, int]]:
    """Put whole sessions, one after the other; give the places of their records."""
    for number in range(sessions):
        for record in samples.session(f"s{number}"):
            sink.put(record)
        assert await sink.flushed()
    return [(f"s{number}", seq) for number in range(sessions) for seq in range(1, 4)]


async def test_p62_a_full_file_is_set_aside_between_two_records(tmp_path: Path) -> None:
    sink = FileSink("jsonl", str(tmp_path / "all.jsonl"), gather=0.001, rotate_size=3000)
    expected = await fill(sink, 20)
    await sink.close(5)
    found = captures(tmp_path)
    assert len(found) > 3
    assert [place for path in found for place in places(path)] == expected
    assert all(path.stat().st_size <= 3000 for path in found)
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    assert all(path.read_bytes().endswith(b"\n") for path in found)


async def test_p62_files_of_single_sessions_are_not_set_aside(tmp_path: Path) -> None:
    sink = FileSink("jsonl", str(tmp_path / "&S.jsonl"), gather=0.001, rotate_size=10)
    for record in (*samples.session("s0"), *samples.session("s1")):
        sink.put(record)
        assert await sink.flushed()
    await sink.close(5)
    assert names_in(tmp_path) == {"s0.jsonl", "s1.jsonl"}


def test_p62_no_file_is_replaced_by_one_that_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    for number in range(3):
        path.write_text(str(number))
        descriptor = os.open(path, os.O_RDONLY)
        aside = set_aside(str(path), descriptor, samples.start("a").timestamp)
        os.close(descriptor)
        if number == 1:  # what was packed keeps its name
            assert aside is not None
            Path(aside).rename(f"{aside}.zst")
    assert sorted(each.read_text() for each in tmp_path.iterdir()) == ["0", "1", "2"]


def test_p62_names_of_a_second_go_up_although_earlier_ones_are_free_again(tmp_path: Path) -> None:
    path, when = tmp_path / "all.jsonl", samples.start("a").timestamp
    names = []
    for number in range(4):
        path.write_text(str(number))
        descriptor = os.open(path, os.O_RDONLY)
        aside = set_aside(str(path), descriptor, when)
        os.close(descriptor)
        assert aside is not None
        names.append(Path(aside).name.partition("Z")[2])
        if number == 1:
            (tmp_path / Path(aside).name.replace("-2", "")).unlink()
    assert names == [".jsonl", "-2.jsonl", "-3.jsonl", "-4.jsonl"]


def test_p62_what_others_put_under_the_name_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("ours")
    descriptor = os.open(path, os.O_RDONLY)
    path.rename(tmp_path / "moved")
    path.write_text("theirs")
    assert set_aside(str(path), descriptor, samples.start("a").timestamp) is None
    os.close(descriptor)
    assert path.read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 2


async def test_p62_a_fifo_is_never_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    sink = FileSink("jsonl", str(path), gather=0.001, retry=0.001, rotate_size=10)
    for record in samples.session("a"):
        sink.put(record)
    await sink.close(5)
    reader.join()
    assert read[0].count(b"\n") == 3
    assert names_in(tmp_path) == {"fifo"}


async def test_p61_a_file_that_cannot_be_renamed_is_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    said: list[str] = []
    path = tmp_path / "all.jsonl"
    sink = FileSink("jsonl", str(path), gather=0.001, rotate_size=1500, on_notice=said.append)
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", fail)
        expected = await fill(sink, 5)
    await sink.close(5)
    assert places(path) == expected
    assert names_in(tmp_path) == {"all.jsonl"}
    assert len(said) == 1
    assert "cannot be renamed: Read-only file system" in said[0]


async def test_p61_a_disk_that_is_full_while_files_are_set_aside_loses_nothing(
    tmp_path: Path, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "AGAIN", 0.0)
    sink = FileSink(
        "jsonl", str(tmp_path / "all.jsonl"), gather=0.001, retry=0.001, rotate_size=1500
    )
    expected = await fill(sink, 3)
    for room in (0, 1, 400):
        disk.room = room
        for record in samples.session(f"full{room}"):
            sink.put(record)
        until(lambda: not sink.healthy, "the full disk")
        disk.room = None
        until(lambda: sink.healthy, "the recovery")
        expected += [(f"full{room}", seq) for seq in range(1, 4)]
    assert await sink.flushed()
    await sink.close(5)
    assert sink.lost == 0
    assert [place for path in captures(tmp_path) for place in places(path)] == expected


async def test_p62_a_folder_that_was_removed_is_made_anew_by_a_full_file(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    sink = FileSink("jsonl", str(folder / "all.jsonl"), gather=0.001, rotate_size=1500)
    await fill(sink, 1)
    folder.rename(tmp_path / "moved")
    for record in samples.session("later"):
        sink.put(record)
    assert await sink.flushed()
    await sink.close(5)
    rest = [*(tmp_path / "moved").iterdir(), *folder.iterdir()]
    found = sorted(place for path in rest for place in places(path))
    assert found == sorted((name, seq) for name in ("s0", "later") for seq in range(1, 4))


async def test_a_keeper_hears_of_all_that_happens_to_a_file(tmp_path: Path) -> None:
    books = Books()
    path = tmp_path / "all.jsonl"
    sink = FileSink(
        "jsonl", str(path), gather=0.3, rotate_size=200, make_keeper=lambda _path: books
    )
    await fill(sink, 2)
    await sink.close(5)
    one = ["opened new", "seal", "seal", "seal", "written"]
    end = [*one, "seal", "closing ended", "written"]
    heard = [*one, "closing rotated", "written", *end]
    assert [each for each in books.heard if each != "set aside"] == heard
    assert books.heard.index("set aside") == len(one)
    for each in captures(tmp_path):
        lines = each.read_text().splitlines()
        assert [line[0] for line in lines] == ["#", "+", "+", "+", "#"]


async def test_a_keeper_is_asked_anew_when_nothing_of_a_write_stayed(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    books = Books()
    path = tmp_path / "all.jsonl"
    sink = FileSink("jsonl", str(path), gather=0.001, retry=0.001, make_keeper=lambda _path: books)
    disk.room = 3
    for record in samples.session("a"):
        sink.put(record)
    until(lambda: not sink.healthy, "the full disk")
    disk.room = None
    until(lambda: sink.healthy, "the recovery")
    assert await sink.flushed()
    await sink.close(5)
    assert [line[0] for line in path.read_text().splitlines()] == ["#", "+", "+", "+", "#"]
    assert books.heard.count("opened new") > 1
    assert books.heard.count("closing ended") == 1


async def test_p61_the_end_of_a_full_file_waits_for_room(tmp_path: Path, disk: FaultyDisk) -> None:
    sink = FileSink(
        "jsonl",
        str(tmp_path / "all.jsonl"),
        gather=0.3,
        retry=0.001,
        rotate_size=200,
        make_keeper=lambda _path: Books(),
    )
    await fill(sink, 1)
    disk.room = 3
    for record in samples.session("a"):
        sink.put(record)
    until(lambda: not sink.healthy, "the full disk")
    sink.reopen()
    disk.room = None
    until(lambda: sink.healthy, "the recovery")
    await sink.close(5)
    assert sink.lost == 0
    for path in captures(tmp_path):
        lines = path.read_text().splitlines()
        assert [line[0] for line in lines] == ["#", "+", "+", "+", "#"]
        assert (lines[0], lines[-1]) == ("# first", "# last")


def synced(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[int]:
    """Give what the file held at each time that it was synced."""
    sizes: list[int] = []

    def look(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            sizes.append(path.stat().st_size)

    monkeypatch.setattr(os, "fsync", look)
    return sizes


async def test_p64_a_record_counts_as_written_when_the_disk_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "all.jsonl"
    sizes = synced(monkeypatch, path)
    sink = FileSink("jsonl", str(path), gather=0.001, fsync="record")
    for number in range(3):
        sink.put(samples.command("a", number + 1, "STAT"))
        assert await sink.flushed()
        assert sizes[-1] == path.stat().st_size
    await sink.close(5)


async def test_p64_the_disk_has_records_within_a_second_also_if_none_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "all.jsonl"
    sizes = synced(monkeypatch, path)
    sink = FileSink("jsonl", str(path), gather=0.001, fsync="interval")
    sink.put(samples.command("a", 1, "STAT"))
    assert await sink.flushed()
    assert sizes == []
    sink.put(samples.command("a", 2, "STAT"))
    assert await sink.flushed()
    until(lambda: sizes, "the interval")
    assert sizes == [path.stat().st_size]
    sink.put(samples.command("a", 3, "STAT"))
    await sink.close(5)
    assert sizes == [sizes[0], path.stat().st_size]


async def test_p64_a_disk_that_fails_to_sync_is_an_output_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "all.jsonl"
    sink = FileSink("jsonl", str(path), gather=0.001, retry=0.001, fsync="record")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        sink.put(samples.command("a", 1, "STAT"))
        assert not await sink.flushed()
    until(lambda: sink.healthy, "the recovery")
    assert await sink.flushed()
    await sink.close(5)
    assert places(path) == [("a", 1)]


@pytest.mark.parametrize("kind", ["jsonl", "text"])
async def test_p61_a_torn_last_line_is_ended_and_told_of(tmp_path: Path, kind: Kind) -> None:
    said: list[str] = []
    path = tmp_path / "all.log"
    path.write_bytes(b"whole\n{torn")
    path.chmod(0o600)
    sink = FileSink(kind, str(path), gather=0.001, on_notice=said.append)
    sink.put(samples.start("a"))
    await sink.close(5)
    assert path.read_bytes().startswith(b"whole\n{torn\n")
    assert len(said) == 1
    assert "ended within a line" in said[0]


@pytest.mark.parametrize(
    ("every", "same", "next_one"),
    [
        ("hour", "2026-11-27T18:59:59", "2026-11-27T19:00:00"),
        ("day", "2026-11-27T23:59:59", "2026-11-28T00:00:00"),
        ("week", "2026-11-29T23:59:59", "2026-11-30T00:00:00"),
        ("month", "2026-11-30T23:59:59", "2026-12-01T00:00:00"),
        ("hour", "2025-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("week", "2026-11-23T00:00:00", "2027-01-04T00:00:00"),
    ],
)
async def test_p62_a_file_is_set_aside_when_its_period_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: Every, same: str, next_one: str
) -> None:
    path = tmp_path / "all.jsonl"
    sink = FileSink("jsonl", str(path), gather=0.001, rotate_every=every)
    for moment, files in (
        ("2026-11-27T18:00:00", 1),
        (same, 1),
        (next_one, 2),
        (same, 2),
        (next_one, 2),
    ):
        now = datetime.fromisoformat(f"{moment}+00:00")
        monkeypatch.setattr(keeping, "utc_now", lambda now=now: now)
        sink.put(samples.command("a", files, "STAT"))
        assert await sink.flushed()
        assert len(names_in(tmp_path)) == files
    await sink.close(5)


async def test_p62_a_file_of_an_earlier_day_is_set_aside_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    for files in (1, 2):
        sink = FileSink("jsonl", str(path), gather=0.001, rotate_every="day")
        sink.put(samples.command("a", files, "STAT"))
        await sink.close(5)
        assert len(names_in(tmp_path)) == files
        os.utime(path, (0, 0))


async def test_p62_a_file_that_was_renamed_gets_its_end_on_sighup(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    sink = FileSink("jsonl", str(path), gather=0.3, make_keeper=lambda _path: Books())
    await fill(sink, 1)
    path.rename(tmp_path / "moved")
    sink.reopen()
    moved = tmp_path / "moved"
    until(lambda: moved.read_bytes().endswith(b"# last\n"), "the end")
    await fill(sink, 1)
    await sink.close(5)
    for each in (tmp_path / "moved", path):
        lines = each.read_text().splitlines()
        assert (lines[0], len(lines), lines[-1]) == ("# first", 5, "# last")
