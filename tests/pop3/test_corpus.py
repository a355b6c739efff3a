"""The laws of the core, on the corpus of odd conversations."""

from __future__ import annotations

from popproxy.peers.script import Conversation
from popproxy.pop3 import Side
from tests.support.conversations import SECRET, every_conversation
from tests.support.core import Turn, at_random, byte_by_byte, joined, read, sent, timeless


def said(conversation: Conversation) -> list[Turn]:
    return [(turn.side, turn.data) for turn in conversation.render(SECRET) if turn.data]


@every_conversation
def test_law_1_lossless(conversation: Conversation) -> None:
    turns = said(conversation)
    events = read(turns)
    for side in Side:
        assert joined(events, side) == sent(turns, side)


@every_conversation
def test_law_2_cut_invariant_p73(conversation: Conversation) -> None:
    turns = said(conversation)
    expected = timeless(read(turns))
    assert timeless(read(turns, byte_by_byte)) == expected
    assert timeless(read(turns, at_random(7))) == expected
    assert timeless(read(turns, at_random(8))) == expected
