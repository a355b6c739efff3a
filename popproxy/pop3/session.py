"""A POP3 session as it passes by: bytes of both directions in, events out.

`Session` does no input or output, keeps no time of its own and never raises on input. Whoever
moves the bytes calls `receive` for each read, in the order in which the reads happened, and `end`
when a direction ends.

Laws that the tests hold it to:

1. *Lossless*: the `raw` of one direction's events, joined, plus what is still held, is what went
   in.
2. *Cut-invariant*: any segmentation of the same bytes gives the same events.
3. *Total*: no input raises; what cannot be understood is an event that says so.
4. *Linear and bounded*: an octet costs constant time; lines are held up to `MAX_LINE`, content up
   to `PIECE`, commands up to `max_pending`.
5. *State is one table*: `popproxy.pop3.grammar.TRANSITIONS`; time is an argument.
6. *Fragment first, decode second*: `popproxy.pop3.framing` finds borders, then a line is read.

How it works: client lines become commands and join a queue; server lines answer the oldest (see
`popproxy.pop3.pending`). `popproxy.pop3._server` reads the server's side, `popproxy.pop3._client`
the client's; both work on the state that this module holds.

*Loss of step.* Where a server leaves a reply out, or sends one too many, the pairing would be wrong
from then on. Three signs put it right: an empty queue is in step by itself; a client that never
pipelines and goes on after a line without status took that line for the answer; and a content line
that comes while the next command in the queue is one whose response has several lines shows that
the last status line was that command's.
"""

from __future__ import annotations

from collections.abc import Callable

from popproxy.pop3 import _client, _server
from popproxy.pop3._parts import Parts
from popproxy.pop3.events import (
    Departure,
    Ending,
    Eof,
    Event,
    Injected,
    OpaqueReason,
    Side,
    State,
    TlsStarted,
    Unanswered,
)
from popproxy.pop3.findings import FindingCode
from popproxy.pop3.framing import MAX_LINE
from popproxy.pop3.grammar import Trigger, next_state


