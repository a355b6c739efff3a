"""`popproxy ca`: what a person sees of the local authority, and what ends up in files (P34)."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from popproxy.cli.main import main
from popproxy.cli.places import authority_directory
from popproxy.tls import minting
from popproxy.tls.authority import Authority
from popproxy.tls.folder import CERTIFICATE, KEY, Folder


class Person:
    """Somebody with a home, who types commands and reads what they say."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.env: Mapping[str, str] = {"HOME": str(home)}
        self.folder = home / ".local" / "share" / "popproxy" / "authority"
        self._capsys = capsys

    def says(self, *argv: str, status: int = 0) -> tuple[str, str]:
        """Run `popproxy ca …`, and give what it wrote to standard output and error."""
        assert main(["ca", *argv], self.env) == status
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        if status:
            assert captured.err.startswith("popproxy: ")
        return captured.out, captured.err

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / CERTIFICATE).read_bytes())

    @property
    def secret(self) -> bytes:
        """The octets that make the private key."""
        key = load_pem_private_key((self.folder / KEY).read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key.private_numbers().private_value.to_bytes(32, "big")


@pytest.fixture
def person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Person:
    monkeypatch.chdir(tmp_path)
    return Person(tmp_path / "home", capsys)


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


# Where it is


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"HOME": "/home/bo"}, "/home/bo/.local/share/popproxy/authority"),
        ({"HOME": "/home/bo", "XDG_DATA_HOME": "/data"}, "/data/popproxy/authority"),
        (
            {"HOME": "/home/bo", "XDG_DATA_HOME": "da/ta"},
            "/home/bo/.local/share/popproxy/authority",
        ),
    ],
)
def test_the_default_place_is_where_data_of_a_user_belongs(
    env: dict[str, str], expected: str
) -> None:
    assert authority_directory(env) == Path(expected)


def test_the_default_place_is_known_without_a_home_in_the_environment() -> None:
    assert authority_directory({}).is_absolute()


def test_path_prints_the_certificates_place_and_nothing_else(person: Person) -> None:
    out, err = person.says("path")
    assert out == f"{person.folder / CERTIFICATE}\n"
    assert "no such file yet" in err
    Authority.open(person.folder)
    assert person.says("path") == (f"{person.folder / CERTIFICATE}\n", "")
    assert person.says("path", "--authority", "here")[0] == f"{Path.cwd()}/here/{CERTIFICATE}\n"


def test_mistakes_in_the_configuration_are_told(person: Person) -> None:
    Path("popproxy.toml").write_text("[log]\nlevle = 3\n")
    _, err = person.says("path", status=2)
    assert "popproxy.toml:2" in err
    _, err = person.says("show", "--config", "gone.toml", status=2)
    assert "no configuration file gone.toml" in err


# Show


def test_show_says_what_to_do_if_there_is_none_and_makes_none(person: Person) -> None:
    out, err = person.says("show", status=1)
    assert out == ""
    assert f"there is no local authority in {person.folder} yet" in err
    assert "popproxy ca export popproxy.crt" in err
    assert not person.folder.exists()


def test_show_tells_name_dates_fingerprint_and_place(person: Person) -> None:
    Authority.open(person.folder)
    out, err = person.says("show")
    assert out.startswith("popproxy local authority (")
    assert str(person.folder / CERTIFICATE) in out
    assert str(person.folder / KEY) in out
    assert fingerprint(person.certificate) in out
    assert f"{person.certificate.not_valid_after_utc:%Y-%m-%d}" in out
    assert "popproxy help trust" in out
    assert err == ""


