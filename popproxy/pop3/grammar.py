"""What POP3's commands are: one table.

Everything that the program knows of a command stands in `COMMANDS`: how its arguments look, whether
its positive response has several lines, in which states it is allowed, what of it is secret and
where it is specified. The session, the masking and the guide read it; none has a list of its own.

Keywords are compared on bytes, with ASCII letters folded only: `str.upper` would turn `paſs` into
`PASS`, and a parser and a server would disagree about what was said.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from popproxy.pop3.events import State


class MultiLine(Enum):
    """Whether the positive response to a command has several lines (RFC 1939, section 3)."""

    NEVER = "no"
    ALWAYS = "yes"
    WITHOUT_ARGUMENT = "without argument"
    UNDECIDED = "depends on the server"
    """Decided by what follows the status line."""


class Secrecy(Enum):
    """What of a command's arguments may be told."""

    NONE = "yes"
    """All, if they have the shape that the table gives."""
    PERSONAL = "the name"
    """They name a person or a host; shown, but for a policy that hides users."""
    SECRET = "no"  # noqa: S105 - the name of a class, no password
    """Nothing of them, or only the part that masking knows to be safe."""


class Exchange(Enum):
    """What a positive response to the command begins, beyond lines of content."""

    NONE = "none"
    SASL = "sasl"
    """Challenges and responses until the final status (RFC 5034, section 4)."""
    TLS = "tls"
    """A TLS handshake (RFC 2595, section 4)."""
    MESSAGE = "message"
    """The client sends a message that ends in a line with one dot."""


class CommandSpec(NamedTuple):
    """One row of the table.

    Attributes:
        keyword: Upper-case keyword; two words for XTND's subcommands.
        syntax: The arguments as a person writes them down.
        shape: What the arguments have to match as a whole to be well-formed.
        multi_line: Whether the positive response has several lines.
        states: The states that allow the command.
        secrecy: What may be told of the arguments.
        source: Where it is specified, or met.
        exchange: What a positive response begins.
        logs_in: A positive response enters the TRANSACTION state.
    """

    keyword: bytes
    syntax: str
    shape: re.Pattern[bytes]
    multi_line: MultiLine
    states: frozenset[State]
    secrecy: Secrecy
    source: str
    exchange: Exchange = Exchange.NONE
    logs_in: bool = False


_A = frozenset({State.AUTHORIZATION})
_T = frozenset({State.TRANSACTION})
_AT = _A | _T

_NOTHING = re.compile(rb"")
_ANYTHING = re.compile(rb"[^\r\n]*", re.DOTALL)
_NUMBER = re.compile(rb"[0-9]{1,10}")
_NUMBER_OR_NOTHING = re.compile(rb"(?:[0-9]{1,10})?")
_TWO_NUMBERS = re.compile(rb"[0-9]{1,10} [0-9]{1,10}")
_TAG_OR_NOTHING = re.compile(rb"(?:\*|[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7})?")
_TOKEN = re.compile(rb"[^\x00-\x20\x7f]{1,255}")
_NAME_AND_DIGEST = re.compile(rb"[^\x00-\x20\x7f]{1,255} [0-9A-Fa-f]{32}")
_MECHANISM = re.compile(rb"(?:[A-Za-z0-9_-]{1,64})?")

_NEVER, _ALWAYS = MultiLine.NEVER, MultiLine.ALWAYS
_BARE, _UNDECIDED = MultiLine.WITHOUT_ARGUMENT, MultiLine.UNDECIDED
_PUBLIC, _PERSONAL, _SECRET = Secrecy.NONE, Secrecy.PERSONAL, Secrecy.SECRET

