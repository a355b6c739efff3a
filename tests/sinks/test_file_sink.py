"""Files by name template: sharing, per session, collisions, descriptors, reopening."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC
from pathlib import Path

import pytest

from popproxy.formats import Kind
from popproxy.records import Record
from popproxy.sinks import FileSink, files
from popproxy.sinks.base import SinkError
from popproxy.sinks.file_sink import SESSIONS, server_of
from popproxy.sinks.naming import TemplateError
from popproxy.sinks.turns import share_interpreter
from tests.support import samples
from tests.support.sinks import FaultyDisk, disk, lines, places, wait_for_lines
from tests.support.waiting import until

__all__ = ["disk"]
Maker = Callable[..., FileSink]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Maker]:
    """Make sinks in the test's directory; close them at the end."""
    made: list[FileSink] = []

    def make_sink(kind: Kind, template: str, **options: object) -> FileSink:
        settings = {"gather": 0.001, "retry": 0.01, "tz": UTC} | options
        sink = FileSink(kind, str(tmp_path / template), **settings)  # type: ignore[arg-type] # the tests' own
        made.append(sink)
        return sink

    yield make_sink
    for sink in made:
        await sink.close(1.0)


def put(sink: FileSink, *records: Record) -> None:
    for record in records:
        sink.put(record)


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_a_shared_file_holds_all_sessions(make: Maker, tmp_path: Path) -> None:
    sink = make("jsonl", "x.jsonl")
    put(sink, *samples.session("a"), *samples.session("b"))
    await sink.close(5)
    assert places(tmp_path / "x.jsonl") == [
        (name, seq) for name in ("a", "b") for seq in range(1, 4)
    ]
    assert sink.lost == 0


@pytest.mark.parametrize("kind", ["jsonl", "text", "putty"])
async def test_a_file_for_each_session(make: Maker, tmp_path: Path, kind: Kind) -> None:
    sink = make(kind, "logs/&S.log")
    put(sink, samples.start("a"), samples.start("b"), samples.command("a", 2, "STAT"))
    put(sink, samples.command("b", 2, "LIST"), samples.end("b"), samples.end("a"))
    await sink.close(5)
    a = (tmp_path / "logs" / "a.log").read_bytes()
    b = (tmp_path / "logs" / "b.log").read_bytes()
    assert b"STAT" in a
    assert b"LIST" not in a
    assert b"LIST" in b
    assert b"STAT" not in b


async def test_the_name_holds_the_time_and_the_server(make: Maker, tmp_path: Path) -> None:
    sink = make("putty", "&H-&P-&Y&M&D-&T.log")
    put(sink, samples.start("a", upstream="pop3s://[2001:db8::1]"), samples.command("a"))
    put(sink, samples.start("b", upstream="pop3://mail.example.org:1100"), samples.command("b"))
    await sink.close(5)
    assert names_in(tmp_path) == {
        "2001_db8__1-995-20251122-223746.log",
        "mail.example.org-1100-20251122-223746.log",
    }


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        ("pop3://a.example:1", ("a.example", 1)),
        ("pop3s://a.example", ("a.example", 995)),
        ("pop3+stls://a.example", ("a.example", 110)),
        ("pop3://[::1]:5", ("::1", 5)),
        ("pop3://a.example:99999", ("a.example", 110)),
        ("", ("", 110)),
    ],
)
def test_the_server_is_the_routes(upstream: str, expected: tuple[str, int]) -> None:
    assert server_of(samples.start(upstream=upstream)) == expected


async def test_a_shared_file_for_each_server(make: Maker, tmp_path: Path) -> None:
    sink = make("jsonl", "&H.jsonl", host="unknown")
    for name in ("a", "b", "a2"):
        put(sink, samples.start(name, upstream=f"pop3://{name[0]}.example"), samples.end(name))
    put(sink, samples.command("c"))
    await sink.close(5)
    assert len(places(tmp_path / "a.example.jsonl")) == 4
    assert len(places(tmp_path / "b.example.jsonl")) == 2
    assert places(tmp_path / "unknown.jsonl") == [("c", 2)]


async def test_two_live_sessions_never_share_a_putty_log(make: Maker, tmp_path: Path) -> None:
    said: list[str] = []
    sink = make("putty", "p.log", on_notice=said.append)
    put(sink, samples.start("a"), samples.command("a", 2, "STAT"))
    put(sink, samples.start("b"), samples.command("b", 2, "LIST"), samples.end("b"))
    put(sink, samples.command("a", 3, "QUIT"), samples.end("a"))
    await sink.close(5)
    assert lines(tmp_path / "p.log")[1:] == [b"STAT\r\n", b"QUIT\r\n"]
    assert lines(tmp_path / "p-b.log")[1:] == [b"LIST\r\n"]
    assert len(said) == 1
    assert re.search(r"p\.log is still being written .* log is .*p-b\.log; put &S into", said[0])


