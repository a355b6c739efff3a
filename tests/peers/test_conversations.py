"""The corpus itself: it is well-formed, says what it is about, and covers what it is for."""

from __future__ import annotations

import re

import pytest
import trio
import trio.testing

from popproxy.peers.script import Action, Conversation
from popproxy.pop3.events import Side
from tests.support.conversations import (
    FOLDER,
    LONGER,
    SECRET,
    TWINS,
    by_name,
    every_conversation,
    load_all,
    play,
    sent,
)

COVERED = {
    *(f"P{number:02}" for number in range(1, 13)),
    *("P23", "P24", "P26", "P29", "P30", "P31", "P43", "P44", "P45", "P46", "P47", "P49", "P50"),
    *("P51", "P52", "P73", "P74", "P75", "P76", "P77"),
}
"""The promises that conversations on a plain leg can put to the test."""

SECRETS = [secret for pair in TWINS for secret in pair]


def test_every_promise_about_what_is_said_has_its_conversations() -> None:
    cited = set().union(*(conversation.promises for conversation in load_all()))
    assert COVERED - cited == set()


@every_conversation
def test_it_has_a_telling_name_and_comment(conversation: Conversation) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", conversation.name)
    source = (FOLDER / f"{conversation.name}.txt").read_text()
    assert source.startswith("# ")
    assert source.endswith("\n")
    assert not source.endswith("\n\n")
    assert max(map(len, source.splitlines())) <= 140
    assert len(conversation.comment) > 20
    assert conversation.promises


@every_conversation
@pytest.mark.parametrize("pair", TWINS, ids=["first", "second", "third"])
def test_twins_take_the_same_course_and_differ_if_a_secret_is_said(
    conversation: Conversation, pair: tuple[bytes, bytes]
) -> None:
    first, second = map(conversation.render, pair)
    for one, other in zip(first, second, strict=True):
        assert (one.side, one.action, one.seconds) == (other.side, other.action, other.seconds)
    said, otherwise = ([turn.data for turn in turns] for turns in (first, second))
    assert (said != otherwise) is conversation.has_secret


@every_conversation
def test_what_it_says_besides_is_no_part_of_a_secret(conversation: Conversation) -> None:
    """A run of six octets that stands in the conversation anyway would be masked there, rightly."""
    turns = conversation.render(b"")
    said = (sent(turns, Side.CLIENT) + sent(turns, Side.SERVER)).lower()
    for secret in [*SECRETS, LONGER]:
        low = secret.lower()
        assert not [low[at : at + 6] for at in range(len(low) - 5) if low[at : at + 6] in said]


@every_conversation
async def test_it_passes_through_a_plain_connection(
    conversation: Conversation, autojump_clock: trio.testing.MockClock
) -> None:
    client, server = trio.testing.memory_stream_pair()
    await play(conversation.render(SECRET), client, server)


def test_twins_have_the_same_length() -> None:
    for first, second in TWINS:
        assert len(first) == len(second) >= 13
        assert first != second


def test_the_corpus_is_there_and_has_sessions_with_and_without_an_end() -> None:
    assert len(load_all()) >= 100
    actions = {turn.action for conversation in load_all() for turn in conversation.render(SECRET)}
    assert actions == set(Action)


@pytest.mark.parametrize("fault", ["changes", "drops", "ends"])
async def test_play_notices_what_a_proxy_does_wrong(
    fault: str, autojump_clock: trio.testing.MockClock
) -> None:
    client, near = trio.testing.memory_stream_pair()
    far, server = trio.testing.memory_stream_pair()

    async def forward(source: trio.abc.ReceiveStream, target: trio.abc.HalfCloseableStream) -> None:
        async for data in source:
            if SECRET in data:
                if fault == "ends":
                    await target.send_eof()
                    return
                data = data.replace(SECRET, SECRET.lower() if fault == "changes" else b"")
            await target.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forward, near, far)
        nursery.start_soon(forward, far, near)
        with pytest.RaisesGroup(AssertionError):
            await play(by_name("seed-conversation").render(SECRET), client, server)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["lines-end-in-lf-both-ways", "reset-inside-a-list"])
async def test_play_works_over_sockets(name: str) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await trio.open_tcp_stream(*listener.socket.getsockname())
    server = await listener.accept()
    await play(by_name(name).render(SECRET), client, server)
    for end in (client, server, listener):
        await end.aclose()
