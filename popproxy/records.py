"""What may be told: the records that everything outside the process is made from.

A record is safe by construction: `popproxy.privacy` made it from events and hid what is secret.
Sinks and formats see records only, and so does every tool that reads a capture back.

One record is one JSON object, `popproxy/1`. Names follow ECS and OpenTelemetry where they have
one. Peer text stands only in values of fixed keys. A record that stands for bytes of the wire has
them, masked, in `raw` if they are UTF-8, else in `raw_b64`; these fields of one side's records,
joined in the order of `session.seq`, are the conversation but for what was masked or not recorded.

A multi-line response is told in this order: `pop3.data` with part `status` (the status line, as
soon as it came), `pop3.data` with part `content` (the content, if it is recorded), and last
`pop3.response` with the termination octet as its `raw` and everything that is known of the whole.
A response of one line is one `pop3.response` that holds the line.

The module is longer than others on purpose: it is one list, the schema, and read as one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

SCHEMA = "popproxy/1"
MASK = "********"
"""What stands in place of a secret: constant, whatever the secret's length (P03)."""

SideName = Literal["client", "server"]
LegName = Literal["client", "upstream"]
BodyPolicy = Literal["full", "headers", "none"]
Action = TypeVar("Action", bound=str)


class _Part(Struct, kw_only=True, frozen=True, omit_defaults=True, gc=False):
    """A nested object; members with their default value are left out."""


class EventPart(_Part, Generic[Action], kw_only=True, frozen=True, gc=False):
    """What kind of record it is (ECS `event`)."""

    action: Action
    duration: Annotated[int, Meta(description="Nanoseconds on the monotonic clock.")] | None = None


class SessionPart(_Part, kw_only=True, frozen=True, gc=False):
    """The session that the record belongs to."""

    id: Annotated[str, Meta(description="Unique in the process's life and in its directory.")]
    seq: Annotated[int, Meta(ge=1, description="Number of the record in its session, from 1.")]


class Endpoint(_Part, kw_only=True, frozen=True, gc=False):
    """One end of a connection (ECS `client`, `server`)."""

    address: str
    port: Annotated[int, Meta(ge=0, le=65535)]


class Record(
    Struct,
    kw_only=True,
    frozen=True,
    omit_defaults=True,
    gc=False,
    rename={"timestamp": "@timestamp"},
):
    """What every record has."""

    timestamp: Annotated[datetime, Meta(tz=True, description="UTC, microseconds.")]
    schema: Literal["popproxy/1"]
    event: EventPart[Any]
    session: SessionPart


Segment = tuple[int, int]
"""A read: microseconds since the session's start, and octets of this record (masked form)."""


class WireRecord(Record, kw_only=True, frozen=True, gc=False):
    """A record that may stand for bytes of the wire."""

    side: SideName
    raw: Annotated[str, Meta(description="The masked wire text, line ends included.")] | None = None
    raw_b64: (
        Annotated[bytes, Meta(description="The same in base64, if it is not UTF-8.")] | None
    ) = None
    segments: Annotated[
        list[Segment],
        Meta(
            description="[microseconds since session start, octets] of each read, summing to raw."
        ),
    ] = []
    joined: Annotated[
        bool,
        Meta(description="The first segment is the rest of the read before, of the same side."),
    ] = False
    masked: Annotated[
        list[str], Meta(description="Paths of the fields in which something was hidden.")
    ] = []
    inferred: Annotated[
        list[str],
        Meta(description="made-up: an importer put it in, as the log it read lacks it."),
    ] = []

    @property
    def wire(self) -> bytes:
        """The masked bytes, from whichever field holds them."""
        if self.raw is not None:
            return self.raw.encode()
        return self.raw_b64 or b""


class PolicyPart(_Part, kw_only=True, frozen=True, gc=False):
    """How the session is recorded."""

    body: BodyPolicy
    mask: str = MASK
    mask_users: bool = False
    require_log: bool = False


class RoutePart(_Part, kw_only=True, frozen=True, gc=False):
    """Which listener and upstream the session uses."""

    name: str
    listen: str
    upstream: str


