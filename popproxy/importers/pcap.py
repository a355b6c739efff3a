"""Packet captures: tcpdump's pcap, and pcapng, of POP3 in the clear.

Headers of the link (Ethernet with VLAN tags, Linux cooked, loopback, none), of IPv4 and IPv6 and of
TCP are taken off; `popproxy.importers.tcp` puts the rest together. IP fragments are left out:
TCP avoids them. What is damaged is passed over, and the reading goes on as long as sizes make
sense.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final, NamedTuple

from popproxy.importers.source import Item, LogError
from popproxy.importers.tcp import Segment, Streams

PACKET_MOST: Final = 1024 * 1024
"""Octets of a packet; a file that claims more is damaged."""

_PCAP: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""The first octets of a pcap file: its byte order, and nanoseconds in a fraction of a second."""

_SECTION: Final = b"\x0a\x0d\x0d\x0a"
_ORDER: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE, _SIMPLE, _PACKET, _OLD_PACKET = 1, 3, 6, 2
_TSRESOL: Final = 9
_BLOCK_MOST: Final = PACKET_MOST + 64 * 1024
_NULL, _ETHERNET, _RAW, _LOOP, _COOKED, _COOKED_2 = 0, 1, 101, 108, 113, 276
_RAWS: Final = frozenset({12, 14, _RAW, 228, 229})
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_TCP: Final = 6
_EXTENSIONS: Final = frozenset({0, 43, 60, 135})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 250_000_000_000 * 10**9  # nanoseconds; datetime goes no further than the year 9999


class Packet(NamedTuple):
    """A packet: the link that it came over, when, and its octets as far as there are any."""

    link: int
    at: datetime
    data: bytes


def is_pcap(start: bytes) -> bool:
    """Tell pcap and pcapng."""
    return start[:4] in _PCAP or (start.startswith(_SECTION) and start[8:12] in _ORDER)


