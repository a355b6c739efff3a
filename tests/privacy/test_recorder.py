"""Events to records: what each record holds, and in which order they come."""

from __future__ import annotations

import base64
import hashlib
import pickle
from datetime import timedelta

import pytest

from popproxy import __version__
from popproxy.pop3 import (
    Command,
    Data,
    Departure,
    End,
    Ending,
    Event,
    Injected,
    LinePart,
    Opaque,
    Read,
    SaslResponse,
    Session,
    Side,
    State,
    Unexpected,
)
from popproxy.pop3.findings import FINDINGS, FindingCode
from popproxy.privacy import Policy, Recorder
from popproxy.privacy.tables import MAX_ENTRIES, MAX_TABLE
from popproxy.records import (
    RECORD_TYPES,
    AuthRecord,
    BodyPolicy,
    Capability,
    CommandRecord,
    DataRecord,
    FindingRecord,
    GreetingRecord,
    Record,
    ResponseRecord,
    ScanListing,
    SessionEnd,
    SessionStart,
    StatPart,
    TlsEnd,
    TlsPart,
    TlsStart,
    UniqueId,
)
from tests.support.core import Turn, byte_by_byte, turns
from tests.support.recording import (
    SECOND,
    STARTED,
    begin,
    of,
    one,
    recorder,
    said,
    told,
    wire,
)

LOGIN = ("S: +OK ready", "C: USER ada", "S: +OK", "C: PASS tr0ut-lake", "S: +OK")
MESSAGE = (
    b"From: Bo <bo@example.org>\r\nTo: ada@example.org\r\nSubject: =?utf-8?q?=C3=96l?=\r\n"
    b"Date: Sat, 22 Nov 2025 22:37:46 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"
    b"First.\r\n.\r\n..second\r\n"
)
STUFFED = MESSAGE.replace(b"\r\n.", b"\r\n..")


def kibibytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1_024] for at in range(0, len(data), 1_024)]


def response(records: list[Record], keyword: str) -> ResponseRecord:
    """The only response to a command."""
    (found,) = [each for each in of(records, ResponseRecord) if each.pop3.command == keyword]
    return found


def codes(records: list[Record]) -> list[str]:
    return [each.finding.code for each in of(records, FindingRecord)]


# Start, end, greeting


def test_the_first_record_says_how_the_session_is_recorded() -> None:
    policy = Policy(body="headers", mask_users=True, require_log=True)
    start = one(begin(recorder(policy)), SessionStart)
    assert start.timestamp == STARTED
    assert (start.session.id, start.session.seq) == ("s1", 1)
    assert (start.client.port, start.listener.port) == (40000, 1110)
    assert start.server is not None
    assert (start.server.address, start.server.port) == ("127.0.0.2", 110)
    assert (start.route.name, start.notice) == ("main", "Mail is being recorded here.")
    assert start.version == __version__
    assert start.policy.body == "headers"
    assert start.policy.mask == "********"
    assert start.policy.mask_users
    assert start.policy.require_log
    assert start.rewrites == []


def test_the_last_record_sums_the_session_up() -> None:
    session, made = Session(), recorder()
    at = 0
    conversation = turns(
        *LOGIN,
        *("C: STAT", "S: +OK 2 300", "C: DELE 1", "S: +OK", "C: RSET", "S: +OK"),
        *("C: DELE 1", "S: +OK", "C: DELE 2", "S: +OK", "C: DELE 3", "S: -ERR", "S: +OK what"),
        *("C: RETR 1", b"S: +OK\r\nx\r\n.\r\n", "C: TOP 1 0", b"S: +OK\r\nx\r\n.\r\n"),
        *("C: QUIT", "S: +OK", "C: NOOP"),
    )
    for at, (side, data) in enumerate(conversation, 1):
        made.record(session.receive(side, data, at * SECOND))
    made.record(session.end(Side.CLIENT, at * SECOND))
    made.record(session.end(Side.SERVER, at * SECOND))
    (end,) = made.end(reason="closed", detail="by the client", at=99 * SECOND)
    assert isinstance(end, SessionEnd)
    assert end.event.duration == 99 * SECOND
    summary = end.summary
    assert (summary.reason, summary.detail) == ("closed", "by the client")
    assert (summary.commands, summary.messages_retrieved) == (12, 1)
    assert (summary.deletions_pending, summary.deletions_committed) == (0, 2)
    assert (summary.unmatched_responses, summary.unanswered_commands) == (1, 1)
    client = sum(len(data) for side, data in conversation if side is Side.CLIENT)
    assert summary.octets_client == client - len("tr0ut-lake") + 8
    assert summary.octets_server == sum(
        len(data) for side, data in conversation if side is Side.SERVER
    )
    assert summary.findings >= 2


def test_deletions_are_committed_only_by_ok_to_quit() -> None:
    session, made = Session(), recorder()
    for side, data in turns(*LOGIN, "C: DELE 1", "S: +OK", "C: QUIT", "S: -ERR some remain"):
        made.record(session.receive(side, data, 0))
    (end,) = made.end(reason="closed", at=0)
    assert isinstance(end, SessionEnd)
    assert (end.summary.deletions_pending, end.summary.deletions_committed) == (1, 0)


def test_the_greeting_shows_the_apop_timestamp() -> None:
    greeting = one(said("S: +OK [IN-USE] ready <1.2@example.org>"), GreetingRecord)
    assert greeting.pop3.text == "[IN-USE] ready <1.2@example.org>"
    assert greeting.pop3.code == "IN-USE"
    assert greeting.pop3.apop_timestamp
    assert greeting.timestamp == STARTED + timedelta(seconds=1)
    assert greeting.raw == "+OK [IN-USE] ready <1.2@example.org>\r\n"


def test_a_greeting_that_is_a_challenge_is_hidden() -> None:
    greeting = one(said("S: + VXNlcm5hbWU6"), GreetingRecord)
    assert greeting.raw == "********\r\n"
    assert greeting.masked == ["raw", "pop3.text"]


# Commands and responses


def test_a_command_and_its_response_are_told_with_their_values() -> None:
    records = said(*LOGIN, "C: STAT", "S: +OK 2 5718")
    command = of(records, CommandRecord)[-1]
    assert (command.pop3.seq, command.pop3.state) == (3, "TRANSACTION")
    assert (command.raw, command.pop3.command) == ("STAT\r\n", "STAT")
    assert command.segments == [(6_000_000, 6)]
    answer = response(records, "STAT")
    assert answer.pop3.stat == StatPart(messages=2, octets=5718)
    assert (answer.pop3.command_seq, answer.pop3.status, answer.pop3.text) == (3, "+OK", "2 5718")
    assert answer.pop3.state == "TRANSACTION"
    assert answer.event.duration == SECOND
    assert answer.masked == []


def test_single_listings_are_told() -> None:
    records = said(*LOGIN, "C: LIST 2", "S: +OK 2 200", "C: UIDL 2", "S: +OK 2 whqtswO00WBw418f9t5")
    assert response(records, "LIST").pop3.listing == [ScanListing(message=2, octets=200)]
    assert response(records, "UIDL").pop3.unique_ids == [
        UniqueId(message=2, unique_id="whqtswO00WBw418f9t5")
    ]
    odd = said(*LOGIN, "C: LIST 2", "S: +OK x", "C: UIDL 2", "S: +OK", "C: STAT", "S: +OK many")
    assert response(odd, "LIST").pop3.listing is None
    assert response(odd, "UIDL").pop3.unique_ids is None
    assert response(odd, "STAT").pop3.stat is None


