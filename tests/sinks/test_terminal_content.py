"""How multi-line responses are shown: folded, counted, and told of while they last."""

from __future__ import annotations

import pytest

from popproxy.records import BodyPolicy
from tests.support.speaking import Speaking
from tests.support.terminal import COLOURS, SGR, shown


def test_a_long_body_is_folded_and_the_rest_counted() -> None:
    body = b"".join(b"line %03d\r\n" % number for number in range(100))
    session = Speaking().says(b"retr 1\r\n").brings(b"+OK\r\n", b"A: b\r\n\r\n" + body, size=333)
    lines = shown(session.records, width=40, fold=10).splitlines()
    assert lines[2:14] == [
        " │ A: b",
        " │",
        *(f" │ line {number:03}" for number in range(8)),
        " … 92 more lines, 920 octets",
        "S: .            102 lines, 1,008 octets",
    ]


def test_a_header_is_shown_longer_than_other_content_and_a_few_lines_follow() -> None:
    header = b"".join(b"X-%d: a\r\n" % number for number in range(60))
    mail = header + b"\r\n" + b"body\r\n" * 60
    said = Speaking().says(b"top 1 9\r\n").brings(b"+OK\r\n", mail)
    text = shown(said.records, width=40)
    assert "X-59: a" in text
    assert text.count(" │ body") == 5
    listed = Speaking().says(b"uidl\r\n").brings(b"+OK\r\n", mail)
    assert shown(listed.records, width=40).count(" │") == 40
    endless = Speaking().says(b"top 1 9\r\n").brings(b"+OK\r\n", header * 9)
    assert shown(endless.records, width=40).count(" │") == 120


@pytest.mark.parametrize(
    ("body", "recorded", "note"),
    [
        ("none", False, "4 lines (4 not recorded), 30 octets"),
        ("headers", True, "4 lines, 30 octets"),
        ("full", False, "4 lines, 30 octets"),
    ],
)
def test_p17_what_was_not_recorded_is_said(body: BodyPolicy, recorded: bool, note: str) -> None:
    session = Speaking().start(body=body).says(b"retr 1\r\n")
    session.brings(
        b"+OK\r\n",
        b"A: b\r\n\r\nabcdefgh\r\nijkl\r\n\r\n"[:30],
        lines=4,
        octets=30,
        recorded=recorded,
    )
    assert shown(session.records).splitlines()[-1].endswith("  " + note)


def test_a_long_download_reports_that_it_goes_on() -> None:
    session = Speaking().says(b"retr 1\r\n").piece("status", b"+OK\r\n")
    for _ in range(5):
        session.piece("content", b"x: y\r\n" * 1000).later(1000)
    assert [line[13:] for line in shown(session.records).splitlines() if "so far" in line] == [
        " … 18,000 octets so far",
        " … 30,000 octets so far",
    ]


def test_a_response_that_was_cut_off_says_so() -> None:
    session = Speaking().says(b"retr 1\r\n").piece("status", b"+OK\r\n")
    session.piece("content", b"A: b\r\nhalf").answers(b"", multi_line=True, ending="cut off")
    assert shown(session.records, width=40).splitlines()[1:] == [
        "S: +OK",
        " │ A: b",
        " │ half",
        "S:                              cut off",
    ]


def test_content_that_never_ended_is_shown_at_the_end() -> None:
    session = Speaking().says(b"retr 1\r\n").piece("status", b"+OK\r\n").piece("content", b"ha")
    assert shown(session.records, width=40).endswith(" │ ha\n")
    assert " │ ha\n── quit" in shown(session.end().records, width=40)


def test_a_message_that_the_client_sends_is_its_own() -> None:
    session = Speaking().says(b"XTND XMIT\r\n")
    session.piece("content", b"To: a\r\n\r\nhello\r\n.\r\n", side="client").answers(b"+OK\r\n")
    text = shown(session.records, palette=COLOURS)
    assert COLOURS.client(" │") + " " + COLOURS.header("To:") + " a\n" in text
    assert SGR.sub("", text).endswith("│ hello\n              │ .\n22:37:46.120 S: +OK\n")


def test_p18_opaque_traffic_is_counted_and_told_of_once() -> None:
    session = Speaking()
    for _ in range(1000):
        session.piece("opaque", b"", octets=1500).piece("opaque", b"", side="client")
    lines = shown(session.end().records, width=80).splitlines()
    assert [line[13:] for line in lines[:3]] == [
        " · opaque traffic of the server: counted, not shown",
        " · opaque traffic of the client: counted, not shown",
        " · opaque traffic of the server: 1,500,000 octets",
    ]


@pytest.mark.parametrize(("lines", "folded"), [(40, 0), (50, 0), (51, 11), (60, 20)])
def test_a_few_lines_are_not_worth_folding(lines: int, folded: int) -> None:
    session = Speaking().says(b"uidl\r\n").piece("status", b"+OK\r\n")
    session.piece("content", b"1 ********\r\n" * lines, masked=True).answers(b".\r\n")
    text = shown(session.records, palette=COLOURS)
    assert text.count(" 1 " + COLOURS.mask("********")) == lines - folded
    assert (f"{folded} more lines, {folded * 12} octets" in text) == bool(folded)
