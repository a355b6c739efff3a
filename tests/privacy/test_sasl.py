"""SASL responses taken apart: what is learned of them, and who logs in."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.privacy.commands import show_command
from popproxy.privacy.learned import Learned
from popproxy.privacy.logins import MAX_PENDING, Logins
from popproxy.privacy.sasl import decode, take_apart

PASSWORD = b"pa:ss,wo=rd 1"


def line(decoded: bytes) -> bytes:
    return base64.b64encode(decoded)


@pytest.mark.parametrize(
    ("mechanism", "decoded", "user", "learned"),
    [
        ("PLAIN", b"\0ada\0" + PASSWORD, b"ada", [PASSWORD]),
        ("PLAIN", b"admin\0ada\0" + PASSWORD, b"ada", [PASSWORD]),
        ("PLAIN", b"\0ada\0", b"ada", []),
        ("SCRAM-SHA-1", b"n,a=boss,n=ada,r=fyko+d2lbb", b"ada", [b"fyko+d2lbb"]),
        ("PLAIN", b"ada\0" + PASSWORD, None, [b"ada", PASSWORD]),
        ("PLAIN", b"ada\0a\0b\0" + PASSWORD, None, [b"ada", PASSWORD]),
        ("X-NEW", b"\0ada12345\0" + PASSWORD, None, [b"ada12345", PASSWORD]),
        ("LOGIN", PASSWORD, None, [PASSWORD]),
        ("LOGIN", b"user=fred12", None, [b"user=fred12"]),
        ("EXTERNAL", b"ada@example.org", None, [b"ada@example.org"]),
        (
            "XOAUTH2",
            b"user=ada@example.org\x01auth=Bearer ya29.token\x01\x01",
            b"ada@example.org",
            [b"ya29.token"],
        ),
        (
            "OAUTHBEARER",
            b"n,a=ada,\x01host=pop.example.org\x01port=110\x01auth=Bearer ya29.tok,en\x01\x01",
            b"ada",
            [b"ya29.tok,en"],
        ),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer ya29.token\x01\x01", None, [b"ya29.token"]),
        ("SCRAM-SHA-1", b"n,,n=ada,r=fyko+d2lbbFgONRv9qkx", b"ada", [b"fyko+d2lbbFgONRv9qkx"]),
        ("SCRAM-SHA-1", b"y,a=x,n=ada,r=fyko+d2lbb", b"ada", [b"fyko+d2lbb"]),
        ("SCRAM-SHA-1", b"c=biws,r=rOprNGfwEb,p=dHzbZapW", None, [b"rOprNGfwEb", b"dHzbZapW"]),
        (
            "CRAM-MD5",
            b"ada b913a602c7eda7a495b4e6e7334d3890",
            b"ada",
            [b"b913a602c7eda7a495b4e6e7334d3890"],
        ),
        (
            "X-CRAM",
            b"ada b913a602c7eda7a495b4e6e7334d3890",
            None,
            [b"b913a602c7eda7a495b4e6e7334d3890"],
        ),
        (
            "DIGEST-MD5",
            b'username="chris",realm="elwood",nonce="OA6MG9tE",nc=00000001,cnonce="OA6MHXh6"'
            b',digest-uri="imap/elwood",response=d388dad90d4bbd76,qop=auth',
            b"chris",
            [b"OA6MG9tE", b"OA6MHXh6", b"d388dad90d4bbd76"],
        ),
        ("DIGEST-MD5", rb'nonce="x",username="a\"d\\a",nc=1', rb'a"d\a', [b"x"]),
        ("DIGEST-MD5", b'xusername="eve",username=""', None, []),
    ],
)
def test_p04_p09_responses_are_taken_apart(
    mechanism: str, decoded: bytes, user: bytes | None, learned: list[bytes]
) -> None:
    parts = take_apart(mechanism, line(decoded))
    assert parts.user == user
    assert line(decoded) in parts.secrets
    assert [secret for secret in learned if secret not in parts.secrets] == []
    public = {
        b"ada",
        b"admin",
        b"n,a=boss",
        b"a=boss",
        b"boss",
        b"chris",
        b"elwood",
        b"pop.example.org",
        b"110",
        b"auth",
    } - set(learned)
    assert public.isdisjoint(parts.secrets)


def test_a_binary_response_is_learned_as_a_whole() -> None:
    ticket = b"NTLMSSP\0" + b"a\0b\0c\0d\0e\0f\0g\0" * 3 + b"something"
    parts = take_apart("NTLM", line(ticket))
    assert ticket in parts.secrets
    assert b"something" not in parts.secrets


@pytest.mark.parametrize("response", [b"", b"*", b"=", b"  ", b" = "])
def test_a_response_without_content_teaches_nothing(response: bytes) -> None:
    secrets = Learned()
    secrets.learn(take_apart("PLAIN", response).secrets)
    assert not secrets.active


def test_what_is_no_base64_is_learned_as_it_is() -> None:
    parts = take_apart("PLAIN", b"se!cret not=base64")
    assert {b"se!cret not=base64", b"se!cret", b"not=base64"} <= set(parts.secrets)


@pytest.mark.parametrize("before", [b"=", b"*", b"= *"])
def test_what_stands_behind_an_empty_response_is_learned(before: bytes) -> None:
    parts = take_apart("PLAIN", before + b" " + line(b"\0ada\0" + PASSWORD))
    assert PASSWORD in parts.secrets
    assert parts.user == b"ada"


def test_p09_what_follows_an_initial_response_is_no_name_whatever_the_prompt_says() -> None:
    logins = Logins()
    logins.command(1, show_command(b"AUTH LOGIN " + line(b"ada12345") + b"\r\n"))
    login = logins.exchanging(1)
    login.challenged(b"+ " + line(b"Username:"))
    assert PASSWORD in login.responded(line(PASSWORD))
    assert login.user is None


def test_p09_login_names_the_user_only_where_the_server_asks_for_one() -> None:
    name = line(b"ada")
    for prompt in (b"Username:", b"User Name\0", b"username"):
        parts = take_apart("LOGIN", name, prompt)
        assert parts == ([], b"ada")
    for no_prompt in (None, b"", b"Password:", b"Password for user ada:", b"Name:"):
        parts = take_apart("LOGIN", name, no_prompt)
        assert parts.user is None
        assert b"ada" in parts.secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"AGFkYQ==", b"\0ada"),
        (b"AGFkYQ", b"\0ada"),
        (b"_-8=", b"\xff\xef"),
        (b"AGFkYQA", b"\0ada\0"),
        (b"AGFkY", b"\0ad"),
        (b"A", b""),
        (b"no base64", None),
        (b"=", None),
        (b"", None),
        (b"AGFk====", None),
    ],
)
def test_base64_is_undone_in_either_alphabet(text: bytes, expected: bytes | None) -> None:
    assert decode(text) == expected


@given(st.text(max_size=12), st.binary(max_size=200), st.none() | st.binary(max_size=20))
def test_p73_any_response_is_taken_apart(mechanism: str, text: bytes, prompt: bytes | None) -> None:
    take_apart(mechanism, text, prompt)
    take_apart("PLAIN", line(text), prompt)
    take_apart("SCRAM-SHA-1", line(b"n,," + text), prompt)
    take_apart("DIGEST-MD5", line(b"a=" + text), prompt)


def test_p04_a_response_in_two_lines_is_learned_whole_up_to_a_bound() -> None:
    whole = line(b"\0ada\0" + PASSWORD)
    logins = Logins()
    logins.command(1, show_command(b"AUTH PLAIN\r\n"))
    login = logins.exchanging(1)
    login.challenged(b"+ ")
    assert PASSWORD not in login.responded(whole[:11])
    assert PASSWORD in login.responded(whole[11:])
    assert PASSWORD not in login.responded(b"")
    login.challenged(b"+ ")
    login.responded(b"A" * 4_096)
    assert PASSWORD not in login.responded(whole[:11])
    assert PASSWORD not in login.responded(whole[11:])


def test_p09_the_second_prompt_of_login_shows_nothing_whatever_it_says() -> None:
    logins = Logins()
    logins.command(1, show_command(b"AUTH LOGIN\r\n"))
    login = logins.exchanging(1)
    login.challenged(b"+ " + line(b"Username:"))
    assert login.responded(line(b"ada")) == []
    login.challenged(b"+ " + line(b"Username:"))
    assert PASSWORD in login.responded(line(PASSWORD))
    assert login.user == b"ada"
    assert login.rounds == 2


def test_logins_that_wait_are_bounded() -> None:
    logins = Logins()
    for seq in range(1, MAX_PENDING + 10):
        logins.command(seq, show_command(b"PASS secret\r\n"))
    assert logins.settle(MAX_PENDING) is not None
    assert logins.settle(MAX_PENDING + 1) is None
    assert logins.settle(None) is None
    full = Logins()
    for seq in range(1, MAX_PENDING + 1):
        full.command(seq, show_command(b"PASS secret\r\n"))
    assert full.exchanging(9_999).mechanism == "********"
    assert full.settle(9_999) is None


def test_an_exchange_may_go_on_behind_what_looked_like_its_end() -> None:
    logins = Logins()
    logins.command(1, show_command(b"AUTH NTLM\r\n"))
    ended = logins.settle(1)
    assert ended is not None
    assert logins.exchange is None
    assert logins.exchanging(1) is ended
    assert logins.settle(1) is ended
    assert logins.exchanging(None).mechanism == "********"
    assert repr(logins) == "<Logins>"
    assert repr(ended) == "<Login>"
