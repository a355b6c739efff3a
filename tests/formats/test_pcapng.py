"""pcapng: right in its form, complete, and cut as Wireshark's dissector wants it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.formats import pcapng
from popproxy.formats.pcapng import PcapngWriter
from popproxy.peers.script import Conversation
from popproxy.pop3 import Side
from popproxy.privacy import Policy
from popproxy.records import Endpoint, Record, SessionEnd, SessionStart, WireRecord
from tests.support import packets
from tests.support.conversations import every_conversation, load_all
from tests.support.core import Turn, turns
from tests.support.make_samples import records as records_of
from tests.support.packets import Packet
from tests.support.recording import begin, of, recorder, told, wire
from tests.support.records import HARMFUL


def written(records: list[Record]) -> bytes:
    writer = PcapngWriter()
    return b"".join(map(writer.write, records)) + writer.end()


def segments(*lines: str | bytes, cut: int = 0) -> list[Packet]:
    """The segments with octets of a conversation."""
    pieces = (lambda data: [data[i : i + cut] for i in range(0, len(data), cut)]) if cut else None
    records = told(turns(*lines), cut=pieces) if pieces else told(turns(*lines))
    return [packet for packet in packets.read(written(records)) if packet.payload]


@every_conversation
def test_every_octet_is_there_and_the_form_is_right(conversation: Conversation) -> None:
    records = records_of(conversation.name, 1)
    (connection,) = packets.connections(packets.read(written(records)))
    for side in ("client", "server"):
        assert connection.said(client=side == "client") == wire(records, side)
    assert [packet.flags for packet in connection.packets[:3]] == ["S", "SA", "A"]
    assert "F" in connection.packets[-2].flags
    assert not set("".join(packet.comment for packet in connection.packets)) & set(HARMFUL)


_LINES = st.sampled_from(
    [
        ("C", b"RETR 1\r\n"),
        ("C", b"STAT\r\n"),
        ("C", b"LIST\r\n"),
        ("S", b"+OK\r\n"),
        ("S", b"+OK 12 octets\r\n"),
        ("S", b"-ERR no\r\n"),
        ("S", b"Subject: a\r\n\r\n+OK\r\n..\r\n"),
        ("S", b".\r\n"),
        ("S", b"x" * 70_000),
        ("S", b"\n+ERR" * 3_000),
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(_LINES, max_size=12), st.integers(1, 90_000))
def test_any_conversation_in_any_cut_is_complete(lines: list[tuple[str, bytes]], size: int) -> None:
    conversation: list[Turn] = [*turns("S: +OK"), *turns(*[]), *_turns(lines)]
    size = max(size, sum(len(data) for _, data in lines) // 200)
    records = told(
        conversation, cut=lambda data: [data[i : i + size] for i in range(0, len(data), size)]
    )
    made = packets.connections(packets.read(written(records)))
    assert len(made) == 1
    for side in ("client", "server"):
        assert made[0].said(client=side == "client") == wire(records, side)


def _turns(lines: list[tuple[str, bytes]]) -> list[Turn]:
    return [(Side.CLIENT if side == "C" else Side.SERVER, data) for side, data in lines]


def test_each_command_and_each_response_has_a_segment_of_its_own() -> None:
    made = segments(
        "S: +OK", b"C: USER ada\r\nPASS secret-word\r\nSTAT\r\n", b"S: +OK\r\n+OK\r\n+OK 1 9\r\n"
    )
    assert [packet.payload for packet in made] == [
        b"+OK\r\n",
        b"USER ada\r\n",
        b"PASS ********\r\n",
        b"STAT\r\n",
        b"+OK\r\n",
        b"+OK\r\n",
        b"+OK 1 9\r\n",
    ]
    assert [packet.comment for packet in made[1:4]] == [
        "",
        *["came in one read with what is before it"] * 2,
    ]


def test_what_was_cut_is_joined() -> None:
    made = segments("S: +OK ready", "C: NOOP", "S: +OK done", cut=2)
    assert [packet.payload for packet in made] == [b"+OK ready\r\n", b"NOOP\r\n", b"+OK done\r\n"]
    assert made[1].comment == "came in 3 reads, joined here"


def test_a_list_is_one_segment_and_a_message_keeps_its_reads() -> None:
    made = segments("S: +OK", "C: LIST", "S: +OK", "S: 1 5", "S: 2 6", "S: .")
    assert made[-1].payload == b"+OK\r\n1 5\r\n2 6\r\n.\r\n"
    made = segments("S: +OK", "C: RETR 1", "S: +OK 14 octets", "S: A: b", "S: ", "S: text", "S: .")
    assert [packet.payload for packet in made[2:]] == [
        b"+OK 14 octets\r\n",
        b"A: b\r\n",
        b"\r\n",
        b"text\r\n.\r\n",  # ends with the segment that has as many octets as were announced
    ]
    times = [packet.at for packet in made[2:]]
    assert times == [times[0] + timedelta(seconds=second) for second in range(4)]


@pytest.mark.parametrize(
    ("status", "pieces"),
    [
        (b"+OK 12 octets\r\n", 3),
        (b"+OK 6 octets\r\n", 2),  # too few: all of it in the segment that reaches the number
        (b"+OK\r\n", 2),
        (b"+OK message follows\r\n", 2),
        (b"+OK 99 octets\r\n", 1),  # too many: not waited for
    ],
)
def test_a_wrong_count_does_not_cut_the_message(status: bytes, pieces: int) -> None:
    made = segments(b"S: +OK\r\n", b"C: RETR 1\r\n", b"S: " + status, "S: A: b", "S: text", "S: .")
    assert len(made) == 2 + pieces
    assert b"".join(packet.payload for packet in made[2:]) == status + b"A: b\r\ntext\r\n.\r\n"
    assert ("fewer octets than announced" in made[2].comment) == (pieces == 1)


def test_a_segment_of_a_message_does_not_begin_like_a_response() -> None:
    message = "S: text", "S: +OK forged", "S: -ERR", "S: ."
    pieces = segments("S: +OK", "C: RETR 1", "S: +OK 24", *message)[3:]
    assert len(pieces) > 2
    assert not any(packet.payload.startswith((b"+OK", b"-ERR")) for packet in pieces)
    said = b"".join(packet.payload for packet in pieces)
    assert said == b"text\r\n+OK forged\r\n-ERR\r\n.\r\n"


def test_a_pipelined_message_is_asked_for_behind_the_responses_before_it() -> None:
    message = "S: +OK 6", "S: text", "S: ."
    made = segments(
        "S: +OK",
        b"C: STAT\r\nRETR 1\r\nRETR 2\r\nNOOP\r\n",
        "S: +OK 2 9",
        *message,
        *message,
        "S: +OK",
    )
    firsts = [packet.payload.split()[0] for packet in made if packet.payload[:1] != b"t"]
    assert firsts == [b"+OK", b"STAT", b"+OK", b"RETR", b"+OK", b"RETR", b"NOOP", b"+OK", b"+OK"]
    asked = [packet for packet in made if packet.payload.startswith(b"RETR")]
    assert all("sent before the responses above" in packet.comment for packet in asked)
    assert len({packet.at for packet in asked}) == 1


def test_a_long_message_is_written_before_it_ends() -> None:
    message = b"Subject: long\r\n\r\n" + b"x" * 98 + b"\r\n" * 1
    body = message + (b"y" * 98 + b"\r\n") * 5_000
    records = told(
        turns("S: +OK", "C: RETR 1", f"S: +OK {len(body)} octets", b"S: " + body, "S: ."),
        cut=lambda data: [data[i : i + 4096] for i in range(0, len(data), 4096)],
    )
    writer, early = PcapngWriter(), b""
    for record in records[:-1]:
        early += writer.write(record)
    assert body[:300_000] in packets.connections(packets.read(early))[0].said(client=False)


def test_content_that_was_not_recorded_is_counted() -> None:
    lines = turns("S: +OK", "C: RETR 1", "S: +OK 7", "S: text", "S: .")
    made = [one for one in packets.read(written(told(lines, Policy(body="none")))) if one.payload]
    assert made[-1].payload == b"+OK 7\r\n.\r\n"
    assert "6 octets of content were not recorded" in made[-1].comment


def test_findings_and_the_ends_are_comments() -> None:
    made = recorder()
    records = [*begin(made), *told(turns("S: +OK", "C: RETR x", "S: -ERR"))]
    file = packets.read(written(records))
    assert "pop3://127.0.0.1:1110" in file[0].comment
    assert "Mail is being recorded here." in file[0].comment
    comments = [packet.comment for packet in file if "malformed-command" in packet.comment]
    assert len(comments) == 1
    assert "(RFC 1939 section 3)" in comments[0]


@pytest.mark.parametrize(
    ("client", "server", "told_as"),
    [
        ("127.0.0.1", "192.0.2.7", ("127.0.0.1", "192.0.2.7")),
        ("::1", "2001:db8::7", ("::1", "2001:db8::7")),
        ("::1", "192.0.2.7", ("::1", "::ffff:c000:207")),
        ("fe80::1%eth0", "2001:db8::7", ("fe80::1", "2001:db8::7")),
        ("unknown", "nonsense", ("192.0.2.1", "198.51.100.1")),
    ],
)
def test_addresses(client: str, server: str, told_as: tuple[str, str]) -> None:
    start = of(records_of("ordinary-session", 1), SessionStart)[0]
    start = msgspec.structs.replace(
        start,
        client=Endpoint(address=client, port=0),
        server=Endpoint(address=server, port=995),
    )
    first = packets.read(written([start]))[0]
    assert (first.source, first.destination) == told_as
    assert first.ports[1] == pcapng.PORT
    assert first.ports[0] >= 49_152


def test_sessions_are_told_apart_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "SESSIONS_MOST", 1)
    one, two = records_of("ordinary-session", 1), records_of("pipelining", 2)
    mixed = [record for pair in zip(one, two, strict=False) for record in pair]
    made = packets.connections(packets.read(written(mixed)))
    assert len({packet.ports for connection in made for packet in connection.packets}) > 2
    monkeypatch.undo()
    # The same port comes again: the second SYN begins another connection.
    again = [*one, *records_of("pipelining", 1)]
    made = packets.connections(packets.read(written(again)))
    assert [connection.said(client=True) for connection in made] == [
        wire(one, "client"),
        wire(records_of("pipelining", 1), "client"),
    ]


def test_a_file_may_begin_in_the_middle_of_a_session() -> None:
    records = records_of("ordinary-session", 1)
    for first in range(1, len(records)):
        made = packets.read(written(records[first:]))
        said = packets.connections(made)
        assert all(
            connection.said(client=False) == wire(records[first:], "server") for connection in said
        )


def test_all_conversations_in_one_file_stay_apart() -> None:
    all_records = [records_of(one.name, number) for number, one in enumerate(load_all(), 1)]
    file = written([record for records in all_records for record in records])
    made = packets.connections(packets.read(file))
    assert len(made) == len(all_records)
    assert all(isinstance(records[-1], SessionEnd) for records in all_records)
    assert any(isinstance(record, WireRecord) for record in all_records[0])
