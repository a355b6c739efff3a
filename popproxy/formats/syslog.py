"""Records as messages of syslog (RFC 5424), sans-IO.

MSG is the record's JSON line without its end. It has no byte order mark: a receiver has to take
such a MSG as MSG-ANY (RFC 5424, section 6.4), and JSON forbids the mark (RFC 8259, section 8.1).

Messages have a size that receivers take; what is beyond it they cut or drop, and do not say so.
A record that would be longer is thus made shorter here: first its octets of the wire are left out,
then its table of parsed values, and if that is not enough a `gap` stands for it. The element of
structured data names what is missing in `cut`, and every record that is made has its session and
number there: a number that a collector lacks is a record that was lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from popproxy.formats.jsonl import encode
from popproxy.records import (
    AuthRecord,
    DataRecord,
    EventPart,
    FindingRecord,
    GapPart,
    GapRecord,
    Record,
    ResponseRecord,
    WireRecord,
)

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron"),
    *("authpriv", "ftp", "ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
)
"""The facilities (RFC 5424, section 6.2.1) by their usual names, in the order of their numbers."""

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
_SEVERITIES = {"error": ERROR, "warning": WARNING, "info": INFO}
_OF_ACTIONS = {
    "gap": ERROR,
    "tls.failed": WARNING,
    "session.start": NOTICE,
    "session.end": NOTICE,
    "pop3.auth": NOTICE,
    "rewrite": NOTICE,
    "file.removed": NOTICE,
}
SD_ID = "popproxy@32473"
"""The structured data's SD-ID: a name at the private enterprise number of examples (RFC 5612)."""
LEAST_SIZE = 2048
"""Octets that a message may always have (RFC 5425, section 4.3.1); every `gap` fits."""
TOO_LONG = "the record was longer than the syslog collector takes"

_NIL = b"-"
_UNPRINTABLE = re.compile(r"[^!-~]")
_QUOTED = re.compile(r'(["\\\]])')
_SD_NAME = re.compile(r"""[!#-<>-\\^-~]{1,32}""")


def is_sd_id(text: str) -> bool:
    """Tell whether a text can be an SD-ID of one's own, as `name@32473` (section 6.3.2)."""
    name, at, number = text.partition("@")
    digits = number.replace(".", "")
    return bool(_SD_NAME.fullmatch(text) and name and at and digits.isdecimal())


def severity(record: Record) -> int:
    """Give a record's severity (RFC 5424, section 6.2.1)."""
    if isinstance(record, FindingRecord):
        return _SEVERITIES[record.finding.severity]
    if isinstance(record, AuthRecord) and record.auth.outcome == "failure":
        return WARNING
    return _OF_ACTIONS.get(record.event.action, INFO)


def frame(message: bytes) -> bytes:
    """Put the length in front of a message: octet counting (RFC 6587, 3.4.1; RFC 5425, 4.3)."""
    return b"%d %b" % (len(message), message)


def _field(text: str, most: int) -> bytes:
    return _UNPRINTABLE.sub("?", text)[:most].encode() or _NIL


def _quoted(value: str) -> str:
    return _QUOTED.sub(r"\\\1", value)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What is the same in all messages.

    Attributes:
        facility: One of `FACILITIES`.
        hostname: This machine's name.
        app_name: The program's name.
        procid: The process's number.
        sd_id: The SD-ID of the structured data.
    """

    facility: str
    hostname: str
    app_name: str
    procid: str
    sd_id: str = SD_ID


class SyslogWriter:
    """Writes records as messages, not framed."""

    def __init__(
        self,
        origin: Origin,
        *,
        bodies: bool,
        max_size: int,
        on_cut: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            origin: What is the same in all messages.
            bodies: Whether the content of multi-line responses is sent; else its records are sent
                without their octets.
            max_size: Octets of a message; `LEAST_SIZE` at least.
            on_cut: Called with what was left out of a record because it was too long.
        """
        self._priority = FACILITIES.index(origin.facility) * 8
        self._header = b"%b %b %b" % (
            _field(origin.hostname, 255),
            _field(origin.app_name, 48),
            _field(origin.procid, 128),
        )
        self._sd_id = origin.sd_id
        self._bodies = bodies
        self._max_size = max_size
        self._on_cut = on_cut

    def message(self, record: Record) -> bytes:
        """Give the message of a record.

        Args:
            record: Any record.
        """
        cut: list[str] = []
        if not self._bodies and isinstance(record, DataRecord) and record.pop3.part == "content":
            record = _without_octets(record, cut)
        message = self._made(record, cut)
        if len(message) <= self._max_size:
            return message
        already = len(cut)
        for shorten in (_without_octets, _without_table, _gap):
            record = shorten(record, cut)
            message = self._made(record, cut)
            if len(message) <= self._max_size:
                break
        self._on_cut(" ".join(cut[already:]))
        return message

    def _made(self, record: Record, cut: list[str]) -> bytes:
        data = f'session="{_quoted(record.session.id)}" seq="{record.session.seq}"'
        if cut:
            data += f' cut="{" ".join(cut)}"'
        return self._assembled(
            severity(record),
            record.timestamp,
            record.event.action,
            f"[{self._sd_id} {data}]".encode(),
            encode(record).rstrip(b"\n"),
        )

    def line(self, action: str, line: bytes, when: datetime) -> bytes | None:
        """Give the message of a JSON line that is no record, as one about a file.

        Args:
            action: Its `event.action`.
            line: The line, with or without its end.
            when: Its time, with a time zone.

        Returns:
            The message; None if it is too long.
        """
        level = _OF_ACTIONS.get(action, INFO)
        message = self._assembled(level, when, action, _NIL, line.rstrip(b"\r\n"))
        return message if len(message) <= self._max_size else None

    def _assembled(
        self, level: int, when: datetime, action: str, data: bytes, text: bytes
    ) -> bytes:
        moment = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
        return b"<%d>1 %b %b %b %b %b" % (
            self._priority + level,
            moment,
            self._header,
            _field(action, 32),
            data,
            text,
        )


def _without_octets(record: Record, cut: list[str]) -> Record:
    if not isinstance(record, WireRecord) or (record.raw is None and record.raw_b64 is None):
        return record
    cut.append("raw" if record.raw is not None else "raw_b64")
    if record.segments:
        cut.append("segments")
    return msgspec.structs.replace(record, raw=None, raw_b64=None, segments=[])


def _without_table(record: Record, cut: list[str]) -> Record:
    if not isinstance(record, ResponseRecord):
        return record
    values = record.pop3
    found = [
        name
        for name in ("listing", "unique_ids", "capabilities")
        if getattr(values, name) is not None
    ]
    if not found:
        return record
    cut.extend(found)
    none = dict.fromkeys(found)
    values = msgspec.structs.replace(values, values_truncated=True, **none)
    return msgspec.structs.replace(record, pop3=values)


def _gap(record: Record, cut: list[str]) -> Record:
    cut[:] = ["record"]
    return GapRecord(
        timestamp=record.timestamp,
        schema="popproxy/1",
        event=EventPart(action="gap"),
        session=record.session,
        gap=GapPart(reason=TOO_LONG, records=1),
    )
