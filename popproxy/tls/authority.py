"""The local authority: a certificate that clients are told to trust, and the key behind it (P34).

It is made at first use and differs on every machine. Its key signs the certificates that
popproxy shows to clients, and leaves this folder in no other way.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from popproxy.tls import minting
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.folder import CERTIFICATE, KEY, WAITING, Folder
from popproxy.tls.minting import SigningKey

Form = Literal["pem", "der", "p12"]

SOON = timedelta(days=60)
"""Before the end of an authority, from when on it is said at each start."""
_LONGEST_HOST = 14
"""Characters of this machine's name in the authority's, all of which may have 64 at most."""


def _now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """An authority whose key is at hand.

    Attributes:
        directory: The folder that holds it.
        certificate: Its certificate.
    """

    def __init__(self, directory: Path, certificate: x509.Certificate, key: SigningKey) -> None:
        self.directory = directory
        self.certificate = certificate
        self._key = key

    @classmethod
    def open(cls, directory: Path) -> Authority:
        """Load the authority; make one if there is none.

        Raises:
            TlsSetupError: It cannot be used or made; the message says what to do.
        """
        with Folder.opened(directory, make=True) as folder:
            pair = _read(folder)
            if pair is None:
                with _writing(folder):
                    pair = _recovered(folder)  # perhaps somebody was faster
                    if pair is None:
                        made = minting.make_authority(_free_name(folder), _now())
                        folder.put(*made)
                        pair = _parsed(directory, *made)
        return cls._usable(directory, pair)

    @classmethod
    def load(cls, directory: Path) -> Authority:
        """Load the authority.

        Raises:
            TlsSetupError: There is none, or it cannot be used; the message says what to do.
        """
        if not directory.exists():
            raise _absent(directory)
        with Folder.opened(directory) as folder:
            pair = _read(folder)
        if pair is None:
            raise _absent(directory)
        return cls._usable(directory, pair)

    @classmethod
    def _usable(cls, directory: Path, pair: _Pair) -> Authority:
        certificate = pair.certificate
        if (end := certificate.not_valid_after_utc) <= _now():
            raise TlsSetupError(
                f"the local authority in {directory} expired on {end:%Y-%m-%d}; {_renew(directory)}"
            )
        if (start := certificate.not_valid_before_utc) > _now():
            raise TlsSetupError(
                f"the local authority in {directory} is valid from {start:%Y-%m-%d} on only, and"
                f" this machine says that it is {_now():%Y-%m-%d}; set the clock"
            )
        return cls(directory, certificate, pair.key)

    def leaf(self, names: Sequence[str], *, now: datetime | None = None) -> bytes:
        """Make a server's certificate for names; its key is `minting.leaf_key`.

        Args:
            names: Host names and addresses, the chief one first. They come from settings, from
                `names.host_name`, or from a certificate that was verified (P35).
            now: The time; None for the present.

        Returns:
            The chain in PEM: the certificate, then the authority's, so that somebody who looks
            at a connection sees who issued it.

        Raises:
            ValueError: None of the names can stand in a certificate.
        """
        leaf = minting.make_leaf(names, self.certificate, self._key, now or _now())
        return leaf.public_bytes(Encoding.PEM) + self.certificate.public_bytes(Encoding.PEM)

    def warnings(self) -> Iterator[str]:
        """Find what works, but not for long."""
        end = self.certificate.not_valid_after_utc
        if end - _now() < SOON:
            yield (
                f"the local authority in {self.directory} expires on {end:%Y-%m-%d};"
                f" {_renew(self.directory)}"
            )


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """A new authority in the place of an old one.

    Attributes:
        certificate: The new certificate.
        old: The old certificate; None if there was none that could be read.
        kept: Where the old files are now.
    """

    certificate: x509.Certificate
    old: x509.Certificate | None
    kept: tuple[Path, ...]


def renew(directory: Path) -> Renewal:
    """Make a new authority; the old one is kept under names that hold the day.

    The old certificate is needed to find it among what clients trust, and the old key to go back.
    Its name differs from the old one's, even on the same day.

    Raises:
        TlsSetupError: It cannot be made; the message says what to do.
    """
    with Folder.opened(directory, make=True) as folder, _writing(folder):
        # An unfinished renewal is finished first, so that what is kept is a pair.
        with contextlib.suppress(TlsSetupError):
            _recovered(folder)
        old = _certificate_or_none(folder.read(CERTIFICATE, trusting=True))
        kept = folder.keep_aside(f"{_now():%Y-%m-%d}")
        made = minting.make_authority(_free_name(folder), _now())
        folder.put(*made)
    return Renewal(certificate=x509.load_pem_x509_certificate(made[0]), old=old, kept=tuple(kept))


def read_certificate(directory: Path) -> x509.Certificate | None:
    """Read the certificate alone, without a look at who may change it.

    Returns:
        The certificate; None if there is none.

    Raises:
        TlsSetupError: It cannot be read.
    """
    if not directory.exists():
        return None
    with Folder.opened(directory, trusting=True) as folder:
        content = folder.read(CERTIFICATE, trusting=True)
    return None if content is None else _certificate(directory, content)


def export(certificate: x509.Certificate, form: Form) -> bytes:
    """Write a certificate in the form that a client wants. No form holds a key.

    Args:
        certificate: The authority's.
        form: `pem` and `der` are the certificate alone; `p12` is a store of trusted certificates
            without a password, as Java reads it.
    """
    if form == "pem":
        return certificate.public_bytes(Encoding.PEM)
    if form == "der":
        return certificate.public_bytes(Encoding.DER)
    entry = pkcs12.PKCS12Certificate(certificate, common_name(certificate).encode())
    return pkcs12.serialize_java_truststore([entry], NoEncryption())


def common_name(certificate: x509.Certificate) -> str:
    """Give the name that viewers of certificates show."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else certificate.subject.rfc4514_string()


