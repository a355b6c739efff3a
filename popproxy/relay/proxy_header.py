"""The PROXY protocol: the header by which a load balancer says who the client is (HAProxy, v1, v2).

Sans-IO: octets go in as they come, and `HeaderReader` says how many of them are the header's, so
that whoever reads the connection takes these and leaves the rest where it is. The rest may be TLS.

Read by hand, for the only library on offer (`proxy-protocol` 0.11, from 2024, alpha) was tried and
let bad headers through or failed on them: a port may be `1_0` to it, TLVs may be cut off, and a
v2 header with too few octets of addresses or a v1 header that is no ASCII raises `struct.error` or
`UnicodeDecodeError` instead of its own error. A header decides who somebody is; here whatever is
not exactly as specified is refused, and nothing but `BadHeader` is ever raised.

Not looked at: TLVs (their frames neither), and with them the checksum that a sender may add.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal

from popproxy.relay.loops import Address, plain_ip

V1_MOST = 107
"""Octets of a v1 header, CRLF included."""
V2_MOST = 16 + 4096
"""Octets of a v2 header that are accepted: addresses take 216 at most, the rest are TLVs."""

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = 16  # octets before the addresses of a v2 header
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0x20, 0x21  # version 2 and the command
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31

Version = Literal["v1", "v2"]


class BadHeader(Exception):  # noqa: N818 - it says what came
    """What came is no PROXY header.

    Attributes:
        cause: Why not, in words that hold nothing of a peer's.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says.

    Attributes:
        source: Where the client connects from; None if the header does not tell, and the
            connection's own address counts.
        destination: Where the client connected to; None likewise.
        local: Whether the connection is the load balancer's own, as for a health check.
    """

    source: Address | None = None
    destination: Address | None = None
    local: bool = False


class HeaderReader:
    """Reads one header.

    Attributes:
        header: What it says, once all of it has come.
    """

    __slots__ = ("_data", "header")

    def __init__(self) -> None:
        self._data = bytearray()
        self.header: ProxyHeader | None = None

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return bool(self._data)

    def take(self, data: bytes) -> int:
        """Take octets.

        Args:
            data: What comes next, and perhaps what follows the header.

        Returns:
            How many of them are the header's: all of them, as long as it is not complete.

        Raises:
            BadHeader: This is no header.
        """
        if self.header is not None:
            return 0
        before = len(self._data)
        self._data += data[: V2_MOST - before]
        end = self._end_of_v2() if self._begins_with(_V2) else self._end_of_v1()
        if not end:
            return len(self._data) - before
        del self._data[end:]
        self.header = _read_v1(bytes(self._data)) if self._begins_with(_V1) else self._read_v2()
        return end - before

    def _begins_with(self, sign: bytes) -> bool:
        """Whether what has come is this sign, or may become it."""
        return self._data[: len(sign)] == sign[: len(self._data)]

    def _end_of_v1(self) -> int:
        """Give where the header ends, 0 if that has not come."""
        if not self._begins_with(_V1):
            raise BadHeader("it does not begin as a PROXY header does")
        end = self._data.find(b"\n", 0, V1_MOST) + 1
        if not end and len(self._data) >= V1_MOST:
            raise BadHeader(f"it is longer than {V1_MOST} octets")
        return end

    def _end_of_v2(self) -> int:
        data = self._data
        if len(data) < _FIXED:
            return 0
        if data[12] not in (_LOCAL, _PROXY):
            raise BadHeader("its version or command is unknown")
        end = _FIXED + int.from_bytes(data[14:16], "big")
        if end > V2_MOST:
            raise BadHeader(f"it is longer than {V2_MOST} octets")
        return end if len(data) >= end else 0

    def _read_v2(self) -> ProxyHeader:
        data = self._data
        if data[12] == _LOCAL:
            return ProxyHeader(local=True)  # what else it says is to be ignored
        family, addresses = data[13], bytes(data[_FIXED:])
        if family in (_UNSPECIFIED, _UNIX_STREAM):
            return ProxyHeader()
        if family not in (_TCP4, _TCP6):
            raise BadHeader("its family or transport is not that of TCP")
        size = 4 if family == _TCP4 else 16
        try:
            source, destination, *ports = struct.unpack_from(f"!{size}s{size}sHH", addresses)
        except struct.error:
            raise BadHeader("its addresses are cut off") from None
        make = IPv4Address if family == _TCP4 else IPv6Address
        return ProxyHeader((_text(make(source)), ports[0]), (_text(make(destination)), ports[1]))


def _read_v1(line: bytes) -> ProxyHeader:
    """Read a whole v1 header, line end included."""
    if not line.endswith(b"\r\n"):
        raise BadHeader("its line does not end in CRLF")
    words = line[:-2].split(b" ")
    if words[1] == b"UNKNOWN":
        return ProxyHeader()  # what follows is to be ignored
    if words[1] not in (b"TCP4", b"TCP6") or len(words) != 6:
        raise BadHeader("it does not say PROXY, TCP4 or TCP6, two addresses and two ports")
    source, destination = (_address(word, words[1]) for word in words[2:4])
    ports = [_port(word) for word in words[4:]]
    return ProxyHeader((source, ports[0]), (destination, ports[1]))


def _address(word: bytes, family: bytes) -> str:
    try:
        text = word.decode("ascii")
        if "%" in text:
            raise BadHeader("an address has a zone")
        return _text(IPv4Address(text) if family == b"TCP4" else IPv6Address(text))
    except (AddressValueError, UnicodeDecodeError):
        raise BadHeader("an address is none of its family") from None


def _port(word: bytes) -> int:
    if not _PORT.fullmatch(word) or int(word) > 65535:
        raise BadHeader("a port is none")
    return int(word)


def _text(address: IPv4Address | IPv6Address) -> str:
    """Write an address in its one form, so that a client is always the same one (P55)."""
    return str(plain_ip(str(address)))


def write_header(version: Version, source: Address, destination: Address) -> bytes:
    """Make the header of a client's connection.

    Args:
        version: In which form.
        source: Where the client connects from.
        destination: Where it connected to.
    """
    ends = _ip(source[0]), _ip(destination[0])
    four = all(isinstance(end, IPv4Address) for end in ends)
    if not four:
        ends = _as_six(ends[0]), _as_six(ends[1])
    if version == "v1":
        family = "TCP4" if four else "TCP6"
        line = f"PROXY {family} {ends[0]} {ends[1]} {source[1]} {destination[1]}\r\n"
        return line.encode("ascii")
    addresses = b"".join(end.packed for end in ends)
    addresses += struct.pack("!HH", source[1], destination[1])
    fixed = struct.pack("!BBH", _PROXY, _TCP4 if four else _TCP6, len(addresses))
    return _V2 + fixed + addresses


def write_xclient(source: Address, session_id: str) -> bytes:
    """Make the command by which Dovecot learns who the client is.

    Args:
        source: Where the client connects from.
        session_id: What the session is to be called in Dovecot's log; 64 characters at most.
    """
    line = f"XCLIENT ADDR={_ip(source[0])} PORT={source[1]} SESSION={session_id}\r\n"
    return line.encode("ascii")


def _ip(text: str) -> IPv4Address | IPv6Address:
    """Read one of our own addresses, without its zone: that means nothing to anybody else."""
    return plain_ip(text.partition("%")[0])


def _as_six(address: IPv4Address | IPv6Address) -> IPv6Address:
    if isinstance(address, IPv6Address):
        return address
    return IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
