"""A capture in numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.formats import jsonl
from popproxy.records import Record, SessionEnd
from popproxy.tools import stats as module
from popproxy.tools.sessions import overviews
from popproxy.tools.stats import Durations, stats
from tests.support.make_samples import SAMPLES
from tests.support.recording import of, said


def sample(name: str) -> list[Record]:
    with (SAMPLES / name).open("rb") as file:
        return list(jsonl.read(file))


def test_sums_agree_with_those_of_the_sessions() -> None:
    records = sample("oddities.jsonl")
    made = stats(records)
    ends = of(records, SessionEnd)
    assert made.sessions == len(ends)
    assert made.unfinished == 0
    assert made.octets_server == sum(end.summary.octets_server for end in ends)
    assert made.retrieved == sum(end.summary.messages_retrieved for end in ends)
    assert sum(one.count for one in made.commands.values()) == sum(
        end.summary.commands for end in ends
    )
    assert made.records == len(records)
    for shares in (made.users, made.clients):
        assert sum(share.sessions for share in shares.values()) == made.sessions
        assert sum(share.retrieved for share in shares.values()) == made.retrieved
        assert sum(share.octets for share in shares.values()) == made.octets_server


def test_commands_are_told_with_their_answers() -> None:
    lines = ["S: +OK", "C: USER ada", "S: +OK", "C: PASS wrong-word", "S: -ERR"]
    lines += ["C: PASS secret-word", "S: +OK", "C: RETR 1", "S: +OK", "S: hello", "S: .", "C: NOOP"]
    made = stats(said(*lines))
    told = {name: (one.count, one.ok, one.err) for name, one in made.commands.items()}
    assert told == {"USER": (1, 1, 0), "PASS": (2, 1, 1), "RETR": (1, 1, 0), "NOOP": (1, 0, 0)}
    assert made.commands["RETR"].octets == len(b"hello\r\n")
    assert made.logins == {"failure": 1, "success": 1}
    (share,) = made.users.values()
    assert (list(made.users), share.failures, share.retrieved) == (["ada"], 1, 1)
    assert made.unfinished == 1


def test_nobody_stands_for_sessions_without_a_login() -> None:
    assert list(stats(said("S: +OK", "C: QUIT", "S: +OK")).users) == [module.NOBODY]


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_MOST", 2)
    lines = ["S: +OK"]
    for keyword in ("NOOP", "STAT", "LAST", "RSET", "NOOP"):
        lines += [f"C: {keyword}", "S: -ERR"]
    made = stats(said(*lines))
    assert {name: one.count for name, one in made.commands.items()} == {
        "NOOP": 2,
        "STAT": 1,
        module.OTHERS: 2,
    }


def test_an_empty_capture_has_zeros() -> None:
    made = stats([])
    assert (made.first, made.sessions, made.commands) == (None, 0, {})
    assert list(overviews([])) == []


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles_are_right_to_within_seven_percent(values: list[int], share: float) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)
    ordered = sorted(max(value, 1) for value in values)
    exact = next(
        value for count, value in enumerate(ordered, start=1) if count >= share * len(ordered)
    )
    told = durations.quantile(share)
    assert told is not None
    assert exact / 1.08 - 1 <= told <= exact * 1.08 + 1
    assert durations.longest == ordered[-1]
    assert Durations().quantile(share) is None
