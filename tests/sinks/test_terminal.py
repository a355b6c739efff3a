"""What a person sees of sessions, line by line."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.sinks.terminal import Transcript
from popproxy.sinks.terminal.ink import Glyphs, Palette
from tests.support.speaking import BEGINNING, Speaking
from tests.support.terminal import COLOURS, conversation, shown

CONVERSATION = """\
22:37:46.120 ── session 20111029t223746-k3x7 127.0.0.1:50912 →
                pop3://pop.example.org:110 ────────────────────────────────────
                Mail is recorded.
22:37:46.123 S: +OK POP3 Server Ready
22:37:47.003 C: user mail@domain.com
22:37:47.014 S: +OK Send your password                                  11.2 ms
22:37:47.814 C: pass ********
22:37:47.871 S: +OK Mailbox locked and ready                            57.1 ms
22:37:47.871  · logged in as mail@domain.com (USER)
22:37:48.171 C: list
22:37:48.174 S: +OK 1 messages (59 octets)
              │ 1 59
22:37:48.174 S: .                                      1 line, 6 octets, 4.0 ms
22:37:48.674 C: retr 1
22:37:49.874 S: +OK 59 octets
              │ From: <test@domain.com>
              │ Subject: Test 1
              │
              │ Test 1
22:37:49.874 S: .                                    4 lines, 52 octets, 1.25 s
22:37:50.374 C: dele 7
22:37:50.376 S: -ERR [SYS/TEMP] no such message                          2.0 ms
22:37:50.385 C: quit
22:37:50.416 S: +OK goodbye…                                            31.0 ms
22:37:50.416 ── quit after 4.30 s: 6 commands, 1 message retrieved, 1 deletion
                committed, 74 octets sent, 272 received ───────────────────────
