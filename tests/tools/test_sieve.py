"""Records of the exchanges that a filter picks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.records import (
    CommandRecord,
    DataRecord,
    FindingRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    SessionStart,
    WireRecord,
)
from popproxy.tools import sieve
from popproxy.tools.filters import parse
from popproxy.tools.sieve import Sieve, sifted
from tests.support.conversations import load_all
from tests.support.make_samples import records
from tests.support.recording import of
from tests.support.records import captures
from tests.support.speaking import Speaking

EVERYTHING = parse("pop.request or not pop.request")


def picked(condition: str, made: list[Record]) -> list[Record]:
    return list(sifted(iter(made), parse(condition)))


def test_a_command_comes_with_all_that_belongs_to_it() -> None:
    made = records("ordinary-session", 1)
    found = picked("pop.request.command == RETR and pop.message == 1", made)
    assert isinstance(found[0], SessionStart)
    assert isinstance(found[-1], SessionEnd)
    (command,) = of(found, CommandRecord)
    expected = [
        record
        for record in made
        if isinstance(record, CommandRecord | DataRecord | ResponseRecord)
        and (record.pop3.seq if isinstance(record, CommandRecord) else record.pop3.command_seq)
        == command.pop3.seq
    ]
    assert of(found, WireRecord) == expected


def test_a_finding_behind_the_response_comes_too() -> None:
    found = picked("finding == stls-refused", records("stls-refused", 1))
    assert [record.pop3.command for record in of(found, CommandRecord)] == ["STLS"]
    assert len(of(found, FindingRecord)) == 1


def test_pipelined_commands_stand_next_to_their_responses() -> None:
    found = picked("pop.request", records("pipelining", 1))
    order = [record.side for record in of(found, WireRecord) if not isinstance(record, DataRecord)]
    assert order == ["client", "server"] * 7


def test_nothing_of_a_session_comes_if_nothing_fits() -> None:
    made = [*records("ordinary-session", 1), *records("stls-refused", 2)]
    sieve_ = Sieve(parse("finding == stls-refused"))
    found = [one for record in made for one in sieve_.feed(record)]
    assert {record.session.id for record in found} == {made[-1].session.id}
    assert (sieve_.picked, sieve_.sessions) == (1, {2})


def test_everything_comes_once_if_everything_fits() -> None:
    for number, conversation in enumerate(load_all(), 1):
        made = records(conversation.name, number)
        found = list(sifted(iter(made), EVERYTHING))
        assert sorted(found, key=lambda record: record.session.seq) == [
            record
            for record in made
            if isinstance(record, SessionStart | SessionEnd | WireRecord | FindingRecord)
            or record.event.action in ("pop3.auth", "rewrite")
        ]


@given(captures)
def test_any_records_are_taken(made: list[Record]) -> None:
    found = list(sifted(iter(made), EVERYTHING))
    assert len([one for one in found if isinstance(one, WireRecord)]) == len(of(made, WireRecord))


@pytest.mark.parametrize("held", [0, 10, 1_000_000])
def test_what_waits_in_a_file_comes_back_as_it_was(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sieve, "HELD_MOST", held)
    session = (
        Speaking().start().says(b"RETR 1\r\n").brings(b"+OK\r\n", b"line \xff\r\n" * 50, size=7)
    )
    session.says(b"RETR 2\r\n").brings(b"+OK\r\n", b"x\r\n" * 50, size=9).says(b"NOOP\r\n")
    session.answers(b"+OK\r\n").end()
    assert list(sifted(iter(session.records), EVERYTHING)) == session.records


def _endless() -> Iterator[Record]:
    yield from Speaking().start().says(b"RETR 1\r\n").piece("status", b"+OK\r\n").records
    piece = Speaking().piece("content", b"x" * 60_000 + b"\r\n", seq=1).records[0]
    for _ in range(2_000):
        yield piece


def test_a_message_without_an_end_does_not_stay_in_memory() -> None:
    sieve_ = Sieve(EVERYTHING)
    for record in _endless():
        assert list(sieve_.feed(record)) == []
    assert sieve_._store._octets <= sieve.HELD_MOST
    assert sieve_._store._filed > 1_000
    assert sum(1 for _ in sieve_.end()) == 2_003


def test_commands_without_answers_do_not_wait_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sieve, "OPEN_MOST", 5)
    monkeypatch.setattr(sieve, "SESSIONS_MOST", 3)
    monkeypatch.setattr(sieve, "RECORDS_MOST", 4)
    sieve_ = Sieve(EVERYTHING)
    for number in range(10):
        session = Speaking(f"s{number}").start()
        for _ in range(10):
            session.says(b"NOOP\r\n")
        for record in session.records:
            list(sieve_.feed(record))
    assert len(sieve_._sessions) == 3
    assert all(len(one.waiting) <= 5 for one in sieve_._sessions.values())


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=60))
def test_settling_early_changes_no_order_within_an_exchange(when: list[int]) -> None:
    made = records("pipelining", 1)
    sieve_ = Sieve(EVERYTHING)
    found: list[Record] = []
    for number, record in enumerate(made):
        found += sieve_.feed(record)
        if when[number % len(when)] == 0:
            found += sieve_.settle()
    assert len(of(found, WireRecord)) == len(of(made, WireRecord))
    assert len({record.session.seq for record in found}) == len(found)