_ROWS = (
    CommandSpec(b"USER", "name", _TOKEN, _NEVER, _A, _PERSONAL, "RFC 1939 section 7"),
    CommandSpec(
        b"PASS", "string", _ANYTHING, _NEVER, _A, _SECRET, "RFC 1939 section 7", logs_in=True
    ),
    CommandSpec(
        b"APOP",
        "name digest",
        _NAME_AND_DIGEST,
        _NEVER,
        _A,
        _SECRET,
        "RFC 1939 section 7",
        logs_in=True,
    ),
    CommandSpec(
        b"AUTH",
        "[mechanism [initial-response]]",
        _MECHANISM,
        _BARE,
        _A,
        _SECRET,
        "RFC 5034 section 4",
        Exchange.SASL,
        logs_in=True,
    ),
    CommandSpec(b"STLS", "", _NOTHING, _NEVER, _A, _PUBLIC, "RFC 2595 section 4", Exchange.TLS),
    CommandSpec(b"CAPA", "", _NOTHING, _ALWAYS, _AT, _PUBLIC, "RFC 2449 section 5"),
    CommandSpec(b"UTF8", "", _NOTHING, _NEVER, _A, _PUBLIC, "RFC 6856 section 2"),
    CommandSpec(b"LANG", "[tag]", _TAG_OR_NOTHING, _BARE, _AT, _PUBLIC, "RFC 6856 section 3"),
    CommandSpec(b"STAT", "", _NOTHING, _NEVER, _T, _PUBLIC, "RFC 1939 section 5"),
    CommandSpec(b"NOOP", "", _NOTHING, _NEVER, _T, _PUBLIC, "RFC 1939 section 5"),
    CommandSpec(b"RSET", "", _NOTHING, _NEVER, _T, _PUBLIC, "RFC 1939 section 5"),
    CommandSpec(b"QUIT", "", _NOTHING, _NEVER, _AT, _PUBLIC, "RFC 1939 sections 4 and 6"),
    CommandSpec(b"LIST", "[n]", _NUMBER_OR_NOTHING, _BARE, _T, _PUBLIC, "RFC 1939 section 5"),
    CommandSpec(b"UIDL", "[n]", _NUMBER_OR_NOTHING, _BARE, _T, _PUBLIC, "RFC 1939 section 7"),
    CommandSpec(b"RETR", "n", _NUMBER, _ALWAYS, _T, _PUBLIC, "RFC 1939 section 5"),
    CommandSpec(b"TOP", "n k", _TWO_NUMBERS, _ALWAYS, _T, _PUBLIC, "RFC 1939 section 7"),
    CommandSpec(b"DELE", "n", _NUMBER, _NEVER, _T, _PUBLIC, "RFC 1939 section 5"),
    CommandSpec(b"LAST", "", _NOTHING, _NEVER, _T, _PUBLIC, "RFC 1460"),
    CommandSpec(b"RPOP", "user", _TOKEN, _NEVER, _A, _SECRET, "RFC 1225; fetchmail", logs_in=True),
    CommandSpec(b"XTND XLST", "header [n]", _ANYTHING, _ALWAYS, _T, _SECRET, "Mozilla, Mercury"),
    CommandSpec(
        b"XTND XMIT", "", _NOTHING, _NEVER, _T, _SECRET, "Eudora, Qpopper", Exchange.MESSAGE
    ),
    CommandSpec(b"XTND", "1 to 3 words", _ANYTHING, _UNDECIDED, _T, _SECRET, "MH popd"),
    CommandSpec(b"XSENDER", "n", _NUMBER, _NEVER, _T, _SECRET, "Netscape"),
    CommandSpec(b"GURL", "", _NOTHING, _NEVER, _T, _SECRET, "Netscape"),
    CommandSpec(b"EUIDL", "[n]", _NUMBER_OR_NOTHING, _BARE, _T, _SECRET, "CNet"),
    CommandSpec(b"HELP", "[topic]", _NOTHING, _UNDECIDED, _AT, _PUBLIC, "Mercury"),
    CommandSpec(b"XCLIENT", "name=value …", _ANYTHING, _NEVER, _A, _SECRET, "Dovecot, nginx"),
    CommandSpec(b"PROXY", "…", _ANYTHING, _NEVER, _A, _SECRET, "the PROXY protocol, version 1"),
    CommandSpec(b"XOIP", "address", _ANYTHING, _NEVER, _A, _SECRET, "Zimbra, Dovecot"),
    CommandSpec(b"*ENV", "n", _NUMBER, _ALWAYS, _T, _SECRET, "fetchmail, for SDPS"),
    CommandSpec(b"XYZZY", "", _NOTHING, _NEVER, _AT, _SECRET, "cmail, Archiveopteryx"),
    CommandSpec(b"SESSION", "", _NOTHING, _NEVER, _AT, _SECRET, "cmail"),
)

