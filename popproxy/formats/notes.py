"""Notes: a record's members in one line of `key=value`, for the text transcript.

    pop3.response command=RETR arguments="1" lines=54 octets=2859 message.subject="Test 1"

A note begins with the record's `event.action`. A key is the member's path in JSON without the name
of the record's main part (`lines` is `pop3.lines`). A value is a bare word or JSON; `-` says that
the member is absent although the lines above the note suggest it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from popproxy.formats.errors import FormatError, quoted, shown
from popproxy.formats.jsonl import check_kind, escape
from popproxy.records import RECORD_TYPES, SCHEMA, Record


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "-"


ABSENT: Final = Absent.ABSENT
"""In the place of a value: the member is not there."""

Members = dict[str, Any]
"""Plain values (as JSON has them) by key."""

_MAIN_PARTS = ("pop3", "auth", "tls", "rewrite", "finding", "gap", "summary")
_TABLES = frozenset({"record_types"})  # objects whose members are values, not fixed names
_ENDPOINTS = ("client", "server", "listener", "via", "destination")

_BARE = re.compile(r"[A-Za-z0-9+./-][A-Za-z0-9+./:@_-]*")
_NOT_BARE = re.compile(r"-?[0-9]+|true|false|null|-")
_MEMBER = re.compile(r'([a-z0-9_.]+)=((?:"(?:[^"\\]|\\.)*"|[^\s"])+)(?:\s+|\Z)')
_ACTION = re.compile(r"([a-z0-9.]+)(?:\s+|\Z)")


def members_of(record: Record) -> Members:
    """Take a record apart.

    Args:
        record: Any record.

    Returns:
        Its members that differ from their defaults, but for the timestamp, the schema and
        `event.action`.
    """
    members: Members = {}
    plain = msgspec.to_builtins(record)
    del plain["@timestamp"], plain["schema"], plain["event"]["action"]
    for name in _ENDPOINTS:
        if isinstance(endpoint := plain.get(name), dict):
            address = endpoint["address"]
            plain[name] = f"[{address}]" if ":" in address else address
            plain[name] += f":{endpoint['port']}"
    for name, value in plain.items():
        if not isinstance(value, dict):
            members[name] = value
            continue
        prefix = "" if name in _MAIN_PARTS else f"{name}."
        for inner, item in value.items():
            if isinstance(item, dict) and inner not in _TABLES:
                members |= {f"{prefix}{inner}.{last}": leaf for last, leaf in item.items()}
            else:
                members[prefix + inner] = item
    return members


def record_of(action: str, members: Mapping[str, Any], timestamp: object, line: int) -> Record:
    """Put a record together: the inverse of `members_of`.

    Args:
        action: Its `event.action`.
        members: Its members.
        timestamp: Its time.
        line: Where it stands in the file, for the message of an error.

    Raises:
        FormatError: There is no such kind of record, or the members do not fit it.
    """
    kind = RECORD_TYPES[check_kind(SCHEMA, action, line)]
    names = kind.__struct_encode_fields__
    main = next((name for name in _MAIN_PARTS if name in names), "")
    plain: dict[str, Any] = {"@timestamp": timestamp, "schema": SCHEMA, "event": {"action": action}}
    for key, value in members.items():
        path = key.split(".")
        if path[0] not in names:
            path.insert(0, main)
        elif key in _ENDPOINTS and isinstance(value, str):
            value = _endpoint(value)
        inner = plain
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise FormatError(f"{quoted(key)} does not fit the other members", line)
        inner[path[-1]] = value
    try:
        record: Record = msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise FormatError(
            f"this does not make a record: {shown(str(error))}. Check whether the file was changed",
            line,
        ) from None
    return record


def _endpoint(text: str) -> dict[str, Any]:
    """Read `address:port` or `[address]:port`."""
    address, _, port = text.rpartition(":")
    if ":" in address:
        address = address.removeprefix("[").removesuffix("]")
    return {"address": address, "port": int(port) if port.isdecimal() else port}


def write_note(action: str, members: Mapping[str, Any]) -> str:
    """Write a note.

    Args:
        action: The record's `event.action`.
        members: What the note is to say, `ABSENT` among the values.

    Returns:
        One line without its end, free of control characters.
    """
    return " ".join([action, *(f"{key}={write_value(value)}" for key, value in members.items())])


def write_value(value: Any) -> str:
    """Write one value, as a bare word if it can be one, else as JSON."""
    if value is ABSENT:
        return "-"
    if isinstance(value, str) and _BARE.fullmatch(value) and not _NOT_BARE.fullmatch(value):
        return value
    encoded: bytes = escape(msgspec.json.encode(value))
    return encoded.decode()


def read_note(note: str, line: int) -> tuple[str, Members]:
    """Read a note: the inverse of `write_note`.

    Args:
        note: The note, without what stands before its action.
        line: Where it stands in the file, for the message of an error.

    Returns:
        The action and the members.

    Raises:
        FormatError: It is no note.
    """
    action = _ACTION.match(note)
    if not action:
        raise FormatError(f"a note begins with the kind of its record, not {quoted(note)}", line)
    members: Members = {}
    position = action.end()
    while position < len(note):
        member = _MEMBER.match(note, position)
        if not member:
            raise FormatError(f"a note goes on with key=value, not {quoted(note[position:])}", line)
        try:
            members[member[1]] = read_value(member[2])
        except ValueError:
            raise FormatError(f"{quoted(member[2])} is no value", line) from None
        position = member.end()
    return action[1], members


def read_value(text: str) -> Any:
    """Read one value: the inverse of `write_value`.

    Raises:
        ValueError: It begins as JSON and is none.
    """
    if text == "-":
        return ABSENT
    if text[0] not in '"[{' and not _NOT_BARE.fullmatch(text):
        return text
    try:
        return msgspec.json.decode(text)  # its DecodeError is a ValueError
    except RecursionError:
        raise ValueError("not JSON") from None
