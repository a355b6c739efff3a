"""Values of responses, read from their masked text, and what of them is needed later."""

from __future__ import annotations

from popproxy.pop3 import values
from popproxy.records import Capability, ScanListing, UniqueId

MAX_TABLE = 262_144
"""Octets of a response that are parsed as a table."""

MAX_ENTRIES = 10_000
"""Entries of a table that a record holds."""

MAX_SINGLE = 256
"""Lines from `LIST n`, and as many from `UIDL n`, that are remembered besides."""

_MAX_LINE = 128

MAX_REMEMBERED = 65_536
"""Octets of LIST, and as many of UIDL, that are remembered to say more about a message."""


def text_of(octets: bytes) -> str:
    r"""Give octets of a peer as text; what is not UTF-8 stands as `\x..`."""
    return octets.decode(errors="backslashreplace")


def scan_listings(table: bytes) -> list[ScanListing]:
    """Read LIST's lines (RFC 1939, section 5); those that are malformed are passed over."""
    found = values.scan_listings(_first_lines(table))
    return [ScanListing(message=number, octets=octets) for number, octets in found]


def unique_ids(table: bytes) -> list[UniqueId]:
    """Read UIDL's lines (RFC 1939, section 7); those that are malformed are passed over."""
    found = values.unique_id_listings(_first_lines(table))
    return [UniqueId(message=number, unique_id=text_of(each)) for number, each in found]


def capabilities(table: bytes) -> list[Capability]:
    """Read the lines of CAPA (RFC 2449, section 5), of a bare AUTH, or of LANG."""
    found = map(values.parse_capability, _first_lines(table).split(b"\n"))
    return [
        Capability(tag=text_of(each.tag), arguments=[text_of(one) for one in each.arguments])
        for each in found
        if each
    ]


def _first_lines(table: bytes) -> bytes:
    if table.count(b"\n") < MAX_ENTRIES:
        return table
    return b"\n".join(table.split(b"\n", MAX_ENTRIES)[:MAX_ENTRIES])


class Remembered:
    """Lines of LIST or UIDL, found again by message-number.

    They are kept as text: a thousand entries take 20 KiB instead of 200. The search goes on where
    the last one ended, since clients fetch in order.
    """

    __slots__ = ("_at", "_single", "_text")

    def __init__(self) -> None:
        self._text = b""
        self._at = 0
        self._single: dict[int, bytes] = {}

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Remembered>"

    def replace(self, table: bytes) -> None:
        """Remember a whole table instead of what was known.

        Args:
            table: Lines that begin with a message-number.
        """
        self._text, self._at = (b"\n" + table)[:MAX_REMEMBERED], 0
        self._single.clear()

    def add(self, number: int, line: bytes) -> None:
        """Remember a single line, too, if there is room.

        Args:
            number: The message-number that it begins with.
            line: The line.
        """
        if len(self._single) < MAX_SINGLE and len(line) <= _MAX_LINE:
            self._single[number] = line

    def line(self, number: int) -> bytes | None:
        """Give what is known of a message.

        Args:
            number: Its message-number.

        Returns:
            Its line, or None.
        """
        single = self._single.get(number)
        if single is not None:
            return single
        key = b"\n%d " % number
        at = self._text.find(key, self._at)
        if at < 0:
            at = self._text.find(key)
            if at < 0:
                return None
        self._at = at
        end = self._text.find(b"\n", at + 1)
        return self._text[at + 1 : end] if end >= 0 else None
