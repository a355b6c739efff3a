"""Every conversation, as the recorder tells it, through every format."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from popproxy.formats import TextWriter, jsonl, restore, text
from popproxy.formats.putty import PuttyMode, PuttyWriter
from popproxy.peers.script import Action, Conversation, Turn
from popproxy.pop3 import Session, Side
from popproxy.privacy import Policy, Recorder
from popproxy.records import Endpoint, Record, RoutePart, WireRecord
from tests.support.capture import STARTED
from tests.support.conversations import SECRET, by_name, every_conversation
from tests.support.records import HARMFUL


def capture(turns: Iterable[Turn]) -> list[Record]:
    """Record a conversation; each turn takes 1.234567 ms."""
    here = Endpoint(address="127.0.0.1", port=1110)
    recorder = Recorder("20251122t223746-k3fa", Policy(), started_at=STARTED, started_ns=0)
    session, now = Session(), 0
    route = RoutePart(name="default", listen="pop3://127.0.0.1", upstream="pop3://127.0.0.2")
    told = recorder.start(client=here, listener=here, server=here, route=route, notice="Recorded.")
    for turn in turns:
        now += 1_234_567
        if turn.action is Action.SEND:
            told += recorder.record(session.receive(turn.side, turn.data, now))
        if session.waiting_for_tls:
            told += recorder.record(session.tls_declined(now))
    for side in Side:
        told += recorder.record(session.end(side, now))
    return told + recorder.end(reason="client-closed", detail=None, at=now)


@every_conversation
def test_it_comes_back_from_json_lines_and_from_the_transcript(conversation: Conversation) -> None:
    records = capture(conversation.render(SECRET))
    for writer, read in ((jsonl.JsonLinesWriter(), jsonl.read), (TextWriter(), text.read)):
        file = b"".join(map(writer.write, records)) + writer.end()
        assert list(read(file.splitlines(keepends=True))) == records
        assert not set(file.decode().replace("\n", "")) & set(HARMFUL)


@every_conversation
def test_its_putty_log_is_what_was_said(conversation: Conversation) -> None:
    records = capture(conversation.render(SECRET))
    said = b"".join(record.wire for record in records if isinstance(record, WireRecord))
    logs: dict[PuttyMode, bytes] = {}
    modes: tuple[PuttyMode, PuttyMode] = ("printable", "all")
    for mode in modes:
        writer = PuttyWriter(mode, UTC)
        log = b"".join(map(writer.write, records)) + writer.end()
        logs[mode] = log.partition(b"\r\n")[2]
    assert logs["all"] == said
    assert restore(logs["printable"].decode()) == said
    assert not set(logs["printable"].decode().replace("\r\n", "").replace("\n", "")) & set(HARMFUL)


def test_the_seed_conversation_is_logged_line_by_line() -> None:
    turns = by_name("seed-conversation").render(SECRET)
    spoken = b"".join(turn.data for turn in turns if turn.action is Action.SEND)
    modes: tuple[PuttyMode, PuttyMode] = ("printable", "all")
    for mode in modes:
        writer = PuttyWriter(mode, UTC)
        log = b"".join(map(writer.write, capture(turns))) + writer.end()
        lines = log.split(b"\r\n")
        assert lines[0].startswith(b"=~=~=~=~=~=~=~=~=~=~=~= PuTTY log 2025.11.22 22:37:46 =~=~")
        assert lines[1:] == spoken.replace(SECRET, b"********").split(b"\r\n")


def test_the_transcript_of_an_ordinary_session_has_few_notes() -> None:
    told = capture(by_name("ordinary-session").render(SECRET))
    file = b"".join(map(TextWriter().write, told)).decode()
    notes = [line.strip() for line in file.splitlines() if line.startswith(" " * 27 + "#")]
    for note in notes:
        kind = note.split()[1]
        assert kind in ("pop3.data", "pop3.response")
        if kind == "pop3.data":
            assert "part=" not in note
            assert "raw" not in note
        else:
            assert " lines=" in note  # only where a multi-line response ends
            assert "listing" not in note
