"""A relayed session between two ends in memory: bytes, ends, losses, time-outs, reasons."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from popproxy.pop3 import FindingCode
from popproxy.privacy import Policy
from popproxy.records import DataRecord, FindingRecord
from popproxy.relay import Limits, Timeouts
from popproxy.relay.legs import READ_MORE, LegLost
from popproxy.relay.memory import CAPACITY, MemoryLeg
from popproxy.relay.observer import Observer
from popproxy.relay.pumps import Pumps
from popproxy.relay.service import Moment, Service
from popproxy.relay.upstream import Reached, Unreachable
from tests.support.relaying import (
    CLIENT,
    LISTENER,
    SERVER,
    KeepingHub,
    MemoryConnector,
    Relayed,
    read_all,
    relayed,
)

AWKWARD = [
    b"\x00",
    b"PASS a\x00b\r\n",
    b"\xff\xfe8-bit\r\n",
    b"bare\rcr\r",
    b"bare\nlf\n",
    b"\r\n\r\n",
    b".\r\n",
    b"+OK " + b"x" * 70_000 + b"\r\n",
    b"no line end at EOF",
]


async def log_in(session: Relayed) -> None:
    await session.reply(b"+OK ready\r\n")
    await session.forward(b"USER bo\r\n")
    await session.reply(b"+OK\r\n")
    await session.forward(b"PASS correct horse\r\n")
    await session.reply(b"+OK logged in\r\n")


async def transfer(session: Relayed, segments: list[tuple[bool, bytes]]) -> tuple[bytes, bytes]:
    """Send segments of both sides and both ends, give what the server and the client got."""
    got: dict[str, bytes] = {}

    async def send() -> None:
        for by_client, data in segments:
            await (session.client if by_client else session.server).write(data)
        session.client.half_close()
        session.server.half_close()

    async def receive(name: str, leg: object, read: Callable[[], Awaitable[bytes]]) -> None:
        got[name] = await read()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(receive, "server", session.server, lambda: read_all(session.server))
        nursery.start_soon(receive, "client", session.client, lambda: read_all(session.client))
    await session.ended.wait()
    return got["server"], got["client"]


async def test_p23_awkward_bytes_pass_unchanged_both_ways() -> None:
    async with relayed() as session:
        segments = [(by_client, data) for data in AWKWARD for by_client in (True, False)]
        to_server, to_client = await transfer(session, segments)
    assert to_server == to_client == b"".join(AWKWARD)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=400)), max_size=12))
def test_p23_any_bytes_pass_unchanged_both_ways(segments: list[tuple[bool, bytes]]) -> None:
    async def run() -> None:
        async with relayed() as session:
            to_server, to_client = await transfer(session, segments)
        assert to_server == b"".join(data for by_client, data in segments if by_client)
        assert to_client == b"".join(data for by_client, data in segments if not by_client)

    trio.run(run)


async def test_p23_a_long_random_stream_passes_unchanged_both_ways() -> None:
    noise = random.Random(23)  # noqa: S311 - to be repeatable
    segments = [
        (noise.random() < 0.5, noise.randbytes(noise.randrange(1, 200_000))) for _ in range(40)
    ]
    async with relayed() as session:
        to_server, to_client = await transfer(session, segments)
    assert to_server == b"".join(data for by_client, data in segments if by_client)
    assert to_client == b"".join(data for by_client, data in segments if not by_client)


async def test_p24_each_octet_arrives_before_the_next_is_sent() -> None:
    async with relayed() as session:
        for octet in b"+OK ready <1@x>\r\n":
            assert await session.reply(bytes([octet])) == bytes([octet])
        for octet in b"USER bo\r\nPASS correct horse\r\nRETR 1\r\n":
            assert await session.forward(bytes([octet])) == bytes([octet])
        for octet in b"+OK\r\n+OK\r\n+OK\r\nX: y\r\n\r\n..\r\n.\r\n":
            assert await session.reply(bytes([octet])) == bytes([octet])


async def test_segments_are_neither_merged_nor_parted() -> None:
    async with relayed() as session:
        segments = [b"USER bo\r\n", b"PASS x\r\nSTAT\r\n", b"LI", b"ST\r\n", b"x" * 5000]
        for segment in segments:
            await session.client.write(segment)
            await trio.testing.wait_all_tasks_blocked()
        assert [await session.server.read() for _ in segments] == segments


async def test_p26_half_close_by_the_client_passes_and_the_reply_is_delivered() -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        assert await session.forward(b"QUIT\r\n") == b"QUIT\r\n"
        session.client.half_close()
        assert await session.server.read() == b""
        body = b"x" * 300_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.server.write, body)
            got = b""
            while len(got) < len(body):
                got += await session.client.read()
        assert got == body
        assert not session.ended.is_set()
        session.server.half_close()
        assert await session.client.read() == b""
        await session.ended.wait()
        assert session.hub.end.summary.reason == "client-closed"


async def test_p26_half_close_by_the_server_passes_and_the_client_may_go_on() -> None:
    async with relayed() as session:
        session.server.half_close()
        assert await session.client.read() == b""
        assert await session.forward(b"QUIT\r\n") == b"QUIT\r\n"
        session.client.close()
        await session.ended.wait()
        assert session.hub.end.summary.reason == "server-closed"


@pytest.mark.parametrize("by_client", [True, False])
async def test_p26_a_reset_passes_behind_what_was_sent_before(by_client: bool) -> None:
    async with relayed() as session:
        near, far = (
            (session.client, session.server) if by_client else (session.server, session.client)
        )
        await near.write(b"last words\r\n")
        near.abort()
        assert await far.read() == b"last words\r\n"
        with trio.fail_after(10), pytest.raises(LegLost, match="reset"):
            await far.read()
        await session.ended.wait()
        assert session.hub.end.summary.reason == ("client-reset" if by_client else "server-reset")


@pytest.mark.parametrize("by_client", [True, False])
async def test_p26_a_reset_passes_within_a_second_though_the_other_side_reads_nothing(
    by_client: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with relayed() as session:
        near, far = (
            (session.client, session.server) if by_client else (session.server, session.client)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, near)
            await trio.testing.wait_all_tasks_blocked()
            started = trio.current_time()
            near.abort()
        while not far.lost():  # noqa: ASYNC110 - the fake has no event for it
            await trio.sleep(0.01)
        assert trio.current_time() - started < 1
        await session.ended.wait()
        assert session.hub.end.summary.reason == ("client-reset" if by_client else "server-reset")


async def flood(leg: MemoryLeg) -> None:
    """Write until the leg is closed."""
    with contextlib.suppress(trio.ClosedResourceError):
        while True:
            await leg.write(bytes(CAPACITY))


@pytest.mark.parametrize("by_client", [True, False])
async def test_p26_a_reset_after_a_half_close_passes_within_a_second(
    by_client: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with relayed() as session:
        near, far = (
            (session.client, session.server) if by_client else (session.server, session.client)
        )
        near.half_close()
        assert await far.read() == b""
        started = trio.current_time()
        near.abort()
        while not far.lost():  # noqa: ASYNC110 - the fake has no event for it
            await trio.sleep(0.01)
        assert trio.current_time() - started < 1
        await session.ended.wait()
        assert session.hub.end.summary.reason == ("client-closed" if by_client else "server-closed")


async def test_p26_replies_sent_before_a_reset_are_delivered_though_a_write_failed_first() -> None:
    # As mailutils does: it answers QUIT, closes, and resets when more octets come.
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        await session.server.write(b"+OK bye\r\n")
        session.server.abort()
        with contextlib.suppress(LegLost):
            while True:
                await session.client.write(b"NOOP\r\n")
                await trio.lowlevel.checkpoint()
        assert await session.client.read() == b"+OK bye\r\n"
        await session.ended.wait()
        assert session.hub.end.summary.reason == "server-reset"


async def test_p26_a_loss_that_shows_in_a_write_passes_at_once_if_nobody_reads_there(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with relayed() as session:
        session.server.close()
        assert await session.client.read() == b""
        await session.client.write(b"NOOP\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert session.ended.is_set()  # no time has passed
        assert session.client.lost()
        assert session.hub.end.summary.reason == "server-closed"


async def test_p26_what_ends_the_session_by_being_sent_on_is_recorded_before_its_end() -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        session.server.close()
        assert await session.client.read() == b""
        await session.client.write(b"DELE 1\r\n")
        await session.ended.wait()
        assert "pop3.command" in session.hub.actions
        assert session.hub.actions[-1] == "session.end"
        assert session.hub.end.summary.commands == 1
        assert session.hub.end.summary.octets_client == len(b"DELE 1\r\n")


async def test_p26_a_reset_waits_half_a_second_for_what_was_sent_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed() as session:
        await session.server.write(b"-ERR bye\r\n")
        session.server.abort()
        await trio.sleep(0.3)
        assert not session.client.lost()
        assert await session.client.read() == b"-ERR bye\r\n"
        await trio.sleep(0.05)
        assert session.client.lost()

    async with relayed() as session:
        await session.server.write(b"-ERR never read\r\n")
        session.server.abort()
        await trio.sleep(0.6)
        assert session.client.lost()


async def test_p28_the_first_record_names_no_rewrites_and_p71_gives_notice() -> None:
    async with relayed() as session:
        await log_in(session)
        session.client.close()
        session.server.close()
        await session.ended.wait()
    start = session.hub.start
    assert session.hub.actions[0] == "session.start"
    assert session.hub.actions[-1] == "session.end"
    assert start.rewrites == []
    assert (start.client.address, start.client.port) == CLIENT
    assert (start.listener.address, start.listener.port) == LISTENER
    assert start.server is not None
    assert (start.server.address, start.server.port) == SERVER
    assert "records" in start.notice
    assert "********" in start.notice


class Unreached:
    """A server that cannot be reached."""

    async def connect(self) -> Reached:
        await trio.sleep(9)
        raise Unreachable("pop.example.org port 110: connection refused")


async def test_p60_a_client_is_told_that_the_server_cannot_be_reached(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed(connector=Unreached()) as session:
        text = await read_all(session.client)
        assert text == (
            b"-ERR [SYS/TEMP] popproxy: cannot reach the server:"
            b" pop.example.org port 110: connection refused\r\n"
        )
        session.client.close()
        await session.ended.wait()
        summary = session.hub.end.summary
        assert (summary.reason, summary.detail) == (
            "connect-failed",
            "pop.example.org port 110: connection refused",
        )
        assert session.hub.start.server is None


async def test_p60_a_client_that_does_not_close_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed(connector=Unreached()) as session:
        await session.ended.wait()
        assert trio.current_time() < 12


class Waiting:
    """A server that never answers."""

    async def connect(self) -> Reached:
        await trio.sleep_forever()
        raise AssertionError


async def test_a_session_that_is_cancelled_while_connecting_is_recorded() -> None:
    hub = KeepingHub()
    async with relayed(hub=hub, connector=Waiting()):
        await trio.testing.wait_all_tasks_blocked()
    assert hub.actions == ["session.start", "session.end"]
    assert hub.end.summary.reason == "shutdown"


async def test_p58_idle_sessions_end_and_activity_of_either_side_counts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed(timeouts=Timeouts(idle=600)) as session:
        await log_in(session)
        await trio.sleep(590)
        await session.forward(b"NOOP\r\n")
        await trio.sleep(590)
        await session.reply(b"+OK\r\n")
        await trio.sleep(590)
        assert not session.ended.is_set()
        await session.ended.wait()
        assert 590 + 590 + 600 <= trio.current_time() <= 590 + 590 + 602
        assert session.hub.end.summary.reason == "idle-timeout"
        assert await session.client.read() == b""
        assert await session.server.read() == b""


async def test_p58_a_client_that_does_not_log_in_is_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        while not session.ended.is_set():
            with trio.move_on_after(7):
                await session.ended.wait()
            if not session.ended.is_set():
                await session.forward(b"CAPA\r\n")
                await session.reply(b"-ERR\r\n")
        assert 180 <= trio.current_time() <= 182
        assert session.hub.end.summary.reason == "login-timeout"


async def test_p58_who_has_logged_in_in_time_stays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed() as session:
        await log_in(session)
        await trio.sleep(500)
        assert not session.ended.is_set()


async def test_p58_a_session_inside_tls_is_not_held_to_a_login_nobody_can_see(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        await session.forward(b"STLS\r\n")
        await session.reply(b"+OK\r\n")
        await session.forward(b"\x16\x03\x01 client hello")
        await trio.sleep(500)
        assert not session.ended.is_set()


async def test_p58_a_client_that_stays_though_its_server_has_gone_is_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed() as session:
        await log_in(session)
        session.server.close()
        assert await session.client.read() == b""
        await session.ended.wait()
        assert 60 <= trio.current_time() <= 62
        assert session.hub.end.summary.reason == "server-closed"


@pytest.mark.parametrize("by_client", [True, False])
async def test_p53_a_slow_reader_slows_its_sender(by_client: bool) -> None:
    async with relayed() as session:
        near, far = (
            (session.client, session.server) if by_client else (session.server, session.client)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.write, bytes(8 << 20))
            await trio.testing.wait_all_tasks_blocked()
            # What both connections hold is not the relay's.
            held = near.octets_out - near.unsent() - far.octets_in - CAPACITY
            assert 0 <= held <= READ_MORE
            nursery.cancel_scope.cancel()


async def test_p27_nothing_is_forwarded_before_it_is_written() -> None:
    class Gate(KeepingHub):
        def __init__(self) -> None:
            super().__init__()
            self.open = trio.Event()

        async def flushed(self, session_id: str | None = None) -> bool:
            assert session_id is not None
            await self.open.wait()
            return True

    hub = Gate()
    async with relayed(hub=hub, policy=Policy(body="full", require_log=True)) as session:
        await session.server.write(b"+OK ready\r\n")
        await session.client.write(b"CAPA\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert session.client.peek() is None
        assert session.server.peek() is None
        assert "pop3.greeting" in hub.actions
        hub.open.set()
        assert await session.client.read() == b"+OK ready\r\n"
        assert await session.server.read() == b"CAPA\r\n"


async def test_p27_a_log_that_fails_ends_the_session_and_the_client_is_told() -> None:
    hub = KeepingHub([True, False])
    async with relayed(hub=hub, policy=Policy(body="full", require_log=True)) as session:
        assert await session.reply(b"+OK ready\r\n") == b"+OK ready\r\n"
        await session.client.write(b"CAPA\r\n")
        assert await read_all(session.client) == (
            b"-ERR [SYS/TEMP] popproxy: the session cannot be recorded, so it is ended\r\n"
        )
        assert await session.server.read() == b""
        await session.ended.wait()
        assert hub.end.summary.reason == "log-unavailable"


async def test_p27_a_log_that_fails_inside_a_response_ends_the_session_without_a_word() -> None:
    hub = KeepingHub()
    async with relayed(hub=hub, policy=Policy(body="full", require_log=True)) as session:
        await log_in(session)
        await session.forward(b"RETR 1\r\n")
        await session.reply(b"+OK\r\n")
        await session.reply(b"a line\r\n")
        hub.answers = [False]
        await session.server.write(b"another\r\n")
        assert await read_all(session.client) == b""
        await session.ended.wait()
        assert hub.end.summary.reason == "log-unavailable"


async def test_p27_no_line_of_ours_gets_into_a_response_that_is_on_its_way() -> None:
    hub = KeepingHub([True, False])
    policy = Policy(body="full", require_log=True)
    async with relayed(hub=hub, policy=policy, capacity=8) as session:
        greeting = b"+OK a greeting that the client takes its time to read\r\n"

        async def greet() -> None:
            with contextlib.suppress(LegLost):
                await session.server.write(greeting)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(greet)
            await trio.testing.wait_all_tasks_blocked()
            await session.client.write(b"CAPA\r\n")
            await trio.testing.wait_all_tasks_blocked()
            assert greeting.startswith(await read_all(session.client))
            nursery.cancel_scope.cancel()
        assert hub.end.summary.reason == "log-unavailable"


async def test_p27_the_client_is_told_at_the_border_behind_a_response() -> None:
    hub = KeepingHub()
    async with relayed(hub=hub, policy=Policy(body="full", require_log=True)) as session:
        await log_in(session)
        await session.forward(b"RETR 1\r\n")
        await session.reply(b"+OK\r\nmail\r\n.\r\n")
        hub.answers = [False]
        await session.client.write(b"NOOP\r\n")
        assert (await read_all(session.client)).startswith(b"-ERR [SYS/TEMP] popproxy: ")
        await session.ended.wait()
    assert session.server.octets_in == len(b"USER bo\r\nPASS correct horse\r\nRETR 1\r\n")


async def test_p27_without_the_option_a_failing_log_stops_nothing() -> None:
    hub = KeepingHub([False] * 10)
    async with relayed(hub=hub) as session:
        assert await session.reply(b"+OK ready\r\n") == b"+OK ready\r\n"
        assert await session.forward(b"CAPA\r\n") == b"CAPA\r\n"


def findings(hub: KeepingHub) -> list[str]:
    return [record.finding.code for record in hub.of(FindingRecord)]


async def test_stls_that_is_passed_through_is_opaque_from_the_handshake_on() -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        await session.forward(b"STLS\r\n")
        await session.reply(b"+OK begin\r\n")
        hello = b"\x16\x03\x01\x02\x00canary-in-tls"
        assert await session.forward(hello) == hello
        assert await session.reply(hello[::-1]) == hello[::-1]
        session.client.close()
        session.server.close()
        await session.ended.wait()
    for record in session.hub.of(DataRecord):
        assert b"canary" not in record.wire
        assert b"yranac" not in record.wire
    assert FindingCode.STLS_WITHOUT_HANDSHAKE.value not in findings(session.hub)


async def test_p30_stls_without_a_handshake_stays_plain_masks_on_and_is_reported() -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        await session.forward(b"STLS\r\n")
        await session.reply(b"+OK begin\r\n")
        assert await session.forward(b"USER bo\r\n") == b"USER bo\r\n"
        await session.reply(b"+OK\r\n")
        await session.forward(b"PASS correct horse\r\n")
        await session.reply(b"+OK\r\n")
        session.client.close()
        session.server.close()
        await session.ended.wait()
    assert FindingCode.STLS_WITHOUT_HANDSHAKE.value in findings(session.hub)
    assert session.hub.actions.count("pop3.command") == 3


async def test_p30_stls_twice_without_a_handshake_leaves_no_command_unread() -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        await session.forward(b"STLS\r\nSTLS\r\n")
        await session.reply(b"+OK begin\r\n+OK begin\r\n")
        await session.forward(b"USER bo\r\n")
        assert session.hub.actions.count("pop3.command") == 3
        session.client.close()
        session.server.close()
        await session.ended.wait()


async def test_p52_too_many_pending_commands_are_forwarded_all_the_same() -> None:
    async with relayed(limits=Limits(pending_commands=50)) as session:
        await session.reply(b"+OK ready\r\n")
        for _ in range(80):
            assert await session.forward(b"NOOP\r\n") == b"NOOP\r\n"
        for _ in range(80):
            assert await session.reply(b"+OK\r\n") == b"+OK\r\n"
        session.client.close()
        session.server.close()
        await session.ended.wait()
    assert FindingCode.TOO_MANY_PENDING.value in findings(session.hub)


async def test_p64_content_that_waits_is_recorded_within_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with relayed() as session:
        await log_in(session)
        await session.forward(b"RETR 1\r\n")
        await session.reply(b"+OK\r\n")
        await session.reply(b"a piece that fills nothing\r\n" * 100)
        before = len(session.hub.records)
        await trio.sleep(1)
        assert any(
            b"a piece that fills nothing" in record.wire
            for record in session.hub.records[before:]
            if isinstance(record, DataRecord)
        )


async def test_p65_durations_come_from_the_monotonic_clock() -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        session.client.close()
        session.server.close()
        await session.ended.wait()
    assert session.hub.end.event.duration is not None
    assert session.hub.end.event.duration > 0
    stamps = [record.timestamp for record in session.hub.records]
    assert stamps == sorted(stamps)
    assert [record.session.seq for record in session.hub.records] == list(
        range(1, len(session.hub.records) + 1)
    )


async def test_p65_a_time_of_day_that_is_set_back_changes_no_duration_and_no_order() -> None:
    begun = datetime(2011, 10, 29, 22, 37, 46, tzinfo=UTC)
    looks: list[datetime] = []

    class SetBack(Service):
        def now(self) -> Moment:
            looks.append(begun - timedelta(days=400 * len(looks)))
            return Moment(looks[-1], self.clock())

    async with relayed(kind=SetBack) as session:
        await log_in(session)
        await session.forward(b"NOOP\r\n")
        await session.reply(b"+OK\r\n")
        session.session._service.now()
        await session.forward(b"QUIT\r\n")
        await session.reply(b"+OK\r\n")
        session.client.close()
        session.server.close()
        await session.ended.wait()
    stamps = [record.timestamp for record in session.hub.records]
    assert stamps == sorted(stamps)
    assert begun <= stamps[0] <= stamps[-1] < begun + timedelta(minutes=2)
    took = session.hub.end.event.duration
    assert took is not None
    assert 0 < took < 120 * 10**9
    assert len(looks) > 1


class DroppingHub(KeepingHub):
    """Keeps nothing."""

    def put(self, records: object) -> None: ...


@pytest.mark.parametrize("kind", ["line", "body"])
async def test_p50_memory_does_not_grow_with_a_line_or_a_body_without_an_end(kind: str) -> None:
    piece = b"x" * CAPACITY if kind == "line" else (b"y" * 76 + b"\r\n") * (CAPACITY // 78)
    async with relayed(hub=DroppingHub()) as session:
        await log_in(session)
        await session.forward(b"RETR 1\r\n")
        await session.reply(b"+OK\r\n")

        async def send(pieces: int) -> None:
            for _ in range(pieces):
                await session.reply(piece)

        await send(32)
        tracemalloc.start()
        try:
            base, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            await send(256)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - base < 2 << 20


async def test_p50_memory_does_not_grow_with_a_client_line_without_an_end() -> None:
    async with relayed(hub=DroppingHub()) as session:
        await session.reply(b"+OK ready\r\n")

        async def send(pieces: int) -> None:
            for _ in range(pieces):
                await session.forward(b"P" * CAPACITY)

        await send(16)
        tracemalloc.start()
        try:
            base, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            await send(128)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - base < 2 << 20


async def test_a_defect_in_the_relay_itself_is_recorded_and_told() -> None:
    class Broken(MemoryConnector):
        async def connect(self) -> Reached:
            raise ZeroDivisionError

    hub = KeepingHub()
    with capture_logs() as logs:
        async with relayed(hub=hub, connector=Broken()) as session:
            await session.ended.wait()
    assert hub.end.summary.reason == "internal-error"
    assert [log["event"] for log in logs] == ["session-failed"]
    assert "ZeroDivisionError" in logs[0]["where"]


async def test_a_defect_while_octets_pass_ends_the_session_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with relayed() as session:
        await session.reply(b"+OK ready\r\n")
        with capture_logs() as logs:
            monkeypatch.delattr(Pumps, "_send")
            await session.client.write(b"NOOP\r\n")
            await session.ended.wait()
    assert session.hub.end.summary.reason == "internal-error"
    assert [log["event"] for log in logs] == ["session-failed"]


async def test_the_legs_get_closed_even_if_the_session_cannot_be_recorded_at_all() -> None:
    class Broken(Service):
        def begin(self, *_: object, **__: object) -> Observer:
            raise ZeroDivisionError

    with capture_logs() as logs:
        async with relayed(kind=Broken) as session:
            assert await session.client.read() == b""
            assert await session.server.read() == b""
            await session.ended.wait()
    assert {log["event"] for log in logs} == {"session-failed"}
