"""Sealed files that are whole have to be told so, whatever happened while they were written (P64).

A `Seal` is made for each process here, as a sink would, and dropped where a SIGKILL would end it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from popproxy.sinks.seal import seals
from popproxy.sinks.series import Chain
from tests.support import samples
from tests.support.chained import lines_of, verify
from tests.support.sealing import logs, sealed, write
from tests.support.sinks import FaultyDisk, disk
from tests.support.waiting import until

__all__ = ["disk"]


def assert_whole(folder: Path, records: int) -> None:
    found = verify(*logs(folder))
    told = [(one.walked.path, one.broken, one.faults) for one in found.verdicts]
    assert found.whole, (found.faults, told)
    assert sum(one.walked.records for one in found.verdicts) == records


def killed(folder: Path) -> dict[Path, bytes]:
    """Keep what a SIGKILL would leave at this moment."""
    return {path: path.read_bytes() for path in folder.iterdir()}


def put_back(folder: Path, kept: dict[Path, bytes]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for path, octets in kept.items():
        path.write_bytes(octets)


async def test_p61_a_file_that_is_due_for_rotation_when_the_disk_has_room_again_is_whole(
    tmp_path: Path, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sealed(tmp_path / "all.jsonl", rotate_every="hour")
    await write(sink, "a")
    disk.room = 0
    for record in samples.session("b"):
        sink.put(record)
    until(lambda: not sink.healthy, "the full disk")
    once = _Once()
    monkeypatch.setattr("popproxy.sinks.keeping.period_of", once)
    until(lambda: not once.answers, "another attempt")
    disk.room = None
    until(lambda: sink.healthy, "the recovery")
    await sink.close(5)
    assert len(logs(tmp_path)) == 2
    assert_whole(tmp_path, 6)


class _Once:
    """Has a new period begin, once."""

    def __init__(self) -> None:
        self.answers = [0, 1]

    def __call__(self, *_: object) -> int:
        return self.answers.pop() if self.answers else 1


async def test_p64_a_file_that_a_killed_process_left_is_whole_if_it_is_rotated_next(
    tmp_path: Path,
) -> None:
    sink = sealed(tmp_path / "all.jsonl")
    await write(sink, *"abcdefgh")
    kept = killed(tmp_path)
    await sink.close(5)
    put_back(tmp_path, kept)
    sink = sealed(tmp_path / "all.jsonl", rotate_size=4000)
    await write(sink, "x")
    await sink.close(5)
    assert len(logs(tmp_path)) == 2
    assert_whole(tmp_path, 27)


@pytest.mark.parametrize("torn", [b"", b'{"@timestamp":"2026'])
@pytest.mark.parametrize("name", ["all.jsonl.1", "all.20261127T180000Z.jsonl"])
async def test_p64_killed_between_the_renaming_and_the_next_file(
    tmp_path: Path, name: str, torn: bytes
) -> None:
    path = tmp_path / "all.jsonl"
    sink = sealed(path)
    await write(sink, "a", "b")
    path.rename(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    note = (tmp_path / ".all.jsonl.chain").read_bytes()
    await sink.close(5)
    with (tmp_path / name).open("r+b") as file:  # the same file, as after a SIGKILL
        file.truncate(0)
        file.write(before + torn)
    (tmp_path / ".all.jsonl.chain").write_bytes(note)
    sink = sealed(path)
    await write(sink, "c")
    await sink.close(5)
    assert_whole(tmp_path, 9)


async def test_p64_killed_when_the_next_file_is_announced(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    make = seals(str(path), Chain())
    keeper = make(str(path))
    octets = keeper.opened(str(path), 0)
    keeper.written()
    path.write_bytes(octets)
    path.write_bytes(b"")  # copytruncate
    (tmp_path / "all.jsonl.1").write_bytes(octets)
    keeper.opened(str(path), 0)
    sink = sealed(path)
    await write(sink, "a")
    await sink.close(5)
    assert_whole(tmp_path, 3)


async def test_p64_killed_when_it_was_about_to_go_on_with_a_file_that_is_renamed_then(
    tmp_path: Path,
) -> None:
    path = tmp_path / "all.jsonl"
    make = seals(str(path), Chain())
    keeper = make(str(path))
    path.touch()
    path.write_bytes(keeper.opened(str(path), 0))
    keeper.written()
    later = seals(str(path), Chain())(str(path))  # keeper's process was killed, and so is this one
    later.opened(str(path), path.stat().st_size)
    path.rename(tmp_path / "all.jsonl.1")
    sink = sealed(path)
    await write(sink, "a")
    await sink.close(5)
    assert_whole(tmp_path, 3)


async def test_p62_a_file_that_is_moved_while_the_disk_is_full(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    path = tmp_path / "all.jsonl"
    sink = sealed(path)
    await write(sink, "a")
    disk.room = 1500  # for some of the records, which are written at once
    for name in "bcdef":
        for record in samples.session(name):
            sink.put(record)
    until(lambda: not sink.healthy, "the full disk")
    path.rename(tmp_path / "all.jsonl.1")
    disk.room = None
    until(lambda: sink.healthy, "the recovery")
    await write(sink, "g")
    await sink.close(5)
    assert_whole(tmp_path, 21)


@pytest.mark.parametrize("end", ["close", "reopen"])
async def test_every_file_gets_its_end_though_few_are_held_open(tmp_path: Path, end: str) -> None:
    sink = sealed(tmp_path / "&H.jsonl", open_files=1)
    for name in "abc":
        start = samples.start(name, upstream=f"pop3://{name}.example.org:110")
        sink.put(start)
        assert await sink.flushed()
    if end == "reopen":
        sink.reopen()
        until(lambda: all(b"file.end" in lines_of(path)[-1] for path in logs(tmp_path)), "the ends")
    await sink.close(5)
    assert_whole(tmp_path, 3)


def test_what_was_removed_is_told_when_a_file_ends(tmp_path: Path) -> None:
    path = str(tmp_path / "all.jsonl")
    keeper = seals(path, Chain())(path)
    removed = tmp_path / "all.20261120T120000Z.jsonl"
    removed.write_bytes(keeper.opened(path, 0))
    keeper.removing(str(removed))
    last = [json.loads(line) for line in keeper.closing("ended").splitlines()]
    assert [line["event"]["action"] for line in last] == ["file.removed", "file.end"]
