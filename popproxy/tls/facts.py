"""What is told of a connection whose handshake is done."""

from __future__ import annotations

import ssl
from datetime import datetime

from popproxy.records import LegName, TlsPart
from popproxy.tls.certificates import peer, read
from popproxy.tls.leaves import ListenerSocket

NAMES = 20
"""Names of a certificate that are told; some hold hundreds."""


def facts(tls: ssl.SSLSocket, leg: LegName) -> TlsPart:
    """Tell the facts of a connection, for its record (P39).

    Args:
        tls: The connection.
        leg: Which of a session's legs it is.
    """
    cipher = tls.cipher()
    if isinstance(tls, ListenerSocket):
        told, name = read(tls.shown), tls.requested_name
    else:
        told = peer(tls)
        name = tls.server_hostname if isinstance(tls.server_hostname, str) else None
    return TlsPart(
        leg=leg,
        version=tls.version(),
        cipher=cipher[0] if cipher else None,
        server_name=name or None,
        alpn=tls.selected_alpn_protocol(),
        resumed=bool(tls.session_reused),
        certificate_sha256=told.sha256 if told else None,
        certificate_names=list(told.names[:NAMES]) if told else [],
        issuer=told.issuer if told else None,
        not_before=_date(told.not_before) if told else None,
        not_after=_date(told.not_after) if told else None,
    )


def _date(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
