"""The conversations of tests/conversations, held with one secret or another.

A test that runs for each of them:

    @every_conversation
    def test_something(conversation: Conversation) -> None:
        for turn in conversation.render(SECRET): ...

The secrets here occur in no conversation, nor do parts of them that are looked for (P04); they are
long enough for `{secret[:7]}` and `{secret[7:]}` to be found, too.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from popproxy.peers.script import Action, Conversation, Turn, load
from popproxy.pop3.events import Side
from tests.support.waiting import PATIENCE

FOLDER = Path(__file__).parent.parent / "conversations"

SECRET = b"Tr0ut%Lake+9/Xy=z"
"""It differs from itself in every encoding that is looked for."""

TWINS = (
    (SECRET, b"Qu4rk#Moss&7?Uv~w"),
    (b"zanderfjordgypsum", b"09182736455463728"),
    ("Öl€wühlmäuse!".encode(), b"%41%42%43%44%45%46"),
)
"""Pairs of secrets of the same length: whichever of a pair is said, outputs are the same (P02)."""

LONGER = SECRET * 3
"""A secret of another length: outputs are the same, too, where no server counts octets (P03)."""


@functools.cache
def load_all() -> tuple[Conversation, ...]:
    """Load every conversation, by name."""
    return tuple(load(path) for path in sorted(FOLDER.glob("*.txt")))


def by_name(name: str) -> Conversation:
    """Load one.

    Args:
        name: Its file's name without the suffix.
    """
    return load(FOLDER / f"{name}.txt")


every_conversation = pytest.mark.parametrize(
    "conversation", load_all(), ids=[conversation.name for conversation in load_all()]
)


def sent(turns: Iterable[Turn], side: Side) -> bytes:
    """Give all that a side says."""
    return b"".join(turn.data for turn in turns if turn.side is side)


async def play(
    turns: Iterable[Turn],
    client: trio.abc.HalfCloseableStream,
    server: trio.abc.HalfCloseableStream,
) -> None:
    """Hold a conversation through what lies between two streams, and check that nothing changes.

    Each turn is awaited at the other end before the next one begins.

    Args:
        turns: The conversation.
        client: The client's end.
        server: The server's end.

    Raises:
        AssertionError: Other octets arrived than were sent.
    """
    ends = {Side.CLIENT: client, Side.SERVER: server}
    for turn in turns:
        here, there = ends[turn.side], ends[turn.side.other]
        if turn.action is Action.WAIT:
            await trio.sleep(turn.seconds)
        elif turn.action is Action.SEND:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.send_all, turn.data)
                await _arrives(turn, there)
        elif turn.action is Action.EOF:
            await here.send_eof()
            assert await there.receive_some() == b"", f"line {turn.line}: octets instead of the end"
        else:
            await _reset(here)
            with contextlib.suppress(trio.BrokenResourceError):
                assert await there.receive_some() == b"", f"line {turn.line}: octets after a reset"


async def _arrives(turn: Turn, stream: trio.abc.ReceiveStream) -> None:
    received = b""
    with trio.move_on_after(PATIENCE) as waiting:
        while len(received) < len(turn.data):
            piece = await stream.receive_some(len(turn.data) - len(received))
            assert piece, f"line {turn.line}: the stream ended"
            received += piece
    assert not waiting.cancelled_caught, f"line {turn.line}: octets are missing"
    assert received == turn.data, f"line {turn.line}: other octets arrived"


async def _reset(stream: trio.abc.HalfCloseableStream) -> None:
    if isinstance(stream, trio.SocketStream):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)
