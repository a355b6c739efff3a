"""Hypothesis strategies for every kind of record, and for text that is made to do harm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

from hypothesis import strategies as st

from popproxy.records import (
    MASK,
    SCHEMA,
    AuthPart,
    AuthRecord,
    BodyPolicy,
    Capability,
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
    MessagePart,
    PolicyPart,
    Record,
    ResponsePart,
    ResponseRecord,
    RewritePart,
    RewriteRecord,
    RoutePart,
    ScanListing,
    SessionEnd,
    SessionPart,
    SessionStart,
    StatPart,
    SummaryPart,
    TlsEnd,
    TlsFailed,
    TlsPart,
    TlsStart,
    UniqueId,
    UserPart,
)

HARMFUL = (
    "".join(map(chr, range(0x20))).replace("\t", "")
    + "".join(map(chr, range(0x7F, 0xA0)))
    + "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
"""Characters that no text output may hold, but for the CR and LF that we write (P43)."""

PUTTY_HEADER = "=~=~=~=~=~=~=~=~=~=~=~= PuTTY log 2011.10.29 22:37:46 =~=~=~=~=~=~=~=~=~=~=~="

_SNIPPETS = [
    *("\\", "\\\\", "\\x1b", "\\\\x1b", "\\x0a", "\\u202e", "\\n", "\r\n", "\r", "\n", "\t", " "),
    *("\x1b[2J", "\x9b31m", "\u202e", "\u2028", "\x00", "“Grüße”", "邮件", "😀", "é"),
    *("+OK ", "-ERR [SYS/TEMP] ", ".\r\n", "..", "C: ", "S: ", "# ", "12:00:00.000000 S: "),
    *('"', "=", "{", "[", "-", "null", "true", "1", "\ud7ff", "\ue000", "\uffff", MASK),
    *(PUTTY_HEADER, PUTTY_HEADER[:23], "=~", "~=", " PuTTY log ", "\r\n" + PUTTY_HEADER + "\r\n"),
]

texts = st.one_of(
    st.text(max_size=30),
    st.text(alphabet=HARMFUL + "\\xu0aA", max_size=20),
    st.lists(st.sampled_from(_SNIPPETS), max_size=6).map("".join),
)
"""Any text that UTF-8 can hold, nasty text more often than not."""

octets = st.one_of(
    texts.map(str.encode),
    st.binary(max_size=40),
    st.lists(st.one_of(texts.map(str.encode), st.binary(max_size=3)), max_size=5).map(b"".join),
)
"""Any bytes, with some that are nearly UTF-8 among them."""

lines = st.one_of(
    texts.map(lambda text: text.encode() + b"\r\n"),
    st.sampled_from(
        [
            *(b"STAT\r\n", b"LIST\r\n", b"RETR 1\r\n", b"USER a\r\n", b"PASS ********\r\n"),
            *(
                b"+OK 2 5718\r\n",
                b"+OK\r\n",
                b"+OK \r\n",
                b"-ERR [AUTH] no\r\n",
                b".\r\n",
                b"+\r\n",
            ),
            *(b"1 2859\r\n2 2859\r\n", b"Subject: a\r\n\r\nb\r\n", b"AUTH PLAIN\r\n", b"CAPA\r\n"),
        ]
    ),
)
wires = st.one_of(lines, octets)
"""Bytes of the wire, masked."""

numbers = st.integers(min_value=0, max_value=2**53)
moments = st.one_of(
    st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)),
    st.integers(0, 3).map(lambda us: datetime(2025, 12, 31, 23, 59, 59, 999_998 + us % 2, UTC)),
)
sessions = st.one_of(
    st.sampled_from(["20251122t223746-k3fa", "20251122t223746-b2cd", "20251122t223747-k3fa"]), texts
)


def _optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def _record(
    kind: Callable[..., Record], action: str, **members: st.SearchStrategy[Any]
) -> st.SearchStrategy[Record]:
    return st.builds(
        kind,
        timestamp=moments,
        schema=st.just(SCHEMA),
        event=st.builds(EventPart, action=st.just(action), duration=_optional(numbers)),
        session=st.builds(SessionPart, id=sessions, seq=st.integers(1, 2**53)),
        **members,
    )


@st.composite
def _wire_members(draw: st.DrawFn) -> dict[str, Any]:
    """Make the members that stand for bytes, as `popproxy.records` defines them."""
    members: dict[str, Any] = {
        "side": draw(st.sampled_from(["client", "server"])),
        "segments": draw(st.lists(st.tuples(numbers, numbers), max_size=3)),
        "joined": draw(st.booleans()),
        "masked": draw(st.lists(st.sampled_from(["raw", "pop3.arguments"]), max_size=2)),
    }
    wire = draw(_optional(wires))
    if wire is not None:
        try:
            members["raw"] = wire.decode()
        except UnicodeDecodeError:
            members["raw_b64"] = wire
    return members


def _wire_record(
    kind: Callable[..., Record], action: str, pop3: st.SearchStrategy[Any]
) -> st.SearchStrategy[Record]:
    @st.composite
    def build(draw: st.DrawFn) -> Record:
        members = draw(_wire_members())
        return draw(_record(kind, action, **{k: st.just(v) for k, v in members.items()}, pop3=pop3))

    return build()


endpoints = st.builds(
    Endpoint,
    address=st.sampled_from(["127.0.0.1", "::1", "fe80::1%eth0", "[::1]"]) | texts,
    port=st.integers(0, 65535),
)
tls_parts = st.builds(
    TlsPart,
    leg=st.sampled_from(["client", "upstream"]),
    version=_optional(texts),
    cipher=_optional(texts),
    server_name=_optional(texts),
    alpn=_optional(texts),
    resumed=_optional(st.booleans()),
    certificate_sha256=_optional(texts),
    certificate_names=st.lists(texts, max_size=2),
    issuer=_optional(texts),
    not_before=_optional(texts),
    not_after=_optional(texts),
    code=_optional(texts),
    cause=_optional(texts),
    remedy=_optional(texts),
    alert_from=_optional(texts),
    passed_through=st.booleans(),
    alert=_optional(texts),
    truncated=st.booleans(),
    record_types=st.dictionaries(
        st.sampled_from(["handshake", "application_data", "alert"]), numbers, max_size=2
    ),
)
message_parts = st.builds(
    MessagePart,
    number=_optional(numbers),
    unique_id=_optional(texts),
    octets_announced=_optional(numbers),
    octets=numbers,
    sha256=texts,
    message_id=_optional(texts),
    from_=_optional(texts),
    to=_optional(texts),
    subject=_optional(texts),
    date=_optional(texts),
)
_states = st.sampled_from(["GREETING", "AUTHORIZATION", "TRANSACTION", "UPDATE"]) | texts
_keywords = st.sampled_from(["STAT", "LIST", "RETR", "PASS", "AUTH", "CAPA", "UIDL", MASK]) | texts

_FIGURES = (
    *("commands", "messages_retrieved", "deletions_pending", "deletions_committed"),
    *("octets_client", "octets_server", "unmatched_responses", "unanswered_commands", "findings"),
)

BY_ACTION: dict[str, st.SearchStrategy[Record]] = {
    "session.start": _record(
        SessionStart,
        "session.start",
        client=endpoints,
        server=_optional(endpoints),
        listener=endpoints,
        route=st.builds(RoutePart, name=texts, listen=texts, upstream=texts),
        policy=st.builds(
            PolicyPart,
            body=st.sampled_from(get_args(BodyPolicy)),
            mask=texts,
            mask_users=st.booleans(),
            require_log=st.booleans(),
        ),
        notice=texts,
        version=texts,
        rewrites=st.lists(texts, max_size=2),
    ),
    "tls.start": _record(TlsStart, "tls.start", tls=tls_parts),
    "tls.failed": _record(TlsFailed, "tls.failed", tls=tls_parts),
    "tls.end": _record(TlsEnd, "tls.end", tls=tls_parts),
    "rewrite": _record(
        RewriteRecord,
        "rewrite",
        side=st.sampled_from(["client", "server"]),
        rewrite=st.builds(
            RewritePart,
            rule=texts,
            command_seq=_optional(numbers),
            was=_optional(texts),
            now=_optional(texts),
        ),
    ),
    "pop3.greeting": _wire_record(
        GreetingRecord,
        "pop3.greeting",
        st.builds(
            GreetingPart,
            status=texts,
            text=texts,
            code=_optional(texts),
            apop_timestamp=st.booleans(),
        ),
    ),
    "pop3.command": _wire_record(
        CommandRecord,
        "pop3.command",
        st.builds(
            CommandPart,
            seq=st.integers(1, 2**53),
            state=_states,
            command=_keywords,
            arguments=_optional(texts),
            message_number=_optional(numbers),
            pipelined=st.booleans(),
            complete=st.booleans(),
        ),
    ),
    "pop3.response": _wire_record(
        ResponseRecord,
        "pop3.response",
        st.builds(
            ResponsePart,
            command=_optional(_keywords),
            arguments=_optional(texts),
            command_seq=_optional(numbers),
            status=texts,
            code=_optional(texts),
            text=texts,
            state=_states,
            multi_line=st.booleans(),
            ending=_optional(texts),
            lines=_optional(numbers),
            octets=_optional(numbers),
            stat=_optional(st.builds(StatPart, messages=numbers, octets=numbers)),
            listing=_optional(
                st.lists(st.builds(ScanListing, message=numbers, octets=numbers), max_size=3)
            ),
            unique_ids=_optional(
                st.lists(st.builds(UniqueId, message=numbers, unique_id=texts), max_size=3)
            ),
            capabilities=_optional(
                st.lists(
                    st.builds(Capability, tag=texts, arguments=st.lists(texts, max_size=2)),
                    max_size=3,
                )
            ),
            values_truncated=st.booleans(),
            message=_optional(message_parts),
        ),
    ),
    "pop3.auth": _record(
        AuthRecord,
        "pop3.auth",
        auth=st.builds(
            AuthPart,
            mechanism=texts,
            outcome=st.sampled_from(["success", "failure", "unknown"]),
            rounds=numbers,
            command_seq=_optional(numbers),
        ),
        user=_optional(st.builds(UserPart, name=texts)),
    ),
    "pop3.data": _wire_record(
        DataRecord,
        "pop3.data",
        st.builds(
            DataPart,
            part=st.sampled_from(get_args(DataPartName)),
            command_seq=_optional(numbers),
            octets=_optional(numbers),
        ),
    ),
    "finding": _record(
        FindingRecord,
        "finding",
        finding=st.builds(
            FindingPart,
            code=texts,
            severity=st.sampled_from(["info", "warning", "error"]),
            rfc=texts,
            what=texts,
            where=texts,
            command_seq=_optional(numbers),
            count=_optional(numbers),
        ),
    ),
    "gap": _record(
        GapRecord, "gap", gap=st.builds(GapPart, reason=texts, records=_optional(numbers))
    ),
    "session.end": _record(
        SessionEnd,
        "session.end",
        summary=st.builds(
            SummaryPart,
            reason=texts,
            detail=_optional(texts),
            **dict.fromkeys(_FIGURES, numbers),
        ),
    ),
}
"""For each `event.action`, any record that its type allows, likely or not."""

records = st.one_of(list(BY_ACTION.values()))
"""Any record."""

captures = st.lists(records, max_size=8)
"""Any records in a row, of several sessions; hardly ever a plausible conversation."""
