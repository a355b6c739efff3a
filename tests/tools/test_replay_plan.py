"""A session's records as a plan: octets, pieces, delays, ends; what was not recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from popproxy.peers.script import Conversation, parse
from popproxy.privacy import Policy
from popproxy.records import BodyPolicy, ResponseRecord
from popproxy.tools import replay_planner
from popproxy.tools.replay_filler import filler
from popproxy.tools.replay_planner import PlanError, make_plan
from tests.support.conversations import SECRET, every_conversation
from tests.support.recording import of, wire
from tests.support.replaying import captured, reads


@every_conversation
def test_a_plan_holds_every_octet_of_the_server_in_its_reads(conversation: Conversation) -> None:
    records = captured(conversation, SECRET)
    try:
        plan = make_plan(records)
    except PlanError:
        assert not wire(records, "server") or conversation.name == "tls-on-a-plain-port"
        return
    pieces = [
        piece for step in plan.steps for piece in (*step.challenges, *step.pieces) if piece.data
    ]
    assert sorted(b"".join(piece.data for piece in pieces)) == sorted(wire(records, "server"))
    assert sum(not piece.joined for piece in pieces) <= len(reads(records))
    assert all(0 <= piece.delay < 10_000 for piece in pieces)
    assert 0 <= plan.end.after <= len(plan.steps)


def test_a_delay_counts_from_the_later_of_the_command_and_the_read_before() -> None:
    plan = make_plan(
        captured(
            parse(
                "S: +OK\nC: RETR 1\n! wait 1\n! wait 1\nS: +OK\nS: a\n# .\nS: .\nC: QUIT\nS: +OK\n"
            )
        )
    )
    (_greeting, retr, quit_) = plan.steps
    assert [round(piece.delay) for piece in retr.pieces] == [3, 1, 2]
    assert [round(piece.delay) for piece in quit_.pieces] == [1]


@pytest.mark.parametrize("body", get_args(BodyPolicy))
def test_what_was_not_recorded_is_filled_in_the_same_shape(body: BodyPolicy) -> None:
    conversation = parse(
        "S: +OK\nC: RETR 1\nS: +OK\nS+ Subject: a\nS+\nS+ one\nS+ ..two\nS+ three\nS+ .\n"
        "C: QUIT\nS: +OK\n"
    )
    records = captured(conversation, policy=Policy(body=body))
    plan = make_plan(records)
    (answer,) = [one.pop3 for one in of(records, ResponseRecord) if one.pop3.command == "RETR"]
    step = plan.steps[1]
    assert step.content is not None
    content = step.wire[slice(*step.content)]
    assert len(content) == answer.octets == 33
    assert content.count(b"\r\n") == answer.lines == 5
    assert step.wire.endswith(b"\r\n.\r\n")
    assert bool(step.filled) == (body != "full")
    assert any("were not recorded" in note for note in plan.notes) == (body != "full")
    if body == "headers":
        assert content.startswith(b"Subject: a\r\n\r\n")


@given(st.integers(0, 3000), st.none() | st.integers(0, 400), st.booleans())
def test_filler_has_the_octets_and_the_lines(octets: int, lines: int | None, header: bool) -> None:
    text = filler(octets, lines, header=header)
    assert len(text) == octets
    assert not any(line.startswith(b".") for line in text.split(b"\n"))
    if lines is not None:
        assert text.count(b"\n") == min(lines, octets)
        if octets >= 2 * lines:
            assert text.count(b"\r\n") == lines


def test_a_capture_that_claims_too_much_is_refused() -> None:
    conversation = parse("S: +OK\nC: RETR 1\nS: +OK\nS+ .\n")
    records = captured(conversation, policy=Policy(body="none"))
    for number, record in enumerate(records):
        if isinstance(record, ResponseRecord):
            claim = structs.replace(record.pop3, octets=10**15, lines=10**14)
            records[number] = structs.replace(record, pop3=claim)
    with pytest.raises(PlanError, match="more than 256 MiB"):
        make_plan(records)


def test_a_session_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_planner, "MAX_OCTETS", 1000)
    with pytest.raises(PlanError, match="choose a shorter one"):
        make_plan(captured(parse("S: +OK {repeat:1000:x}\n")))


def test_a_session_without_a_word_is_refused() -> None:
    with pytest.raises(PlanError, match="nothing to replay: nothing was said in it"):
        make_plan(captured(parse("C! eof\n")))


def test_the_end_of_the_server_is_told_by_the_last_record() -> None:
    for last, kind in (("S! eof", "close"), ("S! rst", "reset"), ("C! eof", "wait")):
        plan = make_plan(captured(parse(f"S: +OK\nC: NOOP\nS: +OK\n{last}\n")))
        assert plan.end.kind == kind
    plan = make_plan(captured(parse("S: +OK\nC: QUIT\nS: +OK\nC! eof\n")))
    assert plan.end.kind == "close", "a server closes behind QUIT"


def test_a_command_in_advance_is_not_waited_for_before_the_server_ends() -> None:
    plan = make_plan(captured(parse("S: +OK\nC: RETR 1\nC+ RETR 2\nS: +OK\nS+ half\\\nS! eof\n")))
    assert len(plan.steps) == 3
    assert plan.end == replace(plan.end, kind="close", after=2)


def test_marks_of_deletion_are_those_of_the_moment() -> None:
    plan = make_plan(
        captured(
            parse(
                "S: +OK\nC: DELE 1\nS: +OK\nC: DELE 2\nS: -ERR\nC: STAT\nS: +OK 1 1\n"
                "C: RSET\nS: +OK\nC: STAT\nS: +OK 2 2\n"
            )
        )
    )
    assert [sorted(step.deleted) for step in plan.commands] == [[], [1], [1], [1], []]
