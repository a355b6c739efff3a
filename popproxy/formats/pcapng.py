r"""A capture as Wireshark reads it: each session as a TCP connection to port 110.

The wire octets of records, masked as they are, stand in TCP segments, in the clear, also those
that came under TLS. A segment is a read, with its time, wherever that does not mislead Wireshark's
POP dissector, which takes each segment for itself: it reads the first line of one and no more,
takes what begins with neither `+OK` nor `-ERR` for a piece of a message, and for a message's length
it trusts the octets that the status line announced. Hence:

- a segment holds one command, or one response of one line, whole, however they came;
- so does it hold a list, from its status line to the final dot;
- the status line of a message stands by itself, if as many octets as it says do come, and the
  message ends within the last segment, which the dissector takes for its end
  (`popproxy.formats.pcapng_message`);
- a RETR or TOP that was pipelined comes behind the responses to the commands before it, since the
  dissector remembers one of them only. It keeps its time.

What is different from the wire for such a reason is said in the packet's comment, as are findings,
gaps and TLS, each at a segment without octets if there is no other. The dissector's lines of SASL
exchanges cannot be helped: it takes masked ones for commands, and challenges for pieces of a
message.

*What is held back*: a message of up to 64 KiB until it has ended; of a longer one what came last.
A command that waits for its turn. All of it is written at the session's end at the latest.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from popproxy import __version__
from popproxy.formats.escape import visible
from popproxy.formats.packets import (
    ACK,
    FIN,
    PAYLOAD_MOST,
    PSH,
    RST,
    SYN,
    packet_block,
    section,
    tcp_packet,
)
from popproxy.formats.pcapng_message import Dissector, Message, Piece
from popproxy.formats.pcapng_notes import (
    CLIENT_STAND_IN,
    SERVER_STAND_IN,
    address_of,
    both,
    comment_of,
    how_it_came,
    is_of_client,
    of_one_family,
)
from popproxy.records import (
    CommandRecord,
    DataRecord,
    GreetingRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    SessionStart,
    SideName,
    WireRecord,
)

PORT: Final = 110
"""The server's port in all packets; Wireshark takes what goes there for POP."""

SESSIONS_MOST: Final = 10_000
"""Sessions that are kept in mind; the one that was silent longest is forgotten first."""

COMMANDS_MOST: Final = 10_000
"""Commands that wait for their turn, of one session."""

_FIRST_PORT = 49_152
_MESSAGE = re.compile(rb"\s*(RETR|TOP)\b", re.IGNORECASE)
_RESET_REASONS = frozenset({"client-reset", "server-reset", "reset"})


class Waiting(NamedTuple):
    """A command that waits for its turn: what it said, when, its number, and a comment."""

    data: bytes
    at: datetime
    seq: int | None
    comment: str


class PcapngWriter:
    """Writes a capture as pcapng. Any record may come first (rotation)."""

    __slots__ = ("_begun", "_count", "_flows")

    def __init__(self) -> None:
        self._begun = False
        self._count = 0
        self._flows: dict[str, _Flow] = {}

    def write(self, record: Record) -> bytes:
        """Give the blocks that a record adds."""
        out = [] if self._begun else [section(f"popproxy {__version__}")]
        self._begun = True
        name = record.session.id
        flow = self._flows.pop(name, None)
        if flow is None:
            while len(self._flows) >= SESSIONS_MOST:
                out += self._flows.pop(next(iter(self._flows))).rest()
            flow = _Flow(record, self._count)
            self._count += 1
        out += flow.add(record)
        if not isinstance(record, SessionEnd):
            self._flows[name] = flow
        return b"".join(out)

    def end(self) -> bytes:
        """Give what was held back of sessions without an end."""
        flows, self._flows = self._flows, {}
        return b"".join(block for flow in flows.values() for block in flow.rest())


