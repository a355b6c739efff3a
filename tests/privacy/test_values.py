"""Header fields, tables, opaque counts, policies: the small parts."""

from __future__ import annotations

import pickle
import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from popproxy.privacy import Policy
from popproxy.privacy.headers import MAX_VALUE, cited_fields
from popproxy.privacy.opaque import OpaqueSide, TlsRecords
from popproxy.privacy.pseudonyms import Pseudonyms
from popproxy.privacy.tables import (
    MAX_ENTRIES,
    MAX_REMEMBERED,
    MAX_SINGLE,
    Remembered,
    capabilities,
    scan_listings,
    text_of,
    unique_ids,
)
from popproxy.records import Capability, ScanListing, UniqueId

HEADER = b"""Received: from x\r
From: "Bo" <bo@example.org>\r
SUBJECT: =?utf-8?B?w5ZsIA==?= =?iso-8859-1?q?f=FCr?= all\r
To: ada@example.org,\r
 grace@example.org\r
To: second@example.org\r
Date: Sat, 22 Nov 2025 22:37:46 +0000\r
Message-Id : <1@example.org>\r
X-Subject: no\r
\r
Subject: body\r
"""


def test_header_fields_are_unfolded_and_decoded() -> None:
    assert cited_fields(HEADER) == {
        "from": '"Bo" <bo@example.org>',
        "subject": "Öl für all",
        "to": "ada@example.org, grace@example.org",
        "date": "Sat, 22 Nov 2025 22:37:46 +0000",
        "message-id": "<1@example.org>",
    }
    assert cited_fields(HEADER.replace(b"\r\n", b"\n")) == cited_fields(HEADER)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"=?x-unknown?q?abc?=", "=?x-unknown?q?abc?="),
        (b"=?unicode_escape?q?=5Cud800?=", "=?unicode_escape?q?=5Cud800?="),
        (b"=?utf-8?b?w5?=", "=?utf-8?b?w5?="),
        (b"=?utf-7?q?+2AA-?=", "?"),
        (b"=?utf-8?q?=FF?=", "\ufffd"),
        (b"=?hex?q?6162?=", "=?hex?q?6162?="),
        (b"caf\xe9 =?us-ascii?q?x?=", "caf\ufffd x"),
        ("Öl =?us-ascii?q?x?=".encode(), "Öl x"),
        (b"caf\xe9", "caf\ufffd"),
        (b"", ""),
        (b"x" * 5_000, "x" * MAX_VALUE),
    ],
)
def test_odd_values_are_told_as_well_as_can_be(value: bytes, expected: str) -> None:
    found = cited_fields(b"Subject: " + value + b"\r\n")["subject"]
    assert found == expected or (b"w5?" in value and isinstance(found, str))


@given(st.binary(max_size=200))
@example(b"=?utf-8?b?=?=")
def test_p73_any_header_is_read_and_can_be_encoded(value: bytes) -> None:
    msgspec.json.encode(cited_fields(value))
    msgspec.json.encode(cited_fields(b"Subject: =?" + value + b"?="))
    msgspec.json.encode(cited_fields(b"Subject: =?utf-7?q?" + value + b"?="))


def test_tables_are_read_and_odd_lines_passed_over() -> None:
    assert scan_listings(b"1 120\r\n2 x\r\n\r\n3 200 more\r\n") == [
        ScanListing(message=1, octets=120),
        ScanListing(message=3, octets=200),
    ]
    assert unique_ids(b"1 a\xff\r\n2\r\n") == [UniqueId(message=1, unique_id="a\\xff")]
    assert capabilities(b"SASL PLAIN LOGIN\r\n\r\nTOP\r\n") == [
        Capability(tag="SASL", arguments=["PLAIN", "LOGIN"]),
        Capability(tag="TOP"),
    ]
    assert len(scan_listings(b"1 1\n" * (MAX_ENTRIES + 5))) == MAX_ENTRIES
    assert text_of("ä".encode() + b"\xe4") == "ä\\xe4"


