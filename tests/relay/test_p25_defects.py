"""P25: a defect in parser, recorder or hub neither stops nor alters what is forwarded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from popproxy.pop3 import FindingCode, Side
from popproxy.privacy import Policy
from popproxy.records import DataRecord, FindingRecord, GapRecord, Record, SessionEnd, WireRecord
from popproxy.relay import observer as observer_module
from popproxy.relay.arrivals import Arrival
from popproxy.relay.diagnostics import Limiter
from popproxy.relay.loops import Address
from popproxy.relay.observer import Observer
from popproxy.relay.service import Moment, Service
from tests.support.relaying import KeepingHub, Relayed, read_all, relayed

CANARY = b"correct-horse-canary"
TALK = [
    (Side.SERVER, b"+OK ready <1.2@example>\r\n"),
    (Side.CLIENT, b"USER bo\r\n"),
    (Side.SERVER, b"+OK\r\n"),
    (Side.CLIENT, b"PASS " + CANARY + b"\r\n"),
    (Side.SERVER, b"+OK logged in\r\n"),
    (Side.CLIENT, b"RETR 1\r\n"),
    (Side.SERVER, b"+OK\r\nSubject: x\r\n\r\n..dot\r\n.\r\n"),
    (Side.CLIENT, b"QUIT\r\n"),
    (Side.SERVER, b"+OK bye\r\n"),
]
OCTETS = sum(len(data) for _, data in TALK)
PARTS = {
    "parser": {"receive", "end", "flush"},
    "recorder": {"record"},
    "whole recorder": {"record", "fail", "end"},
}


class DefectError(Exception):
    """Quotes traffic, as an exception of ours might by mistake."""

    def __init__(self) -> None:
        super().__init__(f"cannot read {CANARY.decode()}")


@dataclass
class Trap:
    """Raises while it is armed; `once` disarms it by the first time."""

    armed: bool = False
    once: bool = False

    def spring(self) -> None:
        if self.armed:
            self.armed = not self.once
            raise DefectError


class Trapped:
    """An object of ours with some methods behind a trap."""

    def __init__(self, inner: object, trap: Trap, methods: set[str]) -> None:
        self._inner = inner
        self._trap = trap
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        if name in self._methods:
            self._trap.spring()
        return getattr(self._inner, name)


class TrappedHub(KeepingHub):
    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self.trap = trap

    def put(self, records: Iterable[Record]) -> None:
        self.trap.spring()
        super().put(records)


def defective(part: str, trap: Trap) -> type[Service]:
    """Make a service whose sessions have one part behind a trap."""

    class Defective(Service):
        def begin(
            self,
            session_id: str,
            arrival: Arrival,
            server: Address | None,
            started: Moment,
            *,
            tls: bool = False,
        ) -> Observer:
            observer = Service.begin(self, session_id, arrival, server, started, tls=tls)
            name = "_parser" if part == "parser" else "_recorder"
            trapped = Trapped(getattr(observer, name), trap, PARTS[part])
            setattr(observer, name, trapped)
            return observer

    return Defective


def cut(at: int) -> list[tuple[Side, bytes, bool]]:
    """Give the conversation with one more border; True marks the segment behind it."""
    segments: list[tuple[Side, bytes, bool]] = []
    passed = 0
    for side, data in TALK:
        inside = at - passed
        if 0 <= inside < len(data):
            if inside:
                segments.append((side, data[:inside], False))
            segments.append((side, data[inside:], True))
        else:
            segments.append((side, data, False))
        passed += len(data)
    return segments


async def hold(session: Relayed, at: int, trap: Trap) -> None:
    """Hold the conversation, with the trap armed from one octet on; all octets must pass."""
    for side, data, arm in cut(at):
        trap.armed = trap.armed or arm
        if side is Side.CLIENT:
            assert await session.forward(data) == data
        else:
            assert await session.reply(data) == data
    session.server.half_close()
    assert await read_all(session.client) == b""
    session.client.half_close()
    assert await read_all(session.server) == b""
    await session.ended.wait()


def assert_no_canary(records: Iterable[Record], logs: Iterable[object]) -> None:
    for record in records:
        if isinstance(record, WireRecord):
            assert CANARY not in record.wire
    assert CANARY.decode() not in str(list(logs))


@pytest.fixture(autouse=True)
def _every_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer_module, "_failures", Limiter(interval=10.0, burst=1_000_000))


@pytest.mark.parametrize("part", ["parser", "recorder"])
async def test_p25_a_defect_at_any_octet_leaves_the_session_opaque_and_says_so(part: str) -> None:
    for at in range(OCTETS):
        trap = Trap()
        hub = KeepingHub()
        with capture_logs() as logs:
            async with relayed(hub=hub, kind=defective(part, trap)) as session:
                await hold(session, at, trap)
        codes = [record.finding.code for record in hub.of(FindingRecord)]
        assert FindingCode.PARSER_FAILED.value in codes
        assert hub.end.summary.reason == "server-closed"
        assert hub.records[-1] is hub.end
        assert logs[0]["event"] == "reading-failed"
        assert "DefectError" in logs[0]["where"]
        assert_no_canary(hub.records, logs)


async def test_p25_a_recorder_that_fails_altogether_leaves_a_record_made_by_hand() -> None:
    for at in range(OCTETS):
        trap = Trap()
        hub = KeepingHub()
        with capture_logs() as logs:
            async with relayed(hub=hub, kind=defective("whole recorder", trap)) as session:
                await hold(session, at, trap)
        [gap] = hub.of(GapRecord)
        assert "forwarded unchanged" in gap.gap.reason
        assert hub.end.summary.reason == "server-closed"
        assert hub.end.event.duration is not None
        numbers = [record.session.seq for record in hub.records]
        assert numbers == list(range(1, len(numbers) + 1))
        assert gap.timestamp <= hub.end.timestamp
        assert_no_canary(hub.records, logs)


async def test_p25_a_hub_that_fails_once_is_told_that_the_rest_is_opaque() -> None:
    for at in range(OCTETS):
        trap = Trap(once=True)
        hub = TrappedHub(trap)
        with capture_logs() as logs:
            async with relayed(hub=hub) as session:
                await hold(session, at, trap)
        if any(log["event"] == "reading-failed" for log in logs):
            codes = [record.finding.code for record in hub.of(FindingRecord)]
            assert FindingCode.PARSER_FAILED.value in codes
        assert hub.end.summary.reason == "server-closed"
        assert_no_canary(hub.records, logs)


async def test_p25_a_hub_that_fails_for_good_stops_nothing() -> None:
    for at in range(OCTETS):
        trap = Trap()
        hub = TrappedHub(trap)
        with capture_logs() as logs:
            async with relayed(hub=hub) as session:
                await hold(session, at, trap)
        assert not hub.of(SessionEnd)
        assert any(log["event"] == "reading-failed" for log in logs)
        assert_no_canary(hub.records, logs)


async def test_p27_with_the_log_required_a_defect_ends_the_session_instead() -> None:
    trap = Trap()
    hub = KeepingHub()
    policy = Policy(body="full", require_log=True)
    with capture_logs():
        async with relayed(hub=hub, policy=policy, kind=defective("parser", trap)) as session:
            assert await session.reply(b"+OK ready\r\n") == b"+OK ready\r\n"
            trap.armed = True
            await session.client.write(b"PASS " + CANARY + b"\r\n")
            assert (await read_all(session.client)).startswith(b"-ERR [SYS/TEMP] popproxy: ")
            assert await read_all(session.server) == b""
            await session.ended.wait()
    assert hub.end.summary.reason == "log-unavailable"
    assert not hub.of(DataRecord)


async def test_p27_a_hub_that_cannot_tell_counts_as_failing() -> None:
    class Mute(KeepingHub):
        async def flushed(self, session_id: str | None = None) -> bool:
            raise DefectError

    hub = Mute()
    with capture_logs() as logs:
        async with relayed(hub=hub, policy=Policy(body="full", require_log=True)) as session:
            await session.server.write(b"+OK ready\r\n")
            assert (await read_all(session.client)).startswith(b"-ERR [SYS/TEMP] popproxy: ")
            await session.ended.wait()
    assert hub.end.summary.reason == "log-unavailable"
    assert logs[0]["event"] == "log-flush-failed"
    assert_no_canary(hub.records, logs)
