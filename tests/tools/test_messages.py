"""Messages found by their number."""

from __future__ import annotations

import pytest

from popproxy.tools import messages
from popproxy.tools.messages import fetched
from tests.support.recording import said
from tests.support.speaking import Speaking

LOGIN = ("S: +OK ready", "C: USER ada", "S: +OK", "C: PASS secret-word", "S: +OK")
MAIL = ("S: Subject: a", "S: ", "S: ..", "S: .x", "S: .")


def test_a_message_comes_without_its_byte_stuffing() -> None:
    (found,) = fetched(said(*LOGIN, "C: RETR 2", "S: +OK", *MAIL), 2)
    assert found.content == b"Subject: a\r\n\r\n.\r\n.x\r\n"
    assert found.whole
    assert (found.command, found.status, found.lines) == ("RETR", "+OK", 4)
    assert found.about is not None
    assert found.about.subject == "a"


def test_it_comes_as_often_as_it_was_fetched() -> None:
    made = said(*LOGIN, "C: TOP 2 0", "C: RETR 1", "C: RETR 2", "S: +OK", "S: .", "S: +OK", *MAIL)
    assert [one.command for one in fetched([*made, *said("S: -ERR no such message")], 2)] == ["TOP"]
    made = said(*LOGIN, "C: RETR 2", "C: DELE 2", "C: RETR 2", "S: +OK", *MAIL, "S: +OK", "S: -ERR")
    assert [(one.command, one.status) for one in fetched(made, 2)] == [
        ("RETR", "+OK"),
        ("RETR", "-ERR"),
    ]
    assert list(fetched(made, 1)) == []


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "CONTENT_MOST", 100)
    session = Speaking().says(b"RETR 1\r\n").brings(b"+OK\r\n", b"x" * 1_000, size=10)
    (found,) = fetched(session.records, 1)
    assert len(found.content) == 100
    assert not found.whole
