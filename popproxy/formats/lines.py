"""What single lines of the masked conversation tell, in the members of records.

Only `popproxy.formats.expectation` uses this, to leave out of notes what the lines above them say
already. Formats know nothing of `popproxy.pop3`, which reads the wire; a disagreement between the
two makes a note longer, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from popproxy.formats.notes import Members
from popproxy.records import MASK

_NUMBERED = frozenset({"LIST", "UIDL", "RETR", "TOP", "DELE"})

_NUMBER = re.compile(r"[0-9]{1,18}(?![^ ])")
_TWO_NUMBERS = re.compile(r"([0-9]{1,18}) ([0-9]{1,18})(?![^ ])")
_CODE = re.compile(r"\[([^\[\]\s]+)\]")
_TIMESTAMP = re.compile(r"<[^<>\s]+@[^<>\s]*>")

Table = list[dict[str, Any]]


def line_of(wire: bytes) -> str:
    """Give a line's text without its end."""
    return wire.decode(errors="backslashreplace").removesuffix("\n").removesuffix("\r")


def status_line(line: str) -> Members:
    """Read a status line (RFC 1939, section 3)."""
    status, _, text = line.partition(" ")
    if status not in ("+OK", "-ERR"):
        return {"status": "none", "text": line}
    members: Members = {"status": status, "text": text}
    if status == "-ERR" and (code := _CODE.match(text)):
        members["code"] = code[1]
    return members


def greeting(line: str) -> Members:
    """Read a greeting (RFC 1939, sections 4 and 7)."""
    members = status_line(line)
    if _TIMESTAMP.search(line):
        members["apop_timestamp"] = True
    return members


def command_line(line: str) -> Members:
    """Read a command line (RFC 1939, section 3)."""
    keyword, blank, arguments = line.partition(" ")
    members: Members = {"command": keyword.upper()}
    if blank:
        members["arguments"] = arguments
    if members["command"] in _NUMBERED and (number := _NUMBER.match(arguments)):
        members["message_number"] = int(number[0])
    return members


def masked_fields(action: str, members: Members) -> list[str]:
    """Name the fields of a record in whose text the mask stands."""
    suspects = {"pop3.command": ("command", "arguments")}.get(action, ("text",))
    return ["raw", *(f"pop3.{name}" for name in suspects if MASK in members.get(name, ""))]


def _scan_listings(lines: Sequence[str]) -> Table:
    found = [numbers for line in lines if (numbers := _TWO_NUMBERS.match(line))]
    return [{"message": int(numbers[1]), "octets": int(numbers[2])} for numbers in found]


def _unique_ids(lines: Sequence[str]) -> Table:
    split = [line.split(" ") for line in lines]
    return [
        {"message": int(words[0]), "unique_id": words[1]}
        for words in split
        if len(words) == 2 and _NUMBER.fullmatch(words[0])
    ]


def _capabilities(lines: Sequence[str]) -> Table:
    split = [line.split() for line in lines if line.strip()]
    return [
        {"tag": words[0], "arguments": words[1:]} if words[1:] else {"tag": words[0]}
        for words in split
    ]


_TABLES: Final[dict[str, tuple[str, Callable[[Sequence[str]], Table]]]] = {
    "LIST": ("listing", _scan_listings),
    "UIDL": ("unique_ids", _unique_ids),
    "CAPA": ("capabilities", _capabilities),
    "AUTH": ("capabilities", _capabilities),
    "LANG": ("capabilities", _capabilities),
}
TABLES: Final = frozenset(_TABLES)
"""The commands whose multi-line response is a table."""


def table(command: str, content: bytes) -> Members:
    """Read the table that a multi-line response brought.

    Args:
        command: One of `TABLES`.
        content: All of its content, without the termination octet.
    """
    member, read = _TABLES[command]
    text = content.decode(errors="backslashreplace").removesuffix("\n")
    return {member: read([line.removesuffix("\r") for line in text.split("\n")])}


def values(command: str, text: str) -> Members:
    """Read the values in a positive response of one line.

    Args:
        command: The command that it answers.
        text: What follows the status indicator.
    """
    if command == "STAT" and (numbers := _TWO_NUMBERS.match(text)):
        return {"stat.messages": int(numbers[1]), "stat.octets": int(numbers[2])}
    if command in ("LIST", "UIDL"):
        member, read = _TABLES[command]
        return {member: rows} if (rows := read([text])) else {}
    return {}