class Session:
    r"""The reading of one POP3 session.

    Example:
        >>> session = Session()
        >>> [event] = session.receive(Side.SERVER, b"+OK ready\r\n", at=0)
        >>> event.text
        b'ready'
    """

    __slots__ = ("_parts",)

    def __init__(self, *, tls: bool = False, max_pending: int = 10_000) -> None:
        """Begin before the greeting.

        Args:
            tls: Whether the bytes come out of TLS already.
            max_pending: How many unanswered commands are kept track of; beyond it the session is
                opaque.
        """
        self._parts = Parts(tls=tls, max_pending=max_pending)

    def __repr__(self) -> str:
        """Tell the state and no content (P13)."""
        return f"<Session {self._parts.state.value}>"

    @property
    def state(self) -> State:
        """The state that the session is in, as far as the traffic shows it."""
        return self._parts.state

    @property
    def tls(self) -> bool:
        """Whether the bytes come out of TLS."""
        return self._parts.tls

    @property
    def waiting_for_tls(self) -> bool:
        """Whether STLS was accepted and one of the `tls_…` methods has to be called."""
        return self._parts.waiting_for_tls

    @property
    def awaits_stls(self) -> bool:
        """Whether an STLS was sent, and it is not known yet what becomes of it."""
        return self._parts.waiting_for_tls or self._parts.queue.stls is not None

    @property
    def opaque(self) -> bool:
        """Whether the bytes are no longer read."""
        return self._parts.opaque

    @property
    def pending(self) -> int:
        """How many commands wait for an answer."""
        return len(self._parts.queue)

    @property
    def due(self) -> bytes:
        """Keyword of the command that the server answers next; empty if none waits, or unknown."""
        first = self._parts.queue.first
        return first.keyword if first is not None else b""

    def held(self, side: Side) -> int:
        """How many octets of a side have been received, but completed nothing yet."""
        return len(self._parts.stream(side))

    @property
    def holding(self) -> bool:
        """Whether `flush` would give something out."""
        parts = self._parts
        return parts.held is not None or any(
            (parts.opaque or content is not None) and len(parts.stream(side))
            for side, content in (
                (Side.CLIENT, parts.client_content),
                (Side.SERVER, parts.server_content),
            )
        )

    def receive(self, side: Side, data: bytes, at: int) -> list[Event]:
        """Read bytes that one side sent.

        Args:
            side: Who sent them.
            data: What one read brought; empty bytes are no end.
            at: When, on the monotonic clock, in nanoseconds.

        Returns:
            The events that the bytes complete, in order.
        """
        parts = self._parts
        out: list[Event] = []
        if data:
            whole_line = _client.whole_line if side is Side.CLIENT else _server.whole_line
            if not whole_line(parts, data, at, out):
                parts.stream(side).feed(data, at)
                self._read(side, at, out)
            elif parts.opaque:
                self._read(side, at, out)
        return out

    def end(self, side: Side, at: int) -> list[Event]:
        """Note that one side has sent everything.

        Args:
            side: Who.
            at: When, on the monotonic clock, in nanoseconds.

        Returns:
            Events for what was held, as unfinished, and `Eof`; at the server's end also
            `Unanswered` for each command that waits.
        """
        parts = self._parts
        out: list[Event] = []
        stream = parts.stream(side)
        if stream.ended:
            return out
        stream.ended = True
        if side is Side.SERVER:
            parts.release(out, lines=False)
        if parts.waiting_for_tls:
            self._give_out_injected(side, at, out)
        elif parts.opaque:
            parts.opaque_pieces(side, at, out, every=True)
        else:
            self._finish(side, at, out)
        out.append(Eof(side=side, at=at))
        if side is Side.SERVER:
            self._forget_waiting(at, out)
        return out

    def flush(self, at: int) -> list[Event]:
        """Give out content that has come but fills no piece yet.

        For a log that is to be complete up to a moment ago. Parts of lines are never given out:
        one may be half a password (P08).

        Args:
            at: When, on the monotonic clock, in nanoseconds.

        Returns:
            The events.
        """
        parts = self._parts
        out: list[Event] = []
        parts.release(out, lines=False)
        for side in Side:
            if parts.opaque:
                parts.opaque_pieces(side, at, out, every=True)
            elif (content := parts.content(side)) is not None:
                parts.give_content(side, content.spare(parts.stream(side)), at, out)
        return out

    def rest(self) -> None:
        """Keep in memory only what cannot be made again: nothing has come for a while."""
        self._parts.rest()

    def tls_started(self, at: int) -> list[Event]:
        """Tell that TLS has begun on both sides; what follows is what came out of it.

        Whatever was read since STLS in the clear is given out as injected, and what was learned
        before is forgotten (RFC 2595, section 4).

        Args:
            at: When, on the monotonic clock, in nanoseconds.

        Returns:
            The events.
        """
        parts = self._parts
        out: list[Event] = []
        parts.waiting_for_tls = False
        for side in Side:
            self._give_out_injected(side, at, out)
        self._forget_waiting(at, out)
        parts.tls = True
        parts.state = next_state(parts.state, Trigger.TLS)
        out.append(TlsStarted(side=Side.SERVER, at=at))
        return out

    def tls_passed(self, at: int) -> list[Event]:
        """Tell that client and server speak TLS with each other; what follows is opaque.

        Args:
            at: When, on the monotonic clock, in nanoseconds.

        Returns:
            The events.
        """
        out: list[Event] = []
        self._parts.waiting_for_tls = False
        self._forget_waiting(at, out)
        self._parts.become_opaque(OpaqueReason.STLS_PASSED, at, out)
        return out

    def tls_declined(self, at: int) -> list[Event]:
        """Tell that no handshake followed; the session goes on in the clear.

        Args:
            at: When, on the monotonic clock, in nanoseconds.

        Returns:
            The events, also of what was read in the meantime.
        """
        out: list[Event] = []
        self._parts.waiting_for_tls = False
        self._parts.departure(FindingCode.STLS_WITHOUT_HANDSHAKE, at, out, side=Side.CLIENT)
        for side in Side:
            self._read(side, at, out)
        return out

    def _read(self, side: Side, at: int, out: list[Event]) -> None:
        parts = self._parts
        if parts.waiting_for_tls:
            if len(parts.stream(side)) >= MAX_LINE:
                self._give_out_injected(side, at, out)
            return
        read: Callable[[Parts, int, list[Event]], None]
        read = _client.read if side is Side.CLIENT else _server.read
        if not parts.opaque:
            read(parts, at, out)
        if parts.opaque:
            for each in Side:
                parts.opaque_pieces(each, at, out)

    def _give_out_injected(self, side: Side, at: int, out: list[Event]) -> None:
        parts = self._parts
        stream = parts.stream(side)
        if not len(stream):
            return
        parts.departure(FindingCode.INJECTED_BEHIND_STLS, at, out, side=side, once=True)
        while size := min(len(stream), MAX_LINE):
            raw, reads, joined = stream.take(size)
            out.append(Injected(side=side, raw=raw, at=at, reads=reads, joined=joined))

    def _finish(self, side: Side, at: int, out: list[Event]) -> None:
        """Give out what a direction that ended left unfinished."""
        parts = self._parts
        stream, content = parts.stream(side), parts.content(side)
        if content is not None:
            parts.give_content(side, len(stream), at, out)
            parts.departure(FindingCode.RESPONSE_CUT_OFF, at, out, side=side)
            parts.end_content(side, 0, Ending.CUT_OFF, at, out)
        elif len(stream) or stream.head:
            parts.departure(FindingCode.LINE_CUT_OFF, at, out, side=side)
            line = _client.line if side is Side.CLIENT else _server.line
            line(parts, len(stream), at, out, terminated=False)

    def _forget_waiting(self, at: int, out: list[Event]) -> None:
        for waiting in self._parts.queue.clear():
            out.append(
                Unanswered(side=Side.CLIENT, seq=waiting.seq, keyword=waiting.keyword, at=at)
            )
            out.append(
                Departure(
                    side=Side.SERVER,
                    code=FindingCode.COMMAND_UNANSWERED,
                    seq=waiting.seq,
                    at=at,
                )
            )
