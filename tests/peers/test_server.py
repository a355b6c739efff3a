"""The embedded server over memory streams: commands, states, deletions, pipelining."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
import trio
import trio.testing

from popproxy.peers.client import ScriptedClient
from tests.support.serving import (
    FIRST,
    LOGIN,
    PASSWORD,
    SECOND,
    connected,
    everything,
    maildrop,
    server_for,
    talk,
)


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
