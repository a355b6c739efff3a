"""Searching files for strings, in every form."""

from __future__ import annotations

import base64
import gzip
import io
import os
import quopri
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.privacy.search import PIECE, Search
from popproxy.tools.verify import Place, Verifier

SECRET = "Kiesel%Wolke+47/zart"
OTHER = "Ölwühlmaus!"


def places(path: Path, *strings: str) -> list[Place]:
    verifier = Verifier([string.encode() for string in strings])
    found = [*verifier.paths(str(path))]
    assert all(isinstance(one, Place) for one in found), found
    return [one for one in found if isinstance(one, Place)]


FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("plain", bytes),
    "capitals": ("plain", bytes.upper),
    "base64": ("base64", base64.b64encode),
    "base64, 1": ("base64", lambda s: base64.b64encode(b"1" + s + b"23")),
    "base64, 2": ("base64", lambda s: base64.b64encode(b"12" + s + b"3")),
    "base64, wrapped": ("base64", lambda s: base64.encodebytes(b"-" * 50 + s + b"-" * 50)),
    "base64, quoted": (
        "base64", lambda s: base64.encodebytes(b"-" * 50 + s).replace(b"\n", b"\n> ")
    ),
    "url-safe": ("base64", lambda s: base64.urlsafe_b64encode(b"\xff\xfe" + s)),
    "hexadecimal": ("hexadecimal", lambda s: s.hex().encode()),
    "hexadecimal, colons": ("hexadecimal", lambda s: s.hex(":").upper().encode()),
    "percent": ("percent-encoded", lambda s: b"".join(b"%%%02X" % o for o in s)),
    "quoted-printable": ("quoted-printable", lambda s: b"".join(b"=%02X" % o for o in s)),
    "soft break": ("quoted-printable", lambda s: s[:7] + b"=\r\n" + s[7:]),
    "UTF-16-LE": ("UTF-16-LE", lambda s: s.decode().encode("utf-16-le")),
    "UTF-16-BE": ("UTF-16-BE", lambda s: s.decode().encode("utf-16-be")),
    "base64 of UTF-16-LE": (
        "base64 of UTF-16-LE", lambda s: base64.b64encode(s.decode().encode("utf-16-le"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_every_form_is_found(form: str, secret: str, tmp_path: Path) -> None:
    name, make = FORMS[form]
    if form == "capitals" and not secret.isascii():
        return  # `popproxy.privacy.forms` tests them
    file = tmp_path / "a"
    file.write_bytes(b"first\nsecond " + make(secret.encode()) + b" behind\n")
    found = places(file, "not in it", secret)
    assert (found[0].number, found[0].line) == (2, 2)
    assert name in {one.form for one in found}
    assert found[0].file == str(file)
    assert 11 <= found[0].offset <= 90


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=4, max_size=30), st.binary(max_size=50), st.sampled_from([*FORMS]))
def test_any_string_is_found(secret: str, before: bytes, form: str) -> None:
    octets = secret.encode()
    if len(octets) < 4 or form in ("capitals", "soft break", "base64, quoted", "base64, wrapped"):
        return
    search = Search([octets])
    text = before + b"\n" + FORMS[form][1](octets) + b"\n"
    assert [*search.find(iter([text]))], text


def test_nothing_is_found_in_noise() -> None:
    noise = random.Random(1).randbytes(300_000)  # noqa: S311 - no secret hangs on it
    assert not [*Search([b"Kiesel", b"Wolke"]).find(iter([noise]))]


@pytest.mark.parametrize("at", [PIECE - 3, PIECE, 2 * PIECE - 10, 3 * PIECE + 16_380])
def test_the_borders_of_pieces_hide_nothing(at: int, tmp_path: Path) -> None:
    file = tmp_path / "a"
    octets = bytearray(b"-" * (4 * PIECE))
    octets[at : at + len(SECRET)] = SECRET.encode()
    octets[5] = 10
    file.write_bytes(octets)
    found = places(file, SECRET)
    assert [(one.offset, one.line) for one in found] == [(at, 2)]


def test_folders_and_archives(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep.txt", f"\n\n{SECRET}\n")
    outer = tmp_path / "folder" / "b.zip"
    outer.parent.mkdir()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.zip", inner.getvalue())
        archive.writestr("clean.txt", "nothing")
        archive.writestr(f"{SECRET.replace('/', '_')}.txt", "")
    (tmp_path / "folder" / "c.gz").write_bytes(gzip.compress(SECRET.encode()))
    (tmp_path / "folder" / "link").symlink_to(tmp_path)
    found = places(tmp_path, SECRET, SECRET.replace("/", "_"))
    names = [one.file.removeprefix(str(outer.parent) + "/") for one in found]
    assert "b.zip!inner.zip!deep.txt" in names
    assert "c.gz!" in names
    assert "b.zip, the name of what it holds" in names
    assert len({(one.file, one.offset) for one in found}) == len(names)


def test_the_list_itself_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(SECRET)
    verifier = Verifier([SECRET.encode()], (tmp_path / "list").stat())
    assert not [*verifier.paths(str(tmp_path))]
    assert verifier.sum.skipped == 1


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and nothing behind")
    verifier = Verifier([SECRET.encode()])
    found = [*verifier.paths(str(tmp_path)), *verifier.paths(str(tmp_path / "none"))]
    assert [str(one) for one in found][1].endswith("cannot be read: No such file or directory")
    assert verifier.sum.problems == 2


def test_nothing_shows_a_string() -> None:
    assert repr(Search([SECRET.encode()])) == "<Search>"
    assert quopri.decodestring(b"=20") == b" "
    assert os.sep
