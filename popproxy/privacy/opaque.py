"""What may be told of traffic that is not read: counts (P18)."""

from __future__ import annotations

from collections import Counter

_NAMES = {
    20: "change_cipher_spec",
    21: "alert",
    22: "handshake",
    23: "application_data",
    24: "heartbeat",
}
_HEADER = 5
_MAX_FRAGMENT = 16_384 + 2_048  # RFC 5246, section 6.2.3


class TlsRecords:
    """Counts the TLS records of one direction by type, from their headers (RFC 8446, section 5.1).

    Attributes:
        types: How many records of each type there were; `other` is for what is no TLS record, after
            which nothing is counted any more.
    """

    __slots__ = ("_broken", "_header", "_skip", "types")

    def __init__(self) -> None:
        self.types: Counter[str] = Counter()
        self._header = b""
        self._skip = 0
        self._broken = False

    def feed(self, data: bytes) -> None:
        """Take the next octets.

        Args:
            data: They are looked at and not kept.
        """
        at = 0
        while at < len(data) and not self._broken:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            piece = data[at : at + _HEADER - len(self._header)]
            self._header += piece
            at += len(piece)
            if len(self._header) == _HEADER:
                self._count()

    def _count(self) -> None:
        kind, major, size = self._header[0], self._header[1], int.from_bytes(self._header[3:])
        self._header = b""
        if kind not in _NAMES or major != 3 or size > _MAX_FRAGMENT:
            self.types["other"] += 1
            self._broken = True
            return
        self.types[_NAMES[kind]] += 1
        self._skip = size


class OpaqueSide:
    """What is known of one direction's opaque traffic.

    Attributes:
        octets: Octets so far.
        records: Counts by type, if it is TLS.
    """

    __slots__ = ("octets", "records")

    def __init__(self, *, tls: bool) -> None:
        self.octets = 0
        self.records = TlsRecords() if tls else None

    def feed(self, data: bytes) -> None:
        """Take the next octets."""
        self.octets += len(data)
        if self.records is not None:
            self.records.feed(data)
