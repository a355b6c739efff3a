"""What a certificate says of itself, in words that are safe to show.

Certificates are a peer's: every text of them is checked before it reaches a log or a client. Names
are host names or addresses (`popproxy.tls.names`); an issuer's name keeps its printable characters
only, and few of them.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID

from popproxy.tls.names import host_name

_ISSUER = 80
"""Characters of an issuer's name that are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told of a certificate.

    Attributes:
        sha256: The digest of its DER form, in hexadecimal.
        names: Host names and addresses that it is for, all of them; wildcards included.
        issuer: Who issued it, by common name or organization.
        self_signed: Whether it names itself as its issuer.
        not_before: From when on it is valid, in UTC.
        not_after: Until when it is.
    """

    sha256: str
    names: tuple[str, ...]
    issuer: str
    self_signed: bool
    not_before: datetime
    not_after: datetime


def peer(tls: ssl.SSLSocket) -> Told | None:
    """Look at what the other side presented, whether it was accepted or not.

    Args:
        tls: A connection that has got as far as the certificate; its handshake may have failed.

    Returns:
        What is told of it; None if nothing came, or nothing that can be read.
    """
    der = presented(tls)
    return read(der) if der is not None else None


def presented(tls: ssl.SSLSocket) -> bytes | None:
    """Give the other side's certificate in DER, as `peer` finds it."""
    try:
        if (der := tls.getpeercert(binary_form=True)) is not None:
            return der
    except ValueError:
        pass  # the handshake has not come to its end
    # After a handshake that failed, the chain can be had all the same.
    connection = getattr(tls, "_sslobj", None)
    if connection is None:
        return None
    try:
        chain = connection.get_unverified_chain()
    except (AttributeError, ValueError, ssl.SSLError):
        return None
    return ssl.PEM_cert_to_DER_cert(chain[0].public_bytes()) if chain else None


def read(der: bytes) -> Told | None:
    """Read a certificate; None if it is damaged.

    Args:
        der: The certificate in DER.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        return Told(
            sha256=hashlib.sha256(der).hexdigest(),
            names=tuple(_names(certificate)),
            issuer=_issuer(certificate),
            self_signed=certificate.issuer == certificate.subject,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )
    except (ValueError, TypeError, x509.InvalidVersion):
        return None


def covers(told: Told, name: str) -> bool:
    """Whether a certificate is for a name (RFC 6125, section 6.4).

    Args:
        told: The certificate.
        name: A host name or a numeric address.
    """
    wanted = name.lower().rstrip(".")
    for each in told.names:
        if each == wanted:
            return True
        if each.startswith("*.") and not _is_address(wanted):
            first, _, rest = wanted.partition(".")
            if first and rest == each[2:]:
                return True
    return False


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = []
    for text in extension.value.get_values_for_type(x509.DNSName):
        wildcard = "*." if text.startswith("*.") else ""
        if name := host_name(text.removeprefix("*.")):
            names.append(wildcard + name)
    return names + [str(each) for each in extension.value.get_values_for_type(x509.IPAddress)]


def _issuer(certificate: x509.Certificate) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME):
        for attribute in certificate.issuer.get_attributes_for_oid(oid):
            text = str(attribute.value)
            shown = "".join(
                character if character.isascii() and character.isprintable() else "?"
                for character in text[:_ISSUER]
            ).strip()
            if shown:
                return shown
    return "an issuer without a name"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
