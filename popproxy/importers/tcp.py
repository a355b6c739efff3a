"""TCP put together from the packets that a capture holds (RFC 9293).

Each direction has the number of the octet that comes next. A segment that begins there is given
out; one that begins later waits, up to `WAITING_MOST` octets; what was there before is dropped.
Where what is missing does not come, it is a hole: it is told, and the reading goes on behind it. A
connection of which the beginning is missing begins with its first segment.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from popproxy.importers.source import Begin, Finish, Item, Missing, Piece
from popproxy.pop3 import Side
from popproxy.records import Endpoint

PORTS: Final = frozenset({110, 1110})
"""Ports of servers; a connection to another counts if it begins as POP3 does."""

WAITING_MOST: Final = 1024 * 1024
"""Octets of a direction that may wait for what is missing before them."""

CONNECTIONS_MOST: Final = 10_000
"""Connections that are kept in mind; the one that was silent longest is ended."""

_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_HALF = 1 << 31
_MODULO = 1 << 32
_HELD: Final = 64  # what a segment that waits takes beyond its octets
_GREETINGS: Final = (b"+OK", b"-ERR")

End = tuple[str, int]


class Segment(NamedTuple):
    """A TCP segment.

    Attributes:
        at: When it passed.
        source: Address and port of who sent it.
        destination: Address and port of who was to get it.
        sequence: Number of its first octet.
        flags: As in the header.
        data: Its octets, as far as the capture has them.
        size: Its octets on the wire.
    """

    at: datetime
    source: End
    destination: End
    sequence: int
    flags: int
    data: bytes
    size: int


class _Direction:
    """One side's octets. Numbers in here go on where TCP's begin again at 0.

    Attributes:
        next: The number of the octet that comes next; None before the first segment.
        waiting: Segments that came too early, by their number.
        order: Their numbers, as a heap.
        held: Octets that wait.
        ended: The number behind the last octet, once it is known.
    """

    __slots__ = ("ended", "held", "next", "order", "waiting")

    def __init__(self) -> None:
        self.next: int | None = None
        self.waiting: dict[int, tuple[datetime, bytes, int]] = {}
        self.order: list[int] = []
        self.held = 0
        self.ended: int | None = None

    def number(self, sequence: int) -> int:
        """Give the number that a sequence number stands for: the nearest to what comes next."""
        if self.next is None:
            return sequence
        return self.next + _distance(sequence, self.next % _MODULO)


class _Connection:
    def __init__(self, number: int, client: End, server: End, at: datetime) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.at = at
        self.known = server[1] in PORTS
        self.begun = False
        self.directions = {Side.CLIENT: _Direction(), Side.SERVER: _Direction()}

    def side(self, source: End) -> Side:
        return Side.CLIENT if source == self.client else Side.SERVER


class Streams:
    """Puts the connections of a capture together."""

    def __init__(self) -> None:
        self._connections: OrderedDict[frozenset[End], _Connection] = OrderedDict()
        self._number = 0

    def take(self, segment: Segment) -> Iterator[Item]:
        """Take a segment, and give what it completes."""
        key = frozenset((segment.source, segment.destination))
        connection = self._connections.get(key)
        opens = bool(segment.flags & _SYN) and not segment.flags & _ACK
        if connection is not None and opens and self._is_new(connection, segment):
            del self._connections[key]
            yield from self._finish(connection, "log-ended", segment.at)
            connection = None
        if connection is None:
            if segment.flags & _RST or (not segment.size and not segment.flags & _SYN):
                return
            connection = self._open(segment)
            self._connections[key] = connection
            if len(self._connections) > CONNECTIONS_MOST:
                _, oldest = self._connections.popitem(last=False)
                yield from self._finish(oldest, "log-ended", segment.at)
        self._connections.move_to_end(key)
        yield from self._segment(connection, segment)
        if self._over(connection, segment):
            del self._connections[key]
            reason = "reset" if segment.flags & _RST else "closed"
            yield from self._finish(connection, reason, segment.at)

    def rest(self) -> Iterator[Item]:
        """Give what is left at the capture's end."""
        for connection in self._connections.values():
            yield from self._finish(connection, "log-ended", None)
        self._connections.clear()

    @staticmethod
    def _is_new(connection: _Connection, segment: Segment) -> bool:
        known = connection.directions[connection.side(segment.source)].next
        return known is not None and (segment.sequence + 1) % _MODULO != known % _MODULO

    def _open(self, segment: Segment) -> _Connection:
        self._number += 1
        from_client = _is_from_client(segment)
        ends = (segment.source, segment.destination)
        client, server = ends if from_client else ends[::-1]
        return _Connection(self._number, client, server, segment.at)

    @staticmethod
    def _over(connection: _Connection, segment: Segment) -> bool:
        both = all(
            one.ended is not None and one.next is not None and one.next >= one.ended
            for one in connection.directions.values()
        )
        return bool(segment.flags & _RST) or both

    def _segment(self, connection: _Connection, segment: Segment) -> Iterator[Item]:
        side = connection.side(segment.source)
        direction = connection.directions[side]
        if segment.flags & _SYN:
            segment = segment._replace(sequence=(segment.sequence + 1) % _MODULO)
            direction.next = segment.sequence
        number = direction.number(segment.sequence)
        if direction.next is None:
            direction.next = number
        if segment.flags & _FIN:
            direction.ended = number + segment.size
        if segment.size:
            yield from self._add(connection, side, number, segment)

    def _add(
        self, connection: _Connection, side: Side, number: int, segment: Segment
    ) -> Iterator[Item]:
        direction = connection.directions[side]
        early = number - (direction.next or 0)
        if early <= 0:
            yield from self._give(connection, side, -early, segment.at, segment.data, segment.size)
            yield from self._waited(connection, side)
            return
        known = direction.waiting.get(number)
        if known is None:
            heapq.heappush(direction.order, number)
            direction.held += _HELD
        if known is None or known[2] < segment.size:  # sent again, with more behind it
            direction.held += len(segment.data) - (len(known[1]) if known else 0)
            direction.waiting[number] = (segment.at, segment.data, segment.size)
        if direction.held > WAITING_MOST:
            yield from self._hole(connection, side)

    def _waited(self, connection: _Connection, side: Side) -> Iterator[Item]:
        """Give what waited for what has come."""
        direction = connection.directions[side]
        while direction.order and direction.order[0] <= (direction.next or 0):
            number = heapq.heappop(direction.order)
            at, data, size = direction.waiting.pop(number)
            direction.held -= len(data) + _HELD
            yield from self._give(connection, side, (direction.next or 0) - number, at, data, size)

    def _hole(self, connection: _Connection, side: Side) -> Iterator[Item]:
        """Go on behind what did not come."""
        direction = connection.directions[side]
        first = direction.order[0]
        yield from self._told_missing(connection, side, first - (direction.next or 0))
        direction.next = first
        yield from self._waited(connection, side)

    def _give(
        self, connection: _Connection, side: Side, known: int, at: datetime, data: bytes, size: int
    ) -> Iterator[Item]:
        """Give the octets of a segment that are new.

        Args:
            connection: Its connection.
            side: Who sent it.
            known: How many of its octets came before.
            at: When it passed.
            data: Its octets, as far as the capture has them.
            size: How many it had.
        """
        direction = connection.directions[side]
        new = data[known:]
        if size > known:
            direction.next = (direction.next or 0) + size - known
        if new and self._is_wanted(connection, side, new):
            yield from self._begun(connection)
            yield Piece(side=side, data=new, stream=connection.number, at=at)
        if size > max(len(data), known):
            yield from self._told_missing(connection, side, size - max(len(data), known))

    def _is_wanted(self, connection: _Connection, side: Side, data: bytes) -> bool:
        """Tell whether a connection is POP3: by its port, or by what its server says first."""
        if not connection.known and not connection.begun:
            connection.known = side is Side.SERVER and data.startswith(_GREETINGS)
        return connection.known

    def _begun(self, connection: _Connection) -> Iterator[Item]:
        if not connection.begun:
            connection.begun = True
            yield Begin(
                stream=connection.number,
                at=connection.at,
                client=_endpoint(connection.client),
                server=_endpoint(connection.server),
            )

    def _told_missing(self, connection: _Connection, side: Side, size: int) -> Iterator[Item]:
        if connection.known:
            yield from self._begun(connection)
            why = f"{size} octets of the {side.value} are not in the capture"
            yield Missing(why=why, stream=connection.number)

    def _finish(self, connection: _Connection, reason: str, at: datetime | None) -> Iterator[Item]:
        for side, direction in connection.directions.items():
            while direction.waiting:
                yield from self._hole(connection, side)
        if connection.begun:
            yield Finish(stream=connection.number, reason=reason, at=at)


def _is_from_client(segment: Segment) -> bool:
    if segment.flags & _SYN:
        return not segment.flags & _ACK
    if segment.source[1] in PORTS or segment.data.startswith(_GREETINGS):
        return False
    return segment.destination[1] in PORTS or segment.source[1] > segment.destination[1]


def _distance(number: int, other: int) -> int:
    """Tell how far a sequence number is ahead of another, from -2**31."""
    return (number - other + _HALF) % _MODULO - _HALF


def _endpoint(end: End) -> Endpoint:
    return Endpoint(address=str(ipaddress.ip_address(end[0])), port=end[1])
