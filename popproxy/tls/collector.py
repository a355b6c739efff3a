"""popproxy as a client of a syslog collector under TLS (RFC 5425, section 4.2).

The collector is always verified, chain and name: audit records go to nobody else.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from popproxy.tls.client import trust, trusting_the_system
from popproxy.tls.contexts import prepare
from popproxy.tls.pairs import load_pair


def collector_context(
    ca: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext:
    """Make a context.

    Args:
        ca: Certificates in PEM that are trusted instead of the system's.
        certificate: A certificate chain in PEM that identifies popproxy.
        key: Its private key; None if it is in the certificate's file.

    Raises:
        TlsSetupError: A file cannot be used; the message says what to do.
    """
    context = trusting_the_system() if ca is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    prepare(context, "1.2", None)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    if ca is not None:
        trust(context, ca)
    if certificate is not None:
        load_pair(context, certificate, key)
    return context
