"""The search for secrets: every form, every place, no accident, within bounds."""

from __future__ import annotations

import base64
import pickle
import quopri
import tracemalloc
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from popproxy.privacy.forms import folded
from popproxy.privacy.learned import (
    MAX_OCTETS,
    MAX_SECRETS,
    MIN_SECRET,
    REACH,
    Learned,
    united,
)
from popproxy.privacy.masking import replace

SECRET = b"Tr0ut%Lake+9/Xy=z"


def learned(*secrets: bytes) -> Learned:
    made = Learned()
    made.learn(secrets or (SECRET,))
    return made


def found(text: bytes, *secrets: bytes) -> list[bytes]:
    return [text[start:end] for start, end in learned(*secrets).find(text).spans]


def wrapped(text: bytes, width: int, line_end: bytes = b"\r\n") -> bytes:
    return line_end.join(text[at : at + width] for at in range(0, len(text), width))


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        SECRET.upper(),
        SECRET.lower(),
        SECRET.swapcase(),
        base64.b64encode(SECRET),
        base64.urlsafe_b64encode(SECRET).rstrip(b"="),
        SECRET.hex().encode(),
        SECRET.hex().upper().encode(),
        SECRET.hex(":").encode(),
        SECRET.hex(" ").encode(),
        urllib.parse.quote(SECRET, safe="").encode(),
        urllib.parse.quote(SECRET, safe="/=").encode(),
        "".join(f"%{octet:02x}" for octet in SECRET).encode(),
        "".join(f"%{octet:02X}" for octet in SECRET).encode(),
        "".join(f"={octet:02X}" for octet in SECRET).encode(),
        quopri.encodestring(SECRET),
        SECRET[:5] + b"=\r\n" + SECRET[5:],
        SECRET[:5] + b"=\n" + SECRET[5:],
        b"%54r%30ut%25Lake+9/Xy=z",
        b"=25".join(urllib.parse.quote(SECRET, safe="").encode().split(b"%")),
        wrapped(base64.b64encode(SECRET), 4),
        wrapped(base64.b64encode(SECRET), 7, b"\n "),
        wrapped(SECRET.hex().encode(), 5, b"\r\n\t"),
        wrapped(base64.b64encode(SECRET), 9, b"=\r\n").replace(b"=\r\n", b"=\r\n"),
        urllib.parse.quote(base64.b64encode(SECRET), safe="").encode(),
    ],
)
def test_p04_every_form_is_found_whole(form: bytes) -> None:
    for text, start in ((form, 0), (b"<" + form + b">\r\n", 1), (b"\r\n(" + form, 3)):
        ((first, last),) = learned().find(text).spans
        assert (first, text[start:last].rstrip(b">\r\n")) == (start, form)


