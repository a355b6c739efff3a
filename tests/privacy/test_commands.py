"""What of a client's line is shown: the allow-list, line by line."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from popproxy.pop3.grammar import COMMANDS
from popproxy.privacy.commands import ShownCommand, cite, show_command, show_keyword, split_line
from popproxy.privacy.pseudonyms import Pseudonyms

CANARY = b"xq7zCANARYzq7x"


@pytest.mark.parametrize(
    "line",
    [
        *("CAPA", "QUIT", "NOOP", "STAT", "RSET", "STLS", "UTF8", "HELP", "LAST", "LIST", "UIDL"),
        *("LIST 1", "UIDL 12", "RETR 3", "DELE 4", "TOP 1 10", "LANG", "LANG de-DE", "LANG *"),
        *("USER ada", "USER ada@example.org", "AUTH", "AUTH PLAIN", "auth xoauth2", "AUTH Plain"),
        *("AUTH SCRAM-SHA-256-PLUS", "quit", "Retr 3", " STAT", "\tNOOP", "STAT ", "RETR 1 "),
        *("AUTH PLAIN ", "XTND XMIT", "XSENDER", "PROXY", "APOP", "USER", "RETR"),
    ],
)
def test_p01_a_line_that_fits_the_allow_list_is_shown_as_it_is(line: str) -> None:
    for line_end in ("\r\n", "\n", ""):
        raw = (line + line_end).encode()
        shown = show_command(raw)
        assert shown.raw == raw
        assert shown.hidden_from is None
        assert shown.masked == ()
        assert shown.secrets == ()


@pytest.mark.parametrize(
    ("line", "shown", "keyword"),
    [
        ("RETR abc", "RETR ********", "RETR"),
        ("RETR 1 2", "RETR ********", "RETR"),
        ("RETR 12345678901", "RETR ********", "RETR"),
        ("RETR -1", "RETR ********", "RETR"),
        ("TOP 1", "TOP ********", "TOP"),
        ("TOP 1  2", "TOP ********", "TOP"),
        ("STLS now", "STLS ********", "STLS"),
        ("NOOP x", "NOOP ********", "NOOP"),
        ("LANG zz_zz", "LANG ********", "LANG"),
        ("XTND XLST From 1", "XTND XLST ********", "XTND XLST"),
        ("XTND foo", "XTND ********", "XTND"),
        ("RPOP ada", "RPOP ********", "RPOP"),
        ("USER  ada", "USER ********", "USER"),
        ("AUTH  PLAIN", "AUTH ********", "AUTH"),
        ("AUTH PLAIN AGEAYg==", "AUTH PLAIN ********", "AUTH"),
        ("AUTH PLAIN =", "AUTH PLAIN ********", "AUTH"),
        ("AUTH AHVzZXIAcGFzcw", "AUTH ********", "AUTH"),
        ("retr\tabc", "retr\t********", "RETR"),
        ("  List x", "  List ********", "LIST"),
        ("FROB", "********", "********"),
        ("FROB x y", "********", "********"),
        ("STAT\rx", "********", "********"),
        ("ＰＡＳＳ x", "********", "********"),
        ("paſs x", "********", "********"),
        ("LI\0ST", "********", "********"),
        ("X STAT", "********", "********"),
        ("STAT;PASS x", "********", "********"),
        (" ", "********", "********"),
    ],
)
def test_p01_what_does_not_fit_is_hidden(line: str, shown: str, keyword: str) -> None:
    for line_end in ("\r\n", "\n", ""):
        found = show_command((line + line_end).encode())
        assert found.raw == (shown + line_end).encode()
        assert found.command == keyword
        assert found.hidden_from == shown.index("*")
        assert "raw" in found.masked


def test_an_empty_line_is_shown() -> None:
    assert show_command(b"\r\n").raw == b"\r\n"
    assert show_command(b"\r\n").command == ""


@pytest.mark.parametrize(
    "line",
    [
        *(b"PASS %s", b"pass %s", b"pAsS %s", b"PASS\t%s", b"  PASS %s", b"\tPASS %s", b"PASS  %s"),
        *(b"\xef\xbb\xbfPASS %s", b"\x00PASS %s", b"PASS%s", b"PASS:%s", b"PASS=%s", b"PASS %s "),
        *(b"PASS %s with blanks ", b"PASS \x00%s", b"PASS \xff\xfe%s", b"PASSWORD %s", b"XPASS %s"),
        *(b"PASS\xa0%s", b"PASS\x0b%s", b"PA SS %s", b"PASS\r%s", b"\x1b[APASS %s"),
    ],
)
def test_p06_p07_a_password_in_any_spelling_is_hidden_and_learned(line: bytes) -> None:
    for line_end in (b"\r\n", b"\n", b""):
        shown = show_command(line % CANARY + line_end)
        assert CANARY not in shown.raw
        assert CANARY not in (shown.arguments or b"")
        assert shown.raw.endswith(b"********" + line_end)
        assert any(CANARY in secret for secret in shown.secrets)


@pytest.mark.parametrize(
    "line", [b"PASS %s", b"PASS%s", b"PASS:%s", b"\x00 pass=%s", b"PASS %s \t"]
)
def test_p04_the_password_itself_is_learned_however_it_is_glued(line: bytes) -> None:
    assert CANARY in show_command(line % CANARY + b"\r\n").secrets


def test_p03_an_empty_password_looks_like_any_other() -> None:
    expected = show_command(b"PASS secret\r\n")._replace(secrets=(), begun=b"")
    for line in (b"PASS\r\n", b"PASS \r\n", b"PASS  \r\n", b"PASS a b\r\n"):
        assert show_command(line)._replace(secrets=(), begun=b"") == expected


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"APOP ada c4c9334bac560ecc979e58001b3e22fb", b"APOP ada ********"),
        (b"APOP ada " + CANARY, b"APOP ada ********"),
        (b"APOP  ada " + CANARY, b"APOP ********"),
        (b"APOP " + CANARY, b"APOP ********"),
        (b"XCLIENT ADDR=10.0.0.1 LOGIN=" + CANARY, b"XCLIENT ********"),
        (b"PROXY TCP4 10.0.0.1 " + CANARY, b"PROXY ********"),
        (b"XOIP " + CANARY, b"XOIP ********"),
    ],
)
def test_p11_digests_and_what_proxies_send_is_hidden(line: bytes, shown: bytes) -> None:
    found = show_command(line + b"\r\n")
    assert found.raw == shown + b"\r\n"
    assert found.secrets


def test_p12_user_shows_its_first_token_only() -> None:
    shown = show_command(b"USER ada " + CANARY + b" more\r\n")
    assert shown.raw == b"USER ada ********\r\n"
    assert shown.arguments == b"ada ********"
    assert shown.user == b"ada"
    assert shown.hidden_from == len(b"USER ada ")
    assert CANARY + b" more" in shown.secrets
    blank = show_command(b"USER ada  \r\n")
    assert (blank.raw, blank.secrets) == (b"USER ada  \r\n", ())


def test_p12_pseudonyms_replace_users() -> None:
    names = Pseudonyms(b"k" * 32)
    shown = show_command(b"USER ada\r\n", names)
    assert shown.raw == b"USER " + names.of(b"ada").encode() + b"\r\n"
    assert shown.masked == ("raw", "pop3.arguments")
    assert shown.hidden_from == len(b"USER ")
    assert show_command(b"USER ada x\r\n", names).raw.endswith(b" ********\r\n")
    apop = show_command(b"APOP ada " + b"0" * 32 + b"\r\n", names)
    assert apop.raw == b"APOP " + names.of(b"ada").encode() + b" ********\r\n"
    assert apop.hidden_from == len(b"APOP ")
    assert cite(b"USER", b"ada", names) == ("USER", names.of(b"ada").encode())


@pytest.mark.parametrize(
    ("keyword", "arguments", "cited"),
    [
        (b"RETR", b"1", ("RETR", b"1")),
        (b"RETR", b"x", ("RETR", b"********")),
        (b"STAT", b"", ("STAT", None)),
        (b"CAPA", b" ", ("CAPA", None)),
        (b"USER", b"ada", ("USER", b"ada")),
        (b"USER", b"ada x", ("USER", b"********")),
        (b"PASS", b"x", ("PASS", b"********")),
        (b"FROB", b"", ("********", None)),
        (b"FROB", b"x", ("********", None)),
    ],
)
def test_p01_a_response_cites_no_more_than_the_command_showed(
    keyword: bytes, arguments: bytes, cited: tuple[str, bytes | None]
) -> None:
    assert cite(keyword, arguments) == cited


def test_a_header_that_xtnd_xlst_asks_for_is_no_secret() -> None:
    assert show_command(b"XTND XLST Subject 1-5\r\n").secrets == ()
    assert show_command(b"XTND XLST Sub%ject\r\n").secrets == (b"Sub%ject",)


def test_a_keyword_alone_can_be_shown() -> None:
    expected = ShownCommand(
        raw=b"PASS ********\n",
        command="PASS",
        arguments=b"********",
        hidden_from=0,
        masked=("raw", "pop3.arguments"),
    )
    assert show_keyword(b"PASS", b"\n") == expected
    assert show_keyword(b"FROB", b"\r\n").raw == b"********\r\n"


def test_lines_are_split_from_their_ends() -> None:
    assert split_line(b"a\r\n") == (b"a", b"\r\n")
    assert split_line(b"a\r\r\n") == (b"a\r", b"\r\n")
    assert split_line(b"a\n") == (b"a", b"\n")
    assert split_line(b"a\r") == (b"a\r", b"")


_KEYWORDS = st.one_of(
    st.sampled_from(sorted(COMMANDS)),
    st.sampled_from(
        [b"pass", b"Auth", b"PASS:", b"\x00PASS", b"\xef\xbb\xbfpass", b"AUTHENTICATE"]
    ),
    st.binary(max_size=8),
)
_GLUE = st.sampled_from(
    [b" ", b"\t", b"  ", b"", b":", b" \x00", b"\r", b" x ", b" 1 ", b" PLAIN "]
)


@given(_KEYWORDS, _GLUE, st.binary(max_size=6), st.sampled_from([b"\r\n", b"\n", b""]))
@example(b"AUTH", b" ", b"", b"\r\n")
@example(b"USER", b" x ", b"", b"\r\n")
def test_p01_a_canary_is_never_shown(
    keyword: bytes, glue: bytes, more: bytes, line_end: bytes
) -> None:
    """It is not one token of letters, so that neither USER nor any other command may show it."""
    canary = b"Zq\xff7 %;Qz"
    line = keyword + glue + canary + more.replace(b"\n", b"") + line_end
    shown = show_command(line)
    if keyword.strip() == b"USER" or b"\n" in keyword or keyword.strip() == b"APOP":
        return
    told = shown.raw + (shown.arguments or b"") + shown.command.encode()
    assert b"7 %;Qz" not in told
    assert b"Zq\xff" not in told
