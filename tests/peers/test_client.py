from __future__ import annotations

import pytest
import trio
import trio.testing

from popproxy.peers.client import (
    SEED_COMMANDS,
    ClientError,
    Exchange,
    ScriptedClient,
    seed_conversation,
)

Server = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


async def answers(stream: trio.abc.Stream, turns: list[tuple[bytes, bytes]]) -> None:
    """Wait for each line and send what belongs to it, in two pieces."""
    for expected, answer in turns:
        received = b""
        while len(received) < len(expected):
            received += await stream.receive_some()
        assert received == expected
        await stream.send_all(answer[:5])
        await stream.send_all(answer[5:])


async def converse(turns: list[tuple[bytes, bytes]]) -> list[Exchange]:
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers, server, turns)
        commands = [command.rstrip(b"\r\n") for command, _answer in turns[1:]]
        return await ScriptedClient(client).converse(commands)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"stat\r\n", b"+OK 2 320\r\n"),
        (b"list\r\n", b"+OK\r\n1 120\r\n2 200\r\n.\r\n"),
        (b"list\r\n", b"+OK\r\n.\r\n"),
        (b"list\r\n", b"-ERR no\r\n"),
        (b"list 1\r\n", b"+OK 1 120\r\n"),
        (b"retr 1\r\n", b"+OK\r\nA: b\r\n\r\n..\r\n+OK no status\r\n.\r\n"),
        (b"top 1 0\r\n", b"+OK\nA: b\n\n.\n"),
        (b"capa\r\n", b"+OK\r\nTOP\r\n.\r\n"),
        (b"auth\r\n", b"+OK\r\nPLAIN\r\n.\r\n"),
        (b"nonsense\r\n", b"-ERR what\r\n"),
    ],
)
async def test_a_complete_answer_is_awaited(command: bytes, answer: bytes) -> None:
    turns = [(b"", b"+OK ready\r\n"), (command, answer), (b"noop\r\n", b"+OK still in step\r\n")]
    said = await converse(turns)
    assert [(exchange.command, exchange.answer) for exchange in said] == turns


async def test_a_response_to_a_challenge_is_no_command() -> None:
    turns = [
        (b"", b"+OK ready\r\n"),
        (b"auth login\r\n", b"+ VXNlcm5hbWU6\r\n"),
        (b"list\r\n", b"+ \r\n"),
        (b"list\r\n", b"+OK one line only\r\n"),
        (b"list\r\n", b"+OK\r\n1 2\r\n.\r\n"),
    ]
    said = await converse(turns)
    assert [(exchange.command, exchange.answer) for exchange in said] == turns
    assert [exchange.ok for exchange in said] == [True, False, False, True, True]


async def test_nothing_is_sent_after_a_refusal() -> None:
    client, server = trio.testing.memory_stream_pair()
    await server.send_all(b"-ERR [SYS/TEMP] go away\r\n")
    said = await ScriptedClient(client).converse([b"user ada"])
    assert len(said) == 1
    await client.aclose()
    assert await server.receive_some() == b""


async def test_a_server_may_close_instead_of_answering_quit_and_nothing_else() -> None:
    for command in (b"quit", b"stat"):
        client, server = trio.testing.memory_stream_pair()
        await server.send_all(b"+OK\r\n")
        await server.send_eof()
        scripted = ScriptedClient(client)
        await scripted.greeting()
        if command == b"quit":
            assert (await scripted.command(command)).answer == b""
        else:
            with pytest.raises(ClientError, match="instead of answering"):
                await scripted.command(command)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"+OK\r\n+O", "inside a line"),
        (b"+OK\r\n+OK\r\n1 2\r\n", "inside an answer"),
        (b"+OK\r\n+OK\r\n1 2\r\n.", "inside a line"),
        (b"+OK\r\n+OK\r\n" + b"1 2\r\n" * 300, "more than 1000 octets"),
        (b"+OK\r\n+OK" + b" " * 1_001, "more than 1000 octets"),
        (b"", "without a greeting"),
    ],
)
async def test_a_cut_off_or_endless_answer_is_said(sent: bytes, message: str) -> None:
    client, server = trio.testing.memory_stream_pair()
    if sent:
        await server.send_all(sent)
    await server.send_eof()
    with pytest.raises(ClientError, match=message):
        await ScriptedClient(client, limit=1_000).converse([b"list"])


async def test_a_lost_connection_is_said() -> None:
    client, server = trio.testing.memory_stream_pair()
    await server.send_all(b"+OK\r\n")
    scripted = ScriptedClient(client)
    await scripted.greeting()
    await server.aclose()
    with pytest.raises(ClientError, match="was lost"):
        await scripted.command(b"stat")


async def test_a_silent_server_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    scripted = ScriptedClient(client, patience=30)
    with pytest.raises(ClientError, match="no greeting for 30 seconds"):
        await scripted.greeting()
    assert trio.current_time() == pytest.approx(30, abs=0.1)
    await server.send_all(b"+OK\r\n")
    await scripted.greeting()
    with pytest.raises(ClientError, match="no answer for 30 seconds"):
        await scripted.command(b"stat")


async def test_a_pause_comes_before_each_command(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    turns = [(b"", b"+OK\r\n"), (b"stat\r\n", b"+OK 0 0\r\n"), (b"quit\r\n", b"+OK\r\n")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers, server, turns)
        await ScriptedClient(client).converse([b"stat", b"quit"], pause=2)
    assert trio.current_time() == pytest.approx(4, abs=0.1)


def test_the_seeds_conversation() -> None:
    assert seed_conversation("mail@example.com", "canary") == [
        b"user mail@example.com",
        b"pass canary",
        b"stat",
        b"list",
        b"retr 1",
        b"retr 2",
        b"dele 1",
        b"dele 2",
        b"quit",
    ]
    assert len(SEED_COMMANDS) == 9


def test_p13_what_was_said_is_not_shown() -> None:
    client, _server = trio.testing.memory_stream_pair()
    shown = repr(Exchange(b"pass canary\r\n", b"+OK canary\r\n")) + repr(ScriptedClient(client))
    assert "canary" not in shown