async def test_sessions_one_after_the_other_append_to_one_putty_log(
    make: Maker, tmp_path: Path
) -> None:
    path = tmp_path / "p.log"
    sink = make("putty", "p.log")
    for name in ("a", "b", "c"):
        put(sink, samples.start(name), samples.command(name, 2, "QUIT"), samples.end(name))
        if name == "a":
            assert await sink.flushed(name)  # and the others in one go
    await sink.close(5)
    header = rb"=~=~=~=~=~=~=~=~=~=~=~= PuTTY log [0-9. :]* =~=~=~=~=~=~=~=~=~=~=~=\r\n"
    assert re.fullmatch(rb"(%sQUIT\r\n){3}" % header, path.read_bytes())
    assert names_in(tmp_path) == {"p.log"}


async def test_p61_a_session_does_not_overtake_the_one_before_it(
    make: Maker, tmp_path: Path, disk: FaultyDisk
) -> None:
    path = tmp_path / "p.log"
    sink = make("putty", "p.log")
    disk.can_truncate = False
    disk.room = 90  # amid the first session's log
    real = disk.write

    def write(descriptor: int, octets: bytes | memoryview) -> int:
        try:
            return real(descriptor, octets)
        except OSError:
            disk.room = None  # for the second session there would be room
            raise

    disk.write = write  # type: ignore[method-assign] # one more fault
    for name in ("a", "b"):
        put(sink, samples.start(name), samples.command(name, 2, name * 20), samples.end(name))
    await sink.close(5)
    assert [line[:3] for line in lines(path)] == [b"=~=", b"aaa", b"=~=", b"bbb"]


