"""The embedded server over memory streams: limits, time, disks and defects."""

from __future__ import annotations

import base64
import gc
import tracemalloc
from collections.abc import Collection
from pathlib import Path

import pytest
import trio
import trio.testing

from popproxy.peers.accounts import Accounts
from popproxy.peers.client import ScriptedClient
from popproxy.peers.maildrop import (
    Maildrop,
    MaildropError,
    MemoryMaildrop,
    MessageGoneError,
    OpenMaildrop,
    open_path,
)
from popproxy.peers.server import Server, Settings
from popproxy.peers.wire import Reader
from tests.support.serving import (
    FIRST,
    LOGIN,
    connected,
    everything,
    maildrop,
    server_for,
    talk,
)


async def test_the_auto_logout_timer_ends_the_session_without_answer_or_deletion(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drop = maildrop()
    async with connected(server_for(drop)) as stream:
        client = ScriptedClient(stream)
        await client.converse([*LOGIN, b"DELE 1"])
        for _ in range(3):  # a command sets the timer back
            await trio.sleep(599)
            assert (await client.command(b"NOOP")).ok
        started = trio.current_time()
        assert await everything(stream) == b""
        assert trio.current_time() - started == pytest.approx(600, abs=1)
    assert len(drop.contents) == 2


async def test_a_client_that_takes_no_answer_is_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, end = trio.testing.lockstep_stream_pair()
    server = server_for(maildrop())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handle, end)
        await trio.sleep(599)
        assert server.connections == 1
        await trio.sleep(2)
        assert server.connections == 0
    await client.aclose()


async def test_p55_connections_are_bounded_and_the_one_too_many_is_told() -> None:
    server = server_for(maildrop(), Settings(connections=2))
    async with connected(server) as first, connected(server) as second:
        await ScriptedClient(first).greeting()
        await ScriptedClient(second).greeting()
        async with connected(server) as third:
            assert (await everything(third)).startswith(b"-ERR [SYS/TEMP] ")
        await ScriptedClient(first).command(b"QUIT")
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        async with connected(server) as fourth:
            assert (await ScriptedClient(fourth).greeting()).ok


async def test_p57_a_defect_ends_one_session_only_and_is_reported_without_content() -> None:
    def maildrop_for(user: str) -> Maildrop:
        if user == "ada":
            raise ValueError("canary")
        return MemoryMaildrop()

    reports: list[str] = []
    server = Server(Accounts(maildrop_for), report=reports.append)
    async with connected(server) as other:
        client = ScriptedClient(other)
        await client.greeting()
        async with connected(server) as stream:
            await stream.send_all(b"USER ada\r\nPASS canary\r\n")
            await everything(stream)
        assert (await client.command(b"CAPA")).ok
    assert reports == ["a session of the embedded server failed: ValueError"]
    assert server.connections == 0


class Failing:
    """A maildrop in which what it is told fails."""

    blocks = True

    def __init__(self, *failing: str) -> None:
        self._failing = failing
        self._opened: OpenMaildrop | None = None
        self.drop = maildrop()
        self.messages = self.drop.open().messages
        self.closed = 0

    def _fail(self, what: str, error: Exception) -> None:
        if what in self._failing:
            raise error

    def open(self) -> OpenMaildrop:
        self._fail("open", MaildropError("canary"))
        return self

    def read(self, _number: int) -> Reader:
        self._fail("gone", MessageGoneError("canary"))
        return self  # type: ignore[return-value] # read() has two meanings in this double

    def remove(self, _numbers: Collection[int]) -> None:
        self._fail("remove", OSError(5, "canary"))

    def close(self) -> None:
        self.closed += 1


class FailingReader(Failing):
    """A maildrop whose messages cannot be read to their end."""

    def read(self, number: int) -> Reader:
        class Half:
            sent = False

            def read(self, _size: int, /) -> bytes:
                if self.sent:
                    raise OSError(5, "canary")
                self.sent = True
                return b"Subject: half\r\n"

            def close(self) -> None:
                pass

        return Half()


async def test_a_maildrop_that_cannot_be_opened_is_told() -> None:
    answers = await talk(server_for(Failing("open")), *LOGIN, b"QUIT")
    assert answers[1].startswith(b"-ERR [SYS/TEMP] ")
    assert answers[2].startswith(b"+OK")


