"""What becomes of each member of a record: an allow-list that fails closed.

A member that has no rule here does not get through: it takes its default, or the record fails. So
a member that a later version adds is kept out of bundles until somebody has decided on it;
`tests/privacy/sanitise/test_fields.py` names those that are missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from popproxy.pop3.events import Ending, State, Status
from popproxy.pop3.findings import FINDINGS, FindingCode
from popproxy.privacy.sanitise import addresses, dates, kept
from popproxy.privacy.sanitise.keys import Keys
from popproxy.privacy.sanitise.lines import SessionLines
from popproxy.privacy.sanitise.words import fill, in_text
from popproxy.records import MASK

S = TypeVar("S", bound=msgspec.Struct)
Rule = Callable[["Fields", Any], Any]

SHARED: Final = re.compile(r"(?:[0-9]{8}t[0-9]{6}-)?shared-.+", re.DOTALL)
"""Ids of sessions that were sanitised: a bundle made of a bundle leaves their names as they are."""

_ID: Final = re.compile(r"([0-9]{8})t([0-9]{6})-([0-9a-z-]{1,40})")
_RUN: Final = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
_URL: Final = re.compile(
    r"([a-z0-9+]{3,12})://(\[[^\]]*\]|[^:/]*)((?::[0-9]{1,5})?)", re.IGNORECASE
)
_SCHEMES: Final = frozenset({"pop3", "pop3s", "pop3+stls"})
_RFC: Final = re.compile(r"(?:RFC [0-9]{1,5}(?:,? sections? [0-9.]{1,12})?)?")
_HEX: Final = re.compile(r"[0-9a-f]{1,128}")
_VERSION: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,4}){1,3}(?:(?:a|b|rc|\.dev)[0-9]{1,3})?")
_CODES: Final = {code.value: FINDINGS[code].what for code in FindingCode}
_MASKED: Final = frozenset(
    {"raw", "pop3.command", "pop3.arguments", "pop3.text", "pop3.message", "pop3.octets"}
)
LOGS: Final = frozenset(
    {
        *("curl", "curl-trace", "fetchmail", "javamail", "mailkit", "mitmproxy", "pcap", "poplib"),
        *("putty", "rawlog", "s_client", "sslsplit", "terminal", "thunderbird", "transcript"),
    }
)
"""The kinds of logs that a session may come from."""

_INFERRED: Final = frozenset(
    {"side", "time", "pauses", "line-ends", "order", "addresses", "made-up"}
)
_STATES: Final = frozenset(one.value for one in State)
_STATUSES: Final = frozenset(one.value for one in Status)
_ENDINGS: Final = frozenset(one.value for one in Ending)


class Fields:
    """Sanitises members of one session's records.

    Args:
        keys: Gives the pseudonyms.
        offset: What dates are shifted by.
        removed: Counts what is replaced, by rule.
        lines: Sanitises what peers said.
        notice: What sessions' first records say instead of their notice.
    """

    def __init__(
        self,
        keys: Keys,
        offset: timedelta,
        removed: Counter[str],
        lines: SessionLines,
        notice: str,
    ) -> None:
        self.keys = keys
        self.offset = offset
        self.removed = removed
        self.lines = lines
        self.notice = notice

    def clean(self, part: S) -> S:
        """Sanitise all members of a record or of a part of one.

        Args:
            part: The record.

        Returns:
            A new one. Members that stand for the wire are empty in it.
        """
        made: dict[str, Any] = {}
        for name, default in zip(part.__struct_fields__, _defaults(type(part)), strict=True):
            value = getattr(part, name)
            rule = rule_of(type(part), name)
            if value is None:
                made[name] = None
            elif rule is not None:
                made[name] = rule(self, value)
            elif default is not msgspec.NODEFAULT:
                made[name] = default
            else:
                raise LookupError(f"{type(part).__name__}.{name} has no rule")
        return type(part)(**made)

    def session_id(self, name: str) -> str:
        """Give a session's id with its date shifted, and the mark of a sanitised one."""
        if SHARED.fullmatch(name):
            return name
        found = _ID.fullmatch(name)
        if found is not None:
            try:
                when = datetime.strptime(found[1] + found[2], "%Y%m%d%H%M%S")
            except ValueError:
                found = None
        if found is None:
            return "shared-" + in_text(lambda text: self.keys.token("session", text), name)
        when = dates.shift(when, self.offset)
        rest = self.keys.token("session", found[3].encode()).decode()
        return f"{when:%Y%m%dt%H%M%S}-shared-{rest}"

    def user(self, name: str) -> str:
        """Replace a user's name."""
        return in_text(self.lines.user, name)

    def place(self, name: str) -> str:
        """Replace a host's name or address."""
        self.removed["host names" if name.rpartition(".")[2].isalpha() else "IP addresses"] += 1
        return in_text(lambda text: addresses.place(self.keys, text), name)

    def url(self, text: str) -> str:
        """Replace the host in a URL of a route."""
        found = _URL.fullmatch(text)
        if found is None or found[1].lower() not in _SCHEMES:
            return self.own(text)
        host = found[2]
        inner = host[1:-1] if host.startswith("[") else host
        return f"{found[1]}://{host.replace(inner, self.place(inner)) if inner else host}{found[3]}"

    def hexadecimal(self, text: str) -> str:
        """Replace a digest by one that tells nothing of what it was made of."""
        if not _HEX.fullmatch(text):
            return in_text(fill, text)
        digits = "0123456789abcdef"
        added = (self.keys.number("digest", f"{at}:{text}".encode(), 16) for at in range(len(text)))
        return "".join(
            digits[(digits.index(one) + more) % 16] for one, more in zip(text, added, strict=True)
        )

    def own(self, text: str) -> str:
        """Keep words that popproxy itself uses; fill all others."""
        return in_text(lambda octets: _RUN.sub(_own_word, octets), text)

    def says(self, text: str) -> str:
        """Sanitise what a server says in its own words."""
        return in_text(self.lines.text, text)

    def unique_id(self, text: str) -> str:
        """Replace a unique-id."""
        return in_text(self.lines.unique_id, text)

    def names(self, names: list[str]) -> list[str]:
        """Replace the names in a certificate."""
        return [
            name[:2] * name.startswith("*.") + self.place(name.removeprefix("*.")) for name in names
        ]

    def iso_date(self, text: str) -> str:
        """Shift a date."""
        return dates.shift_iso_date(text, self.offset)


