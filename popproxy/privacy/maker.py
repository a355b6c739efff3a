"""Makes records: numbers them, dates them, and puts masked bytes of the wire into their fields.

All that comes in here is masked already. Arguments are spelt out again and again because calls with
`**` take six times as long as the record itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from popproxy.pop3.events import Read, Side
from popproxy.pop3.findings import FINDINGS, FindingCode
from popproxy.records import (
    AuthPart,
    AuthRecord,
    CommandPart,
    CommandRecord,
    DataPart,
    DataPartName,
    DataRecord,
    EventPart,
    FindingPart,
    FindingRecord,
    GapPart,
    GapRecord,
    GreetingPart,
    GreetingRecord,
    ResponsePart,
    ResponseRecord,
    RewritePart,
    RewriteRecord,
    Segment,
    SessionPart,
    SideName,
    TlsEnd,
    TlsFailed,
    TlsPart,
    TlsStart,
    UserPart,
)

_CLIENT = Side.CLIENT
_SCHEMA: Literal["popproxy/1"] = "popproxy/1"

_COMMAND: EventPart[Any] = EventPart(action="pop3.command")
_DATA: EventPart[Any] = EventPart(action="pop3.data")
_GREETING: EventPart[Any] = EventPart(action="pop3.greeting")
_AUTH: EventPart[Any] = EventPart(action="pop3.auth")
_FINDING: EventPart[Any] = EventPart(action="finding")
_GAP: EventPart[Any] = EventPart(action="gap")
_TLS_START: EventPart[Any] = EventPart(action="tls.start")
_TLS_FAILED: EventPart[Any] = EventPart(action="tls.failed")
_TLS_END: EventPart[Any] = EventPart(action="tls.end")
_REWRITE: EventPart[Any] = EventPart(action="rewrite")
_NO_FIELDS: list[str] = []


def _text(raw: bytes) -> tuple[str | None, bytes | None]:
    """Give what `raw` and `raw_b64` hold."""
    if not raw:
        return None, None
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return None, raw


class Maker:
    """Makes the records of one session.

    Attributes:
        started_ns: The session's start, monotonic, in nanoseconds.
        client: Octets of the client in records so far.
        server: The same of the server.
        findings: Records of findings so far.
    """

    __slots__ = (
        "_at",
        "_id",
        "_seq",
        "_started_at",
        "_time",
        "client",
        "findings",
        "server",
        "started_ns",
    )

    def __init__(self, session_id: str, started_at: datetime, started_ns: int) -> None:
        self._id = session_id
        self._seq = 0
        self._started_at = self._time = started_at
        self._at = started_ns
        self.started_ns = started_ns
        self.client = self.server = self.findings = 0

    def time(self, at: int) -> datetime:
        """Turn a monotonic time into a date.

        Args:
            at: Nanoseconds.
        """
        if at != self._at:
            self._at = at
            self._time = self._started_at + timedelta(0, 0, (at - self.started_ns) // 1000)
        return self._time

    def rest(self) -> None:
        """Forget the last time that was asked for."""
        self._at, self._time = self.started_ns, self._started_at

    def session(self) -> SessionPart:
        """Number the next record."""
        self._seq += 1
        return SessionPart(id=self._id, seq=self._seq)

    def _segments(self, reads: Sequence[Read]) -> list[Segment]:
        started = self.started_ns
        if len(reads) == 1:
            at, size = reads[0]
            return [((at - started) // 1000, size)]
        return [((at - started) // 1000, size) for at, size in reads]

    def command(
        self,
        at: int,
        raw: bytes,
        reads: Sequence[Read],
        pop3: CommandPart,
        *,
        joined: bool,
        masked: Sequence[str],
    ) -> CommandRecord:
        """Make the record of a command.

        Args:
            at: When, monotonic, in nanoseconds.
            raw: The line, masked.
            reads: How it arrived, in masked form.
            pop3: Its values, masked.
            joined: Whether the first of the reads is the rest of the read before.
            masked: Which fields hold a mask.
        """
        text, binary = _text(raw)
        self.client += len(raw)
        return CommandRecord(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_COMMAND,
            side="client",
            raw=text,
            raw_b64=binary,
            segments=self._segments(reads),
            joined=joined,
            masked=list(masked) if masked else _NO_FIELDS,
            pop3=pop3,
        )

    def response(
        self,
        at: int,
        raw: bytes,
        reads: Sequence[Read],
        pop3: ResponsePart,
        *,
        joined: bool,
        masked: Sequence[str],
        duration: int,
    ) -> ResponseRecord:
        """Make the record of a response; the arguments are those of `command`.

        Args:
            at: When.
            raw: The line, or the line that ends a multi-line response.
            reads: How it arrived.
            pop3: Its values.
            joined: As in `command`.
            masked: As in `command`.
            duration: Nanoseconds since the command.
        """
        text, binary = _text(raw)
        self.server += len(raw)
        return ResponseRecord(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=EventPart(action="pop3.response", duration=duration),
            side="server",
            raw=text,
            raw_b64=binary,
            segments=self._segments(reads),
            joined=joined,
            masked=list(masked) if masked else _NO_FIELDS,
            pop3=pop3,
        )

    def greeting(
        self,
        at: int,
        raw: bytes,
        reads: Sequence[Read],
        pop3: GreetingPart,
        *,
        joined: bool,
        masked: Sequence[str],
    ) -> GreetingRecord:
        """Make the record of the greeting; the arguments are those of `command`."""
        text, binary = _text(raw)
        self.server += len(raw)
        return GreetingRecord(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_GREETING,
            side="server",
            raw=text,
            raw_b64=binary,
            segments=self._segments(reads),
            joined=joined,
            masked=list(masked),
            pop3=pop3,
        )

    def data(
        self,
        at: int,
        side: Side,
        part: DataPartName,
        raw: bytes,
        reads: Sequence[Read] = (),
        *,
        seq: int | None = None,
        joined: bool = False,
        masked: bool = False,
        octets: int | None = None,
        counted: bool = False,
    ) -> DataRecord:
        """Make the record of a piece of the conversation.

        Args:
            at: When.
            side: Who sent it.
            part: What it is.
            raw: The piece, masked.
            reads: How it arrived.
            seq: The command that it belongs to.
            joined: As in `command`.
            masked: Whether it holds a mask.
            octets: Octets of opaque traffic.
            counted: Whether its octets have been counted before.
        """
        text, binary = _text(raw)
        name: SideName = "client"
        if side is _CLIENT:
            self.client += 0 if counted else len(raw)
        else:
            name = "server"
            self.server += 0 if counted else len(raw)
        return DataRecord(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_DATA,
            side=name,
            raw=text,
            raw_b64=binary,
            segments=self._segments(reads),
            joined=joined,
            masked=["raw"] if masked else _NO_FIELDS,
            pop3=DataPart(part=part, command_seq=seq, octets=octets),
        )

    def auth(self, at: int, auth: AuthPart, user: str | None) -> AuthRecord:
        """Make the record of a login's outcome.

        Args:
            at: When.
            auth: How it went.
            user: The user's name, masked, or a pseudonym.
        """
        return AuthRecord(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_AUTH,
            auth=auth,
            user=UserPart(name=user) if user is not None else None,
        )

    def finding(
        self,
        at: int,
        code: FindingCode,
        where: str = "",
        *,
        seq: int | None = None,
        count: int | None = None,
    ) -> FindingRecord:
        """Make the record of a finding, with what `FINDINGS` says of it.

        Args:
            at: When.
            code: Which.
            where: In words.
            seq: The command that it concerns.
            count: A figure that belongs to it.
        """
        self.findings += 1
        severity, rfc, what = FINDINGS[code]
        return FindingRecord(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_FINDING,
            finding=FindingPart(
                code=code.value,
                severity=severity.value,
                rfc=rfc,
                what=what,
                where=where,
                command_seq=seq,
                count=count,
            ),
        )

    def tls_start(self, at: int, tls: TlsPart) -> TlsStart:
        """Make the record of TLS that began."""
        return TlsStart(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_TLS_START,
            tls=tls,
        )

    def tls_end(self, at: int, tls: TlsPart) -> TlsEnd:
        """Make the record of TLS that ended."""
        return TlsEnd(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_TLS_END,
            tls=tls,
        )

    def tls_failed(self, at: int, tls: TlsPart) -> TlsFailed:
        """Make the record of TLS that failed."""
        return TlsFailed(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_TLS_FAILED,
            tls=tls,
        )

    def gap(self, at: int, reason: str) -> GapRecord:
        """Make the record of something that is missing."""
        return GapRecord(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_GAP,
            gap=GapPart(reason=reason),
        )

    def rewrite(self, at: int, side: Side, rewrite: RewritePart) -> RewriteRecord:
        """Make the record of a line that was changed.

        Args:
            at: When.
            side: Who sent it.
            rewrite: Both of its forms, masked.
        """
        return RewriteRecord(
            timestamp=self.time(at),
            schema=_SCHEMA,
            session=self.session(),
            event=_REWRITE,
            side="client" if side is _CLIENT else "server",
            rewrite=rewrite,
        )
