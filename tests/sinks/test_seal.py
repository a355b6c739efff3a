"""Sealed files of JSON lines, as the sink writes them, held against what verifies them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
import zstandard

from popproxy.formats.jsonl import is_about_file
from popproxy.records import Record
from popproxy.sinks import FileSink
from popproxy.sinks.seal import seals
from popproxy.sinks.series import Chain
from tests.support import samples
from tests.support.chained import lines_of, rewrite, verify
from tests.support.sealing import logs, sealed, write
from tests.support.sinks import FaultyDisk, disk
from tests.support.waiting import until

__all__ = ["disk"]


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def actions(path: Path) -> list[str]:
    return [json.loads(line)["event"]["action"] for line in lines_of(path)]


def starts(path: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in lines_of(path) if is_about_file(line)]
    return [line["file"] for line in lines if line["event"]["action"] == "file.start"]


async def test_a_file_that_was_closed_is_whole_and_says_so(tmp_path: Path) -> None:
    sink = sealed(tmp_path / "all.jsonl")
    await write(sink, "a", "b")
    await sink.close(5)
    path = tmp_path / "all.jsonl"
    found = verify(path)
    assert found.whole
    assert found.verdicts[0].ending == "closed"
    assert found.verdicts[0].walked.records == 6
    assert (actions(path)[0], actions(path)[-1]) == ("file.start", "file.end")


async def test_a_file_that_is_being_written_is_locked_and_told_from_one_that_was_cut(
    tmp_path: Path,
) -> None:
    path = tmp_path / "all.jsonl"
    sink = sealed(path)
    await write(sink, "a")
    assert verify(path, writing=[path]).verdicts[0].ending == "writing"
    assert not verify(path).whole
    other = sealed(path)
    for record in samples.session("b"):
        other.put(record)
    until(lambda: not other.healthy, "the lock of the first")
    assert "another process uses it" in other.state.trouble
    await sink.close(5)
    until(lambda: other.healthy, "the lock's end")
    await other.close(5)
    assert verify(path).whole
    assert verify(path).verdicts[0].walked.records == 6


async def test_p62_the_chain_goes_on_over_files_that_were_set_aside(tmp_path: Path) -> None:
    sink = sealed(tmp_path / "all.jsonl", rotate_size=4000)
    for name in "abcdefghijklmnop":
        await write(sink, name)
    await sink.close(5)
    files = logs(tmp_path)
    assert len(files) > 3
    found = verify(*files)
    assert found.whole
    assert sum(verdict.walked.records for verdict in found.verdicts) == 3 * 16
    removed = sorted(files)[1]
    assert not verify(*(path for path in files if path != removed)).whole


async def test_the_chain_goes_on_over_restarts_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    for name in "abc":
        sink = sealed(path)
        await write(sink, name)
        await sink.close(5)
    assert verify(path).whole
    assert [start["number"] for start in starts(path)] == [1, 2, 3]
    assert len({str(start["series"]) for start in starts(path)}) == 1
    assert [start.get("continues", False) for start in starts(path)] == [False, True, True]


async def test_the_chain_goes_on_into_a_new_file_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    sink = sealed(path)
    await write(sink, "a")
    await sink.close(5)
    path.rename(tmp_path / "all.1.jsonl")
    sink = sealed(path)
    await write(sink, "b")
    await sink.close(5)
    assert verify(path, tmp_path / "all.1.jsonl").whole
    lines = lines_of(tmp_path / "all.1.jsonl")
    rewrite(tmp_path / "all.1.jsonl", lines[:-1])  # its end is cut off
    assert not verify(path, tmp_path / "all.1.jsonl").whole


@pytest.mark.parametrize("note", ["kept", "lost", "damaged"])
@pytest.mark.parametrize("torn", [b"", b'{"@timestamp":"2026'])
async def test_p64_a_process_that_was_killed_left_a_chain_that_goes_on(
    tmp_path: Path, note: str, torn: bytes
) -> None:
    path = tmp_path / "all.jsonl"
    sink = sealed(path)
    await write(sink, "a", "b")
    kept = path.read_bytes()
    noted = (tmp_path / ".all.jsonl.chain").read_bytes()
    await sink.close(5)
    # What a SIGKILL would have left.
    path.write_bytes(kept + torn)
    (tmp_path / ".all.jsonl.chain").write_bytes(noted if note == "kept" else b"{")
    if note == "lost":
        (tmp_path / ".all.jsonl.chain").unlink()
    sink = sealed(path)
    await write(sink, "c")
    await sink.close(5)
    found = verify(path)
    assert found.whole
    assert found.verdicts[0].walked.records == 9
    assert len(found.verdicts[0].walked.torn) == bool(torn)
    assert [start["number"] for start in starts(path)] == [1, 2]


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("all*"))


def note_of(path: Path) -> Path:
    return path.parent / f".{path.name}.chain"


def contents(path: Path) -> tuple[bytes, bytes]:
    return path.read_bytes(), note_of(path).read_bytes()


def put_back(path: Path, before: tuple[bytes, bytes]) -> None:
    path.write_bytes(before[0])
    note_of(path).write_bytes(before[1])


async def _killed(path: Path, *sessions: str) -> None:
    """Leave what a SIGKILL would: no end, and the note as it was."""
    sink = sealed(path)
    await write(sink, *sessions)
    before = contents(path)
    await sink.close(5)
    put_back(path, before)


@pytest.mark.parametrize("noted", [True, False])
async def test_p64_a_file_of_a_killed_process_that_is_set_aside_at_the_start_goes_on(
    tmp_path: Path, noted: bool
) -> None:
    path = tmp_path / "all.jsonl"
    await _killed(path, "a", "b")
    if not noted:
        note_of(path).unlink()
    sink = sealed(path, rotate_size=path.stat().st_size + 10)
    await write(sink, "c")
    await sink.close(5)
    files = files_of(tmp_path)
    assert len(files) == 2
    found = verify(*files)
    assert found.whole
    assert [verdict.ending for verdict in found.verdicts] == ["continued", "closed"]


async def test_p64_a_file_that_was_renamed_before_its_popproxy_was_killed_is_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "all.jsonl"
    await _killed(path, "a")
    path.rename(tmp_path / "all.jsonl-20261128")  # as logrotate does, which then tells popproxy
    sink = sealed(path)
    await write(sink, "b")
    await sink.close(5)
    found = verify(*files_of(tmp_path))
    assert found.whole
    assert sorted(verdict.ending for verdict in found.verdicts) == ["closed", "continued"]


@pytest.mark.parametrize("packed", [False, True])
async def test_p64_a_process_that_was_killed_while_it_set_a_file_aside_left_a_chain_that_goes_on(
    tmp_path: Path, packed: bool
) -> None:
    path = tmp_path / "all.jsonl"
    await _killed(path, "a")
    aside = tmp_path / "all.20261128T120000Z.jsonl"
    path.rename(aside)
    if packed:
        (tmp_path / f"{aside.name}.zst").write_bytes(zstandard.compress(aside.read_bytes()))
        aside.unlink()
    sink = sealed(path)
    await write(sink, "b")
    await sink.close(5)
    found = verify(*files_of(tmp_path))
    assert found.whole
    assert sorted(verdict.ending for verdict in found.verdicts) == ["closed", "continued"]


async def test_a_file_that_was_announced_and_never_begun_is_not_missing(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    path = tmp_path / "all.jsonl"
    sink = sealed(path)
    await write(sink, "a")
    await sink.close(5)
    disk.room = 0
    sink = sealed(path)
    for record in samples.session("b"):
        sink.put(record)
    until(lambda: not sink.healthy, "the full disk")
    await sink.close(0)
    disk.room = None
    sink = sealed(path)
    await write(sink, "c")
    await sink.close(5)
    assert verify(path).whole
    assert [start["number"] for start in starts(path)] == [1, 2]


@pytest.mark.parametrize("room", [0, 3, 300, 700])
async def test_p61_a_disk_that_was_full_leaves_the_chain_whole(
    tmp_path: Path, disk: FaultyDisk, room: int
) -> None:
    path = tmp_path / "all.jsonl"
    sink = sealed(path)
    await write(sink, "a")
    disk.room = room
    for record in samples.session("b"):
        sink.put(record)
    until(lambda: not sink.healthy, "the full disk")
    disk.room = None
    await write_until_healthy(sink, samples.session("c"))
    await sink.close(5)
    found = verify(path)
    assert found.whole
    assert found.verdicts[0].walked.records == 9


async def write_until_healthy(sink: FileSink, records: Iterable[Record]) -> None:
    until(lambda: sink.healthy, "the recovery")
    for record in records:
        sink.put(record)
    assert await sink.flushed()


async def test_p62_a_file_that_was_moved_is_closed_on_sighup_and_the_next_goes_on(
    tmp_path: Path,
) -> None:
    path, moved = tmp_path / "all.jsonl", tmp_path / "all.jsonl.1"
    sink = sealed(path)
    await write(sink, "a")
    path.rename(moved)
    await write(sink, "b")
    sink.reopen()
    until(lambda: actions(moved)[-1] == "file.end", "the end of the file that was moved")
    await write(sink, "c")
    await sink.close(5)
    found = verify(path, moved)
    assert found.whole
    assert [verdict.ending for verdict in found.verdicts] == ["closed", "closed"]
    assert [verdict.walked.records for verdict in found.verdicts] == [6, 3]


async def test_p62_a_file_that_was_copied_and_truncated_goes_on_from_its_copy(
    tmp_path: Path,
) -> None:
    path, copy = tmp_path / "all.jsonl", tmp_path / "all.jsonl.1"
    sink = sealed(path)
    await write(sink, "a")
    copy.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    await write(sink, "b")
    await sink.close(5)
    found = verify(path, copy)
    assert found.whole
    assert [verdict.ending for verdict in found.verdicts] == ["continued", "closed"]


async def test_files_of_single_sessions_are_one_series_and_one_that_is_gone_is_missed(
    tmp_path: Path,
) -> None:
    sink = sealed(tmp_path / "&S.jsonl", open_files=2)
    every = [samples.session(name) for name in "abcde"]
    for records in zip(*every, strict=True):  # all at once, so that files are closed and opened
        for record in records:
            sink.put(record)
        assert await sink.flushed()
    await sink.close(5)
    files = sorted(logs(tmp_path))
    assert [path.name for path in files] == [f"{name}.jsonl" for name in "abcde"]
    found = verify(*files)
    assert found.whole
    assert sum(verdict.walked.records for verdict in found.verdicts) == 15
    assert not verify(*files[:2], *files[3:]).whole


async def test_a_fifo_is_sealed_without_a_note(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = sealed(path)
    await write(sink, "a")
    await sink.close(5)
    read = os.read(reader, 1 << 20)
    os.close(reader)
    (tmp_path / "read.jsonl").write_bytes(read)
    assert verify(tmp_path / "read.jsonl").whole
    assert not hidden(tmp_path)


async def test_checkpoints_stand_behind_records_when_it_is_time_and_are_handed_on(
    tmp_path: Path,
) -> None:
    heard: list[tuple[str, bytes]] = []
    path = tmp_path / "all.jsonl"
    chain = Chain(checkpoint=0, on_line=lambda action, line: heard.append((action, line)))
    sink = sealed(path, chain)
    await write(sink, "a")
    await sink.close(5)
    assert verify(path).whole
    assert actions(path).count("file.checkpoint") == 3
    about = [line for line in lines_of(path) if json.loads(line)["event"]["action"][:4] == "file"]
    assert [line for _, line in heard] == about
    assert [action for action, _ in heard][-1] == "file.end"


async def test_lines_that_were_not_written_are_not_handed_on(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    heard: list[bytes] = []
    path = tmp_path / "all.jsonl"
    sink = sealed(path, Chain(on_line=lambda _, line: heard.append(line)))
    disk.room = 5
    for record in samples.session("a"):
        sink.put(record)
    until(lambda: not sink.healthy, "the full disk")
    assert heard == []
    disk.room = None
    until(lambda: sink.healthy, "the recovery")
    await sink.close(5)
    assert len(heard) == 2
    assert all(line in path.read_bytes() for line in heard)


async def test_a_note_that_cannot_be_written_costs_no_record(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    (tmp_path / ".all.jsonl.chain.new").mkdir()
    sink = sealed(path)
    await write(sink, "a")
    await sink.close(5)
    assert verify(path).whole


def test_p61_a_removal_whose_line_found_no_room_is_told_once_more(tmp_path: Path) -> None:
    path = str(tmp_path / "all.jsonl")
    keeper = seals(path, Chain())(path)
    removed = tmp_path / "all.20261120T120000Z.jsonl"
    removed.write_bytes(keeper.opened(path, 0))
    keeper.removing(str(removed))
    line = b'{"event":{"action":"x"}}\n'
    assert b"file.removed" in keeper.seal(line)
    keeper.opened(path, 0)  # nothing of it stayed in the file
    assert b"file.removed" in keeper.seal(line)
    keeper.written()
    assert b"file.removed" not in keeper.seal(line)


def test_p64_a_removal_is_told_by_the_next_process_if_popproxy_was_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "all.jsonl")
    (tmp_path / "all.jsonl").touch()
    keeper = seals(path, Chain())(path)
    removed = tmp_path / "all.20261120T120000Z.jsonl"
    removed.write_bytes(keeper.opened(path, 0))
    keeper.removing(str(removed))
    later = seals(path, Chain())(path)
    later.opened(path, 0)
    assert b"file.removed" in later.seal(b'{"event":{"action":"x"}}\n')
    later.written()
    last = seals(path, Chain())(path)
    last.opened(path, 0)
    assert b"file.removed" not in last.seal(b'{"event":{"action":"x"}}\n')


def test_a_removal_behind_the_last_record_is_told_before_the_end(tmp_path: Path) -> None:
    path = str(tmp_path / "all.jsonl")
    keeper = seals(path, Chain())(path)
    removed = tmp_path / "all.20261120T120000Z.jsonl"
    removed.write_bytes(keeper.opened(path, 0))
    keeper.written()
    keeper.removing(str(removed))
    first, second = keeper.closing("ended").splitlines()
    assert b"file.removed" in first
    assert b"file.end" in second