def _own_word(found: re.Match[bytes]) -> bytes:
    word: bytes = found[0]
    return word if word.lower() in kept.OWN_WORDS | kept.SERVER_WORDS else fill(word)


def _defaults(kind: type[msgspec.Struct]) -> list[Any]:
    defaults = list(kind.__struct_defaults__)
    missing = len(kind.__struct_fields__) - len(defaults)
    made = [msgspec.NODEFAULT] * missing + defaults
    return [one.factory() if hasattr(one, "factory") else one for one in made]


def rule_of(kind: type[msgspec.Struct], name: str) -> Rule | None:
    """Find the rule for a member of a record's type, or of one that it derives from."""
    for base in kind.__mro__:
        if (rule := RULES.get(f"{base.__name__.partition('[')[0]}.{name}")) is not None:
            return rule
    return None


def _keep(fields: Fields, value: Any) -> Any:
    """Numbers, flags, and words of which the type allows no others."""
    del fields
    return value


def _part(fields: Fields, value: msgspec.Struct) -> msgspec.Struct:
    return fields.clean(value)


def _parts(fields: Fields, value: list[msgspec.Struct]) -> list[msgspec.Struct]:
    return [fields.clean(one) for one in value]


def _wire(fields: Fields, value: object) -> None:
    """What stands for the wire is put in by `popproxy.privacy.sanitise.capture`."""
    del fields, value


def _told(fields: Fields, value: str) -> str:
    """The same, for texts that every record of their kind has."""
    del fields, value
    return ""


def _one_of(allowed: frozenset[str]) -> Rule:
    return lambda fields, value: value if value in allowed else fields.own(value)


