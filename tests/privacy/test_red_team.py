"""What an attacker of the masking found, each in its shortest form."""

from __future__ import annotations

import base64
import time

import pytest

from popproxy.pop3 import Session, Side
from popproxy.privacy import Policy
from popproxy.privacy.learned import Learned
from popproxy.records import AuthRecord, DataRecord, ResponseRecord, WireRecord
from tests.support.core import turns
from tests.support.recording import SECOND, lines, of, one, recorder, said, wire

LOGIN = ("S: +OK ready", "C: USER joe", "S: +OK")


class TestChallenges:
    def test_p09_the_answer_to_one_of_two_challenges_is_no_name(self) -> None:
        records = said(
            "S: +OK ready",
            "C: AUTH LOGIN",
            "S: + UGFzc3dvcmQ6",
            "S: + VXNlcm5hbWU6",
            "C: aHVudGVyMjI=",
            "S: +OK",
        )
        assert one(records, AuthRecord).user is None
        assert b"hunter22" not in lines(records)

    def test_p09_the_last_message_of_an_exchange_is_hidden_in_an_overlong_line(self) -> None:
        records = said(
            "S: +OK ready",
            "C: AUTH SCRAM-SHA-1",
            "S: + ",
            "C: biwsbj11c2VyLHI9ZnlrbytkMmxiYmZnT05Sdjlxa3hkYXdM",
            "S: +OK v=rmF9pqV8S7suAoZWja4dJRkFsKQ= " + "x" * 70_000,
        )
        assert b"rmF9pqV8" not in lines(records)

    def test_p09_the_last_message_is_hidden_behind_an_auth_that_was_not_understood(self) -> None:
        records = said(
            "S: +OK ready",
            b"C: \x0bAUTH SCRAM-SHA-1 biwsbj11c2VyLHI9ZnlrbytkMmxi\r\n",
            "S: + cj1meWtvK2QybGJiZmdPTlJ2OXFreGRhd0wz",
            "C: Yz1iaXdzLHI9ZnlrbytkMmxiYmZnT05Sdg==",
            "S: +OK v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        )
        assert b"rmF9pqV8" not in lines(records)


class TestTwins:
    @pytest.mark.parametrize("password", ["joejoe1", "OEJOE1", "examplE"])
    @pytest.mark.parametrize("mask_users", [False, True])
    def test_p02_a_password_within_the_name_is_not_told_by_gaps(
        self, password: str, mask_users: bool
    ) -> None:
        policy = Policy(mask_users=mask_users, pseudonym_key=b"k" * 32)

        def session(secret: str) -> bytes:
            plain = base64.b64encode(b"\0joejoe1@example.org\0" + secret.encode()).decode()
            return lines(
                [
                    *said(
                        "S: +OK ready",
                        "C: USER joejoe1@example.org",
                        "S: +OK",
                        f"C: PASS {secret}",
                        "S: +OK joejoe1@example.org has 2 messages",
                        policy=policy,
                    ),
                    *said("S: +OK ready", f"C: AUTH PLAIN {plain}", "S: +OK", policy=policy),
                    *said(
                        "S: +OK", "C: AUTH PLAIN", "S: +", f"C: {plain}", "S: +OK", policy=policy
                    ),
                ]
            )

        assert session(password) == session("q7-zk~3"[: len(password)])

    def test_p02_a_password_within_any_name_that_was_shown_is_not_told_by_gaps(self) -> None:
        def session(secret: str) -> bytes:
            return lines(
                said(
                    *("S: +OK ready", "C: USER joejoe1@example.org", "S: +OK joejoe1"),
                    *("C: USER ada@example.org", "S: +OK", f"C: PASS {secret}"),
                    "S: +OK joejoe1@example.org was here",
                )
            )

        assert session("joejoe1") == session("q7-zk~3")

    def test_p12_each_of_several_names_keeps_its_pseudonym(self) -> None:
        policy = Policy(mask_users=True, pseudonym_key=b"k" * 32)
        users = ("joe@example.org", "ada@example.org", "joe@example.org")
        said_lines = [line for user in users for line in (f"C: USER {user}", f"S: -ERR {user}")]
        told = wire(said("S: +OK", *said_lines, policy=policy), "client").splitlines()
        assert policy.pseudonyms is not None
        assert told == [b"USER " + policy.pseudonyms.of(user.encode()).encode() for user in users]

    def test_p12_the_name_of_an_initial_response_is_hidden_later(self) -> None:
        plain = base64.b64encode(b"\0joejoe1\0hunter22").decode()
        records = said(
            "S: +OK ready",
            f"C: AUTH PLAIN {plain}",
            "S: +OK",
            "C: STAT",
            "S: +OK 2 320 joejoe1",
            policy=Policy(mask_users=True),
        )
        assert b"joejoe1" not in lines(records)

    @pytest.mark.parametrize("secret", ["password1", "my-passwords", "Username7"])
    def test_p02_the_word_password_in_an_answer_is_no_piece_of_a_secret(self, secret: str) -> None:
        records = said(*LOGIN, f"C: PASS {secret}", "S: -ERR wrong username or password")
        assert wire(records, "server").endswith(b"-ERR wrong username or password\r\n")

    def test_p03_how_much_of_a_word_is_masked_does_not_depend_on_the_length(self) -> None:
        def answer(secret: str) -> bytes:
            return wire(said(*LOGIN, f"C: PASS {secret}", f'S: -ERR bad "{secret}"!'), "server")

        assert answer("hunter2") == answer("hunter22") == answer("correct-horse-battery-staple")

    def test_p02_what_is_odd_in_a_second_answer_is_not_told(self) -> None:
        def session(secret: bytes) -> bytes:
            pass_, echo = b"C: PASS " + secret + b"\r\n", b"S: -ERR " + secret + b"\r\n"
            return lines(said("S: +OK ready", pass_, "S: -ERR no", echo))

        assert session(b"ab\x00cd\ref") == session(b"hunter22")


class TestFigures:
    @pytest.mark.parametrize("gap", [10, 500, 900])
    def test_p03_where_a_flushed_record_ends_does_not_depend_on_a_length(self, gap: int) -> None:
        def sizes(secret: str) -> list[int]:
            session, made = Session(), recorder()
            text = "a" * 3_000 + f"\r\n{secret}\r\n" + "b" * gap
            for side, data in turns(
                *LOGIN, f"C: PASS {secret}", "S: +OK", "C: RETR 1", "S: +OK", f"S: {text}"
            ):
                records = made.record(session.receive(side, data, SECOND))
            records += made.record(session.flush(2 * SECOND))
            return [len(record.wire) for record in of(records, DataRecord)]

        assert sizes("hunter22") == sizes("correct-horse-battery-staple-of-the-year")

    @pytest.mark.parametrize("line", [b"C: PASS", b"C: pass ", b"C: PASS x"])
    def test_segments_sum_to_the_line_though_it_was_cut_off(self, line: bytes) -> None:
        records = said("S: +OK ready", line)
        for record in of(records, WireRecord):
            assert sum(size for _, size in record.segments) == len(record.wire)

    def test_a_status_line_is_recorded_once_though_it_answers_the_next_command(self) -> None:
        # The content shows that the greeting's line was the answer to LIST.
        records = said(
            "S: +OK ready",
            b"C: LIST\r\n",
            b"S: 1 200\r\n.\r\n",
            policy=Policy(body="headers"),
        )
        assert wire(records, "server") == b"+OK ready\r\n.\r\n"
        for record in of(records, WireRecord):
            assert sum(size for _, size in record.segments) == len(record.wire)


class TestEchoes:
    @pytest.mark.parametrize("secret", ["abc", "abcd", "abcde"])
    @pytest.mark.parametrize("before", ["", " ", "\t", "\0"])
    def test_p04_a_short_password_is_masked_in_an_echo_of_its_line(
        self, secret: str, before: str
    ) -> None:
        records = said(*LOGIN, f"C: {before}PASS {secret}", f"S: -ERR bad command: PASS {secret}")
        assert secret.encode() not in wire(records, "server")

    def test_p04_a_password_that_is_the_name_is_masked_in_an_echo_of_its_line(self) -> None:
        def session(secret: str) -> bytes:
            return lines(
                said(
                    *("S: +OK ready", "C: USER joe.linde", "S: +OK", f"C: PASS {secret}"),
                    *(f"S: -ERR no such thing: 'PASS {secret}'?", "C: NOOP"),
                    f"S: -ERR pass {secret[:5]}",
                )
            )

        assert session("joe.linde") == session("q7-zk~3xy")

    @pytest.mark.parametrize(
        "text",
        [
            "Your password is correct horse\r\n battery staple.",
            "Your password is\r\ncorrect\r\nhorse battery\tstaple.",
        ],
    )
    def test_p04_a_pass_phrase_is_found_though_its_blanks_are_line_ends(self, text: str) -> None:
        records = said(
            "S: +OK ready",
            "C: PASS Correct Horse Battery Staple",
            "S: +OK",
            "C: RETR 1",
            "S: +OK",
            f"S: {text}",
            "S: .",
        )
        assert b"horse" not in lines(records)
        assert one(of(records, DataRecord)[1:], DataRecord).raw is not None
        assert of(records, ResponseRecord)[-1].masked == ["pop3.message"]

    @pytest.mark.parametrize("text", ["a&amp;b&lt;c&gt;d&quot;e", 'a&amp;b&lt;c&gt;d"e'])
    def test_p04_a_password_is_found_in_html(self, text: str) -> None:
        records = said(
            "S: +OK ready",
            'C: PASS a&b<c>d"e',
            "S: +OK",
            "C: RETR 1",
            "S: +OK",
            f"S: <p>{text}</p>",
            "S: .",
        )
        assert wire(records, "server").endswith(b"<p>********</p>\r\n.\r\n")

    @pytest.mark.parametrize(
        ("password", "text"),
        [
            ('hun"t/er\\', r"hun\"t/er\\"),
            ('hun"t/er\\', r"hun\"t\/er\\"),
            ("hunt'er", r"hunt\'er"),
            ("Jägerhut", r"j\u00e4gerhut"),
        ],
    )
    def test_p04_a_password_is_found_in_json(self, password: str, text: str) -> None:
        assert self.body_of(password, f'{{"password": "{text}"}}') == '{"password": "********"}'

    @pytest.mark.parametrize("text", ["ПАРОЛЬ9", "пароль9", "Пароль9"])
    def test_p04_a_password_is_found_in_capitals_of_any_alphabet(self, text: str) -> None:
        assert self.body_of("Пароль9", f"It is {text}.") == "It is ********."

    def test_p04_a_password_is_found_in_base64_that_a_mail_quotes(self) -> None:
        encoded = base64.b64encode(b"it is hunter22!!").decode()
        quoted = f"> {encoded[:14]}\r\n> {encoded[14:]}"
        assert self.body_of("hunter22", quoted).startswith("> aXQgaXMg********")

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("a1 LOGIN ada k7#Qz9", "no ada with ********"),
            ("LIST 1 2 k7#Qz9", "no ada with ********"),
            ("USER ada pass k7#Qz9", "no ada with ********"),
            (
                "Authorization: Basic " + base64.b64encode(b"ada:k7#Qz9").decode(),
                "no ada with ********",
            ),
            (base64.b64encode(b"\0ada\0k7#Qz9").decode(), "no ada with ********"),
        ],
    )
    def test_p04_the_last_word_of_a_hidden_line_is_looked_for(self, line: str, told: str) -> None:
        records = said("S: +OK", f"C: {line}", "S: -ERR", "C: NOOP", "S: -ERR no ada with k7#Qz9")
        assert wire(records, "server").endswith(f"-ERR {told}\r\n".encode())

    @staticmethod
    def body_of(password: str, text: str) -> str:
        records = said(
            *LOGIN, f"C: PASS {password}", "S: +OK", "C: RETR 1", f"S: +OK\r\n{text}\r\n."
        )
        return of(records, DataRecord)[-1].wire.decode().removesuffix("\r\n")


