"""What was said on the wire, exact, with secrets inside.

An event is a fact about one direction of a session. It lives in memory only: what may leave the
process is made from events by `popproxy.privacy`. The classes therefore show nothing of their
content in `repr`, refuse to be pickled, and hold bytes, never text.

Two things hold for every event (they are laws of the core, see `popproxy.pop3.session`):

* the `raw` of one direction's events, joined, is what was received from that direction;
* all fields but `at`, `reads` and `joined` depend on the bytes alone, never on how they were cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, NoReturn

from popproxy.pop3.findings import FindingCode


class Side(Enum):
    """Which end of the session sent something."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Side:
        """The opposite end."""
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


class State(Enum):
    """The session's state as RFC 1939, section 3, names it, as far as the traffic shows it."""

    GREETING = "GREETING"
    AUTHORIZATION = "AUTHORIZATION"
    TRANSACTION = "TRANSACTION"
    UPDATE = "UPDATE"

    __hash__ = object.__hash__  # a member is one object; what Enum has for it is slow


class Status(Enum):
    """How a response begins (RFC 1939, section 3); the last two are departures seen in the wild."""

    OK = "+OK"
    ERR = "-ERR"
    CHALLENGE = "+"
    """A SASL challenge, RFC 5034 section 4: `+`, with or without a blank and a payload."""
    OTHER_POSITIVE = "other+"
    """A line that begins with `+` but is neither `+OK` nor a challenge, as `+SUCCESS`."""
    OTHER_NEGATIVE = "other-"
    """A line that begins with `-`, or with `ERR`, but is not `-ERR`."""
    NONE = "none"
    """No status indicator at all."""


class Read(NamedTuple):
    """A piece of an event's `raw` that arrived in one read.

    Attributes:
        at: Monotonic time of the read in nanoseconds.
        size: Octets of the event's `raw` that this read brought.
    """

    at: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Event:
    """What all events have.

    Attributes:
        side: Who sent the bytes.
        raw: The exact bytes, line end included; empty where the event stands for no bytes.
        at: Monotonic time in nanoseconds of the read that completed the event.
        reads: How `raw` arrived; the sizes sum to `len(raw)`. Beyond
            `popproxy.pop3.framing.READS_PER_EVENT` reads the rest is merged into the last.
        joined: True if the first of `reads` is the rest of the read that brought the previous
            event of this side.
    """

    side: Side
    raw: bytes = b""
    at: int = field(default=0, compare=False)
    reads: tuple[Read, ...] = field(default=(), compare=False)
    joined: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        """Name the type only: content may be secret (P13)."""
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        """Refuse: an event never leaves the process (P13)."""
        raise TypeError("events hold secrets and cannot be pickled; make records of them")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Greeting(Event):
    """The server's first line (RFC 1939, section 4).

    Attributes:
        status: Its status indicator.
        text: What follows the indicator and one blank, without the line end.
        timestamp: The APOP timestamp, angle brackets included, or None (RFC 1939, section 7).
        early_commands: How many commands the client had sent before it.
    """

    status: Status
    text: bytes
    timestamp: bytes | None = None
    early_commands: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Command(Event):
    """One line of the client that is read as a command.

    Attributes:
        seq: Number of the command in its session, from 1. Responses cite it.
        keyword: Upper-case keyword, ASCII letters folded only; two words for `XTND XLST` and its
            kin; empty for an empty line.
        known: Whether the grammar knows the keyword.
        arguments: Everything behind the keyword and the blank that ends it, without the line end.
        state: The session's state when it was sent.
        pipelined: Other commands of this session were still unanswered when it was sent.
        overlong: The line was longer than `MAX_LINE`; `raw` is its last piece, `arguments` is
            empty, and `LinePart` events hold what came before.
        terminated: False for a line that the end of the stream cut off.
    """

    seq: int
    keyword: bytes
    known: bool
    arguments: bytes
    state: State
    pipelined: bool = False
    overlong: bool = False
    terminated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SaslResponse(Event):
    """A client line between AUTH and that AUTH's final status (RFC 5034, section 4). Secret.

    Attributes:
        seq: The AUTH command's number.
        overlong: As in `Command`.
        terminated: As in `Command`.
    """

    seq: int
    overlong: bool = False
    terminated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SaslChallenge(Event):
    """A server line that begins with `+` and is no status: a challenge. Its payload is secret.

    Attributes:
        seq: The AUTH command's number; None if no AUTH was under way.
        terminated: As in `Command`.
    """

    seq: int | None
    terminated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Response(Event):
    """The status line that answers a command (RFC 1939, section 3).

    Attributes:
        seq: The number of the command that it answers; None if none was waiting.
        keyword: That command's keyword; empty if `seq` is None, or if the command was a line sent
            during a SASL exchange (it is secret).
        arguments: That command's arguments, empty in the same cases and for secret commands.
        status: Its status indicator.
        text: What follows the indicator and one blank, without the line end.
        code: Extended response code without brackets, as sent (RFC 2449, section 8), or None.
        multi_line: Whether `Data` and `End` follow (RFC 1939, section 3).
        elapsed: Nanoseconds from the command to this line, by the times given.
        state: The session's state after this response.
        overlong: As in `Command`.
        terminated: As in `Command`.
    """

    seq: int | None
    keyword: bytes
    arguments: bytes
    status: Status
    text: bytes
    code: bytes | None
    multi_line: bool
    elapsed: int = field(default=0, compare=False)
    state: State
    overlong: bool = False
    terminated: bool = True


