"""Reads back what `popproxy.formats.pcapng` writes, by the specifications and not by its code."""

from __future__ import annotations

import ipaddress
import struct
import sys
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class Packet:
    """A TCP segment."""

    at: datetime
    source: str
    destination: str
    ports: tuple[int, int]
    sequence: int
    acknowledged: int
    flags: str
    payload: bytes
    comment: str

    @property
    def from_client(self) -> bool:
        return self.ports[1] == 110


@dataclass(kw_only=True)
class Connection:
    """The packets between two ends from one SYN to the next."""

    packets: list[Packet] = field(default_factory=list)

    def said(self, *, client: bool) -> bytes:
        """What a side said, put together by sequence numbers."""
        joined, at = b"", None
        for packet in self.packets:
            if packet.from_client is client:
                assert at is None or packet.sequence == at, "a hole in the sequence"
                joined += packet.payload
                at = packet.sequence + len(packet.payload) + ("S" in packet.flags)
                at = (at + ("F" in packet.flags)) % 2**32
        return joined


def read(file: bytes) -> list[Packet]:
    """Give the packets of a file, and check whatever can be wrong with its form."""
    place, packets, sections, interfaces = 0, list[Packet](), 0, 0
    while place < len(file):
        kind, size = struct.unpack_from("<II", file, place)
        assert size % 4 == 0
        assert struct.unpack_from("<I", file, place + size - 4) == (size,)
        body = file[place + 8 : place + size - 4]
        if kind == 0x0A0D0D0A:
            assert struct.unpack_from("<IHH", body) == (0x1A2B3C4D, 1, 0)
            sections, interfaces = sections + 1, 0
        elif kind == 1:
            assert struct.unpack_from("<H", body) == (101,)
            interfaces += 1
        else:
            assert (kind, interfaces) == (6, 1)
            packets.append(_packet(body))
        place += size
    assert place == len(file)
    assert sections == (1 if file else 0)
    return packets


def connections(packets: list[Packet]) -> list[Connection]:
    """Sort packets into connections, in the order of their beginnings."""
    made: list[Connection] = []
    by_ends: dict[frozenset[tuple[str, int]], Connection] = {}
    for packet in packets:
        ends = frozenset(zip((packet.source, packet.destination), packet.ports, strict=True))
        if packet.flags == "S" or ends not in by_ends:
            by_ends[ends] = Connection()
            made.append(by_ends[ends])
        by_ends[ends].packets.append(packet)
    return made


def _packet(body: bytes) -> Packet:
    interface, high, low, captured, original = struct.unpack_from("<IIIII", body)
    assert (interface, captured) == (0, original)
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=(high << 32) + low)
    octets = body[20 : 20 + captured]
    options = body[20 + captured + -captured % 4 :]
    comment = ""
    if options:
        code, size = struct.unpack_from("<HH", options)
        assert code == 1
        comment = options[4 : 4 + size].decode()
        assert options[4 + size + -size % 4 :] == bytes(4)
    version = octets[0] >> 4
    head = 20 if version == 4 else 40
    if version == 4:
        assert _sum(octets[:20]) == 0xFFFF
        assert struct.unpack_from("!H", octets, 2) == (captured,)
        addresses, protocol = octets[12:20], octets[9]
        size = 4
    else:
        assert struct.unpack_from("!H", octets, 4) == (captured - 40,)
        addresses, protocol = octets[8:40], octets[6]
        size = 16
    assert protocol == 6
    segment = octets[head:]
    length = struct.pack("!H", len(segment))
    assert _sum(addresses + b"\0\x06" + length + segment) == 0xFFFF
    source_port, port, sequence, acknowledged, offset, flags = struct.unpack_from(
        "!HHIIBB", segment
    )
    assert offset == 5 << 4
    return Packet(
        at=at,
        source=str(ipaddress.ip_address(addresses[:size])),
        destination=str(ipaddress.ip_address(addresses[size:])),
        ports=(source_port, port),
        sequence=sequence,
        acknowledged=acknowledged,
        flags="".join(name for bit, name in enumerate("FSRPA") if flags >> bit & 1),
        payload=segment[20:],
        comment=comment,
    )


def _sum(octets: bytes) -> int:
    words = array("H", octets + bytes(len(octets) % 2))
    if sys.byteorder == "little":
        words.byteswap()
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
