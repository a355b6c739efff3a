"""The captures in samples/, made by the program from conversations of tests/conversations.

Time stands still but for a step at each segment, so that they are the same whenever they are made.
Run as a program, `uv run python -m tests.support.make_samples`, it writes them anew.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from popproxy.formats import Writer, writer_for
from popproxy.peers.script import Action
from popproxy.pop3 import Session
from popproxy.privacy import Policy, Recorder
from popproxy.records import Endpoint, Record, RoutePart
from popproxy.relay.notice import notice
from tests.support.conversations import SECRET, by_name

SAMPLES = Path(__file__).parents[2] / "samples"
STARTED = datetime(2026, 11, 22, 14, 2, 11, 107_000, tzinfo=UTC)
STEP = 1_250_000
"""Nanoseconds between two segments."""

CAPTURES = {
    "session": ("seed-conversation",),
    "oddities": (
        "auth-scram-sha-256",
        "pipelining",
        "dot-between-line-ends-of-two-kinds",
        "secret-in-a-message-in-base64",
        "charsets",
        "stls-refused",
        "eof-inside-a-body",
    ),
}
"""The conversations of each capture; each is a session of it."""


def records(conversation: str, number: int) -> list[Record]:
    """Make the records of a session.

    Args:
        conversation: The conversation's name.
        number: The session's number in its capture, from 1.
    """
    policy = Policy()
    session_id = f"20261122t140211-sam{number:04}"
    recorder = Recorder(session_id, policy, started_at=STARTED, started_ns=0)
    made = recorder.start(
        client=Endpoint(address="127.0.0.1", port=50_000 + number),
        listener=Endpoint(address="127.0.0.1", port=1110),
        server=Endpoint(address="192.0.2.1", port=110),
        route=RoutePart(
            name="sample", listen="pop3://127.0.0.1:1110", upstream="pop3://pop.example.org:110"
        ),
        notice=notice(policy),
    )
    session, at = Session(), 0
    for turn in by_name(conversation).render(SECRET):
        at += STEP
        if turn.action is Action.SEND:
            made += recorder.record(session.receive(turn.side, turn.data, at))
        elif turn.action in (Action.EOF, Action.RESET):
            made += recorder.record(session.end(turn.side, at))
    return [*made, *recorder.end(reason="server-closed", detail=None, at=at + STEP)]


def write_all(writer: Writer, made: list[Record]) -> bytes:
    """Write records with one writer."""
    return b"".join(map(writer.write, made)) + writer.end()


def samples() -> dict[str, bytes]:
    """Make all samples, by file name."""
    made: dict[str, bytes] = {}
    for name, conversations in CAPTURES.items():
        sessions = [records(each, number) for number, each in enumerate(conversations, 1)]
        together = [record for session in sessions for record in session]
        made[f"{name}.jsonl"] = write_all(writer_for("jsonl"), together)
        made[f"{name}.txt"] = write_all(writer_for("text"), together)
        if len(sessions) == 1:
            for mode in ("printable", "all"):
                writer = writer_for("putty", putty_mode=mode, tz=UTC)
                made[f"{name}.{mode}.log"] = write_all(writer, together)
    return made


if __name__ == "__main__":
    for file_name, content in samples().items():
        (SAMPLES / file_name).write_bytes(content)
