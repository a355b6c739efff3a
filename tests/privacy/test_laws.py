"""Laws of records: what holds in whatever was said, on the corpus of odd conversations."""

from __future__ import annotations

import msgspec
import pytest

from popproxy.peers.script import Action, Conversation
from popproxy.pop3 import Command, Event, Response, SaslChallenge, SaslResponse, Session, Side
from popproxy.privacy import Policy
from popproxy.records import (
    MASK,
    RECORD_TYPES,
    AuthRecord,
    CommandRecord,
    DataRecord,
    FindingRecord,
    GreetingRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    WireRecord,
)
from tests.support.conversations import SECRET, every_conversation
from tests.support.core import at_random
from tests.support.recording import STARTED, begin, of, one, recorder

POLICIES = {
    "full": Policy(),
    "none": Policy(body="none"),
    "pseudonyms": Policy(mask_users=True, pseudonym_key=b"k" * 32),
}
every_policy = pytest.mark.parametrize("policy", POLICIES)

STEP = 1_000
"""Nanoseconds between two reads: one microsecond, as segments count."""

Reads = dict[Side, list[tuple[int, int]]]
"""When octets of a side came, in microseconds, and how many."""


def play(conversation: Conversation, policy: str) -> tuple[list[Record], list[Event], Reads]:
    """Hold a conversation in random pieces, one each microsecond.

    Returns:
        Its records and events, and how it was read.
    """
    session, made = Session(), recorder(POLICIES[policy], exposed=["client", "upstream"])
    records, heard, cut = begin(made), list[Event](), at_random(3)
    reads: Reads = {side: [] for side in Side}
    tick = 0

    def hear(events: list[Event]) -> None:
        heard.extend(events)
        records.extend(made.record(events))

    for turn in conversation.render(SECRET):
        if turn.action is Action.SEND:
            for piece in cut(turn.data):
                tick += 1
                reads[turn.side].append((tick, len(piece)))
                hear(session.receive(turn.side, piece, tick * STEP))
                if session.waiting_for_tls:
                    hear(session.tls_declined(tick * STEP))
        elif turn.action is not Action.WAIT:
            hear(session.end(turn.side, tick * STEP))
    for side in Side:
        hear(session.end(side, tick * STEP))
    records += made.end(reason="closed", at=tick * STEP)
    return records, heard, reads


@every_conversation
@every_policy
def test_records_are_what_their_types_say(conversation: Conversation, policy: str) -> None:
    records, _, _ = play(conversation, policy)
    for number, record in enumerate(records, 1):
        fields = msgspec.to_builtins(record)
        assert msgspec.convert(fields, RECORD_TYPES[record.event.action], strict=True) == record
        assert type(record) is RECORD_TYPES[record.event.action]
        assert record.session.seq == number
        assert record.timestamp >= STARTED


@every_conversation
@every_policy
def test_masked_names_what_holds_a_mask(conversation: Conversation, policy: str) -> None:
    records, _, _ = play(conversation, policy)
    masks = tuple([MASK] if policy != "pseudonyms" else [MASK, "user-"])

    def has_mask(text: str | None) -> bool:
        return text is not None and any(mask in text for mask in masks)

    for record in of(records, WireRecord):
        expected = {"raw"} if has_mask(record.wire.decode(errors="replace")) else set()
        if isinstance(record, CommandRecord):
            if has_mask(record.pop3.command):
                expected.add("pop3.command")
            if has_mask(record.pop3.arguments):
                expected.add("pop3.arguments")
        elif isinstance(record, GreetingRecord | ResponseRecord) and has_mask(record.pop3.text):
            expected.add("pop3.text")
        told = set(record.masked) - {"pop3.message", "pop3.octets"}
        assert told == expected, record


@every_conversation
def test_reads_are_told_up_to_the_first_mask(conversation: Conversation) -> None:
    records, _, reads = play(conversation, "full")
    for side in Side:
        told: list[tuple[int, int]] = []
        for record in of(records, WireRecord):
            if record.side != side.value:
                continue
            assert sum(size for _, size in record.segments) == len(record.wire)
            if record.masked or (isinstance(record, DataRecord) and record.pop3.octets):
                break
            segments = [*record.segments]
            if record.joined:
                at, size = told.pop()
                assert segments[0][0] == at
                segments[0] = at, size + segments[0][1]
            told += segments
        expected = reads[side][: len(told)]
        if told and told[-1] != expected[-1]:  # a mask stands in the rest of the read
            assert told.pop()[0] == expected.pop()[0]
        assert told == expected


@every_conversation
@every_policy
def test_records_name_the_commands_that_they_belong_to(
    conversation: Conversation, policy: str
) -> None:
    records, events, _ = play(conversation, policy)
    commands = {each.pop3.seq: each.pop3 for each in of(records, CommandRecord)}
    said = [each for each in events if isinstance(each, Command)]
    assert [*commands] == [each.seq for each in said]
    for command in said:
        part = commands[command.seq]
        assert (part.state, part.pipelined) == (command.state.value, command.pipelined)
        assert part.complete is command.terminated
    answers = [each.pop3 for each in of(records, ResponseRecord)]
    heard = [each for each in events if isinstance(each, Response)]
    assert {each.command_seq for each in answers} <= {each.seq for each in heard}
    for answer in answers:
        if answer.command_seq is None:
            assert answer.command is None
        elif answer.command is not None:
            cited = commands[answer.command_seq]
            assert answer.command in (cited.command, MASK)
            told = [cited.arguments, MASK]
            if cited.command == "AUTH" or MASK in (cited.arguments or ""):
                told.append(None)  # secrets are not even mentioned
            assert answer.arguments in told
    lines = [each for each in events if isinstance(each, SaslResponse | SaslChallenge)]
    parts = [each.pop3 for each in of(records, DataRecord) if each.pop3.part.startswith("sasl")]
    assert [each.command_seq for each in parts] == [each.seq for each in lines]
    concerned = {each.finding.command_seq for each in of(records, FindingRecord)}
    concerned |= {each.auth.command_seq for each in of(records, AuthRecord)}
    assert concerned <= {None, *commands}


@every_conversation
def test_p03_the_sum_counts_what_is_told(conversation: Conversation) -> None:
    records, _, _ = play(conversation, "full")
    summary = one(records, SessionEnd).summary
    told = {"client": 0, "server": 0}
    for record in of(records, WireRecord):
        told[record.side] += len(record.wire)
        if isinstance(record, DataRecord):
            told[record.side] += record.pop3.octets or 0
    assert (summary.octets_client, summary.octets_server) == (told["client"], told["server"])
    assert summary.commands == len(of(records, CommandRecord))
    assert summary.findings == len(of(records, FindingRecord))
    answers = of(records, ResponseRecord)
    assert summary.unmatched_responses == len([a for a in answers if a.pop3.command_seq is None])
