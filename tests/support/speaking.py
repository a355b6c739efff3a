"""Sessions made of records by hand, as privacy would give them: for outputs that people look at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from popproxy.records import (
    SCHEMA,
    AuthPart,
    AuthRecord,
    BodyPolicy,
    CommandPart,
    CommandRecord,
    DataPart,
    DataPartName,
    DataRecord,
    Endpoint,
    EventPart,
    FindingPart,
    FindingRecord,
    GapPart,
    GapRecord,
    GreetingPart,
    GreetingRecord,
    PolicyPart,
    Record,
    ResponsePart,
    ResponseRecord,
    RoutePart,
    SessionEnd,
    SessionPart,
    SessionStart,
    SideName,
    SummaryPart,
    TlsEnd,
    TlsFailed,
    TlsPart,
    TlsStart,
    UserPart,
)

BEGINNING = datetime(2011, 10, 29, 22, 37, 46, 120_000, UTC)
_TLS = {"tls.start": TlsStart, "tls.failed": TlsFailed, "tls.end": TlsEnd}


class Speaking:
    """One session. Every method adds records and gives the session back.

    Attributes:
        records: What was said so far.
        now: The time of the next record.
        command: The number of the latest command.
    """

    def __init__(self, name: str = "20111029t223746-k3x7", at: datetime = BEGINNING) -> None:
        self.records: list[Record] = []
        self.now = at
        self.command = 0
        self._name = name
        self._began = at

    def later(self, milliseconds: float) -> Speaking:
        """Let time pass."""
        self.now += timedelta(milliseconds=milliseconds)
        return self

    def _base(self, action: str, duration: int | None = None) -> dict[str, Any]:
        return {
            "timestamp": self.now,
            "schema": SCHEMA,
            "event": EventPart(action=action, duration=duration),
            "session": SessionPart(id=self._name, seq=len(self.records) + 1),
        }

    def _add(self, record: Record) -> Speaking:
        self.records.append(record)
        return self

    def start(
        self,
        *,
        body: BodyPolicy = "full",
        notice: str = "Mail is recorded.",
        upstream: str = "pop3://pop.example.org:110",
        client: str = "127.0.0.1",
        rewrites: list[str] | None = None,
    ) -> Speaking:
        """Connect."""
        return self._add(
            SessionStart(
                **self._base("session.start"),
                client=Endpoint(address=client, port=50912),
                listener=Endpoint(address="127.0.0.1", port=1110),
                route=RoutePart(name="r", listen="pop3://127.0.0.1:1110", upstream=upstream),
                policy=PolicyPart(body=body),
                notice=notice,
                version="1",
                rewrites=rewrites or [],
            )
        )

    def greeting(self, wire: bytes) -> Speaking:
        """Have the server greet."""
        part = GreetingPart(status="+OK", text="")
        base = self._base("pop3.greeting")
        return self._add(GreetingRecord(**base, side="server", **_wire(wire), pop3=part))

    def says(self, wire: bytes, *, masked: bool = False, complete: bool = True) -> Speaking:
        """Have the client send a command."""
        self.command += 1
        words = wire.decode("ascii", "replace").split()
        part = CommandPart(
            seq=self.command,
            state="TRANSACTION",
            command=words[0].upper() if words else "",
            message_number=int(words[1]) if words[1:] and words[1].isdigit() else None,
            complete=complete,
        )
        return self._add(
            CommandRecord(
                **self._base("pop3.command"),
                side="client",
                **_wire(wire),
                masked=["raw"] if masked else [],
                pop3=part,
            )
        )

    def answers(
        self, wire: bytes, milliseconds: float | None = None, *, seq: int | None = None, **part: Any
    ) -> Speaking:
        """Have the server answer in one line, or end a multi-line response."""
        duration = None if milliseconds is None else round(milliseconds * 1_000_000)
        status = "-ERR" if wire.startswith(b"-") else "+OK"
        given = {"status": status, "text": "", "state": "TRANSACTION"} | part
        response = ResponsePart(command_seq=seq or self.command or None, **given)
        base = self._base("pop3.response", duration)
        return self._add(ResponseRecord(**base, side="server", **_wire(wire), pop3=response))

    def piece(
        self,
        part: DataPartName,
        wire: bytes,
        *,
        side: SideName = "server",
        masked: bool = False,
        seq: int | None = None,
        octets: int | None = None,
    ) -> Speaking:
        """Add a piece of the conversation that is no record of its own."""
        data = DataPart(part=part, command_seq=seq or self.command or None, octets=octets)
        return self._add(
            DataRecord(
                **self._base("pop3.data"),
                side=side,
                **(_wire(wire) if wire else {}),
                masked=["raw"] if masked else [],
                pop3=data,
            )
        )

    def brings(
        self,
        status: bytes,
        content: bytes,
        *,
        milliseconds: float | None = None,
        size: int = 65_536,
        recorded: bool = True,
        seq: int | None = None,
        **part: Any,
    ) -> Speaking:
        """Have the server give a multi-line response, its content in pieces of `size` octets."""
        self.piece("status", status, seq=seq)
        for begin in range(0, len(content) if recorded else 0, size):
            self.piece("content", content[begin : begin + size], seq=seq)
        figures = {"lines": content.count(b"\n"), "octets": len(content), "ending": "terminated"}
        members: dict[str, Any] = {"multi_line": True} | figures | part
        return self.answers(b".\r\n", milliseconds, seq=seq, **members)

    def logs_in(self, outcome: Any, user: str | None = None, mechanism: str = "USER") -> Speaking:
        """End a login."""
        return self._add(
            AuthRecord(
                **self._base("pop3.auth"),
                auth=AuthPart(mechanism=mechanism, outcome=outcome),
                user=UserPart(name=user) if user is not None else None,
            )
        )

    def finding(self, severity: Any, what: str, **part: Any) -> Speaking:
        """Find something."""
        given: dict[str, Any] = {"code": "code", "rfc": "RFC 1939 section 3"} | part
        finding = FindingPart(severity=severity, what=what, **given)
        return self._add(FindingRecord(**self._base("finding"), finding=finding))

    def tls(self, action: str, **part: Any) -> Speaking:
        """Begin, fail or end TLS."""
        return self._add(_TLS[action](**self._base(action), tls=TlsPart(**part)))

    def gap(self, records: int | None, reason: str = "too slow") -> Speaking:
        """Lose records."""
        part = GapPart(reason=reason, records=records)
        return self._add(GapRecord(**self._base("gap"), gap=part))

    def end(self, reason: str = "quit", **summary: Any) -> Speaking:
        """End the session."""
        nanoseconds = int((self.now - self._began) / timedelta(microseconds=1)) * 1000
        base = self._base("session.end", nanoseconds)
        return self._add(SessionEnd(**base, summary=SummaryPart(reason=reason, **summary)))


def _wire(wire: bytes) -> dict[str, Any]:
    try:
        return {"raw": wire.decode()}
    except UnicodeDecodeError:
        return {"raw_b64": wire}
