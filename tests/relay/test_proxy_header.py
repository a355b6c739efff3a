"""The PROXY protocol's header, without sockets: reading any octets in any cut, and writing."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.relay.loops import Address, plain_ip
from popproxy.relay.proxy_header import (
    V1_MOST,
    V2_MOST,
    BadHeader,
    HeaderReader,
    ProxyHeader,
    Version,
    write_header,
    write_xclient,
)

SIGN = b"\r\n\r\n\x00\r\nQUIT\n"
TCP4 = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + struct.pack("!HH", 40_000, 110)
FOUR = ProxyHeader(("192.0.2.1", 40_000), ("198.51.100.7", 110))
SIX = ProxyHeader(("2001:db8::1", 40_000), ("2001:db8::2", 110))
UNKNOWN = ProxyHeader()
LOCAL = ProxyHeader(local=True)


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGN + bytes([command, family]) + len(body).to_bytes(2, "big") + body


LONGEST = b"PROXY UNKNOWN " + b"f" * (V1_MOST - 16) + b"\r\n"

GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 110\r\n", FOUR),
    (b"PROXY TCP6 2001:db8::1 2001:DB8:0::2 40000 110\r\n", SIX),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 40000 110\r\n", FOUR),
    (b"PROXY TCP4 127.0.0.0 255.255.255.255 0 65535\r\n",
     ProxyHeader(("127.0.0.0", 0), ("255.255.255.255", 65535))),
    (b"PROXY UNKNOWN\r\n", UNKNOWN),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", UNKNOWN),
    (LONGEST, UNKNOWN),
    (v2(0x21, 0x11, TCP4), FOUR),
    (v2(0x21, 0x11, TCP4 + b"\x01\x00\x04pop3" + b"\x04\xff\xff"), FOUR),
    (v2(0x21, 0x11, TCP4 + bytes(4096 - len(TCP4))), FOUR),
    (v2(0x21, 0x21, ipaddress.IPv6Address("2001:db8::1").packed
        + ipaddress.IPv6Address("2001:db8::2").packed + TCP4[8:]), SIX),
    (v2(0x20, 0x11, TCP4), LOCAL),
    (v2(0x20, 0x00, b""), LOCAL),
    (v2(0x20, 0x77, b"abc"), LOCAL),
    (v2(0x21, 0x00, b""), UNKNOWN),
    (v2(0x21, 0x31, bytes(216)), UNKNOWN),
]  # fmt: skip

BAD = [
    (b"USER bo\r\n", "does not begin"),
    (b"PROXZ", "does not begin"),
    (b"\x16\x03\x01\x00", "does not begin"),
    (SIGN[:-1] + b"!", "does not begin"),
    (b"PROXY\r\n", "does not begin"),
    (b"PROXY \r\n", "does not say"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 110\n", "CRLF"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 40000\r\n", "does not say"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 110 \r\n", "does not say"),
    (b"PROXY TCP4  192.0.2.1 198.51.100.7 40000 110\r\n", "does not say"),
    (b"PROXY UDP4 192.0.2.1 198.51.100.7 40000 110\r\n", "does not say"),
    (b"PROXY TCP4 2001:db8::1 198.51.100.7 40000 110\r\n", "none of its family"),
    (b"PROXY TCP6 192.0.2.1 198.51.100.7 40000 110\r\n", "none of its family"),
    (b"PROXY TCP4 192.0.2.01 198.51.100.7 40000 110\r\n", "none of its family"),
    (b"PROXY TCP4 \xff 198.51.100.7 40000 110\r\n", "none of its family"),
    (b"PROXY TCP6 fe80::1%eth0 fe80::2 40000 110\r\n", "zone"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 1_0 110\r\n", "port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 040 110\r\n", "port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 110\r\n", "port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 110\r\n", "port"),
    (LONGEST.replace(b"\r\n", b"f\r\n"), "longer than 107"),
    (b"PROXY UNKNOWN" + bytes(200), "longer than 107"),
    (v2(0x11, 0x11, TCP4), "version or command"),
    (v2(0x22, 0x11, TCP4), "version or command"),
    (v2(0x21, 0x12, TCP4), "transport"),
    (v2(0x21, 0x41, TCP4), "transport"),
    (v2(0x21, 0x11, TCP4[:-1]), "cut off"),
    (v2(0x21, 0x21, TCP4), "cut off"),
    (v2(0x21, 0x11, b"") [:14] + b"\xff\xff", f"longer than {V2_MOST}"),
    (v2(0x21, 0x11, TCP4 + bytes(4097 - len(TCP4))), f"longer than {V2_MOST}"),
]  # fmt: skip


def read(data: bytes, cuts: list[int]) -> tuple[ProxyHeader | str | None, int]:
    """Read octets as a connection would bring them: what is not taken lies there still.

    Returns:
        What came of it, and how many octets were taken.
    """
    reader, taken = HeaderReader(), 0
    for end in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        while taken < end and reader.header is None:
            try:
                count = reader.take(data[taken:end])
            except BadHeader as bad:
                return bad.cause, taken
            assert 0 < count <= end - taken
            taken += count
    return reader.header, taken


@pytest.mark.parametrize(("octets", "header"), GOOD)
def test_headers_are_read_to_their_last_octet_and_no_further(
    octets: bytes, header: ProxyHeader
) -> None:
    for behind in (b"", b"\x16\x03\x01", b"USER bo\r\nPASS secret\r\n", octets):
        assert read(octets + behind, []) == (header, len(octets))
    assert read(octets + b"\n", list(range(len(octets) + 1))) == (header, len(octets))


@pytest.mark.parametrize(("octets", "cause"), BAD)
def test_what_is_not_exactly_a_header_is_refused(octets: bytes, cause: str) -> None:
    for cuts in ([], list(range(len(octets)))):
        found, taken = read(octets, cuts)
        assert isinstance(found, str)
        assert cause in found
        assert taken < len(octets)


@given(st.sampled_from([octets for octets, _ in GOOD + BAD]), st.data())
def test_p73_any_cut_gives_the_same(octets: bytes, data: st.DataObject) -> None:
    octets += data.draw(st.binary(max_size=20))
    cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=10))
    whole, end = read(octets, [])
    found, taken = read(octets, cuts)
    assert found == whole
    assert isinstance(whole, str) or taken == end


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGN, SIGN + b"\x21"]),
    st.binary(max_size=300),
)
def test_p73_any_octets_are_a_header_or_none(begin: bytes, rest: bytes) -> None:
    data = begin + rest
    found, taken = read(data, [])
    assert found is not None or taken == len(data) < V2_MOST
    if isinstance(found, ProxyHeader) and found.source and found.destination:
        for host, port in (found.source, found.destination):
            assert str(plain_ip(host)) == host
            assert 0 <= port <= 65535


@given(st.binary(max_size=70_000))
def test_p50_a_header_without_an_end_is_given_up_in_time(rest: bytes) -> None:
    for begin in (b"PROXY UNKNOWN ", SIGN + b"\x21\x11\xff\xff"):
        reader = HeaderReader()
        try:
            assert reader.take(begin + rest.replace(b"\n", b" ")) < V1_MOST
        except BadHeader:
            assert len(begin + rest) >= 16


PORTS = st.integers(0, 65535)
ENDS = st.tuples(st.ip_addresses().map(str), PORTS)


@given(st.sampled_from(["v1", "v2"]), ENDS, ENDS)
def test_what_is_written_is_read_again(
    version: Version, source: Address, destination: Address
) -> None:
    written = write_header(version, source, destination)
    found, taken = read(written, [])
    assert taken == len(written) <= (V1_MOST if version == "v1" else V2_MOST)
    assert isinstance(found, ProxyHeader)
    assert found.source
    assert found.destination
    for said, meant in ((found.source, source), (found.destination, destination)):
        assert (plain_ip(said[0]), said[1]) == (plain_ip(meant[0]), meant[1])


def test_headers_are_written_in_the_family_of_both_ends() -> None:
    assert FOUR.source
    assert FOUR.destination
    assert SIX.source
    assert write_header("v1", FOUR.source, FOUR.destination) == GOOD[0][0]
    assert write_header("v2", FOUR.source, FOUR.destination) == v2(0x21, 0x11, TCP4)
    mixed = write_header("v1", FOUR.source, SIX.source)
    assert mixed.startswith(b"PROXY TCP6 ::ffff:")
    assert read(mixed, [])[0] == ProxyHeader(FOUR.source, SIX.source)
    zone = write_header("v1", ("fe80::1%lo", 1), ("fe80::2%lo", 2))
    assert zone == b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"


def test_xclient_is_written_as_dovecot_reads_it() -> None:
    said = write_xclient(("192.0.2.1", 40_000), "one")
    assert said == b"XCLIENT ADDR=192.0.2.1 PORT=40000 SESSION=one\r\n"
    assert write_xclient(("fe80::1%lo", 1), "2") == b"XCLIENT ADDR=fe80::1 PORT=1 SESSION=2\r\n"
