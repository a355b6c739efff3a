"""What of a client's line may be shown: an allow-list, on bytes, that fails closed (P01).

A line is shown as it was sent only if all of it matches what is known to be harmless. Of any other
line the keyword is shown if it is known, and of a line whose keyword is unknown nothing, since it
may be half a password, a SASL response that nobody asked for, or `PASSword`.

Nothing here relies on how the session understood the line, only on its octets.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from popproxy.pop3.grammar import COMMANDS, parse_command
from popproxy.privacy.pseudonyms import Pseudonyms
from popproxy.privacy.readings import of_arguments, of_hidden_line, readings
from popproxy.records import MASK

MASKED = MASK.encode()

_NAMES = {keyword: keyword.decode("ascii") for keyword in COMMANDS}

# Octets that servers pass over before a keyword (see `popproxy.pop3.grammar`), the keyword, of one
# word or two, and the blank that ends it.
_PREFIX = re.compile(rb"(?:[ \t\x00]|\xef\xbb\xbf)*[A-Za-z*][A-Za-z0-9]*(?:[ \t][A-Za-z]+)?[ \t]?")

_NOTHING = re.compile(rb"[ \t]*")
_NUMBER = re.compile(rb"[0-9]{1,10}[ \t]*")
_NUMBER_OR_NOTHING = re.compile(rb"(?:[0-9]{1,10})?[ \t]*")
_TWO_NUMBERS = re.compile(rb"[0-9]{1,10} [0-9]{1,10}[ \t]*")
_TAG_OR_NOTHING = re.compile(rb"(?:\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,3})?[ \t]*")

_CLEAR: dict[bytes, re.Pattern[bytes]] = {
    b"CAPA": _NOTHING,
    b"QUIT": _NOTHING,
    b"NOOP": _NOTHING,
    b"STAT": _NOTHING,
    b"RSET": _NOTHING,
    b"STLS": _NOTHING,
    b"UTF8": _NOTHING,
    b"HELP": _NOTHING,
    b"LAST": _NOTHING,
    b"LIST": _NUMBER_OR_NOTHING,
    b"UIDL": _NUMBER_OR_NOTHING,
    b"RETR": _NUMBER,
    b"DELE": _NUMBER,
    b"TOP": _TWO_NUMBERS,
    b"LANG": _TAG_OR_NOTHING,
}
"""Arguments that are shown, by keyword."""

_USER = re.compile(rb"([^\x00-\x20\x7f]{1,255})([ \t]*|[ \t].*)", re.DOTALL)
_APOP = re.compile(rb"([^\x00-\x20\x7f]{1,255})[ \t](.*)", re.DOTALL)
_AUTH = re.compile(rb"([A-Za-z0-9_-]{1,20})(?:[ \t](.*)|)", re.DOTALL)

# A mechanism's name is shown if nobody would take it for a password or base64: in one case
# throughout, as RFC 4422, section 3.1, and nearly all clients have it.
_ONE_CASE = re.compile(rb"[A-Z][A-Z0-9_-]*|[a-z][a-z0-9_-]*")
_MIXED_CASE = frozenset(
    {b"PLAIN", b"LOGIN", b"CRAM-MD5", b"DIGEST-MD5", b"SCRAM-SHA-1", b"XOAUTH2"}
)

_ARGUMENT_IS_SECRET = frozenset({b"PASS"})
"""Keywords that are never shown without a mask: whether a secret is empty is a secret."""

_SHORT = range(3, 6)
"""Octets of a password that is looked for with its keyword."""

_CUT = 4
"""Octets of a longer one that are looked for with its keyword, where a server cut its echo."""

_BEFORE_KEYWORD = b" \t\x00\xef\xbb\xbf"

_HEADER_NAME = re.compile(rb"[A-Za-z-]+(?: [0-9-]+)?[ \t]*")


class ShownCommand(NamedTuple):
    """What may be told of a client's line.

    Attributes:
        raw: The line, masked.
        command: The keyword in upper case, or the mask.
        arguments: The arguments, masked, or None if there are none.
        hidden_from: How many octets of the line are shown as they are before the first mask or
            pseudonym; None if all are.
        masked: Which fields hold a mask or a pseudonym.
        secrets: What was hidden and has to be learned.
        begun: How the password of PASS begins, to know an echo of the line that was cut short.
        user: The name that USER or APOP gives.
        mechanism: The SASL mechanism that AUTH names, in upper case, or the mask.
        initial: AUTH's initial response.
    """

    raw: bytes
    command: str
    arguments: bytes | None = None
    hidden_from: int | None = None
    masked: tuple[str, ...] = ()
    secrets: tuple[bytes, ...] = ()
    begun: bytes = b""
    user: bytes | None = None
    mechanism: str | None = None
    initial: bytes | None = None


WHOLE_LINES: dict[bytes, ShownCommand] = {
    word + b"\r\n": ShownCommand(word + b"\r\n", keyword.decode("ascii"))
    for keyword, arguments in _CLEAR.items()
    if arguments.fullmatch(b"")
    for word in (keyword, keyword.lower())
}
"""Lines without arguments that are shown as they are, as nearly all clients write them."""

_ONE_NUMBER = re.compile(rb"(LIST|UIDL|RETR|DELE) ([0-9]{1,10})\r\n")


def split_line(raw: bytes) -> tuple[bytes, bytes]:
    """Take the line end off: CRLF, LF, or nothing.

    Args:
        raw: A line.

    Returns:
        The line and its line end.
    """
    if raw.endswith(b"\r\n"):
        return raw[:-2], b"\r\n"
    if raw.endswith(b"\n"):
        return raw[:-1], b"\n"
    return raw, b""


def show_command(raw: bytes, pseudonyms: Pseudonyms | None = None) -> ShownCommand:
    """Mask a client's line that is no part of a SASL exchange.

    Args:
        raw: The line, line end included.
        pseudonyms: If given, users' names are replaced.
    """
    if match := _ONE_NUMBER.fullmatch(raw):
        return ShownCommand(raw, _NAMES[match[1]], match[2])
    line, line_end = split_line(raw)
    keyword, arguments, spec = parse_command(line)
    clear = _CLEAR.get(keyword)
    size = len(line) - len(arguments)
    if spec is None or not _PREFIX.fullmatch(line, 0, size):
        if not line:
            return ShownCommand(raw, "", None)
        return _hide_line(line, line_end)
    command = _NAMES[keyword]
    if clear is not None and clear.fullmatch(arguments):
        return ShownCommand(raw, command, arguments.strip(b" \t") or None)
    if not arguments.strip(b" \t") and keyword not in _ARGUMENT_IS_SECRET:
        return ShownCommand(raw, command)
    prefix = line[:size] if line[size - 1 : size] in (b" ", b"\t") else line[:size] + b" "
    if keyword == b"USER" and (match := _USER.fullmatch(arguments)):
        return _show_user(prefix, match[1], match[2], line_end, pseudonyms)
    if keyword == b"APOP" and (match := _APOP.fullmatch(arguments)):
        name = pseudonyms.of(match[1]).encode() if pseudonyms else match[1]
        shown = name + b" " + MASKED
        return ShownCommand(
            raw=prefix + shown + line_end,
            command=command,
            arguments=shown,
            hidden_from=len(prefix) + (0 if pseudonyms else len(match[1]) + 1),
            masked=("raw", "pop3.arguments"),
            secrets=readings(match[2]),
            user=match[1],
        )
    if keyword == b"AUTH":
        return _show_auth(prefix, arguments, line_end)
    learned = keyword != b"XTND XLST" or not _HEADER_NAME.fullmatch(arguments)
    secrets: tuple[bytes, ...] = ()
    begun = b""
    if keyword == b"PASS":
        secrets = readings(arguments)
        if len(arguments) in _SHORT:
            # It is too short to be looked for by itself. An echo of the whole line is not.
            secrets = (*secrets, line.lstrip(_BEFORE_KEYWORD))
        elif len(arguments) > _CUT:
            begun = arguments.lstrip(b" \t")[:_CUT]
    elif learned:
        secrets = of_arguments(arguments)
    return ShownCommand(
        raw=prefix + MASKED + line_end,
        command=command,
        arguments=MASKED,
        hidden_from=len(prefix),
        masked=("raw", "pop3.arguments"),
        secrets=secrets,
        begun=begun,
    )


def show_hidden(raw: bytes) -> ShownCommand:
    """Hide a whole line.

    Args:
        raw: The line, line end included.
    """
    return _hide_line(*split_line(raw))


def show_keyword(keyword: bytes, line_end: bytes) -> ShownCommand:
    """Mask all of a client's line but its keyword, whatever its arguments are.

    Args:
        keyword: Its keyword in upper case.
        line_end: Its line end.
    """
    if keyword not in COMMANDS:
        return _hide_line(b"", line_end)
    return ShownCommand(
        raw=keyword + b" " + MASKED + line_end,
        command=_NAMES[keyword],
        arguments=MASKED,
        hidden_from=0,
        masked=("raw", "pop3.arguments"),
    )


def cite(
    keyword: bytes, arguments: bytes, pseudonyms: Pseudonyms | None = None
) -> tuple[str, bytes | None]:
    """Tell how a response may name the command that it answers.

    Args:
        keyword: The command's keyword, not empty.
        arguments: Its arguments as far as the session gives them.
        pseudonyms: If given, users' names are replaced.

    Returns:
        Keyword, or the mask; and arguments, or None.
    """
    command = _NAMES.get(keyword)
    if command is None:
        return MASK, None
    if not arguments:
        return command, None
    clear = _CLEAR.get(keyword)
    if clear is not None and clear.fullmatch(arguments):
        return command, arguments.strip(b" \t") or None
    if keyword == b"USER" and (match := _USER.fullmatch(arguments)) and not match[2]:
        return command, pseudonyms.of(arguments).encode() if pseudonyms else arguments
    return command, MASKED


def _hide_line(line: bytes, line_end: bytes) -> ShownCommand:
    return ShownCommand(
        raw=MASKED + line_end,
        command=MASK,
        hidden_from=0,
        masked=("raw", "pop3.command"),
        secrets=of_hidden_line(line),
    )


def _show_user(
    prefix: bytes, name: bytes, rest: bytes, line_end: bytes, pseudonyms: Pseudonyms | None
) -> ShownCommand:
    """Show USER's first token (P12)."""
    shown = pseudonyms.of(name).encode() if pseudonyms else name
    hidden = rest.strip(b" \t")
    told = shown + b" " + MASKED if hidden else shown
    hidden_from = None
    if pseudonyms or hidden:
        hidden_from = len(prefix) + (0 if pseudonyms else len(name) + 1)
    return ShownCommand(
        raw=prefix + (told if hidden else shown + rest) + line_end,
        command="USER",
        arguments=told,
        hidden_from=hidden_from,
        masked=() if hidden_from is None else ("raw", "pop3.arguments"),
        secrets=of_arguments(rest[1:]) if hidden else (),
        user=name,
    )


def _show_auth(prefix: bytes, arguments: bytes, line_end: bytes) -> ShownCommand:
    """Show AUTH's mechanism and hide the initial response (P09)."""
    match = _AUTH.fullmatch(arguments)
    if match is None or not (_ONE_CASE.fullmatch(match[1]) or match[1].upper() in _MIXED_CASE):
        return ShownCommand(
            raw=prefix + MASKED + line_end,
            command="AUTH",
            arguments=MASKED,
            hidden_from=len(prefix),
            masked=("raw", "pop3.arguments"),
            secrets=readings(arguments),
            mechanism=MASK,
            initial=arguments,
        )
    name, initial = match[1], match[2]
    mechanism = name.upper().decode("ascii")
    if not initial:
        return ShownCommand(prefix + arguments + line_end, "AUTH", name, mechanism=mechanism)
    shown = name + b" " + MASKED
    return ShownCommand(
        raw=prefix + shown + line_end,
        command="AUTH",
        arguments=shown,
        hidden_from=len(prefix) + len(name) + 1,
        masked=("raw", "pop3.arguments"),
        mechanism=mechanism,
        initial=initial,
    )
