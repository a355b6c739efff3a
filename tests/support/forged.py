"""Servers' certificates of every kind, also of kinds that no authority would issue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.support.certificates import Certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """From when until when a certificate is valid, in days from today."""

    start: int = -10
    end: int = 10


VALID = Days()
EXPIRED = Days(start=-20, end=-10)
FUTURE = Days(start=10, end=20)


def forge(
    folder: Path,
    names: Sequence[str] | bytes,
    *,
    issuer: str = "An Authority",
    days: Days = VALID,
    issuer_days: Days = Days(start=-30, end=30),
) -> Certificates:
    """Make an authority and a server's certificate.

    Args:
        folder: Where the files are made.
        names: What stands in the certificate as names, unchecked; as octets, the extension's own.
        issuer: What the authority calls itself.
        days: When the server's certificate is valid.
        issuer_days: When the authority's is.
    """
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _named(issuer)
    basic = x509.BasicConstraints(ca=True, path_length=0)
    root = (
        _begun(issuer_days, authority, authority, authority_key)
        .add_extension(basic, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    alternative: x509.ExtensionType = (
        x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names)
        if isinstance(names, bytes)
        else x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    )
    leaf = (
        _begun(days, authority, _named("a server"), key)
        .add_extension(alternative, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    made = Certificates(
        ca_file=folder / "ca.pem", chain_file=folder / "server.pem", key_file=folder / "server.key"
    )
    made.ca_file.write_bytes(root.public_bytes(Encoding.PEM))
    made.chain_file.write_bytes(leaf.public_bytes(Encoding.PEM))
    made.key_file.touch(mode=0o600)
    made.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def _begun(
    days: Days, issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days.start))
        .not_valid_after(now + timedelta(days.end))
    )