class SourcePart(_Part, kw_only=True, frozen=True, gc=False):
    """Where an imported session comes from."""

    kind: Annotated[str, Meta(description="Which kind of log, as `convert --from` calls it.")]
    inferred: Annotated[
        list[str],
        Meta(
            description="What was guessed of all of it: side, time, pauses (of which the beginning"
            " is known), line-ends, order, addresses."
        ),
    ] = []


class SessionStart(Record, kw_only=True, frozen=True, gc=False):
    """A client connected."""

    event: EventPart[Literal["session.start"]]
    client: Annotated[Endpoint, Meta(description="As the load balancer says, if there is `via`.")]
    server: Endpoint | None = None
    listener: Endpoint
    via: Annotated[
        Endpoint | None,
        Meta(
            description="The load balancer's end of the connection, if its PROXY header was read;"
            " equal to `client` if the header names no client, as those of health checks do."
        ),
    ] = None
    destination: Annotated[
        Endpoint | None,
        Meta(description="Where the client connected to, as the load balancer says."),
    ] = None
    route: RoutePart
    policy: PolicyPart
    notice: Annotated[str, Meta(description="Says that mail is recorded, and how it is masked.")]
    version: Annotated[str, Meta(description="popproxy's version.")]
    rewrites: Annotated[
        list[str], Meta(description="Everything that changes traffic in this session.")
    ] = []
    source: Annotated[
        SourcePart | None, Meta(description="Of sessions that were read from another's log.")
    ] = None


class TlsPart(_Part, kw_only=True, frozen=True, gc=False):
    """What is known of one leg's TLS."""

    leg: LegName
    version: str | None = None
    cipher: str | None = None
    server_name: str | None = None
    alpn: str | None = None
    resumed: bool | None = None
    certificate_sha256: str | None = None
    certificate_names: list[str] = []
    issuer: Annotated[str, Meta(description="Who issued the certificate.")] | None = None
    not_before: Annotated[str, Meta(description="Valid from, UTC.")] | None = None
    not_after: Annotated[str, Meta(description="Valid until, UTC.")] | None = None
    passed_through: Annotated[
        bool, Meta(description="TLS between client and server; popproxy cannot read it.")
    ] = False
    code: Annotated[str, Meta(description="Why it failed: a stable name.")] | None = None
    cause: Annotated[str, Meta(description="The same in words.")] | None = None
    remedy: Annotated[str, Meta(description="What to do about it.")] | None = None
    alert: Annotated[str, Meta(description="The alert, in words.")] | None = None
    alert_from: Annotated[str, Meta(description="Who sent the alert.")] | None = None
    truncated: Annotated[bool, Meta(description="Ended without close_notify.")] = False
    record_types: Annotated[
        dict[str, int], Meta(description="Count of TLS records by type, when passed through.")
    ] = {}


class TlsStart(Record, kw_only=True, frozen=True, gc=False):
    """TLS began on a leg."""

    event: EventPart[Literal["tls.start"]]
    tls: TlsPart


class TlsFailed(Record, kw_only=True, frozen=True, gc=False):
    """A handshake failed."""

    event: EventPart[Literal["tls.failed"]]
    tls: TlsPart


class TlsEnd(Record, kw_only=True, frozen=True, gc=False):
    """TLS ended on a leg."""

    event: EventPart[Literal["tls.end"]]
    tls: TlsPart


class RewritePart(_Part, kw_only=True, frozen=True, gc=False):
    """A line that popproxy changed."""

    rule: Annotated[str, Meta(description="What changed it; the first record names all of them.")]
    command_seq: int | None = None
    was: (
        Annotated[str, Meta(description="The line as it came; absent if popproxy added it.")] | None
    ) = None
    now: (
        Annotated[str, Meta(description="The line as it was sent on; absent if it was left out.")]
        | None
    ) = None


class RewriteRecord(Record, kw_only=True, frozen=True, gc=False):
    """A line was changed on its way; the other records tell it as it came."""

    event: EventPart[Literal["rewrite"]]
    side: SideName
    rewrite: RewritePart


class GreetingPart(_Part, kw_only=True, frozen=True, gc=False):
    """A greeting's values (RFC 1939, section 4)."""

    status: str
    text: str
    code: str | None = None
    apop_timestamp: Annotated[bool, Meta(description="An APOP timestamp is present.")] = False


