"""The embedded server over memory streams: commands, states, limits, faults."""

from __future__ import annotations

import base64
import gc
import hashlib
import re
import tracemalloc
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
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

USER, PASSWORD = "ada", "canary-kiosk-0471"
FIRST = b"Subject: one\r\n\r\n.dotted\r\nplain\r\n"
SECOND = b"Subject: two\r\n\r\n"
LOGIN = [b"USER ada", b"PASS " + PASSWORD.encode()]


def maildrop() -> MemoryMaildrop:
    return MemoryMaildrop([FIRST, SECOND])


def server_for(drop: Maildrop, settings: Settings | None = None) -> Server:
    return Server(Accounts(lambda _user: drop, {USER: PASSWORD}), settings)


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[trio.abc.HalfCloseableStream]:
    """Give the client's end of a connection to the server."""
    client, end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handle, end)
        yield client
        await client.aclose()


async def talk(server: Server, *commands: bytes) -> list[bytes]:
    """Hold a conversation; give the answers, the greeting's left out."""
    async with connected(server) as stream:
        said = await ScriptedClient(stream).converse(commands)
    return [exchange.answer for exchange in said[1:]]


async def everything(stream: trio.abc.ReceiveStream) -> bytes:
    """Read to the end."""
    return b"".join([data async for data in stream])


async def test_a_session_from_login_to_quit() -> None:
    drop = maildrop()
    answers = await talk(
        server_for(drop),
        *LOGIN,
        *(b"STAT", b"LIST", b"LIST 2", b"UIDL", b"UIDL 1", b"RETR 1", b"TOP 1 0", b"TOP 1 1"),
        *(b"DELE 1", b"STAT", b"LIST", b"NOOP", b"QUIT"),
    )
    ids = [message.unique_id.encode() for message in maildrop().open().messages]
    assert answers[1:] == [
        b"+OK maildrop locked and ready\r\n",
        b"+OK 2 %d\r\n" % (len(FIRST) + len(SECOND)),
        b"+OK 2 messages\r\n1 %d\r\n2 %d\r\n.\r\n" % (len(FIRST), len(SECOND)),
        b"+OK 2 %d\r\n" % len(SECOND),
        b"+OK 2 messages\r\n1 %s\r\n2 %s\r\n.\r\n" % (ids[0], ids[1]),
        b"+OK 1 %s\r\n" % ids[0],
        b"+OK %d octets\r\nSubject: one\r\n\r\n..dotted\r\nplain\r\n.\r\n" % len(FIRST),
        b"+OK top of message follows\r\nSubject: one\r\n\r\n.\r\n",
        b"+OK top of message follows\r\nSubject: one\r\n\r\n..dotted\r\n.\r\n",
        b"+OK message 1 deleted\r\n",
        b"+OK 1 %d\r\n" % len(SECOND),
        b"+OK 1 messages\r\n2 %d\r\n.\r\n" % len(SECOND),
        b"+OK\r\n",
        b"+OK goodbye\r\n",
    ]
    assert drop.contents == (SECOND,)


async def test_the_greeting_has_a_timestamp_that_differs_each_time() -> None:
    server = server_for(maildrop())
    stamps = set()
    for _ in range(3):
        async with connected(server) as stream:
            greeting = (await ScriptedClient(stream).greeting()).answer
        found = re.fullmatch(rb"\+OK .*(<[!-~]+@[!-~]+>)\r\n", greeting)
        assert found
        stamps.add(found[1])
    assert len(stamps) == 3


async def test_capa_tells_what_the_server_can_in_both_states() -> None:
    before, *_, after = await talk(server_for(maildrop()), b"CAPA", *LOGIN, b"CAPA")
    assert before == after
    lines = before.split(b"\r\n")
    for capability in (b"TOP", b"USER", b"SASL PLAIN", b"PIPELINING", b"UIDL", b"RESP-CODES"):
        assert capability in lines


