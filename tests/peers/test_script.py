from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from popproxy.peers.script import Action, ScriptError, Turn, load, parse
from popproxy.peers.script_text import FUNCTIONS, TextError, read_text
from popproxy.pop3.events import Side

SECRET = b"can ary%47"
C, S = Side.CLIENT, Side.SERVER


def told(turn: Turn) -> tuple[object, ...]:
    if turn.action is Action.SEND:
        return turn.side, turn.data
    return (turn.action, turn.seconds) if turn.action is Action.WAIT else (turn.side, turn.action)


def held(*lines: str) -> list[tuple[object, ...]]:
    return [told(turn) for turn in parse("\n".join(lines)).render(SECRET)]


def test_each_line_is_a_segment_of_its_side() -> None:
    assert held("# says hello", "S: +OK ready", "", "C: PASS {secret}", "C:", "S: .") == [
        (S, b"+OK ready\r\n"),
        (C, b"PASS can ary%47\r\n"),
        (C, b"\r\n"),
        (S, b".\r\n"),
    ]


def test_segments_are_joined_and_cut() -> None:
    assert held("C: LIST", "C+ RETR 1", "# still joined", "C+ QU{cut}IT", "S: +OK") == [
        (C, b"LIST\r\nRETR 1\r\nQU"),
        (C, b"IT\r\n"),
        (S, b"+OK\r\n"),
    ]
    assert held("C: {cut}a{cut}{cut}b{cut}\\") == [(C, b"a"), (C, b"b")]
    assert held("C: P{bytewise:AS{secret[:2]}}S") == [
        (C, b"PA"),
        (C, b"S"),
        (C, b"c"),
        (C, b"aS\r\n"),
    ]


def test_line_ends() -> None:
    assert held("C: a\\", "C: b\\\\", "C! lf", "C: c", "S: d", "C! crlf", "C: e") == [
        (C, b"a"),
        (C, b"b\\\r\n"),
        (C, b"c\n"),
        (S, b"d\r\n"),
        (C, b"e\r\n"),
    ]


def test_actions() -> None:
    assert held("C: a", "! wait 0.25", "C! eof", "S: b", "S! rst") == [
        (C, b"a\r\n"),
        (Action.WAIT, 0.25),
        (C, Action.EOF),
        (S, b"b\r\n"),
        (S, Action.RESET),
    ]


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (r"\r\n\t\a\b\e\0\s\\\{\}\:", b"\r\n\t\a\b\x1b\0 \\{}:"),
        (r"\xff\x00A", b"\xff\0A"),
        (r"\u20ac\U0001f600é", "€😀é".encode()),
        ("{secret}", SECRET),
        ("{secret[:3]}{secret[3:]}", SECRET),
        ("{secret[1:-1]}", SECRET[1:-1]),
        ("{secret[-2:]}", SECRET[-2:]),
        (r"{base64:\0ada\0{secret}}", base64.b64encode(b"\0ada\0" + SECRET)),
        (r"{base64url:\xff\xff}", b"__8="),
        ("{hex:{secret}}", SECRET.hex().encode()),
        ("{upper:{hex:{secret}}}", SECRET.hex().upper().encode()),
        ("{hex-colons:ab}", b"61:62"),
        ("{percent:{secret}}", b"can%20ary%2547"),
        ("{percent-all:a/}", b"%61%2F"),
        ("{quoted-printable:a=}", b"=61=3D"),
        ("{lower:{upper:aB}}{reverse:ab}", b"abba"),
        (r"{utf16:a\xe4}", b"a\0\xe4\0"),
        (  # the example of RFC 1939, section 7
            "{hex:{md5:<1896.697170952@dbc.mtview.ca.us>tanstaaf}}",
            b"c4c9334bac560ecc979e58001b3e22fb",
        ),
        (  # the example of RFC 2195, section 2
            "{hex:{hmac-md5:tanstaaftanstaaf:<1896.697170952@postoffice.reston.mci.net>}}",
            b"b913a602c7eda7a495b4e6e7334d3890",
        ),
        ("{sha256:}", hashlib.sha256().digest()),
        ("{hmac-md5:{secret}:a:b}", hmac.digest(SECRET, b"a:b", "md5")),
        (r"{hmac-sha256:k\:1:a}", hmac.digest(b"k:1", b"a", "sha256")),
        ("{repeat:3:a:b}", b"a:ba:ba:b"),
        ("{wrap:3:abcdefgh}", b"abc\r\ndef\r\ngh"),
    ],
)
def test_texts(text: str, octets: bytes) -> None:
    assert b"".join(read_text(text).render(SECRET)) == octets


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{nosuch:a}", "unknown placeholder"),
        ("{secret[1]}", "unknown placeholder"),
        ("{secrets}", "unknown placeholder"),
        ("{base64}", "unknown placeholder"),
        ("{base64:a", "without its }"),
        ("{hmac-md5:a}", "without its :"),
        ("a}", "without a {"),
        ("{repeat:a}", "needs a number"),
        ("{repeat:0:a}", "needs a number"),
        ("{base64:{cut}}", "cannot be cut"),
        ("{hex:{bytewise:a}}", "cannot be cut"),
        (r"\q", r"unknown escape \\q"),
        (r"\xg0", r"unknown escape \\xg0"),
        (r"\U99999999", "unknown escape"),
        ("\\", "unknown escape"),
    ],
)
def test_malformed_texts_are_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        read_text(text)


