"""The values inside responses: total functions from bytes to numbers and words.

None means that the text is not of the form; nothing raises, whatever the bytes are. Numbers are
read up to 19 digits, so that a hostile peer cannot make a conversion slow.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from popproxy.pop3.events import Status

_STAT = re.compile(rb"[ \t]*([0-9]{1,19})[ \t]+([0-9]{1,19})(?![^ \t])")
_UNIQUE_ID = re.compile(rb"[ \t]*([0-9]{1,19})[ \t]+([^ \t\r\n]+)[ \t]*")
_LINE_ENDS = rb"(?=\r*(?:\n|\Z))"
_SCAN_LISTINGS = re.compile(
    rb"^[ \t]*([0-9]{1,19})[ \t]+([0-9]{1,19})(?:(?=[ \t])|" + _LINE_ENDS + rb")", re.MULTILINE
)
_UNIQUE_IDS = re.compile(
    rb"^[ \t]*([0-9]{1,19})[ \t]+([^ \t\r\n]+)[ \t]*" + _LINE_ENDS, re.MULTILINE
)
_OCTETS = re.compile(rb"(?<![0-9A-Za-z.])([0-9]{1,19})[ \t]*(?:octets?|bytes?)\b", re.IGNORECASE)
_ONE_NUMBER = re.compile(rb"[ \t]*([0-9]{1,19})[ \t]*")
_CODE = re.compile(rb"\[([\x21-\x2e\x30-\x5c\x5e-\x7e]+(?:/[\x21-\x2e\x30-\x5c\x5e-\x7e]+)*)\]")
_TIMESTAMP = re.compile(rb"<[\x21-\x3b\x3d\x3f-\x7e]+@[\x21-\x3b\x3d\x3f-\x7e]*>")

REGISTERED_CODES = frozenset({b"LOGIN-DELAY", b"IN-USE", b"SYS", b"AUTH", b"UTF8"})
"""First levels of the extended response codes that IANA lists (RFCs 2449, 3206, 6856)."""


class Numbers(NamedTuple):
    """Two numbers of a response.

    Attributes:
        first: A message-number, or STAT's count of messages.
        second: Octets.
    """

    first: int
    second: int


class UniqueIdListing(NamedTuple):
    """A unique-id listing (RFC 1939, section 7)."""

    message: int
    unique_id: bytes


class CapabilityLine(NamedTuple):
    """A line of CAPA (RFC 2449, section 5)."""

    tag: bytes
    arguments: tuple[bytes, ...]


def parse_stat(text: bytes) -> Numbers | None:
    """Read STAT's drop listing (RFC 1939, section 5).

    Args:
        text: The text behind `+OK `.

    Returns:
        Count of messages and octets, or None.
    """
    return _two_numbers(text)


def parse_scan_listing(line: bytes) -> Numbers | None:
    """Read a scan listing, one line of LIST (RFC 1939, section 5).

    Args:
        line: The line, with or without its line end; or the text behind `+OK ` of `LIST n`.

    Returns:
        Message-number and octets, or None.
    """
    return _two_numbers(line.rstrip(b"\r\n"))


def _two_numbers(text: bytes) -> Numbers | None:
    match = _STAT.match(text)
    return Numbers(int(match[1]), int(match[2])) if match else None


def parse_unique_id(line: bytes) -> UniqueIdListing | None:
    """Read a unique-id listing, one line of UIDL (RFC 1939, section 7).

    Args:
        line: The line, with or without its line end; or the text behind `+OK ` of `UIDL n`.

    Returns:
        Message-number and unique-id, or None.
    """
    match = _UNIQUE_ID.fullmatch(line.rstrip(b"\r\n"))
    return UniqueIdListing(int(match[1]), match[2]) if match else None


def scan_listings(table: bytes) -> list[tuple[int, int]]:
    """Read all of LIST's lines at once, as `parse_scan_listing` does one by one.

    Args:
        table: The lines; those that are malformed are passed over.

    Returns:
        Message-numbers and octets.
    """
    return [(int(number), int(size)) for number, size in _SCAN_LISTINGS.findall(table)]


def unique_id_listings(table: bytes) -> list[tuple[int, bytes]]:
    """Read all of UIDL's lines at once, as `parse_unique_id` does one by one.

    Args:
        table: The lines; those that are malformed are passed over.

    Returns:
        Message-numbers and unique-ids.
    """
    return [(int(number), unique_id) for number, unique_id in _UNIQUE_IDS.findall(table)]


def parse_capability(line: bytes) -> CapabilityLine | None:
    """Read one line of CAPA (RFC 2449, section 5).

    Args:
        line: The line, with or without its line end.

    Returns:
        Tag and arguments as sent, or None for an empty line.
    """
    tag, *arguments = line.split() or [b""]
    return CapabilityLine(tag, tuple(arguments)) if tag else None


def announced_octets(text: bytes) -> int | None:
    """Find the size that a RETR's status line announces, as in `2859 octets`.

    RFC 1939 gives the form in its example only, so other words around the number are allowed.

    Args:
        text: The text behind `+OK `.

    Returns:
        Octets, or None if none are announced.
    """
    match = _OCTETS.search(text) or _ONE_NUMBER.fullmatch(text)
    return int(match[1]) if match else None


def response_code(text: bytes, status: Status) -> bytes | None:
    """Find the extended response code (RFC 2449, section 8).

    In a positive response or a greeting only registered codes count: `[XCLIENT]`, `[1.1.1.1]` and
    the like are met there and mean something else.

    Args:
        text: The text behind the status indicator and one blank.
        status: The status indicator.

    Returns:
        The code without its brackets, as sent, or None.
    """
    if not text.startswith(b"["):
        return None
    match = _CODE.match(text)
    if match is None:
        return None
    code = match[1]
    if status is Status.ERR or code.split(b"/")[0].upper() in REGISTERED_CODES:
        return code
    return None


def apop_timestamp(text: bytes) -> bytes | None:
    """Find the APOP timestamp in a greeting (RFC 1939, section 7), wherever it stands.

    Args:
        text: The text behind `+OK `.

    Returns:
        The timestamp, angle brackets included, or None.
    """
    match = _TIMESTAMP.search(text)
    return match[0] if match else None


class StatusLine(NamedTuple):
    """A server line, taken apart.

    Attributes:
        status: Its status indicator.
        text: What follows the indicator and one blank; the whole line if there is no indicator.
    """

    status: Status
    text: bytes


def parse_status(line: bytes) -> StatusLine:
    """Take a server line apart (RFC 1939, section 3); any bytes are a line.

    Args:
        line: The line without its line end.

    Returns:
        Its status indicator and its text.
    """
    if line.startswith(b"+OK"):
        status, size = Status.OK, 3
    elif line.startswith(b"-ERR"):
        status, size = Status.ERR, 4
    elif not line.startswith((b"+", b"-")):
        if line[:3].upper() != b"ERR":
            return StatusLine(Status.NONE, line)
        status, size = Status.OTHER_NEGATIVE, 3
    elif line[:3].upper() == b"+OK":
        status, size = Status.OK, 3
    elif line[:4].upper() == b"-ERR":
        status, size = Status.ERR, 4
    elif line[:1] == b"-":
        return StatusLine(Status.OTHER_NEGATIVE, line[1:])
    elif line[1:2] in (b"", b" ", b"\t"):
        return StatusLine(Status.CHALLENGE, line[2:])
    else:
        return StatusLine(Status.OTHER_POSITIVE, line[1:])
    behind = line[size : size + 1]
    if behind == b" " or behind == b"\t":
        return StatusLine(status, line[size + 1 :])
    if behind.isalnum():  # `+OKAY`, `ERROR`: another word that begins like an indicator
        if status is Status.OTHER_NEGATIVE:
            return StatusLine(Status.OTHER_NEGATIVE, line)
        other = Status.OTHER_POSITIVE if status is Status.OK else Status.OTHER_NEGATIVE
        return StatusLine(other, line[1:])
    return StatusLine(status, line[size:])
