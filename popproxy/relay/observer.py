"""The observer: reads along what passes, and has it recorded.

`observe` is synchronous: parser, recorder and hub do their work in one go, in the order in which
things happened, over both directions. What passes as it is in any case need not wait for that: it
is sent on first, and waits in `unread` until all connections that are ready have been seen to, or
until the observer is asked for anything else (`catch_up`).

Whatever goes wrong in there is no reason to stop or to alter the traffic (P25). An exception of
the parser, the recorder or the hub ends the reading of this session, not the session: a record
says so, and the rest passes as opaque. If even that record cannot be made, one that is made by
hand says that records are missing. Only `--require-log` turns it round: then nothing is forwarded
that could not be recorded (P27), and `written` tells the relay to end the session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from popproxy.pop3 import Event, FindingCode, Session, Side, State
from popproxy.privacy import Recorder
from popproxy.records import Endpoint, Record, RoutePart, TlsPart
from popproxy.relay import after_stls, diagnostics
from popproxy.relay.border import Border
from popproxy.relay.by_hand import ByHand
from popproxy.relay.later import Later
from popproxy.relay.record_hub import RecordHub

FLUSH_AFTER = 500_000_000
"""Nanoseconds after which content that fills no piece yet is recorded all the same (P64)."""

_failures = diagnostics.Limiter(interval=10.0, burst=5)


class Observer:
    """Reads one session along.

    Attributes:
        border: Where a line of ours could follow what the server sent, if the log is required.
        unread: What was sent on and is still to be read; see `catch_up`.
    """

    __slots__ = (
        "_by_hand",
        "_failed",
        "_held_since",
        "_hub",
        "_parser",
        "_recorder",
        "_seq",
        "_session_id",
        "_started_at",
        "_started_ns",
        "_unsaid",
        "border",
        "unread",
    )

    def __init__(
        self,
        *,
        session_id: str,
        parser: Session,
        recorder: Recorder,
        hub: RecordHub,
        started_at: datetime,
        started_ns: int,
        require_log: bool,
    ) -> None:
        """Prepare; nothing is recorded yet.

        Args:
            session_id: The session's name.
            parser: Makes events of octets.
            recorder: Makes records of events.
            hub: Takes the records.
            started_at: When the session began, in UTC.
            started_ns: The same moment on the monotonic clock, in nanoseconds.
            require_log: Whether a failure to record has to end the session.
        """
        self._session_id = session_id
        self._parser = parser
        self._recorder = recorder
        self._hub = hub
        self._started_at = started_at
        self._started_ns = started_ns
        self._seq = 0  # of the last record that the hub took
        self._by_hand: ByHand | None = None  # there is one if the recorder failed
        self._failed = False
        self._unsaid: Sequence[Record] = ()
        self._held_since = 0
        self.unread = Later()
        self.border = Border() if require_log else None

    def start(
        self,
        *,
        client: Endpoint,
        listener: Endpoint,
        server: Endpoint | None,
        via: Endpoint | None,
        destination: Endpoint | None,
        route: RoutePart,
        notice: str,
        rewrites: Sequence[str],
        at: int,
    ) -> None:
        """Record that the session began.

        Args:
            client: The client's address.
            listener: The address that it connected to.
            server: The upstream's address, None if there is no connection to it.
            via: The load balancer's end of the connection, if it came through one.
            destination: Where the client connected to, as that says.
            route: The route.
            notice: Says that mail is recorded and how it is masked (P71).
            rewrites: What may be changed in its traffic (P28).
            at: When this is recorded, monotonic, in nanoseconds.
        """
        self._tell(
            at,
            lambda: self._recorder.start(
                client=client,
                listener=listener,
                server=server,
                via=via,
                destination=destination,
                route=route,
                notice=notice,
                rewrites=rewrites,
            ),
        )

    def catch_up(self) -> None:
        """Read and record what was put off. Raises only what a note raises."""
        unread = self.unread
        while unread.waiting:
            side, data, at, note = unread.pop()
            events = self._observe(side, data, at)
            if note is not None:
                note(side, data, events)

    def observe(self, side: Side, data: bytes, at: int) -> Sequence[Event]:
        """Read and record what one read brought. Never raises.

        Args:
            side: Who sent it.
            data: At least one octet.
            at: When, monotonic, in nanoseconds.

        Returns:
            What it was; nothing if the reading has failed.
        """
        self.catch_up()
        return self._observe(side, data, at)

    def _observe(self, side: Side, data: bytes, at: int) -> Sequence[Event]:
        if self._failed:
            return ()
        try:
            parser = self._parser
            if side is Side.CLIENT and parser.waiting_for_tls:
                events = after_stls.read_on(parser, data, at)
            else:
                events = parser.receive(side, data, at)
            records = self._recorder.record(events) if events else ()
        except Exception as error:  # noqa: BLE001 - P25: see the module
            self._fail(error, at)
            return ()
        if records:
            self._put(records, at)
        if self.border is not None and side is Side.SERVER:
            self.border.follow(events, data, opaque=parser.opaque)
        return events

    def ended(self, side: Side, at: int) -> None:
        """Record that one side has sent everything. Never raises.

        Args:
            side: Who.
            at: When, monotonic, in nanoseconds.
        """
        self._read(at, lambda: self._parser.end(side, at))

    def housekeeping(self, at: int) -> Sequence[Event] | None:
        """Record content that has waited for long. Never raises.

        Args:
            at: Now, monotonic, in nanoseconds.

        Returns:
            What was given out for it; None if there is nothing that may have to be recorded.
        """
        self.catch_up()
        if self._failed:
            return None
        try:
            holding = self._parser.holding
        except Exception as error:  # noqa: BLE001 - P25: see the module
            self._fail(error, at)
            return None
        if not holding:
            self._held_since = 0
            return None
        if not self._held_since:
            self._held_since = at
        elif at - self._held_since >= FLUSH_AFTER:
            self._held_since = 0
            return self._read(at, lambda: self._parser.flush(at))
        return ()

    def rest(self) -> None:
        """Keep less in memory: nothing has passed for a while."""
        self._parser.rest()
        self._recorder.rest()

    def own_answer(self, line: bytes, at: int) -> Sequence[Event]:
        """Read and record a response of popproxy's own, as if the server had sent it.

        Args:
            line: The response.
            at: When, monotonic, in nanoseconds.
        """
        return self._read(at, lambda: self._parser.receive(Side.SERVER, line, at))

    def stls_ended(self, at: int, *, under_tls: bool) -> Sequence[Event]:
        """Record what became of an STLS that was accepted.

        Args:
            at: When, monotonic, in nanoseconds.
            under_tls: Whether the client's leg is under TLS now; if not, no handshake followed.
        """
        parser = self._parser
        return self._read(
            at, lambda: parser.tls_started(at) if under_tls else parser.tls_declined(at)
        )

    def tls(self, part: TlsPart, at: int, *, became: Literal["started", "failed", "ended"]) -> None:
        """Record what became of TLS on a leg."""
        made = self._recorder
        make = {"started": made.tls_start, "failed": made.tls_failed, "ended": made.tls_end}[became]
        self._tell(at, lambda: make(part, at))

    def rewritten(
        self, side: Side, rule: str, *, was: bytes, now: bytes, seq: int | None, at: int
    ) -> None:
        """Record that a line was changed (P28); the arguments are those of `Recorder.rewrite`."""
        self._tell(at, lambda: self._recorder.rewrite(side, rule, was=was, now=now, seq=seq, at=at))

    def found(self, code: FindingCode, at: int, where: str = "") -> None:
        """Record something that showed outside of what was read; see `Recorder.finding`."""
        self._tell(at, lambda: self._recorder.finding(code, at=at, where=where))

    def finish(self, reason: str, detail: str | None, at: int) -> None:
        """Record the end of the session, and before it what was held back. Never raises.

        Args:
            reason: Why it ended.
            detail: The cause in words, if there is one.
            at: When, monotonic, in nanoseconds.
        """
        for side in Side:
            self.ended(side, at)
        by_hand = self._by_hand
        if by_hand is None:
            try:
                records = self._recorder.end(reason=reason, detail=detail, at=at)
            except Exception as error:  # noqa: BLE001 - P25: see the module
                self._fail(error, at)
                by_hand = self._go_on_by_hand(error, at)
            else:
                self._put(records, at)
                return
        self._put([by_hand.end(reason, detail, at)], at)

    async def written(self) -> bool:
        """Wait until everything observed so far is written; False if it could not be (P27)."""
        self.catch_up()
        if self._failed:
            return False
        try:
            return await self._hub.flushed(self._session_id)
        except Exception as error:  # noqa: BLE001 - P25: see the module
            self._warn("log-flush-failed", error)
            return False

    @property
    def failed(self) -> bool:
        """Whether the session is no longer read."""
        self.catch_up()
        return self._failed

    @property
    def due(self) -> bytes:
        """Keyword of the command that the server answers next; see the parser's `due`."""
        self.catch_up()
        return b"" if self._failed else self._parser.due

    @property
    def awaits_stls(self) -> bool:
        """Whether an STLS waits for its answer, or for what follows that."""
        self.catch_up()
        return not self._failed and self._parser.awaits_stls

    @property
    def injected(self) -> bool:
        """Whether something waits that was sent between STLS and TLS (P29)."""
        self.catch_up()
        parser = self._parser
        return bool(parser.pending or parser.held(Side.CLIENT) or parser.held(Side.SERVER))

    @property
    def awaits_login(self) -> bool:
        """Whether the session is seen to be before TRANSACTION; False if it cannot be seen."""
        self.catch_up()
        parser = self._parser
        return (
            not self._failed
            and not parser.opaque
            and parser.state in (State.GREETING, State.AUTHORIZATION)
        )

    def _read(self, at: int, read: Callable[[], list[Event]]) -> Sequence[Event]:
        """Have the parser do something, and record what it gives."""
        self.catch_up()
        if self._failed:
            return ()
        try:
            events = read()
            records = self._recorder.record(events)
        except Exception as error:  # noqa: BLE001 - P25: see the module
            self._fail(error, at)
            return ()
        self._put(records, at)
        return events

    def _tell(self, at: int, make: Callable[[], list[Record]]) -> None:
        """Record something that is no event of the parser."""
        self.catch_up()
        if self._by_hand is not None:
            return
        try:
            records = make()
        except Exception as error:  # noqa: BLE001 - P25: see the module
            self._fail(error, at)
        else:
            self._put(records, at)

    def _put(self, records: Sequence[Record], at: int) -> None:
        """Hand records to the hub, first those that it did not take when told of a failure."""
        if self._unsaid:
            records = [*self._unsaid, *records]
        if not records:
            return
        try:
            self._hub.put(records)
        except Exception as error:  # noqa: BLE001 - P25: see the module
            self._fail(error, at)
        else:
            self._unsaid = ()
            self._seq = records[-1].session.seq

    def _fail(self, error: Exception, at: int) -> None:
        """Give the reading of this session up, and have that recorded."""
        self._warn("reading-failed", error)
        if self._failed:
            return
        self._failed = True
        try:
            records = self._recorder.fail(at)
        except Exception as second:  # noqa: BLE001 - P25: see the module
            self._go_on_by_hand(second, at)
        else:
            self._unsaid = records
            self._put((), at)

    def _go_on_by_hand(self, error: Exception, at: int) -> ByHand:
        """Give the recorder up too; the record that says so is made by hand."""
        self._warn("recording-failed", error)
        by_hand = self._by_hand
        if by_hand is None:
            self._failed = True
            by_hand = ByHand(self._session_id, self._started_at, self._started_ns, self._seq)
            self._by_hand = by_hand
            self._unsaid = [by_hand.gap(at)]
            self._put((), at)
        return by_hand

    def _warn(self, event: str, error: Exception) -> None:
        if _failures.passes(diagnostics.now()):
            diagnostics.warn(event, session=self._session_id, where=diagnostics.whereabouts(error))
