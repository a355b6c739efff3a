from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from popproxy.formats.escape import exact, restore, visible
from tests.support.records import HARMFUL, octets, texts


@pytest.mark.parametrize("character", HARMFUL)
def test_p43_each_harmful_character_is_escaped_as_text_and_as_bytes(character: str) -> None:
    code = ord(character)
    escape = f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
    assert visible(f"a{character}b") == f"a{escape}b"
    assert visible(f"a{character}b".encode()) == f"a{escape}b"


@pytest.mark.parametrize("octet", range(0x80, 0x100))
def test_p43_an_octet_that_is_not_utf_8_is_escaped(octet: int) -> None:
    assert visible(bytes([octet])) == f"\\x{octet:02x}"


@settings(max_examples=500)
@given(octets, st.booleans())
@example(b"\\" * 3 + b"\n", True)
@example(b"\\\r\n", True)
@example(b"\\\r", True)
@example(b"\xc2\x9b\x9b\\x9b", False)
@example("\\x1b é".encode(), False)
@example("é \r é\r\n".encode(), True)
def test_p43_escapes_are_reversible(original: bytes, lines: bool) -> None:
    assert restore(visible(original, lines=lines)) == original


@given(octets)
def test_p43_nothing_harmful_is_left(original: bytes) -> None:
    assert not set(visible(original)) & set(HARMFUL)


@given(octets)
def test_p43_with_lines_only_crlf_and_lf_are_left(original: bytes) -> None:
    shown = visible(original, lines=True).replace("\r\n", "\n").replace("\n", "")
    assert not set(shown) & set(HARMFUL)


@given(octets, st.booleans())
def test_text_and_its_bytes_look_the_same(original: bytes, lines: bool) -> None:
    as_text = original.decode("utf-8", "surrogateescape")
    assert visible(as_text, lines=lines) == visible(original, lines=lines)


@given(st.lists(texts))
def test_escaped_texts_can_be_joined(pieces: list[str]) -> None:
    assert restore("".join(map(visible, pieces))) == "".join(pieces).encode()


@given(st.text(alphabet=st.characters()))
def test_any_str_is_shown_even_with_surrogates(text: str) -> None:
    shown = visible(text)
    assert not set(shown) & set(HARMFUL)
    assert restore(shown) == restore(visible(restore(shown)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\udc9b", "\\x9b"), ("\ud800", "\\xed\\xa0\\x80"), ("\udc7f", "\\xed\\xb1\\xbf")],
)
def test_surrogates_count_as_octets(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Subject: hello, world",
        "\ttabs\tstay",
        r"C:\Users\mail, \server, \"quoted\"",
        "“Grüße” 邮件 😀 \u200d",
        "",
    ],
)
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text
    assert visible(text.encode()) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\\x1b", "\\\\x1b"),
        ("\\u202e", "\\\\u202e"),
        ("\\\\", "\\\\\\\\"),
        ("end\\", "end\\\\"),
        ("\\\x1b", "\\\\\\x1b"),
    ],
)
def test_a_backslash_is_doubled_where_it_would_begin_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"a\r\nb\nc", "a\r\nb\nc"),
        (b"a\rb\r\n", "a\\x0db\r\n"),
        (b"a\r\r\n", "a\\x0d\r\n"),
        (b"a\r", "a\\x0d"),
        (b"a\\\r\n", "a\\\r\n"),
        (b"a\x0bb\x0cc\r\n", "a\\x0bb\\x0cc\r\n"),
    ],
)
def test_lines_keep_their_ends_and_nothing_else(text: bytes, shown: str) -> None:
    assert visible(text, lines=True) == shown


@pytest.mark.parametrize("text", ["\\", "\\q", "\\x1", "\\xg0", "\\u12", "\\ud800", "\\X1B"])
def test_a_backslash_that_begins_no_escape_is_itself(text: str) -> None:
    assert restore(text) == text.encode()


@given(st.binary(max_size=60))
def test_octets_are_written_exactly_and_come_back(octets: bytes) -> None:
    shown = exact(octets)
    assert shown.isascii()
    assert shown.isprintable()
    assert restore(shown) == octets
