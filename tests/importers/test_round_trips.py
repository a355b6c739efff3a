"""What popproxy wrote is read back: pcapng as it was, and a PuTTY log with its sides guessed."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import sys
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.formats import PcapngWriter, PuttyWriter
from popproxy.importers import LogError, read
from popproxy.importers.pcap import read_pcap
from popproxy.importers.source import Missing, Piece
from popproxy.peers.script import Conversation
from popproxy.pop3 import Side
from popproxy.records import GapRecord, Record, SessionEnd, SessionStart, WireRecord
from tests.support.conversations import every_conversation, load_all
from tests.support.make_samples import records as records_of
from tests.support.recording import of, wire


def sides(records: list[Record]) -> list[tuple[str, bytes]]:
    """Lines with their side, in the order in which they were said."""
    lines: list[tuple[str, bytes]] = []
    for record in of(records, WireRecord):
        lines += [(record.side, line) for line in record.wire.splitlines()]
    return lines


def by_putty(records: list[Record]) -> list[Record]:
    writer = PuttyWriter("all")
    log = b"".join(map(writer.write, records)) + writer.end()
    return list(read(io.BytesIO(log), "putty"))


_MASKED = "what would tell the sides apart is masked in the log that is read here"
_PIPELINED = "a command in the middle of a list is taken for a line of it"
_UNASKED = "a line that nobody expects, and nothing tells whose it is"
_NO_END = "a line without an end runs into the next"
_LOOKS = "a peer's line that is a header of PuTTY's begins another session"
_AGAIN = "read again, a mask stands for more than it did"

OTHERWISE = {
    "auth-ntlm-answered-by-ok": _MASKED,
    "auth-response-crosses-the-error": _MASKED,
    "auth-retried-many-times": _MASKED,
    "auth-xoauth2-refused-with-json": _AGAIN,
    "dot-between-line-ends-of-two-kinds": _UNASKED,
    "dot-is-missing": _PIPELINED,
    "empty-and-odd-commands": _UNASKED,
    "eof-inside-a-body": _NO_END,
    "every-kind-of-record": _MASKED,
    "greeting-of-several-lines": _UNASKED,
    "help": _AGAIN,
    "http-get": _MASKED,
    "http-post-and-connect": _MASKED,
    "lf-of-the-client-is-not-answered": _UNASKED,
    "login-of-another-protocol": _AGAIN,
    "pass-echoed-by-the-server": _NO_END,
    "pass-split-by-lf": _MASKED,
    "pass-without-a-line-end": _NO_END,
    "proxy-protocol-header": _AGAIN,
    "proxy-protocol-header-in-binary": _MASKED,
    "putty-header-look-alikes": _LOOKS,
    "reset-behind-quit": _MASKED,
    "reset-inside-a-list": _PIPELINED,
    "unknown-line-without-a-line-end": _MASKED,
    "xtnd-xmit": _MASKED,
}
"""Conversations of which a log without marks, masked at that, cannot be told right, and why."""


@every_conversation
def test_a_log_without_marks_is_told_right(conversation: Conversation) -> None:
    records = records_of(conversation.name, 1)
    guessed, true = sides(by_putty(records)), sides(records)
    if conversation.name in OTHERWISE:
        assert guessed != true, "this is no exception any more"
    else:
        assert guessed == true


def test_few_lines_of_nasty_conversations_are_on_the_wrong_side() -> None:
    wrong = lines = 0
    for conversation in load_all():
        records = records_of(conversation.name, 1)
        guessed, true = sides(by_putty(records)), sides(records)
        lines += len(true)
        wrong += sum(1 for one, other in zip(guessed, true, strict=False) if one != other)
    assert lines > 4_000
    assert wrong < lines * 0.08


def by_pcapng(records: list[Record]) -> bytes:
    writer = PcapngWriter()
    return b"".join(map(writer.write, records)) + writer.end()


@every_conversation
def test_pcapng_is_read_back_octet_for_octet(conversation: Conversation) -> None:
    records = records_of(conversation.name, 1)
    again = list(read(io.BytesIO(by_pcapng(records)), "pcap"))
    said = int(any(record.wire for record in of(records, WireRecord)))
    assert len(of(again, SessionStart)) == len(of(again, SessionEnd)) == said
    # What is masked may be masked once more when it is read; TLS that was passed is counted only.
    plain = not any(record.masked for record in of(records, WireRecord))
    if plain and not conversation.name.startswith("tls-"):
        assert sides(again) == sides(records)


def as_pcap(segments: list[tuple[int, bool, bytes, int]], snap: int = 65_535) -> bytes:
    """A pcap file of segments: sequence number, whether the client's, octets, flags."""
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, 101)
    for at, (sequence, client, data, flags) in enumerate(segments):
        ends = [bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])]
        ports = [40_000, 110]
        if not client:
            ends.reverse()
            ports.reverse()
        tcp = struct.pack("!HHIIBBHHH", *ports, sequence % 2**32, 0, 5 << 4, flags, 0, 0, 0) + data
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + ends[0] + ends[1]
        packet = (ip + tcp)[:snap]
        file += struct.pack("<IIII", at, 0, len(packet), len(ip + tcp)) + packet
    return file


