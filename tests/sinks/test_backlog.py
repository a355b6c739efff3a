"""P54: the bounded backlog, and losses in their place."""

from __future__ import annotations

import sys

import hypothesis.strategies as st
from hypothesis import given

from popproxy.records import (
    EventPart,
    Record,
    ResponsePart,
    ResponseRecord,
    ScanListing,
    SessionPart,
)
from popproxy.sinks.backlog import SESSIONS_PER_LOSS, Backlog, Entry, Loss, weigh
from tests.support import samples


def filled(limit: int, pieces: int, session: str = "s1") -> tuple[Backlog, list[bool]]:
    backlog = Backlog(limit)
    kept = [backlog.add(samples.data(session, seq)) for seq in range(1, pieces + 1)]
    return backlog, kept


def items(entries: list[Entry]) -> list[Record | Loss]:
    return [item for _, _, item in entries]


def test_what_fits_comes_out_in_order() -> None:
    backlog, kept = filled(1_000_000, 10)
    assert all(kept)
    entries = list(backlog.take())
    assert [number for number, _, _ in entries] == list(range(1, 11))
    assert [item.session.seq for item in items(entries) if isinstance(item, Record)] == list(
        range(1, 11)
    )
    assert not backlog.ready
    assert backlog.octets == sum(weight for _, weight, _ in entries)
    assert backlog.untaken == 0
    for _, weight, _ in entries:
        backlog.release(weight)
    assert backlog.octets == 0


def test_p54_beyond_the_limit_whole_records_are_counted() -> None:
    weight = weigh(samples.data())
    backlog, kept = filled(10 * weight, 25)
    assert kept == [True] * 10 + [False] * 15
    assert backlog.lost == 15
    entries = list(backlog.take())
    assert len(entries) == 10  # the loss waits for room, as it may still grow
    assert not backlog.ready
    backlog.add(samples.data(seq=26))
    for _, weight, _ in entries:
        backlog.release(weight)
    ((number, weight, loss),) = backlog.take()
    assert isinstance(loss, Loss)
    assert (loss.records, number, weight) == (16, 26, 0)
    assert loss.sessions["s1"].place.session.seq == 11


def test_p54_a_loss_stands_before_what_came_after_it() -> None:
    weight = weigh(samples.data())
    backlog, _ = filled(10 * weight, 12)
    for _, weight, _ in backlog.take():
        backlog.release(weight)
    assert backlog.add(samples.data(seq=13))
    kinds = [type(item).__name__ for item in items(list(backlog.take()))]
    assert kinds == ["Loss", "DataRecord"]


def test_p54_one_gap_and_not_one_between_any_two_records() -> None:
    weight = weigh(samples.data())
    backlog, _ = filled(8 * weight, 9)
    backlog.take()
    backlog.release(weight)
    assert not backlog.add(samples.data(seq=10))  # a quarter has to be free first
    backlog.release(weight)
    assert backlog.add(samples.data(seq=11))
    assert backlog.lost == 2


def test_a_record_larger_than_the_limit_is_lost_alone() -> None:
    backlog = Backlog(10_000)
    assert not backlog.add(samples.data(text="x" * 20_000))
    assert backlog.ready
    assert backlog.add(samples.data(seq=3))
    assert len(backlog.take()) == 2


def test_at_the_end_a_loss_is_given_out_without_room() -> None:
    backlog, _ = filled(10 * weigh(samples.data()), 11)
    assert len(backlog.take()) == 10
    assert len(backlog.take(final=True)) == 1


def test_losses_are_kept_apart_by_session_up_to_a_number() -> None:
    backlog = Backlog(1)
    for number in range(SESSIONS_PER_LOSS + 10):
        for record in (samples.start(f"s{number}"), samples.end(f"s{number}")):
            backlog.add(record)
    ((_, _, loss),) = backlog.take()
    assert isinstance(loss, Loss)
    assert len(loss.sessions) == SESSIONS_PER_LOSS
    assert loss.elsewhere == 20
    assert loss.records == 2 * (SESSIONS_PER_LOSS + 10)
    assert all(lost.ended and lost.records == 2 for lost in loss.sessions.values())


@given(st.lists(st.one_of(st.integers(1, 5000), st.none())))
def test_p54_no_record_is_ever_uncounted(steps: list[int | None]) -> None:
    """A number adds a record of that size; None takes everything and writes it."""
    backlog = Backlog(20_000)
    seen = added = 0
    for step in [*steps, None]:
        if step is not None:
            added += 1
            backlog.add(samples.data(seq=added, text="x" * step))
            assert backlog.octets <= backlog.limit
            continue
        for number, weight, item in backlog.take(final=True):
            seen += item.records if isinstance(item, Loss) else 1
            assert number == seen  # numbers tell how far the writing has come
            backlog.release(weight)
    assert seen == added == backlog.added
    assert backlog.octets == 0


def test_weights_cover_what_a_record_holds() -> None:
    big = "x" * 100_000
    assert weigh(samples.data(text=big)) > sys.getsizeof(big)
    listing = [ScanListing(message=number, octets=1) for number in range(1000)]
    response = ResponseRecord(
        timestamp=samples.moment(1),
        schema="popproxy/1",
        event=EventPart(action="pop3.response"),
        session=SessionPart(id="s1", seq=1),
        side="server",
        pop3=ResponsePart(status="+OK", text="", state="TRANSACTION", listing=listing),
    )
    assert weigh(response) > 1000 * sys.getsizeof(listing[0])