@pytest.mark.parametrize("text", ["{repeat:9999999:{repeat:9999:a}}", "{repeat:99999999:a}"])
def test_p50_a_text_that_becomes_too_large_is_refused(text: str) -> None:
    with pytest.raises(ScriptError, match="conversation:2: the line becomes longer"):
        parse(f"S: +OK\nC: {text}").render()
    with pytest.raises(ScriptError, match="longer"):
        parse("C: " + "{repeat:9999999:a}" * 3).render()


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("S: +OK\nhello", 2, "neither C:"),
        ("S:+OK", 1, "neither C:"),
        ("S: +OK ", 1, "blanks at the end"),
        ("C! nonsense", 1, "neither"),
        ("! wait x", 1, "neither"),
        ("", 1, "nothing is said"),
        ("# only\n# words", 2, "nothing is said"),
        ("C+ a", 1, "no line of the client before"),
        ("S: a\nC+ a", 2, "no line of the client before"),
        ("C: a\nC! eof\nC: b", 3, "the client has ended"),
        ("C: a\nC! eof\nC! eof", 3, "the client has ended"),
        ("C: a\nC! rst\nS: b", 3, "the server has ended"),
        ("C: {nosuch}", 1, "unknown placeholder"),
    ],
)
def test_malformed_conversations_are_refused_with_file_and_line(
    source: str, line: int, message: str
) -> None:
    with pytest.raises(ScriptError, match=message) as caught:
        parse(source, "some.txt")
    assert str(caught.value).startswith(f"some.txt:{line}: ")
    assert (caught.value.name, caught.value.line) == ("some.txt", line)


def test_what_is_known_of_a_conversation() -> None:
    conversation = parse(
        "# P06: a\n# password, P08.\nS: +OK\n# P99 is not counted\nC: {hex:{secret}}"
    )
    assert conversation.comment == "P06: a password, P08."
    assert conversation.promises == {"P06", "P08"}
    assert conversation.has_secret
    assert parse("C: {hmac-md5:{secret}:x}").has_secret
    assert not parse("C: {hmac-md5:x:secret}").has_secret


def test_p13_turns_show_no_octets() -> None:
    assert repr(parse("S: +OK\nC: canary").render()[1]) == "<Turn send of client at line 2>"


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "some-words.txt"
    path.write_bytes(b"# one\r\nS: +OK\r\n")
    assert load(path).name == "some-words"
    assert load(path).render()[0].data == b"+OK\r\n"
    path.write_bytes(b"# one\nS: \xff\n")
    with pytest.raises(ScriptError, match=r"some-words\.txt:2: not UTF-8"):
        load(path)
    path.write_bytes(b"S: +OK\nnonsense\n")
    with pytest.raises(ScriptError, match=r"some-words\.txt:2: "):
        load(path)


def test_every_function_is_documented() -> None:
    from popproxy.peers import script

    assert script.__doc__ is not None
    for name in FUNCTIONS:
        assert f"`{{{name}:" in script.__doc__