async def test_a_message_that_is_gone_is_told_and_the_session_goes_on() -> None:
    answers = await talk(server_for(Failing("gone")), *LOGIN, b"RETR 1", b"TOP 1 1", b"QUIT")
    assert answers[2].startswith(b"-ERR [SYS/TEMP] ")
    assert answers[3].startswith(b"-ERR [SYS/TEMP] ")
    assert answers[4].startswith(b"+OK")


async def test_deletions_that_fail_are_told_by_quit_and_the_lock_is_released() -> None:
    drop = Failing("remove")
    answers = await talk(server_for(drop), *LOGIN, b"DELE 1", b"QUIT")
    assert answers[-1].startswith(b"-ERR [SYS/TEMP] some deleted messages")
    assert drop.closed == 1


async def test_a_message_that_breaks_off_ends_the_session_without_a_dot_or_a_deletion() -> None:
    drop = FailingReader("remove")
    async with connected(server_for(drop)) as stream:
        client = ScriptedClient(stream)
        await client.converse([*LOGIN, b"DELE 2"])
        await stream.send_all(b"RETR 1\r\nQUIT\r\n")
        assert not (await everything(stream)).endswith(b".\r\n")
    assert drop.closed == 1


async def test_p77_ten_thousand_failed_logins_leave_nothing_behind() -> None:
    server = server_for(maildrop())
    async with connected(server) as stream:
        client = ScriptedClient(stream)
        await client.greeting()

        async def fail(times: int) -> None:
            for number in range(0, times, 100):
                wrong = b"AUTH PLAIN " + base64.b64encode(b"\0ada\0%d" % number) + b"\r\n"
                await stream.send_all((wrong + b"AUTH PLAIN\r\n*\r\n") * 50)
                await stream.send_all(b"NOOP\r\n")
                answers = b""
                while not answers.endswith(b"-ERR not in this state\r\n"):
                    answers += await stream.receive_some()
                assert answers.count(b"-ERR") == 101

        tracemalloc.start()  # before the first: what is replaced later has to be counted, too
        try:
            await fail(500)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            await fail(10_000)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 20_000
        assert (await client.command(LOGIN[0])).ok
        assert (await client.command(LOGIN[1])).ok


async def test_a_large_message_is_sent_in_pieces_whatever_its_lines() -> None:
    content = b"Subject: x\r\n\r\n" + b".\r\n" * 200_000 + b"y" * 1_000_000 + b"\r\n"
    drop = MemoryMaildrop([content])
    answers = await talk(server_for(drop), *LOGIN, b"RETR 1", b"TOP 1 100000", b"STAT")
    status, _, rest = answers[2].partition(b"\r\n")
    assert status == b"+OK %d octets" % len(content)
    assert rest == content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    assert answers[3].count(b"\r\n") == 2 + 1 + 100_000 + 1


async def test_a_maildir_is_served_and_emptied(tmp_path: Path) -> None:
    for folder in ("new", "cur"):
        (tmp_path / folder).mkdir()
    (tmp_path / "new" / "1.a.host").write_bytes(FIRST.replace(b"\r\n", b"\n"))
    answers = await talk(server_for(open_path(tmp_path)), *LOGIN, b"RETR 1", b"DELE 1", b"QUIT")
    assert answers[2].endswith(b"\r\n\r\n..dotted\r\nplain\r\n.\r\n")
    assert list((tmp_path / "new").iterdir()) == []


async def test_cancellation_releases_the_maildrop(tmp_path: Path) -> None:
    (tmp_path / "mbox").write_bytes(b"From a\nSubject: x\n\ny\n")
    drop = open_path(tmp_path / "mbox")
    client, end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server_for(drop).handle, end)
        await ScriptedClient(client).converse(LOGIN)
        nursery.cancel_scope.cancel()
    drop.open().close()


async def test_p13_a_session_shows_nothing_of_what_was_said() -> None:
    from popproxy.peers.channel import Channel
    from popproxy.peers.server_session import ServerSession

    client, end = trio.testing.memory_stream_pair()
    session = ServerSession(end, Accounts(lambda _user: maildrop()), Settings(), b"<canary@x>")
    assert repr(session) == "<ServerSession in AUTHORIZATION>"
    assert "canary" not in repr(Channel(client, 1)) + repr(session._channel._lines)