@dataclass(frozen=True)
class _Pair:
    certificate: x509.Certificate
    key: SigningKey

    @property
    def fits(self) -> bool:
        return self.certificate.public_key() == self.key.public_key()


def _read(folder: Folder) -> _Pair | None:
    """Read the pair; None if there is none.

    Raises:
        TlsSetupError: It is not whole, cannot be used, or can be changed by others.
    """
    key, certificate = folder.read(KEY), folder.read(CERTIFICATE)
    if certificate is None and key is None:
        return None
    if certificate is not None and key is not None:
        pair = _parsed(folder.path, certificate, key)
        if pair.fits:
            return pair
    # Somebody changes the pair just now, or died while doing so. Under the lock it is at rest.
    with contextlib.ExitStack() as locked:
        with contextlib.suppress(OSError):  # a folder that cannot be written is at rest, too
            locked.enter_context(folder.locked())
        return _recovered(folder)


def _recovered(folder: Folder) -> _Pair | None:
    """Read the pair under the lock, and finish what somebody began who died."""
    key, certificate = folder.read(KEY), folder.read(CERTIFICATE)
    if key is not None:
        waiting = folder.read(CERTIFICATE + WAITING)
        if waiting is not None and _parsed(folder.path, waiting, key).fits:
            with _writing_errors(folder.path):
                folder.settle(CERTIFICATE)
            certificate = waiting
    if key is None and certificate is None:
        return None
    if key is None or certificate is None:
        raise TlsSetupError(
            f"the local authority in {folder.path} lacks its"
            f" {f'key, {KEY}' if key is None else f'certificate, {CERTIFICATE}'}; put it back, or"
            f" make a new authority with: {_renew_command(folder.path)}"
        )
    pair = _parsed(folder.path, certificate, key)
    if not pair.fits:
        raise TlsSetupError(
            f"{CERTIFICATE} and {KEY} in {folder.path} do not belong together; put the right"
            f" one back, or make a new authority with: {_renew_command(folder.path)}"
        )
    return pair


@contextlib.contextmanager
def _writing(folder: Folder) -> Iterator[None]:
    with _writing_errors(folder.path), folder.locked():
        yield


@contextlib.contextmanager
def _writing_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TlsSetupError(
            f"no local authority can be made in {directory}: {error.strerror}; name another"
            " folder, or give this user the right to write there"
        ) from None


def _parsed(directory: Path, certificate: bytes, key: bytes) -> _Pair:
    return _Pair(_certificate(directory, certificate), _key(directory, key))


def _certificate(directory: Path, content: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(content)
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound):
        is_authority = None
    if is_authority is None or not is_authority.ca:
        raise TlsSetupError(
            f"{directory / CERTIFICATE} does not hold the certificate of an authority in PEM; put"
            f" the right one back, or make a new authority with: {_renew_command(directory)}"
        )
    return certificate


def _certificate_or_none(content: bytes | None) -> x509.Certificate | None:
    try:
        return None if content is None else x509.load_pem_x509_certificate(content)
    except ValueError:
        return None


def _key(directory: Path, content: bytes) -> SigningKey:
    path = directory / KEY
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise TlsSetupError(
            f"{path} is locked with a passphrase, which popproxy cannot ask for; write it without"
            f" one: openssl pkey -in {shlex.quote(str(path))} -out NEW"
        ) from None
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TlsSetupError(
            f"{path} does not hold an EC or RSA key in PEM; put the right one back, or make a new"
            f" authority with: {_renew_command(directory)}"
        )
    return key


def _free_name(folder: Folder) -> str:
    """Find a name that no authority of this folder has: clients tell them apart by it."""
    taken = set()
    for file in folder.names():
        if file.endswith(Path(CERTIFICATE).suffix):
            with contextlib.suppress(TlsSetupError):  # not ours, whatever it is
                one = _certificate_or_none(folder.read(file, trusting=True))
                taken.add(common_name(one) if one else "")
    number = 1
    while (name := _name(number)) in taken:
        number += 1
    return name


def _name(number: int) -> str:
    host = re.sub(r"[^A-Za-z0-9-]+", "", socket.gethostname().partition(".")[0])
    where = host[:_LONGEST_HOST] or "this machine"
    again = f" #{number}" if number > 1 else ""
    return f"popproxy local authority ({where}, made {_now():%Y-%m-%d}{again})"


def _renew_command(directory: Path) -> str:
    return f"popproxy ca renew --authority {shlex.quote(str(directory))}"


def _renew(directory: Path) -> str:
    return (
        f"make a new one with: {_renew_command(directory)} - and let clients trust that"
        " (`popproxy help trust`)"
    )


def _absent(directory: Path) -> TlsSetupError:
    return TlsSetupError(
        f"there is no local authority in {directory}; popproxy makes one when it first speaks TLS"
        " with a client, as under: popproxy run --listen pop3s://127.0.0.1:1995"
    )
