"""In which ways a secret may be understood: each of them is looked for."""

from __future__ import annotations

import base64

import pytest

from popproxy.privacy.readings import of_arguments, of_hidden_line, readings


@pytest.mark.parametrize(
    ("secret", "others"),
    [
        (b"tr0ut", ()),
        (b" tr0ut \t", (b"tr0ut",)),
        (b" \x0btr0ut\x1f ", (b"\x0btr0ut\x1f", b"tr0ut")),
        (b"tr0ut\x00more", (b"tr0ut",)),
        (b"tr0ut\rmore\x00x", (b"tr0ut",)),
        (b'"tr0ut"', (b"tr0ut",)),
        (b"'tr0ut' ", (b"'tr0ut'", b"tr0ut")),
        (b"<tr0ut>\x00x", (b"<tr0ut>", b"tr0ut")),
        (b"\"tr0ut'", ()),
        (b"", ()),
    ],
)
def test_p04_a_secret_is_read_as_servers_may_read_it(
    secret: bytes, others: tuple[bytes, ...]
) -> None:
    assert readings(secret) == (secret, *others)


def test_p04_of_several_words_the_last_one_counts_too() -> None:
    assert of_arguments(b"ada 'tr0ut' ") == (
        *(b"ada 'tr0ut' ", b"ada 'tr0ut'"),
        *(b"'tr0ut'", b"tr0ut"),
    )
    assert of_arguments(b"tr0ut") == (b"tr0ut",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"FROB", {b"FROB"}),
        (b"FROB ada tr0ut", {b"FROB ada tr0ut", b"ada tr0ut", b"tr0ut"}),
        (b"\tFROB  tr0ut ", {b"\tFROB  tr0ut ", b"FROB  tr0ut", b"tr0ut"}),
        (b"PASStr0ut", {b"PASStr0ut", b"tr0ut"}),
        (b"xPASStr0ut", {b"xPASStr0ut"}),
        (
            b"\0pass: 'tr0ut'",
            {
                *(b"\0pass: 'tr0ut'", b"", b"pass: 'tr0ut'", b": 'tr0ut'"),
                *(b"'tr0ut'", b"tr0ut'", b"tr0ut"),
            },
        ),
        (b"PASS\xc2\xa0tr0ut", {b"PASS\xc2\xa0tr0ut", b"\xc2\xa0tr0ut", b"tr0ut"}),
        (b"", {b""}),
        (b"  ", {b"  ", b""}),
    ],
)
def test_p04_of_a_hidden_line_all_that_may_be_a_secret_is_looked_for(
    line: bytes, expected: set[bytes]
) -> None:
    assert set(of_hidden_line(line)) == expected


@pytest.mark.parametrize("decoded", [b"\0ada\0tr0ut", b"ada:tr0ut", b"user=ada\x01tr0ut"])
@pytest.mark.parametrize("before", [b"", b"Authorization: Basic "])
def test_p04_credentials_in_base64_are_looked_for(decoded: bytes, before: bytes) -> None:
    encoded = base64.b64encode(decoded)
    found = of_hidden_line(before + encoded)
    assert {before + encoded, encoded, decoded, b"tr0ut"} <= set(found)
    plain = base64.b64encode(b"no such thing")
    assert b"no such thing" not in of_hidden_line(before + plain)
