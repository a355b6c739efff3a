"""A replay of a conversation that is held at the recorded times is the recording."""

from __future__ import annotations

import re

import pytest
import trio.testing

from popproxy.peers.script import Conversation, parse
from popproxy.relay.memory import memory_legs
from popproxy.tools.replay_pieces import Split
from popproxy.tools.replay_place import Known
from popproxy.tools.replay_planner import PlanError, make_plan
from popproxy.tools.replay_session import Manner, ReplaySession
from tests.support.conversations import SECRET, every_conversation
from tests.support.replaying import captured, hold, reads

_PASSWORD_NEEDED = "its exchange cannot be held without the password"
_ODD = "the exchange had lines more or less than its mechanism has"
CANNOT = {
    "auth-challenges-in-odd-forms": "challenges are written in one form",
    "auth-digest-md5": _PASSWORD_NEEDED,
    "auth-digest-md5-cancelled-then-cram-md5": _PASSWORD_NEEDED,
    "auth-empty-and-equals": _ODD,
    "auth-long-lines-in-many-rounds": _PASSWORD_NEEDED,
    "auth-mechanisms-nobody-knows": _PASSWORD_NEEDED,
    "auth-more-lines-than-asked-for": _ODD,
    "auth-ntlm-answered-by-ok": _PASSWORD_NEEDED,
    "auth-ntlm-refused-after-ok": _PASSWORD_NEEDED,
    "auth-response-crosses-the-error": _ODD,
    "auth-response-wrapped": _ODD,
    "auth-retried-many-times": "exchanges that are pipelined are answered one by one",
    "auth-scram-final-in-the-ok": _PASSWORD_NEEDED,
    "auth-scram-sha-256": _PASSWORD_NEEDED,
    "capa-differs-after-login": "SCRAM-SHA-256 is left out of the list",
    "every-kind-of-record": _PASSWORD_NEEDED,
    "mutt-loses-step": _PASSWORD_NEEDED,
    "pass-split-by-cr": "a bare CR ends no line",
    "xtnd-xmit": "a message of the client's is not awaited",
}
"""Conversations that cannot be replayed to the octet, and why."""


def _masked(data: bytes) -> bytes:
    """Challenges are not what they were, as nobody knows that any more."""
    return re.sub(rb"(?m)^\+(?: .*)?\r$", b"+ ********\r", data)


@every_conversation
async def test_a_conversation_is_replayed_as_it_was(
    conversation: Conversation, autojump_clock: trio.testing.MockClock
) -> None:
    records = captured(conversation, SECRET)
    if conversation.name == "tls-on-a-plain-port":
        with pytest.raises(PlanError, match="passed through under TLS"):
            make_plan(records)
        return
    held = await hold(records, conversation, SECRET)
    expected = [(round(at, 2), _masked(data)) for at, data in reads(records)]
    found = [(round(at, 2), _masked(data)) for at, data in held.reads]
    if conversation.name in CANNOT:
        assert found != expected, "it can be: take it out of the list"
        return
    assert found == expected
    assert held.outcome.departures == []


QUICK = parse("S: +OK\nC: QUIT\n! wait 9\nS: +OK {cut}bye\nS! eof\n")


async def test_speed_divides_every_pause(autojump_clock: trio.testing.MockClock) -> None:
    plan = make_plan(captured(QUICK))
    assert plan.steps[1].pieces[0].delay == pytest.approx(2)
    for speed, seconds in ((1.0, 2.0), (4.0, 0.5), (None, 0.0)):
        held = await hold(captured(QUICK), QUICK, manner=Manner(speed=speed))
        assert held.reads[-1][0] - 2 == pytest.approx(seconds, abs=0.02)


async def test_a_split_cuts_everything_that_is_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    held = await hold(captured(QUICK), QUICK, manner=Manner(split=Split.parse("every")))
    assert all(len(data) == 1 for _at, data in held.reads)
    assert b"".join(data for _at, data in held.reads) == b"+OK\r\n+OK bye\r\n"


async def test_a_silent_client_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    quiet = parse("S: +OK\nC: NOOP\n! wait 3000\nC! eof\n")
    held = await hold(captured(quiet), parse("S: +OK\n"))
    assert held.outcome.reason == "the client was silent for 600 seconds"
    assert held.closed_at == pytest.approx(601, abs=3)


async def test_a_client_that_takes_nothing_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = memory_legs(capacity=2)
    session = ReplaySession(theirs, Known(make_plan(captured(QUICK))), Manner(idle=30))
    outcome = await session.run()
    assert outcome.reason == "the client took nothing for 30 seconds"
    ours.close()


async def test_answers_of_one_read_are_sent_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    both = parse("S: +OK\nC: NOOP\nC+ NOOP\nC+ QUIT\nS: +OK 1\nS+ +OK 2\nS+ +OK 3\nS! eof\n")
    held = await hold(captured(both), both)
    assert held.reads[1][1] == b"+OK 1\r\n+OK 2\r\n+OK 3\r\n"
    slow = parse("S: +OK\nC: NOOP\nS: x\nC: NOOP\nS: x\nC: QUIT\nS: x\n")
    apart = await hold(captured(both), slow)
    assert [data for _at, data in apart.reads[1:]] == [b"+OK 1\r\n", b"+OK 2\r\n", b"+OK 3\r\n"]
    assert apart.outcome.departures == []


async def test_a_reset_is_a_reset(autojump_clock: trio.testing.MockClock) -> None:
    cut = parse("S: +OK\nC: RETR 1\nS: +OK\nS+ half a mess\\\nS! rst\n")
    held = await hold(captured(cut), cut)
    assert held.lost
    assert held.reads[-1][1] == b"+OK\r\nhalf a mess"
    closed = parse("S: +OK\nC: RETR 1\nS: +OK\nS+ half a mess\\\nS! eof\n")
    held = await hold(captured(closed), closed)
    assert not held.lost
    assert held.reads[-1][1] == b"+OK\r\nhalf a mess"


async def test_a_server_that_leaves_at_once_leaves_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    leaves = parse("C: USER a\nC+ PASS {secret}\nS! eof\n")
    for match in ("strict", "lenient"):
        held = await hold(captured(leaves, SECRET), leaves, SECRET, Manner(match=match))
        assert held.reads == []
        assert held.closed_at < 5
