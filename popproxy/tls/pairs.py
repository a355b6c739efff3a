"""A certificate and a key of the user's own, looked at before OpenSSL is asked to load them.

OpenSSL's messages name neither the file nor the remedy, and for a key with a passphrase it would
ask on the terminal. So what can be wrong is found here, and told in words.
"""

from __future__ import annotations

import shlex
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from popproxy.tls.failures import TlsSetupError

_CERTIFICATE_END = b"-----END CERTIFICATE-----"
_CERTIFICATE_MARK = b"-----BEGIN CERTIFICATE-----"
_KEY_MARK = b"PRIVATE KEY-----"


class Loaded(NamedTuple):
    """What was loaded.

    Attributes:
        certificate: The certificate in DER.
        warnings: What works, but should be looked at: a certificate that has expired, and the like.
    """

    certificate: bytes
    warnings: tuple[str, ...]


def first_certificate(chain: bytes) -> bytes:
    """Give the first certificate of a chain in DER.

    Args:
        chain: The chain in PEM.
    """
    first = chain[chain.index(_CERTIFICATE_MARK) :].partition(_CERTIFICATE_END)[0]
    return ssl.PEM_cert_to_DER_cert((first + _CERTIFICATE_END).decode("ascii"))


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> Loaded:
    """Load a certificate chain and its key into a context.

    Args:
        context: The context.
        certificate: The chain in PEM, the certificate itself first.
        key: Its key in PEM; None if it is in the certificate's file.

    Raises:
        TlsSetupError: They cannot be used; the message says which file, why, and what to do.
    """
    chain = _chain(certificate, _content(certificate, "certificate"))
    key_file = key or certificate
    private = _key(key_file, _content(key_file, "key"), apart=key is not None)
    _check_fit(certificate, chain, key_file, private)
    try:
        # A password that is given keeps OpenSSL from asking for one.
        context.load_cert_chain(certificate, key_file, password="")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or "unknown reason"
        raise TlsSetupError(
            f"OpenSSL does not take the certificate {certificate} with the key {key_file}:"
            f" {str(reason).replace('_', ' ').lower()}; a new pair, EC P-256 or RSA with 2048 bits"
            " at least, will do"
        ) from None
    warnings = (*_warnings(certificate, chain[0]), *_open_key(key_file))
    return Loaded(chain[0].public_bytes(Encoding.DER), warnings)


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsSetupError(
            f"the {what} {path} cannot be read: {error.strerror}; check the path, and that the"
            " user that runs popproxy may read it"
        ) from None


def _chain(path: Path, content: bytes) -> list[x509.Certificate]:
    quoted = shlex.quote(str(path))
    if _CERTIFICATE_MARK not in content:
        if _KEY_MARK in content:
            raise TlsSetupError(
                f"{path} holds a key, but no certificate; name the certificate's file"
            )
        if content[:1] == b"\x30":  # a sequence of ASN.1's, as all binary forms begin
            raise TlsSetupError(
                f"{path} is not PEM but a binary form; convert a certificate with: openssl x509"
                f" -inform der -in {quoted} -out NEW.pem - or a PKCS #12 file, with its key, by:"
                f" openssl pkcs12 -nodes -in {quoted} -out NEW.pem"
            )
        raise TlsSetupError(
            f"{path} holds no certificate in PEM; name a file with a line"
            f" {_CERTIFICATE_MARK.decode()}"
        )
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise TlsSetupError(
            f"a certificate in {path} is damaged; `openssl x509 -in {quoted} -text` may tell where"
        ) from None


def _key(path: Path, content: bytes, *, apart: bool) -> PrivateKeyTypes:
    quoted = shlex.quote(str(path))
    if _KEY_MARK not in content:
        if apart:
            raise TlsSetupError(
                f"{path} holds no private key in PEM; name the file that came with the certificate"
            )
        raise TlsSetupError(
            f"{path} holds a certificate, but no private key; name the key's file, too"
        )
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        raise TlsSetupError(
            f"the key in {path} is locked with a passphrase, which popproxy cannot ask for; write"
            f" it without one, for yourself only: (umask 077; openssl pkey -in {quoted} -out"
            " NEW.key)"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsSetupError(
            f"the private key in {path} is damaged, or of a kind that is not known; `openssl pkey"
            f" -noout -text -in {quoted}` may tell more"
        ) from None


def _check_fit(
    path: Path, chain: list[x509.Certificate], key_file: Path, key: PrivateKeyTypes
) -> None:
    fitting = [one.public_key() == key.public_key() for one in chain]
    if fitting[0]:
        return
    if any(fitting):
        raise TlsSetupError(
            f"in {path}, the key's certificate is number {fitting.index(True) + 1}; it has to be"
            " the first, those that issued it behind it"
        )
    raise TlsSetupError(
        f"the key in {key_file} does not belong to the certificate in {path}; name files that"
        " were made together"
    )


def _warnings(path: Path, certificate: x509.Certificate) -> Iterator[str]:
    now = datetime.now(UTC)
    if (end := certificate.not_valid_after_utc) <= now:
        yield f"the certificate {path} expired on {end:%Y-%m-%d}; the other side will refuse it"
    if (start := certificate.not_valid_before_utc) > now:
        yield f"the certificate {path} is not valid before {start:%Y-%m-%d}"


def _open_key(path: Path) -> Iterator[str]:
    # Groups are left alone: Debian has one, ssl-cert, for those who may read keys.
    if stat.S_ISREG(mode := path.stat().st_mode) and mode & stat.S_IROTH:
        yield (
            f"every user of this machine can read the private key in {path}; close it with:"
            f" chmod o= {shlex.quote(str(path))}"
        )