class _Flow:
    """The connection of one session."""

    __slots__ = (
        "_addresses",
        "_commands",
        "_dissector",
        "_message",
        "_port",
        "_sent",
        "_start",
        "_unanswered",
        "_updates",
        "_waiting",
    )

    def __init__(self, first: Record, number: int) -> None:
        """Begin a connection.

        Args:
            first: Its first record.
            number: How many sessions began before it, for a port if none is known.
        """
        client = server = None
        self._port = 0
        self._start: datetime | None = None
        if isinstance(first, SessionStart):
            client, self._port = address_of(first.client), first.client.port
            server = address_of(first.server or first.listener)
            self._start = first.timestamp
        self._port = self._port or _FIRST_PORT + number % (65_536 - _FIRST_PORT)
        self._addresses = of_one_family(client or CLIENT_STAND_IN, server or SERVER_STAND_IN)
        # A port that comes again is told apart by where its numbers begin.
        initial = zlib.crc32(first.session.id.encode())
        self._sent: dict[SideName, int] = {"client": initial, "server": initial ^ 0x5A5A5A5A}
        self._updates = 0
        self._dissector = Dissector()
        self._message: Message | None = None
        self._waiting: deque[Waiting] = deque()
        self._commands: dict[int, bytes] = {}  # messages asked for and not answered, by number
        self._unanswered: dict[int, None] = {}

    def add(self, record: Record) -> Iterator[bytes]:
        """Give the blocks that a record adds."""
        match record:
            case SessionStart():
                yield from self._handshake(record)
            case CommandRecord():
                yield from self._command(record)
            case ResponseRecord() if record.pop3.multi_line:
                yield from self._end_message(record)
                yield from self._answered(record.pop3.command_seq)
            case ResponseRecord():
                yield from self._line(record)
                yield from self._answered(record.pop3.command_seq)
            case DataRecord():
                yield from self._data(record)
            case GreetingRecord():
                yield from self._line(record)
            case SessionEnd():
                yield from self._finish(record)
            case _:
                if comment := comment_of(record):
                    side: SideName = "client" if is_of_client(record) else "server"
                    yield self._segment(side, b"", record.timestamp, ACK, comment)

    def rest(self) -> Iterator[bytes]:
        """Give what is held back."""
        yield from self._break_off()
        while self._waiting:
            yield self._send_command(self._waiting.popleft())

    def _break_off(self) -> Iterator[bytes]:
        """Write the message under way, though its end has not been seen."""
        message, self._message = self._message, None
        if message is not None:
            yield from self._pieces(message.end(None, 0))

    # TCP.

    def _segment(
        self, side: SideName, payload: bytes, at: datetime, flags: int, comment: str = ""
    ) -> bytes:
        other: SideName = "server" if side == "client" else "client"
        client, server = self._addresses
        ends = (client, server) if side == "client" else (server, client)
        ports = (self._port, PORT) if side == "client" else (PORT, self._port)
        numbers = (self._sent[side], self._sent[other])
        # A segment that holds nothing but a comment passes for an update of the window, and not for
        # an acknowledgment that comes twice.
        self._updates += not payload and flags == ACK
        window = 65_535 - self._updates % 1_000
        packet = tcp_packet(*ends, ports, numbers, flags, payload, window)
        self._sent[side] += len(payload) + bool(flags & (SYN | FIN))
        return packet_block(packet, at, comment)

    def _handshake(self, record: SessionStart) -> Iterator[bytes]:
        at = record.timestamp
        where = record.server
        told = f" {where.address} port {where.port}" if where is not None else ""
        comment = visible(
            f"popproxy session {record.session.id}: {record.route.listen} to"
            f" {record.route.upstream}{told}; {record.notice}"
        )
        yield self._segment("client", b"", at, SYN, comment)
        yield self._segment("server", b"", at, SYN | ACK)
        yield self._segment("client", b"", at, ACK)

    def _finish(self, record: SessionEnd) -> Iterator[bytes]:
        yield from self.rest()
        at, summary = record.timestamp, record.summary
        detail = f": {summary.detail}" if summary.detail else ""
        comment = visible(f"session end: {summary.reason}{detail}")
        side: SideName = "client" if "client" in summary.reason else "server"
        if summary.reason in _RESET_REASONS:
            yield self._segment(side, b"", at, RST | ACK, comment)
            return
        other: SideName = "server" if side == "client" else "client"
        yield self._segment(side, b"", at, FIN | ACK, comment)
        yield self._segment(other, b"", at, FIN | ACK)
        yield self._segment(side, b"", at, ACK)

    # The client's side.

    def _command(self, record: CommandRecord) -> Iterator[bytes]:
        wire = record.wire
        if not wire:
            return
        seq = record.pop3.seq
        at, comment = self._when(record), how_it_came(record)
        waiting = Waiting(wire, at, seq, comment)
        if _MESSAGE.match(wire):
            if len(self._commands) < COMMANDS_MOST:
                self._commands[seq] = wire
            if self._waiting or self._unanswered or self._message is not None:
                if len(self._waiting) >= COMMANDS_MOST:
                    yield from self.rest()
                note = "sent before the responses above, which it waits for here"
                self._waiting.append(waiting._replace(comment=both(comment, note)))
                return
        if self._waiting:
            self._waiting.append(waiting)
            return
        yield self._send_command(waiting)

    def _send_command(self, waiting: Waiting) -> bytes:
        if waiting.seq is not None and len(self._unanswered) < COMMANDS_MOST:
            self._unanswered[waiting.seq] = None
        self._dissector.request(waiting.data)
        flags = PSH | ACK
        return self._segment("client", waiting.data, waiting.at, flags, waiting.comment)

    def _answered(self, seq: int | None) -> Iterator[bytes]:
        """Note that a command was answered, and send those that waited for that."""
        if seq is None:
            return
        for number in [number for number in self._unanswered if number <= seq]:
            del self._unanswered[number]
        self._commands.pop(seq, None)
        while self._waiting and not (self._unanswered and _MESSAGE.match(self._waiting[0].data)):
            yield self._send_command(self._waiting.popleft())

    # The server's side.

    def _line(self, record: WireRecord) -> Iterator[bytes]:
        wire = record.wire
        if not wire:
            return
        yield from self._break_off()
        comment = how_it_came(record)
        for start in range(0, len(wire), PAYLOAD_MOST):
            payload = wire[start : start + PAYLOAD_MOST]
            self._dissector.response(payload)
            yield self._segment("server", payload, self._when(record), PSH | ACK, comment)
            comment = ""

    def _data(self, record: DataRecord) -> Iterator[bytes]:
        part = record.pop3.part
        if record.side == "client":
            yield from self._from_client(record)
        elif part == "status":
            yield from self._break_off()
            seq = record.pop3.command_seq
            mail = seq in self._commands if seq is not None else False
            self._message = Message(record.wire, self._when(record), self._dissector, mail=mail)
        elif part == "content" and self._message is not None:
            reads = self._reads(record)
            yield from self._pieces(self._message.add(reads, joined=record.joined))
        elif part == "opaque" and not record.wire:
            octets = f"{record.pop3.octets:,} octets" if record.pop3.octets else "traffic"
            comment = f"{octets} that popproxy did not read"
            yield self._segment("server", b"", record.timestamp, ACK, comment)
        else:
            yield from self._line(record)

    def _from_client(self, record: DataRecord) -> Iterator[bytes]:
        """Give what the client sent that is no command: part of a login, or a message."""
        wire = record.wire
        note = "part of a login, not a command" if record.pop3.part.startswith("sasl") else ""
        for start in range(0, len(wire), PAYLOAD_MOST):
            payload = wire[start : start + PAYLOAD_MOST]
            waiting = Waiting(payload, self._when(record), None, both(how_it_came(record), note))
            if self._waiting:
                self._waiting.append(waiting)
            else:
                yield self._send_command(waiting)

    def _end_message(self, record: ResponseRecord) -> Iterator[bytes]:
        message, self._message = self._message, None
        if message is None:
            yield from self._line(record)
            return
        missing = max((record.pop3.octets or 0) - message.octets, 0)
        if record.wire:
            yield from self._pieces(message.add(self._reads(record), joined=record.joined))
        yield from self._pieces(message.end(record.pop3.ending, missing))

    def _pieces(self, pieces: Iterator[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            yield self._segment("server", piece.data, piece.at, PSH | ACK, piece.comment)

    # Times.

    def _when(self, record: WireRecord) -> datetime:
        """Tell when the last read of a record came, as far as that is known."""
        if not record.segments:
            return record.timestamp
        return self._began(record) + timedelta(microseconds=record.segments[-1][0])

    def _began(self, record: WireRecord) -> datetime:
        """Tell when the session began; without its first record, by the first that has reads."""
        if self._start is None:
            self._start = record.timestamp - timedelta(microseconds=record.segments[-1][0])
        return self._start

    def _reads(self, record: WireRecord) -> list[tuple[bytes, datetime]]:
        """Cut a record's octets into the reads that brought them."""
        wire, reads, place = record.wire, [], 0
        if not record.segments:
            return [(wire, record.timestamp)]
        start = self._began(record)
        for offset, octets in record.segments:
            reads.append((wire[place : place + octets], start + timedelta(microseconds=offset)))
            place += octets
        return reads
