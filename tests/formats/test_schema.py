"""The published JSON Schema and what is written must agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from popproxy.formats import jsonl
from popproxy.records import Record, json_schema
from tests.support.capture import plain_session
from tests.support.records import BY_ACTION

VALIDATOR = Draft202012Validator(json_schema())


def test_it_is_a_valid_schema_of_draft_2020_12() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("action", BY_ACTION)
def test_it_accepts_every_kind_of_record(action: str) -> None:
    @settings(max_examples=40)
    @given(BY_ACTION[action])
    def check(record: Record) -> None:
        assert VALIDATOR.is_valid(json.loads(jsonl.encode(record)))

    check()


def test_it_refuses_what_is_no_record() -> None:
    for line in map(jsonl.encode, plain_session().records):
        record = json.loads(line)
        assert VALIDATOR.is_valid(record)
        assert not VALIDATOR.is_valid(record | {"schema": "popproxy/2"})
        assert not VALIDATOR.is_valid(record | {"session": {"id": "a"}})
        del record["@timestamp"]
        assert not VALIDATOR.is_valid(record)
