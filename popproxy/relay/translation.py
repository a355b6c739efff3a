"""Applies `popproxy.relay.rules` to the octets of a session, and changes nothing else (P28).

A client that speaks TLS with popproxy must not be offered STLS, whatever the server says, and one
that has to use STLS must be; where popproxy ends TLS, channel binding cannot work.

A translation does no input or output. It gets the octets of a read together with the events that
the parser made of them, and says what to forward. The parser is lossless: the `raw` of its events,
joined, is what went in. So the octets of each event can be found again, although the parser may
have held some for a while that were forwarded long ago (`ahead`).

Held back is only what has to be: the content of a CAPA or AUTH list until its end (`LIST`), the
line that may answer STLS, and a client's line while it may become STLS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from popproxy.pop3 import (
    Command,
    Data,
    End,
    Event,
    LinePart,
    OpaqueReason,
    OpaqueStarted,
    Response,
    Side,
    StlsWaiting,
)
from popproxy.pop3.grammar import parse_command
from popproxy.relay.rules import Rules

LIST = 64 * 1024
"""Octets of a list that are held until its end; a longer one is forwarded as it is."""
LINE = 512
"""Octets of a client's line that are held while it may become STLS."""

_LISTS = frozenset({b"CAPA", b"AUTH"})
_BEFORE_TLS = frozenset({b"CAPA", b"STLS", b"QUIT", b"NOOP", b"LANG", b"HELP"})
"""Commands that tell nothing of a user, and may be sent before a required STLS."""


class Rewrite(NamedTuple):
    """A line that was changed, in both forms.

    Attributes:
        side: Who sent it.
        command_seq: The command that it belongs to.
        rule: What changed it.
        was: The line as it came; empty if it was added.
        now: The line as it was sent on; empty if it was left out.
    """

    side: Side
    command_seq: int | None
    rule: str
    was: bytes
    now: bytes


class Stop(NamedTuple):
    """A point in the octets at which somebody has to decide.

    Attributes:
        why: `stls`: the client sent STLS, or the server accepted it; `login`: the client begins to
            log in though STLS is required; `tls`: the client began a TLS handshake.
        seq: The command that it concerns.
        line: The line itself, which is not forwarded.
        behind: What follows it.
        events: What the parser made of that.
    """

    why: Literal["stls", "login", "tls"]
    seq: int | None
    line: bytes
    behind: bytes
    events: Sequence[Event]


class Step(NamedTuple):
    """What to do with what one read brought.

    Attributes:
        forward: What to send on.
        rewrites: What was changed in it.
        stop: Where the forwarding stopped, if it did.
    """

    forward: bytes
    rewrites: Sequence[Rewrite] = ()
    stop: Stop | None = None


@dataclass(slots=True)
class _List:
    """A list on its way.

    Attributes:
        keyword: The command that asked for it.
        seq: That command's number.
        content: What has come of it.
    """

    keyword: bytes
    seq: int | None
    content: bytearray = field(default_factory=bytearray)