def test_p03_values_are_read_from_the_masked_text() -> None:
    records = said(*LOGIN[:3], "C: PASS 1234567", "S: +OK", "C: STAT", "S: +OK 2 1234567")
    answer = response(records, "STAT")
    assert answer.raw == "+OK 2 ********\r\n"
    assert answer.pop3.text == "2 ********"
    assert answer.pop3.stat is None


def test_octets_that_are_no_utf_8_are_told_in_base64() -> None:
    records = told([*turns(*LOGIN), (Side.CLIENT, b"NOOP\r\n"), (Side.SERVER, b"+OK caf\xe9\r\n")])
    answer = response(records, "NOOP")
    assert answer.raw is None
    assert answer.raw_b64 == b"+OK caf\xe9\r\n"
    assert answer.pop3.text == "caf\\xe9"


def test_response_codes_are_told() -> None:
    records = said("S: +OK", "C: USER ada", "S: -ERR [SYS/TEMP] later")
    assert response(records, "USER").pop3.code == "SYS/TEMP"


def test_reads_are_told_as_segments() -> None:
    session, made = Session(), recorder()
    made.record(session.receive(Side.SERVER, b"+OK\r\n", 0))
    assert made.record(session.receive(Side.CLIENT, b"NO", 1_000)) == []
    records = made.record(session.receive(Side.CLIENT, b"OP\r\nNOOP\r\n", 5_000))
    first, second = of(records, CommandRecord)
    assert (first.segments, first.joined) == ([(1, 2), (5, 4)], False)
    assert (second.segments, second.joined) == ([(5, 6)], True)
    assert second.pop3.pipelined


def test_p08_no_part_of_a_line_is_told_before_its_end() -> None:
    session, made = Session(), recorder()
    made.record(session.receive(Side.SERVER, b"+OK\r\n", 0))
    for octet in b"PASS half a pass":
        assert made.record(session.receive(Side.CLIENT, bytes([octet]), 1)) == []
        assert made.record(session.flush(2)) == []
    (command,) = of(made.record(session.end(Side.CLIENT, 3)), CommandRecord)
    assert command.raw == "PASS ********"
    assert not command.pop3.complete


@pytest.mark.parametrize("middle", ["LIST 12345", "QUIT", "USER mallory", "gibberish"])
def test_p08_a_password_that_holds_a_line_feed_is_hidden_to_its_end(middle: str) -> None:
    records = told(
        [
            *turns(*LOGIN[:3]),
            (Side.CLIENT, f"PASS abc\n{middle}\r\n".encode()),
            *turns("S: -ERR no", "S: -ERR unknown", "C: STAT", "S: -ERR"),
        ]
    )
    assert wire(records, "client") == b"USER ada\r\nPASS ********\n********\r\nSTAT\r\n"
    assert [each.pop3.command for each in of(records, ResponseRecord)] == [
        "USER",
        "PASS",
        None,
        "STAT",
    ]
    assert not {"malformed-command", "unknown-command"} & set(codes(records))


def test_p08_a_client_that_always_ends_lines_in_lf_is_not_taken_for_that() -> None:
    records = told([(Side.SERVER, b"+OK\n"), (Side.CLIENT, b"USER ada\nPASS abc\nSTAT\n")])
    assert wire(records, "client") == b"USER ada\nPASS ********\nSTAT\n"


def test_p11_xclient_is_hidden_and_learned() -> None:
    records = said("S: +OK", "C: XCLIENT LOGIN=carmen", "S: +OK LOGIN=carmen Updated")
    assert wire(records, "client") == b"XCLIENT ********\r\n"
    assert wire(records, "server") == b"+OK\r\n+OK ******** Updated\r\n"


def test_p04_an_answer_shows_no_learned_secret_and_no_piece_of_one() -> None:
    records = said(
        *LOGIN, "C: NOOP", "S: -ERR PASS tr0ut-la", "C: RSET", "S: +OK TR0UT-LAKE [x] tr0ut-lake"
    )
    assert response(records, "NOOP").raw == "-ERR PASS ********\r\n"
    assert response(records, "RSET").raw == "+OK ******** [x] ********\r\n"
    assert response(records, "RSET").segments == [(9_000_000, 27)]


def test_p04_a_command_shows_no_learned_secret() -> None:
    records = said(
        *LOGIN[:3],
        "C: PASS 1234567",
        "S: -ERR",
        "C: RETR 1234567",
        "S: -ERR",
        "C: USER 1234567x",
        "S: -ERR",
    )
    commands = of(records, CommandRecord)
    assert commands[-2].raw == "RETR ********\r\n"
    assert commands[-2].pop3.arguments == "********"
    assert commands[-2].pop3.message_number is None
    assert commands[-1].raw == "USER ********x\r\n"
    assert response(records, "RETR").pop3.arguments == "********"


def test_p04_arguments_are_hidden_where_a_secret_begins_in_the_keyword() -> None:
    records = said(*LOGIN[:3], "C: PASS retr 12", "S: +OK", "C: RETR 12", "S: -ERR no")
    command = of(records, CommandRecord)[-1]
    assert (command.raw, command.pop3.arguments) == ("********\r\n", "********")
    assert (command.pop3.message_number, command.segments) == (None, [(6_000_000, 10)])
    assert response(records, "RETR").pop3.arguments == "********"


def test_blanks_behind_arguments_change_nothing() -> None:
    records = told(
        [
            *turns(*LOGIN, "C: RETR 1 ", b"S: +OK\r\nx\r\n.\r\n"),
            *turns("C: DELE 2 \t", "S: +OK", "C: LIST ", b"S: +OK\r\n1 3\r\n.\r\n"),
        ]
    )
    assert [each.pop3.arguments for each in of(records, ResponseRecord)] == [
        *("ada", None, "1", "2", None)
    ]
    message = response(records, "RETR").pop3.message
    assert message is not None
    assert message.number == 1


def test_p01_the_message_that_xtnd_xmit_sends_is_hidden() -> None:
    records = told(
        [
            *turns(*LOGIN, "C: XTND XMIT", "S: +OK send"),
            (Side.CLIENT, b"Subject: x\r\n\r\nPASS secret\r\n.\r\n"),
            *turns("S: +OK sent", "C: QUIT", "S: +OK"),
        ]
    )
    assert wire(records, "client").endswith(b"XTND XMIT\r\n********\r\n.\r\nQUIT\r\n")
    assert b"Subject" not in b"".join(each.wire for each in of(records, DataRecord))


# Logins


def test_p09_a_login_whose_mechanism_is_hidden_is_told_without_it() -> None:
    secret = "Zq7Kelp9Xw"
    conversation = turns("S: +OK", f"C: AUTH {secret}", "S: +OK", "C: NOOP", f"S: -ERR {secret}")
    records = told(conversation, exposed=["upstream"])
    assert of(records, CommandRecord)[0].raw == "AUTH ********\r\n"
    auth = one(records, AuthRecord)
    assert (auth.auth.mechanism, auth.auth.outcome, auth.user) == ("********", "success", None)
    assert "credentials-in-clear" in codes(records)
    assert response(records, "NOOP").raw == "-ERR ********\r\n"


