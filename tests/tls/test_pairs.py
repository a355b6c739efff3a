"""A certificate of the user's own: every way in which it can be wrong is told in words."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from popproxy.tls.failures import TlsSetupError
from popproxy.tls.leaves import ListenerContext
from popproxy.tls.minting import make_authority
from popproxy.tls.pairs import load_pair
from popproxy.tls.settings import ListenerTls
from tests.support.handshakes import client_context, connected, shake, shown_names

AUTHORITY = trustme.CA()


class Pair:
    """A chain and its key, in files that a test may spoil."""

    def __init__(self, folder: Path) -> None:
        self.issued = AUTHORITY.issue_cert("own.example")
        self.chain, self.key = folder / "own chain.pem", folder / "own.key"
        self.leaf, *others = [blob.bytes() for blob in self.issued.cert_chain_pems]
        self.write(self.chain, self.leaf, *others)
        self.write(self.key, self.private)

    @property
    def private(self) -> bytes:
        return self.issued.private_key_pem.bytes()

    def write(self, path: Path, *contents: bytes) -> None:
        path.touch(0o600)
        path.write_bytes(b"".join(contents))

    def refused(self, chain: Path | None = None, key: Path | None = None) -> str:
        """See that the pair is refused when popproxy starts, and give the words."""
        settings = ListenerTls(
            authority=self.chain.parent / "unused", certificate=chain or self.chain, key=key
        )
        with pytest.raises(TlsSetupError) as raised:
            ListenerContext(settings, default_names=["pop.example.org"])
        assert raised.value.__cause__ is None
        assert "; " in str(raised.value)
        return str(raised.value)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def loaded(chain: Path, key: Path | None) -> tuple[str, ...]:
    return load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), chain, key).warnings


# What works


@pytest.mark.parametrize("order", ["certificate first", "key first"])
def test_the_key_may_be_in_the_certificates_file(pair: Pair, order: str) -> None:
    contents = [pair.leaf, pair.private]
    pair.write(pair.chain, *(contents if order == "certificate first" else contents[::-1]))
    settings = ListenerTls(authority=pair.chain.parent / "unused", certificate=pair.chain)
    listener = ListenerContext(settings, default_names=["pop.example.org"])
    assert listener.warnings == ()
    client = client_context(AUTHORITY.cert_pem.bytes())
    with connected(listener, client, "own.example") as (server, peer):
        shake(server, peer)
        assert shown_names(peer) == ["own.example"]


def test_the_key_may_be_in_a_file_of_its_own(pair: Pair) -> None:
    assert loaded(pair.chain, pair.key) == ()


@pytest.mark.parametrize(
    "write",
    [
        lambda key: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        lambda key: key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        ),
        # As `openssl ecparam -genkey` writes it: the curve stands before the key.
        lambda key: (
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
            + key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        ),
    ],
)
def test_keys_in_every_form_that_openssl_writes(
    pair: Pair, write: Callable[[ec.EllipticCurvePrivateKey], bytes]
) -> None:
    key = load_pem_private_key(pair.private, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    pair.write(pair.key, write(key))
    assert loaded(pair.chain, pair.key) == ()


# What is refused


def test_files_that_are_not_there(pair: Pair, tmp_path: Path) -> None:
    said = pair.refused(chain=tmp_path / "gone.pem")
    assert f"the certificate {tmp_path}/gone.pem cannot be read: No such file or directory" in said
    said = pair.refused(key=tmp_path / "gone.key")
    assert f"the key {tmp_path}/gone.key cannot be read: No such file or directory" in said
    assert "cannot be read: Is a directory" in pair.refused(key=tmp_path)


def test_a_file_that_holds_no_certificate(pair: Pair) -> None:
    pair.write(pair.chain, b"hello\n")
    said = pair.refused(key=pair.key)
    assert f"{pair.chain} holds no certificate in PEM" in said
    pair.write(pair.chain, b"")
    assert "holds no certificate in PEM" in pair.refused(key=pair.key)


def test_a_key_in_the_certificates_place(pair: Pair) -> None:
    said = pair.refused(chain=pair.key)
    assert f"{pair.key} holds a key, but no certificate; name the certificate's file" in said


def test_a_certificate_in_the_keys_place(pair: Pair) -> None:
    said = pair.refused(key=pair.chain)
    assert f"{pair.chain} holds no private key in PEM" in said


def test_a_certificate_without_a_key(pair: Pair) -> None:
    said = pair.refused()
    assert f"{pair.chain} holds a certificate, but no private key; name the key's file" in said


def test_binary_forms(pair: Pair) -> None:
    pair.write(pair.chain, ssl.PEM_cert_to_DER_cert(pair.leaf.decode()))
    said = pair.refused(key=pair.key)
    assert f"{pair.chain} is not PEM but a binary form" in said
    assert f"openssl x509 -inform der -in '{pair.chain}'" in said
    assert f"openssl pkcs12 -nodes -in '{pair.chain}'" in said


def test_a_damaged_certificate(pair: Pair) -> None:
    pair.write(pair.chain, pair.leaf.replace(b"\nMII", b"\nMIJ"))
    assert f"a certificate in {pair.chain} is damaged" in pair.refused(key=pair.key)


def test_a_damaged_key(pair: Pair) -> None:
    middle = len(pair.private) // 2
    pair.write(pair.key, pair.private[:middle] + pair.private[middle + 8 :])
    assert f"the private key in {pair.key} is damaged" in pair.refused(key=pair.key)


def test_a_key_with_a_passphrase_is_not_asked_for(pair: Pair) -> None:
    key = load_pem_private_key(pair.private, None)
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        content = key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"open sesame"))
        pair.write(pair.key, content)
        said = pair.refused(key=pair.key)
        assert f"the key in {pair.key} is locked with a passphrase" in said
        assert "umask 077" in said


def test_a_key_of_another_certificate(pair: Pair) -> None:
    pair.write(pair.key, AUTHORITY.issue_cert("other.example").private_key_pem.bytes())
    said = pair.refused(key=pair.key)
    assert f"the key in {pair.key} does not belong to the certificate in {pair.chain}" in said


def test_a_chain_in_the_wrong_order(pair: Pair) -> None:
    pair.write(pair.chain, AUTHORITY.cert_pem.bytes(), pair.leaf)
    said = pair.refused(key=pair.key)
    assert "the key's certificate is number 2; it has to be the first" in said


def test_a_key_that_openssl_finds_too_weak(pair: Pair) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    pair.write(pair.key, pem(weak))
    pair.write(pair.chain, own_signed(weak))
    said = pair.refused(key=pair.key)
    assert "OpenSSL does not take the certificate" in said
    assert "key too small" in said
    assert "EC P-256 or RSA with 2048 bits" in said


def test_a_key_that_may_not_be_read(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        if path == pair.key:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return pair.leaf

    monkeypatch.setattr(Path, "read_bytes", refuse)
    said = pair.refused(key=pair.key)
    assert f"the key {pair.key} cannot be read: Permission denied; check" in said
    assert "the user that runs popproxy may read it" in said


# What works, but is told of


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def own_signed(key: rsa.RSAPrivateKey) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "own.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(("made", "told"), [(-4 * 365, "expired on"), (3, "is not valid before")])
def test_a_certificate_of_another_time_is_told_of(pair: Pair, made: int, told: str) -> None:
    chain, key = make_authority("own.example", datetime.now(UTC) + timedelta(days=made))
    pair.write(pair.chain, chain)
    pair.write(pair.key, key)
    [warning] = loaded(pair.chain, pair.key)
    assert f"the certificate {pair.chain} {told}" in warning


def test_a_key_that_everybody_can_read_is_told_of(pair: Pair) -> None:
    pair.key.chmod(0o640)
    assert loaded(pair.chain, pair.key) == ()
    pair.key.chmod(0o644)
    [warning] = loaded(pair.chain, pair.key)
    assert f"chmod o= {pair.key}" in warning