class Translation:
    """Applies rules to the octets of a session, both directions."""

    __slots__ = (
        "_client_ahead",
        "_client_held",
        "_list",
        "_only_stls",
        "_opaque",
        "_server_ahead",
        "_server_held",
        "rules",
    )

    def __init__(self, rules: Rules) -> None:
        """Begin where neither side has an unfinished line.

        Args:
            rules: What to change.
        """
        self.rules = rules
        # Octets of each side that were forwarded but are in no event yet, and that were not
        # forwarded yet.
        self._client_ahead = self._server_ahead = 0
        self._client_held = self._server_held = b""
        self._list: _List | None = None
        self._opaque = False
        # Nothing is changed, but what the server says to STLS is not for the client to see yet.
        self._only_stls = rules == Rules(stls="upgrade")

    def passes(self, side: Side) -> bool:
        """Whether what a side sends passes as it is, whatever it turns out to be.

        Of the server's octets that holds for as long as no STLS waits for its answer.

        Args:
            side: Who sends.
        """
        return self._only_stls and (side is Side.CLIENT or not self._server_held)

    def passed(self, side: Side, data: bytes, events: Sequence[Event]) -> None:
        """Take note of octets that have been forwarded as they were.

        Args:
            side: Who sent them.
            data: What one read brought.
            events: What the parser made of it.
        """
        if side is Side.SERVER and not (
            len(events) == 1 and events[0].raw is data and not self._server_ahead
        ):  # else it is one line, and no octet is left over
            fresh = self._count(side, events)  # which takes from what is ahead
            self._server_ahead += len(data) - fresh

    @property
    def at_border(self) -> bool:
        """Whether nothing of the server's is held back."""
        return self._list is None and not self._server_held

    def give_up(self, side: Side) -> bytes:
        """Give what is held of a side, to be forwarded as it is; that side has ended."""
        if side is Side.CLIENT:
            held, self._client_held = self._client_held, b""
            return held
        held, self._server_held = self._server_held, b""
        if self._list is not None:
            held = bytes(self._list.content) + held
            self._list = None
        return held

    def own_answer(self, line: bytes) -> None:
        """Note a line that the parser is told the server sent, though it was ourselves."""
        self._server_ahead += len(line)

    def server(self, data: bytes, events: Sequence[Event], due: bytes) -> Step:
        """Translate what the server sent.

        Args:
            data: What one read brought.
            events: What the parser made of it.
            due: Keyword of the command that the server answers next.
        """
        rules = self.rules
        if self._list is None and not self._server_held and not self._concerned(events, due):
            self.passed(Side.SERVER, data, events)
            return Step(data)
        held = self._server_held + data
        self._server_held = b""
        out = bytearray()
        rewrites: list[Rewrite] = []
        at = response = 0
        for event in events:
            size = self._count(Side.SERVER, (event,))
            piece = held[at : at + size]
            at += size
            if event.side is not Side.SERVER:
                continue
            if self._list is not None and isinstance(event, Data):
                self._list.content += piece
                continue
            if self._list is not None and isinstance(event, End):
                out += self._edited(self._list, rewrites)
                self._list = None
            if isinstance(event, Response):
                response = len(out)
                if self._begins_list(event):
                    self._list = _List(event.keyword, event.seq)
            out += piece
            if isinstance(event, StlsWaiting) and rules.stls == "upgrade":
                line = bytes(out[response:])
                del out[response:]
                return Step(bytes(out), rewrites, Stop("stls", event.seq, line, held[at:], ()))
        rest = held[at:]
        waiting = len(rest) + (len(self._list.content) if self._list is not None else 0)
        if waiting <= LIST and (self._list is not None or self._may_answer_stls(due)):
            self._server_held = rest
        else:
            if self._list is not None:
                out += self._list.content
                self._list = None
            self._server_ahead += len(rest)
            out += rest
        return Step(bytes(out), rewrites)

    def client(self, data: bytes, events: Sequence[Event]) -> Step:
        """Translate what the client sent.

        Args:
            data: What one read brought.
            events: What the parser made of it.
        """
        rules = self.rules
        if rules.stls in ("forward", "upgrade") and not rules.require_stls:
            return Step(data)
        held = self._client_held + data
        self._client_held = b""
        at = 0
        for number, event in enumerate(events):
            size = self._count(Side.CLIENT, (event,))
            if why := self._stops(event):
                seq = event.seq if isinstance(event, Command) else None
                line, behind = held[at : at + size], held[at + size :]
                return Step(held[:at], (), Stop(why, seq, line, behind, events[number + 1 :]))
            self._opaque = self._opaque or isinstance(event, OpaqueStarted)
            at += size
        rest = held[at:]
        if rest and not self._client_ahead and self._may_become_stls(rest):
            self._client_held = rest
            return Step(held[:at])
        self._client_ahead += len(rest)
        return Step(held)

    def read_elsewhere(self, events: Sequence[Event], due: bytes) -> None:
        """Take note of events that were made apart from a read: nothing is to be forwarded."""
        if events:
            self.server(b"", events, due)

    def _count(self, side: Side, events: Sequence[Event]) -> int:
        """Count the octets of events; give how many of a side's are still to be forwarded.

        A read of one side can bring events of the other: what was held for its form, for example.
        """
        fresh = 0
        for event in events:
            if event.raw:
                new = len(event.raw)
                if event.side is Side.CLIENT:
                    known = min(new, self._client_ahead)
                    self._client_ahead -= known
                else:
                    known = min(new, self._server_ahead)
                    self._server_ahead -= known
                fresh += new - known if event.side is side else 0
        return fresh

    def _concerned(self, events: Sequence[Event], due: bytes) -> bool:
        """Whether there is anything in some events of the server that could be changed."""
        return self._may_answer_stls(due) or any(
            self._begins_list(event) if isinstance(event, Response) else type(event) is StlsWaiting
            for event in events
        )

    def _begins_list(self, event: Response) -> bool:
        return bool(self.rules.edits) and event.multi_line and event.keyword in _LISTS

    def _may_answer_stls(self, due: bytes) -> bool:
        return due == b"STLS" and self.rules.stls == "upgrade"

    def _edited(self, listed: _List, rewrites: list[Rewrite]) -> bytes:
        """Give a list that has ended, changed as the rules say."""
        out, changes = self.rules.edits.apply(listed.keyword, bytes(listed.content))
        rewrites += (Rewrite(Side.SERVER, listed.seq, *change) for change in changes)
        return out

    def _stops(self, event: Event) -> Literal["stls", "login", "tls"] | None:
        """Say whether an event of the client must not simply be forwarded."""
        rules = self.rules
        if isinstance(event, Command):
            own = rules.stls in ("answer", "refuse")
            if event.keyword == b"STLS" and event.terminated and not event.overlong:
                return "stls" if own else None
            if rules.require_stls and not _tells_nothing(event):
                return "login"
        elif isinstance(event, OpaqueStarted):
            if event.reason is OpaqueReason.TLS_ON_PLAIN_PORT:
                return "tls"
            return "login" if rules.require_stls else None
        elif rules.require_stls and isinstance(event, LinePart):
            return "login"
        return None

    def _may_become_stls(self, rest: bytes) -> bool:
        """Whether the beginning of a client's line has to be held."""
        if self.rules.require_stls:
            return True  # bounded by what the parser takes for a line
        if self._opaque or len(rest) > LINE:
            return False
        parsed = parse_command(rest.removesuffix(b"\r"))
        if parsed.keyword == b"STLS":
            return True
        return not parsed.arguments and b"STLS".startswith(parsed.keyword)


def _tells_nothing(command: Command) -> bool:
    """Whether a command may be sent before a required STLS."""
    if command.keyword == b"AUTH":
        return not command.arguments.strip() and not command.overlong  # asks for a list
    return command.keyword in _BEFORE_TLS
