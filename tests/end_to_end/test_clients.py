"""Real mail clients against Dovecot: what they fetch through popproxy is what they fetch directly.

The captures of the same sessions are held against what each client said and fetched, and every
output is searched for the password.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from popproxy.formats import jsonl
from popproxy.records import MASK, DataRecord
from tests.support.clients import WAYS, Account, Way, python_poplib, uncut
from tests.support.dovecot import Dovecot
from tests.support.leaks import PASSWORD, leaks
from tests.support.mails import MAILS, PASSWORD_INSIDE, digests
from tests.support.programs import needs
from tests.support.proxy import Proxy, with_action
from tests.support.transcripts import is_complete, messages, sessions

EVERY_OUTPUT = ("--jsonl", "out/log.jsonl", "--putty", "out/&S.log", "--text", "out/log.txt")


def _id(way: Way) -> str:
    return f"{way.name} {way.mechanism}".strip().replace(" ", "-").lower()


def _proxy(tmp_path: Path, dovecot: Dovecot) -> Proxy:
    return Proxy(tmp_path / "proxy", dovecot.port, *EVERY_OUTPUT)


def _log(proxy: Proxy) -> Path:
    return proxy.home / "out" / "log.jsonl"


def _account(tmp_path: Path, dovecot: Dovecot, user: str, name: str, mechanism: str) -> Account:
    home = tmp_path / name
    home.mkdir()
    return Account(host=dovecot.host, port=dovecot.port, user=user, home=home, mechanism=mechanism)


def test_what_fetchmail_cuts_is_joined_whatever_octet_it_leaves() -> None:
    for octet in range(256):
        left_over = bytes([octet]).replace(b"\r", b"")  # fetchmail takes a CR away
        assert uncut(b"head\n\nlong\0" + left_over + b"\nline\nend\n") == b"head\n\nlongline\nend\n"


@needs("dovecot")
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, id=_id(way), marks=[needs(way.program)] if way.program else [])
        for way in WAYS
    ],
)
def test_a_client_fetches_the_same_through_popproxy_as_directly(
    way: Way, dovecot: Dovecot, tmp_path: Path
) -> None:
    user = dovecot.user(MAILS)
    direct = _account(tmp_path, dovecot, user, "direct", way.mechanism)
    directly = way.client(direct)
    expected = digests(mail.content for mail in MAILS)
    assert digests(directly.messages) == expected

    with _proxy(tmp_path, dovecot) as proxy:
        (tmp_path / "through").mkdir()
        through = way.client(replace(direct, port=proxy.port, home=tmp_path / "through"))
        assert digests(through.messages) == expected
        assert proxy.stop() == 0
    captured = sessions(_log(proxy))
    assert captured
    for session in captured:
        is_complete(session)
    assert messages(captured) == sorted(mail.sha256 for mail in MAILS)
    assert leaks(proxy.outputs()) == []


@needs("dovecot")
def test_the_capture_holds_every_message_as_the_server_sent_it(
    dovecot: Dovecot, tmp_path: Path
) -> None:
    user = dovecot.user(MAILS)
    with _proxy(tmp_path, dovecot) as proxy:
        account = _account(tmp_path, dovecot, user, "poplib", "")
        python_poplib(replace(account, port=proxy.port))
        assert proxy.stop() == 0
    (session,) = sessions(_log(proxy))
    retrieved = [
        record["pop3"]
        for record in with_action(session, "pop3.response")
        if record["pop3"].get("command") == "RETR"
    ]
    assert len(retrieved) == len(MAILS)
    content: dict[int, bytes] = defaultdict(bytes)
    for record in jsonl.read(_log(proxy).read_bytes().splitlines(keepends=True)):
        if isinstance(record, DataRecord) and record.pop3.part == "content":
            assert record.pop3.command_seq
            content[record.pop3.command_seq] += record.wire
    for number, (pop3, mail) in enumerate(zip(retrieved, MAILS, strict=True), start=1):
        message = pop3["message"]
        assert message["number"] == number
        assert message["sha256"] == mail.sha256
        assert message["octets"] == message["octets_announced"] == len(mail.content)
        assert message["message_id"] == f"<{mail.name.replace(' ', '-')}@example.org>"
        assert message["subject"] == mail.name
        stuffed = content[pop3["command_seq"]]
        lines = [line.removeprefix(b".") for line in stuffed.split(b"\r\n")]
        assert hashlib.sha256(b"\r\n".join(lines)).hexdigest() == mail.sha256


@needs("dovecot")
def test_p04_the_password_in_a_body_reaches_the_client_and_no_output(
    dovecot: Dovecot, tmp_path: Path
) -> None:
    user = dovecot.user([PASSWORD_INSIDE])
    with _proxy(tmp_path, dovecot) as proxy:
        account = _account(tmp_path, dovecot, user, "poplib", "")
        fetched = python_poplib(replace(account, port=proxy.port))
        assert fetched.messages == [PASSWORD_INSIDE.content]
        assert proxy.stop() == 0
    assert leaks(proxy.outputs()) == []
    (session,) = sessions(_log(proxy))
    (told,) = messages([session])
    assert told != PASSWORD_INSIDE.sha256, "the digest of the unmasked message tells the password"
    text = (proxy.home / "out" / "log.txt").read_text()
    assert text.count(f"Your new password is {MASK}") == 1
    assert text.count(f"In capitals: {MASK}") == 1


@needs("dovecot", "curl")
def test_p10_a_refused_login_leaks_nothing(dovecot: Dovecot, tmp_path: Path) -> None:
    user = dovecot.user(MAILS)
    wrong = PASSWORD[::-1] + "!"
    with _proxy(tmp_path, dovecot) as proxy:
        for way in WAYS:
            if way.name in ("curl", "poplib"):
                name = f"{way.name}{way.mechanism}"
                account = _account(tmp_path, dovecot, user, name, way.mechanism)
                with pytest.raises(Exception, match=r"denied|failed"):
                    way.client(replace(account, port=proxy.port, password=wrong))
        # curl cancels DIGEST-MD5 with Dovecot, directly too.
        account = _account(tmp_path, dovecot, user, "cancelled", "DIGEST-MD5")
        with pytest.raises(AssertionError, match="Authentication cancelled"):
            WAYS[0].client(replace(account, port=proxy.port))
        assert proxy.stop() == 0
    assert leaks(proxy.outputs()) == []
    assert leaks(proxy.outputs(), wrong) == []
    outcomes = {
        record["auth"]["outcome"]
        for session in sessions(_log(proxy))
        for record in with_action(session, "pop3.auth")
    }
    assert outcomes == {"failure"}
