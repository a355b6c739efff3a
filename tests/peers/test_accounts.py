from __future__ import annotations

import hashlib

import pytest

from popproxy.peers.accounts import Accounts, split_plain
from popproxy.peers.maildrop import MemoryMaildrop

DROP = MemoryMaildrop()
STRICT = Accounts(lambda _user: DROP, {"ada": "canary-käfig", "eve": ""})
ANY = Accounts(lambda user: DROP if user == "ada" else None)
STAMP = b"<1.2@example.org>"


def digest(password: bytes, stamp: bytes = STAMP) -> bytes:
    return hashlib.md5(stamp + password, usedforsecurity=False).hexdigest().encode()


@pytest.mark.parametrize(
    ("user", "password", "right"),
    [
        (b"ada", "canary-käfig".encode(), True),
        (b"ada", b"canary", False),
        (b"ada", b"", False),
        (b"eve", b"", True),
        (b"bob", b"", False),
        (b"", b"", False),
        (b"\xff", b"canary", False),
    ],
)
def test_passwords(user: bytes, password: bytes, right: bool) -> None:
    assert (STRICT.by_password(user, password) is DROP) is right


@pytest.mark.parametrize(
    ("user", "sent", "right"),
    [
        (b"ada", digest("canary-käfig".encode()), True),
        (b"ada", digest("canary-käfig".encode()).upper(), True),
        (b"ada", digest("canary-käfig".encode(), b"<2.2@example.org>"), False),
        (b"bob", digest(b""), False),
        (b"ada", b"", False),
        (b"ada", b"00", False),
        (b"ada", b"x" * 32, False),
    ],
)
def test_digests(user: bytes, sent: bytes, right: bool) -> None:
    assert (STRICT.by_digest(user, sent, STAMP) is DROP) is right


def test_without_passwords_any_is_taken_and_the_notice_says_so() -> None:
    assert ANY.by_password(b"ada", b"whatever") is DROP
    assert ANY.by_digest(b"ada", b"0" * 32, STAMP) is DROP
    assert ANY.by_digest(b"ada", b"0" * 31, STAMP) is None
    assert ANY.by_password(b"bob", b"whatever") is None
    assert "any password" in ANY.notice
    assert "2 users" in STRICT.notice
    assert "1 user may" in Accounts(lambda _user: DROP, {"ada": "canary"}).notice


def test_p13_accounts_show_no_password() -> None:
    assert "canary" not in repr(STRICT) + STRICT.notice


def test_a_password_that_is_not_utf_8_comes_as_the_command_line_gives_it() -> None:
    accounts = Accounts(
        lambda _user: DROP, {"ada": b"caf\xe9-canary".decode(errors="surrogateescape")}
    )
    assert accounts.by_password(b"ada", b"caf\xe9-canary") is DROP


@pytest.mark.parametrize(
    ("message", "credentials"),
    [
        (b"\0ada\0pass\xff word", (b"ada", b"pass\xff word")),
        (b"ada\0ada\0pass", (b"ada", b"pass")),
        (b"bob\0ada\0pass", None),
        (b"\0ada\0", None),
        (b"\0ada", None),
        (b"", None),
        (b"\0ada\0pa\0ss", None),
    ],
)
def test_plain_messages(message: bytes, credentials: tuple[bytes, bytes] | None) -> None:
    assert split_plain(message) == credentials
