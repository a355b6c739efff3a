"""What a packet's comment says, and which addresses stand in its header."""

from __future__ import annotations

import ipaddress
from typing import Final

from popproxy.formats.escape import visible
from popproxy.formats.packets import Address
from popproxy.records import (
    Endpoint,
    FindingRecord,
    GapRecord,
    Record,
    RewriteRecord,
    TlsEnd,
    TlsFailed,
    TlsStart,
    WireRecord,
)

CLIENT_STAND_IN: Final = ipaddress.ip_address("192.0.2.1")
SERVER_STAND_IN: Final = ipaddress.ip_address("198.51.100.1")
"""Addresses (RFC 5737) of ends that the capture does not tell."""


def both(comment: str, more: str) -> str:
    """Put two comments together, either of which may be empty."""
    return "; ".join(filter(None, (comment, more)))


def how_it_came(record: WireRecord) -> str:
    """Tell what was different about a line's reads."""
    if len(record.segments) > 1:
        return f"came in {len(record.segments)} reads, joined here"
    return "came in one read with what is before it" if record.joined else ""


def is_of_client(record: Record) -> bool:
    """Tell whether a record is about the client's side."""
    if isinstance(record, FindingRecord):
        return record.finding.where == "client"
    if isinstance(record, TlsStart | TlsFailed | TlsEnd):
        return record.tls.leg == "client"
    return isinstance(record, RewriteRecord) and record.side == "client"


def comment_of(record: Record) -> str:
    """Tell in words what a record says that is not of the wire; empty if nothing is to be said."""
    match record:
        case FindingRecord():
            part = record.finding
            rfc = f" ({part.rfc})" if part.rfc else ""
            return visible(f"{part.severity} {part.code}: {part.what}{rfc}")
        case GapRecord():
            lost = f"{record.gap.records:,} records" if record.gap.records else "something"
            return visible(f"gap: {lost} missing: {record.gap.reason}")
        case TlsStart() | TlsFailed() | TlsEnd():
            told = record.tls
            words = {"tls.start": "TLS begins", "tls.failed": "TLS failed", "tls.end": "TLS ends"}
            facts = [told.version, told.cipher, told.server_name, told.cause]
            said = ", ".join(fact for fact in facts if fact)
            head = f"{words[record.event.action]} on the {told.leg} leg"
            return visible(f"{head}: {said}" if said else head)
        case RewriteRecord():
            changed = record.rewrite
            was, now = (line.strip() if line else "nothing" for line in (changed.was, changed.now))
            return visible(f"rewrite {changed.rule}: {was} became {now}")
        case _:
            return ""


def address_of(endpoint: Endpoint) -> Address | None:
    """Give an end's address, or None if it is none."""
    try:
        return ipaddress.ip_address(endpoint.address.partition("%")[0])
    except ValueError:
        return None


def of_one_family(client: Address, server: Address) -> tuple[Address, Address]:
    """Give two addresses in one packet's family: IPv6 if either is."""
    if client.version == server.version:
        return client, server
    return _as_six(client), _as_six(server)


def _as_six(address: Address) -> Address:
    if address.version == 6:
        return address
    return ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
