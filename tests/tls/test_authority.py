"""The local authority: made once, refused when something is wrong with it, renewed (P34)."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from popproxy.tls import authority, minting
from popproxy.tls.authority import Authority, Form, export, read_certificate, renew
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.folder import CERTIFICATE, KEY, LOCK, Folder
from tests.support.authorities import refused, serial


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


# Making


def test_p34_the_authority_is_made_at_first_use_and_stays(place: Path) -> None:
    with pytest.raises(TlsSetupError, match="there is no local authority"):
        Authority.load(place)
    assert not place.exists()
    made = Authority.open(place)
    assert serial(Authority.open(place)) == serial(Authority.load(place)) == serial(made)


def test_p34_it_is_p256_with_path_length_0_for_servers_only(place: Path) -> None:
    certificate = Authority.open(place).certificate
    assert isinstance(key := certificate.public_key(), ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(days=3 * 365)
    certificate.verify_directly_issued_by(certificate)


def test_p34_every_authority_differs(tmp_path: Path) -> None:
    first, second = (Authority.open(tmp_path / name).certificate for name in "ab")
    assert first.public_key() != second.public_key()
    assert first.serial_number != second.serial_number


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_p34_modes_are_exact_whatever_the_umask(place: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Authority.open(place)
    finally:
        os.umask(before)
    assert mode(place) == mode(place.parent) == mode(place.parent.parent) == 0o700
    assert mode(place / KEY) == mode(place / LOCK) == 0o600
    assert mode(place / CERTIFICATE) == 0o644
    Authority.load(place)


def test_p34_the_key_is_never_open_to_others_not_even_for_a_moment(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int, int]] = []
    real = os.open

    def spy(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            asked.append((str(path), flags, mode))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", spy)
    Authority.open(place)
    by_name = {name: (flags, mode) for name, flags, mode in asked}
    assert set(by_name) == {LOCK, f"{KEY}.new", f"{CERTIFICATE}.new"}
    flags, asked_mode = by_name[f"{KEY}.new"]
    assert asked_mode == 0o600
    assert flags & os.O_EXCL
    assert flags & os.O_NOFOLLOW
    assert flags & os.O_CLOEXEC


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TlsSetupError, match="cannot be used: Not a directory; name another one"):
        Authority.open(tmp_path / "file" / "authority")
    (tmp_path / "file").chmod(0o600)
    assert "cannot be used: Not a directory" in refused(tmp_path / "file")


def test_a_full_disk_says_so_and_leaves_nothing_in_place(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TlsSetupError, match=r"made in .*: No space left on device; name"):
            Authority.open(place)
    assert not (place / KEY).exists()
    assert not (place / CERTIFICATE).exists()
    Authority.open(place)


# What is wrong with it


def test_half_a_pair_is_refused(place: Path) -> None:
    Authority.open(place)
    key = (place / KEY).read_bytes()
    (place / KEY).unlink()
    said = refused(place)
    assert f"lacks its key, {KEY}" in said
    assert f"popproxy ca renew --authority {place}" in said
    (place / CERTIFICATE).unlink()
    (place / KEY).touch(0o600)
    (place / KEY).write_bytes(key)
    assert f"lacks its certificate, {CERTIFICATE}" in refused(place)


def test_a_pair_that_does_not_belong_together_is_refused(place: Path, tmp_path: Path) -> None:
    Authority.open(place)
    Authority.open(tmp_path / "other")
    (tmp_path / "other" / KEY).replace(place / KEY)
    assert "do not belong together; put the right one back" in refused(place)


def test_files_that_are_something_else_are_refused(place: Path) -> None:
    Authority.open(place)
    key, certificate = (place / KEY).read_bytes(), (place / CERTIFICATE).read_bytes()
    (place / KEY).write_bytes(b"hello")
    assert f"{place / KEY} does not hold an EC or RSA key in PEM" in refused(place)
    odd = ed25519.Ed25519PrivateKey.generate()
    (place / KEY).write_bytes(odd.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert "does not hold an EC or RSA key" in refused(place)
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    (place / KEY).write_bytes(locked)
    said = refused(place)
    assert "is locked with a passphrase" in said
    assert f"openssl pkey -in {place / KEY}" in said
    (place / KEY).write_bytes(key)
    (place / CERTIFICATE).write_bytes(b"")
    assert f"{place / CERTIFICATE} does not hold the certificate of an authority" in refused(place)
    leaf = trustme.CA().issue_cert("a.example").cert_chain_pems[0].bytes()
    (place / CERTIFICATE).write_bytes(leaf)
    assert "does not hold the certificate of an authority" in refused(place)
    (place / CERTIFICATE).write_bytes(certificate)
    Authority.load(place)


def made_at(place: Path, when: datetime) -> None:
    """Put an authority in place that was made at a certain time."""
    with Folder.opened(place, make=True) as opened, opened.locked():
        opened.put(*minting.make_authority("an authority of old", when))


def test_an_authority_that_expired_is_refused(place: Path) -> None:
    made_at(place, datetime.now(UTC) - timedelta(days=3 * 365))
    said = refused(place)
    assert "expired on" in said
    assert f"popproxy ca renew --authority {place}" in said


def test_an_authority_of_tomorrow_is_refused(place: Path) -> None:
    made_at(place, datetime.now(UTC) + timedelta(days=3))
    assert "set the clock" in refused(place)


def test_an_authority_that_ends_soon_is_told_of(place: Path) -> None:
    assert list(Authority.open(place).warnings()) == []
    made_at(place, datetime.now(UTC) - timedelta(days=3 * 365 - 30))
    [warning] = Authority.open(place).warnings()
    assert "expires on" in warning
    assert "popproxy ca renew" in warning


def test_a_leaf_does_not_outlive_its_authority(place: Path) -> None:
    made_at(place, datetime.now(UTC) - timedelta(days=3 * 365 - 30))
    one = Authority.open(place)
    leaf = x509.load_pem_x509_certificate(one.leaf(["a.example"]))
    assert leaf.not_valid_after_utc == one.certificate.not_valid_after_utc
    # Used for longer than it is valid, it makes leaves all the same, which have expired.
    later = x509.load_pem_x509_certificate(
        one.leaf(["a.example"], now=datetime.now(UTC) + timedelta(days=99))
    )
    assert later.not_valid_after_utc < datetime.now(UTC) + timedelta(days=99)


def test_a_leaf_without_a_name_is_not_made(place: Path) -> None:
    with pytest.raises(ValueError, match="needs a name"):
        Authority.open(place).leaf(["?"])


def test_an_authority_of_the_users_own_works_with_rsa_too(place: Path) -> None:
    theirs = trustme.CA(key_type=trustme.KeyType.RSA)
    with Folder.opened(place, make=True) as opened, opened.locked():
        opened.put(theirs.cert_pem.bytes(), theirs.private_key_pem.bytes())
    one = Authority.open(place)
    leaf = x509.load_pem_x509_certificate(one.leaf(["a.example"]))
    leaf.verify_directly_issued_by(one.certificate)


# Renewing


def test_renewing_keeps_the_old_one_aside(place: Path) -> None:
    old = Authority.open(place).certificate
    key = (place / KEY).read_bytes()
    renewal = renew(place)
    assert renewal.old == old
    assert renewal.certificate == Authority.load(place).certificate
    assert renewal.certificate.public_key() != old.public_key()
    assert renewal.certificate.subject != old.subject
    certificate_file, key_file = renewal.kept
    assert x509.load_pem_x509_certificate(certificate_file.read_bytes()) == old
    assert key_file.read_bytes() == key
    assert mode(key_file) == 0o600
    again = renew(place)
    assert again.old == renewal.certificate
    assert not set(again.kept) & set(renewal.kept)
    assert len({one.subject for one in (old, renewal.certificate, again.certificate)}) == 3


def test_renewing_mends_what_is_refused(place: Path) -> None:
    Authority.open(place)
    (place / KEY).chmod(0o644)
    kept = renew(place).kept
    assert [mode(path) for path in kept] == [0o644, 0o600]
    (place / KEY).unlink()
    assert len(renew(place).kept) == 1
    (place / CERTIFICATE).write_text("damaged")
    renewal = renew(place)
    assert renewal.old is None
    assert renewal.kept[0].read_text() == "damaged"
    Authority.load(place)


def test_renewing_where_there_is_none_makes_one(place: Path) -> None:
    renewal = renew(place)
    assert renewal.old is None
    assert renewal.kept == ()
    assert renewal.certificate == Authority.load(place).certificate


def test_names_have_no_characters_that_viewers_trip_over(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("caf\u00e9 \x1b[31m.example", "", "a" * 200):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        name = authority.common_name(renew(place).certificate)
        assert name.isascii()
        assert name.isprintable()
        assert name.startswith("popproxy local authority (")
        assert len(name) <= minting.LONGEST_COMMON_NAME


# Exporting


def test_the_certificate_can_be_read_whatever_the_state_of_the_key(place: Path) -> None:
    assert read_certificate(place) is None
    made = Authority.open(place).certificate
    (place / KEY).chmod(0o644)
    place.chmod(0o777)
    assert read_certificate(place) == made
    (place / KEY).unlink()
    assert read_certificate(place) == made
    (place / CERTIFICATE).unlink()
    assert read_certificate(place) is None


@pytest.mark.parametrize("form", ["pem", "der", "p12"])
def test_p34_exports_hold_the_certificate_and_never_the_key(place: Path, form: Form) -> None:
    one = Authority.open(place).certificate
    content = export(one, form)
    if form == "pem":
        assert x509.load_pem_x509_certificate(content) == one
    elif form == "der":
        assert x509.load_der_x509_certificate(content) == one
    else:
        store = pkcs12.load_pkcs12(content, None)
        assert store.key is None
        assert [entry.certificate for entry in store.additional_certs] == [one]
    private = load_pem_private_key((place / KEY).read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.private_numbers().private_value.to_bytes(32, "big") not in content
    assert b"PRIVATE" not in content