@pytest.mark.parametrize(
    "commands",
    [
        [b"user ada", b"pass canary-kiosk-0471"],
        [b"USER ada ", b"PASS canary-kiosk-0471"],
        [b"AUTH PLAIN " + base64.b64encode(b"\0ada\0canary-kiosk-0471")],
        [b"auth plain", base64.b64encode(b"ada\0ada\0canary-kiosk-0471")],
        [b"PASS x", b"AUTH PLAIN *", b"AUTH", *LOGIN],
        [b"USER ada", b"PASS wrong", *LOGIN],
        [b"AUTH PLAIN", b"*", *LOGIN],
    ],
)
async def test_ways_to_log_in(commands: list[bytes]) -> None:
    assert (await talk(server_for(maildrop()), *commands, b"STAT"))[-1].startswith(b"+OK 2 ")


@pytest.mark.parametrize(
    ("commands", "answer"),
    [
        ([b"USER ada", b"PASS wrong"], b"-ERR [AUTH] "),
        ([b"USER bob", b"PASS canary-kiosk-0471"], b"-ERR [AUTH] "),
        ([b"USER ada", b"PASS canary-kiosk-0471 "], b"-ERR [AUTH] "),
        ([b"USER ada", b"PASS"], b"-ERR [AUTH] "),
        ([b"USER ada", b"PASS wrong", b"PASS canary-kiosk-0471"], b"-ERR send USER"),
        ([b"PASS canary-kiosk-0471"], b"-ERR send USER"),
        ([b"USER"], b"-ERR "),
        ([b"USER  "], b"-ERR "),
        ([b"APOP"], b"-ERR "),
        ([b"APOP ada"], b"-ERR "),
        ([b"APOP ada 0123456789abcdef0123456789abcdef"], b"-ERR [AUTH] "),
        ([b"AUTH NTLM"], b"-ERR "),
        ([b"AUTH PLAIN a b"], b"-ERR "),
        ([b"AUTH PLAIN ====="], b"-ERR not base64"),
        ([b"AUTH PLAIN ="], b"-ERR [AUTH] "),
        ([b"AUTH PLAIN", b""], b"-ERR [AUTH] "),
        ([b"AUTH PLAIN", b"*"], b"-ERR cancelled"),
        ([b"AUTH PLAIN", b"\xff\0"], b"-ERR not base64"),
        ([b"AUTH PLAIN", b"x" * 20_000], b"-ERR line too long"),
        ([b"AUTH PLAIN " + base64.b64encode(b"bob\0ada\0canary-kiosk-0471")], b"-ERR [AUTH] "),
        ([b"STAT"], b"-ERR not in this state"),
        ([*LOGIN, b"USER ada"], b"-ERR not in this state"),
        ([b""], b"-ERR unknown command"),
        ([b"PASS:x"], b"-ERR unknown command"),
        ([b"p\xe4ss x"], b"-ERR unknown command"),
        ([b"STLS"], b"-ERR unknown command"),
        ([b"x" * 70_000], b"-ERR line too long"),
        *(
            ([*LOGIN, command], b"-ERR ")
            for command in (
                b"RETR",
                b"RETR 0",
                b"RETR 3",
                b"RETR -1",
                b"RETR 1 1",
                b"RETR " + "١".encode(),
                b"RETR 99999999999999999999",
                b"DELE x",
                b"LIST x",
                b"UIDL 3",
                b"TOP 1",
                b"TOP 1 x",
                b"TOP 3 1",
                b"TOP 1 2 3",
            )
        ),
        ([*LOGIN, b"DELE 1", b"DELE 1"], b"-ERR "),
        ([*LOGIN, b"DELE 1", b"RETR 1"], b"-ERR "),
        ([*LOGIN, b"DELE 1", b"LIST 1"], b"-ERR "),
    ],
)
async def test_p76_what_is_wrong_is_answered_and_the_session_goes_on(
    commands: list[bytes], answer: bytes
) -> None:
    answers = await talk(server_for(maildrop()), *commands, b"CAPA", b"QUIT")
    assert answers[-3].startswith(answer)
    assert answers[-2].startswith(b"+OK")
    assert answers[-1] == b"+OK goodbye\r\n"


