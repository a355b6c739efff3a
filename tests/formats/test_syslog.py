"""Records as syslog messages (RFC 5424): parsed back by a reader that shares nothing with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.formats import jsonl
from popproxy.formats.syslog import (
    FACILITIES,
    LEAST_SIZE,
    TOO_LONG,
    Origin,
    SyslogWriter,
    frame,
    is_sd_id,
    severity,
)
from popproxy.records import (
    AuthPart,
    AuthRecord,
    EventPart,
    FindingPart,
    FindingRecord,
    GapRecord,
    Record,
    ResponsePart,
    ResponseRecord,
    ScanListing,
    SessionPart,
)
from tests.support import samples

# RFC 5424, section 6, written down anew.
_MESSAGE = re.compile(
    rb"<(?P<pri>0|[1-9][0-9]{0,2})>1 "
    rb"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    rb"(?:Z|[+-][0-9]{2}:[0-9]{2})) "
    rb"(?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
    rb"(?P<sd>-|(?:\[[!#-<>-\\^-~]{1,32}"
    rb'(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\])+)'
    rb"(?: (?P<msg>.*))?",
    re.DOTALL,
)
_PARAM = re.compile(rb' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"')


@dataclass
class Parsed:
    facility: int
    severity: int
    time: datetime
    header: list[str]
    data: dict[str, str]
    msg: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.msg)


def parsed(message: bytes) -> Parsed:
    found = _MESSAGE.fullmatch(message)
    assert found, message
    data = {
        name.decode(): re.sub(r'\\(["\\\]])', r"\1", value.decode())
        for name, value in _PARAM.findall(found["sd"])
    }
    return Parsed(
        *divmod(int(found["pri"]), 8),
        datetime.fromisoformat(found["time"].decode()),
        [found[name].decode() for name in ("host", "app", "proc", "id")],
        data,
        found["msg"],
    )


def origin(**more: str) -> Origin:
    plain = {"facility": "audit", "hostname": "proxy", "app_name": "popproxy", "procid": "4711"}
    return Origin(**{**plain, **more})


def writer(
    *, bodies: bool = True, max_size: int = 8000, cuts: list[str] | None = None, **more: str
) -> SyslogWriter:
    return SyslogWriter(
        origin(**more),
        bodies=bodies,
        max_size=max_size,
        on_cut=(cuts if cuts is not None else []).append,
    )


def listed(lines: int, seq: int = 7) -> ResponseRecord:
    return ResponseRecord(
        timestamp=samples.moment(seq),
        schema="popproxy/1",
        event=EventPart(action="pop3.response"),
        session=SessionPart(id="s1", seq=seq),
        side="server",
        raw=".\r\n",
        segments=[(1, 3)],
        pop3=ResponsePart(
            command="LIST",
            status="+OK",
            text="",
            state="TRANSACTION",
            listing=[ScanListing(message=one, octets=1000) for one in range(1, lines + 1)],
        ),
    )


def finding(level: str) -> FindingRecord:
    part = msgspec.convert({"code": "x", "severity": level, "what": "y"}, FindingPart)
    return FindingRecord(
        timestamp=samples.moment(1),
        schema="popproxy/1",
        event=EventPart(action="finding"),
        session=SessionPart(id="s1", seq=1),
        finding=part,
    )


def login(outcome: str) -> AuthRecord:
    part = msgspec.convert({"mechanism": "USER", "outcome": outcome}, AuthPart)
    return AuthRecord(
        timestamp=samples.moment(1),
        schema="popproxy/1",
        event=EventPart(action="pop3.auth"),
        session=SessionPart(id="s1", seq=1),
        auth=part,
    )


def test_a_message_in_full() -> None:
    assert writer().message(samples.command("s1", 2)) == (
        b"<110>1 2025-11-22T22:37:46.000002Z proxy popproxy 4711 pop3.command "
        b'[popproxy@32473 session="s1" seq="2"] '
        b'{"@timestamp":"2025-11-22T22:37:46.000002Z","schema":"popproxy/1",'
        b'"event":{"action":"pop3.command"},"session":{"id":"s1","seq":2},"side":"client",'
        b'"raw":"NOOP\\r\\n","segments":[[2,6]],'
        b'"pop3":{"seq":1,"state":"TRANSACTION","command":"NOOP"}}'
    )


@given(st.binary(max_size=300))
def test_octet_counting_tells_where_a_message_ends(message: bytes) -> None:
    length, _, rest = frame(message).partition(b" ")
    assert re.fullmatch(rb"0|[1-9][0-9]*", length)
    assert rest == message
    assert len(rest) == int(length)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(
    raw=_TEXT,
    session=_TEXT.filter(bool),
    names=st.tuples(_TEXT, _TEXT, _TEXT),
    seq=st.integers(1, 2**40),
    bodies=st.booleans(),
    offset=st.integers(-14, 14),
)
def test_whatever_a_record_holds_it_parses_back(
    raw: str, session: str, names: tuple[str, str, str], seq: int, bodies: bool, offset: int
) -> None:
    host, app, proc = names
    made = writer(bodies=bodies, hostname=host, app_name=app, procid=proc)
    record = msgspec.structs.replace(
        samples.data(text=raw),
        session=SessionPart(id=session, seq=seq),
        timestamp=samples.moment(5).astimezone(timezone(timedelta(hours=offset))),
    )
    message = made.message(record)
    found = parsed(message)
    assert found.data["session"] == session
    assert found.data["seq"] == str(seq)
    assert found.time == record.timestamp
    assert not re.search(rb"[\x00-\x1f\x7f]", found.msg), "nothing for a collector to replace"
    assert not found.msg.startswith(b"\xef\xbb\xbf"), "JSON has no byte order mark"
    if bodies:
        assert jsonl.decode(found.msg) == record
        assert "cut" not in found.data
    else:
        assert "raw" not in found.value
        assert found.data["cut"].split()[0] == "raw"


@pytest.mark.parametrize(
    ("record", "level"),
    [
        (samples.start(), 5),
        (samples.end(), 5),
        (samples.command(), 6),
        (samples.data(), 6),
        (finding("error"), 3),
        (finding("warning"), 4),
        (finding("info"), 6),
        (login("success"), 5),
        (login("failure"), 4),
    ],
)
def test_the_kind_of_record_decides_on_the_severity(record: Record, level: int) -> None:
    assert severity(record) == level
    assert parsed(writer().message(record)).severity == level


@pytest.mark.parametrize(
    ("name", "number"), [("kern", 0), ("mail", 2), ("audit", 13), ("local7", 23)]
)
def test_facilities_have_their_numbers(name: str, number: int) -> None:
    assert len(FACILITIES) == 24
    assert parsed(writer(facility=name).message(samples.start())).facility == number


def test_without_bodies_content_is_left_out_and_the_numbers_have_no_hole() -> None:
    cuts: list[str] = []
    made = writer(bodies=False, cuts=cuts)
    found = parsed(made.message(samples.data(seq=4, text="Dear Sir,\r\n")))
    assert b"Dear" not in found.msg
    assert found.data == {"session": "s1", "seq": "4", "cut": "raw segments"}
    assert found.value["pop3"] == {"part": "content", "command_seq": 1}
    assert not cuts, "nobody is warned of what was asked for"
    assert b"NOOP" in made.message(samples.command())


def test_a_record_that_is_too_long_loses_its_octets_first() -> None:
    cuts: list[str] = []
    message = writer(cuts=cuts).message(samples.data(text="x" * 9000))
    found = parsed(message)
    assert len(message) < 1000
    assert found.data["cut"] == "raw segments"
    assert found.value["event"] == {"action": "pop3.data"}
    assert cuts == ["raw segments"]


def test_then_its_table() -> None:
    cuts: list[str] = []
    found = parsed(writer(cuts=cuts).message(listed(1000)))
    assert found.data["cut"] == "raw segments listing"
    assert found.value["pop3"]["values_truncated"] is True
    assert "listing" not in found.value["pop3"]
    assert cuts == ["raw segments listing"]
    assert parsed(writer(cuts=cuts).message(listed(20))).value["pop3"]["listing"]


def test_and_if_that_is_not_enough_a_gap_stands_for_it() -> None:
    cuts: list[str] = []
    long = msgspec.structs.replace(
        samples.command("s1", 9),
        pop3=msgspec.structs.replace(samples.command().pop3, arguments="y" * 9000),
    )
    message = writer(cuts=cuts).message(long)
    found = parsed(message)
    gap = jsonl.decode(found.msg)
    assert isinstance(gap, GapRecord)
    assert gap.gap.reason == TOO_LONG
    assert gap.gap.records == 1
    assert gap.session == long.session
    assert gap.timestamp == long.timestamp
    assert found.data["cut"] == "record"
    assert found.severity == 3
    assert cuts == ["record"]


@given(st.integers(LEAST_SIZE, 20_000), st.integers(0, 20_000), st.booleans())
def test_no_message_is_longer_than_it_may_be(most: int, octets: int, table: bool) -> None:
    record = listed(octets // 20) if table else samples.data(text="é" * octets)
    message = writer(max_size=most, hostname="h" * 300, app_name="a" * 300).message(record)
    assert len(message) <= most
    parsed(message)


def test_a_line_that_is_no_record_goes_as_it_is() -> None:
    line = '{"schema":"popproxy/1","event":{"action":"file.checkpoint"},"file":{"name":"ü"}}\n'
    message = writer().line("file.checkpoint", line.encode(), datetime(2026, 1, 2, tzinfo=UTC))
    assert message is not None
    found = parsed(message)
    assert found.msg == line.rstrip("\n").encode()
    assert found.header[3] == "file.checkpoint"
    assert found.data == {}
    assert writer().line("file.checkpoint", b"x" * 8000, datetime(2026, 1, 2, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("popproxy@32473", True),
        ("a@1.2", True),
        ("popproxy", False),
        ("@32473", False),
        ("popproxy@", False),
        ("pop proxy@1", False),
        ('p"@1', False),
        ("p]@1", False),
        ("p=@1", False),
        ("p" * 30 + "@32473", False),
    ],
)
def test_sd_ids_are_a_name_and_an_enterprise_number(text: str, right: bool) -> None:
    assert is_sd_id(text) is right