def read_pcap(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read a packet capture.

    Raises:
        LogError: The file is damaged; what came before has been given.
    """
    streams = Streams()
    first = file.read(4)
    packets = _pcap(file, first) if first in _PCAP else _pcapng(file, first)
    failed: LogError | None = None
    try:
        for packet in packets:
            segment = segment_of(packet)
            if segment is not None:
                yield from streams.take(segment)
    except LogError as error:
        failed = error
    yield from streams.rest()
    if failed is not None:
        raise failed


def _read(file: IO[bytes], size: int, *, what: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise LogError(f"the capture ends within {what}: its end was cut off")
    return data


def _time(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=min(max(nanoseconds, 0), _LATEST) // 1000)


def _pcap(file: IO[bytes], magic: bytes) -> Iterator[Packet]:
    order, unit = _PCAP[magic]
    header = _read(file, 20, what="its header")
    link = struct.unpack(order + "HHiIII", header)[5] & 0xFFFF
    while head := file.read(16):
        if len(head) < 16:
            raise LogError("the capture ends within a packet: its end was cut off")
        seconds, fraction, size, _ = struct.unpack(order + "IIII", head)
        if size > PACKET_MOST:
            raise LogError(f"a packet claims {size} octets: the capture is damaged from there")
        data = _read(file, size, what="a packet")
        yield Packet(link, _time(seconds * 10**9 + fraction * unit), data)


def _pcapng(file: IO[bytes], magic: bytes) -> Iterator[Packet]:
    order = "<"
    interfaces: list[tuple[int, int]] = []  # link, and nanoseconds of a unit, negated if a divisor
    head = magic + file.read(4)
    while head:
        if len(head) < 8:
            raise LogError("the capture ends within a block: its end was cut off")
        if head[:4] == _SECTION:
            mark = _read(file, 4, what="a section's header")
            if mark not in _ORDER:
                raise LogError("a section has no byte order: the capture is damaged from there")
            order = _ORDER[mark]
            interfaces = []
        else:
            mark = b""
        kind, size = struct.unpack(order + "II", head)
        if size % 4 or not 12 <= size <= _BLOCK_MOST:
            raise LogError(f"a block claims {size} octets: the capture is damaged from there")
        body = _read(file, size - 8 - len(mark), what="a block")[:-4]
        if kind == _INTERFACE and len(body) >= 8:
            interfaces.append((struct.unpack_from(order + "H", body)[0], _unit(body[8:], order)))
        elif kind == _PACKET and len(body) >= 20:
            yield from _enhanced(body, order, interfaces)
        elif kind == _SIMPLE and len(body) >= 4 and interfaces:
            yield Packet(interfaces[0][0], _EPOCH, body[4:])
        head = file.read(8)


def _enhanced(body: bytes, order: str, interfaces: list[tuple[int, int]]) -> Iterator[Packet]:
    interface, high, low, size, _ = struct.unpack_from(order + "IIIII", body)
    if interface < len(interfaces):
        link, unit = interfaces[interface]
        stamp = (high << 32) + low
        nanoseconds = stamp * unit if unit > 0 else stamp * 10**9 // -unit
        yield Packet(link, _time(nanoseconds), body[20 : 20 + size])


def _unit(options: bytes, order: str) -> int:
    """Read an interface's resolution of time; microseconds if it tells none."""
    while len(options) >= 4:
        code, size = struct.unpack_from(order + "HH", options)
        if code == _TSRESOL and size >= 1 and len(options) > 4:
            value = options[4]
            if value & 0x80:
                return -(1 << min(value & 0x7F, 63))
            return int(10 ** (9 - value)) if value <= 9 else -int(10 ** min(value - 9, 18))
        if not code:
            break
        options = options[4 + size + -size % 4 :]
    return 1_000


def segment_of(packet: Packet) -> Segment | None:
    """Take the headers off a packet; None if it is no TCP segment, or not all of its headers."""
    try:
        network = _network(packet.link, packet.data)
        return _segment(packet.at, network) if network is not None else None
    except (struct.error, IndexError):
        return None


def _network(link: int, data: bytes) -> bytes | None:
    """Take the link's header off; None if what is in it is not IP."""
    if link in _RAWS:
        return data
    if link in (_NULL, _LOOP):
        return data[4:]
    if link == _ETHERNET:
        place = 12
        while (kind := struct.unpack_from("!H", data, place)[0]) in _VLANS:
            place += 4
        place += 2
    elif link == _COOKED:
        kind, place = struct.unpack_from("!H", data, 14)[0], 16
    elif link == _COOKED_2:
        kind, place = struct.unpack_from("!H", data, 0)[0], 20
    else:
        return None
    return data[place:] if kind in (_IPV4, _IPV6) else None


def _segment(at: datetime, data: bytes) -> Segment | None:
    version = data[0] >> 4
    if version == 4:
        head = (data[0] & 15) * 4
        total, fragment = struct.unpack_from("!2xHxxH", data)
        if data[9] != _TCP or fragment & 0x3FFF:
            return None
        source, destination = data[12:16], data[16:20]
        # 0 where the network card was to cut the packet.
        end = total or len(data)
    elif version == 6:
        head, kind = 40, data[6]
        end = 40 + (struct.unpack_from("!H", data, 4)[0] or len(data) - 40)
        source, destination = data[8:24], data[24:40]
        while kind in _EXTENSIONS:
            kind, head = data[head], head + (data[head + 1] + 1) * 8
        if kind != _TCP:
            return None
    else:
        return None
    ports = struct.unpack_from("!HHI", data, head)
    offset, flags = data[head + 12] >> 4, data[head + 13]
    start = head + max(offset * 4, 20)
    return Segment(
        at=at,
        source=(str(ipaddress.ip_address(source)), ports[0]),
        destination=(str(ipaddress.ip_address(destination)), ports[1]),
        sequence=ports[2],
        flags=flags,
        data=data[start:end],
        size=max(end - start, 0),
    )
