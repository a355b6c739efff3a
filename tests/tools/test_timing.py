"""Who was waited for: every moment belongs to somebody, and bars lie within their scale."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.records import CommandRecord, Record
from popproxy.tools import timing as timing_module
from popproxy.tools.timing import Scale, drawn_length, timing
from tests.support.conversations import load_all
from tests.support.make_samples import records
from tests.support.recording import of
from tests.support.records import captures
from tests.support.speaking import Speaking
from tests.support.terminal import conversation


def test_times_are_those_of_the_conversation() -> None:
    made = timing(conversation())
    spans = [
        (span.name, (span.began - span.since) / 1e3, ((span.ended or 0) - span.began) / 1e3)
        for span in made.spans
    ]
    assert spans == [
        ("greeting", 0, 3),
        ("USER", 880, 11),
        ("PASS", 800, 57),
        ("LIST", 300, 3),
        ("RETR", 500, 1_200),
        ("DELE", 500, 2),
        ("QUIT", 9, 31),
    ]
    assert made.totals == {
        "client": 2_989_000,
        "server": 1_307_000,
        "proxy": 0,
    }
    assert made.length == 4_296_000


def test_handshakes_are_the_proxys() -> None:
    session = Speaking().start().later(30).tls("tls.start", leg="upstream").later(5)
    session.greeting(b"+OK\r\n").later(100).says(b"STLS\r\n").later(2)
    session.answers(b"+OK\r\n", 2, command="STLS").later(20).tls("tls.start", leg="upstream")
    session.later(7).tls("tls.start", leg="client").later(50).says(b"QUIT\r\n").later(1)
    made = timing(session.answers(b"+OK\r\n").end().records)
    assert made.totals == {"client": 150_000, "server": 8_000, "proxy": 57_000}
    assert [(span.name, span.owner) for span in made.spans] == [
        ("TLS with the server", "proxy"),
        ("greeting", "server"),
        ("STLS", "server"),
        ("TLS with the server", "proxy"),
        ("TLS with the client", "proxy"),
        ("QUIT", "server"),
    ]


def test_a_response_that_never_came_has_no_end() -> None:
    session = Speaking().start().greeting(b"+OK\r\n").later(5).says(b"NOOP\r\n").later(70).end()
    made = timing(session.records)
    assert made.spans[-1].ended is None
    assert made.totals == {"client": 5_000, "server": 70_000, "proxy": 0}


def _adds_up(made: list[Record]) -> None:
    found = timing(made)
    assert sum(found.totals.values()) == found.length
    for span in found.spans:
        assert 0 <= span.since <= span.began <= (span.ended or span.began) <= found.length
        assert span.first is None or span.began <= span.first <= (span.ended or found.length)


@pytest.mark.parametrize("name", [one.name for one in load_all()])
def test_every_moment_belongs_to_somebody(name: str) -> None:
    made = records(name, 1)
    _adds_up(made)
    found = timing(made)
    length = (made[-1].timestamp - made[0].timestamp) // timedelta(microseconds=1)
    assert found.length == length
    named = [span for span in found.spans if span.owner == "server" and span.name != "greeting"]
    assert len(named) == len(of(made, CommandRecord))


@given(captures)
def test_any_records_have_a_time(made: list[Record]) -> None:
    _adds_up(made)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**6)), max_size=20))
def test_waits_are_drawn_as_long_as_the_scale_lets_them(times: list[tuple[int, int]]) -> None:
    session = Speaking().start().greeting(b"+OK\r\n")
    for wait, taken in times:
        session.later(wait / 1e3).says(b"NOOP\r\n").later(taken / 1e3).answers(b"+OK\r\n")
    found = timing(session.records)
    scale = Scale.fitting(found.spans, found.length, 50)
    drawn = drawn_length(found.spans, found.length, scale.longest)
    assert drawn <= found.length
    assert drawn / scale.per_column <= 50.001
    assert scale.longest * 4 + 3 >= sum((span.ended or 0) - span.began for span in found.spans)


def test_spans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing_module, "SPANS_MOST", 3)
    session = Speaking().start()
    for _ in range(10):
        session.later(1).says(b"NOOP\r\n").later(1).answers(b"+OK\r\n")
    found = timing(session.records)
    assert (len(found.spans), found.cut) == (3, 7)
    _adds_up(session.records)