@pytest.mark.parametrize("before", [b"", b"\0", b"ad", b"\0ada\0", b"user=ada:", b"0123456789"])
@pytest.mark.parametrize("behind", [b"", b"x", b"xy", b" and the text goes on"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_p02_no_letter_of_base64_that_holds_a_bit_of_the_secret_is_left(
    before: bytes, behind: bytes, encode: Callable[[bytes], bytes]
) -> None:
    twin = bytes(octet ^ 0x15 for octet in SECRET)
    shown = set()
    for secret in (SECRET, twin):
        text = encode(before + secret + behind)
        ((start, end),) = learned(secret).find(text).spans
        shown.add(text[:start] + b"********" + text[end:])
    assert len(shown) == 1


def test_p03_the_end_of_a_base64_word_does_not_tell_how_long_the_secret_is() -> None:
    shown = set()
    for secret in (SECRET, SECRET + b"1", SECRET + b"12"):
        text = b"token " + base64.b64encode(b"ab" + secret + b" rest") + b" ok"
        ((start, end),) = learned(secret).find(text).spans
        shown.add(text[:start] + b"********" + text[end:])
    assert shown == {b"token YW******** ok"}


def test_p04_beyond_ascii_case_is_folded_too() -> None:
    secret = "Öl€wühlmäuse".encode()
    assert found("(ÖL€WÜHLMÄUSE)".encode(), secret) == ["ÖL€WÜHLMÄUSE".encode()]
    assert found("öl€Wühlmäuse".encode(), secret) == ["öl€Wühlmäuse".encode()]


def test_p04_blanks_may_have_become_something_else() -> None:
    secret = b"correct horse battery"
    for blank in (b"_", b"+", b"%20", b"=20"):
        text = secret.replace(b" ", blank)
        assert found(b"<" + text + b">", secret) == [text]


def test_p04_a_soft_line_break_takes_the_dot_of_byte_stuffing_along() -> None:
    text = b"x ab.de=\r\n..fghij y"
    assert found(text, b"ab.de.fghij") == [b"ab.de=\r\n..fghij"]


def test_p05_short_secrets_are_not_looked_for() -> None:
    assert MIN_SECRET == 6
    assert found(b"abcde and " + base64.b64encode(b"abcde"), b"abcde") == []
    assert found(b"abcdef", b"abcdef") == [b"abcdef"]


def test_a_plain_secret_is_not_put_together_from_pieces_that_stand_apart() -> None:
    for text in (b"secret\r\nword", b"secret word", b"sec:retword", b"secre\ttword"):
        assert found(text, b"secretword") == []


def test_what_is_no_secret_is_left_alone() -> None:
    text = b"Nothing of =C3=A4 kind, 100% sure, see %zz and a=b, \r\n==\r\n=\r %"
    assert found(text, SECRET, b"another one") == []
    assert found(b"") == []


def test_p03_secrets_side_by_side_are_one_find() -> None:
    assert found(b"(" + SECRET * 3 + b")") == [SECRET * 3]
    assert found(b"aaaaaaaaaaaaaaaaaaaaaaaaa b", b"aaaaaaa") == [b"a" * 25]
    assert found(b"-abcabcabcabc-", b"abcabc") == [b"abcabcabcabc"]
    assert found(SECRET + b" " + SECRET) == [SECRET, SECRET]


def test_spans_are_united() -> None:
    assert united([(5, 7), (0, 2), (2, 3), (6, 9), (11, 12)]) == [(0, 3), (5, 9), (11, 12)]
    assert united([]) == []


def test_p04_a_long_secret_is_found_by_its_head_and_masked_to_its_end() -> None:
    token = bytes(48 + (octet * 7 + octet // 11) % 75 for octet in range(3_000))
    for form in (token, base64.b64encode(token), token.hex().encode()):
        assert found(b"see <" + form + b">", token) == [form]
        cut = form[: len(form) // 2 // 4 * 4]
        assert found(b"see <" + cut + b"!>", token)[0][: len(cut)] == cut


def test_a_find_at_the_end_may_go_on() -> None:
    secrets = learned(SECRET * 10)
    text = b"x " * 700 + SECRET * 5
    assert secrets.find(text).unfinished == 1400
    assert secrets.find(text + SECRET * 5 + b"!" * 200).unfinished is None
    assert secrets.find(b"nothing").unfinished is None


def test_p04_every_place_is_found() -> None:
    assert found(SECRET + b" x " + SECRET + b" y " + SECRET) == [SECRET] * 3
    assert found(b"aaaaaaaa b", b"aaaaaaa") == [b"a" * 8]


def test_p04_a_long_secret_is_masked_as_far_as_it_goes() -> None:
    token = bytes(48 + (octet * 7 + octet // 11) % 75 for octet in range(200))
    for size in range(64, 200):
        for behind in (b"!>", b"!" * 200):
            assert found(b"see <" + token[:size] + behind, token) == [token[:size]]


def test_p05_a_pass_phrase_of_few_letters_is_found_with_its_blanks_only() -> None:
    assert found(b"(a b c d) abcd", b"a b c d") == [b"a b c d"]


def test_p04_a_soft_line_break_ends_at_its_own_line_end() -> None:
    assert found(b"x grape=\r\n-lake y\r\nz", b"grape-lake") == [b"grape=\r\n-lake"]


def test_p02_the_letters_at_both_ends_of_base64_are_judged_one_by_one() -> None:
    secret = b"hunter22-hunter22!"
    inner = base64.b64encode(b"ab" + secret + b"c")  # both neighbours hold bits of the secret
    core = inner[3:-1]
    assert found(b"!" + inner[2:-1], secret) == [inner[2:-1]]
    assert found(b"!" + core + b"!", secret) == [core]
    whole = base64.b64encode(secret)
    assert found(whole + b"\r\nQUJD", secret) == [whole]
    odd = base64.b64encode(secret + b"c")
    assert found(odd[:24] + b"\r\n" + odd[24:], secret) == [odd[:24]]


_TEXTS = st.binary(min_size=0, max_size=80)
_SECRETS = st.binary(min_size=6, max_size=100)
_FORMS = st.sampled_from(["plain", "case", "base64", "hex", "percent", "printable", "mixed"])


@given(_SECRETS, _FORMS, _TEXTS, _TEXTS, st.integers(1, 80), st.integers(0, 2), st.data())
def test_p04_any_secret_in_any_form_is_covered(
    secret: bytes,
    form: str,
    before: bytes,
    behind: bytes,
    width: int,
    alignment: int,
    data: st.DataObject,
) -> None:
    assume(b"\n" not in secret)
    if form == "plain":
        text = secret
    elif form == "case":
        text = secret.swapcase()
    elif form == "base64":
        prefix = bytes(alignment)
        text = wrapped(base64.b64encode(prefix + secret), width)
    elif form == "hex":
        text = wrapped(secret.hex().encode(), width)
    else:
        mark = {"percent": "%", "printable": "="}.get(form)
        text = b""
        for octet in secret:
            each = mark or data.draw(st.sampled_from("%= "))
            if form == "mixed" and each == " " and octet not in b"=%":
                text += bytes([octet])
            else:
                text += f"{each.strip() or '='}{octet:02X}".encode()
    spans = learned(secret).find(before + text + behind).spans
    start, end = len(before), len(before + text)
    if form == "base64":  # what encodes the prefix is no secret, and padding may stand apart
        start, end = start + 2 * 3, len(before + text.rstrip(b"=\r\n"))
    assert any(first <= start and last >= end for first, last in spans)


@given(_SECRETS, st.binary(max_size=300))
def test_spans_are_in_order_apart_and_inside(secret: bytes, text: bytes) -> None:
    spans = learned(secret).find(text + secret + text).spans
    position = -1
    for start, end in spans:
        assert position < start < end <= len(text + secret + text)
        position = end


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"-ERR too long: PASS Tr0ut%La\r\n", [b"Tr0ut%La"]),
        (b"-ERR too long: PASS Tr0ut%L\r\n", []),
        (b"-ERR unknown command 'ke+9/Xy=z'\r\n", [b"'ke+9/Xy=z'"]),
        (b"-ERR <PASS:tr0ut%lake...>\r\n", [b"<PASS:tr0ut%lake...>"]),
        (b"+OK Trout Lake\r\n", []),
        (b"+OK\r\n", []),
    ],
)
def test_p04_an_echo_that_was_cut_is_found_with_its_word(line: bytes, shown: list[bytes]) -> None:
    spans = learned().find_echoes(line)
    assert [line[start:end] for start, end in spans] == shown


@given(st.binary(min_size=8, max_size=60), st.integers(0, 52), st.binary(max_size=40), st.data())
def test_p04_any_eight_octets_are_an_echo(
    secret: bytes, start: int, before: bytes, data: st.DataObject
) -> None:
    assume(b"\n" not in secret)
    # An echo of a word that servers use anyway does not count (P05).
    words = (b"assword", b"ssphra", b"username", b"ailboxe", b"maildrop")
    assume(not any(word in folded(secret) for word in words))
    start = min(start, len(secret) - 8)
    size = data.draw(st.integers(8, len(secret) - start))
    line = before + secret[start : start + size] + b" end\r\n"
    spans = learned(secret).find_echoes(line)
    assert any(
        first <= len(before) and last >= len(before) + size for first, last in spans
    ) or united([*spans]) == [(0, len(line))]


@pytest.mark.parametrize("before", range(6))
def test_p04_a_piece_at_the_very_end_of_what_was_sent_is_found(before: int) -> None:
    line = b"-" * before + SECRET[3:11]
    assert learned().find_echoes(line) == [(0, len(line))]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"-ERR xTr0ut%La!!ke+9/Xy=z and Tr0ut%Lake?", b"-ERR ******** and ********"),
        (b"-ERR\ta\tb\tTr0ut%La.", b"-ERR\ta\tb\t********"),
        (b"+OK a b\tcTr0ut%La\td e", b"+OK a b\t********\td e"),
    ],
)
def test_p03_words_around_pieces_are_masked_each_for_itself(line: bytes, told: bytes) -> None:
    assert replace(line, learned().find_echoes(line))[0] == told


def test_a_piece_that_ends_in_a_blank_takes_no_other_word_along() -> None:
    line = b"-ERR correct horse xyz"
    spans = learned(b"correct horse battery").find_echoes(line)
    assert [line[start:end] for start, end in spans] == [b"correct horse "]


def test_p04_pieces_of_two_secrets_are_no_piece_of_one() -> None:
    assert learned(b"abcdefgh", b"ijklmnop").find_echoes(b"-ERR efghijkl") == ()


def test_p04_any_sixteen_octets_of_a_long_secret_are_an_echo() -> None:
    """Its length lets the last sample end with it."""
    secret = b"".join(b"%04d" % (number * 7919 % 9973) for number in range(1_026))[:4_103]
    secrets = learned(secret)
    assert (len(secret) - 8) % 9 == 0
    for start in (*range(30), *range(len(secret) - 46, len(secret) - 15)):
        piece = secret[start : start + 16]
        assert secrets.find_echoes(b"-ERR " + piece + b" end") == [(5, 21)]
        assert secrets.find_echoes(b"-ERR " + piece) == [(5, 21)]


def test_p04_eight_octets_are_an_echo_while_secrets_are_no_longer_than_promised() -> None:
    secret = b"".join(b"%04d" % (number * 7919 % 9973) for number in range(1_024))
    assert learned(secret).find_echoes(b"-ERR " + secret[11:19]) == [(5, 13)]


def test_p50_lines_without_secrets_are_remembered_within_bounds() -> None:
    secrets = learned()
    secrets.find_echoes(b"+OK")
    tracemalloc.start()
    for number in range(5_000):
        secrets.find_echoes(b"+OK %d octets" % number)
        secrets.find_echoes(b"+OK %d octets" % number + b"x" * 100)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 32_768


def test_p51_a_line_full_of_pieces_is_hidden_whole() -> None:
    secrets = learned(b"ab" * 100)
    line = b"-ERR " + b"abababax" * 500 + b"\r\n"
    assert secrets.find_echoes(line) == [(0, len(line))]


def test_a_line_that_is_repeated_is_looked_at_again_when_more_was_learned() -> None:
    secrets = learned(b"something else")
    line = b"+OK Tr0ut%Lake+9/Xy=z\r\n"
    assert secrets.find_echoes(line) == ()
    assert secrets.find_echoes(line) == ()
    secrets.learn([SECRET])
    assert secrets.find_echoes(line)
    for number in range(200):
        assert secrets.find_echoes(b"+OK %d\r\n" % number) == ()
    assert secrets.find_echoes(b"+OK " + b"x" * 200) == ()


def test_p50_p77_what_is_kept_is_bounded_and_then_everything_counts_as_secret() -> None:
    secrets = Learned()
    secrets.learn(b"secret %d" % number for number in range(MAX_SECRETS))
    secrets.learn([b"secret 0", b"secret 1"])
    assert not secrets.overflowed
    assert secrets.active
    secrets.learn([b"one more"])
    assert secrets.overflowed
    assert secrets.active
    assert secrets.find(b"anything").spans == [(0, 8)]
    assert secrets.find(b"").spans == ()
    assert secrets.find_echoes(b"+OK\r\n") == [(0, 5)]
    secrets.learn([b"and more"])
    assert secrets.find(b"anything").spans == [(0, 8)]


def test_p50_octets_are_bounded_too() -> None:
    secrets = Learned()
    secrets.learn([bytes([65 + number]) * 20_000 for number in range(MAX_OCTETS // 20_000)])
    assert not secrets.overflowed
    assert secrets.find_echoes(b"-ERR AAAAAAAAAAA\r\n")
    secrets.learn([b"z" * 20_000])
    assert secrets.overflowed


def test_p50_as_many_octets_as_promised_are_kept() -> None:
    secrets = learned(*(bytes([65 + number]) * (MAX_OCTETS // 8) for number in range(8)))
    assert not secrets.overflowed
    secrets.learn([b"123456"])
    assert secrets.overflowed


def test_nothing_is_active_before_anything_was_learned() -> None:
    secrets = Learned()
    secrets.learn([b"", b"short"])
    assert not secrets.active
    assert secrets.find(b"short").spans == ()


def test_p13_learned_secrets_are_not_shown() -> None:
    secrets = learned()
    assert repr(secrets) == str(secrets) == f"{secrets}" == "<Learned>"
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(secrets)


def test_heads_fit_into_what_is_held_back() -> None:
    """64 octets, each escaped and behind a soft line break of its own."""
    secret = bytes(range(60, 124))
    text = b"=\r\n".join(f"={octet:02X}".encode() for octet in secret)
    assert len(text) < REACH
    assert found(b"(" + text + b")", secret) == [text]


_ODD_VALUES = st.lists(
    st.sampled_from(
        [
            b".secret",
            b"sec",
            b"ret",
            b"=",
            b"%",
            b"=\n",
            b"=2",
            b"%2",
            b"=73ecret",
            b"\r",
            b" ",
            b"4",
        ]
    )
).map(b"".join)


@given(st.lists(_ODD_VALUES, max_size=5))
@example([b"=", b".=73ecret"])
@example([b"=2", b".secret"])
@example([b"%", b"2e"])
def test_what_stands_in_a_text_stands_in_texts_joined_by_empty_lines(values: list[bytes]) -> None:
    known = learned(b".secret")
    if any(known.find(value).spans for value in values):
        assert known.find(b"\n\n".join(values)).spans