@pytest.mark.parametrize(("answer", "outcome"), [("+OK", "success"), ("-ERR", "failure")])
def test_logins_are_told_without_a_payload(answer: str, outcome: str) -> None:
    blob = base64.b64encode(b"\0grace\0tr0ut-lake").decode()
    for lines, mechanism, user, rounds in (
        (("C: USER ada", "S: +OK", "C: PASS tr0ut-lake"), "USER", "ada", 0),
        (("C: PASS tr0ut-lake",), "USER", None, 0),
        (("C: APOP ada 0123456789abcdef0123456789abcdef",), "APOP", "ada", 0),
        ((f"C: AUTH PLAIN {blob}",), "PLAIN", "grace", 0),
        (("C: AUTH plain", "S: +", f"C: {blob}"), "PLAIN", "grace", 1),
        (("C: AUTH X-NEW", "S: + x", "C: eA==", "S: +", "C: "), "X-NEW", None, 2),
    ):
        records = said("S: +OK", *lines, f"S: {answer} words")
        auth = one(records, AuthRecord)
        assert (auth.auth.mechanism, auth.auth.outcome, auth.auth.rounds) == (
            mechanism,
            outcome,
            rounds,
        )
        assert (auth.user.name if auth.user else None) == user
        assert auth.auth.command_seq == max(each.pop3.seq for each in of(records, CommandRecord))


def test_a_login_without_an_answer_has_an_unknown_outcome() -> None:
    assert one(said("S: +OK", "C: PASS secret"), AuthRecord).auth.outcome == "unknown"
    assert one(said("S: +OK", "C: PASS secret", "S: +YES"), AuthRecord).auth.outcome == "success"
    assert one(said("S: +OK", "C: PASS secret", "S: -NO"), AuthRecord).auth.outcome == "failure"


def test_a_bare_auth_is_no_login() -> None:
    records = told([*turns("S: +OK", "C: AUTH"), (Side.SERVER, b"+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n")])
    assert of(records, AuthRecord) == []
    assert response(records, "AUTH").pop3.capabilities == [
        Capability(tag="PLAIN"),
        Capability(tag="LOGIN"),
    ]


def test_p09_p10_an_exchange_is_hidden_from_auth_to_its_final_status() -> None:
    records = said(
        *("S: +OK", "C: AUTH SCRAM-SHA-1", "S: + Y2hhbGxlbmdl", "C: *", "C: cmVzcG9uc2U="),
        *(
            "S: +",
            "C: AHVzZXI=",
            "S: -ERR canceled",
            "C: bG9uZ2Jsb2I=",
            "S: -ERR bG9uZ2Jsb2I= what",
        ),
    )
    assert wire(records, "client") == b"AUTH SCRAM-SHA-1\r\n" + b"********\r\n" * 4
    assert b"+ ********\r\n+ ********\r\n-ERR canceled\r\n" in wire(records, "server")
    assert b"bG9u" not in wire(records, "server")
    parts = [each.pop3.part for each in of(records, DataRecord)]
    assert parts.count("sasl-response") >= 2
    assert parts.count("sasl-challenge") == 2


def test_p09_what_a_final_status_adds_to_an_exchange_is_hidden() -> None:
    records = said(
        *("S: +OK", "C: AUTH SCRAM-SHA-1 biwsbj1hZGE=", "S: +"),
        "C: Yz1iaXdz",
        "S: +OK [AUTH] dj1ybUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9 Logged in, mail-box (is) OPEN now.",
    )
    final = response(records, "AUTH")
    assert final.raw == "+OK [AUTH] ******** Logged in, mail-box (is) OPEN now.\r\n"


def test_p09_a_line_that_may_be_a_challenge_is_hidden() -> None:
    records = said(
        "S: +OK", "C: AUTH X", "S: -ERR", "C: NOOP", "S: +Y2hhbGxlbmdl", "S: + Y2hhbGxlbmdl"
    )
    assert b"Y2hh" not in wire(records, "server")


def test_p12_users_have_pseudonyms_everywhere() -> None:
    policy = Policy(mask_users=True, pseudonym_key=b"k" * 32)
    assert policy.pseudonyms is not None
    name = policy.pseudonyms.of(b"ada@example.org")
    records = told(
        [
            *turns(
                *("S: +OK", "C: USER ada@example.org", "S: +OK ada@example.org is here"),
                *(
                    "C: PASS tr0ut-lake",
                    "S: +OK",
                    "C: USER ada@example.org",
                    "S: -ERR",
                    "C: RETR 1",
                ),
            ),
            (Side.SERVER, b"+OK\r\nTo: ada@example.org\r\n\r\nADA@example.org\r\n.\r\n"),
        ],
        policy,
    )
    first = of(records, CommandRecord)[0]
    assert first.raw == f"USER {name}\r\n"
    assert first.masked == ["raw", "pop3.arguments"]
    user = one(records, AuthRecord).user
    assert user is not None
    assert user.name == name
    answers = [each.pop3.arguments for each in of(records, ResponseRecord)]
    assert answers.count(name) == 2
    assert b"ada@" not in (wire(records, "server") + wire(records, "client")).lower()
    message = response(records, "RETR").pop3.message
    assert message is not None
    assert message.to == "********"


def test_p02_a_name_that_is_a_secret_has_no_pseudonym() -> None:
    policy = Policy(mask_users=True, pseudonym_key=b"k" * 32)
    records = told(
        turns(*LOGIN[:4], "S: -ERR", "C: USER tr0ut-lake", "S: +OK", "C: PASS x", "S: -ERR"), policy
    )
    assert of(records, CommandRecord)[-2].raw == "USER ********\r\n"
    assert of(records, ResponseRecord)[-2].pop3.arguments == "********"
    user = of(records, AuthRecord)[-1].user
    assert user is not None
    assert user.name == "********"


def test_names_that_get_pseudonyms_are_bounded() -> None:
    policy = Policy(mask_users=True, pseudonym_key=b"k" * 32)
    lines: list[str | bytes] = ["S: +OK"]
    for number in range(40):
        lines += [f"C: USER user number-{number}"[:18] + f"-{number}", "S: +OK"]
    assert "too-many-secrets" not in codes(told(turns(*lines), policy))


# Multi-line responses


def test_a_table_is_told_in_three_parts() -> None:
    records = told(
        [*turns(*LOGIN, "C: LIST"), (Side.SERVER, b"+OK 2 messages\r\n1 120\r\n2 200\r\n.\r\n")]
    )
    status, content = of(records, DataRecord)
    assert (status.pop3.part, status.raw) == ("status", "+OK 2 messages\r\n")
    assert (content.pop3.part, content.raw) == ("content", "1 120\r\n2 200\r\n")
    end = response(records, "LIST")
    assert end.raw == ".\r\n"
    assert end.joined
    assert end.pop3.multi_line
    assert (end.pop3.ending, end.pop3.lines, end.pop3.octets) == ("terminated", 2, 14)
    assert end.pop3.text == "2 messages"
    assert end.pop3.listing == [
        ScanListing(message=1, octets=120),
        ScanListing(message=2, octets=200),
    ]
    assert {status.pop3.command_seq, content.pop3.command_seq, end.pop3.command_seq} == {3}
    assert of(records, type(status)) == [status, content]


