"""A plausible session, told record by record as `popproxy.privacy` tells it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from popproxy.records import (
    SCHEMA,
    AuthPart,
    AuthRecord,
    CommandPart,
    CommandRecord,
    DataPart,
    DataRecord,
    Endpoint,
    EventPart,
    FindingPart,
    FindingRecord,
    GreetingPart,
    GreetingRecord,
    MessagePart,
    PolicyPart,
    Record,
    ResponsePart,
    ResponseRecord,
    RoutePart,
    ScanListing,
    SessionEnd,
    SessionPart,
    SessionStart,
    StatPart,
    SummaryPart,
    UserPart,
)

STARTED = datetime(2025, 11, 22, 22, 37, 46, tzinfo=UTC)


class Capture:
    """Collects the records of one session.

    Attributes:
        records: What was told so far.
    """

    def __init__(self, session: str = "20251122t223746-k3fa", started: datetime = STARTED) -> None:
        self.records: list[Record] = []
        self._session = session
        self._started = started
        self._elapsed = 0  # microseconds
        self._command: tuple[str, str | None, int] = ("", None, 0)
        self._state = "AUTHORIZATION"

    def tell(
        self,
        kind: Callable[..., Record],
        action: str,
        *,
        after: int = 100,
        duration: int | None = None,
        **members: Any,
    ) -> None:
        """Add a record of any kind, so many microseconds after the one before."""
        self._elapsed += after
        if isinstance(wire := members.pop("wire", None), bytes):
            try:
                members["raw"] = wire.decode()
            except UnicodeDecodeError:
                members["raw_b64"] = wire
            members.setdefault("segments", [(self._elapsed, len(wire))])
        self.records.append(
            kind(
                timestamp=self._started + timedelta(microseconds=self._elapsed),
                schema=SCHEMA,
                session=SessionPart(id=self._session, seq=len(self.records) + 1),
                event=EventPart(action=action, duration=duration),
                **members,
            )
        )

    def start(self) -> None:
        self.tell(
            SessionStart,
            "session.start",
            after=0,
            client=Endpoint(address="127.0.0.1", port=51234),
            listener=Endpoint(address="::1", port=1110),
            server=Endpoint(address="192.0.2.1", port=110),
            route=RoutePart(
                name="default", listen="pop3://[::1]:1110", upstream="pop3://pop.example.org"
            ),
            policy=PolicyPart(body="full"),
            notice="Mail is being recorded. Passwords are masked.",
            version="0",
        )

    def greet(self, line: bytes) -> None:
        status, _, text = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
        pop3 = GreetingPart(status=status, text=text, apop_timestamp="@" in text)
        self.tell(GreetingRecord, "pop3.greeting", side="server", wire=line, pop3=pop3)

    def command(self, line: bytes, **members: Any) -> None:
        keyword, blank, arguments = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
        self._command = (keyword.upper(), arguments if blank else None, self._command[2] + 1)
        pop3 = CommandPart(
            seq=self._command[2],
            state=self._state,
            command=self._command[0],
            arguments=self._command[1],
            message_number=int(arguments) if arguments.isdigit() else None,
        )
        self.tell(CommandRecord, "pop3.command", side="client", wire=line, pop3=pop3, **members)

    def respond(self, line: bytes, *, state: str = "", **values: Any) -> None:
        """Answer the last command in one line."""
        self._state = state or self._state
        self._respond(line, line, after=500, **values)

    def respond_at_length(self, line: bytes, *pieces: bytes, **values: Any) -> None:
        """Answer the last command in many lines; all of it came in one read."""
        seq = self._command[2]
        part = DataPart(part="status", command_seq=seq)
        self.tell(DataRecord, "pop3.data", after=500, side="server", wire=line, pop3=part)
        content = DataPart(part="content", command_seq=seq)
        rest: dict[str, Any] = {"after": 0, "side": "server", "joined": True}
        for piece in pieces:
            self.tell(DataRecord, "pop3.data", wire=piece, pop3=content, **rest)
        whole = b"".join(pieces)
        values |= {"lines": whole.count(b"\n"), "octets": len(whole)}
        values |= {"multi_line": True, "ending": "terminated"}
        self._respond(line, b".\r\n", after=0, **values)

    def _respond(self, line: bytes, wire: bytes, *, after: int, **values: Any) -> None:
        status, _, text = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
        keyword, arguments, seq = self._command
        pop3 = ResponsePart(
            command=keyword,
            arguments=None if arguments and "*" in arguments else arguments,
            command_seq=seq,
            status=status,
            text=text,
            state=self._state,
            **values,
        )
        self.tell(
            ResponseRecord,
            "pop3.response",
            after=after,
            duration=500_123,
            side="server",
            wire=wire,
            joined=not after,
            pop3=pop3,
        )


MESSAGE = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <juergen@example.org>\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n"
    b"..dot\r\nC:\\Users\\\r\n\tescape \x1b[31m, \xe2\x80\xae\xe2\x80\xa8, \x9b, NUL \x00\r\n"
    b"LF alone\nbackslash and LF alone \\\nCR \r alone\r\n\r\n"
)
"""A message with everything in it that a transcript has to show and to keep."""

_CUT = MESSAGE.index(b"\xbc")  # inside a character


def plain_session(session: str = "20251122t223746-k3fa", started: datetime = STARTED) -> Capture:
    """Tell a whole session: a login, a table, two messages, a refusal, QUIT."""
    told = Capture(session, started)
    told.start()
    told.greet(b"+OK ready <1.2@example.org>\r\n")
    told.command(b"user juergen\r\n")
    told.respond(b"+OK send your password\r\n")
    told.command(b"pass ********\r\n", masked=["raw", "pop3.arguments"])
    told.respond(b"+OK mailbox locked and ready\r\n", state="TRANSACTION")
    told.tell(
        AuthRecord,
        "pop3.auth",
        after=0,
        auth=AuthPart(mechanism="USER", outcome="success", command_seq=2),
        user=UserPart(name="juergen"),
    )
    told.command(b"stat\r\n")
    told.respond(b"+OK 2 5718\r\n", stat=StatPart(messages=2, octets=5718))
    told.command(b"list\r\n")
    listing = [ScanListing(message=1, octets=2859), ScanListing(message=2, octets=2859)]
    told.respond_at_length(b"+OK 2 messages\r\n", b"1 2859\r\n2 28", b"59\r\n", listing=listing)
    told.command(b"retr 1\r\n")
    message = MessagePart(number=1, octets=len(MESSAGE), sha256="ab" * 32, subject="Grüße")
    told.respond_at_length(b"+OK 2859 octets\r\n", MESSAGE[:_CUT], MESSAGE[_CUT:], message=message)
    told.tell(
        FindingRecord,
        "finding",
        after=0,
        finding=FindingPart(code="bare-lf", severity="warning", what="A line ends in LF alone."),
    )
    told.command(b"dele 9\r\n")
    told.respond(b"-ERR [SYS/TEMP] no such message\r\n", code="SYS/TEMP")
    told.command(b"quit\r\n")
    told.respond(b"+OK bye\r\n", state="UPDATE")
    told.tell(
        SessionEnd,
        "session.end",
        duration=2_000_000_000,
        summary=SummaryPart(reason="server closed", commands=7, messages_retrieved=1),
    )
    return told
