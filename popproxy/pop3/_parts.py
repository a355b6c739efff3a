"""The state of a session that its two sides share, and the steps that both take."""

from __future__ import annotations

from dataclasses import replace

from popproxy.pop3.events import (
    Data,
    Departure,
    End,
    Ending,
    Event,
    Opaque,
    OpaqueReason,
    OpaqueStarted,
    Response,
    Side,
    State,
)
from popproxy.pop3.findings import FindingCode
from popproxy.pop3.framing import MAX_LINE, PIECE, Content, Stream
from popproxy.pop3.pending import Queue, Waiting

OPAQUE_FINDINGS = {
    OpaqueReason.TLS_ON_PLAIN_PORT: FindingCode.TLS_ON_PLAIN_PORT,
    OpaqueReason.TOO_MANY_PENDING: FindingCode.TOO_MANY_PENDING,
}


class Parts:
    """What a session knows.

    Attributes:
        client_content: The search for the end of a message that the client sends, if it does.
        server_content: The search for the end of a multi-line response, if one is under way.
        client_of: The command that the client's content belongs to.
        server_of: The command that the server's content, or the held response, belongs to.
        queue: The commands that wait for an answer.
        state: The session's state.
        commands: Number of the last command.
        pipelines: Whether the client has sent a command before the last was answered.
        greeted: Whether a line with a status indicator has greeted.
        tls: Whether the bytes come out of TLS.
        waiting_for_tls: STLS was accepted, what became of it is not known yet.
        opaque: Nothing is read any more.
        lost: Step was lost and has not been found again.
        held: The response to a command of which nobody knows whether it has several lines, until
            what follows shows it.
        last: Text of the last greeting or positive response of one line, until another server
            line comes: it may turn out to have answered the next command.
        last_strict: Whether that line ended in CRLF.
        resumable: The AUTH that was answered by +OK without a challenge; the client's next line
            may belong to it.
    """

    __slots__ = (
        "_client",
        "_noted",
        "_server",
        "client_content",
        "client_of",
        "commands",
        "greeted",
        "held",
        "last",
        "last_strict",
        "lost",
        "opaque",
        "pipelines",
        "queue",
        "resumable",
        "server_content",
        "server_of",
        "state",
        "tls",
        "waiting_for_tls",
    )

    def __init__(self, *, tls: bool, max_pending: int) -> None:
        self._client: Stream | None = None
        self._server: Stream | None = None
        self.client_content: Content | None = None
        self.server_content: Content | None = None
        self.client_of: Waiting | None = None
        self.server_of: Waiting | None = None
        self.queue = Queue(max_pending)
        self.state = State.GREETING
        self.commands = 0
        self.pipelines = False
        self.greeted = False
        self.tls = tls
        self.waiting_for_tls = False
        self.opaque = False
        self.lost = False
        self.held: Response | None = None
        self.last: bytes | None = None
        self.last_strict = False
        self.resumable: Waiting | None = None
        self._noted: tuple[tuple[FindingCode, Side], ...] = ()

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Parts>"

    @property
    def client(self) -> Stream:
        """Octets of the client that are held."""
        if self._client is None:
            self._client = Stream()
        return self._client

    @property
    def server(self) -> Stream:
        """Octets of the server that are held."""
        if self._server is None:
            self._server = Stream()
        return self._server

    def stream(self, side: Side) -> Stream:
        """The octets of a side that are held."""
        return self.client if side is Side.CLIENT else self.server

    def rest(self) -> None:
        """Keep no stream that holds nothing, as the next octets make another, and no empty list."""
        self.queue.rest()
        if self._client is not None and self._client.untouched:
            self._client = None
        if self._server is not None and self._server.untouched:
            self._server = None

    def content(self, side: Side) -> Content | None:
        """The content that a side is sending, if it is."""
        return self.client_content if side is Side.CLIENT else self.server_content

    def starts_afresh(self, side: Side, data: bytes) -> bool:
        """Tell whether a read is one whole line, and neither held octets nor content come before.

        Such a line need not go through the stream.

        Args:
            side: Who sent it.
            data: What the read brought, at least one octet.
        """
        stream, size = self._client if side is Side.CLIENT else self._server, len(data)
        return not (
            data.find(b"\n") != size - 1
            or (stream is not None and (stream.buffer or stream.head))
            or self.content(side) is not None
            or self.opaque
            or self.waiting_for_tls
            or size > MAX_LINE
        )

    def departure(
        self,
        code: FindingCode,
        at: int,
        out: list[Event],
        *,
        side: Side = Side.SERVER,
        seq: int | None = None,
        count: int | None = None,
        once: bool = False,
    ) -> None:
        """Report a departure.

        Args:
            code: Which.
            at: When, monotonic, in nanoseconds.
            out: Where the event goes.
            side: Who departed.
            seq: The command that it concerns.
            count: A figure that belongs to it.
            once: Report it once a session and side: a peer that does so in each line would
                otherwise fill the log.
        """
        if once:
            if (code, side) in self._noted:
                return
            self._noted += ((code, side),)
        out.append(Departure(side=side, code=code, seq=seq, count=count, at=at))

    def release(self, out: list[Event], *, lines: bool) -> None:
        """Give out the response that was held, now that its form is known.

        Args:
            out: Where it goes.
            lines: Whether it has several lines.
        """
        held = self.held
        if held is None:
            return
        self.held = None
        if lines:
            held = replace(held, multi_line=True)
        else:
            self.server_of = None
        out.append(held)

    def begin_content(self, side: Side, of: Waiting | None, *, strict: bool) -> None:
        """Note that content begins.

        Args:
            side: Who sends it.
            of: The command that it belongs to.
            strict: Whether its lines end in CRLF only.
        """
        if side is Side.CLIENT:
            self.client_content, self.client_of = Content(strict=strict), of
        else:
            self.server_content, self.server_of = Content(strict=strict), of

    def give_content(self, side: Side, size: int, at: int, out: list[Event]) -> None:
        """Give out content in pieces.

        Args:
            side: Who sent it.
            size: Octets of the content to give out.
            at: When, monotonic, in nanoseconds.
            out: Where the events go.
        """
        stream, content = self.stream(side), self.content(side)
        if content is None:
            return
        of = self.client_of if side is Side.CLIENT else self.server_of
        seq = of.seq if of is not None else None
        while size > 0:
            raw, reads, joined = stream.take(min(size, PIECE))
            content.taken(raw)
            size -= len(raw)
            out.append(
                Data(
                    side=side,
                    raw=raw,
                    at=at,
                    reads=reads,
                    joined=joined,
                    seq=seq,
                    strict=content.strict,
                )
            )

    def end_content(
        self, side: Side, size: int, ending: Ending, at: int, out: list[Event]
    ) -> Waiting | None:
        """Note that content has ended.

        Args:
            side: Who sent it.
            size: Octets of the line with the dot; 0 if there is none.
            ending: How it ended.
            at: When, monotonic, in nanoseconds.
            out: Where the events go.

        Returns:
            The command that it belonged to.
        """
        content = self.content(side)
        of = self.client_of if side is Side.CLIENT else self.server_of
        seq = of.seq if of is not None else None
        if content is not None:
            if content.ambiguous:
                self.departure(
                    FindingCode.AMBIGUOUS_TERMINATION,
                    at,
                    out,
                    side=side,
                    seq=seq,
                    count=content.ambiguous,
                )
            if content.unstuffed:
                self.departure(
                    FindingCode.DOT_NOT_STUFFED,
                    at,
                    out,
                    side=side,
                    seq=seq,
                    count=content.unstuffed,
                )
        raw, reads, joined = self.stream(side).take(size) if size else (b"", (), False)
        elapsed = at - of.sent_at if of is not None else 0
        out.append(
            End(
                side=side,
                raw=raw,
                at=at,
                reads=reads,
                joined=joined,
                seq=seq,
                ending=ending,
                elapsed=elapsed,
            )
        )
        if side is Side.CLIENT:
            self.client_content, self.client_of = None, None
        else:
            self.server_content, self.server_of = None, None
        return of

    def become_opaque(self, reason: OpaqueReason, at: int, out: list[Event]) -> None:
        """Cease to read.

        Args:
            reason: Why.
            at: When, monotonic, in nanoseconds.
            out: Where the events go.
        """
        self.release(out, lines=False)
        for side in Side:
            if self.content(side) is not None:
                self.end_content(side, 0, Ending.CUT_OFF, at, out)
        self.opaque = True
        self.queue.clear()
        if reason in OPAQUE_FINDINGS:
            self.departure(OPAQUE_FINDINGS[reason], at, out, side=Side.CLIENT)
        out.append(OpaqueStarted(side=Side.CLIENT, reason=reason, at=at))

    def opaque_pieces(self, side: Side, at: int, out: list[Event], *, every: bool = False) -> None:
        """Give out opaque octets in pieces.

        Args:
            side: Who sent them.
            at: When, monotonic, in nanoseconds.
            out: Where the events go.
            every: Also a last piece that is not full.
        """
        stream = self.stream(side)
        while (held := len(stream)) >= PIECE or (every and held):
            raw, reads, joined = stream.take(min(held, PIECE))
            out.append(Opaque(side=side, raw=raw, at=at, reads=reads, joined=joined))
