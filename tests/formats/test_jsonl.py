from __future__ import annotations

import gc
import json
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.formats import jsonl
from popproxy.formats.errors import FormatError, TornError
from popproxy.records import DataPart, DataRecord, EventPart, Record, WireRecord, json_schema
from tests.support.capture import MESSAGE, STARTED, plain_session
from tests.support.records import BY_ACTION, HARMFUL, captures, octets, records

RECORDS = plain_session().records
FILE = b"".join(map(jsonl.encode, RECORDS))


def content(text: str) -> Record:
    return DataRecord(
        timestamp=STARTED,
        schema="popproxy/1",
        event=EventPart(action="pop3.data"),
        session=RECORDS[0].session,
        side="server",
        raw=text,
        pop3=DataPart(part="content"),
    )


@pytest.mark.parametrize("action", BY_ACTION)
def test_every_kind_of_record_comes_back(action: str) -> None:
    @settings(max_examples=40)
    @given(BY_ACTION[action])
    def check(record: Record) -> None:
        back = jsonl.decode(jsonl.encode(record))
        assert type(back) is type(record)
        assert back == record

    check()


@settings(max_examples=30)
@given(captures)
def test_a_capture_comes_back(capture: list[Record]) -> None:
    writer = jsonl.JsonLinesWriter()
    file = b"".join(map(writer.write, capture)) + writer.end()
    assert list(jsonl.read(file.splitlines(keepends=True))) == capture


def test_encoding_leaves_nothing_behind() -> None:
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1_000):
        jsonl.encode(RECORDS[0])
    gc.collect()
    assert len(gc.get_objects()) - before < 100


@given(records)
def test_p44_one_record_is_one_line_for_every_reader(record: Record) -> None:
    line = jsonl.encode(record)
    assert line.endswith(b"\n")
    text = line[:-1].decode()
    assert text.splitlines() == [text]
    assert not set(text) & set(HARMFUL)


@pytest.mark.parametrize("character", HARMFUL + "\t")
def test_p44_harmful_characters_are_json_escapes(character: str) -> None:
    line = jsonl.encode(content(f"ä{character}邮{character}"))
    assert character.encode() not in line[:-1]
    assert json.loads(line)["raw"] == f"ä{character}邮{character}"


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set[str]().union(*map(keys, value)) if isinstance(value, list) else set()


FIXED_KEYS = {"handshake", "application_data", "alert"}.union(  # types of TLS records
    *(definition.get("properties", {}) for definition in json_schema()["$defs"].values())
)


@given(records)
def test_p44_peer_text_is_never_a_key(record: Record) -> None:
    assert keys(json.loads(jsonl.encode(record))) <= FIXED_KEYS


@given(octets)
def test_p44_the_bytes_of_the_wire_are_recoverable(wire: bytes) -> None:
    record = content("")
    try:
        record = content(wire.decode())
    except UnicodeDecodeError:
        members = {name: getattr(record, name) for name in record.__struct_fields__}
        record = DataRecord(**members | {"raw": None, "raw_b64": wire})
    back = jsonl.decode(jsonl.encode(record))
    assert isinstance(back, WireRecord)
    assert back.wire == wire


def test_clean_text_is_not_touched() -> None:
    assert "Grüße aus 北京 — “schön”".encode() in jsonl.encode(content("Grüße aus 北京 — “schön”"))


def test_members_that_are_not_known_are_passed_over() -> None:
    for line, record in zip(FILE.splitlines(), RECORDS, strict=True):
        later = json.loads(line)
        later["new"] = {"a": [1]}
        for part in list(later):
            if isinstance(later[part], dict):
                later[part]["new"] = "b"
        assert jsonl.decode(json.dumps(later)) == record


def test_another_schema_is_refused_with_advice() -> None:
    line = FILE.splitlines()[0].replace(b"popproxy/1", b"popproxy/2")
    with pytest.raises(FormatError, match=r'^line 7: the schema is "popproxy/2".* later') as caught:
        jsonl.decode(line, 7)
    assert caught.value.line == 7


def test_an_unknown_kind_of_record_is_refused_with_advice() -> None:
    line = FILE.splitlines()[0].replace(b"session.start", b"session.\\u001b[2J")
    with pytest.raises(FormatError, match=r'event.action is "session.\\x1b\[2J".*later'):
        jsonl.decode(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"PASS x", "not JSON"),
        (b'{"schema":', "not JSON"),
        (b"\xff", "not JSON"),
        (b"[1]", "no record"),
        (b"{}", "missing required field `schema`"),
        (b'{"schema":"popproxy/1","event":{"action":"gap"}}', "`@timestamp`"),
        (b'{"schema":"popproxy/1","event":{"action":"gap"},"x":' + b"[" * 100_000, "not JSON"),
        (FILE.splitlines()[1].replace(b'"side":"server"', b'"side":"both"'), r"`\$.side`"),
    ],
)
def test_what_is_no_record_is_an_error_that_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as caught:
        jsonl.decode(line, 3)
    assert caught.value.line == 3


def test_a_torn_last_line_is_told_after_all_the_records_before_it() -> None:
    lines = FILE.splitlines(keepends=True)
    for size in (1, len(lines[-1]) // 2, len(lines[-1]) - 2):
        reader = jsonl.read([*lines[:-1], lines[-1][:size]])
        assert list(islice(reader, len(RECORDS) - 1)) == RECORDS[:-1]
        with pytest.raises(TornError, match="torn") as caught:
            next(reader)
        assert caught.value.line == len(lines)


def test_a_last_line_that_is_whole_needs_no_end() -> None:
    assert list(jsonl.read(FILE[:-1].splitlines(keepends=True))) == RECORDS


def test_reading_can_go_on_behind_an_error() -> None:
    lines = FILE.splitlines(keepends=True)
    lines[2:2] = [b"junk\n", b"\n", b"  \r\n"]
    errors: list[FormatError] = []
    assert list(jsonl.read([*lines, b'{"@time'], on_error=errors.append)) == RECORDS
    assert [(type(error), error.line) for error in errors] == [
        (FormatError, 3),
        (TornError, len(lines) + 1),
    ]


def test_a_byte_order_mark_and_crlf_are_tolerated() -> None:
    file = b"\xef\xbb\xbf" + FILE.replace(b"\n", b"\r\n")
    assert list(jsonl.read(file.splitlines(keepends=True))) == RECORDS


@given(records, st.integers(0, 300), octets)
def test_no_line_whatever_raises_anything_else(record: Record, place: int, junk: bytes) -> None:
    line = jsonl.encode(record)
    file = line[:place] + junk + line[place:]
    errors: list[FormatError] = []
    for back in jsonl.read(file.splitlines(keepends=True), on_error=errors.append):
        jsonl.encode(back)
    assert not any(set(str(error)) & set(HARMFUL) for error in errors)


def test_the_message_of_a_plain_session_is_all_there() -> None:
    pieces = [
        record.wire
        for record in jsonl.read(FILE.splitlines(keepends=True))
        if isinstance(record, DataRecord) and record.pop3.command_seq == 5
    ]
    assert b"".join(pieces[1:]) == MESSAGE