def test_show_tells_how_to_trust_it_on_this_system(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority.open(person.folder)
    monkeypatch.setattr(sys, "platform", "linux")
    assert "update-ca-certificates" in person.says("show")[0]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "security add-trusted-cert" in person.says("show")[0]


def test_show_names_the_trouble_with_a_key(person: Person) -> None:
    Authority.open(person.folder)
    (person.folder / KEY).chmod(0o644)
    out, err = person.says("show", status=1)
    assert fingerprint(person.certificate) in out
    assert "cannot be used" in out
    assert "is open to other users (mode 0644)" in err
    assert "Close it with: chmod 600" in err
    (person.folder / KEY).unlink()
    out, err = person.says("show", status=1)
    assert "is not here" in out
    assert "lacks its key" in err


def test_show_names_damage(person: Person) -> None:
    Authority.open(person.folder)
    (person.folder / CERTIFICATE).write_text("hello")
    out, err = person.says("show", status=1)
    assert out == ""
    assert "does not hold the certificate of an authority in PEM" in err
    assert "popproxy ca renew" in err


def test_show_and_export_tell_that_it_expired(person: Person) -> None:
    with Folder.opened(person.folder, make=True) as opened, opened.locked():
        opened.put(*minting.make_authority("of old", datetime.now(UTC) - timedelta(days=4 * 365)))
    out, err = person.says("show", status=1)
    assert ", expired" in out
    assert "popproxy ca renew" in err
    assert "popproxy ca renew" in person.says("export", "x.pem")[1]


# Export


@pytest.mark.parametrize(
    ("name", "options", "read"),
    [
        ("x.pem", [], x509.load_pem_x509_certificate),
        ("x.crt", [], x509.load_pem_x509_certificate),
        ("X.DER", [], x509.load_der_x509_certificate),
        ("x.cer", [], x509.load_der_x509_certificate),
        ("x.p12", [], lambda data: pkcs12.load_pkcs12(data, None).additional_certs[0].certificate),
        ("x.pfx", [], lambda data: pkcs12.load_pkcs12(data, None).additional_certs[0].certificate),
        ("x.der", ["--format", "pem"], x509.load_pem_x509_certificate),
        ("x", ["--format", "der"], x509.load_der_x509_certificate),
    ],
)
def test_p34_export_writes_the_certificate_and_never_the_key(
    person: Person, name: str, options: list[str], read: Callable[[bytes], x509.Certificate]
) -> None:
    out, err = person.says("export", name, *options)
    assert "made a new local authority" in err  # there was none
    assert fingerprint(person.certificate) in out
    content = Path(name).read_bytes()
    assert read(content) == person.certificate
    assert person.secret not in content
    assert b"PRIVATE" not in content
    assert set(Path().iterdir()) == {Path(name), Path("home")}


def test_p34_nothing_but_the_key_file_ever_holds_the_key(person: Person, tmp_path: Path) -> None:
    for name in ("x.pem", "x.der", "x.p12"):
        person.says("export", name)
    person.says("show")
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != person.folder / KEY:
            content = path.read_bytes()
            assert person.secret not in content
            assert b"PRIVATE" not in content


def test_export_to_standard_output(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    Authority.open(person.folder)
    for options, expected in (
        ([], person.certificate.public_bytes(Encoding.PEM)),
        (["--format", "der"], person.certificate.public_bytes(Encoding.DER)),
    ):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
        person.says("export", *options, "-")
        assert written.getvalue() == expected


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_export_spares_a_terminal_what_is_binary(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Screen())
    _, err = person.says("export", "--format", "p12", "-", status=2)
    assert "p12 is binary, and standard output is a terminal" in err
    assert not person.folder.exists()


def test_export_replaces_nothing_unless_it_is_told(person: Person) -> None:
    Path("x.pem").write_text("mine")
    _, err = person.says("export", "x.pem", status=2)
    assert "x.pem exists" in err
    assert "--force" in err
    assert Path("x.pem").read_text() == "mine"
    person.says("export", "--force", "x.pem")
    assert x509.load_pem_x509_certificate(Path("x.pem").read_bytes()) == person.certificate
    assert len(list(Path().iterdir())) == 2


def test_export_does_not_write_through_links(person: Person) -> None:
    Path("victim").write_text("mine")
    Path("x.pem").symlink_to("victim")
    person.says("export", "x.pem", status=2)
    person.says("export", "--force", "x.pem")
    assert Path("victim").read_text() == "mine"
    assert not Path("x.pem").is_symlink()
    Path("y.pem").symlink_to("nowhere")
    person.says("export", "y.pem", status=2)
    assert not Path("nowhere").exists()


def test_export_wants_to_know_the_form(person: Person) -> None:
    _, err = person.says("export", "popproxy.txt", status=2)
    assert "does not tell the form" in err
    assert ".pem" in err
    assert "--format" in err
    assert not person.folder.exists()


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_export_to_where_nothing_can_be_written(person: Person, force: list[str]) -> None:
    _, err = person.says("export", *force, "gone/x.pem", status=1)
    assert "gone/x.pem cannot be written: No such file or directory" in err
    assert "Name a file in a folder that exists" in err
    Path("full.pem").mkdir()
    _, err = person.says("export", "--force", "full.pem", status=1)
    assert "full.pem cannot be written: Is a directory" in err
    assert sorted(os.listdir()) == ["full.pem", "home"]  # noqa: PTH208


# Renew


def test_renew_asks_and_does_nothing_without_an_answer(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority.open(person.folder)
    before = person.certificate
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    _, err = person.says("renew", status=2)
    assert "nobody can be asked" in err
    assert "popproxy ca renew --yes" in err
    monkeypatch.setattr(sys, "stdin", Screen("n\n"))
    assert main(["ca", "renew"], person.env) == 130
    assert person.certificate == before
    monkeypatch.setattr(sys, "stdin", Screen("y\n"))
    assert main(["ca", "renew"], person.env) == 0
    assert person.certificate != before


def test_renew_says_what_is_new_what_was_old_and_what_to_do(person: Person) -> None:
    Authority.open(person.folder)
    old, secret = person.certificate, person.secret
    out, err = person.says("renew", "--yes")
    assert err == ""
    assert fingerprint(person.certificate) in out
    assert fingerprint(old) in out
    kept = [Path(line.split("kept as ")[1]) for line in out.splitlines() if "kept as" in line]
    assert x509.load_pem_x509_certificate(kept[0].read_bytes()) == old
    assert kept[1].stat().st_mode & 0o777 == 0o600
    assert "popproxy help trust" in out
    assert "until it is started again" in out
    assert secret != person.secret
    assert str(kept[0]) in person.says("show")[0]


def test_renew_where_there_is_none_needs_no_question(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    out, _ = person.says("renew")
    assert fingerprint(person.certificate) in out
    assert "old" not in out
    assert "kept as" not in out


def test_renew_mends_a_key_that_others_could_read(person: Person) -> None:
    Authority.open(person.folder)
    (person.folder / KEY).chmod(0o644)
    person.says("show", status=1)
    person.says("renew", "--yes")
    person.says("show")


def test_a_folder_that_cannot_be_made(person: Person) -> None:
    Path("file").touch()
    for argv in (["export", "x.pem"], ["renew", "--yes"]):
        _, err = person.says(*argv, "--authority", "file/authority", status=1)
        assert "file/authority, cannot be used: Not a directory" in err
        assert "Name another one" in err