COMMANDS: dict[bytes, CommandSpec] = {row.keyword: row for row in _ROWS}
"""The row of each keyword."""

_TWO_WORDS = {row.keyword.split()[0] for row in _ROWS if b" " in row.keyword}

# What stands before a keyword and is no part of it for one server or another: Courier and
# mailutils skip blanks, editors leave a byte order mark, a C string ends at NUL.
_LEAD = re.compile(rb"(?:[ \t\x00]|\xef\xbb\xbf)*")
_WORD = re.compile(rb"[^ \t]*")


class ParsedCommand(NamedTuple):
    """A client line, taken apart.

    Attributes:
        keyword: Upper-case keyword, two words where the table has two; empty for an empty line.
        arguments: Everything behind the keyword and the one blank or tab that ends it.
        spec: The table's row, or None if the keyword is unknown.
    """

    keyword: bytes
    arguments: bytes
    spec: CommandSpec | None


def parse_command(line: bytes) -> ParsedCommand:
    """Take a client line apart; any bytes are a command, known or not.

    Leading blanks, tabs, NULs and a byte order mark are passed over, since servers do so.

    Args:
        line: The line without its line end.

    Returns:
        The keyword, its arguments and its row in the table.
    """
    keyword, _blank, arguments = line.partition(b" ")
    spec = COMMANDS.get(keyword)
    if spec is not None and keyword not in _TWO_WORDS:  # as nearly all clients write it
        return ParsedCommand(keyword, arguments, spec)
    start = _LEAD.match(line).end()  # type: ignore[union-attr] # matches the empty string
    end = _WORD.match(line, start).end()  # type: ignore[union-attr] # matches the empty string
    keyword, arguments = line[start:end].upper(), line[end + 1 :]
    if keyword in _TWO_WORDS:
        second, _, rest = arguments.partition(b" ")
        if (two := keyword + b" " + second.upper()) in COMMANDS:
            keyword, arguments = two, rest
    return ParsedCommand(keyword, arguments, COMMANDS.get(keyword))


def expects_lines(spec: CommandSpec, arguments: bytes) -> bool | None:
    """Tell whether a positive response to the command has several lines.

    Args:
        spec: The command's row.
        arguments: Its arguments.

    Returns:
        True or False, or None if it depends on the server.
    """
    if spec.multi_line is MultiLine.WITHOUT_ARGUMENT:
        return not arguments.strip(b" \t")
    if spec.multi_line is MultiLine.UNDECIDED:
        return None
    return spec.multi_line is MultiLine.ALWAYS


class Trigger(Enum):
    """What moves a session from one state to another."""

    GREETING = "greeting"
    LOGIN = "+OK to PASS, APOP, AUTH or RPOP"
    TRANSACTION_COMMAND = "+OK to a command of the TRANSACTION state"
    QUIT = "+OK to QUIT"
    TLS = "TLS started"


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.GREETING, Trigger.GREETING): State.AUTHORIZATION,
    (State.GREETING, Trigger.TLS): State.AUTHORIZATION,
    (State.AUTHORIZATION, Trigger.LOGIN): State.TRANSACTION,
    # The login was not seen, or not understood; the server shows that it took place.
    (State.AUTHORIZATION, Trigger.TRANSACTION_COMMAND): State.TRANSACTION,
    (State.AUTHORIZATION, Trigger.TLS): State.AUTHORIZATION,
    (State.TRANSACTION, Trigger.QUIT): State.UPDATE,
    (State.TRANSACTION, Trigger.TLS): State.AUTHORIZATION,
}
"""The state table (RFC 1939, section 3); a pair that is not in it changes nothing.

QUIT in the AUTHORIZATION state ends the session without UPDATE (RFC 1939, section 4).
"""


def next_state(state: State, trigger: Trigger) -> State:
    """Look a transition up.

    Args:
        state: The state that the session is in.
        trigger: What happened.

    Returns:
        The state that it is in afterwards.
    """
    return TRANSITIONS.get((state, trigger), state)
