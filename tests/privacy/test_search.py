"""Strings are found in every form, at their place, whatever the pieces."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.privacy import search
from popproxy.privacy.search import Search

STRING = b"Kiesel-Wolke+47"
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "upper case": bytes.upper,
    "base64": base64.b64encode,
    "base64, one octet later": lambda text: base64.b64encode(b"x" + text),
    "base64, two octets later": lambda text: base64.b64encode(b"xy" + text),
    "hexadecimal": lambda text: text.hex().encode(),
    "percent": lambda text: "".join(f"%{octet:02X}" for octet in text).encode(),
    "percent where needed": lambda text: quote(text).encode(),
    "quoted-printable": lambda text: "".join(f"={octet:02X}" for octet in text).encode(),
    "quoted-printable where needed": quopri.encodestring,
    "UTF-16, little end first": lambda text: text.decode().encode("utf-16-le"),
    "UTF-16, big end first": lambda text: text.decode().encode("utf-16-be"),
    "base64 over lines": lambda text: (
        base64.b64encode(text)[:9] + b"\r\n" + base64.b64encode(text)[9:]
    ),
}


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_string_is_found_in_every_form(form: str, size: int) -> None:
    data = b"before " * 9 + FORMS[form](STRING) + b" behind" * 9
    found = list(Search([b"another string", STRING]).find(cut(data, size)))
    assert {one.number for one in found} == {2}, form
    assert all(abs(one.offset - 63) <= 4 for one in found)


@given(st.binary(max_size=300))
def test_what_is_not_there_is_not_found(data: bytes) -> None:
    quiet = data.replace(b"Kiesel", b"")
    if b"kiesel" not in quiet.lower():
        assert list(Search([b"Kiesel-Wolke+47/zart"]).find(iter([quiet]))) == []


def test_a_string_at_a_border_of_pieces_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PIECE", 1_000)
    for before in range(900, 1_100, 7):
        data = b"." * before + STRING + b"." * 40_000
        found = list(Search([STRING]).find(cut(data, 64)))
        assert [one.offset for one in found] == [before]


def test_one_string_inside_another_is_told_by_its_own_number() -> None:
    found = list(Search([b"Kiesel", b"Kiesel-Wolke"]).find(iter([b"a Kiesel-Wolke"])))
    assert {(one.number, one.offset) for one in found} == {(1, 2), (2, 2)}


def test_octets_that_are_no_text_are_looked_for_too() -> None:
    string = b"\xff\xfe\x80secret"
    assert [one.offset for one in Search([string]).find(iter([b"--" + string]))] == [2]
    assert list(Search([]).find(iter([b"anything"]))) == []
    assert STRING.decode() not in repr(Search([STRING]))


def test_a_string_of_several_words_is_found_where_a_line_was_folded() -> None:
    found = list(Search([b"Kiesel und Wolke"]).find(iter([b"a Kiesel\r\n\tund  Wolke b"])))
    assert [(one.offset, one.form) for one in found] == [(2, "wrapped")]
