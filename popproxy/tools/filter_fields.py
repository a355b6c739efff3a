"""The fields that a filter can name: what each is called, and what it is of an exchange.

Names are those of Wireshark's dissectors for POP, IMF, IP and TCP where these have one, so that a
filter learned there works here; but a field tells of a whole exchange, a command with its response,
as that is what a filter picks. A field may have several values, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from popproxy.formats.escape import visible
from popproxy.records import MessagePart, SessionStart
from popproxy.tools.exchanges import Exchange
from popproxy.tools.sessions import is_timed

Kind = Literal["text", "word", "number", "seconds", "address"]
"""How a field's values are compared: a word without regard to case, as keywords are."""

Value = str | float

_LONGEST: Final = 4096
"""Octets of a line that a filter looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a filter judges.

    Attributes:
        exchange: The exchange; contents of messages need not be in it.
        session: The session's id.
        start: The session's first record, if it is there.
        user: Who had logged in before the exchange.
    """

    exchange: Exchange
    session: str
    start: SessionStart | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A field.

    Attributes:
        name: Its name.
        kind: How its values are compared.
        about: What it is, for a table.
        values: Gives its values.
    """

    name: str
    kind: Kind
    about: str
    values: Callable[[Seen], Iterable[Value | None]]


def _request(seen: Seen) -> Iterable[str]:
    command = seen.exchange.command
    return [] if command is None else [_line(command.wire)]


def _parameter(seen: Seen) -> Iterable[str | None]:
    command = seen.exchange.command
    return [] if command is None else [command.pop3.arguments]


def _response(seen: Seen) -> Iterable[str]:
    exchange = seen.exchange
    for record in (exchange.greeting, exchange.status, exchange.response):
        if record is not None:
            return [_line(record.wire)]
    return [_line(line.wire) for line in exchange.lines[:1] if line.side == "server"]


def _answer(name: str) -> Callable[[Seen], Iterable[str | None]]:
    """Give what a greeting and a response both have."""

    def values(seen: Seen) -> Iterable[str | None]:
        greeting, response = seen.exchange.greeting, seen.exchange.response
        found = [] if greeting is None else [getattr(greeting.pop3, name)]
        return [*found, *([] if response is None else [getattr(response.pop3, name)])]

    return values


def _of_response(name: str) -> Callable[[Seen], Iterable[Value | None]]:
    def values(seen: Seen) -> Iterable[Value | None]:
        response = seen.exchange.response
        return [] if response is None else [getattr(response.pop3, name)]

    return values


def _of_message(name: str) -> Callable[[Seen], Iterable[Value | None]]:
    def values(seen: Seen) -> Iterable[Value | None]:
        message = _message(seen)
        return [] if message is None else [getattr(message, name)]

    return values


def _of_findings(name: str) -> Callable[[Seen], Iterable[str]]:
    return lambda seen: [getattr(found.finding, name) for found in seen.exchange.findings]


def _number(seen: Seen) -> Iterable[Value | None]:
    command, message = seen.exchange.command, _message(seen)
    named = command.pop3.message_number if command is not None else None
    return [named if named is not None else message.number if message is not None else None]


def _message(seen: Seen) -> MessagePart | None:
    response = seen.exchange.response
    return response.pop3.message if response is not None else None


def _seconds(seen: Seen) -> Iterable[float]:
    duration = seen.exchange.duration
    if duration is None or (seen.start is not None and not is_timed(seen.start)):
        return []
    return [duration / 1e9]


def _state(seen: Seen) -> Iterable[str]:
    command = seen.exchange.command
    return [] if command is None else [command.pop3.state]


def _user(seen: Seen) -> Iterable[str]:
    auth = seen.exchange.auth
    if auth is not None and auth.user is not None:
        return [auth.user.name]
    return [] if seen.user is None else [seen.user]


def _of_auth(name: str) -> Callable[[Seen], Iterable[str]]:
    def values(seen: Seen) -> Iterable[str]:
        auth = seen.exchange.auth
        return [] if auth is None else [getattr(auth.auth, name)]

    return values


def _end(*ends: str, member: str) -> Callable[[Seen], Iterable[Value]]:
    """Give the addresses or ports of the session's ends."""

    def values(seen: Seen) -> Iterable[Value]:
        if seen.start is None:
            return []
        points = [getattr(seen.start, end) for end in ends]
        return [getattr(point, member) for point in points if point is not None]

    return values


def _line(wire: bytes) -> str:
    """Give a line as it is shown, without its end."""
    line = wire[:_LONGEST].split(b"\n", 1)[0].removesuffix(b"\r")
    return visible(line)


_FIELDS: Final = (
    Field("pop.request", "text", "the command line", _request),
    Field(
        "pop.request.command",
        "word",
        "the command's keyword",
        lambda seen: [seen.exchange.keyword or None],
    ),
    Field("pop.request.parameter", "text", "its arguments", _parameter),
    Field("pop.response", "text", "the status line, or the greeting", _response),
    Field("pop.response.indicator", "word", '`"+OK"` or `"-ERR"`', _answer("status")),
    Field("pop.response.description", "text", "the text behind it", _answer("text")),
    Field("pop.response.code", "word", "the response code, as `SYS/TEMP`", _answer("code")),
    Field("pop.message", "number", "the message's number", _number),
    Field("pop.unique_id", "text", "its unique-id", _of_message("unique_id")),
    Field("pop.octets", "number", "octets of the content", _of_response("octets")),
    Field("pop.lines", "number", "lines of the content", _of_response("lines")),
    Field("pop.ending", "word", "how the content ended", _of_response("ending")),
    Field("pop.state", "word", "the state in which the command came", _state),
    Field("pop.time", "seconds", "from the command to the end of its response", _seconds),
    Field("imf.from", "text", "the message's From", _of_message("from_")),
    Field("imf.to", "text", "its To", _of_message("to")),
    Field("imf.subject", "text", "its Subject, decoded", _of_message("subject")),
    Field("imf.date", "text", "its Date", _of_message("date")),
    Field("imf.message_id", "text", "its Message-ID", _of_message("message_id")),
    Field("user", "text", "who logs in, or has logged in", _user),
    Field("auth.mechanism", "word", "`USER`, `APOP`, or SASL's name", _of_auth("mechanism")),
    Field("auth.outcome", "word", "`success`, `failure`, `unknown`", _of_auth("outcome")),
    Field("finding", "word", "the code of a finding", _of_findings("code")),
    Field("finding.severity", "word", "`info`, `warning`, `error`", _of_findings("severity")),
    Field("finding.rfc", "text", "the RFC and section", _of_findings("rfc")),
    Field("finding.what", "text", "what it says", _of_findings("what")),
    Field("session", "text", "the session's id", lambda seen: [seen.session]),
    Field("ip.src", "address", "the client's address", _end("client", member="address")),
    Field("ip.dst", "address", "the server's address", _end("server", member="address")),
    Field("ip.addr", "address", "either address", _end("client", "server", member="address")),
    Field("tcp.srcport", "number", "the client's port", _end("client", member="port")),
    Field("tcp.dstport", "number", "the server's port", _end("server", member="port")),
    Field("tcp.port", "number", "either port", _end("client", "server", member="port")),
)

FIELDS: Final = {field.name: field for field in _FIELDS}
"""Every field by its name."""