def test_capabilities_unique_ids_and_languages_are_told() -> None:
    records = told(
        [
            *turns("S: +OK", "C: CAPA"),
            (Side.SERVER, b"+OK\r\nSASL PLAIN LOGIN\r\nEXPIRE 60\r\n..dot\r\n.\r\n"),
            *turns("C: UIDL"),
            (Side.SERVER, b"+OK\r\n1 abc\r\n.\r\n"),
            *turns("C: LANG"),
            (Side.SERVER, b"+OK\r\nen English\r\n.\r\n"),
        ]
    )
    assert response(records, "CAPA").pop3.capabilities == [
        Capability(tag="SASL", arguments=["PLAIN", "LOGIN"]),
        Capability(tag="EXPIRE", arguments=["60"]),
        Capability(tag=".dot"),
    ]
    assert response(records, "UIDL").pop3.unique_ids == [UniqueId(message=1, unique_id="abc")]
    assert response(records, "LANG").pop3.capabilities == [
        Capability(tag="en", arguments=["English"])
    ]


def retrieve(data: bytes, policy: Policy | None = None, *before: Turn) -> list[Record]:
    return told([*turns(*LOGIN), *before, *turns("C: RETR 1"), (Side.SERVER, data)], policy)


@pytest.mark.parametrize("body", ["full", "headers", "none"])
def test_p17_a_message_is_digested_under_every_policy(body: BodyPolicy) -> None:
    policy = Policy(body=body)
    octets = len(MESSAGE)
    records = retrieve(b"+OK %d octets\r\n%b.\r\n" % (octets, STUFFED), policy)
    answer = response(records, "RETR")
    message = answer.pop3.message
    assert message is not None
    assert message.octets == message.octets_announced == octets
    assert message.sha256 == hashlib.sha256(MESSAGE).hexdigest()
    assert message.number == 1
    assert answer.pop3.octets == len(STUFFED)
    assert answer.pop3.lines == STUFFED.count(b"\n")
    assert codes(records) == []
    content = b"".join(each.wire for each in of(records, DataRecord) if each.pop3.part == "content")
    header = STUFFED[: STUFFED.index(b"\r\n\r\n") + 4]
    assert content == {"full": STUFFED, "headers": header, "none": b""}[body]
    if body == "none":
        assert message.subject is message.from_ is message.message_id is None
    else:
        assert (message.subject, message.from_) == ("Öl", "Bo <bo@example.org>")
        assert message.message_id == "<1@example.org>"
        assert message.to == "ada@example.org"


@pytest.mark.parametrize("body", ["full", "headers", "none"])
def test_p17_tables_are_told_under_every_policy(body: BodyPolicy) -> None:
    policy = Policy(body=body)
    records = told([*turns("S: +OK", "C: CAPA"), (Side.SERVER, b"+OK\r\nTOP\r\n.\r\n")], policy)
    assert b"TOP" in wire(records, "server")


@pytest.mark.parametrize("body", ["headers", "none"])
def test_p17_what_may_be_part_of_a_message_is_not_told_where_bodies_are_not(
    body: BodyPolicy,
) -> None:
    policy = Policy(body=body)
    records = told(
        [
            *turns(*LOGIN, "C: FROB", "S: +OK frob", "S: Dear Ada,", "S: .", "S: Dear Bo,"),
            *turns("S: +OK Dear Eve,", "C: NOOP", "S: +OK"),
        ],
        policy,
    )
    assert b"Dear" not in wire(records, "server")
    assert "Dear" not in str([each.pop3.text for each in of(records, ResponseRecord)])
    shown = told([*turns(*LOGIN, "S: Dear Bo,", "S: +OK Dear Eve,")])
    assert b"Dear Bo,\r\n+OK Dear Eve,\r\n" in wire(shown, "server")


def test_a_message_without_a_blank_line_is_all_header() -> None:
    records = retrieve(b"+OK\r\nSubject: x\r\n.\r\n", Policy(body="headers"))
    assert b"Subject: x\r\n" in wire(records, "server")
    empty = retrieve(b"+OK 0 octets\r\n.\r\n")
    message = response(empty, "RETR").pop3.message
    assert message is not None
    assert (message.octets, message.sha256) == (0, hashlib.sha256(b"").hexdigest())


def test_what_was_listed_before_is_told_of_a_message() -> None:
    listing = [
        *turns("C: LIST"),
        (Side.SERVER, b"+OK\r\n1 5\r\n2 6\r\n.\r\n"),
        *turns("C: UIDL"),
        (Side.SERVER, b"+OK\r\n1 id-one\r\n2 id-two\r\n.\r\n"),
        *turns("C: LIST 3", "S: +OK 3 9", "C: UIDL 3", "S: +OK 3 id-three"),
    ]
    session = [*turns(*LOGIN), *listing]
    for number, octets, unique_id in ((1, 5, "id-one"), (3, 9, "id-three"), (4, None, None)):
        records = told(
            [*session, *turns(f"C: RETR {number}"), (Side.SERVER, b"+OK\r\nabc\r\n.\r\n")]
        )
        message = response(records, "RETR").pop3.message
        assert message is not None
        assert (message.octets_announced, message.unique_id) == (octets, unique_id)
        assert ("octets-differ" in codes(records)) is (octets == 9)
    top = told([*session, *turns("C: TOP 1 0"), (Side.SERVER, b"+OK\r\nabc\r\n.\r\n")])
    message = response(top, "TOP").pop3.message
    assert message is not None
    assert (message.octets_announced, message.unique_id) == (None, "id-one")


def test_octets_that_differ_are_a_finding_but_where_something_was_masked() -> None:
    records = retrieve(b"+OK 99 octets\r\nabc\r\n.\r\n")
    assert codes(records) == ["octets-differ"]
    finding = one(records, FindingRecord).finding
    assert (finding.command_seq, finding.where) == (3, "server")
    masked = retrieve(b"+OK 99 octets\r\ntr0ut-lake\r\n.\r\n")
    assert codes(masked) == []
    assert response(masked, "RETR").masked == ["pop3.message"]


def test_p04_a_header_is_masked_also_where_decoding_puts_the_secret_together() -> None:
    records = retrieve(b"+OK\r\nSubject: =?utf-8?q?tr0ut?= =?utf-8?q?-lake?=\r\n\r\n.\r\n")
    message = response(records, "RETR").pop3.message
    assert message is not None
    assert message.subject == "********"


def test_content_that_breaks_off_is_told() -> None:
    records = retrieve(b"+OK\r\nhalf of it")
    answer = response(records, "RETR")
    assert (answer.pop3.ending, answer.raw) == ("cut off", None)
    assert b"half of it" in wire(records, "server")
    assert "response-cut-off" in codes(records)


def test_content_that_breaks_off_without_an_end_is_told_at_the_end() -> None:
    session, made = Session(), recorder()
    for side, data in [*turns(*LOGIN, "C: RETR 1"), (Side.SERVER, b"+OK\r\n" + b"x" * 500)]:
        made.record(session.receive(side, data, 0))
    made.record(session.flush(1))
    records = made.end(reason="closed", at=2)
    assert [record.event.action for record in records] == [
        "pop3.data",
        "pop3.response",
        "session.end",
    ]


def test_p64_a_flush_tells_all_but_what_is_held_back() -> None:
    session, made = Session(), recorder()
    for side, data in [*turns(*LOGIN, "C: RETR 1"), (Side.SERVER, b"+OK\r\n" + b"x" * 5_000)]:
        made.record(session.receive(side, data, 0))
    (record,) = made.record(session.flush(1))
    assert isinstance(record, DataRecord)
    assert 3_900 < len(record.wire) < 5_000