CLIENT, SERVER = b"USER ada\r\nNOOP\r\nQUIT\r\n", b"+OK ready\r\n+OK\r\n+OK\r\n+OK bye\r\n"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.randoms(use_true_random=False))
def test_tcp_is_put_together_whatever_the_network_did(
    first: int, size: int, rng: random.Random
) -> None:
    """Cut anywhere, sent twice, overlapping, out of order, with numbers that run over."""
    segments = []
    for client, said in ((True, CLIENT), (False, SERVER)):
        for start in range(0, len(said), size):
            overlap = rng.randint(0, min(start, 3))
            data = said[start - overlap : start + size]
            segments.append((first + 1 + start - overlap, client, data, 0x18))
            if rng.random() < 0.3:
                segments.append(segments[-1])
    body = segments[:]
    rng.shuffle(body)
    opened = [(first, True, b"", 0x02), (first, False, b"", 0x12)]
    items = list(read_pcap(io.BytesIO(as_pcap([*opened, *body])), None))
    pieces = [item for item in items if isinstance(item, Piece)]
    for side, whole in ((Side.CLIENT, CLIENT), (Side.SERVER, SERVER)):
        assert b"".join(piece.data for piece in pieces if piece.side is side) == whole
    assert not any(isinstance(item, Missing) for item in items)


def test_octets_that_are_not_in_the_capture_are_a_gap() -> None:
    opened = [(0, True, b"", 0x02), (0, False, b"", 0x12)]
    lost = [(1, False, b"+OK ready\r\n", 0x18), (21, False, b"+OK bye\r\n", 0x18)]
    records = list(read(io.BytesIO(as_pcap([*opened, *lost])), "pcap"))
    assert [gap.gap.reason for gap in of(records, GapRecord)] == [
        "9 octets of the server are not in the capture"
    ]
    assert wire(records, "server") == b"+OK ready\r\n+OK bye\r\n"
    cut = as_pcap([*opened, (1, False, b"+OK " + b"x" * 100, 0x18)], snap=60)
    records = list(read(io.BytesIO(cut), "pcap"))
    assert [gap.gap.reason for gap in of(records, GapRecord)] == [
        "84 octets of the server are not in the capture"
    ]


def test_other_ports_count_if_the_server_greets() -> None:
    file = as_pcap([(1, False, b"+OK ready\r\n", 0x18)]).replace(
        struct.pack("!HH", 110, 40_000), struct.pack("!HH", 5_110, 40_000)
    )
    assert wire(list(read(io.BytesIO(file), "pcap")), "server") == b"+OK ready\r\n"
    other = file.replace(b"+OK ready", b"220 ready")
    assert list(read(io.BytesIO(other), "pcap")) == []


@pytest.mark.parametrize("size", range(0, 200, 7))
def test_a_torn_capture_gives_what_is_whole(size: int) -> None:
    file = as_pcap([(1, False, b"+OK ready\r\n", 0x18), (12, False, b"+OK\r\n", 0x18)])
    records: list[Record] = []
    with contextlib.suppress(LogError):
        records.extend(read(io.BytesIO(file[: 24 + size]), "pcap"))
    assert wire(records, "server") in (b"", b"+OK ready\r\n", b"+OK ready\r\n+OK\r\n")


def test_segments_that_never_fit_cost_linear_time() -> None:
    """Counted, not timed: how often segments that wait are looked at."""
    opened = [(0, True, b"", 0x02), (0, False, b"", 0x12)]
    looked = []
    for count in (1_000, 2_000):
        holes = [(10 + 2 * number, False, b"x", 0x18) for number in range(count)]
        calls = 0

        def count_calls(frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call") and "tcp.py" in frame.f_code.co_filename

        sys.setprofile(count_calls)
        try:
            list(read_pcap(io.BytesIO(as_pcap([*opened, *holes])), None))
        finally:
            sys.setprofile(None)
        looked.append(calls)
    assert looked[1] < looked[0] * 2.2
