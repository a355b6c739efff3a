"""Makes certificates: the authority's own, and those that it signs. No files here.

Everything is EC P-256: every client of the last fifteen years speaks it, and signing takes a
fraction of a millisecond. A client that knows nothing but RSA needs a certificate of the user's
own.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from popproxy.tls.names import Address, certificate_names

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""Ours is of the first kind; somebody may have put an authority of their own in its place."""

AUTHORITY_LIFETIME = timedelta(days=3 * 365)
"""Three years. Trust is a chore on every client, so not less; but whoever has this key can pass
for any server with those who trust it, and trust that was forgotten should end by itself."""
LEAF_LIFETIME = timedelta(days=199) - timedelta(seconds=1)
"""What is refused to servers of the web beyond 200 days, clients of mail may refuse one day. Both
ends of the validity count (RFC 5280, section 4.1.2.5), hence the second."""
BACKDATED = timedelta(days=1)
"""How far in the past a validity begins: for clients whose clock, or idea of its zone, is off."""
LONGEST_COMMON_NAME = 64
"""Characters (RFC 5280, ub-common-name)."""


@functools.cache
def leaf_key() -> ec.EllipticCurvePrivateKey:
    """Give the key of all certificates that this process mints; it lives in memory only."""
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def leaf_key_pem() -> bytes:
    """Give the key of `leaf_key` as OpenSSL reads it."""
    return leaf_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_authority(name: str, now: datetime) -> tuple[bytes, bytes]:
    """Make an authority.

    Args:
        name: Its common name, at most 64 characters.
        now: The time, with its zone.

    Returns:
        The certificate and the private key (PKCS #8), both in PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    # The extended key usage narrows what a thief of the key could do: certificates for servers
    # of TLS, but none for programs or for signing mail.
    certificate = (
        _builder(subject, subject, key.public_key())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now - BACKDATED + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def make_leaf(
    names: Sequence[str], issuer: x509.Certificate, issuer_key: SigningKey, now: datetime
) -> x509.Certificate:
    """Make a server's certificate with the key of `leaf_key` (P35).

    Args:
        names: Host names and addresses that it is for, the chief one first.
        issuer: The authority's certificate.
        issuer_key: Its key.
        now: The time, with its zone.

    Raises:
        ValueError: None of the names can stand in a certificate.
    """
    wanted = certificate_names(names)
    if not wanted:
        raise ValueError("a certificate needs a name")
    start = max(now - BACKDATED, issuer.not_valid_before_utc)
    # Under an authority that expires while it is in use, a leaf is made all the same: a client
    # that is shown an expired certificate can say what is the matter.
    end = max(start, min(now - BACKDATED + LEAF_LIFETIME, issuer.not_valid_after_utc))
    return (
        _builder(_name(_common_name(wanted)), issuer.subject, leaf_key().public_key())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([*map(_general, wanted)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_issuer_identifier(issuer), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "popproxy"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _common_name(wanted: Sequence[str | Address]) -> str:
    """Choose what viewers show; clients look at the alternative names."""
    fitting = (text for one in wanted if len(text := str(one)) <= LONGEST_COMMON_NAME)
    return next(fitting, "a name that is too long for this field")


def _general(name: str | Address) -> x509.GeneralName:
    return x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name)


def _issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise TypeError("an authority of a kind that does not sign certificates") from None
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known.value)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