class GreetingRecord(WireRecord, kw_only=True, frozen=True, gc=False):
    """The server greeted."""

    event: EventPart[Literal["pop3.greeting"]]
    pop3: GreetingPart


class CommandPart(_Part, kw_only=True, frozen=True, gc=False):
    """A command's values."""

    seq: Annotated[int, Meta(ge=1, description="Number of the command in its session.")]
    state: str
    command: Annotated[str, Meta(description="Keyword, upper case; the mask if it is hidden.")]
    arguments: str | None = None
    message_number: int | None = None
    pipelined: bool = False
    complete: Annotated[bool, Meta(description="False if the stream ended inside the line.")] = True


class CommandRecord(WireRecord, kw_only=True, frozen=True, gc=False):
    """The client sent a command."""

    event: EventPart[Literal["pop3.command"]]
    pop3: CommandPart


class StatPart(_Part, kw_only=True, frozen=True, gc=False):
    """STAT's drop listing (RFC 1939, section 5)."""

    messages: int
    octets: int


class ScanListing(_Part, kw_only=True, frozen=True, gc=False):
    """One line of LIST (RFC 1939, section 5)."""

    message: int
    octets: int


class UniqueId(_Part, kw_only=True, frozen=True, gc=False):
    """One line of UIDL (RFC 1939, section 7)."""

    message: int
    unique_id: str


class Capability(_Part, kw_only=True, frozen=True, gc=False):
    """One line of CAPA (RFC 2449, section 5)."""

    tag: str
    arguments: list[str] = []


class MessagePart(_Part, kw_only=True, frozen=True, gc=False):
    """What is known of a message that RETR or TOP brought."""

    number: int | None = None
    unique_id: str | None = None
    octets_announced: (
        Annotated[int, Meta(description="Octets as the status line or LIST said.")] | None
    ) = None
    octets: Annotated[
        int, Meta(description="Octets counted, byte-stuffing removed, in masked form.")
    ]
    sha256: Annotated[
        str, Meta(description="Of the message, byte-stuffing removed, in masked form.")
    ]
    message_id: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    subject: str | None = None
    date: str | None = None


class ResponsePart(_Part, kw_only=True, frozen=True, gc=False):
    """A response's values, and those of the command that it answers."""

    command: Annotated[str, Meta(description="Keyword of the command it answers.")] | None = None
    arguments: str | None = None
    command_seq: Annotated[int, Meta(description="Number of the command it answers.")] | None = None
    status: str
    code: Annotated[str, Meta(description="Extended response code.")] | None = None
    text: str
    state: Annotated[str, Meta(description="The session's state afterwards.")]
    multi_line: bool = False
    ending: Annotated[str, Meta(description="How a multi-line response ended.")] | None = None
    lines: Annotated[int, Meta(description="Lines of the content.")] | None = None
    octets: (
        Annotated[int, Meta(description="Octets of the content on the wire, in masked form.")]
        | None
    ) = None
    stat: StatPart | None = None
    listing: list[ScanListing] | None = None
    unique_ids: list[UniqueId] | None = None
    capabilities: list[Capability] | None = None
    values_truncated: Annotated[
        bool, Meta(description="The table above is cut: the response was too long to parse.")
    ] = False
    message: MessagePart | None = None


class ResponseRecord(WireRecord, kw_only=True, frozen=True, gc=False):
    """The server answered a command; for a multi-line response, its end."""

    event: EventPart[Literal["pop3.response"]]
    pop3: ResponsePart


class UserPart(_Part, kw_only=True, frozen=True, gc=False):
    """A user (ECS `user`)."""

    name: Annotated[str, Meta(description="The user's name, or a pseudonym.")]


class AuthPart(_Part, kw_only=True, frozen=True, gc=False):
    """How a login went; never a payload."""

    mechanism: Annotated[str, Meta(description="USER, APOP, or the SASL mechanism's name.")]
    outcome: Literal["success", "failure", "unknown"]
    rounds: Annotated[int, Meta(description="Challenges that the server sent.")] = 0
    command_seq: int | None = None