class TestCost:
    def test_p51_secrets_are_learned_and_looked_for_in_linear_time(self) -> None:
        started = time.process_time()
        learned = Learned()
        for number in range(60):
            learned.learn([base64.b64encode(number.to_bytes() * 1_500)])
        line = b"+OK " + b"abcdefgh-" * 7_000
        for _ in range(10):
            learned.find_echoes(line)
        assert time.process_time() - started < 3  # seconds; it took twenty

    def test_p04_a_piece_of_a_long_secret_is_masked_in_an_answer(self) -> None:
        secret = base64.b64encode(bytes(number * 7 % 251 for number in range(9_000))).decode()
        records = said(*LOGIN, f"C: PASS {secret}", f"S: -ERR {secret[5_000:5_017]} is unknown")
        assert wire(records, "server").endswith(b"-ERR ******** is unknown\r\n")

    def test_p51_commands_behind_held_content_cost_no_second_search(self) -> None:
        secret = base64.b64encode(bytes(number * 7 % 251 for number in range(45_000)))
        session, made = Session(), recorder()
        begun = [b"S: +OK\r\n", b"C: PASS " + secret + b"\r\n", b"S: +OK\r\n", b"C: RETR 1\r\n"]
        for side, data in turns(*begun, b"S: +OK\r\n" + secret[:-9]):
            made.record(session.receive(side, data, SECOND))
        made.record(session.flush(SECOND))
        started = time.process_time()
        for _ in range(1_000):
            made.record(session.receive(Side.CLIENT, b"NOOP\r\n", SECOND))
        assert time.process_time() - started < 1  # second; it took two and more
