"""Packets of a connection that need not have been: IP and TCP around octets, and pcapng around all.

Blocks are those of the pcapng specification (draft-ietf-opsawg-pcapng), in this machine's favour of
none: always little-endian. Packets begin with their IP header (LINKTYPE_RAW). Checksums are right,
so that a reader that looks at them finds nothing to complain of.
"""

from __future__ import annotations

import ipaddress
import struct
from datetime import UTC, datetime, timedelta
from typing import Final

SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION: Final = 1
ENHANCED_PACKET: Final = 6
LINKTYPE_RAW: Final = 101
PAYLOAD_MOST: Final = 65_000
"""Octets of a segment at most: an IP packet has 65,535, headers included."""

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

_BYTE_ORDER = 0x1A2B3C4D
_OPT_COMMENT, _SHB_USERAPPL, _IF_NAME = 1, 4, 2
_COMMENT_MOST = 60_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TCP = 6
_WINDOW = 65_535

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def section(application: str) -> bytes:
    """Begin a section with one interface, time in microseconds.

    Args:
        application: The program that writes it.
    """
    body = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)
    header = _block(SECTION_HEADER, body + _option(_SHB_USERAPPL, application) + _END)
    interface = struct.pack("<HHI", LINKTYPE_RAW, 0, 0)
    return header + _block(INTERFACE_DESCRIPTION, interface + _option(_IF_NAME, "popproxy") + _END)


def packet_block(packet: bytes, at: datetime, comment: str = "") -> bytes:
    """Give the block of one packet.

    Args:
        packet: The packet, from its IP header.
        at: When it passed.
        comment: What is said of it; fit for a terminal.
    """
    micros = max((at - _EPOCH) // _MICROSECOND, 0)
    size = len(packet)
    body = struct.pack("<IIIII", 0, micros >> 32, micros & 0xFFFFFFFF, size, size)
    options = _option(_OPT_COMMENT, comment) + _END if comment else b""
    return _block(ENHANCED_PACKET, body + _padded(packet) + options)


_END = struct.pack("<HH", 0, 0)


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def _option(code: int, text: str) -> bytes:
    value = text.encode()[:_COMMENT_MOST].decode(errors="ignore").encode()
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)


def tcp_packet(
    source: Address,
    destination: Address,
    ports: tuple[int, int],
    numbers: tuple[int, int],
    flags: int,
    payload: bytes,
    window: int = _WINDOW,
) -> bytes:
    """Make a packet with one TCP segment (RFC 9293) in IPv4 or IPv6.

    Args:
        source: Who sends it.
        destination: Of the same family.
        ports: Of the source and of the destination.
        numbers: Sequence and acknowledgment number; any integers, taken modulo 2**32.
        flags: `SYN`, `ACK` and so on.
        payload: At most `PAYLOAD_MOST` octets.
        window: Octets that the source is ready to take.
    """
    sequence, acknowledged = (number & 0xFFFFFFFF for number in numbers)
    acknowledged = acknowledged if flags & ACK else 0
    header = struct.pack("!HHIIBBH", *ports, sequence, acknowledged, 5 << 4, flags, window)
    size = len(header) + 4 + len(payload)
    ends = source.packed + destination.packed
    if source.version == 4:
        pseudo = ends + struct.pack("!BBH", 0, _TCP, size)
    else:
        pseudo = ends + struct.pack("!IHBB", size, 0, 0, _TCP)
    checksum = _checksum(pseudo + header + bytes(4) + payload)
    segment = header + struct.pack("!HH", checksum, 0) + payload
    if source.version == 4:
        fields = (0x45, 0, 20 + size, 0, 0x4000, 64, _TCP)
        head = struct.pack("!BBHHHBB", *fields)
        return head + struct.pack("!H", _checksum(head + bytes(2) + ends)) + ends + segment
    return struct.pack("!IHBB", 6 << 28, size, _TCP, 64) + ends + segment


def _checksum(octets: bytes) -> int:
    """Give the Internet checksum (RFC 1071)."""
    # The ones' complement sum of 16-bit words is the whole, read as one number, modulo 0xFFFF.
    total = int.from_bytes(octets + bytes(len(octets) % 2), "big") % 0xFFFF
    return 0xFFFF - total