def test_a_long_message_is_told_in_records_of_some_size() -> None:
    body = b"".join(b"%06d\r\n" % number for number in range(40_000))
    records = retrieve(b"+OK\r\n" + body + b".\r\n")
    content = [each for each in of(records, DataRecord) if each.pop3.part == "content"]
    assert b"".join(each.wire for each in content) == body
    assert all(each.wire.endswith(b"\r\n") for each in content)
    whole = response(records, "RETR").pop3
    assert (whole.lines, whole.octets) == (40_000, len(body))
    assert [len(each.wire) for each in content] == [65_536, 65_536, 65_536, 65_536, 57_856]
    assert [each.joined for each in content] == [True] * 5


def test_a_table_beyond_the_limit_is_cut() -> None:
    table = b"".join(b"%d 100\r\n" % number for number in range(1, 40_000))
    records = told([*turns(*LOGIN, "C: LIST"), (Side.SERVER, b"+OK\r\n" + table + b".\r\n")])
    answer = response(records, "LIST")
    assert answer.pop3.values_truncated
    assert answer.pop3.listing is not None
    assert len(answer.pop3.listing) == 10_000
    wide = b"X-CAPABILITY " + b"y" * 1_000 + b"\r\n"
    content = b"+OK\r\n" + wide * 300 + b".\r\n"
    records = told([*turns("S: +OK", "C: CAPA"), (Side.SERVER, content)], cut=kibibytes)
    answer = response(records, "CAPA")
    assert answer.pop3.values_truncated
    assert answer.pop3.capabilities is not None
    assert len(answer.pop3.capabilities) == MAX_TABLE // len(wide)
    assert {len(each.arguments[0]) for each in answer.pop3.capabilities} == {1_000}


