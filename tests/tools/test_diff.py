"""Two sessions compared: what differs, and what is made alike before."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.formats import jsonl
from popproxy.records import Record
from popproxy.tools import captures as captures_module
from popproxy.tools import diff_steps
from popproxy.tools.diff import Diff, diff
from popproxy.tools.diff_labels import RULES, Labels
from popproxy.tools.diff_steps import session
from tests.support.conversations import load_all
from tests.support.make_samples import SAMPLES, records
from tests.support.recording import said
from tests.support.records import captures
from tests.support.speaking import Speaking

conversations = st.sampled_from([one.name for one in load_all()])


def compared(a: Iterable[Record], b: Iterable[Record], factor: float | None = None) -> Diff:
    return diff(session(a), session(b), factor=factor)


def differences(a: Iterable[Record], b: Iterable[Record]) -> list[tuple[str, str, str]]:
    return [(one.what, one.a, one.b) for row in compared(a, b).rows for one in row.differences]


def shape(found: Diff, *, mirrored: bool = False) -> list[object]:
    """What a comparison says, in a form that can be mirrored."""
    order = -1 if mirrored else 1
    return [
        (
            (row.a, row.b)[::order],
            row.labels[::order],
            sorted((one.what, (one.a, one.b)[::order]) for one in row.differences),
        )
        for row in found.rows
    ]


def key(row: object) -> str:
    return repr(row)


# Laws


@pytest.mark.parametrize("name", [one.name for one in load_all()])
def test_a_session_does_not_differ_from_itself(name: str) -> None:
    found = compared(records(name, 1), records(name, 2))
    assert found.same
    assert not found.counts()


@settings(max_examples=60)
@given(conversations, conversations)
def test_the_other_way_round_is_the_mirror_image(a: str, b: str) -> None:
    one, other = compared(records(a, 1), records(b, 2)), compared(records(b, 2), records(a, 1))
    assert sorted(map(key, shape(one))) == sorted(map(key, shape(other, mirrored=True)))
    assert one.same == other.same
    counts = other.counts()
    counts["only a"], counts["only b"] = counts["only b"], counts["only a"]
    assert one.counts() == +counts


@given(captures, captures)
def test_any_records_are_compared(a: list[Record], b: list[Record]) -> None:
    assert compared(a, a).same
    assert compared(a, b).same == compared(b, a).same


@settings(max_examples=40)
@given(conversations, conversations)
def test_every_step_is_in_one_row(a: str, b: str) -> None:
    found = compared(records(a, 1), records(b, 2))
    assert [row.a for row in found.rows if row.a is not None] == found.a.steps
    assert [row.b for row in found.rows if row.b is not None] == found.b.steps


# What differs


LOGIN = ["S: +OK ready", "C: USER ada", "S: +OK", "C: PASS secret-word", "S: +OK"]
MAIL = ["S: Message-ID: <one@example.org>", "S: Subject: one", "S: ", "S: text", "S: ."]


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        (["C: DELE 1", "S: +OK"], ["C: DELE 1", "S: -ERR"], ["status"]),
        (["C: DELE 1", "S: +OK a"], ["C: DELE 1", "S: +OK b"], ["text"]),
        (
            ["C: NOOP", "S: -ERR [IN-USE] x"],
            ["C: NOOP", "S: -ERR [SYS/TEMP] x"],
            ["code", "text"],
        ),
        (["C: TOP 1 0", "S: -ERR"], ["C: TOP 1 5", "S: -ERR"], ["command"]),
        (["C: DELE 1", "S: +OK"], ["C: DELE 2", "S: +OK"], ["command"]),
        (
            ["C: LIST", "S: +OK", "S: 1 10", "S: 2 20", "S: ."],
            ["C: LIST", "S: +OK", "S: 1 10", "S: 2 21", "S: ."],
            ["table"],
        ),
        (
            ["C: CAPA", "S: +OK", "S: TOP", "S: SASL PLAIN", "S: ."],
            ["C: CAPA", "S: +OK", "S: TOP", "S: SASL PLAIN LOGIN", "S: ."],
            ["table"],
        ),
        (
            ["C: RETR 1", "S: +OK", "S: Subject: a", "S: ", "S: one", "S: ."],
            ["C: RETR 1", "S: +OK", "S: Subject: a", "S: ", "S: three", "S: ."],
            ["size"],
        ),
        (
            ["C: RETR 1", "S: +OK", "S: Subject: a", "S: ", "S: one", "S: ."],
            ["C: RETR 1", "S: +OK", "S: Subject: a", "S: ", "S: two", "S: ."],
            ["content"],
        ),
        (
            ["C: RETR 1", "S: +OK", "S: Content-Type: text/html", "S: ", "S: a", "S: ."],
            ["C: RETR 1", "S: +OK", "S: Content-Type: text/xml1", "S: ", "S: a", "S: ."],
            ["content", "structure"],
        ),
        (["C: NOOP", "S: +OK"], ["C: NOOP"], ["status", "findings"]),
    ],
)
def test_what_differs_is_named(a: list[str], b: list[str], what: list[str]) -> None:
    found = differences(said(*LOGIN, *a), said(*LOGIN, *b))
    assert [one[0] for one in found] == what
    assert all(one != other for _, one, other in found)


def test_rows_that_only_one_table_has_are_told() -> None:
    a = said(*LOGIN, "C: LIST", "S: +OK", "S: 1 10", "S: 2 20", "S: .")
    b = said(*LOGIN, "C: LIST", "S: +OK", "S: 1 10", "S: 2 21", "S: 3 30", "S: .")
    assert differences(a, b) == [
        ("table", "mail 2: 20 octets", "mail 2: 21 octets, mail 3: 30 octets")
    ]


def test_a_command_that_only_one_session_has_stands_alone() -> None:
    found = compared(
        said(*LOGIN, "C: STAT", "S: +OK 0 0", "C: QUIT", "S: +OK"),
        said(*LOGIN, "C: QUIT", "S: +OK"),
    )
    (row,) = (row for row in found.rows if not row.same)
    assert row.b is None
    assert row.a is not None
    assert row.a.exchange.keyword == "STAT"
    assert found.counts() == {"only a": 1}


def test_durations_differ_only_if_they_are_asked_for_and_by_much() -> None:
    def taking(milliseconds: float) -> list[Record]:
        return Speaking().start().says(b"NOOP\r\n").answers(b"+OK\r\n", milliseconds).records

    assert compared(taking(10), taking(1_000)).same
    (found,) = compared(taking(10), taking(1_000), 2.0).counts().items()
    assert found == ("time", 1)
    assert compared(taking(600), taking(1_000), 2.0).same
    assert compared(taking(1), taking(15), 2.0).same


def test_durations_that_are_made_up_do_not_differ() -> None:
    made = list(captures_module.read(str(SAMPLES / "imports" / "transcript.txt")))
    for one, other in ((made, records("seed-conversation", 1)), (made, made)):
        assert compared(one, other, 1.0).counts()["time"] == 0


# What is made alike


def test_the_same_mail_has_the_same_label_whatever_its_number() -> None:
    def listing(number: int, *commands: str) -> list[Record]:
        others = [f"S: {other} unique-{other}" for other in range(1, number)]
        table = ["C: UIDL", "S: +OK", *others, f"S: {number} the-one", "S: ."]
        return said(*LOGIN, *table, *commands)

    a = listing(1, "C: RETR 1", "S: +OK message 1", *MAIL, "C: DELE 1", "S: +OK 1 gone")
    b = listing(3, "C: RETR 3", "S: +OK message 3", *MAIL, "C: DELE 3", "S: +OK 3 gone")
    found = compared(a, b)
    assert [one.what for row in found.rows for one in row.differences] == ["table"]
    labels = {row.labels for row in found.rows if row.labels[0]}
    assert len(labels) == 1
    assert len(set(labels.pop())) == 1


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("the-one", "the-one", True),
        ("the-one", "another", False),
    ],
)
def test_a_unique_id_tells_mails_apart(a: str, b: str, *, same: bool) -> None:
    def with_id(unique_id: str) -> list[Record]:
        return said(*LOGIN, "C: UIDL", "S: +OK", f"S: 1 {unique_id}", "S: .", "C: DELE 1", "S: +OK")

    assert compared(with_id(a), with_id(b)).same == same


def test_hosts_addresses_times_and_timestamps_are_made_alike() -> None:
    def greeted(text: str) -> list[Record]:
        made = Speaking().start(upstream="pop3://mail.example.org:110").greeting(b"+OK\r\n")
        return made.says(b"NOOP\r\n").answers(b"+OK\r\n", text=text).records

    a = greeted("mail.example.org from 192.0.2.1:110 <1.2@mail.example.org> 2026-11-22 14:02:11")
    b = greeted("mail.example.org from 198.51.100.9 <37.9@other> 2025-01-01T00:00:00Z")
    assert differences(a, b) == []
    c = greeted("mail.example.net from 192.0.2.1 <1.2@mail.example.org> 2026-11-22 14:02:11")
    assert [one[0] for one in differences(a, c)] == ["text"]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("+OK POP3 ready", "+OK POP3 ready"),
        ("version 1.2.3.4.5", "version <address>.5"),
        ("message 3 of 13, 3 octets", "message <message> of 13, 3 octets"),
        ("id 3fa9bc77de0012345 done", "id <id> done"),
        ("averyveryverylongword", "averyveryverylongword"),
        ("at 14:02:11.5 +0100", "at <time>"),
        ("Sun, 22 Nov 2026 14:02:11 +0100", "<time>"),
        ("[2001:db8::1]", "<address>"),
        ("<x@y>", "<timestamp>"),
        ("[IN-USE] locked", "[IN-USE] locked"),
    ],
)
def test_what_is_hidden_and_what_is_not(text: str, hidden: str) -> None:
    assert Labels().text(text, 3) == hidden


@given(st.text(max_size=80))
def test_nothing_is_hidden_without_a_sign(text: str) -> None:
    shown = Labels().text(text, 7)
    signs = "|".join(map(re.escape, RULES))
    if not re.search(signs, shown):
        assert shown == text


# Bounds


def test_long_sessions_are_compared_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_steps, "STEPS_MOST", 5)
    made = Speaking().start()
    for _ in range(10):
        made.says(b"NOOP\r\n").answers(b"+OK\r\n")
    found = compared(made.records, made.records)
    assert found.a.cut
    assert len(found.rows) == 5


def test_contents_are_not_kept() -> None:
    made = Speaking().start().says(b"RETR 1\r\n").brings(b"+OK\r\n", b"x" * 100_000, size=100)
    (step,) = session(made.records).steps
    assert len(step.exchange.content) <= 1


def test_a_capture_read_back_does_not_differ() -> None:
    made = records("ordinary-session", 1)
    again = [jsonl.decode(jsonl.encode(record)) for record in made]
    assert compared(made, again).same
