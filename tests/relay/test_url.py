"""URLs: what is taken, what is refused, and that refusals help."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.relay.url import Url, UrlError, parse_url


@pytest.mark.parametrize(
    ("text", "listener", "expected"),
    [
        ("pop3://pop.example.org", False, "pop3://pop.example.org:110"),
        ("pop3s://pop.example.org", False, "pop3s://pop.example.org:995"),
        ("pop3+stls://pop.example.org", False, "pop3+stls://pop.example.org:110"),
        ("pop3://127.0.0.1", True, "pop3://127.0.0.1:1110"),
        ("pop3s://127.0.0.1", True, "pop3s://127.0.0.1:1995"),
        ("pop3+stls://localhost", True, "pop3+stls://localhost:1110"),
        ("pop3://127.0.0.1:0", True, "pop3://127.0.0.1:0"),
        ("pop3://[::1]:2110", True, "pop3://[::1]:2110"),
        ("pop3://[::1]", True, "pop3://[::1]:1110"),
        ("  POP3S://Pop.Example.ORG:65535 ", False, "pop3s://pop.example.org:65535"),
        ("pop3://mail_1.example.org.", False, "pop3://mail_1.example.org.:110"),
        ("pop3://bücher.example", False, "pop3://bücher.example:110"),
        ("pop3://[fe80::1%eth0]:110", False, "pop3://[fe80::1%eth0]:110"),
    ],
)
def test_urls_that_are_valid(text: str, listener: bool, expected: str) -> None:
    assert str(parse_url(text, listener=listener)) == expected


@pytest.mark.parametrize(
    ("text", "listener", "nearest"),
    [
        ("", True, "pop3://127.0.0.1:1110"),
        ("pop3://", False, "pop3://pop.example.org"),
        ("pop3://:1110", True, "pop3://127.0.0.1:1110"),
        ("pop3://:110", False, "pop3://pop.example.org"),
        ("pop.example.org", False, "pop3://pop.example.org:110"),
        ("pop.example.org:995", False, "pop3://pop.example.org:995"),
        ("pop://pop.example.org", False, "pop3://pop.example.org:110"),
        ("pops://pop.example.org", False, "pop3s://pop.example.org:995"),
        ("pop3-stls://pop.example.org", False, "pop3+stls://pop.example.org:110"),
        ("imaps://pop.example.org", False, "pop3s://pop.example.org:995"),
        ("http://pop.example.org/inbox", False, "pop3://pop.example.org:110"),
        ("pop3://pop.example.org/", False, "pop3://pop.example.org:110"),
        ("pop3://pop.example.org:2110/INBOX?x#y", False, "pop3://pop.example.org:2110"),
        ("pop3://pop.example.org:0", False, "pop3://pop.example.org:110"),
        ("pop3://pop.example.org:65536", False, "pop3://pop.example.org:110"),
        ("pop3://pop.example.org:-1", False, "pop3://pop.example.org:110"),
        ("pop3://pop.example.org:", False, "pop3://pop.example.org:110"),
        ("pop3://pop.example.org:pop3", False, "pop3://pop.example.org:110"),
        ("pop3://127.0.0.1:١١١٠", True, "pop3://127.0.0.1:1110"),
        ("pop3://::1", True, "pop3://[::1]:1110"),
        ("pop3://[::1", True, "pop3://[::1]:1110"),
        ("pop3://[::1]1110", True, "pop3://[::1]:1110"),
        ("pop3://[127.0.0.1]:1110", True, "pop3://127.0.0.1:1110"),
        ("pop3://pop..example.org", False, "pop3://pop.example.org"),
        ("pop3://-pop.example.org", False, "pop3://pop.example.org"),
        ("pop3://pop example", False, "pop3://pop.example.org"),
        ("pop3://1.2.3", False, "pop3://pop.example.org"),
        ("pop3://1.2.3.400", False, "pop3://pop.example.org"),
        ("pop3://" + "a" * 64, False, "pop3://pop.example.org"),
    ],
)
def test_urls_that_are_refused_name_the_nearest_form(
    text: str, listener: bool, nearest: str
) -> None:
    with pytest.raises(UrlError) as caught:
        parse_url(text, listener=listener)
    assert str(caught.value).endswith(f"write {nearest}") or str(caught.value).endswith(
        f"like {nearest}"
    )
    suggested = re.split(r"(?:write|like) ", str(caught.value))[-1]
    parse_url(suggested, listener=listener)  # what is suggested is taken


@pytest.mark.parametrize(
    "text",
    [
        "pop3://bo:hunter2secret@pop.example.org",
        "pop3://hunter2secret@pop.example.org:110",
        "bo:hunter2secret@pop.example.org:110",
        "pop3://bo:hunter2secret@x@pop.example.org",
        "pop3://bo:hunter2secret/?#@pop.example.org",
        "pop3://bo:hunter2secret://@pop.example.org",
        "hunter2secret://x@pop.example.org",
        "pop3://bo:hunter2secret@",
        "pop3://bo:hunter2secret@pop.example.org/path",
    ],
)
def test_p14_user_information_is_refused_and_never_quoted(text: str) -> None:
    with pytest.raises(UrlError, match="user name or a password") as caught:
        parse_url(text, listener=False)
    assert "hunter2" not in str(caught.value)
    assert "pop3://pop.example.org" in str(caught.value)


def test_messages_hold_no_control_characters() -> None:
    with pytest.raises(UrlError) as caught:
        parse_url("pop3://a\x1b[31mb\u202e", listener=False)
    assert str(caught.value).isprintable()


@given(st.text(max_size=60), st.booleans())
def test_any_text_is_read_or_refused(text: str, listener: bool) -> None:
    try:
        url = parse_url(text, listener=listener)
    except UrlError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert parse_url(str(url), listener=listener) == url
    assert refusal.isprintable()


@given(
    st.sampled_from(["pop3", "pop3s", "pop3+stls"]),
    st.ip_addresses(),
    st.integers(1, 65535),
    st.booleans(),
)
def test_what_a_url_writes_it_reads(
    scheme: str, address: object, port: int, listener: bool
) -> None:
    host = f"[{address}]" if ":" in str(address) else str(address)
    url = parse_url(f"{scheme}://{host}:{port}", listener=listener)
    assert url == Url(url.scheme, str(address), port)
    assert parse_url(str(url), listener=listener) == url