class Ending(Enum):
    """How a multi-line response or a client's message came to its end."""

    TERMINATED = "terminated"
    """By the termination octet on a line of its own."""
    AMBIGUOUS = "ambiguous"
    """By a dot between line ends of which one is a bare LF; the peer took it for the end."""
    RESYNCHRONISED = "resynchronised"
    """No end was seen, but the next response was: only after a command with unknown form."""
    CUT_OFF = "cut off"
    """The stream ended, or ceased to be readable, before the end was seen."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Data(Event):
    """A piece of a multi-line response, or of the message that a client sends behind XTND XMIT.

    Pieces are `popproxy.pop3.framing.PIECE` octets long but for the last one, wherever lines end;
    `Session.flush` may end one sooner.

    Attributes:
        seq: The number of the command that it belongs to; None after a loss of step.
        strict: Whether lines end in CRLF only, as in the status line (else a bare LF ends one too).
    """

    seq: int | None
    strict: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class End(Event):
    """The end of the multi-line response or client's message that `Data` events brought.

    `raw` is the termination octet and its line end, empty if there was none.

    Attributes:
        seq: As in `Data`.
        ending: How it ended.
        elapsed: Nanoseconds from the command to this end, by the times given.
    """

    seq: int | None
    ending: Ending
    elapsed: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Unexpected(Event):
    """A line of the server that answers nothing: a greeting's further line, junk, a lost step.

    Attributes:
        during: The state in which it came.
        terminated: As in `Command`.
    """

    during: State
    terminated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Unanswered(Event):
    """A command that will not be answered any more; stands for no bytes.

    Attributes:
        seq: The command's number.
        keyword: As in `Response`.
    """

    seq: int
    keyword: bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LinePart(Event):
    """The first `MAX_LINE` octets, or the next, of a line longer than that.

    The line's own event follows when it ends, with `overlong` set.
    """


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StlsWaiting(Event):
    """STLS was accepted; the session waits to be told what became of it. Stands for no bytes.

    Attributes:
        seq: The STLS command's number.
    """

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TlsStarted(Event):
    """The session was told that TLS has begun; what was learned before is forgotten (RFC 2595)."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Injected(Event):
    """Plaintext that was sent behind STLS, or behind its +OK, before the handshake. Secret."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Opaque(Event):
    """Bytes that are not read as POP3: TLS passed through, or tracking was lost. Secret."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OpaqueStarted(Event):
    """From here on both directions are opaque; stands for no bytes.

    Attributes:
        reason: Which of the causes in `OpaqueReason` it was.
    """

    reason: OpaqueReason


class OpaqueReason(Enum):
    """Why a session's bytes are no longer read."""

    STLS_PASSED = "stls-passed"
    """The client's STLS was passed through; what follows is TLS."""
    TLS_ON_PLAIN_PORT = "tls-on-plain-port"
    """The client began with a TLS handshake."""
    TOO_MANY_PENDING = "too-many-pending"
    """More commands waited for an answer than the session keeps track of."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Departure(Event):
    """A departure from an RFC, or a risk, seen while reading; stands for no bytes.

    Attributes:
        code: Which one.
        seq: The command that it concerns, or None.
        count: A figure that belongs to it (octets, lines, commands), or None. Never a length of
            something secret.
    """

    code: FindingCode
    seq: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Eof(Event):
    """The side sent nothing more. Buffered rests have been given out before it; `raw` is empty."""
