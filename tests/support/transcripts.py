"""Whole sessions in a JSON lines file: is everything there?"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from popproxy.records import MASK
from tests.support.proxy import Record, wait_for_sessions_to_end, with_action


def sessions(path: Path) -> list[list[Record]]:
    """Give each session's records, in order."""
    found: dict[str, list[Record]] = {}
    for record in wait_for_sessions_to_end(path):
        found.setdefault(record["session"]["id"], []).append(record)
    return list(found.values())


def is_complete(session: list[Record]) -> None:
    """Every command is there, with its answer and its time, and nothing else is."""
    assert [record["session"]["seq"] for record in session] == list(range(1, len(session) + 1))
    assert session[0]["event"]["action"] == "session.start"
    assert session[-1]["event"]["action"] == "session.end"
    assert with_action(session, "gap") == []
    times = [datetime.fromisoformat(record["@timestamp"]) for record in session]
    assert times == sorted(times)
    commands = {
        record["pop3"]["seq"]: record["pop3"] for record in with_action(session, "pop3.command")
    }
    responses = with_action(session, "pop3.response")
    assert sorted(record["pop3"]["command_seq"] for record in responses) == sorted(commands)
    for record in responses:
        answered = commands[record["pop3"]["command_seq"]]
        assert record["pop3"]["command"] == answered["command"]
        assert record["event"]["duration"] > 0
    summary = session[-1]["summary"]
    assert summary["commands"] == len(commands)
    assert summary.get("unmatched_responses", 0) == 0
    assert summary.get("unanswered_commands", 0) == 0
    assert commands[max(commands)]["command"] == "QUIT"
    (login,) = (
        record
        for record in with_action(session, "pop3.auth")
        if record["auth"]["outcome"] == "success"
    )
    assert login["auth"]["mechanism"]
    for record in with_action(session, "pop3.data"):
        if record["pop3"]["part"] == "sasl-response":
            assert record["raw"].strip("\r\n") in (MASK, "")


def messages(captured: list[list[Record]]) -> list[str]:
    """Give the SHA-256 of every message that a RETR brought, sorted."""
    return sorted(
        record["pop3"]["message"]["sha256"]
        for session in captured
        for record in with_action(session, "pop3.response")
        if record["pop3"].get("command") == "RETR"
    )