def _matching(pattern: re.Pattern[str]) -> Rule:
    return lambda fields, value: value if pattern.fullmatch(value) else fields.own(value)


def _what(fields: Fields, value: str) -> str:
    return value if value in _CODES.values() else fields.says(value)


RULES: Final[dict[str, Rule]] = {
    "Record.timestamp": lambda fields, value: dates.shift(value, fields.offset),
    "Record.schema": _keep,
    "Record.event": _part,
    "Record.session": _part,
    "EventPart.action": _keep,
    "EventPart.duration": _keep,
    "SessionPart.id": lambda fields, value: fields.session_id(value),
    "SessionPart.seq": _keep,
    "Endpoint.address": lambda fields, value: fields.place(value),
    "Endpoint.port": _keep,
    "WireRecord.side": _keep,
    "WireRecord.raw": _wire,
    "WireRecord.raw_b64": _wire,
    "WireRecord.segments": _keep,
    "WireRecord.joined": _keep,
    "WireRecord.inferred": lambda _, value: [one for one in value if one in _INFERRED],
    "WireRecord.masked": lambda _, value: [one for one in value if one in _MASKED],
    "PolicyPart.body": _keep,
    "PolicyPart.mask": _one_of(frozenset({MASK})),
    "PolicyPart.mask_users": _keep,
    "PolicyPart.require_log": _keep,
    "RoutePart.name": lambda fields, value: in_text(
        lambda text: fields.keys.token("route", text), value
    ),
    "RoutePart.listen": lambda fields, value: fields.url(value),
    "RoutePart.upstream": lambda fields, value: fields.url(value),
    "SessionStart.client": _part,
    "SessionStart.server": _part,
    "SessionStart.listener": _part,
    "SessionStart.via": _part,
    "SessionStart.destination": _part,
    "SessionStart.route": _part,
    "SessionStart.policy": _part,
    "SessionStart.notice": lambda fields, _: fields.notice,
    "SessionStart.version": _matching(_VERSION),
    "SessionStart.source": _part,
    "SourcePart.kind": _one_of(LOGS),
    "SourcePart.inferred": lambda _, value: [one for one in value if one in _INFERRED],
    "SessionStart.rewrites": lambda fields, value: [fields.own(one) for one in value],
    "TlsStart.tls": _part,
    "TlsFailed.tls": _part,
    "TlsEnd.tls": _part,
    "TlsPart.leg": _keep,
    "TlsPart.version": _matching(re.compile(r"(?:TLS|SSL)v[0-9.]{1,4}")),
    "TlsPart.cipher": lambda fields, value: fields.own(value),
    "TlsPart.server_name": lambda fields, value: fields.place(value),
    "TlsPart.alpn": lambda fields, value: fields.own(value),
    "TlsPart.resumed": _keep,
    "TlsPart.certificate_sha256": lambda fields, value: fields.hexadecimal(value),
    "TlsPart.certificate_names": lambda fields, value: fields.names(value),
    "TlsPart.issuer": lambda fields, value: fields.own(value),
    "TlsPart.not_before": lambda fields, value: fields.iso_date(value),
    "TlsPart.not_after": lambda fields, value: fields.iso_date(value),
    "TlsPart.passed_through": _keep,
    "TlsPart.code": lambda fields, value: fields.own(value),
    "TlsPart.cause": lambda fields, value: fields.own(value),
    "TlsPart.alert": lambda fields, value: fields.own(value),
    "TlsPart.alert_from": lambda fields, value: fields.own(value),
    "TlsPart.truncated": _keep,
    "TlsPart.record_types": lambda fields, value: {
        fields.own(name): count for name, count in value.items()
    },
    "RewriteRecord.side": _keep,
    "RewriteRecord.rewrite": _part,
    "RewritePart.rule": lambda fields, value: fields.own(value),
    "RewritePart.command_seq": _keep,
    "RewritePart.was": lambda fields, value: fields.says(value),
    "RewritePart.now": lambda fields, value: fields.says(value),
    "GreetingRecord.pop3": _part,
    "GreetingPart.status": _one_of(_STATUSES),
    "GreetingPart.text": _told,
    "GreetingPart.code": lambda fields, value: fields.says(value),
    "GreetingPart.apop_timestamp": _keep,
    "CommandRecord.pop3": _part,
    "CommandPart.seq": _keep,
    "CommandPart.state": _one_of(_STATES),
    "CommandPart.command": _told,
    "CommandPart.arguments": _wire,
    "CommandPart.message_number": _keep,
    "CommandPart.pipelined": _keep,
    "CommandPart.complete": _keep,
    "ResponseRecord.pop3": _part,
    "ResponsePart.command": _wire,
    "ResponsePart.arguments": _wire,
    "ResponsePart.command_seq": _keep,
    "ResponsePart.status": _one_of(_STATUSES),
    "ResponsePart.code": lambda fields, value: fields.says(value),
    "ResponsePart.text": _told,
    "ResponsePart.state": _one_of(_STATES),
    "ResponsePart.multi_line": _keep,
    "ResponsePart.ending": _one_of(_ENDINGS),
    "ResponsePart.lines": _keep,
    "ResponsePart.octets": _keep,
    "ResponsePart.stat": _part,
    "ResponsePart.listing": _parts,
    "ResponsePart.unique_ids": _parts,
    "ResponsePart.capabilities": _wire,
    "ResponsePart.values_truncated": _keep,
    "ResponsePart.message": _part,
    "StatPart.messages": _keep,
    "StatPart.octets": _keep,
    "ScanListing.message": _keep,
    "ScanListing.octets": _keep,
    "UniqueId.message": _keep,
    "UniqueId.unique_id": lambda fields, value: fields.unique_id(value),
    "MessagePart.number": _keep,
    "MessagePart.unique_id": lambda fields, value: fields.unique_id(value),
    "MessagePart.octets_announced": _keep,
    "MessagePart.octets": _keep,
    "MessagePart.sha256": lambda fields, value: fields.hexadecimal(value),
    "MessagePart.message_id": _wire,
    "MessagePart.from_": _wire,
    "MessagePart.to": _wire,
    "MessagePart.subject": _wire,
    "MessagePart.date": _wire,
    "AuthRecord.auth": _part,
    "AuthRecord.user": _part,
    "AuthPart.mechanism": lambda fields, value: in_text(
        lambda text: fields.lines.arguments("AUTH", text), value
    ),
    "AuthPart.outcome": _keep,
    "AuthPart.rounds": _keep,
    "AuthPart.command_seq": _keep,
    "UserPart.name": lambda fields, value: fields.user(value),
    "DataRecord.pop3": _part,
    "DataPart.part": _keep,
    "DataPart.command_seq": _keep,
    "DataPart.octets": _keep,
    "FindingRecord.finding": _part,
    "FindingPart.code": _one_of(frozenset(_CODES)),
    "FindingPart.severity": _keep,
    "FindingPart.rfc": _matching(_RFC),
    "FindingPart.what": _what,
    "FindingPart.where": lambda fields, value: fields.own(value),
    "FindingPart.command_seq": _keep,
    "FindingPart.count": _keep,
    "GapRecord.gap": _part,
    "GapPart.reason": lambda fields, value: fields.own(value),
    "GapPart.records": _keep,
    "SessionEnd.summary": _part,
    "SummaryPart.reason": lambda fields, value: fields.own(value),
    "SummaryPart.detail": lambda fields, value: fields.own(value),
    "SummaryPart.commands": _keep,
    "SummaryPart.messages_retrieved": _keep,
    "SummaryPart.deletions_pending": _keep,
    "SummaryPart.deletions_committed": _keep,
    "SummaryPart.octets_client": _keep,
    "SummaryPart.octets_server": _keep,
    "SummaryPart.unmatched_responses": _keep,
    "SummaryPart.unanswered_commands": _keep,
    "SummaryPart.findings": _keep,
}
"""By type and member."""

LEFT_OUT: Final = frozenset({"TlsPart.remedy", "Capability.tag", "Capability.arguments"})
"""Members that are not taken over: a remedy names files and hosts of its reader, and capabilities
are read anew from what came of their lines."""
