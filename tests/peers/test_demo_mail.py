from __future__ import annotations

import email
import email.policy

from popproxy.peers.demo_mail import (
    DEMO_MESSAGES,
    DEMO_PASSWORD,
    DEMO_USER,
    demo_accounts,
    demo_maildrop,
)


def test_the_messages_are_sound_mail_from_reserved_domains() -> None:
    for content in DEMO_MESSAGES:
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert message.get_content_type() == "multipart/alternative"
        assert [part.defects for part in message.walk()] == [[], [], []]
        for field in ("From", "To", "Subject", "Date", "Message-ID"):
            assert message[field]
        for field in ("From", "To"):
            for address in message[field].addresses:
                assert address.domain in ("example.org", "example.com")
        texts = [message.get_body((kind,)) for kind in ("plain", "html")]
        assert all(text is not None and len(text.get_content()) > 100 for text in texts)


def test_they_hold_what_a_log_has_to_get_right() -> None:
    both = b"".join(DEMO_MESSAGES)
    assert b"\r\n." in both
    assert any(octet > 0x7F for octet in both)
    assert b"=3D" in both
    assert both.count(b"\n") == both.count(b"\r\n")
    assert max(map(len, both.split(b"\r\n"))) <= 78


def test_p04_the_password_is_a_canary() -> None:
    assert len(DEMO_PASSWORD) >= 12
    assert DEMO_PASSWORD.encode() not in b"".join(DEMO_MESSAGES)
    assert DEMO_PASSWORD not in DEMO_USER


def test_the_account_has_one_maildrop_which_is_fresh_each_time() -> None:
    accounts = demo_accounts()
    drop = accounts.by_password(DEMO_USER.encode(), DEMO_PASSWORD.encode())
    assert drop is not None
    assert accounts.by_password(DEMO_USER.encode(), DEMO_PASSWORD.encode()) is drop
    assert accounts.by_password(DEMO_USER.encode(), b"wrong") is None
    assert demo_maildrop().contents == DEMO_MESSAGES
    assert demo_maildrop() is not demo_maildrop()
