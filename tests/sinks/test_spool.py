"""The spool: whole entries whatever happens, bounded, and what is missing is counted."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.sinks import spool as module
from popproxy.sinks.spool import LEAST_SIZE, Batch, Spool
from popproxy.sinks.spool_entries import pack


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(str(tmp_path / "a" / "spool"), LEAST_SIZE)
    yield made
    made.close()


def fill(spool: Spool, *messages: bytes) -> None:
    entries = b"".join(map(pack, messages))
    while entries:
        entries = entries[spool.append(entries) :]


def drained(spool: Spool, octets: int = 1000) -> tuple[list[bytes], int]:
    """Read everything; give it, and how many messages were missing."""
    messages: list[bytes] = []
    missing = 0
    while spool.unread:
        batch = spool.read(octets)
        assert batch.missing or batch.messages
        missing += batch.missing
        messages += batch.messages
    return messages, missing


def segments(spool: Spool) -> list[Path]:
    return sorted(Path(spool.path).glob("*.spool"))


def numbered(first: int, last: int, octets: int = 100) -> list[bytes]:
    return [b"%d:" % number + b"x" * octets for number in range(first, last)]


def test_messages_come_out_in_order_across_segments(spool: Spool) -> None:
    messages = numbered(0, 3000)
    fill(spool, *messages)
    assert len(segments(spool)) > 2
    assert drained(spool) == (messages, 0)
    assert spool.read(100) == Batch(0, False, [], 3000)
    fill(spool, b"later")
    assert spool.read(100) == Batch(0, False, [b"later"], 3001)


@pytest.mark.parametrize("octets", [0, 1, 7, 8, 9, 1000])
def test_reading_gives_one_message_at_least(octets: int, spool: Spool) -> None:
    messages = [b"x" * 5, b"y" * 300, b"z" * 70_000]
    fill(spool, *messages)
    assert drained(spool, octets) == (messages, 0)


def test_p69_nobody_else_can_read_it(spool: Spool) -> None:
    before = os.umask(0)
    try:
        fill(spool, b"a")
        spool.confirm(0)
        spool.persist()
    finally:
        os.umask(before)
    folder = Path(spool.path)
    assert {stat.S_IMODE(one.stat().st_mode) for one in (folder, folder.parent)} == {0o700}
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}


def test_what_was_not_confirmed_is_read_again_also_by_the_next_process(spool: Spool) -> None:
    fill(spool, b"0", b"1", b"2", b"3")
    assert drained(spool)[0] == [b"0", b"1", b"2", b"3"]
    spool.confirm(2)
    spool.rewind()
    assert drained(spool)[0] == [b"2", b"3"]
    spool.close()
    after = Spool(spool.path, LEAST_SIZE)
    after.open()
    assert after.waiting == 2
    fill(after, b"4")
    assert drained(after) == ([b"2", b"3", b"4"], 0)
    after.close()


def test_what_is_confirmed_is_deleted_and_numbers_go_on(spool: Spool) -> None:
    fill(spool, *numbered(0, 5000))
    spool.read(1)
    spool.confirm(5000)
    spool.persist()
    assert segments(spool) == [], "records lie no longer on the disk than they have to"
    fill(spool, b"5000")
    spool.close()
    after = Spool(spool.path, LEAST_SIZE)
    after.open()
    assert (after.waiting, after.end) == (1, 5001)
    assert drained(after) == ([b"5000"], 0)
    after.close()


def test_numbers_go_on_also_if_nothing_was_left_for_the_next_process(spool: Spool) -> None:
    fill(spool, b"0", b"1")
    spool.read(1000)
    spool.confirm(2)
    spool.close()
    assert segments(spool) == []
    after = Spool(spool.path, LEAST_SIZE)
    fill(after, b"2")
    assert (after.waiting, after.end) == (1, 3)
    assert drained(after) == ([b"2"], 0)
    after.close()


def test_the_oldest_are_dropped_when_it_is_full_and_it_is_known_how_many(spool: Spool) -> None:
    messages = numbered(0, 30_000)
    for place in range(0, len(messages), 100):
        fill(spool, *messages[place : place + 100])
        assert sum(one.stat().st_size for one in segments(spool)) <= LEAST_SIZE
    lost = spool.lost
    assert lost > 10_000
    first = spool.read(1000)
    assert first == Batch(lost, False, [], lost)
    assert drained(spool) == (messages[lost:], 0)


def test_it_is_known_also_after_a_crash(spool: Spool, tmp_path: Path) -> None:
    fill(spool, *numbered(0, 30_000))
    shutil.copytree(spool.path, tmp_path / "as-it-was")
    after = Spool(str(tmp_path / "as-it-was"), LEAST_SIZE)
    messages, missing = drained_opened(after)
    assert missing == spool.lost
    assert messages == numbered(missing, 30_000)
    after.close()


def drained_opened(spool: Spool) -> tuple[list[bytes], int]:
    spool.open()
    return drained(spool)


def test_what_was_sent_is_dropped_without_being_lost(spool: Spool) -> None:
    for first in range(0, 30_000, 100):
        fill(spool, *numbered(first, first + 100))
        drained(spool)
    assert spool.lost == 0


def test_p27_if_it_has_to_keep_all_it_refuses_more(spool: Spool) -> None:
    spool.keep = True
    with pytest.raises(OSError, match="No space") as refused:
        fill(spool, *numbered(0, 30_000))
    assert refused.value.errno == errno.ENOSPC
    held = spool.waiting
    assert drained(spool)[1] == 0
    assert spool.lost == 0
    spool.confirm(held)
    spool.persist()
    fill(spool, b"there is room again")


def test_two_processes_cannot_use_it_at_once(spool: Spool) -> None:
    fill(spool, b"a")
    other = Spool(spool.path, LEAST_SIZE)
    with pytest.raises(OSError, match="busy") as refused:
        other.open()
    assert refused.value.errno == errno.EBUSY
    spool.close()
    other.open()
    assert other.waiting == 1
    other.close()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=40),
    cut=st.integers(0, 100_000),
    flip=st.booleans(),
)
def test_p64_wherever_a_crash_tears_it_whole_entries_stay(
    sizes: list[int], cut: int, flip: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(folder, LEAST_SIZE)
        messages = [b"%06d" % place + b"y" * size for place, size in enumerate(sizes)]
        fill(spool, *messages)
        [segment] = segments(spool)
        data = segment.read_bytes()
        place = cut % len(data)
        spool.close()
        if flip:
            segment.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        else:
            segment.write_bytes(data[:place])
        ends, whole = 0, 0
        for message in messages:
            ends += len(pack(message))
            whole += ends <= place
        after = Spool(folder, LEAST_SIZE)
        after.open()
        fill(after, b"new")
        assert drained(after) == ([*messages[:whole], b"new"], 0)
        after.close()
        last = Spool(folder, LEAST_SIZE)
        last.open()
        assert drained(last) == ([*messages[:whole], b"new"], 0)
        last.close()


@pytest.mark.parametrize("again", [False, True])
def test_a_segment_damaged_in_the_middle_is_left_and_counted(again: bool, spool: Spool) -> None:
    messages = numbered(0, 3000)
    fill(spool, *messages)
    damaged, later, *_ = segments(spool)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    if again:
        spool.close()
        spool = Spool(spool.path, LEAST_SIZE)
        spool.open()
    first = int(later.name[:20])
    found: list[bytes] = []
    while not (batch := spool.read(1000)).missing:
        found += batch.messages
    assert batch == Batch(first - len(found), True, [], first)
    assert found == messages[: len(found)]
    assert drained(spool) == (messages[first:], 0)
    spool.close()


@pytest.mark.parametrize("content", [b"", b"1", b"x" * 12, b"\xff" * 40])
def test_without_a_position_nothing_is_left_out_and_nothing_passes_for_lost(
    content: bytes, spool: Spool
) -> None:
    fill(spool, b"0", b"1")
    spool.read(1000)
    spool.confirm(1)
    spool.close()
    (Path(spool.path) / "position").write_bytes(content)
    after = Spool(spool.path, LEAST_SIZE)
    assert drained_opened(after) == ([b"0", b"1"], 0)
    after.close()


def test_p61_a_folder_that_is_removed_is_made_again(spool: Spool) -> None:
    fill(spool, b"0")
    shutil.rmtree(Path(spool.path))
    written = 0
    for _ in range(3000):
        try:
            fill(spool, b"z" * 1000)
        except OSError:
            continue
        written += 1
    assert written > 2990
    assert segments(spool)
    messages, missing = drained(spool)
    assert len(messages) + missing == spool.end
    assert messages


class _Full:
    """Stands for `os` in the spool; the disk takes so many octets more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, octets: bytes | memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(descriptor, octets[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 7, 8, 9, 50, 110, 250])
def test_p61_a_full_disk_leaves_nothing_torn_in_front_of_what_comes_later(
    room: int, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(spool, b"before")
    disk = _Full(room)
    monkeypatch.setattr(module, "os", disk)
    for message in numbered(0, 3):
        with contextlib.suppress(OSError):
            fill(spool, message)
    disk.room = 1_000_000
    fill(spool, b"after")
    messages, missing = drained(spool)
    assert missing == 0
    assert messages[0] == b"before"
    assert messages[-1] == b"after"
    assert messages[1:-1] == numbered(0, len(messages) - 2)
    spool.close()
    again = Spool(spool.path, LEAST_SIZE)
    assert drained_opened(again) == (messages, 0)
    again.close()
