"""What a certificate says of itself, and which names it covers, whatever it holds (P32)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.tls.certificates import Told, covers, read
from tests.support.certificates import Certificates, issue
from tests.support.forged import EXPIRED, forge

HOST = "pop.example.test"


def der(made: Certificates) -> bytes:
    return ssl.PEM_cert_to_DER_cert(made.chain_file.read_text())


def told_of(folder: Path, names: Sequence[str] | bytes, issuer: str = "An Authority") -> Told:
    told = read(der(forge(folder, names, issuer=issuer)))
    assert told is not None
    return told


def test_p32_what_is_told_of_a_certificate(tmp_path: Path) -> None:
    content = der(forge(tmp_path, [HOST, "*.Example.TEST"], days=EXPIRED))
    told = read(content)
    assert told is not None
    assert told.sha256 == sha256(content).hexdigest()
    assert told.names == (HOST, "*.example.test")
    assert told.issuer == "An Authority"
    assert not told.self_signed
    now = datetime.now(UTC)
    assert timedelta(19) < now - told.not_before < timedelta(21)
    assert timedelta(9) < now - told.not_after < timedelta(11)


def test_an_authority_of_its_own_is_self_signed(tmp_path: Path) -> None:
    made = forge(tmp_path, [HOST])
    told = read(ssl.PEM_cert_to_DER_cert(made.ca_file.read_text()))
    assert told is not None
    assert told.self_signed
    assert told.names == ()


def test_addresses_stand_behind_the_names(tmp_path: Path) -> None:
    made = issue(tmp_path, "2001:db8::1", "192.0.2.1", HOST)
    told = read(der(made))
    assert told is not None
    assert told.names == (HOST, "2001:db8::1", "192.0.2.1")


@pytest.mark.parametrize(
    "name",
    ["a\r\n+OK", "a\x00.test", "\x1b[31m", "a b.test", "", "*", "a.*.test", "**.test", "x" * 64],
)
def test_p32_what_is_no_host_name_is_not_told(tmp_path: Path, name: str) -> None:
    assert told_of(tmp_path, [name, HOST]).names == (HOST,)


@pytest.mark.parametrize("octets", [b"", b"\x30\x80", b"+OK\r\n"])
def test_a_certificate_whose_names_are_damaged_is_damaged(tmp_path: Path, octets: bytes) -> None:
    assert read(der(forge(tmp_path, octets))) is None


def test_p32_names_that_are_not_ascii_are_none(tmp_path: Path) -> None:
    assert told_of(tmp_path, b"\x30\x04\x82\x02\xc3\xb6").names == ()


@pytest.mark.parametrize("issuer", ["a\r\n+OK", "\x1b]0;x\x07", "\u202egnp", "\x85\x9b", "q" * 64])
def test_p32_an_issuer_is_told_in_printable_ascii(tmp_path: Path, issuer: str) -> None:
    told = told_of(tmp_path, [HOST], issuer)
    assert told.issuer.isascii()
    assert told.issuer.isprintable()
    assert 0 < len(told.issuer) <= 80


@pytest.mark.parametrize("issuer", ["", "   "])
def test_an_issuer_without_a_name(tmp_path: Path, issuer: str) -> None:
    assert told_of(tmp_path, [HOST], issuer).issuer == "an issuer without a name"


def test_p32_a_name_behind_thousands_is_covered(tmp_path: Path) -> None:
    told = told_of(tmp_path, [f"n{number}.test" for number in range(10_000)])
    assert covers(told, "n9999.test")
    assert not covers(told, "n10000.test")


def test_a_certificate_that_was_cut_off_is_damaged(tmp_path: Path) -> None:
    content = der(forge(tmp_path, [HOST]))
    for length in range(0, len(content), 7):
        assert read(content[:length]) is None


@given(st.binary(max_size=200))
def test_octets_that_are_no_certificate_are_none(octets: bytes) -> None:
    assert read(octets) is None


LABEL = st.from_regex(r"[a-z]([a-z0-9]{0,10})", fullmatch=True)


@given(st.lists(LABEL, min_size=2, max_size=4), LABEL)
def test_p32_a_wildcard_stands_for_one_label(labels: list[str], label: str) -> None:
    base, now = ".".join(labels), datetime.now(UTC)
    told = Told(
        sha256="",
        names=(f"*.{base}",),
        issuer="",
        self_signed=False,
        not_before=now,
        not_after=now,
    )
    assert covers(told, f"{label}.{base}")
    assert covers(told, f"{label}.{base}.".upper())
    assert not covers(told, base)
    assert not covers(told, f"{label}.{label}.{base}")
    assert not covers(told, f"{label}{base}")
    assert not covers(told, f".{base}")
