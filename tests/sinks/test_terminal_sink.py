"""P54, P63: a terminal that is slow, stopped or gone never touches the sessions."""

from __future__ import annotations

import io
import os
import re
import termios
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
import structlog
import trio

from popproxy.records import Record
from popproxy.sinks import FileSink, Hub, Sink
from popproxy.sinks.queued import QueuedSink
from popproxy.sinks.terminal import TerminalSink, make_console
from tests.support.sinks import Pipe
from tests.support.speaking import Speaking
from tests.support.terminal import conversation, shown
from tests.support.waiting import until

LOST = re.compile(rb"!! ([\d,]+) records? lost: ")


def many(number: int) -> list[Record]:
    """Give the records of so many commands, each some 100 octets long on the terminal."""
    session = Speaking()
    for _ in range(number):
        session.says(b"NOOP " + b"x" * 80 + b"\r\n")
    return session.records


def lost(octets: bytes) -> int:
    """Give the sum of the losses that the terminal was told of."""
    return sum(int(number.replace(b",", b"")) for number in LOST.findall(octets))


def told(octets: bytes) -> int:
    """Give the number of commands shown or told lost, in whole lines."""
    whole = octets[: octets.rfind(b"\n") + 1]
    return whole.count(b"C: NOOP") + lost(whole)


class Rig:
    """A sink over a pipe that nobody reads until the test does."""

    def __init__(self, queue_octets: int = 1_000_000) -> None:
        reader, writer = os.pipe()
        self.pipe = Pipe(reader)
        self.file = os.fdopen(writer, "w", encoding="utf-8")
        self.notices: list[str] = []
        self.sink = TerminalSink(
            make_console("never", self.file, {"COLUMNS": "80"}),
            tz=UTC,
            queue_octets=queue_octets,
            gather=0.0,
            retry=0.01,
            on_notice=self.notices.append,
        )

    def put(self, records: list[Record]) -> None:
        for record in records:
            self.sink.put(record)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.file.close()


async def test_a_session_reaches_the_descriptor_as_the_transcript_has_it(rig: Rig) -> None:
    rig.put(conversation())
    assert await rig.sink.flushed()
    assert rig.pipe.read().decode() == shown(conversation())
    assert rig.sink.healthy
    await rig.sink.close(5)
    assert rig.sink.lost == 0
    assert not rig.file.closed


async def test_what_waits_for_its_end_is_shown_when_the_sink_closes(rig: Rig) -> None:
    session = Speaking().says(b"retr 1\r\n").piece("status", b"+OK\r\n").piece("content", b"half")
    rig.put(session.records)
    await rig.sink.close(5)
    assert rig.pipe.read().decode().endswith(" │ half\n")


async def test_p54_a_stopped_terminal_holds_up_nobody_and_loses_whole_records() -> None:
    rig = Rig(queue_octets=50_000)
    with structlog.testing.capture_logs() as logs:
        rig.put(many(5000))
        await trio.lowlevel.checkpoint()
        assert rig.sink.lost > 4000
        assert not await rig.sink.flushed()
        # Somebody goes on reading: what was kept comes whole, and a line tells of the rest.
        octets = rig.pipe.read_until(lambda read: told(read) == 5000, "all that can come")
        assert lost(octets) == rig.sink.lost
        rig.put(many(1))
        octets = rig.pipe.read_until(lambda read: told(read) == 5001, "the next record")
    assert lost(octets) == rig.sink.lost
    for line in octets.splitlines():
        assert line[12:] == b" C: NOOP " + b"x" * 80 or LOST.match(line, 13)
    # Who pressed Ctrl-S knows; warnings on the same terminal would not be read anyhow.
    assert [log["event"] for log in logs] == []
    await rig.sink.close(5)
    rig.file.close()


async def test_p54_closing_does_not_wait_for_a_stopped_terminal(rig: Rig) -> None:
    rig.put(many(2000))
    await rig.sink.close(0.0)
    assert rig.sink.lost > 0
    assert any("records were lost" in notice for notice in rig.notices)
    rig.put(many(1))  # nobody asked for it any more, and nothing happens


async def test_p63_a_reader_that_goes_away_ends_the_output_and_nothing_else(rig: Rig) -> None:
    rig.pipe.close()
    rig.put(many(1))
    assert not await rig.sink.flushed()
    assert not rig.sink.healthy
    rig.put(many(100))
    assert not await rig.sink.flushed()
    assert rig.notices == ["the terminal was closed; nothing more is written to it"]
    await rig.sink.close(5)


async def test_ctrl_s_and_ctrl_q_on_a_real_terminal() -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        console = make_console("auto", terminal, {"TERM": "xterm", "COLUMNS": "80"})
        sink = TerminalSink(console, tz=UTC, gather=0.0)
        termios.tcflow(theirs, termios.TCOOFF)
        for record in conversation():
            sink.put(record)
        with trio.move_on_after(0.1) as waiting:
            await sink.flushed()
        assert waiting.cancelled_caught
        termios.tcflow(theirs, termios.TCOON)
        end = b"272 received"
        read = Pipe(ours).read_until(lambda octets: end in octets, "the end of the session")
        await sink.close(5)
    text = read.decode().replace("\r\n", "\n")
    assert "\x1b[1;36mpass \x1b[0m\x1b[30;43m********\x1b[0m\n" in text
    os.close(ours)


async def test_p63_a_terminal_that_hangs_up_ends_the_output() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        sink = TerminalSink(make_console("never", terminal, {}), gather=0.0, retry=0.01)
        os.close(ours)
        sink.put(many(1)[0])
        assert not await sink.flushed()
        assert not sink.healthy
        until(lambda: not sink._queued._thread or not sink._queued._thread.is_alive(), "its end")
        await sink.close(5)


async def test_a_console_that_captures_gets_text() -> None:
    file = io.StringIO()
    sink = TerminalSink(make_console("never", file, {"COLUMNS": "80"}), tz=UTC)
    for record in conversation():
        sink.put(record)
    assert await sink.flushed()
    assert file.getvalue() == shown(conversation())
    file.close()
    sink.put(many(1)[0])
    assert not await sink.flushed()
    assert not sink.healthy
    await sink.close(5)


async def test_p27_a_view_is_no_evidence_unless_there_is_nothing_else(
    tmp_path: Path, rig: Rig
) -> None:
    sinks: list[Sink] = [FileSink("jsonl", str(tmp_path / "log.jsonl")), rig.sink]
    hub = Hub(sinks, required=True)
    hub.put(many(2000))
    assert await hub.flushed()  # the pipe is full, and stays so
    assert not isinstance(rig.sink, QueuedSink)
    alone = Rig()
    alone.pipe.close()
    lonely = Hub([alone.sink], required=True)
    lonely.put(many(1))
    assert not await lonely.flushed()
    await hub.aclose(0.1)
    await lonely.aclose(0.1)
    alone.file.close()


async def test_p25_a_defect_costs_one_record_and_never_shows_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ValueError("hunter22")

    with structlog.testing.capture_logs() as logs:
        with monkeypatch.context() as broken:
            broken.setattr("popproxy.sinks.terminal.conversation.visible", fail)
            rig.put(many(1))
            rig.pipe.read_until(lambda read: b"1 record lost: " in read, "the line about it")
        rig.put(many(1))
        text = rig.pipe.read_until(lambda read: b"C: NOOP" in read, "the next record").decode()
    assert [log["event"] for log in logs] == ["record_not_encoded"]
    assert "hunter22" not in text + repr(logs) + "".join(rig.notices)
    await rig.sink.close(5)
