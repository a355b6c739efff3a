"""Words of a source are known again in every form, and what is nobody's is let be."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable
from urllib.parse import quote

import pytest

from popproxy.privacy.sanitise import personal
from popproxy.privacy.sanitise.personal import Personal

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "other case": bytes.swapcase,
    "base64": lambda text: base64.b64encode(b"xx" + text + b" and more"),
    "hexadecimal": lambda text: text.hex().encode(),
    "percent-encoded": lambda text: "".join(f"%{octet:02x}" for octet in text).encode(),
    "percent, where needed": lambda text: quote(text).encode(),
    "quoted-printable": lambda text: "".join(f"={octet:02X}" for octet in text).encode(),
    "UTF-16": lambda text: text.decode().encode("utf-16-le"),
    "HTML": lambda text: "".join(f"&#{octet};" for octet in text).encode(),
    "base64 of UTF-16": lambda text: base64.b64encode(text.decode().encode("utf-16-le")),
}


def knows(*texts: bytes, numbers: bool = False) -> Personal:
    made = Personal()
    for text in texts:
        made.learn(text, numbers=numbers)
    return made


@pytest.mark.parametrize("form", FORMS)
def test_a_word_is_known_again_in_every_form(form: str) -> None:
    words = knows(b"Dear Konstanze, the Mandelbaum blooms\r\n")
    text = b"a line\r\nwith " + FORMS[form](b"mandelbaum") + b" in it\r\n"
    assert list(words.find(text)), form
    assert not list(knows(b"nothing of the kind").find(text))


@pytest.mark.parametrize(
    "said",
    [
        quopri.encodestring("Das Mandelbäumchen blüht".encode()),
        b"Das%20Mandelbaum",
        b"=?utf-8?B?" + base64.b64encode(b"Der Mandelbaum") + b"?=",
        base64.encodebytes(b"In a long text the Mandelbaum blooms. " * 6),
        base64.encodebytes("Der Mandelbaum".encode("utf-16-le")),
    ],
)
def test_words_are_learned_with_their_encoding_undone(said: bytes) -> None:
    assert list(knows(said).find(b"a mandelbaum, or mandelb\xc3\xa4umchen"))


def test_a_word_over_two_lines_is_found() -> None:
    words = knows(b"Mandelbaum")
    assert [trace.form for trace in words.find(b"a Mandel\r\nbaum b")] == ["over two lines, plain"]
    assert list(words.find(b"a Mandel=\r\nbaum"))
    assert list(words.find(b"nothing\r\nto find")) == []


def test_places_are_those_of_the_file() -> None:
    (trace,) = knows(b"Mandelbaum").find(b"one line\r\nand Mandelbaum\r\n")
    assert (trace.offset, trace.form) == (14, "plain")


@pytest.mark.parametrize("text", [b"messages", b"octets", b"Content-Type", b"xxxxxxxx", b"000000"])
def test_words_of_the_protocol_and_fillings_are_nobodys(text: bytes) -> None:
    assert not list(knows(text).find(text))


def test_short_words_are_not_looked_for_and_long_ones_by_their_beginning() -> None:
    assert len(knows(b"Anna lives here now")) == 0
    long = b"Donaudampfschiff" * 10
    assert list(knows(long).find(b"a " + long + b" b"))


def test_numbers_count_in_messages_only() -> None:
    assert knows(b"call 49891234567", numbers=True).numbers_in(b"x 49891234567 y") == 2
    assert knows(b"call 49891234567").numbers_in(b"x 49891234567 y") is None
    assert knows(b"call 49891234567", numbers=True).holds(b"49891234567")


def test_what_a_file_has_of_its_own_is_allowed() -> None:
    words = Personal(allowed=[b"mandelbaum"])
    words.learn(b"Mandelbaum and Rumpelstilz")
    assert not list(words.find(b"Mandelbaum"))
    assert list(words.find(b"Rumpelstilz"))
    assert words.holds(b"a rumpelstilz") is True
    assert words.holds(b"nobody here") is False


def test_words_are_bounded_and_what_is_left_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal, "MAX_WORDS", 3)
    words = knows(b"alphabet bergamot citronella")
    assert words.complete
    words.learn(b"bergamot")
    assert words.complete
    words.learn(b"dandelion")
    assert not words.complete
    assert len(words) == 3
    assert "bergamot" not in repr(words)
