from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.tls.names import certificate_names, host_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pop.example.org", "pop.example.org"),
        ("POP.Example.ORG", "pop.example.org"),
        ("pop.example.org.", "pop.example.org"),
        ("localhost", "localhost"),
        ("mail_1.internal", "mail_1.internal"),
        ("a-b--c.example", "a-b--c.example"),
        ("3com.example", "3com.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("xn--strae-oqa.example", "xn--strae-oqa.example"),  # a sharp s, which codecs refuse
        ("x" * 63 + ".example", "x" * 63 + ".example"),
        (".".join(["x" * 49] * 5) + ".abc", ".".join(["x" * 49] * 5) + ".abc"),  # 253
    ],
)
def test_p36_host_names(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        ".a",
        "a b",
        "a/b",
        "../a",
        "a\x00b",
        "a\n",
        "-a.example",
        "a-.example",
        "*.example",
        "m\u00fcnchen.example",
        "\u212a.example",  # the Kelvin sign, a k in lower case
        "192.0.2.1",
        "127.1",
        "1",
        "2001:db8::1",
        "[::1]",
        "x" * 64 + ".example",
        ".".join(["x" * 49] * 5) + ".abcd",
        "xn--.example",
        "xn--999999999.example",
        "xn--abc-.example",
    ],
)
def test_p36_what_is_no_host_name(text: str) -> None:
    assert host_name(text) is None


@given(text=st.text())
def test_p36_a_name_that_passes_is_harmless_everywhere(text: str) -> None:
    name = host_name(text)
    if name is not None:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
        assert len(name) <= 253
        assert not name.startswith((".", "-"))
        assert host_name(name) == name


def test_names_of_a_certificate_keep_their_order_each_once() -> None:
    assert certificate_names(["b.example", "A.example", "B.Example", "127.0.0.1", "127.0.0.1"]) == [
        "b.example",
        "a.example",
        ip_address("127.0.0.1"),
    ]


def test_names_of_a_certificate_leave_out_what_nobody_connects_to() -> None:
    assert certificate_names(["0.0.0.0", "::", "?", "", "\u00df" * 80]) == []  # noqa: S104


def test_names_of_a_certificate_may_be_international() -> None:
    assert certificate_names(["m\u00fcnchen.example"]) == ["xn--mnchen-3ya.example"]
    assert certificate_names(["fe80::1%eth0"]) == [ip_address("fe80::1")]
