"""Events to records: the only way from what was said to what may be told.

`Recorder` takes a session's events in their order and makes records of them. It fails closed: what
it does not know to be harmless it hides. Three layers see to that, each of which would do for
nearly all traffic:

1. A client's line is shown as far as an allow-list knows it (`popproxy.privacy.commands`); lines of
   a SASL exchange, of either side, never are.
2. What was hidden is learned, and looked for in all that is told later
   (`popproxy.privacy.learned`).
3. Where the session is out of step, what may belong to a message counts as such; and where more
   secrets came than can be kept, nothing is told any longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NoReturn

from popproxy import __version__
from popproxy.pop3.events import End, Ending, Event, Side
from popproxy.pop3.findings import FindingCode
from popproxy.privacy import contents
from popproxy.privacy.handlers import HANDLERS
from popproxy.privacy.maker import Maker
from popproxy.privacy.policy import Policy
from popproxy.privacy.recording import Recording
from popproxy.records import (
    Endpoint,
    EventPart,
    LegName,
    Record,
    RewritePart,
    RoutePart,
    SessionEnd,
    SessionStart,
    SummaryPart,
    TlsPart,
)

_SERVER = Side.SERVER


class Recorder:
    r"""Makes records of one session's events.

    Example:
        >>> from datetime import datetime, timezone
        >>> from popproxy.pop3 import Session, Side
        >>> session, start = Session(), datetime.now(timezone.utc)
        >>> recorder = Recorder("s1", Policy(), started_at=start, started_ns=0)
        >>> [record] = recorder.record(session.receive(Side.SERVER, b"+OK ready\r\n", at=0))
        >>> record.event.action
        'pop3.greeting'
    """

    __slots__ = ("_failed", "_known")

    def __init__(
        self,
        session_id: str,
        policy: Policy,
        started_at: datetime,
        started_ns: int,
        *,
        exposed: Iterable[LegName] = (),
    ) -> None:
        """Begin.

        Args:
            session_id: The session's name in all its records.
            policy: How it is recorded.
            started_at: When it began, UTC.
            started_ns: The same moment on the monotonic clock, in nanoseconds.
            exposed: Legs that lead to another host, in clear until `tls_start` says otherwise:
                credentials on them are a finding (P19).
        """
        make = Maker(session_id, started_at, started_ns)
        self._known = Recording(make, policy, exposed=exposed)
        self._failed = False

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Recorder>"

    def __reduce__(self) -> NoReturn:
        """Refuse: secrets never leave the process (P13)."""
        raise TypeError("recorders hold secrets and cannot be pickled")

    def start(
        self,
        *,
        client: Endpoint,
        listener: Endpoint,
        server: Endpoint | None,
        via: Endpoint | None = None,
        destination: Endpoint | None = None,
        route: RoutePart,
        notice: str,
        rewrites: Sequence[str] = (),
    ) -> list[Record]:
        """Make the session's first record.

        Args:
            client: Where the client is.
            listener: Where it connected to.
            server: Where the server is, if it is known yet.
            via: The load balancer's end of the connection, if it came through one.
            destination: Where the client connected to, as the load balancer says.
            route: Which listener and upstream the session uses.
            notice: Says that mail is recorded, and how it is masked (P71).
            rewrites: What changes traffic in this session (P28).
        """
        known = self._known
        return [
            SessionStart(
                timestamp=known.make.time(known.make.started_ns),
                schema="popproxy/1",
                session=known.make.session(),
                event=EventPart(action="session.start"),
                client=client,
                server=server,
                listener=listener,
                via=via,
                destination=destination,
                route=route,
                policy=known.policy.told(),
                notice=notice,
                version=__version__,
                rewrites=list(rewrites),
            )
        ]

    def record(self, events: Iterable[Event]) -> list[Record]:
        """Make records of events.

        Args:
            events: What `popproxy.pop3.Session` gave, in its order.

        Returns:
            The records that are complete by now. Content is held back for a while; see
            `popproxy.privacy.masking`.
        """
        known = self._known
        if self._failed:
            return []
        at = 0
        for event in events:
            at = event.at
            handle = HANDLERS.get(type(event))
            if handle is not None:
                handle(known, event)
        if known.content is not None:
            contents.drain(known, known.content, at, ended=False)
        if known.learned.overflowed:
            known.tell_overflow(at)
        out, known.out = known.out, []
        return out

    def rest(self) -> None:
        """Keep in memory only what cannot be made again: the session is silent."""
        known = self._known
        known.cited = None
        known.learned.rest()
        known.make.rest()

    def finding(
        self,
        code: FindingCode,
        *,
        at: int,
        where: str = "",
        count: int | None = None,
        command_seq: int | None = None,
    ) -> list[Record]:
        """Make the record of something that was found elsewhere.

        Args:
            code: What.
            at: When, monotonic, in nanoseconds.
            where: In words; nothing of a peer's.
            count: A figure that belongs to it.
            command_seq: The command that it concerns.
        """
        return [self._known.make.finding(at, code, where, seq=command_seq, count=count)]

    def gap(self, reason: str, at: int) -> list[Record]:
        """Make the record of something that is missing from the conversation.

        Args:
            reason: What, and why; nothing of a peer's.
            at: When, monotonic, in nanoseconds.
        """
        return [self._known.make.gap(at, reason)]

    def tls_start(self, part: TlsPart, at: int) -> list[Record]:
        """Make the record of TLS that began on a leg, and count that leg as safe from now on.

        Args:
            part: What is known of it.
            at: When, monotonic, in nanoseconds.
        """
        known = self._known
        known.exposed = tuple(leg for leg in known.exposed if leg != part.leg)
        return [known.make.tls_start(at, part)]

    def tls_failed(self, part: TlsPart, at: int) -> list[Record]:
        """Make the record of TLS that failed.

        Args:
            part: What is known of it; nothing of a peer's that was not checked.
            at: When, monotonic, in nanoseconds.
        """
        return [self._known.make.tls_failed(at, part)]

    def tls_end(self, part: TlsPart, at: int) -> list[Record]:
        """Make the record of TLS that ended on a leg.

        Args:
            part: How it ended.
            at: When, monotonic, in nanoseconds.
        """
        return [self._known.make.tls_end(at, part)]

    def rewrite(
        self, side: Side, rule: str, *, was: bytes, now: bytes, seq: int | None, at: int
    ) -> list[Record]:
        """Make the record of a line that was changed on its way (P28).

        Args:
            side: Who sent it.
            rule: What changed it.
            was: The line as it came, or empty.
            now: The line as it was sent on, or empty.
            seq: The command that it belongs to.
            at: When, monotonic, in nanoseconds.
        """
        known = self._known
        part = RewritePart(
            rule=rule,
            command_seq=seq,
            was=known.text(was) if was else None,
            now=known.text(now) if now else None,
        )
        return [known.make.rewrite(at, side, part)]

    def fail(self, at: int) -> list[Record]:
        """Give up: the session, or this recorder, failed (P25). Nothing more is told but the end.

        Args:
            at: When, monotonic, in nanoseconds.
        """
        if self._failed:
            return []
        self._failed = True
        known = self._known
        known.content, known.out = None, []
        return [known.make.finding(at, FindingCode.PARSER_FAILED)]

    def end(self, *, reason: str, detail: str | None = None, at: int) -> list[Record]:
        """Make the session's last records.

        Args:
            reason: Why it ended.
            detail: The cause in words, if there is one; nothing of a peer's.
            at: When, monotonic, in nanoseconds.
        """
        known = self._known
        make = known.make
        if not self._failed:
            if known.content is not None:
                contents.end(known, End(side=_SERVER, seq=None, ending=Ending.CUT_OFF, at=at))
            known.tell_overflow(at)
            self._end_opaque(at)
        out, known.out = known.out, []
        out.append(
            SessionEnd(
                timestamp=make.time(at),
                schema="popproxy/1",
                session=make.session(),
                event=EventPart(action="session.end", duration=at - make.started_ns),
                summary=SummaryPart(
                    reason=reason,
                    detail=detail,
                    commands=known.commands,
                    messages_retrieved=known.retrieved,
                    deletions_pending=known.pending,
                    deletions_committed=known.committed,
                    octets_client=make.client,
                    octets_server=make.server,
                    unmatched_responses=known.unmatched,
                    unanswered_commands=known.unanswered,
                    findings=make.findings,
                ),
            )
        )
        return out

    def _end_opaque(self, at: int) -> None:
        """Tell the counts of traffic that was not read (P18)."""
        known = self._known
        for side, seen in (known.opaque or {}).items():
            if not seen.octets:
                continue
            octets = seen.octets if side is _SERVER else None
            known.make.server += octets or 0
            known.out.append(known.make.data(at, side, "opaque", b"", octets=octets))
            if seen.records is not None:
                part = TlsPart(
                    leg="upstream" if side is _SERVER else "client",
                    passed_through=True,
                    record_types=dict(sorted(seen.records.types.items())),
                )
                known.out.append(known.make.tls_end(at, part))
