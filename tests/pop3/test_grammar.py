"""The table of commands, and the state table: every state with every trigger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.pop3 import State
from popproxy.pop3.diagram import command_table, state_diagram
from popproxy.pop3.grammar import (
    COMMANDS,
    Exchange,
    MultiLine,
    Secrecy,
    Trigger,
    expects_lines,
    next_state,
    parse_command,
)


@pytest.mark.parametrize(
    ("line", "keyword", "arguments"),
    [
        (b"PASS secret", b"PASS", b"secret"),
        (b"pass secret", b"PASS", b"secret"),
        (b"PaSs\tsecret word ", b"PASS", b"secret word "),
        (b"  PASS  x", b"PASS", b" x"),
        (b"\xef\xbb\xbfPASS x", b"PASS", b"x"),
        (b"\x00PASS x", b"PASS", b"x"),
        (b"PASS", b"PASS", b""),
        (b"PASSx", b"PASSX", b""),
        (b"PASS:x", b"PASS:X", b""),
        (b"", b"", b""),
        (b"   ", b"", b""),
        (b"xtnd xlst Subject 1", b"XTND XLST", b"Subject 1"),
        (b"XTND  XLST Subject", b"XTND", b" XLST Subject"),
        (b"XTND", b"XTND", b""),
        (b"XTND FOO bar", b"XTND", b"FOO bar"),
        (b"*ENV 1", b"*ENV", b"1"),
        (b"TOP 1 2", b"TOP", b"1 2"),
    ],
)
def test_parse_command(line: bytes, keyword: bytes, arguments: bytes) -> None:
    parsed = parse_command(line)
    assert (parsed.keyword, parsed.arguments) == (keyword, arguments)
    assert parsed.spec is COMMANDS.get(keyword)


def test_p01_keywords_are_compared_on_bytes() -> None:
    for line in ("paſs x".encode(), "ＰＡＳＳ x".encode(), "PAſS x".encode("utf-16")):
        assert parse_command(line).spec is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_command_and_none_are_lost(line: bytes) -> None:
    parsed = parse_command(line)
    folded = line.upper()
    assert folded.endswith(parsed.arguments.upper())
    if parsed.keyword:
        assert parsed.keyword.split(b" ")[0] in folded


def test_every_row_is_complete() -> None:
    for keyword, spec in COMMANDS.items():
        assert spec.keyword == keyword == keyword.upper()
        assert spec.source
        assert spec.states
        assert spec.states <= {State.AUTHORIZATION, State.TRANSACTION}


@pytest.mark.parametrize(
    "keyword",
    [
        "USER",
        "PASS",
        "APOP",
        "AUTH",
        "STLS",
        "UTF8",
        "LANG",
        "CAPA",
        "STAT",
        "NOOP",
        "RSET",
        "QUIT",
        "LIST",
        "UIDL",
        "RETR",
        "TOP",
        "DELE",
        "LAST",
        "RPOP",
        "XSENDER",
        "GURL",
        "EUIDL",
        "HELP",
        "XCLIENT",
        "XOIP",
        "*ENV",
        "XYZZY",
        "SESSION",
        "XTND",
    ],
)
def test_every_command_met_in_the_wild_is_known(keyword: str) -> None:
    assert keyword.encode() in COMMANDS


def test_what_p01_does_not_list_is_secret() -> None:
    shown = {keyword for keyword, spec in COMMANDS.items() if spec.secrecy is not Secrecy.SECRET}
    assert shown == set(
        b"CAPA QUIT NOOP STAT RSET STLS UTF8 HELP LAST LIST UIDL RETR DELE TOP LANG USER".split()
    )


def test_expects_lines() -> None:
    for spec in COMMANDS.values():
        expected = {
            MultiLine.NEVER: (False, False),
            MultiLine.ALWAYS: (True, True),
            MultiLine.WITHOUT_ARGUMENT: (True, False),
            MultiLine.UNDECIDED: (None, None),
        }[spec.multi_line]
        assert (expects_lines(spec, b""), expects_lines(spec, b"1")) == expected
        assert expects_lines(spec, b" \t") == expected[0]


def test_law_5_every_state_with_every_trigger() -> None:
    greeting, authorization = State.GREETING, State.AUTHORIZATION
    transaction, update = State.TRANSACTION, State.UPDATE
    expected = {
        greeting: {Trigger.GREETING: authorization, Trigger.TLS: authorization},
        authorization: {
            Trigger.LOGIN: transaction,
            Trigger.TRANSACTION_COMMAND: transaction,
            Trigger.TLS: authorization,
        },
        transaction: {Trigger.QUIT: update, Trigger.TLS: authorization},
        update: {},
    }
    for state in State:
        for trigger in Trigger:
            assert next_state(state, trigger) is expected[state].get(trigger, state)


def test_the_diagram_is_drawn_from_the_table() -> None:
    drawing = state_diagram()
    assert "AUTHORIZATION --> TRANSACTION: +OK to PASS, APOP, AUTH or RPOP" in drawing
    assert drawing.count("-->") == 9


def test_the_table_of_commands_has_every_command() -> None:
    table = command_table()
    for keyword in COMMANDS:
        assert f"| `{keyword.decode()}` |" in table
    assert len(table.splitlines()) == len(COMMANDS) + 2


def test_exchanges() -> None:
    assert {k: s.exchange for k, s in COMMANDS.items() if s.exchange is not Exchange.NONE} == {
        b"AUTH": Exchange.SASL,
        b"STLS": Exchange.TLS,
        b"XTND XMIT": Exchange.MESSAGE,
    }
