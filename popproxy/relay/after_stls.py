"""What the client does behind the +OK to its STLS, where that passes through popproxy."""

from __future__ import annotations

from popproxy.pop3 import Event, Session, Side

_TLS_HANDSHAKE = 0x16  # the first octet of a TLS handshake record (RFC 8446, section 5.1)


def read_on(parser: Session, data: bytes, at: int) -> list[Event]:
    """Tell the parser what followed, TLS or more POP3, and read on.

    Args:
        parser: Waits for TLS.
        data: What the client sent; at least one octet.
        at: When, monotonic, in nanoseconds.
    """
    events: list[Event] = []
    if data[0] == _TLS_HANDSHAKE:
        events += parser.tls_passed(at)
    while parser.waiting_for_tls:  # again, if what waited holds the answer to another STLS
        events += parser.tls_declined(at)
    return events + parser.receive(Side.CLIENT, data, at)
