"""Twins: two sessions that differ only in the secret have the same records (P02, P03)."""

from __future__ import annotations

import pytest

from popproxy.peers.script import Conversation, parse
from popproxy.privacy import Policy
from tests.support.conversations import LONGER, SECRET, TWINS, by_name, every_conversation
from tests.support.core import at_random, byte_by_byte, whole
from tests.support.leaks import leaks
from tests.support.recording import Cut, play

POLICIES = {
    "full": Policy(),
    "headers": Policy(body="headers"),
    "none": Policy(body="none"),
    "pseudonyms": Policy(mask_users=True, pseudonym_key=b"k" * 32),
}
CUTS: dict[str, Cut] = {"whole": whole, "byte by byte": byte_by_byte}

LENGTH_SHOWS = {
    # Where an encoded text is wrapped, its line ends show how much stands before them, and where
    # encoded words stand without anything between them, where one ends. No figure tells more.
    "secret-in-a-message-in-base64",
    "secret-in-a-message-in-hex",
    "secret-at-the-borders-of-pieces",
}


@every_conversation
@pytest.mark.parametrize("policy", POLICIES)
def test_p02_twins_have_the_same_records(conversation: Conversation, policy: str) -> None:
    for first, second in TWINS:
        one = play(conversation, first, POLICIES[policy])
        assert one == play(conversation, second, POLICIES[policy])
        if conversation.name != "short-secrets":
            assert leaks({"records": one}, first.decode()) == []


@every_conversation
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_p02_twins_have_the_same_records_at_any_cut(conversation: Conversation, seed: int) -> None:
    first, second = TWINS[seed]

    def cut(data: bytes) -> list[bytes]:
        if seed == 0 and len(data) < 5_000:
            return [data[at : at + 1] for at in range(len(data))]
        return [*at_random(seed)(data)]

    one = play(conversation, first, cut=cut)
    assert one == play(conversation, second, cut=cut)
    if conversation.name != "short-secrets":
        assert leaks({"records": one}, first.decode()) == []


@every_conversation
@pytest.mark.parametrize("policy", POLICIES)
def test_p03_no_figure_depends_on_the_length_of_a_secret(
    conversation: Conversation, policy: str
) -> None:
    if conversation.name in LENGTH_SHOWS:
        return
    one = play(conversation, SECRET, POLICIES[policy])
    assert one == play(conversation, LONGER, POLICIES[policy])


@pytest.mark.parametrize("name", sorted(LENGTH_SHOWS))
def test_p03_the_exceptions_are_exceptions(name: str) -> None:
    """If one of them is the same for all lengths some day, it leaves the list."""
    assert play(by_name(name), SECRET) != play(by_name(name), LONGER)


ECHO = r"""# A password that comes back in every way, cut anywhere. P02 P03
S: +OK ready
C: USER ada
S: +OK
C: PASS {secret}
S: -ERR no such password: {secret}
C: AUTH PLAIN {base64:\0ada\0{secret}}
S: -ERR what is {base64:\0ada\0{secret}}?
C: {base64:\0ada\0{secret}}
S: -ERR unknown command {base64:\0ada\0{secret}}
C: XCLIENT LOGIN={secret}
S: -ERR
C: PASS{secret}
S: -ERR PASS{secret}
C: PASS {secret}
S: +OK welcome
C: RETR 1
S: +OK 120 octets
S+ Subject: {secret}
S+ X: {hex:{secret}} {percent:{secret}} {upper:{secret}}
S+
S+ {secret}{secret}
S+ .
C: QUIT
S: +OK {percent-all:{secret}}
"""


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("policy", POLICIES)
def test_p03_secrets_of_any_length_look_the_same(cut: str, policy: str) -> None:
    conversation = parse(ECHO)
    outcomes = {
        play(conversation, secret, POLICIES[policy], cut=CUTS[cut])
        for secret in (b"6-octs", b"0123456789", SECRET, LONGER, SECRET * 40, b"a b c d e f g")
    }
    assert len(outcomes) == 1
