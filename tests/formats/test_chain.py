"""The running hash of JSON lines."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.formats.chain import START, State, behind, follows, link_of, seal
from popproxy.formats.file_lines import decode, json_schema
from popproxy.formats.jsonl import is_about_file
from popproxy.formats.sealing import Sealing
from tests.support.chained import WHEN, record


def test_the_hash_is_what_the_manual_says_it_is() -> None:
    first, second = b'{"a":1}\n', b'{"b":"\xc3\xa4"}\n'
    one, sealed_one = seal(START, first)
    _, sealed_two = seal(one, second)
    h1 = hashlib.sha256(bytes(32) + b'{"a":1')
    h2 = hashlib.sha256(h1.digest() + b'{"b":"\xc3\xa4"')
    assert sealed_one == b'{"a":1,"chain":{"n":1,"sha256":"%b"}}\n' % h1.hexdigest().encode()
    assert json.loads(sealed_two)["chain"] == {"n": 2, "sha256": h2.hexdigest()}


@given(
    texts=st.lists(st.text(), min_size=1, max_size=8),
    place=st.integers(min_value=0),
    octet=st.integers(0, 255),
)
def test_any_octet_that_changes_breaks_the_chain(texts: list[str], place: int, octet: int) -> None:
    state, data = START, b""
    for text in texts:
        line = json.dumps({"text": text, "chain": f',"chain":{text}'}, ensure_ascii=False)
        state, sealed = seal(state, line.encode("utf-8", "surrogatepass") + b"\n")
        data += sealed
    assert _followed(data) == state
    place %= len(data)
    changed = data[:place] + bytes([octet]) + data[place + 1 :]
    assert (_followed(changed) == state) == (changed == data)


def _followed(data: bytes) -> State | None:
    state = START
    for line in data.split(b"\n")[:-1]:
        following = follows(state, line + b"\n")
        if following is None:
            return None
        state = following
    return state if data.endswith(b"\n") else None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b'{"a":1,"chain":{"n":0,"sha256":"%b"}}\n' % (b"0" * 64),
        b'{"a":1,"chain":{"n":1,"sha256":"%b"}}\n' % (b"0" * 63),
        b'{"a":1,"chain":{"n":1,"sha256":"%b"},"b":2}\n' % (b"0" * 64),
        b'{"a":1,"chain":{"n":%b,"sha256":"%b"}}\n' % (b"9" * 40, b"0" * 64),
    ],
)
def test_a_line_without_a_link_has_none(line: bytes) -> None:
    assert link_of(line) is None
    assert follows(START, line) is None


def test_what_stands_in_a_line_is_hashed_whatever_its_link_says() -> None:
    state, sealed = seal(START, record(1))
    lying = sealed.replace(b'"n":1,', b'"n":7,')
    assert follows(START, lying) is None
    assert behind(START, lying) == state


@pytest.mark.parametrize("line", [b"", b"{}", b'{"a":1}', b"[]\n", b'{"a":1}\r\n'])
def test_only_whole_objects_are_sealed(line: bytes) -> None:
    with pytest.raises(ValueError, match="JSON object"):
        seal(START, line)


def test_lines_about_the_file_are_told_from_records() -> None:
    sealing = Sealing("a1", 3, "x.jsonl")
    first = sealing.start(WHEN, "9.9", None, continues=True)
    assert is_about_file(first)
    assert not is_about_file(sealing.record(record(1)))
    line = decode(first)
    assert line is not None
    assert (line.file.series, line.file.number, line.file.name) == ("a1", 3, "x.jsonl")
    assert not line.file.continues, "there is nothing to go on from"


def test_the_schema_knows_every_line() -> None:
    schema = json_schema()
    names = {line["$ref"].rpartition("/")[2] for line in schema["anyOf"]}
    assert "FileLine" in names
    for name in names:
        assert "chain" in schema["$defs"][name]["properties"], name