def descriptors(directory: Path) -> int:
    """Count the descriptors of files in a directory."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            count += str(link.readlink()).startswith(str(directory))
        except FileNotFoundError:  # the one that lists the others
            continue
    return count


async def test_many_live_sessions_take_few_descriptors(make: Maker, tmp_path: Path) -> None:
    sink = make("putty", "&S.log", open_files=4)
    names = [f"s{number:03}" for number in range(100)]
    for name in names:
        put(sink, samples.start(name))
    for seq in range(2, 5):
        for name in names:
            put(sink, samples.command(name, seq))
        assert await sink.flushed()
        assert descriptors(tmp_path) <= 4
    for name in names:
        put(sink, samples.end(name, 5))
    await sink.close(5)
    assert descriptors(tmp_path) == 0
    for name in names:
        octets = (tmp_path / f"{name}.log").read_bytes()
        assert octets.count(b"PuTTY log") == 1
        assert octets.endswith(b"NOOP\r\n" * 3)


async def test_a_file_is_closed_when_its_session_ends(make: Maker, tmp_path: Path) -> None:
    sink = make("jsonl", "&S.jsonl")
    put(sink, samples.start("a"))
    assert await sink.flushed()
    assert descriptors(tmp_path) == 1
    put(sink, samples.end("a"))
    assert await sink.flushed()
    assert descriptors(tmp_path) == 0


async def test_p56_without_free_descriptors_others_are_given_back(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 2

    def scarce(path: str) -> int:
        if descriptors(tmp_path) >= most:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return files.open_log(path)

    monkeypatch.setattr("popproxy.sinks.target.open_log", scarce)
    sink = make("jsonl", "&S.jsonl")
    for name in ("a", "b", "c", "d"):
        put(sink, samples.start(name))
    for name in ("a", "b", "c", "d"):
        wait_for_lines(tmp_path / f"{name}.jsonl", 1)
    assert sink.lost == 0


async def test_one_bad_file_does_not_hold_up_the_others(make: Maker, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").symlink_to(tmp_path / "target")
    said: list[str] = []
    sink = make("jsonl", "&S.jsonl", on_notice=said.append)
    put(sink, samples.start("bad"), samples.start("good"))
    wait_for_lines(tmp_path / "good.jsonl", 1)
    put(sink, samples.command("good"))
    wait_for_lines(tmp_path / "good.jsonl", 2)
    assert not (tmp_path / "target").exists()
    assert not sink.healthy
    assert len(said) == 1
    assert "symbolic link" in said[0]
    (tmp_path / "bad.jsonl").unlink()
    wait_for_lines(tmp_path / "bad.jsonl", 1)
    until(lambda: sink.healthy, "recovery")


@pytest.mark.parametrize("template", ["x.jsonl", "&S.jsonl"])
async def test_p62_reopening_goes_by_the_name(make: Maker, tmp_path: Path, template: str) -> None:
    path = tmp_path / ("a.jsonl" if "&" in template else "x.jsonl")
    sink = make("jsonl", template)
    put(sink, samples.start("a"))
    assert await sink.flushed()
    path.rename(tmp_path / "old")
    put(sink, samples.command("a", 2))
    assert await sink.flushed()
    sink.reopen()
    until(lambda: descriptors(tmp_path) == 0, "the old file being closed")
    put(sink, samples.command("a", 3))
    assert await sink.flushed()
    assert places(tmp_path / "old") == [("a", 1), ("a", 2)]
    assert places(path) == [("a", 3)]


async def test_p62_a_shared_text_file_begins_anew_after_reopening(
    make: Maker, tmp_path: Path
) -> None:
    path = tmp_path / "x.txt"
    sink = make("text", "x.txt")
    put(sink, samples.start("a"))
    assert await sink.flushed()
    path.rename(tmp_path / "old")
    sink.reopen()
    until(lambda: descriptors(tmp_path) == 0, "the old file being closed")
    put(sink, samples.command("a", 2))
    assert await sink.flushed()
    assert lines(path)[0] == lines(tmp_path / "old")[0]


async def test_a_session_whose_end_was_lost_is_over(
    make: Maker, tmp_path: Path, disk: FaultyDisk
) -> None:
    disk.error = errno.EIO
    sink = make("putty", "p.log", queue_octets=5_000)
    put(sink, samples.start("a"), *(samples.command("a", seq) for seq in range(2, 20)))
    put(sink, samples.end("a", 20))
    assert sink.lost > 5
    until(lambda: not sink.healthy, "the failure being noticed")
    disk.error = None
    until(lambda: sink.healthy, "recovery")
    assert await sink.flushed("another")
    assert descriptors(tmp_path) == 0
    put(sink, *samples.session("b"))
    await sink.close(5)
    assert names_in(tmp_path) == {"p.log"}


async def test_a_session_that_speaks_is_not_forgotten(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popproxy.sinks.file_sink.SESSIONS", 3)
    sink = make("putty", "&S.log")
    for number in range(2, 12):
        put(sink, samples.command("speaks", number), samples.command(f"s{number}"))
    await sink.close(5)
    assert (tmp_path / "speaks.log").read_bytes().count(b"PuTTY log") == 1


async def test_sessions_whose_end_was_lost_are_forgotten_at_last(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SESSIONS > 10_000
    monkeypatch.setattr("popproxy.sinks.file_sink.SESSIONS", 3)
    sink = make("jsonl", "&S.jsonl")
    for number in range(10):
        put(sink, samples.start(f"s{number}"))
    assert await sink.flushed()
    until(lambda: descriptors(tmp_path) <= 3, "the oldest being closed")
    assert len(names_in(tmp_path)) == 10


def test_bad_templates_and_paths_are_told_before_any_traffic(tmp_path: Path) -> None:
    with pytest.raises(TemplateError):
        FileSink("jsonl", f"{tmp_path}/")
    with pytest.raises(SinkError, match="is a directory"):
        FileSink("jsonl", str(tmp_path)).check()
    FileSink("jsonl", f"{tmp_path}/logs/&S.jsonl").check()
    assert (tmp_path / "logs").is_dir()


async def test_unused_sinks_leave_no_trace(make: Maker, tmp_path: Path) -> None:
    await make("jsonl", "x.jsonl").close(1)
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("kind", ["jsonl", "putty"])
async def test_p54_records_that_come_faster_than_they_are_encoded_are_not_lost(
    make: Maker, tmp_path: Path, kind: Kind
) -> None:
    before = sys.getswitchinterval()
    share_interpreter()
    sink = make(kind, "x.log", queue_octets=4 * 1024 * 1024)
    record = samples.command("a", 2, "STAT")
    put(sink, samples.start("a"), *[record] * 20_000, samples.end("a"))
    await sink.close(30)
    sys.setswitchinterval(before)
    assert sink.lost == 0
    assert (tmp_path / "x.log").read_bytes().count(b"STAT\r\n" if kind == "putty" else b"\n") == (
        20_000 if kind == "putty" else 20_002
    )