def test_what_was_listed_is_remembered_within_bounds() -> None:
    known = Remembered()
    assert known.line(1) is None
    known.replace(b"1 120\r\n2 200\r\n12 5\r\n")
    assert known.line(12) == b"12 5\r"
    assert known.line(1) == b"1 120\r"
    assert known.line(2) == b"2 200\r"
    assert known.line(3) is None
    known.add(3, b"3 7")
    assert known.line(3) == b"3 7"
    for number in range(1_000, 3_000):
        known.add(number, b"%d 1" % number)
    assert known.line(999 + MAX_SINGLE - 1) is not None
    assert known.line(999 + MAX_SINGLE) is None
    known.replace(b"".join(b"%d 1\r\n" % number for number in range(1, 50_000)))
    assert known.line(49_999) is None
    assert known.line(5_000) == b"5000 1\r"
    known.replace(b"1 1\r\n" + b"2 " + b"x" * MAX_REMEMBERED)
    assert known.line(2) is None
    known.add(4, b"4 " + b"x" * 127)
    assert known.line(4) is None
    known.add(4, b"4 " + b"x" * 126)
    assert known.line(4) == b"4 " + b"x" * 126
    assert repr(known) == "<Remembered>"


TLS = b"\x16\x03\x01\x00\x05hello\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03\x00\x03abc" * 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_p18_tls_records_are_counted_by_type(size: int) -> None:
    records = TlsRecords()
    for at in range(0, len(TLS), size):
        records.feed(TLS[at : at + size])
    assert records.types == {"handshake": 1, "change_cipher_spec": 1, "application_data": 2}


@pytest.mark.parametrize(
    "junk", [b"-ERR no\r\n", b"\x16\x02\x00\x00\x01x", b"\x16\x03\x01\xff\xff"]
)
def test_p18_what_is_no_tls_is_counted_once(junk: bytes) -> None:
    records = TlsRecords()
    records.feed(TLS[:10] + junk * 5)
    assert records.types == {"handshake": 1, "other": 1}


def test_p18_opaque_sides_count() -> None:
    side = OpaqueSide(tls=False)
    side.feed(b"abc")
    side.feed(b"de")
    assert (side.octets, side.records) == (5, None)


def test_p18_the_longest_record_of_tls_is_one() -> None:
    records = TlsRecords()
    size = 16_384 + 2_048
    records.feed((b"\x17\x03\x03" + size.to_bytes(2) + bytes(size)) * 2)
    assert records.types == {"application_data": 2}


def test_p12_pseudonyms_are_keyed_and_stable() -> None:
    names = Pseudonyms(b"k" * 32)
    assert re.fullmatch("user-[0-9a-f]{12}", names.of(b"ada"))
    assert names.of(b"ada") == Pseudonyms(b"k" * 32).of(b"ada")
    assert names.of(b"ada") != Pseudonyms(b"l" * 32).of(b"ada")
    assert names.of(b"ada") != names.of(b"Ada")
    assert len({len(names.of(b"a" * size)) for size in (0, 1, 100)}) == 1


def test_p13_keys_are_not_shown() -> None:
    policy = Policy(mask_users=True, pseudonym_key=b"canary-key-canary")
    assert policy.pseudonyms is not None
    for text in (repr(policy), repr(policy.pseudonyms), f"{policy}"):
        assert "canary" not in text
    for secret in (policy, policy.pseudonyms):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(policy)


def test_p12_a_policy_without_a_key_makes_one() -> None:
    first, second = Policy(mask_users=True), Policy(mask_users=True)
    assert first.pseudonyms is not None
    assert second.pseudonyms is not None
    assert first.pseudonyms.of(b"ada") != second.pseudonyms.of(b"ada")
    assert Policy().pseudonyms is None
    assert Policy(body="none", require_log=True).told().require_log
