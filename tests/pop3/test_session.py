"""Conversations and what the session makes of them."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from popproxy.pop3 import (
    Command,
    Data,
    Departure,
    End,
    Event,
    FindingCode,
    Greeting,
    Injected,
    Opaque,
    OpaqueReason,
    OpaqueStarted,
    Response,
    Session,
    Side,
    State,
    Status,
    TlsStarted,
)
from tests.support.core import feed, finish, joined, read, story, turns

LOGIN = ("S: +OK ready", "C: USER alice", "S: +OK", "C: PASS s3cret-word", "S: +OK")


def after_login(*lines: str | bytes) -> list[str]:
    """The story of what follows a login, without the ends of the streams."""
    session = Session()
    feed(session, turns(*LOGIN))
    return story(feed(session, turns(*lines)))


def logged_in() -> Session:
    session = Session()
    feed(session, turns(*LOGIN))
    return session


def test_the_seed_conversation() -> None:
    session = Session()
    events = feed(
        session,
        turns(
            "S: +OK POP3 Server Ready",
            "C: user mail@example.com", "S: +OK Send your password",
            "C: pass mail", "S: +OK Mailbox locked and ready",
            "C: stat", "S: +OK 2 5718",
            "C: list", b"S: +OK 2 messages (5718 octets)\r\n1 2859\r\n2 2859\r\n.\r\n",
            "C: retr 1", b"S: +OK 2859 octets\r\nSubject: Test 1\r\n\r\nTest 1\r\n.\r\n",
            "C: dele 1", "S: +OK msg deleted",
            "C: quit", "S: +OK POP3 server saying goodbye",
        ),
    )  # fmt: skip
    assert story(events) == [
        "greeting +OK",
        "C1 USER", "S1 +OK", "C2 PASS", "S2 +OK", "C3 STAT", "S3 +OK",
        "C4 LIST", "S4 +OK several lines", "S4 content 16", "S4 terminated",
        "C5 RETR", "S5 +OK several lines", "S5 content 27", "S5 terminated",
        "C6 DELE", "S6 +OK", "C7 QUIT", "S7 +OK",
    ]  # fmt: skip
    assert session.state is State.UPDATE


def test_times_and_arguments() -> None:
    session = logged_in()
    [command] = session.receive(Side.CLIENT, b"RETR 12\r\n", 1_000)
    assert isinstance(command, Command)
    assert (command.arguments, command.state, command.at) == (b"12", State.TRANSACTION, 1_000)
    [response] = session.receive(Side.SERVER, b"-ERR [SYS/TEMP] later\r\n", 4_000)
    assert isinstance(response, Response)
    assert (response.arguments, response.elapsed) == (b"12", 3_000)
    assert (response.code, response.text) == (b"SYS/TEMP", b"[SYS/TEMP] later")


def test_pipelined_commands_are_paired_in_order_p75() -> None:
    assert after_login(
        b"C: STAT\r\nRETR 1\r\nRETR 2\r\nNOOP\r\n",
        b"S: +OK 2 9\r\n+OK\r\n+OK forged\r\n-ERR forged\r\n.\r\n-ERR gone\r\n+OK\r\n",
    ) == [
        "C3 STAT", "C4 RETR", "C5 RETR", "C6 NOOP",
        "S3 +OK", "S4 +OK several lines", "S4 content 25", "S4 terminated", "S5 -ERR", "S6 +OK",
    ]  # fmt: skip


def test_pipelined_is_told() -> None:
    session = logged_in()
    first, second = session.receive(Side.CLIENT, b"NOOP\r\nNOOP\r\n", 1)
    assert isinstance(first, Command)
    assert isinstance(second, Command)
    assert (first.pipelined, second.pipelined) == (False, True)


@pytest.mark.parametrize(
    ("command", "several"),
    [
        ("LIST", True), ("LIST 1", False), ("LIST ", True), ("UIDL", True), ("UIDL 3", False),
        ("CAPA", True), ("RETR 1", True), ("TOP 1 0", True), ("STAT", False), ("NOOP", False),
        ("LANG", True), ("LANG fr", False), ("LAST", False), ("XTND XLST Subject", True),
        ("xtnd xlst Subject 2", True), ("EUIDL", True), ("EUIDL 2", False), ("*ENV 1", True),
        ("AUTH", True), ("XSENDER 1", False), ("GURL", False), ("XYZZY", False), ("DELE 1", False),
        ("RETR 1 mangle(x)", True),
    ],
)  # fmt: skip
def test_which_responses_have_several_lines(command: str, several: bool) -> None:
    told = [line for line in after_login(f"C: {command}", "S: +OK") if line.startswith("S")]
    assert told == [f"S3 +OK{' several lines' if several else ''}"]


def test_a_negative_response_has_one_line() -> None:
    told = after_login("C: LIST", "S: -ERR no", "C: NOOP", "S: +OK")
    assert told == ["C3 LIST", "S3 -ERR", "C4 NOOP", "S4 +OK"]


@pytest.mark.parametrize("keyword", ["HELP", "XFOO", "XTND ARCHIVE", "xfoo bar"])
def test_an_unknown_form_is_decided_by_what_follows(keyword: str) -> None:
    one = after_login(f"C: {keyword}", "S: +OK", "C: NOOP", "S: +OK")
    assert [line for line in one if line[0] == "S"] == ["S3 +OK", "S4 +OK"]
    pipelined = after_login(f"C: {keyword}", "C: NOOP", b"S: +OK\r\n+OK\r\n")
    assert [line for line in pipelined if line[0] == "S"] == ["S3 +OK", "S4 +OK"]
    many = after_login(f"C: {keyword}", b"S: +OK\r\nUSER helps\r\n.\r\n", "C: NOOP", "S: +OK")
    assert [line for line in many if line[0] == "S"] == [
        "S3 +OK several lines", "S3 content 12", "S3 terminated", "S4 +OK",
    ]  # fmt: skip


def test_an_unknown_form_without_its_dot_ends_at_the_next_response() -> None:
    told = after_login(
        "C: HELP", b"S: +OK\r\nUSER helps\r\n", "C: NOOP", "S: +OK", "C: NOOP", "S: +OK"
    )
    assert told == [
        "C3 HELP", "S3 +OK several lines", "C4 NOOP", "S3 content 12", "S3 resynchronised",
        "S4 +OK", "C5 NOOP", "S5 +OK",
    ]  # fmt: skip


def test_a_response_of_unknown_form_is_not_held_for_ever() -> None:
    session = logged_in()
    assert story(feed(session, turns("C: HELP", "S: +OK"))) == ["C3 HELP"]
    assert session.holding
    assert story(session.flush(5)) == ["S3 +OK"]
    assert not session.holding


class TestSasl:
    def test_challenges_and_responses(self) -> None:
        session = Session()
        told = story(
            feed(
                session,
                turns(
                    "S: +OK", "C: AUTH SCRAM-SHA-1", "S: +", "C: biwsbj1h", "S: + cj1h",
                    "C: Yz1i", b"S: +dj1l\n", "C: ", "S: +OK", "C: STAT", "S: +OK 0 0",
                ),
            )
        )  # fmt: skip
        assert told == [
            "greeting +OK", "C1 AUTH", "S1 challenge", "C1 response", "S1 challenge",
            "C1 response", "S1 challenge", "C1 response", "S1 +OK", "C2 STAT", "S2 +OK",
        ]  # fmt: skip
        assert session.state is State.TRANSACTION

    def test_every_line_until_the_final_status_is_secret_p09_p10(self) -> None:
        told = story(
            read(
                turns(
                    "S: +OK",
                    b"C: AUTH PLAIN\r\nUSER a\r\nPASS b\r\n",
                    "C: STAT",
                    b"S: -ERR no\r\n-ERR ?\r\n-ERR ?\r\n+OK 0 0\r\n",
                )
            )
        )
        assert told[1:] == [
            "C1 AUTH", "C1 response", "C1 response", "C1 response", "S1 -ERR",
            "! sasl-lines-beyond-exchange", "S1 -ERR", "S1 -ERR", "S1 +OK", "Eof", "Eof",
        ]  # fmt: skip

    def test_a_line_that_was_a_command_after_all_keeps_the_framing(self) -> None:
        session = Session()
        conversation = turns(
            "S: +OK", b"C: AUTH PLAIN AGEAYg==\r\nLIST\r\nNOOP\r\n",
            b"S: +OK\r\n+OK\r\n1 2\r\n.\r\n+OK\r\n", "C: STAT", "S: +OK 0 0",
        )  # fmt: skip
        events = feed(session, conversation)
        assert story(events)[4:] == [
            "S1 +OK", "! sasl-lines-beyond-exchange", "S1 +OK several lines", "S1 content 5",
            "S1 terminated", "S1 +OK", "C2 STAT", "S2 +OK",
        ]  # fmt: skip
        hidden = [e for e in events if isinstance(e, Response) and e.seq == 1][1:]
        assert [response.keyword for response in hidden] == [b"", b""]

    def test_cancelled(self) -> None:
        told = story(
            read(turns("S: +OK", "C: AUTH DIGEST-MD5", "S: + cmVhbG0=", "C: *", "S: -ERR"))
        )
        assert told[1:5] == ["C1 AUTH", "S1 challenge", "C1 response", "S1 -ERR"]

    def test_ntlm_answered_by_ok_goes_on(self) -> None:
        told = story(
            read(
                turns(
                    "S: +OK", "C: AUTH NTLM", "S: +OK", "C: TlRMTVNTUAAB", "S: + TlRMTVNTUAAC",
                    "C: TlRMTVNTUAAD", "S: +OK", "C: STAT", "S: +OK 1 1",
                )
            )
        )  # fmt: skip
        assert told[1:-2] == [
            "C1 AUTH", "S1 +OK", "C1 response", "S1 challenge", "C1 response", "S1 +OK",
            "C2 STAT", "S2 +OK",
        ]  # fmt: skip

    def test_a_known_command_after_an_ok_is_a_command(self) -> None:
        told = story(read(turns("S: +OK", "C: AUTH GSSAPI", "S: +OK", "C: STAT", "S: +OK 1 1")))
        assert told[1:5] == ["C1 AUTH", "S1 +OK", "C2 STAT", "S2 +OK"]

    def test_a_blob_behind_a_refusal_is_a_command_and_its_challenge_hidden(self) -> None:
        told = story(
            read(
                turns(
                    "S: +OK",
                    "C: AUTH X",
                    "S: -ERR",
                    "C: AGEAYg==",
                    "S: + eA==",
                    "C: STAT",
                    "S: +OK 1 1",
                )
            )
        )
        assert told[1:-2] == [
            "C1 AUTH", "S1 -ERR", "C2 AGEAYG==", "! unknown-command",
            "! unsolicited-challenge", "S? challenge",
            "C3 STAT", "! command-in-wrong-state", "S3 +OK",
        ]  # fmt: skip

    def test_bare_auth_is_a_list(self) -> None:
        told = story(
            read(turns("S: +OK", "C: AUTH", b"S: +OK\r\nPLAIN\r\n.\r\n", "C: NOOP", "S: +OK"))
        )
        assert told[1:5] == ["C1 AUTH", "S1 +OK several lines", "S1 content 7", "S1 terminated"]

    def test_junk_inside_the_exchange_is_hidden_as_a_challenge(self) -> None:
        told = story(read(turns("S: +OK", "C: AUTH PLAIN", "S: go ahead", "C: AGEAYg==", "S: +OK")))
        assert told[1:6] == ["C1 AUTH", "! no-status", "S1 challenge", "C1 response", "S1 +OK"]


class TestStls:
    def start(self) -> Session:
        session = Session()
        told = story(feed(session, turns("S: +OK", "C: CAPA", b"S: +OK\r\nSTLS\r\n.\r\n")))
        told += story(session.receive(Side.CLIENT, b"STLS\r\n", 5))
        told += story(session.receive(Side.SERVER, b"+OK\r\n", 6))
        assert told[-3:] == ["C2 STLS", "S2 +OK", "StlsWaiting"]
        assert session.waiting_for_tls
        return session

    def test_it_waits_to_be_told(self) -> None:
        session = self.start()
        assert session.receive(Side.CLIENT, b"\x16\x03\x01", 7) == []
        assert session.receive(Side.SERVER, b"\x16\x03\x01", 7) == []

    def test_tls_started(self) -> None:
        session = self.start()
        [started] = session.tls_started(8)
        assert isinstance(started, TlsStarted)
        assert session.tls
        assert session.state is State.AUTHORIZATION
        assert story(feed(session, turns("C: CAPA"))) == ["C3 CAPA"]

    def test_what_was_injected_is_never_read_p29(self) -> None:
        session = self.start()
        session.receive(Side.CLIENT, b"USER eve\r\n", 7)
        session.receive(Side.SERVER, b"+OK forged\r\n", 7)
        events = session.tls_started(8)
        assert [type(event) for event in events] == [
            Departure, Injected, Departure, Injected, TlsStarted,
        ]  # fmt: skip
        assert joined(events, Side.CLIENT) == b"USER eve\r\n"
        assert joined(events, Side.SERVER) == b"+OK forged\r\n"
        assert story(feed(session, turns("C: USER a", "S: +OK"))) == ["C3 USER", "S3 +OK"]

    def test_commands_behind_stls_are_told_and_forgotten_p29(self) -> None:
        session = Session()
        told = story(feed(session, turns("S: +OK", b"C: STLS\r\nUSER eve\r\n")))
        assert told[-1] == "! lines-behind-stls"
        session.receive(Side.SERVER, b"+OK\r\n", 5)
        assert story(session.tls_started(6)) == [
            "C2 unanswered", "! command-unanswered", "TlsStarted",
        ]  # fmt: skip

    def test_passed_through_is_opaque_p18(self) -> None:
        session = self.start()
        session.receive(Side.CLIENT, b"\x16\x03\x01", 7)
        [started] = session.tls_passed(8)
        assert isinstance(started, OpaqueStarted)
        assert started.reason is OpaqueReason.STLS_PASSED
        [opaque] = session.flush(9)
        assert isinstance(opaque, Opaque)
        assert opaque.raw == b"\x16\x03\x01"

    def test_declined_goes_on_in_the_clear_p30(self) -> None:
        session = self.start()
        session.receive(Side.CLIENT, b"USER a\r\n", 7)
        assert story(session.tls_declined(8)) == ["! stls-without-handshake", "C3 USER"]

    def test_refused_p30(self) -> None:
        told = story(read(turns("S: +OK", "C: STLS", "S: -ERR no")))
        assert told[1:4] == ["C1 STLS", "S1 -ERR", "! stls-refused"]

    def test_inside_tls_and_after_login_p31(self) -> None:
        session = Session(tls=True)
        told = story(feed(session, turns("S: +OK", "C: STLS", "S: -ERR")))
        assert "! stls-in-tls" in told
        assert "! command-in-wrong-state" in after_login("C: STLS", "S: -ERR")

    def test_a_flood_while_waiting_is_given_out_in_bounds(self) -> None:
        session = self.start()
        events = []
        for at in range(20):
            events += session.receive(Side.SERVER, b"z" * 10_000, at)
        assert {type(event) for event in events} == {Departure, Injected}
        assert len(joined(events, Side.SERVER)) >= 200_000 - 65_536


class TestGreetings:
    @pytest.mark.parametrize(
        ("line", "status"),
        [
            ("+OK", "+OK"), ("-ERR busy", "-ERR"), ("220 mail ESMTP", "none"),
            ("+SUCCESS", "other+"), ("ERR", "other-"), ("", "none"), ("+ok lower", "+OK"),
        ],
    )  # fmt: skip
    def test_of_all_kinds(self, line: str, status: str) -> None:
        told = story(read(turns(f"S: {line}")))
        assert told[0] == f"greeting {status}"
        assert ("! greeting-malformed" in told) == (status not in ("+OK", "-ERR"))

    def test_of_several_lines(self) -> None:
        told = story(read(turns(b"S: +OK hello\r\nthis is\r\nmail\r\n", "C: NOOP", "S: +OK")))
        assert told[:4] == [
            "greeting +OK", "! greeting-of-several-lines", "unexpected", "unexpected",
        ]  # fmt: skip
        assert "S1 +OK" in told

    def test_behind_a_banner(self) -> None:
        told = story(read(turns("S: telnet banner", "S: +OK pop3", "C: NOOP", "S: +OK")))
        assert told[:3] == ["greeting none", "! greeting-malformed", "greeting +OK"]
        assert "S1 +OK" in told

    def test_timestamp(self) -> None:
        [greeting] = Session().receive(Side.SERVER, b"+OK <1896.697@dbc.mtview> hi\r\n", 0)
        assert isinstance(greeting, Greeting)
        assert greeting.timestamp == b"<1896.697@dbc.mtview>"

    def test_a_client_that_speaks_first(self) -> None:
        told = story(read(turns("C: PASS early", "S: +OK", "S: -ERR")))
        assert told[:4] == ["C1 PASS", "! command-before-greeting", "greeting +OK", "S1 -ERR"]


class TestLossOfStep:
    def test_a_missing_greeting_is_found_out(self) -> None:
        told = story(
            read(turns("C: USER a", "S: +OK", "C: PASS b", "S: +OK", "C: LIST",
                       b"S: +OK\r\n1 2\r\n.\r\n", "C: NOOP", "S: +OK"))
        )  # fmt: skip
        assert "! step-lost" in told
        lost = told.index("! step-lost")
        assert told[lost:-2] == [
            "! step-lost", "S3 +OK several lines", "S3 content 5", "S3 terminated",
            "! step-recovered", "C4 NOOP", "S4 +OK",
        ]  # fmt: skip

    def test_the_response_that_is_put_right_has_the_status_line_of_before(self) -> None:
        session = Session()
        feed(session, turns("C: NOOP", "S: +OK"))
        events = feed(session, turns("C: UIDL", b"S: +OK [SYS/TEMP] list\r\n1 a\r\n.\r\n"))
        events += feed(session, turns("C: TOP 1 0", b"S: +OK\r\nx\r\n.\r\n", "C: NOOP"))
        [response] = [e for e in events if isinstance(e, Response) and e.seq == 2]
        assert (response.keyword, response.multi_line) == (b"UIDL", True)
        assert response.raw == b""
        assert response.side is Side.SERVER
        assert response.text == b"[SYS/TEMP] list"
        assert response.code == b"SYS/TEMP"

    def test_the_response_that_is_put_right_has_its_arguments(self) -> None:
        session = Session()
        feed(session, turns("C: NOOP", "S: +OK"))
        events = feed(session, turns("C: RETR 7", b"S: +OK\nx\n.\n"))
        [response] = [e for e in events if isinstance(e, Response) and e.seq == 2]
        assert (response.keyword, response.arguments) == (b"RETR", b"7")
        assert story(events)[-1] == "S2 terminated"  # lines end as that status line did

    def test_junk_behind_a_banner_is_no_greeting_once_a_command_was_sent(self) -> None:
        told = story(feed(Session(), turns("S: 220 smtp", "C: NOOP", "S: junk")))
        assert told == [
            "greeting none", "! greeting-malformed", "C1 NOOP", "! unsolicited-line", "unexpected",
        ]  # fmt: skip

    def test_two_replies_to_one_command(self) -> None:
        told = after_login("C: NOOP", b"S: +OK\r\n+OK again\r\n", "C: STAT", "S: +OK 1 2")
        assert told == [
            "C3 NOOP",
            "S3 +OK",
            "! unsolicited-response",
            "S? +OK",
            "C4 STAT",
            "S4 +OK",
        ]

    def test_a_line_without_status_stands_for_a_reply(self) -> None:
        told = after_login("C: NOOP", "S: done", "C: STAT", "S: +OK 1 2")
        assert told == [
            "C3 NOOP", "! unsolicited-line", "unexpected", "! no-status", "C3 unanswered",
            "C4 STAT", "S4 +OK",
        ]  # fmt: skip

    def test_junk_between_replies_of_a_pipelining_client(self) -> None:
        told = after_login(b"C: NOOP\r\nNOOP\r\n", b"S: junk\r\n+OK\r\n+OK\r\n")
        assert told[2:] == ["! unsolicited-line", "unexpected", "S3 +OK", "S4 +OK"]

    def test_no_reply_to_quit(self) -> None:
        session = logged_in()
        feed(session, turns("C: QUIT"))
        assert story(session.end(Side.SERVER, 9)) == [
            "Eof",
            "C3 unanswered",
            "! command-unanswered",
        ]


class TestContent:
    def test_forged_status_lines_change_nothing_p75(self) -> None:
        body = b"+OK 1\r\n-ERR 2\r\n+ x\r\nPASS y\r\n..\r\n"
        told = after_login("C: RETR 1", b"S: +OK\r\n" + body + b".\r\n")
        assert told == [
            "C3 RETR", "S3 +OK several lines", f"S3 content {len(body)}", "S3 terminated",
        ]  # fmt: skip

    def test_empty(self) -> None:
        told = after_login("C: RETR 1", b"S: +OK\r\n.\r\n")
        assert told[-2:] == ["S3 +OK several lines", "S3 terminated"]

    @pytest.mark.parametrize("end", [b"\n.\r\n", b"\n.\n", b"\r\n.\n"])
    def test_an_ambiguous_end_that_the_client_took_p74(self, end: bytes) -> None:
        told = after_login("C: RETR 1", b"S: +OK\r\nbody" + end, "C: NOOP", "S: +OK")
        assert told[2:] == [
            f"S3 content {4 + end.index(b'.')}", "! ambiguous-termination", "S3 ambiguous",
            "C4 NOOP", "S4 +OK",
        ]  # fmt: skip

    @pytest.mark.parametrize("end", [b"\n.\r\n", b"\n.\n", b"\r\n.\n"])
    def test_an_ambiguous_end_that_was_none_p74(self, end: bytes) -> None:
        told = after_login(
            "C: RETR 1", b"S: +OK\r\nbody" + end + b"more\r\n.\r\n", "C: NOOP", "S: +OK"
        )
        assert told[2:] == [
            f"S3 content {4 + len(end) + 6}", "! ambiguous-termination", "S3 terminated",
            "C4 NOOP", "S4 +OK",
        ]  # fmt: skip

    def test_a_server_that_ends_lines_in_lf(self) -> None:
        told = after_login("C: RETR 1", b"S: +OK\nbody\n.\n+OK?\n")
        assert told == [
            "C3 RETR", "! bare-lf", "S3 +OK several lines", "S3 content 5", "S3 terminated",
            "! unsolicited-response", "S? +OK",
        ]  # fmt: skip

    def test_dots_that_were_not_stuffed(self) -> None:
        events = feed(logged_in(), turns("C: RETR 1", b"S: +OK\r\n.a\r\n..b\r\n.c\r\n.\r\n"))
        [departure] = [event for event in events if isinstance(event, Departure)]
        assert (departure.code, departure.count) == (FindingCode.DOT_NOT_STUFFED, 2)

    def test_cut_off(self) -> None:
        session = logged_in()
        feed(session, turns("C: RETR 1", b"S: +OK\r\nhalf a li"))
        assert story(session.end(Side.SERVER, 9)) == [
            "S3 content 9", "! response-cut-off", "S3 cut off", "Eof",
        ]  # fmt: skip

    def test_flush_gives_content_but_never_a_part_of_a_line_p08(self) -> None:
        session = logged_in()
        feed(session, turns("C: RETR 1", b"S: +OK\r\nsome content that waits"))
        [piece] = session.flush(9)
        assert isinstance(piece, Data)
        assert piece.raw == b"some content that "
        session.receive(Side.CLIENT, b"PASS s3c", 9)
        assert session.flush(9) == []
        told = story(feed(session, turns(b"S: \r\n.\r\n", b"C: ret-word\r\n")))
        assert told == [
            "S3 content 7",
            "S3 terminated",
            "C4 PASS",
            "! command-in-wrong-state",
        ]

    def test_a_message_of_the_client(self) -> None:
        told = after_login(
            "C: XTND XMIT", "S: +OK send it", b"C: To: b\r\n\r\nPASS no\r\n.\r\n", "S: +OK sent",
            "C: NOOP", "S: +OK",
        )  # fmt: skip
        assert told == [
            "C3 XTND XMIT", "S3 +OK", "C3 content 18", "C3 terminated", "S3 +OK", "C4 NOOP",
            "S4 +OK",
        ]  # fmt: skip

    def test_the_receipt_of_a_message_has_one_line(self) -> None:
        session = logged_in()
        feed(session, turns("C: XTND XMIT", "S: +OK", b"C: m\r\n.\r\n"))
        [receipt] = session.receive(Side.SERVER, b"+OK sent\r\n", 9)
        assert isinstance(receipt, Response)
        assert (receipt.seq, receipt.keyword) == (3, b"XTND XMIT")

    def test_a_long_message_of_the_client_comes_in_pieces(self) -> None:
        told = after_login("C: XTND XMIT", "S: +OK", b"C: " + b"x" * 70_000, b"C: \r\n.\r\n")
        assert told[2:] == ["C3 content 65536", "C3 content 4466", "C3 terminated"]


class TestContentOfUnknownForm:
    @pytest.mark.parametrize("status", ["+OK", "-ERR"])
    def test_ends_at_either_status(self, status: str) -> None:
        told = after_login("C: HELP", b"S: +OK\r\nline\r\n", "C: NOOP", f"S: {status} then")
        assert told[2:] == ["C4 NOOP", "S3 content 6", "S3 resynchronised", f"S4 {status}"]

    def test_a_status_line_is_content_while_nobody_waits_for_it(self) -> None:
        told = after_login(
            "C: HELP", b"S: +OK\r\nline\r\n+OK no answer\r\n", "C: NOOP", "S: +OK one"
        )
        assert told[2:] == ["C4 NOOP", "S3 content 21", "S3 resynchronised", "S4 +OK"]

    def test_a_word_that_begins_like_one_is_content(self) -> None:
        told = after_login("C: HELP", b"S: +OK\r\nline\r\n", "C: NOOP", b"S: -ER\r\n+O\r\n.\r\n")
        assert told[3:] == ["S3 content 15", "S3 terminated"]

    def test_status_lines_are_found_behind_content_that_was_given_out(self) -> None:
        session = logged_in()
        feed(session, turns("C: HELP", b"S: +OK\r\nfirst line\r\nsecond line\r\n"))
        assert story(session.flush(9)) == ["S3 content 20"]
        told = story(
            feed(session, turns("C: NOOP", b"S: third\r\n+OK\r\n", "C: STAT", "S: +OK 1 1"))
        )
        assert told == [
            "C4 NOOP",
            "S3 content 12",
            "S3 resynchronised",
            "S4 +OK",
            "C5 STAT",
            "S5 +OK",
        ]

    def test_lines_end_as_the_status_line_does(self) -> None:
        told = after_login("C: HELP", b"S: +OK\nline\n.\n", "C: NOOP", "S: +OK")
        assert [line for line in told if line[0] == "S"] == [
            "S3 +OK several lines", "S3 content 5", "S3 terminated", "S4 +OK",
        ]  # fmt: skip

    def test_an_ambiguous_end_behind_content_that_was_given_out(self) -> None:
        session = logged_in()
        feed(session, turns("C: RETR 1", b"S: +OK\r\na line of content\n.\n"))
        assert story(session.flush(9)) == ["S3 content 15"]
        told = story(feed(session, turns("C: NOOP", "S: +OK")))
        assert told == [
            "S3 content 3", "! ambiguous-termination", "S3 ambiguous", "C4 NOOP", "S4 +OK",
        ]  # fmt: skip

    def test_an_ambiguous_dot_that_was_given_out_ends_nothing(self) -> None:
        session = logged_in()
        feed(session, turns("C: RETR 1", b"S: +OK\r\na\n.\nmuch more content"))
        assert story(session.flush(9)) == ["S3 content 16"]
        assert story(feed(session, turns("C: NOOP"))) == ["C4 NOOP"]


EVERYTHING = (
    *LOGIN, b"C: LIST\r\nHELP\r\nSTAT\r\n",
    b"S: +OK\r\n1 2\r\n..\r\n.\r\n+OK\r\nhelp\r\n+OK 1 2\r\n",
    "C: AUTH X", "S: + x", b"C: y\r\nz\r\n", b"S: go on\r\n-ERR\r\n", "S: + what", "S: junk",
    "S: +OK unasked", "C: XTND XMIT", "S: +OK", b"C: m\r\n.\r\n", "S: +OK", "C: XFOO", "S: junk",
    "S: +BAD\x00", "C: RETR 1", b"S: +OK\r\na\n.\n", "C: STLS", "S: +OK", "C: ", "S: -ERR",
    b"C: PASS " + b"p" * 70_000 + b"\r\n", b"S: -ERR " + b"e" * 70_000 + b"\r\n",
    b"C: NOOP\r\nNOOP\r\nUNTERMIN", b"S: +OK UNTERMIN",
)  # fmt: skip


def test_every_event_tells_side_time_and_reads() -> None:
    session = Session()
    conversation = turns(*EVERYTHING)
    seen = set()
    for at, (side, data) in enumerate(conversation, 1):
        events = session.receive(side, data, at)
        while session.waiting_for_tls:
            events += session.tls_declined(at)
        for event in events:
            seen.add(type(event))
            assert event.side in Side
            # A response of unknown form is given out when its form shows, with its own time.
            assert event.at == at or (isinstance(event, Response) and 0 < event.at < at)
            assert event.joined in (True, False)
            assert sum(read.size for read in event.reads) == len(event.raw)
            assert all(read.at <= at for read in event.reads)
    ends = finish(session)
    assert all(event.at == 10_000 for event in ends)
    assert all(sum(read.size for read in event.reads) == len(event.raw) for event in ends)
    seen |= {type(event) for event in ends}
    seen |= {Injected, Opaque, OpaqueStarted, TlsStarted}  # see the next but one
    # By name: dataclasses with slots leave the class behind that they were made of.
    assert {each.__name__ for each in seen} == {each.__name__ for each in Event.__subclasses__()}


def test_parts_of_one_read_are_joined() -> None:
    events = feed(logged_in(), turns("C: LIST", b"S: +OK\r\n1 2\r\n.\r\n"))
    assert [event.joined for event in events] == [False, False, True, True]
    assert [event.at for event in events] == [1, 2, 2, 2]


def test_every_event_about_tls_tells_the_time() -> None:
    for tell in (Session.tls_started, Session.tls_passed):
        session = Session()
        feed(session, turns("S: +OK"))
        session.receive(Side.CLIENT, b"STLS\r\nUSER eve\r\n", 5)
        events = session.receive(Side.SERVER, b"+OK\r\ninjected\r\n", 6)
        assert {event.at for event in events} == {6}
        session.receive(Side.CLIENT, b"more", 7)
        events = [*tell(session, 8), *session.flush(8)]
        assert {event.at for event in events} == {8}
        assert {event.side for event in events} == set(Side)
        assert all(sum(read.size for read in event.reads) == len(event.raw) for event in events)


def test_how_long_responses_and_contents_took() -> None:
    session = logged_in()
    session.receive(Side.CLIENT, b"RETR 1\r\n", 1_000)
    session.receive(Side.SERVER, b"+OK\r\nx\r\n", 3_000)
    data, end = session.receive(Side.SERVER, b".\r\n", 7_000)
    assert isinstance(data, Data)
    assert isinstance(end, End)
    assert end.elapsed == 6_000
    assert (data.seq, end.seq, data.strict) == (3, 3, True)
    recovered = Session()
    feed(recovered, turns("C: NOOP", "S: +OK"))
    recovered.receive(Side.CLIENT, b"LIST\r\n", 1_000)
    recovered.receive(Side.SERVER, b"+OK\r\n", 2_000)
    lost, response = recovered.receive(Side.SERVER, b"1 2\r\n", 5_000)
    assert isinstance(lost, Departure)
    assert isinstance(response, Response)
    assert (lost.code, lost.seq, response.elapsed) == (FindingCode.STEP_LOST, 2, 4_000)


def test_what_is_odd_in_content_is_told_with_its_command() -> None:
    session = logged_in()
    body = b"S: +OK\r\n.a\r\nb\n.\nc\n.\r\nd\r\n.\r\n"
    events = feed(session, turns("C: NOOP", "S: +OK", "C: RETR 1", body))
    departures = [event for event in events if isinstance(event, Departure)]
    assert [(each.code, each.seq, each.count, each.side) for each in departures] == [
        (FindingCode.AMBIGUOUS_TERMINATION, 4, 2, Side.SERVER),
        (FindingCode.DOT_NOT_STUFFED, 4, 1, Side.SERVER),
    ]


def test_content_of_one_octet_is_given_out() -> None:
    events = feed(logged_in(), turns("C: RETR 1", b"S: +OK\n\n.\n"))
    [data] = [event for event in events if isinstance(event, Data)]
    assert (data.raw, data.strict) == (b"\n", False)


def test_an_answer_that_nobody_asked_for_cites_nothing() -> None:
    [_finding, response] = logged_in().receive(Side.SERVER, b"-ERR [SYS/TEMP] bye\r\n", 9)
    assert isinstance(response, Response)
    assert (response.seq, response.keyword, response.arguments) == (None, b"", b"")
    assert (response.code, response.multi_line, response.terminated) == (b"SYS/TEMP", False, True)
    session = logged_in()
    session.receive(Side.SERVER, b"-ERR by", 9)
    response = session.end(Side.SERVER, 10)[-2]
    assert isinstance(response, Response)
    assert response.terminated is False


def test_a_response_of_unknown_form_has_one_line_at_the_end() -> None:
    session = logged_in()
    feed(session, turns("C: HELP", "S: +OK"))
    response, eof = session.end(Side.SERVER, 9)
    assert isinstance(response, Response)
    assert response.multi_line is False
    assert type(eof).__name__ == "Eof"
    session = logged_in()
    feed(session, turns("C: HELP", "S: +OK"))
    assert story(session.end(Side.CLIENT, 9)) == ["Eof"]
    assert story(session.flush(9)) == ["S3 +OK"]


def test_the_end_while_tls_is_awaited_gives_out_what_was_sent() -> None:
    session = Session()
    feed(session, turns("S: +OK"))
    session.receive(Side.CLIENT, b"STLS\r\n", 5)
    session.receive(Side.SERVER, b"+OK\r\n+OK ahead\r\n", 6)
    finding, injected, eof = session.end(Side.SERVER, 7)
    assert isinstance(finding, Departure)
    assert isinstance(injected, Injected)
    assert injected.raw == b"+OK ahead\r\n"
    assert {each.side for each in (finding, injected, eof)} == {Side.SERVER}
    assert {each.at for each in (finding, injected, eof)} == {7}


def test_tls_begins_authorization_anew() -> None:
    session = logged_in()
    feed(session, turns("C: NOOP", "S: +OK"))
    session.receive(Side.CLIENT, b"STLS\r\n", 5)
    session.receive(Side.SERVER, b"+OK\r\n", 6)
    session.tls_started(7)
    assert session.state is State.AUTHORIZATION
    assert session.waiting_for_tls is False


def test_opaque_traffic_ends_what_was_under_way() -> None:
    session = Session(max_pending=3)
    feed(session, turns(*LOGIN, "C: RETR 1", b"S: +OK\r\nhalf a li"))
    told = story(session.receive(Side.CLIENT, b"NOOP\r\n" * 5, 9))
    assert told == [
        "C4 NOOP", "C5 NOOP", "C6 NOOP", "S3 cut off", "! too-many-pending",
        "opaque: too-many-pending", "C7 NOOP",
    ]  # fmt: skip
    assert joined(session.flush(10), Side.SERVER) == b"half a li"


def test_lines_of_settled_exchanges_are_forgotten_p77() -> None:
    session = Session(max_pending=10)
    feed(session, turns("S: +OK"))
    for _ in range(20):
        feed(session, turns("C: AUTH X", "S: + a", "C: b", "S: + c", "C: d", "S: -ERR"))
    assert not session.opaque
    assert session.pending == 0


class TestOpaque:
    def test_tls_on_a_plain_port(self) -> None:
        events = read(turns("S: +OK", b"C: \x16\x03\x01\x00\x05hello"))
        assert story(events)[1:] == [
            "! tls-on-plain-port", "opaque: tls-on-plain-port", "Opaque", "Eof", "Eof",
        ]  # fmt: skip

    def test_http(self) -> None:
        assert "! http-on-pop3-port" in story(read(turns("S: +OK", "C: GET / HTTP/1.1")))

    def test_p52_too_many_pending(self) -> None:
        session = Session(max_pending=10)
        feed(session, turns("S: +OK", "C: NOOP", "S: +OK"))
        events = session.receive(Side.CLIENT, b"NOOP\r\n" * 12, 1) + session.flush(2)
        assert story(events)[10:] == [
            "! too-many-pending", "opaque: too-many-pending", "C12 NOOP", "Opaque",
        ]  # fmt: skip
        assert session.opaque
        assert joined([*events, *finish(session)], Side.CLIENT) == b"NOOP\r\n" * 12

    def test_p52_too_many_sasl_lines(self) -> None:
        session = Session(max_pending=10)
        feed(session, turns("S: +OK", "C: AUTH PLAIN"))
        session.receive(Side.CLIENT, b"AGEAYg==\r\n" * 12, 1)
        assert session.opaque


class TestOddLines:
    def test_a_password_with_a_line_feed_is_two_lines(self) -> None:
        told = story(read(turns("S: +OK", b"C: PASS one\ntwo\r\n", b"S: -ERR\r\n-ERR\r\n")))
        assert told[1:6] == ["C1 PASS", "C2 TWO", "! unknown-command", "S1 -ERR", "S2 -ERR"]

    def test_an_overlong_line_is_parts_and_then_itself(self) -> None:
        events = read(
            [(Side.SERVER, b"+OK\r\n"), (Side.CLIENT, b"PASS " + b"x" * 150_000 + b"\r\n")]
        )
        assert story(events)[1:4] == ["LinePart", "LinePart", "C1 PASS"]
        command = events[3]
        assert isinstance(command, Command)
        assert (command.overlong, command.arguments, len(command.raw)) == (True, b"", 18_935)

    def test_an_overlong_status_line(self) -> None:
        told = after_login(
            "C: NOOP", b"S: -ERR " + b"y" * 70_000 + b"\r\n", "C: STAT", "S: +OK 1 1"
        )
        assert told == ["C3 NOOP", "LinePart", "! line-too-long", "S3 -ERR", "C4 STAT", "S4 +OK"]

    def test_an_overlong_line_behind_a_response_of_unknown_form(self) -> None:
        told = after_login("C: HELP", b"S: +OK\r\n" + b"y" * 140_000 + b"\r\n.\r\n")
        assert told[1:] == [
            "S3 +OK several lines", "S3 content 65536", "S3 content 65536", "S3 content 8930",
            "S3 terminated",
        ]  # fmt: skip
        told = after_login("C: HELP", "C: NOOP", b"S: +OK\r\n+OK " + b"y" * 70_000 + b"\r\n")
        assert told[2:] == ["S3 +OK", "LinePart", "! line-too-long", "S4 +OK"]

    def test_a_line_cut_off_by_the_end(self) -> None:
        session = logged_in()
        feed(session, turns(b"C: PASS s3c"))
        assert story(session.end(Side.CLIENT, 9)) == [
            "! line-cut-off",
            "C3 PASS",
            "! command-in-wrong-state",
            "Eof",
        ]
        assert session.end(Side.CLIENT, 10) == []
        session.receive(Side.SERVER, b"+OK ha", 11)
        told = story(session.end(Side.SERVER, 12))
        assert told == ["! line-cut-off", "! unsolicited-response", "S? +OK", "Eof"]

    def test_nothing_is_told_of_what_is_odd_in_a_secret_p02(self) -> None:
        plain = story(read(turns("S: +OK", b"C: PASS abc\r\n", b"S: -ERR abc\r\n")))
        odd = story(read(turns("S: +OK", b"C: PASS a\x00\r\n", b"S: -ERR a\x00\r\n")))
        assert odd == plain

    def test_odd_octets_are_told_once_a_side(self) -> None:
        told = after_login(
            b"C: NOOP\n", b"S: +OK a\x00\n", b"C: NOOP \r\r\n", b"S: +OK b\rc\x00\r\n",
            b"C: NOOP \x00\r\n", b"S: +OK\n", b"C: NOOP \x00\n", b"S: +OK \x00\r\n",
        )  # fmt: skip
        assert [line for line in told if line[0] == "!"] == [
            "! bare-lf", "! bare-lf", "! nul", "! bare-cr", "! malformed-command", "! bare-cr",
            "! nul", "! malformed-command", "! malformed-command",
        ]  # fmt: skip

    def test_an_empty_command(self) -> None:
        assert after_login("C: ", "S: -ERR") == ["C3 ", "! empty-command", "S3 -ERR"]

    def test_a_response_code_on_ok(self) -> None:
        assert after_login("C: NOOP", "S: +OK [in-use] hm")[-1] == "! code-on-ok"


def test_p13_nothing_shows_content() -> None:
    session = logged_in()
    events = session.receive(Side.CLIENT, b"PASS canary-in-repr\r\nAUTH PLAIN\r\ncanary\r\n", 1)
    for thing in (session, *events):
        assert "canary" not in f"{thing!r} {thing!s}"
    assert "canary" not in repr(events)
    with pytest.raises(TypeError, match="secrets"):
        pickle.dumps(events[0])
    with pytest.raises(AttributeError):
        events[0].raw = b""  # type: ignore[misc] # frozen is what is tested
    assert repr(replace(events[0], raw=b"x")) == "<Command>"


def test_state_follows_the_traffic_when_the_login_was_not_seen() -> None:
    session = Session()
    feed(session, turns("S: +OK", "C: STAT", "S: +OK 1 1"))
    assert session.state is State.TRANSACTION


def test_an_empty_read_is_nothing() -> None:
    assert Session().receive(Side.CLIENT, b"", 1) == []


def test_malformed_status_counts_as_an_answer() -> None:
    told = after_login("C: NOOP", "S: +SUCCESS", "C: NOOP", "S: ERR no")
    assert [line for line in told if line[0] == "S"] == ["S3 other+", "S4 other-"]
    assert told.count("! malformed-status") == 1


def test_status_values_are_unique() -> None:
    assert len({status.value for status in Status}) == len(Status)
