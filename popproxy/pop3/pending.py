"""The commands that wait for an answer.

RFC 1939 answers commands one by one, RFC 2449 lets a client send several without waiting; either
way responses come in the order of the commands. A queue therefore pairs them, however the traffic
was cut, and a status line inside a message never counts, since content is framed before.
"""

from __future__ import annotations

from popproxy.pop3.grammar import (
    CommandSpec,
    Exchange,
    ParsedCommand,
    Secrecy,
    expects_lines,
    parse_command,
)


class Waiting:
    """A command that waits for its answer.

    Attributes:
        seq: The command's number.
        spec: Its row in the grammar, or None if its keyword is unknown.
        keyword: Its keyword if it may be cited; empty for a line sent during a SASL exchange.
        arguments: Its arguments if they may be cited, without blanks at the end; else empty.
        lines: Whether its positive response has several lines; None if that shows only then.
        sent_at: When it was complete, monotonic, in nanoseconds.
        sasl: Whether it opens a SASL exchange.
        initial: Whether it brought an initial response.
        rounds: Challenges that the server sent in that exchange.
        replies: Client lines sent in that exchange, parsed: they are commands if the server did
            not ask for them.
        junk: A line without a status indicator came while it was first in the queue.
    """

    __slots__ = (
        "arguments",
        "initial",
        "junk",
        "keyword",
        "lines",
        "replies",
        "rounds",
        "sasl",
        "sent_at",
        "seq",
        "spec",
    )

    def __init__(
        self,
        seq: int,
        parsed: ParsedCommand,
        sent_at: int,
        *,
        hidden: bool,
        well_formed: bool = False,
    ) -> None:
        spec = parsed.spec
        self.seq = seq
        self.spec: CommandSpec | None = spec
        self.sent_at = sent_at
        self.keyword = b""
        self.arguments = b""
        self.lines: bool | None = None
        self.sasl = False
        self.initial = False
        self.rounds = 0
        self.replies: list[tuple[int, bytes]] | None = None
        self.junk = False
        if not hidden:
            self.keyword = parsed.keyword
        if spec is not None:
            self.lines = expects_lines(spec, parsed.arguments)
            if spec.exchange is Exchange.SASL:
                self.sasl = not self.lines
                self.initial = self.sasl and len(parsed.arguments.split()) > 1
            if hidden or spec.secrecy is Secrecy.SECRET or not parsed.arguments:
                return
            if well_formed:
                self.arguments = parsed.arguments
            else:
                arguments = parsed.arguments.rstrip(b" \t")  # servers pass over blanks there
                self.arguments = arguments if spec.shape.fullmatch(arguments) else b""

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Waiting>"

    @property
    def exchange(self) -> Exchange:
        """What a positive response begins."""
        return self.spec.exchange if self.spec is not None else Exchange.NONE


_NOBODY: list[Waiting] = []
"""What waits in all queues that are at rest; never changed."""


class Queue:
    """The commands of one session that wait for an answer, oldest first.

    Attributes:
        limit: How many are kept track of.
        auth: The command whose SASL exchange is under way, or about to be; while there is one,
            every client line is part of it (P09).
        stls: The STLS command that waits, if one does.
    """

    __slots__ = ("_replies", "_waiting", "auth", "limit", "stls")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.auth: Waiting | None = None
        self.stls: Waiting | None = None
        self._waiting = _NOBODY  # no deque: an empty one takes 760 octets
        self._replies = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return len(self._waiting) + self._replies >= self.limit

    @property
    def first(self) -> Waiting | None:
        """The command that is answered next, or None."""
        return self._waiting[0] if self._waiting else None

    def push(self, waiting: Waiting) -> None:
        """Add a command that was sent."""
        if self._waiting is _NOBODY:
            self._waiting = []
        self._waiting.append(waiting)
        if waiting.sasl and self.auth is None:
            self.auth = waiting
        if waiting.exchange is Exchange.TLS:
            self.stls = waiting

    def pop(self) -> Waiting:
        """Remove the command that was answered; at least one waits."""
        waiting = self._waiting.pop(0)
        if waiting is self.stls:
            self.stls = None
        return waiting

    def reply(self, line: bytes, at: int) -> None:
        """Note a client line of the SASL exchange under way.

        Args:
            line: The line without its line end.
            at: When it was complete.
        """
        auth = self.auth
        if auth is not None:
            if auth.replies is None:
                auth.replies = []
            auth.replies.append((at, line[:_READ_OF_A_REPLY]))
            self._replies += 1

    def settle(self, auth: Waiting) -> int:
        """End a SASL exchange, of which the final status has come.

        Lines that no challenge asked for were commands to the server: they wait for an answer of
        their own. They stay hidden, and so does what they are answers to.

        Args:
            auth: The AUTH command, no longer in the queue.

        Returns:
            How many lines there were that no challenge asked for.
        """
        self.auth = None
        replies = auth.replies or []
        self._replies -= len(replies)
        auth.replies = None
        beyond = replies[auth.rounds :]
        for at, line in beyond:
            self.push(Waiting(auth.seq, parse_command(line), at, hidden=True))
        return len(beyond)

    def rest(self) -> None:
        """Keep no list while nobody waits."""
        if not self._waiting:
            self._waiting = _NOBODY

    def clear(self) -> list[Waiting]:
        """Forget all.

        Returns:
            The commands that waited.
        """
        gone, self._waiting = self._waiting, _NOBODY
        self.auth = None
        self.stls = None
        self._replies = 0
        return gone


_READ_OF_A_REPLY = 64
"""Octets that are kept of a line of a SASL exchange: enough to tell how its answer is framed, if
it turns out to have been a command."""
