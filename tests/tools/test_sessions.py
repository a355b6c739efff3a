"""The sessions of a capture, listed and chosen."""

import itertools
from datetime import timedelta

import pytest

from popproxy.formats import jsonl
from popproxy.records import Record, SessionEnd
from popproxy.tools import sessions
from popproxy.tools.sessions import Choice, Overview, overviews, records_of
from tests.support.make_samples import SAMPLES
from tests.support.recording import said


def several() -> list[Record]:
    with (SAMPLES / "oddities.jsonl").open("rb") as file:
        return list(jsonl.read(file))


def interleaved(records: list[Record]) -> list[Record]:
    """The same records, those of different sessions in turns."""
    by_id: dict[str, list[Record]] = {}
    for record in records:
        by_id.setdefault(record.session.id, []).append(record)
    turns = itertools.zip_longest(*by_id.values())
    return [record for turn in turns for record in turn if record is not None]


def in_order(records: list[Record]) -> list[Overview]:
    return sorted(overviews(records), key=lambda seen: seen.number)


def test_the_order_of_records_does_not_change_the_overviews() -> None:
    assert in_order(several()) == in_order(interleaved(several()))


def test_an_overview_agrees_with_the_sessions_own_sums() -> None:
    for seen in in_order(several()):
        (end,) = (
            record
            for record in records_of(several(), seen.number)
            if isinstance(record, SessionEnd)
        )
        assert (seen.commands, seen.retrieved, seen.reason) == (
            end.summary.commands,
            end.summary.messages_retrieved,
            end.summary.reason,
        )


def test_what_was_counted_agrees_with_the_sums_when_the_end_is_missing() -> None:
    whole = in_order(several())
    cut = in_order([record for record in several() if not isinstance(record, SessionEnd)])
    for one, other in zip(whole, cut, strict=True):
        assert other.reason is None
        assert (one.commands, one.retrieved, one.deletions_committed, one.findings) == (
            other.commands,
            other.retrieved,
            other.deletions_committed,
            other.findings,
        )


def test_deletions_count_when_quit_was_answered() -> None:
    lines = ["S: +OK", "C: USER ada", "S: +OK", "C: PASS secret-word", "S: +OK", "C: DELE 1"]
    lines += ["S: +OK", "C: RSET", "S: +OK", "C: DELE 2", "S: +OK"]
    (seen,) = overviews(said(*lines))
    assert (seen.user, seen.deletions_pending, seen.deletions_committed) == ("ada", 1, 0)
    (seen,) = overviews(said(*lines, "C: QUIT", "S: +OK"))
    assert (seen.deletions_pending, seen.deletions_committed) == (0, 1)


def test_records_of_gives_one_session_and_all_of_it() -> None:
    records = several()
    for seen in in_order(records):
        expected = [record for record in records if record.session.id == seen.id]
        assert list(records_of(interleaved(records), seen.number)) == expected


def test_an_id_that_comes_again_is_another_session() -> None:
    first = [record for record in several() if record.session.id == several()[0].session.id]
    assert [seen.number for seen in overviews(first * 2)] == [1, 2]
    assert list(records_of(first * 2, 2)) == first


def test_sessions_without_an_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "OPEN_MOST", 2)
    starts = [next(records_of(several(), number)) for number in (1, 2, 3)]
    assert [seen.number for seen in itertools.islice(overviews(starts), 1)] == [1]


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        (Choice(), {1, 2, 3}),
        (Choice(session="2"), {2}),
        (Choice(session="20261122t140211-sam0003"), {3}),
        (Choice(session="sam0003"), {3}),
        (Choice(session="20261122"), {1, 2, 3}),
        (Choice(session="0"), set()),
        (Choice(session=""), set()),
        (Choice(user="ada"), {1, 2, 3}),
        (Choice(user="ad"), set()),
        (Choice(user="ada", session="1"), {1}),
    ],
)
def test_choices(choice: Choice, numbers: set[int]) -> None:
    found = {seen.number for seen in in_order(several())[:3] if choice.matches(seen)}
    assert found == numbers
    assert choice.everything == (choice == Choice())


def test_a_choice_by_time_takes_what_was_under_way() -> None:
    seen = in_order(several())[0]
    instant = timedelta(microseconds=1)
    assert Choice(since=seen.ended).matches(seen)
    assert not Choice(since=seen.ended + instant).matches(seen)
    assert Choice(until=seen.started + instant).matches(seen)
    assert not Choice(until=seen.started).matches(seen)
