"""Values inside responses; every function is total."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.pop3 import Status
from popproxy.pop3.values import (
    announced_octets,
    apop_timestamp,
    parse_capability,
    parse_scan_listing,
    parse_stat,
    parse_status,
    parse_unique_id,
    response_code,
    scan_listings,
    unique_id_listings,
)


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        (b"+OK", Status.OK, b""),
        (b"+OK ", Status.OK, b""),
        (b"+OK  two", Status.OK, b" two"),
        (b"+OK\ttab", Status.OK, b"tab"),
        (b"+ok low", Status.OK, b"low"),
        (b"+OK.", Status.OK, b"."),
        (b"+OKAY", Status.OTHER_POSITIVE, b"OKAY"),
        (b"+SUCCESS yes", Status.OTHER_POSITIVE, b"SUCCESS yes"),
        (b"+", Status.CHALLENGE, b""),
        (b"+ ", Status.CHALLENGE, b""),
        (b"+ Zm9v", Status.CHALLENGE, b"Zm9v"),
        (b"+\tZm9v", Status.CHALLENGE, b"Zm9v"),
        (b"-ERR", Status.ERR, b""),
        (b"-ERR no", Status.ERR, b"no"),
        (b"-err no", Status.ERR, b"no"),
        (b"-ERROR no", Status.OTHER_NEGATIVE, b"ERROR no"),
        (b"-", Status.OTHER_NEGATIVE, b""),
        (b"-NO", Status.OTHER_NEGATIVE, b"NO"),
        (b"ERR no", Status.OTHER_NEGATIVE, b"no"),
        (b"ERROR no", Status.OTHER_NEGATIVE, b"ERROR no"),
        (b"err", Status.OTHER_NEGATIVE, b""),
        (b"", Status.NONE, b""),
        (b"220 smtp", Status.NONE, b"220 smtp"),
        (b"OK", Status.NONE, b"OK"),
    ],
)
def test_parse_status(line: bytes, status: Status, text: bytes) -> None:
    assert parse_status(line) == (status, text)


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        (b"[SYS/TEMP] x", Status.ERR, b"SYS/TEMP"),
        (b"[in-use] x", Status.ERR, b"in-use"),
        (b"[in-use] x", Status.OK, b"in-use"),
        (b"[WHATEVER/SUB/LEVEL]", Status.ERR, b"WHATEVER/SUB/LEVEL"),
        (b"[XCLIENT] Dovecot ready.", Status.OK, None),
        (b"[1.1.1.1] hello", Status.OK, None),
        (b"[base64==]", Status.OK, None),
        (b"[] x", Status.ERR, None),
        (b"[two words] x", Status.ERR, None),
        (b"[unclosed", Status.ERR, None),
        (b"x [AUTH]", Status.ERR, None),
        (b"[SYS//TEMP]", Status.ERR, None),
        (b"[/TEMP]", Status.ERR, None),
        (b"[SYS/]", Status.ERR, None),
        (b"", Status.ERR, None),
    ],
)
def test_response_code(text: bytes, status: Status, code: bytes | None) -> None:
    assert response_code(text, status) == code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"2 5718", (2, 5718)), (b" 2  5718 ", (2, 5718)), (b"2 5718 octets", (2, 5718)),
        (b"2\t5718", (2, 5718)), (b"0 0", (0, 0)), (b"2", None), (b"", None), (b"a 1", None),
        (b"2 57a", None), (b"-1 3", None), (b"2 messages (5718 octets)", None),
        (b"1 " + b"9" * 19, (1, 10**19 - 1)), (b"1 " + b"9" * 20, None), (b"9" * 5000, None),
        (b"\xd9\xa1 2", None),
    ],
)  # fmt: skip
def test_parse_stat_and_scan_listing(text: bytes, expected: tuple[int, int] | None) -> None:
    assert parse_stat(text) == expected
    assert parse_scan_listing(text + b"\r\n") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1 whqtswO00WBw418f9t5JxYwZ\r\n", (1, b"whqtswO00WBw418f9t5JxYwZ")),
        (b"2 QhdPYR:00WBw1Ph7x7\n", (2, b"QhdPYR:00WBw1Ph7x7")),
        (b"3 \xff\xfe ", (3, b"\xff\xfe")),
        (b"3", None), (b"x y", None), (b"1 two words", None), (b"", None),
    ],
)  # fmt: skip
def test_parse_unique_id(line: bytes, expected: tuple[int, bytes] | None) -> None:
    assert parse_unique_id(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"SASL PLAIN LOGIN\r\n", (b"SASL", (b"PLAIN", b"LOGIN"))),
        (b"TOP\n", (b"TOP", ())),
        (b"EXPIRE 31 USER", (b"EXPIRE", (b"31", b"USER"))),
        (b"EXPIRENEVER", (b"EXPIRENEVER", ())),
        (b"\r\n", None), (b"", None), (b"  ", None),
    ],
)  # fmt: skip
def test_parse_capability(line: bytes, expected: tuple[bytes, tuple[bytes, ...]] | None) -> None:
    assert parse_capability(line) == expected


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (b"2859 octets", 2859), (b"message follows (2859 octets)", 2859), (b"2859", 2859),
        (b"2859 bytes", 2859), (b"4096 octets wire=4117 crc=12345678", 4096), (b"1 octet", 1),
        (b"2859Octets", 2859), (b"message 3", None), (b"", None), (b"a2859 octets", None),
        (b"1.5 octets", None), (b"9" * 20, None), (b"octets", None),
    ],
)  # fmt: skip
def test_announced_octets(text: bytes, octets: int | None) -> None:
    assert announced_octets(text) == octets


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        (b"ready <1896.697170952@dbc.mtview.ca.us>", b"<1896.697170952@dbc.mtview.ca.us>"),
        (b"<a@b> behind it", b"<a@b>"), (b"<a@>", b"<a@>"), (b"(null)", None), (b"<a b@c>", None),
        (b"<nothing>", None), (b"<a<b@c>", b"<b@c>"), (b"", None),
    ],
)  # fmt: skip
def test_apop_timestamp(text: bytes, timestamp: bytes | None) -> None:
    assert apop_timestamp(text) == timestamp


@given(st.binary(max_size=80), st.sampled_from(Status))
def test_all_are_total_p76(text: bytes, status: Status) -> None:
    parse_stat(text)
    parse_scan_listing(text)
    parse_unique_id(text)
    parse_capability(text)
    announced_octets(text)
    apop_timestamp(text)
    code = response_code(text, status)
    assert code is None or b"[" + code + b"]" in text
    assert parse_status(text).text in text


LISTED = st.text("019 \t\r\nab.", max_size=120).map(str.encode)


@given(LISTED)
def test_a_table_read_at_once_is_its_lines_read_one_by_one(table: bytes) -> None:
    lines = table.split(b"\n")
    assert scan_listings(table) == [found for line in lines if (found := parse_scan_listing(line))]
    assert unique_id_listings(table) == [one for line in lines if (one := parse_unique_id(line))]


def test_a_table_of_numbers_that_are_too_long_has_no_lines() -> None:
    assert scan_listings(b"1 " + b"9" * 20 + b"\r\n" + b"9" * 20 + b" 1\r\n3 4\r\n") == [(3, 4)]