def test_a_table_up_to_the_limit_is_told_whole() -> None:
    for line, number in (
        (b"T " + b"y" * 1_020 + b"\r\n", MAX_TABLE // 1_024),
        (b"T\r\n", MAX_ENTRIES),
    ):
        content = b"+OK\r\n" + line * number + b".\r\n"
        records = told([*turns("S: +OK", "C: CAPA"), (Side.SERVER, content)], cut=kibibytes)
        answer = response(records, "CAPA")
        assert not answer.pop3.values_truncated
        assert answer.pop3.capabilities is not None
        assert len(answer.pop3.capabilities) == number
        assert (answer.pop3.octets, answer.pop3.lines) == (len(line) * number, number)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_byte_stuffing_is_removed_whichever_way_lines_end(line_end: str) -> None:
    def lines(text: str) -> bytes:
        return text.replace("\n", line_end).encode()

    records = told(
        [
            (Side.SERVER, lines("+OK\n")),
            *turns("C: CAPA"),
            (Side.SERVER, lines("+OK\nTOP\n..dot\n.\n")),
            *turns("C: PASS tr0ut-lake"),
            (Side.SERVER, lines("+OK\n")),
            *turns("C: RETR 1"),
            (Side.SERVER, lines("+OK\nSubject: x\n\n..x\n.\n")),
        ]
    )
    assert response(records, "CAPA").pop3.capabilities == [
        Capability(tag="TOP"),
        Capability(tag=".dot"),
    ]
    message = response(records, "RETR").pop3.message
    assert message is not None
    assert message.sha256 == hashlib.sha256(lines("Subject: x\n\n.x\n")).hexdigest()


def test_a_dot_behind_a_bare_lf_is_no_stuffing_where_lines_end_in_crlf() -> None:
    records = retrieve(b"+OK\r\na\n..b\r\n.\r\n")
    message = response(records, "RETR").pop3.message
    assert message is not None
    assert message.octets == len(b"a\n..b\r\n")
    content = b"+OK\r\nX\n..Y\r\n.\r\n"
    answer = response(told([*turns("S: +OK", "C: CAPA"), (Side.SERVER, content)]), "CAPA")
    assert answer.pop3.capabilities == [Capability(tag="X"), Capability(tag="..Y")]


@pytest.mark.parametrize("end", [b".\r\n", b""])
def test_p03_the_end_of_a_masked_response_counts_as_the_read_of_its_first_mask(
    end: bytes,
) -> None:
    session, made = Session(), recorder()
    for side, data in turns(*LOGIN, "C: RETR 1"):
        made.record(session.receive(side, data, 0))
    records = made.record(session.receive(Side.SERVER, b"+OK\r\ntr0ut-lake\r\n", 1_000))
    records += made.record(session.receive(Side.SERVER, b"more\r\n" + end, 9_000))
    records += made.record(session.end(Side.SERVER, 9_000))
    assert of(records, DataRecord)[-1].segments == [(1, 16)]
    answer = one(records, ResponseRecord)
    assert (answer.segments, answer.joined) == (([(1, 3)], True) if end else ([], answer.joined))


def test_a_response_that_is_told_late_names_its_command() -> None:
    """Out of step: the status line was taken for another's, and belongs to the next command."""
    records = told(
        [
            *turns(*LOGIN, "C: NOOP"),
            (Side.CLIENT, b"CAPA\r\n"),
            (Side.SERVER, b"+OK here it is tr0ut-lake\r\nTOP\r\nUIDL\r\n.\r\n"),
        ]
    )
    answer = [each for each in of(records, ResponseRecord) if each.pop3.multi_line]
    assert [each.pop3.command for each in answer] == ["CAPA"]
    assert answer[0].pop3.text == "here it is ********"
    assert answer[0].masked == ["pop3.text"]
    assert "step-lost" in codes(records)


# Long lines


def test_a_long_line_of_the_client_is_told_as_one_mask() -> None:
    for line, shown in (
        (b"PASS ", b"PASS ********"),
        (b"x", b"********"),
        (b"RETR ", b"RETR ********"),
    ):
        records = told([(Side.SERVER, b"+OK\r\n"), (Side.CLIENT, line + b"z" * 200_000 + b"\r\n")])
        assert wire(records, "client") == shown + b"\r\n"
        command = one(records, CommandRecord)
        assert command.segments == [(2_000_000, len(shown) + 2)]
        assert "too-many-secrets" in codes(records)


def test_a_long_line_of_an_exchange_is_told_as_one_mask() -> None:
    records = told(
        [
            *turns("S: +OK", "C: AUTH X", "S: +"),
            (Side.CLIENT, b"z" * 200_000 + b"\r\n"),
            *turns("S: -ERR zzzz"),
        ]
    )
    assert wire(records, "client") == b"AUTH X\r\n********\r\n"
    assert wire(records, "server").endswith(b"-ERR ********\r\n")


def test_a_long_line_of_the_server_is_told_and_masked() -> None:
    line = b"+OK " + b"abc " * 40_000 + b"tr0ut-lake" + b" def" * 10_000 + b"\r\n"
    records = told([*turns(*LOGIN, "C: NOOP"), (Side.SERVER, line)])
    assert wire(records, "server").endswith(line.replace(b"tr0ut-lake", b"********"))
    answer = response(records, "NOOP")
    assert (answer.raw, answer.pop3.text) == (None, "")
    parts = [each.pop3.part for each in of(records, DataRecord)]
    assert set(parts) == {"line"}


@pytest.mark.parametrize("begins", [b"+ ", b"junk "])
def test_p09_a_long_line_that_may_be_a_challenge_is_hidden(begins: bytes) -> None:
    line = begins + b"abc " * 40_000 + b"\r\n"
    records = told([*turns("S: +OK", "C: AUTH X"), (Side.SERVER, line), *turns("C: *", "S: -ERR")])
    assert b"abc" not in wire(records, "server")
    assert b"********\r\n-ERR" in wire(records, "server")


def test_a_long_line_that_answers_nothing_is_told_where_bodies_are() -> None:
    line = b"junk " * 40_000 + b"\r\n"
    bodies: tuple[BodyPolicy, ...] = ("full", "none")
    for body in bodies:
        policy = Policy(body=body)
        records = told([*turns(*LOGIN), (Side.SERVER, line), *turns("C: NOOP", "S: +OK")], policy)
        assert (b"junk" in wire(records, "server")) is (body == "full")
        assert (b"********\r\n+OK" in wire(records, "server")) is (body == "none")


# Findings, TLS, opaque


def test_findings_say_what_the_table_says() -> None:
    records = said("S: +OK", "C: FROB", "S: -ERR")
    finding = one(records, FindingRecord).finding
    text = FINDINGS[FindingCode.UNKNOWN_COMMAND]
    assert (finding.code, finding.severity, finding.rfc, finding.what) == (
        "unknown-command",
        text.severity.value,
        text.rfc,
        text.what,
    )
    assert (finding.where, finding.command_seq) == ("client", 1)


def test_a_finding_from_elsewhere_is_told() -> None:
    (record,) = recorder().finding(
        FindingCode.STLS_REFUSED, at=0, where="upstream leg", count=3, command_seq=2
    )
    assert isinstance(record, FindingRecord)
    assert (record.finding.code, record.finding.where) == ("stls-refused", "upstream leg")
    assert (record.finding.count, record.finding.command_seq) == (3, 2)


@pytest.mark.parametrize(
    "lines",
    [
        ("C: PASS secret",),
        ("C: APOP ada 0123456789abcdef0123456789abcdef",),
        ("C: AUTH PLAIN AGFkYQBhYmM=",),
        ("C: AUTH PLAIN", "S: +", "C: AGFkYQBhYmM="),
    ],
)
def test_p19_credentials_in_clear_are_a_finding(lines: tuple[str, ...]) -> None:
    conversation = turns("S: +OK", *lines, "S: -ERR", *lines, "S: -ERR")
    assert codes(told(conversation, exposed=["upstream"])).count("credentials-in-clear") == 1
    assert "credentials-in-clear" not in codes(told(conversation))
    quiet = turns("S: +OK", "C: USER ada", "S: +OK", "C: AUTH", "S: -ERR", "C: CAPA", "S: -ERR")
    assert "credentials-in-clear" not in codes(told(quiet, exposed=["upstream"]))


def test_p19_the_exposed_legs_are_named_until_tls_begins_on_them() -> None:
    made, session = recorder(exposed=["client", "upstream"]), Session()
    login = turns("S: +OK", "C: USER ada", "S: +OK", "C: PASS secret")
    records = [
        record for side, data in login for record in made.record(session.receive(side, data, 0))
    ]
    assert [
        record.finding.where
        for record in records
        if isinstance(record, FindingRecord) and record.finding.code == "credentials-in-clear"
    ] == ["client and upstream leg"]

    made, session = recorder(exposed=["client", "upstream"]), Session()
    made.tls_start(TlsPart(leg="upstream"), 0)
    records = [
        record for side, data in login for record in made.record(session.receive(side, data, 0))
    ]
    assert one(records, FindingRecord).finding.where == "client leg"


def test_p19_credentials_inside_tls_are_none() -> None:
    session, made = Session(), recorder(exposed=["upstream"])
    records: list[Record] = []
    for side, data in turns("S: +OK", "C: USER ada", "S: +OK", "C: STLS", "S: +OK"):
        records += made.record(session.receive(side, data, 0))
    records += made.tls_start(TlsPart(leg="upstream"), 1)
    records += made.record(session.tls_started(1))
    for side, data in turns("C: PASS secret", "S: +OK"):
        records += made.record(session.receive(side, data, 2))
    assert codes(records) == []
    assert one(records, AuthRecord).user is None  # learned before TLS, and forgotten


@pytest.mark.parametrize("side", [Side.CLIENT, Side.SERVER])
def test_p29_plaintext_behind_stls_is_hidden_and_learned(side: Side) -> None:
    session, made = Session(), recorder()
    records: list[Record] = []
    for each, data in turns("S: +OK", "C: STLS", "S: +OK go"):
        records += made.record(session.receive(each, data, 0))
    injected = b"USER eve\r\nPASS an-evil-one\r\n" + (b"x" * 70_000 if side is Side.SERVER else b"")
    records += made.record(session.receive(side, injected, 0))
    records += made.record(session.tls_started(1))
    for each, data in turns("C: NOOP", "S: +OK an-evil-one"):
        records += made.record(session.receive(each, data, 2))
    told_of = [each for each in of(records, DataRecord) if each.pop3.part == "line"]
    assert [(each.side, each.raw) for each in told_of] == [(side.value, "********")]
    assert (told_of[0].segments, told_of[0].masked) == ([(0, 8)], ["raw"])
    assert told_of[0].joined is False
    assert ("an-evil-one" in str(records[-1])) is (side is Side.SERVER)
    assert "injected-behind-stls" in codes(records)


def test_p29_more_injected_lines_than_can_be_learned_hide_all() -> None:
    session, made = Session(), recorder()
    records: list[Record] = []
    for each, data in turns("S: +OK", "C: STLS", "S: +OK go"):
        records += made.record(session.receive(each, data, 0))
    records += made.record(session.receive(Side.CLIENT, b"x\r\n" * 100, 0))
    records += made.record(session.tls_started(1))
    assert "too-many-secrets" in codes(records)


def test_p29_lines_up_to_the_bound_are_learned_without_their_ends() -> None:
    made = recorder()
    lines = b"NOOP a1 \r\n" * 30 + b"PASS an-evil-one\r\n"
    records = made.record([Injected(side=Side.CLIENT, raw=lines, joined=True)])
    assert codes(records) == []
    assert one(records, DataRecord).joined
    records = made.record([Injected(side=Side.SERVER, raw=b"x\r\n"), Injected(side=Side.CLIENT)])
    assert [each.side for each in of(records, DataRecord)] == ["server"]
    line = b"it was <an-evil-one>\r\n"
    odd = Unexpected(side=Side.SERVER, raw=line, reads=(Read(0, len(line)),), during=State.GREETING)
    assert wire(made.record([odd]), "server") == b"it was ********\r\n"


def test_a_message_of_the_client_is_told_once_however_it_is_cut() -> None:
    made = recorder()
    piece = Data(side=Side.CLIENT, raw=b"words\r\n", reads=(Read(0, 3), Read(1, 4)), seq=1)
    end = End(side=Side.CLIENT, raw=b".\r\n", reads=(Read(2, 3),), seq=1, ending=Ending.TERMINATED)
    for _ in range(2):
        told_of = of(made.record([piece, piece, end]), DataRecord)
        assert [each.raw for each in told_of] == ["********\r\n", ".\r\n"]
        assert [each.segments for each in told_of] == [[(0, 10)], [(0, 3)]]


def test_p03_a_long_line_counts_as_the_read_that_it_began_with() -> None:
    part = LinePart(side=Side.CLIENT, raw=b"zz", reads=(Read(3_000, 2),), joined=True)
    end = SaslResponse(
        side=Side.CLIENT, raw=b"z\r\n", reads=(Read(9_000, 3),), seq=1, overlong=True
    )
    made = recorder()
    for _ in range(2):
        response_line = one(made.record([part, part, end]), DataRecord)
        assert (response_line.segments, response_line.joined) == ([(3, 10)], True)
    short = SaslResponse(
        side=Side.CLIENT, raw=b"abc\r\n", reads=(Read(1_000, 1), Read(2_000, 4)), seq=1
    )
    assert one(made.record([short]), DataRecord).segments == [(1, 10)]


def test_p18_tls_passed_through_is_counted() -> None:
    session, made = Session(), recorder()
    records: list[Record] = []
    for each, data in turns("S: +OK", "C: STLS", "S: +OK go"):
        records += made.record(session.receive(each, data, 0))
    records += made.record(session.tls_passed(1))
    hello = b"\x16\x03\x01\x00\x05hello"
    records += made.record(session.receive(Side.CLIENT, hello, 1))
    records += made.record(session.receive(Side.SERVER, hello * 2, 1))
    for side in Side:
        records += made.record(session.end(side, 2))
    records += made.end(reason="closed", at=3)
    assert one(records, TlsStart).tls.passed_through
    ends = of(records, TlsEnd)
    assert [(end.tls.leg, end.tls.record_types) for end in ends] == [
        ("client", {"handshake": 1}),
        ("upstream", {"handshake": 2}),
    ]
    opaque = [each for each in of(records, DataRecord) if each.pop3.part == "opaque"]
    assert [(each.side, each.pop3.octets) for each in opaque] == [("client", None), ("server", 20)]
    assert b"hello" not in wire(records, "client") + wire(records, "server")
    summary = one(records, SessionEnd).summary
    assert (summary.octets_client, summary.octets_server) == (6, 5 + 8 + 20)


def test_p18_tls_on_a_plain_port_is_counted() -> None:
    records = told([(Side.CLIENT, b"\x16\x03\x01\x00\x05hello")])
    assert codes(records) == ["tls-on-plain-port"]
    assert one(records, TlsEnd).tls.record_types == {"handshake": 1}
    assert [each.pop3.octets for each in of(records, DataRecord)] == [None]


def test_p52_opaque_plain_traffic_is_counted() -> None:
    session, made = Session(max_pending=3), recorder()
    records = made.record(session.receive(Side.SERVER, b"+OK\r\n", 0))
    records += made.record(session.receive(Side.CLIENT, b"NOOP\r\n" * 5 + b"PASS secret\r\n", 0))
    records += made.record(session.receive(Side.SERVER, b"+OK secret\r\n", 0))
    for side in Side:
        records += made.record(session.end(side, 0))
    records += made.end(reason="closed", at=0)
    assert "too-many-pending" in codes(records)
    assert not [*of(records, TlsEnd), *of(records, TlsStart)]
    assert b"secret" not in wire(records, "client") + wire(records, "server")


# Overflow, failure


def flood() -> list[Turn]:
    lines: list[str | bytes] = [*LOGIN, "C: USER ada", "S: +OK"]
    for number in range(70):
        lines += [f"C: PASS secret {number}", "S: -ERR"]
    return turns(*lines)


def test_p77_too_many_secrets_hide_all_text_of_both_sides() -> None:
    records = told(
        [
            *flood(),
            *turns("C: USER grace", "S: +OK who knows", "C: NOOP", "S: -ERR [AUTH] maybe"),
            *turns("C: RETR 1"),
            (
                Side.SERVER,
                b"+OK 10 octets\r\nSubject: hello\r\n\r\n" + b"body " * 30_000 + b"\r\n.\r\n",
            ),
            *turns("C: CAPA"),
            (Side.SERVER, b"+OK\r\nTOP\r\n.\r\n"),
            *turns(
                "C: AUTH PLAIN",
                "S: +",
                "C: AGFkYQBhYmNkZWY=",
                "S: +OK",
                "C: APOP grace xyz",
                "S: +OK",
            ),
        ]
    )
    assert codes(records).count("too-many-secrets") == 1
    last = next(index for index, each in enumerate(records) if "too-many" in str(each))
    behind = records[last:]
    text = wire(behind, "client") + wire(behind, "server") + str(behind).encode()
    for word in (b"who knows", b"grace", b"maybe", b"hello", b"body", b"TOP", b"AUTH]"):
        assert word not in text
    assert b"USER ********\r\nNOOP\r\nRETR ********\r\nCAPA\r\nAUTH ********\r\n" in wire(
        behind, "client"
    )
    retr = next(each for each in of(behind, ResponseRecord) if each.pop3.message)
    assert retr.pop3.message is not None
    assert retr.pop3.message.octets == 8
    assert retr.pop3.message.octets_announced is None
    assert [each.pop3.capabilities for each in of(behind, ResponseRecord)] == [None] * len(
        of(behind, ResponseRecord)
    )
    assert {each.auth.mechanism for each in of(behind, AuthRecord)} <= {"USER", "********", "APOP"}


def test_p77_content_under_way_is_hidden_from_the_overflow_on() -> None:
    session, made = Session(), recorder()
    records: list[Record] = []
    for side, data in flood()[:-20]:
        records += made.record(session.receive(side, data, 0))
    records += made.record(session.receive(Side.CLIENT, b"RETR 1\r\n", 0))
    body = b"open " * 20_000
    records += made.record(session.receive(Side.SERVER, b"+OK\r\n" + body, 0))
    for number in range(30):
        records += made.record(session.receive(Side.CLIENT, b"PASS more %d\r\n" % number, 0))
    records += made.record(session.receive(Side.SERVER, b"hidden " * 20_000 + b"\r\n.\r\n", 0))
    text = wire(records, "server")
    assert b"open open" in text
    assert b"hidden" not in text
    assert text.endswith(b"********.\r\n")


def test_p50_a_secret_without_end_overflows() -> None:
    session, made = Session(), recorder()
    records: list[Record] = []
    for side, data in [
        *turns(*LOGIN[:3], "C: PASS aaaaaaaa", "S: +OK", "C: RETR 1"),
        (Side.SERVER, b"+OK\r\n"),
    ]:
        records += made.record(session.receive(side, data, 0))
    for _ in range(10):
        records += made.record(session.receive(Side.SERVER, b"a" * 65_536, 0))
    assert "too-many-secrets" in codes(records)


def test_p25_after_a_failure_only_the_end_is_told() -> None:
    session, made = Session(), recorder()
    for side, data in [*turns(*LOGIN, "C: RETR 1"), (Side.SERVER, b"+OK\r\n" + b"x" * 500)]:
        made.record(session.receive(side, data, 0))
    (finding,) = made.fail(1)
    assert isinstance(finding, FindingRecord)
    assert finding.finding.code == "parser-failed"
    assert made.fail(1) == []
    assert made.record(session.receive(Side.SERVER, b"y" * 70_000, 2)) == []
    (end,) = made.end(reason="closed", at=3)
    assert isinstance(end, SessionEnd)


def test_numbers_and_times_of_records_are_in_order() -> None:
    records = told(
        [*turns(*LOGIN, "C: RETR 1"), (Side.SERVER, b"+OK\r\n" + STUFFED + b".\r\n")],
        cut=byte_by_byte,
    )
    assert [each.session.seq for each in records] == list(range(1, len(records) + 1))
    times = [each.timestamp for each in records]
    assert times == sorted(times)


def test_p13_nothing_of_a_recorder_is_shown() -> None:
    session, made = Session(), recorder()
    for side, data in [*turns(*LOGIN, "C: RETR 1"), (Side.SERVER, b"+OK\r\ncanary")]:
        made.record(session.receive(side, data, 0))
    made.record(session.flush(0))
    assert repr(made) == "<Recorder>"
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(made)
    seen: set[int] = set()
    todo: list[object] = [made]
    while todo:  # everything that a debugger or a renderer of locals would show
        thing = todo.pop()
        if id(thing) in seen or not type(thing).__module__.startswith("popproxy.privacy"):
            continue
        seen.add(id(thing))
        if not isinstance(thing, tuple | Policy):  # what may be told
            assert repr(thing) in (f"<{type(thing).__name__}>", object.__repr__(thing))
        todo += [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
    assert len(seen) > 8


def test_times_count_from_the_session_s_start() -> None:
    made = Recorder("s1", Policy(), STARTED, 5 * SECOND)
    session = Session()
    (greeting,) = of(
        made.record(session.receive(Side.SERVER, b"+OK\r\n", 7 * SECOND)), GreetingRecord
    )
    assert greeting.timestamp == STARTED + timedelta(seconds=2)
    assert greeting.segments == [(2_000_000, 5)]
    made.record(session.receive(Side.CLIENT, b"NO", 8 * SECOND))
    records = made.record(session.receive(Side.CLIENT, b"OP\r\n", 9 * SECOND))
    assert one(records, CommandRecord).segments == [(3_000_000, 2), (4_000_000, 4)]
    (end,) = made.end(reason="closed", at=9 * SECOND)
    assert end.event.duration == 4 * SECOND


def test_records_of_tls_are_dated_and_numbered() -> None:
    made = recorder()
    part = TlsPart(leg="client")
    records = [*made.tls_start(part, SECOND), *made.tls_failed(part, 2 * SECOND)]
    records += [*made.tls_end(part, 3 * SECOND), *made.finding(FindingCode.STLS_REFUSED, at=0)]
    for number, record in enumerate(records, 1):
        assert (record.schema, record.session.id, record.session.seq) == (
            "popproxy/1",
            "s1",
            number,
        )
        assert type(record) is RECORD_TYPES[record.event.action]
    assert [each.timestamp - STARTED for each in records] == [
        timedelta(seconds=seconds) for seconds in (1, 2, 3, 0)
    ]
    assert one(records, FindingRecord).finding.where == ""


def test_a_figure_of_a_departure_is_told() -> None:
    (finding,) = recorder().record([Departure(side=Side.SERVER, code=FindingCode.NUL, count=7)])
    assert isinstance(finding, FindingRecord)
    assert (finding.finding.count, finding.finding.where) == (7, "server")


# Odd orders of events: another core, or a later one, may give them


def test_p04_a_response_cites_no_argument_that_was_learned_since() -> None:
    session, made = Session(), recorder()
    records: list[Record] = []
    pipelined = b"DELE 1234567\r\nPASS 1234567\r\n"
    for side, data in [*turns(*LOGIN), (Side.CLIENT, pipelined), *turns("S: -ERR", "S: +OK")]:
        records += made.record(session.receive(side, data, 0))
    dele = response(records, "DELE")
    assert dele.pop3.arguments == "********"


def test_p09_a_command_inside_an_exchange_is_hidden() -> None:
    made = recorder()
    events: list[Event] = [
        Command(
            side=Side.CLIENT,
            raw=raw,
            seq=seq,
            keyword=raw[:4],
            known=True,
            arguments=b"PLAIN",
            state=State.AUTHORIZATION,
        )
        for seq, raw in enumerate((b"AUTH PLAIN\r\n", b"LIST 1\r\n", b"STAT\r\n"), 1)
    ]
    assert wire(made.record(events), "client") == b"AUTH PLAIN\r\n********\r\n********\r\n"


def test_an_overlong_line_without_its_parts_is_told() -> None:
    made = recorder()
    command = Command(
        side=Side.CLIENT,
        raw=b"zz\r\n",
        seq=1,
        keyword=b"RETR",
        known=True,
        arguments=b"",
        state=State.AUTHORIZATION,
        overlong=True,
    )
    reply = SaslResponse(side=Side.CLIENT, raw=b"zz\r\n", seq=1, overlong=True)
    assert wire(made.record([command, reply]), "client") == b"RETR ********\r\n********\r\n"


def test_content_without_a_status_line_is_told_where_bodies_are() -> None:
    piece, end = (
        Data(side=Side.SERVER, raw=b"words\r\n", reads=(Read(0, 7),), seq=None),
        End(
            side=Side.SERVER, raw=b".\r\n", reads=(Read(0, 3),), seq=None, ending=Ending.TERMINATED
        ),
    )
    told_of = recorder().record([piece, end])
    assert wire(told_of, "server") == b"words\r\n.\r\n"
    assert one(told_of, ResponseRecord).pop3.command is None
    assert wire(recorder(Policy(body="none")).record([piece, end]), "server") == b".\r\n"
    assert recorder().record([end]) == []


def test_content_that_belongs_to_a_command_names_it() -> None:
    piece = Data(side=Side.SERVER, raw=b"words\r\n", reads=(Read(0, 7),), seq=4)
    end = End(side=Side.SERVER, raw=b".\r\n", reads=(Read(0, 3),), seq=4, ending=Ending.TERMINATED)
    records = recorder().record([piece, end])
    assert one(records, DataRecord).pop3.command_seq == 4
    answer = one(records, ResponseRecord).pop3
    assert (answer.command_seq, answer.status, answer.text) == (4, "none", "")


def test_p09_a_line_that_answers_nothing_is_hidden_where_it_may_be_a_challenge() -> None:
    session, made = Session(), recorder()
    odd = [
        Unexpected(
            side=Side.SERVER, raw=raw, reads=(Read(0, len(raw)),), during=State.AUTHORIZATION
        )
        for raw in (b"+Y2hhbGxlbmdl\r\n", b"+ Y2hhbGxlbmdl\r\n", b"words\r\n")
    ]
    before = made.record(odd)
    assert wire(before, "server") == b"+Y2hhbGxlbmdl\r\n********\r\nwords\r\n"
    for side, data in turns("S: +OK", "C: AUTH X"):
        made.record(session.receive(side, data, 0))
    assert wire(made.record(odd), "server") == b"********\r\n" * 3
    made.record(session.receive(Side.SERVER, b"-ERR\r\n", 0))
    assert wire(made.record(odd), "server") == b"********\r\n" * 2 + b"words\r\n"


def test_step_that_was_recovered_tells_tables_again() -> None:
    policy = Policy(body="none")
    for code, shown in ((FindingCode.STEP_LOST, False), (FindingCode.STEP_RECOVERED, True)):
        session, made = Session(), recorder(policy)
        made.record([Departure(side=Side.SERVER, code=FindingCode.STEP_LOST)])
        made.record([Departure(side=Side.SERVER, code=code)])
        records: list[Record] = []
        for side, data in [*turns("S: +OK", "C: CAPA"), (Side.SERVER, b"+OK\r\nTOP\r\n.\r\n")]:
            records += made.record(session.receive(side, data, 0))
        assert (b"TOP" in wire(records, "server")) is shown


def test_opaque_octets_that_nothing_announced_are_not_told() -> None:
    made = recorder()
    assert made.record([Opaque(side=Side.CLIENT, raw=b"PASS secret\r\n")]) == []
    assert len(made.end(reason="closed", at=0)) == 1