"""


def test_a_session_without_colours_line_by_line() -> None:
    assert shown(conversation()) == CONVERSATION


def test_on_a_narrow_terminal_the_gutter_gives_way() -> None:
    session = Speaking().says(b"stat\r\n").answers(b"+OK 2 5718\r\n", 4.2)
    assert shown(session.records, width=60) == (
        "22:37:46 C: stat\n22:37:46 S: +OK 2 5718                               4.2 ms\n"
    )
    assert shown(session.records, width=40) == (
        "C: stat\nS: +OK 2 5718                    4.2 ms\n"
    )


def test_a_timing_without_room_goes_below_and_nothing_of_a_peer_is_broken() -> None:
    session = Speaking().says(b"x\r\n").answers(b"+OK " + b"long " * 20 + b"\r\n", 4.2)
    lines = shown(session.records, width=40).splitlines()
    assert lines[1:] == ["S: +OK " + "long " * 20, " " * 33 + "4.2 ms"]


def test_sentences_of_ours_are_broken_between_words_and_hang() -> None:
    session = Speaking().finding(
        "error", "Somebody may have put this there.", where="STLS", count=3
    )
    assert shown(session.records, width=40) == (
        "!! error: Somebody may have put this\n   there. (STLS, 3) [code, RFC 1939\n   section 3]\n"
    )


@pytest.mark.parametrize(
    ("severity", "sign"), [("info", " i info:"), ("warning", " ! warning:"), ("error", "!! error:")]
)
def test_findings_show_severity_code_and_section(severity: str, sign: str) -> None:
    session = Speaking().finding(severity, "A line ends in LF alone.", code="bare-lf")
    line = shown(session.records, width=100)
    assert line == f"22:37:46.120 {sign} A line ends in LF alone. [bare-lf, RFC 1939 section 3]\n"


def test_p71_every_session_says_what_is_recorded_and_p28_what_is_changed() -> None:
    first = Speaking("a-1").start(notice="Mail is recorded.").end()
    second = Speaking("a-2").start(notice="Mail is recorded.", rewrites=["CAPA: no STLS"])
    text = shown(first.records + second.records)
    assert text.count("Mail is recorded.") == 2
    assert " ! changes traffic: CAPA: no STLS\n" in text


def test_a_session_that_ends_badly_says_how() -> None:
    session = Speaking().end(
        "client-reset",
        detail="connection reset by peer",
        deletions_pending=1,
        unanswered_commands=2,
        unmatched_responses=1,
        findings=4,
    )
    text = re.sub(r"\n +", " ", shown(session.records, width=200))
    assert text.startswith(
        "22:37:46.120 ── client reset after 0.0 ms (connection reset by peer): 0 commands,"
        " 1 deletion not committed, 2 unanswered commands, 1 unmatched response, 4 findings,"
        " 0 octets sent, 0 received "
    )


def test_logins_gaps_and_tls() -> None:
    session = Speaking().logs_in("failure", mechanism="PLAIN").logs_in("unknown").gap(12).gap(None)
    session.tls("tls.start", leg="client", version="TLSv1.3", server_name="a.example")
    session.tls("tls.start", leg="client", passed_through=True)
    session.tls("tls.failed", leg="upstream", alert="unknown ca")
    session.tls("tls.end", leg="upstream").tls("tls.end", leg="upstream", truncated=True)
    session.tls("tls.start", leg="upstream", cipher="X", certificate_names=["a", "b"])
    assert [line[13:] for line in shown(session.records, width=100).splitlines()] == [
        " · login failed (PLAIN)",
        " · login without an outcome (USER)",
        "!! 12 records lost: too slow",
        "!! records lost: too slow",
        " · TLS with the client: TLSv1.3, SNI a.example",
        " · TLS between client and server; what follows cannot be read",
        " · no TLS with the server: unknown ca",
        " · TLS with the server ended",
        " · TLS with the server ended without close_notify",
        " · TLS with the server: X, certificate for a, b",
    ]


def test_sasl_lines_and_commands_that_were_cut_off() -> None:
    session = Speaking().says(b"AUTH PLAIN\r\n").piece("sasl-challenge", b"+ ********\r\n")
    session.piece("sasl-response", b"********\r\n", side="client")
    session.says(b"QUI", complete=False)
    assert shown(session.records, width=40).splitlines() == [
        "C: AUTH PLAIN",
        "S: + ********",
        "C: ********",
        "C: QUI                          cut off",
    ]


def test_pipelined_responses_say_what_they_answer() -> None:
    session = Speaking().says(b"STAT\r\n").says(b"UIDL\r\n").says(b"RETR 2\r\n")
    session.answers(b"+OK 0 0\r\n", seq=1).brings(b"+OK\r\n", b"1 a\r\n", seq=2)
    session.brings(b"+OK\r\n", b"x: y\r\n", seq=3)
    lines = shown(session.records, width=60).splitlines()
    assert [line[9:] for line in lines[3:6]] == [
        "S: +OK 0 0                                 to STAT",
        "S: +OK                                     to UIDL",
        "   │ 1 a"[2:],
    ]
    assert "to RETR 2" not in "".join(lines)


# Several sessions


def test_tags_appear_once_a_second_session_has_been_seen() -> None:
    one = Speaking("20111029t223746-k3x7").start().says(b"STAT\r\n")
    two = Speaking("20111029t223747-m2qa").start().says(b"NOOP\r\n").end()
    rest = Speaking("20111029t223746-k3x7").answers(b"+OK\r\n").end()
    lines = shown(one.records + two.records + rest.records, width=100).splitlines()
    gutters = [line[:16].rstrip() for line in lines]
    assert gutters == [
        "22:37:46.120 ──",
        "",
        "22:37:46.120 C:",
        "22:37:46.120 m2q",
        "             m2q",
        "22:37:46.120 m2q",
        "22:37:46.120 m2q",
        "22:37:46.120 k3x",
        "22:37:46.120 k3x",
    ]


def test_tags_are_the_ends_of_names_where_the_relay_counts() -> None:
    one, two = (Speaking(f"20111029t223746-q7x000{n}").says(b"STAT\r\n") for n in (1, 2))
    lines = shown(one.records + two.records + one.records, width=40).splitlines()
    assert lines == ["C: STAT", "0002 C: STAT", "0001 C: STAT"]


def test_sessions_one_after_the_other_stand_apart_but_live_ones_do_not() -> None:
    one, two, three = (Speaking(f"a-{name}").start() for name in "123")
    apart = shown(one.end().records + two.records + three.records)
    assert apart.count("\n\n") == 1
    assert apart.index("\n\n") < apart.index("session a-2")


def test_each_session_keeps_a_colour_of_its_own() -> None:
    one, two = Speaking("x-aaaa").says(b"STAT\r\n"), Speaking("x-bbbb").says(b"STAT\r\n")
    text = shown(one.records + two.records + one.records, palette=COLOURS)
    assert COLOURS.tags[1]("bbbb") in text
    assert COLOURS.tags[0]("aaaa") in text
    assert COLOURS.tags[0].on != COLOURS.tags[1].on


def test_lost_ends_of_sessions_cost_no_memory_without_bound() -> None:
    transcript = Transcript(Palette(), Glyphs(), lambda: 80)
    for number in range(5000):
        transcript.write(Speaking(f"a-{number}").start().records[0])
    assert len(transcript._sessions) <= 4096


@given(st.integers(0, 10**18))
def test_p65_times_are_short(nanoseconds: int) -> None:
    session = Speaking().answers(b"+OK\r\n", nanoseconds / 1e6)
    assert len(shown(session.records, width=40)) <= 41 + len("100 min 00 s")


def test_times_as_people_say_them() -> None:
    given_ms = [0.04, 99.94, 99.96, 999.4, 999.6, 59_994, 59_996, 3_599_400, 3_600_000, 90_000_000]
    said = [
        shown(Speaking().answers(b"+OK\r\n", ms).records, width=40).split("  ")[-1].strip()
        for ms in given_ms
    ]
    assert said == [
        "0.0 ms", "99.9 ms", "100 ms", "999 ms", "1.00 s", "59.99 s", "1 min 00 s", "59 min 59 s",
        "1 h 00 min", "25 h 00 min",
    ]  # fmt: skip


def test_times_are_local_unless_told_otherwise() -> None:
    transcript = Transcript(Palette(), Glyphs(), lambda: 60)
    line = transcript.write(
        Speaking(at=BEGINNING + timedelta(hours=1)).says(b"NOOP\r\n").records[0]
    )
    local = (BEGINNING + timedelta(hours=1)).astimezone()
    assert line == f"{local:%H:%M:%S} C: NOOP\n".encode()
