"""Files that were set aside: packed, kept for a time, and removed (P62)."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from popproxy.formats.packed import open_packed
from popproxy.sinks import FileSink, closed_files, retention
from popproxy.sinks.base import Notices
from popproxy.sinks.naming import Template
from popproxy.sinks.retention import Caretaker, Retention
from popproxy.sinks.seal import seals
from popproxy.sinks.series import Chain
from popproxy.tools import captures
from tests.support import samples
from tests.support.chained import verify
from tests.support.modes import modes_at_birth
from tests.support.programs import needs
from tests.support.waiting import until

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OLD, OLDER = "all.20261120T120000Z.jsonl", "all.20261110T120000Z.jsonl"
FRESH = "all.20261128T110000Z.jsonl"


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "utc_now", lambda: NOW)
    monkeypatch.setattr(closed_files, "utc_now", lambda: NOW)


def made(folder: Path, *names: str, octets: int = 1000) -> None:
    for name in names:
        (folder / name).write_bytes(name.encode().ljust(octets, b"."))


def look(folder: Path, wanted: Retention, told: list[str] | None = None) -> bool:
    notices = Notices("--jsonl all.jsonl", None if told is None else told.append)
    return Caretaker(Template(str(folder / "all.jsonl")), wanted, notices).look()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_p62_files_are_removed_by_the_time_in_their_names(tmp_path: Path) -> None:
    made(tmp_path, "all.jsonl", OLD, OLDER, FRESH, f"{OLDER[:-6]}-2.jsonl.zst")
    assert look(tmp_path, Retention(keep_days=10))
    assert names(tmp_path) == {"all.jsonl", OLD, FRESH}


def test_p62_the_oldest_files_go_when_all_are_too_large(tmp_path: Path) -> None:
    made(tmp_path, "all.jsonl", OLD, OLDER, FRESH)
    look(tmp_path, Retention(keep_size=4000))
    assert names(tmp_path) == {"all.jsonl", OLD, OLDER, FRESH}
    look(tmp_path, Retention(keep_size=2500))
    assert names(tmp_path) == {"all.jsonl", FRESH}
    look(tmp_path, Retention(keep_size=1))
    assert names(tmp_path) == {"all.jsonl"}, "what is being written stays"


FOREIGN = [
    "all.jsonl",
    "all.jsonl.1",
    "all.20261110.jsonl",
    "all.20261110T120000Z.text",
    "all.20261110T120000Z.jsonl.zst.old",
    "all.20261399T120000Z.jsonl",
    "other.20261110T120000Z.jsonl",
    "xall.20261110T120000Z.jsonl",
    ".all.20261110T120000Z.jsonl",
    ".other.20261110T120000Z.jsonl.zst.new",
]


def test_p62_nothing_else_is_touched(tmp_path: Path) -> None:
    made(tmp_path, *FOREIGN)
    (tmp_path / OLD).mkdir()
    (tmp_path / OLDER).symlink_to(tmp_path / "all.jsonl.1")
    before = names(tmp_path)
    look(tmp_path, Retention(keep_days=1, keep_size=1, compress=True))
    assert names(tmp_path) == before
    assert (tmp_path / "all.jsonl.1").stat().st_size == 1000


@needs("zstd")
def test_p62_files_are_packed_so_that_zstd_reads_them(tmp_path: Path) -> None:
    made(tmp_path, "all.jsonl", OLD, octets=1_000_000)
    os.utime(tmp_path / OLD, (1, 2))
    before = (tmp_path / OLD).read_bytes()
    assert look(tmp_path, Retention(compress=True))
    packed = tmp_path / f"{OLD}.zst"
    assert names(tmp_path) == {"all.jsonl", packed.name}
    assert packed.stat().st_size < 10_000
    assert packed.stat().st_mode & 0o777 == 0o600
    assert packed.stat().st_mtime == 2
    with open_packed(str(packed)) as file:
        assert file.read() == before
    said = subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True)
    assert said.stdout == before


def test_p69_a_packed_file_is_never_wider_than_it_ends_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "all.jsonl", OLD)
    with modes_at_birth(monkeypatch) as seen:
        assert look(tmp_path, Retention(compress=True))
    assert seen == [0o600]


def test_p62_an_interrupted_packing_is_cleaned_up_and_done_again(tmp_path: Path) -> None:
    made(tmp_path, "all.jsonl", OLD, f".{OLD}.zst.new")
    assert look(tmp_path, Retention(compress=True))
    assert names(tmp_path) == {"all.jsonl", f"{OLD}.zst"}
    # Killed between the packed file's name and the original's end.
    made(tmp_path, OLD)
    assert look(tmp_path, Retention(compress=True))
    assert names(tmp_path) == {"all.jsonl", f"{OLD}.zst"}


def test_p62_a_packed_file_of_other_content_is_not_replaced(tmp_path: Path) -> None:
    made(tmp_path, OLD)
    look(tmp_path, Retention(compress=True))
    packed = (tmp_path / f"{OLD}.zst").read_bytes()
    made(tmp_path, OLD, octets=1001)
    with pytest.raises(FileExistsError):
        look(tmp_path, Retention(compress=True))
    assert (tmp_path / OLD).stat().st_size == 1001
    assert (tmp_path / f"{OLD}.zst").read_bytes() == packed


def test_p62_a_name_that_is_just_being_taken_is_left_alone(tmp_path: Path) -> None:
    taken = f"all.{NOW:%Y%m%dT%H%M%SZ}.jsonl"
    aged(tmp_path / taken, 0, octets=0)
    aged(tmp_path / OLD, 8, octets=0)
    look(tmp_path, Retention(keep_days=1, keep_size=1, compress=True))
    assert names(tmp_path) == {taken}


def test_p61_a_full_disk_leaves_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "all.jsonl", OLD, OLDER)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        look(tmp_path, Retention(compress=True))
    assert names(tmp_path) == {"all.jsonl", OLD, OLDER}
    monkeypatch.undo()
    monkeypatch.setattr(retention, "utc_now", lambda: NOW)
    monkeypatch.setattr(closed_files, "utc_now", lambda: NOW)
    assert look(tmp_path, Retention(compress=True))
    assert names(tmp_path) == {"all.jsonl", f"{OLD}.zst", f"{OLDER}.zst"}


def test_p61_trouble_is_told_and_the_caretaker_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, OLD)
    told: list[str] = []
    monkeypatch.setattr(retention, "INTERVAL", 0.001)
    caretaker = Caretaker(
        Template(str(tmp_path / "all.jsonl")),
        Retention(compress=True),
        Notices("--jsonl all.jsonl", told.append),
    )
    (tmp_path / f"{OLD}.zst").mkdir()
    caretaker.wake()
    until(lambda: told, "the warning")
    assert "cannot be packed or removed: it is a directory; they stay" in told[0]
    (tmp_path / f"{OLD}.zst").rmdir()
    until(lambda: names(tmp_path) == {f"{OLD}.zst"}, "another look")
    caretaker.end()


def session_files(top: Path, template: str, wanted: Retention) -> None:
    Caretaker(Template(f"{top}/{template}"), wanted, Notices("--putty", None)).look()


ID = "20261101t120000-abc000"


def aged(path: Path, days: float, octets: int = 1000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * octets)
    when = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (when, when))


def below(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def test_p62_files_of_single_sessions_are_looked_after_when_nobody_writes_them(
    tmp_path: Path,
) -> None:
    for day in (1, 2, 3, 20, 40):
        aged(tmp_path / f"202611{day:02}-120000-20261101t120000-abc000{day % 10}.log", 41 - day)
    aged(tmp_path / "20261128-115959-20261128t115959-abc0009.log", 0.01)
    aged(tmp_path / "notes.log", 100)
    aged(tmp_path / "20261101-120000.log", 100)
    template = "&Y&M&D-&T-&S.log"
    session_files(tmp_path, template, Retention(keep_days=30))
    left = below(tmp_path)
    assert {"notes.log", "20261101-120000.log"} <= left, "these are not ours"
    assert sorted(left)[1:] == [
        "20261120-120000-20261101t120000-abc0000.log",
        "20261128-115959-20261128t115959-abc0009.log",
        "20261140-120000-20261101t120000-abc0000.log",
        "notes.log",
    ]
    session_files(tmp_path, template, Retention(compress=True))
    assert sorted(below(tmp_path))[1:] == [
        "20261120-120000-20261101t120000-abc0000.log.zst",
        "20261128-115959-20261128t115959-abc0009.log",
        "20261140-120000-20261101t120000-abc0000.log.zst",
        "notes.log",
    ], "what was written within the hour is left alone"
    session_files(tmp_path, template, Retention(keep_size=1))
    assert sorted(below(tmp_path))[1:] == [
        "20261128-115959-20261128t115959-abc0009.log",
        "notes.log",
    ]


def test_p62_folders_that_have_a_date_are_looked_through(tmp_path: Path) -> None:
    aged(tmp_path / f"2026/10/mail.example-{ID}1.log", 40)
    aged(tmp_path / f"2026/11/mail.example-{ID}2.log", 2)
    aged(tmp_path / f"2026/old/mail.example-{ID}3.log", 40)
    (tmp_path / "2025").symlink_to(tmp_path / "2026")
    session_files(tmp_path, "&Y/&M/&H-&S.log", Retention(keep_days=30))
    assert below(tmp_path) == {
        f"2026/11/mail.example-{ID}2.log",
        f"2026/old/mail.example-{ID}3.log",
    }


def test_p62_a_file_that_servers_share_goes_on_and_what_was_set_aside_of_it_goes(
    tmp_path: Path,
) -> None:
    aged(tmp_path / "mail.example.jsonl", 40)
    aged(tmp_path / "mail.example.20261001T120000Z.jsonl", 40)
    session_files(tmp_path, "&H.jsonl", Retention(keep_days=30, compress=True))
    assert below(tmp_path) == {"mail.example.jsonl"}


def test_p62_files_of_earlier_days_are_closed(tmp_path: Path) -> None:
    aged(tmp_path / "20261001.jsonl", 40)
    aged(tmp_path / "20261127.jsonl", 1)
    aged(tmp_path / "20261128.jsonl", 0)
    session_files(tmp_path, "&Y&M&D.jsonl", Retention(keep_days=30, compress=True))
    assert below(tmp_path) == {"20261127.jsonl.zst", "20261128.jsonl"}


async def test_p62_the_chain_of_files_of_single_sessions_tells_which_were_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # what is written now has to be younger than an hour
    path = f"{tmp_path}/&S.jsonl"

    def make(wanted: Retention) -> FileSink:
        make_keeper = seals(path, Chain())
        return FileSink("jsonl", path, gather=0.001, make_keeper=make_keeper, retention=wanted)

    ids = [f"{ID}{number}" for number in range(3)]
    files = [tmp_path / f"{one}.jsonl" for one in ids]
    sink = make(Retention())
    await write(sink, ids[0])
    await sink.close(5)
    yesterday = time.time() - 86400
    os.utime(files[0], (yesterday, yesterday))
    sink = make(Retention(keep_size=1))
    await write(sink, ids[1])
    until(lambda: files[0].name not in names(tmp_path), "the removal")
    await write(sink, ids[2])
    await sink.close(5)
    assert verify(*files[1:]).whole
    assert b'"reason":"expired"' in b"".join(file.read_bytes() for file in files[1:])


def test_p62_files_of_others_in_the_same_folder_are_not_touched(tmp_path: Path) -> None:
    others = ["dpkg.log", "mail.example.log", "2026.log", "20261101t120000-abc.log", ".a.log"]
    for name in others:
        aged(tmp_path / name, 100)
    for template in ("&S.log", "&H.log", "&H-&P.log", "x.log"):
        session_files(tmp_path, template, Retention(keep_days=1, keep_size=1, compress=True))
    assert below(tmp_path) == set(others)


async def write(sink: FileSink, *sessions: str) -> None:
    for name in sessions:
        for record in samples.session(name):
            sink.put(record)
        assert await sink.flushed()


def sealed(folder: Path, wanted: Retention) -> FileSink:
    path = str(folder / "all.jsonl")
    return FileSink(
        "jsonl",
        path,
        gather=0.001,
        rotate_size=3000,
        make_keeper=seals(path, Chain()),
        retention=wanted,
    )


async def test_p62_a_live_sink_packs_what_it_set_aside_and_all_of_it_is_read(
    tmp_path: Path,
) -> None:
    sink = sealed(tmp_path, Retention(compress=True))
    await write(sink, *"abcdefghij")
    until(
        lambda: (
            len(names(tmp_path)) > 3
            and all(name.endswith(".zst") for name in names(tmp_path) if "Z" in name)
        ),
        "the packing",
    )
    await sink.close(5)
    files = [tmp_path / name for name in names(tmp_path) if not name.startswith(".")]
    found = verify(*files)
    assert found.whole
    assert len(files) > 3
    assert sum(verdict.walked.records for verdict in found.verdicts) == 30
    read = [record for path in files for record in captures.read(str(path))]
    assert len(read) == 30


async def test_p62_the_chain_tells_which_files_were_removed(tmp_path: Path) -> None:
    sink = sealed(tmp_path, Retention(keep_size=5000))
    await write(sink, *"abcdefghijklmnopqrst")
    until(lambda: sum((tmp_path / name).stat().st_size for name in asides(tmp_path)) < 5000, "size")
    await write(sink, "u")
    await sink.close(5)
    kept = [tmp_path / name for name in names(tmp_path) if not name.startswith(".")]
    assert (found := verify(*kept)).whole, found.faults
    content = b"".join(path.read_bytes() for path in kept)
    assert content.count(b'"reason":"expired"') > 0


def asides(folder: Path) -> list[str]:
    return [name for name in names(folder) if "Z" in name]


async def test_a_file_that_was_damaged_or_cut_is_told_of(tmp_path: Path) -> None:
    made(tmp_path, OLD, octets=100_000)
    look(tmp_path, Retention(compress=True))
    packed = tmp_path / f"{OLD}.zst"
    whole = packed.read_bytes()
    packed.write_bytes(whole[:20] + bytes([whole[20] ^ 255]) + whole[21:])
    with open_packed(str(packed)) as file, pytest.raises(OSError, match="it is damaged"):
        file.read()


async def test_p62_closing_does_not_wait_for_the_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, begun = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        held.wait(30)

    monkeypatch.setattr(Caretaker, "_pack_into", slow)
    sink = sealed(tmp_path, Retention(compress=True))
    await write(sink, *"abcdefghij")
    until(begun.is_set, "the packing")
    await sink.close(5)
    assert not held.is_set()
    held.set()
