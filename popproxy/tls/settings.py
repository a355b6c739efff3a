"""What TLS can be told, by leg: plain values, cheap to import where no TLS is spoken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Minimum = Literal["1.0", "1.1", "1.2", "1.3"]
"""The oldest version of TLS that a leg may speak (P39)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTls:
    """How clients are served: popproxy is the TLS server.

    Attributes:
        authority: The folder of the local authority, which makes certificates for any name.
        certificate: A certificate chain in PEM to use instead.
        key: Its private key; None if it is in the certificate's file.
        minimum: The oldest version of TLS that is spoken.
        maximum: The newest one; None for the newest there is.
        key_log: Where to write the keys of each connection, or None (P16).
    """

    authority: Path
    certificate: Path | None = None
    key: Path | None = None
    minimum: Minimum = "1.2"
    maximum: Minimum | None = None
    key_log: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """How the server is spoken to: popproxy is the TLS client.

    Attributes:
        ca: Certificates in PEM that are trusted instead of the system's.
        pins: Certificates that are accepted, each as `sha256:` and the digest of its DER form in
            hexadecimal; others are not, whoever issued them (P32).
        insecure: Accept any certificate.
        certificate: A certificate chain in PEM that identifies popproxy to the server.
        key: Its private key; None if it is in the certificate's file.
        server_name: The name that the server's certificate must hold; None for the upstream's host.
        sni: The name to ask for; None for `server_name`, empty for none.
        minimum: The oldest version of TLS that is spoken.
        key_log: Where to write the keys of each connection, or None (P16).
    """

    ca: Path | None = None
    pins: tuple[str, ...] = ()
    insecure: bool = False
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    sni: str | None = None
    minimum: Minimum = "1.2"
    key_log: Path | None = None
