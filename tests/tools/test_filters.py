"""Filters: what they mean, how they are written, and what is said of those that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.records import Record, SessionStart
from popproxy.tools import exchanges
from popproxy.tools.filter_fields import FIELDS, Seen
from popproxy.tools.filter_tree import All, Any, Compare, Filter, Has, Not
from popproxy.tools.filters import DEPTH_MOST, FilterError, parse
from tests.support.conversations import load_all
from tests.support.make_samples import records
from tests.support.recording import said
from tests.support.records import texts

_numbers = st.integers(0, 10**12).map(str)
_values = {
    "number": _numbers,
    "seconds": st.sampled_from(["0.5", "500ms", "2s", "1 min", "7us"]),
    "address": st.sampled_from(["10.0.0.0/8", "::1", "127.0.0.1"]),
}


@st.composite
def _tests(draw: st.DrawFn) -> Filter:
    field = FIELDS[draw(st.sampled_from(sorted(FIELDS)))]
    is_figure = field.kind in ("number", "seconds")
    operators = ["==", "!=", "in", "contains", *(["<", "<=", ">", ">="] if is_figure else [])]
    how = draw(st.sampled_from(["has", *operators, "matches"]))
    if how == "has":
        return Has(field)
    value = _values.get(field.kind, texts)
    if how == "contains":
        value = texts
    elif how == "matches":
        value = st.sampled_from(["a", r"a\.b", r'"\\x', "(a|b)'", ""])
    count = draw(st.integers(1, 3)) if how == "in" else 1
    return Compare(field, how, tuple(draw(value) for _ in range(count)))  # type: ignore[arg-type]


filters = st.recursive(
    _tests(),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda of: All(tuple(of))),
        st.lists(inner, min_size=2, max_size=3).map(lambda of: Any(tuple(of))),
    ),
    max_leaves=8,
)


@given(filters)
def test_the_printed_form_is_the_same_filter(one: Filter) -> None:
    assert parse(str(one)) == one


@given(
    st.text(alphabet="apopu.request==!<>()\"'{}, &|~\\notandinmatchescontains0123\n", max_size=60)
)
def test_any_text_is_a_filter_or_an_error_with_a_place(text: str) -> None:
    try:
        parse(text)
    except FilterError as error:
        place = (error.column, error.length, error.message)
    else:
        return
    assert 0 <= place[0] <= len(text)
    assert place[1] >= 1
    assert place[2]


def seen(made: list[Record]) -> list[Seen]:
    """Give what a filter judges of one session."""
    whole = exchanges.conversation(made)
    return [
        Seen(exchange=one, session="s1", start=whole.start, user=None) for one in whole.exchanges
    ]


def fits(condition: str, made: list[Record]) -> list[str]:
    """Give the keywords of the exchanges that fit."""
    wanted = parse(condition)
    return [one.exchange.keyword for one in seen(made) if wanted.matches(one)]


SESSION = said(
    "S: +OK [TOUCHY] ready",
    "C: USER ada",
    "S: +OK",
    "C: PASS secret-word",
    "S: +OK",
    "C: RETR 3",
    "S: +OK 32 octets",
    "S: Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=",
    "S: From: bo@example.org",
    "S: ",
    "S: text",
    "S: .",
    "C: DELE 13",
    "S: -ERR [SYS/TEMP] not now",
    "C: QUIT",
)


@pytest.mark.parametrize(
    ("condition", "keywords"),
    [
        ('pop.request.command == "RETR"', ["RETR"]),
        ("pop.request.command == retr", ["RETR"]),
        ('pop.request.parameter contains "3"', ["RETR", "DELE"]),
        ("pop.request", ["USER", "PASS", "RETR", "DELE", "QUIT"]),
        ("not pop.request", [""]),
        ('pop.request == "DELE 13"', ["DELE"]),
        ('pop.response.indicator == "-ERR"', ["DELE"]),
        ('pop.response.indicator != "-ERR"', ["", "USER", "PASS", "RETR"]),
        ("!(pop.response.indicator == -ERR)", ["", "USER", "PASS", "RETR", "QUIT"]),
        ('pop.response.description matches "NOT N"', ["DELE"]),
        ("pop.response.code == sys/temp", ["DELE"]),
        ("pop.response.code", ["DELE"]),
        ('pop.response == "+OK 32 octets"', ["RETR"]),
        ('imf.subject == "Grüße"', ["RETR"]),
        ('imf.from contains "@example."', ["RETR"]),
        ("imf.date", []),
        ("user == ada", ["PASS"]),
        ("auth.outcome == success", ["PASS"]),
        ("finding == command-unanswered", ["QUIT"]),
        ("finding.severity in {warning, error}", ["RETR", "QUIT"]),
        ("pop.message == 3 or pop.message == 13", ["RETR", "DELE"]),
        ("pop.message in {3 13}", ["RETR", "DELE"]),
        ("pop.message > 3", ["DELE"]),
        ("pop.message >= 3 && pop.message < 13", ["RETR"]),
        ("pop.time > 1500ms", ["RETR"]),
        ("pop.time <= 1", ["USER", "PASS", "DELE"]),
        ("pop.lines == 4", ["RETR"]),
        ("pop.state == TRANSACTION and pop.response", ["RETR", "DELE"]),
        ("session == s1 and pop.request.command == QUIT", ["QUIT"]),
        ("ip.src", []),
        ("not not pop.request.command == USER", ["USER"]),
        ("pop.message and (finding or pop.response.code)", ["RETR", "DELE"]),
        ("pop.message and finding or pop.response.code", ["RETR", "DELE"]),
    ],
)
def test_what_fits(condition: str, keywords: list[str]) -> None:
    assert fits(condition, SESSION) == keywords


def test_the_ends_of_a_session_are_addresses_and_ports() -> None:
    made = records("ordinary-session", 1)
    count = len(seen(made))
    assert isinstance(made[0], SessionStart)
    for condition in ("ip.src == 127.0.0.0/8", "ip.addr == 192.0.2.1", "tcp.port == 110"):
        assert len(fits(condition, made)) == count
    for condition in ("ip.src == 192.0.2.1", "ip.dst == ::1", "tcp.srcport == 110"):
        assert fits(condition, made) == []


def test_every_field_is_found_in_some_conversation_and_fits_itself() -> None:
    found: set[str] = set()
    for number, conversation in enumerate(load_all(), 1):
        for one in seen(records(conversation.name, number)):
            for name, field in FIELDS.items():
                values = [value for value in field.values(one) if value is not None]
                assert Has(field).matches(one) == bool(values)
                for value in values:
                    found.add(name)
                    text = f"{value:.9f}" if field.kind == "seconds" else str(value)
                    given = text if field.kind != "number" else f"{float(text):.0f}"
                    assert parse(str(Compare(field, "==", (given,)))).matches(one)
    assert FIELDS.keys() - found == set()


@pytest.mark.parametrize(
    ("condition", "pointed", "says"),
    [
        ("", "", "a field is missing"),
        ("pop.requst.command == 1", "pop.requst.command", "pop.request.command"),
        ("subject == x", "subject", "imf.subject"),
        ("pop.request ==", "", "a value is missing"),
        ("pop.request == (", "(", "a value belongs here"),
        ("pop.request & finding", "&", "Write && or and"),
        ('user == "ada', '"', "no end"),
        ("pop.time > soon", "soon", "length of time"),
        ("pop.message == three", "three", "a number"),
        ("ip.src == nowhere", "nowhere", "a network"),
        ("user > ada", ">", "no number"),
        ('imf.subject matches "("', '"("', "no regular expression"),
        ("(finding", "(", "not closed"),
        ("(finding user)", "user", "closing parenthesis"),
        ("finding user", "user", "goes on with"),
        ('finding "x"', '"x"', "operator is missing"),
        ("finding in x", "x", "braces"),
        ("finding in {}", "}", "a value belongs here"),
        ("finding in {x", "", "a value is missing"),
        ("(" * (DEPTH_MOST + 2), "(", "in each other"),
        ("x" * 20_000, "x", "characters"),
    ],
)
def test_an_error_points_at_the_place(condition: str, pointed: str, says: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(condition)
    error = caught.value
    assert says in f"{error.message} {error.hint}"
    if len(condition) < 10_000:
        assert condition[error.column : error.column + error.length] == pointed