class AuthRecord(Record, kw_only=True, frozen=True, gc=False):
    """A login ended."""

    event: EventPart[Literal["pop3.auth"]]
    auth: AuthPart
    user: UserPart | None = None


DataPartName = Literal["status", "content", "line", "sasl-response", "sasl-challenge", "opaque"]


class DataPart(_Part, kw_only=True, frozen=True, gc=False):
    """Where a piece of the conversation belongs."""

    part: Annotated[
        DataPartName,
        Meta(
            description="status: a multi-line response's first line; content: its content, or a"
            " message that the client sends; line: a line that answers nothing; opaque: traffic"
            " that is not read, counted only."
        ),
    ]
    command_seq: int | None = None
    octets: Annotated[int, Meta(description="Octets of opaque traffic of the server.")] | None = (
        None
    )


class DataRecord(WireRecord, kw_only=True, frozen=True, gc=False):
    """A piece of the conversation that is not a record of its own."""

    event: EventPart[Literal["pop3.data"]]
    pop3: DataPart


class FindingPart(_Part, kw_only=True, frozen=True, gc=False):
    """A departure from an RFC, or a risk."""

    code: str
    severity: Literal["info", "warning", "error"]
    rfc: str = ""
    what: str
    where: Annotated[str, Meta(description="In words: which command, which leg.")] = ""
    command_seq: int | None = None
    count: int | None = None


class FindingRecord(Record, kw_only=True, frozen=True, gc=False):
    """Something to look at."""

    event: EventPart[Literal["finding"]]
    finding: FindingPart


class GapPart(_Part, kw_only=True, frozen=True, gc=False):
    """What is missing from the capture."""

    reason: str
    records: Annotated[int, Meta(description="How many records were lost.")] | None = None


class GapRecord(Record, kw_only=True, frozen=True, gc=False):
    """Records are missing here."""

    event: EventPart[Literal["gap"]]
    gap: GapPart


class SummaryPart(_Part, kw_only=True, frozen=True, gc=False):
    """A session in figures; octets count masked lines in their masked form."""

    reason: Annotated[str, Meta(description="Why the session ended.")]
    detail: Annotated[str, Meta(description="The cause in words, if there is one.")] | None = None
    commands: int = 0
    messages_retrieved: int = 0
    deletions_pending: Annotated[
        int, Meta(description="Messages marked by DELE and not committed.")
    ] = 0
    deletions_committed: Annotated[
        int, Meta(description="Messages whose deletion +OK to QUIT confirmed.")
    ] = 0
    octets_client: int = 0
    octets_server: int = 0
    unmatched_responses: int = 0
    unanswered_commands: int = 0
    findings: int = 0


class SessionEnd(Record, kw_only=True, frozen=True, gc=False):
    """A session ended. `event.duration` is its whole length."""

    event: EventPart[Literal["session.end"]]
    summary: SummaryPart


AnyRecord = (
    SessionStart
    | TlsStart
    | TlsFailed
    | TlsEnd
    | RewriteRecord
    | GreetingRecord
    | CommandRecord
    | ResponseRecord
    | AuthRecord
    | DataRecord
    | FindingRecord
    | GapRecord
    | SessionEnd
)

RECORD_TYPES: dict[str, type[Record]] = {
    "session.start": SessionStart,
    "tls.start": TlsStart,
    "tls.failed": TlsFailed,
    "tls.end": TlsEnd,
    "rewrite": RewriteRecord,
    "pop3.greeting": GreetingRecord,
    "pop3.command": CommandRecord,
    "pop3.response": ResponseRecord,
    "pop3.auth": AuthRecord,
    "pop3.data": DataRecord,
    "finding": FindingRecord,
    "gap": GapRecord,
    "session.end": SessionEnd,
}
"""The record type of each `event.action`."""


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of one record, made from the types of this module.

    Returns:
        A schema whose `anyOf` lists the record types.
    """
    references, definitions = msgspec.json.schema_components(
        RECORD_TYPES.values(), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:popproxy:record:1",
        "title": "A record of a popproxy capture (popproxy/1)",
        "anyOf": list(references),
        "$defs": definitions,
    }