async def test_apop() -> None:
    async with connected(server_for(maildrop())) as stream:
        client = ScriptedClient(stream)
        stamp = re.search(rb"<.*>", (await client.greeting()).answer)
        assert stamp
        secret = stamp.group() + PASSWORD.encode()
        digest = hashlib.md5(secret, usedforsecurity=False).hexdigest().encode()
        assert (await client.command(b"APOP ada " + digest)).ok
        assert (await client.command(b"STAT")).ok


async def test_rset_undoes_deletions() -> None:
    drop = maildrop()
    answers = await talk(server_for(drop), *LOGIN, b"DELE 1", b"RSET", b"STAT", b"QUIT")
    assert answers[-2].startswith(b"+OK 2 ")
    assert len(drop.contents) == 2


@pytest.mark.parametrize("ending", ["eof", "reset", "quit before login"])
async def test_without_quit_in_transaction_nothing_is_deleted(ending: str) -> None:
    drop = maildrop()
    server = server_for(drop)
    async with connected(server) as stream:
        if ending == "quit before login":
            await ScriptedClient(stream).converse([b"QUIT"])
        else:
            await ScriptedClient(stream).converse([*LOGIN, b"DELE 1", b"DELE 2"])
            if ending == "eof":
                await stream.send_eof()
                assert await everything(stream) == b""
    assert len(drop.contents) == 2
    drop.open().close()  # the lock is free again


async def test_a_second_session_gets_in_use_and_may_try_again() -> None:
    server = server_for(maildrop())
    async with connected(server) as first, connected(server) as second:
        one, two = ScriptedClient(first), ScriptedClient(second)
        await one.converse(LOGIN)
        assert (await two.converse(LOGIN))[-1].answer.startswith(b"-ERR [IN-USE] ")
        await one.command(b"QUIT")
        assert (await two.command(LOGIN[0])).ok
        assert (await two.command(LOGIN[1])).ok


async def test_pipelined_commands_in_one_segment_are_answered_in_order_and_together() -> None:
    drop = maildrop()
    async with connected(server_for(drop)) as stream:
        await ScriptedClient(stream).greeting()
        lines = [*LOGIN, b"STAT", b"RETR 1", b"RETR 2", b"DELE 1", b"NOOP", b"QUIT"]
        await stream.send_all(b"".join(line + b"\r\n" for line in lines))
        answers = await everything(stream)
    assert [line for line in answers.split(b"\r\n") if line.startswith(b"+OK")] == [
        b"+OK send PASS",
        b"+OK maildrop locked and ready",
        b"+OK 2 %d" % (len(FIRST) + len(SECOND)),
        b"+OK %d octets" % len(FIRST),
        b"+OK %d octets" % len(SECOND),
        b"+OK message 1 deleted",
        b"+OK",
        b"+OK goodbye",
    ]
    assert drop.contents == (SECOND,)


async def test_p26_what_was_asked_before_a_half_close_is_answered() -> None:
    async with connected(server_for(maildrop())) as stream:
        await stream.send_all(b"".join(line + b"\r\n" for line in [*LOGIN, b"RETR 1"]))
        await stream.send_eof()
        assert (await everything(stream)).endswith(b"plain\r\n.\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\0", b"\r\r\n"])
async def test_any_line_end_is_accepted_and_one_byte_segments_too(end: bytes) -> None:
    async with connected(server_for(maildrop())) as stream:
        for octet in end.join([*LOGIN, b"STAT", b"QUIT", b""]):
            await stream.send_all(bytes([octet]))
            await trio.testing.wait_all_tasks_blocked()
        answers = await everything(stream)
    assert answers.count(b"+OK") == 5
    assert b"-ERR" not in answers


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
