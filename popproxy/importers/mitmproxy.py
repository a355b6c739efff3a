"""mitmproxy's flow files (`mitmdump -w`): TCP flows, each with its messages.

A flow is one tnetstring, `SIZE:DATA` and a letter for the type: a dictionary with the connection's
ends and a list of messages (who, octets, when). mitmproxy writes a flow when its connection has
ended, so connections do not mix.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from popproxy.importers.source import Begin, Finish, Item, LogError, Piece
from popproxy.pop3 import Side
from popproxy.records import Endpoint

FLOW_MOST: Final = 256 * 1024 * 1024
"""Octets of a flow, which is read as a whole."""

_DIGITS: Final = 12
_DEPTH: Final = 32
_COUNT: Final = 1_000_000
_LATEST: Final = 250_000_000_000

Value = bytes | str | int | float | bool | list["Value"] | dict[str, "Value"] | None


def is_mitmproxy(start: bytes) -> bool:
    """Tell a flow file of mitmproxy."""
    size, colon, data = start[: 1024 * 64].partition(b":")
    return bool(colon) and size.isdigit() and len(size) <= _DIGITS and b"4:type;" in data


def read_mitmproxy(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read a flow file of mitmproxy; flows that are not of TCP are passed over.

    Raises:
        LogError: The file is damaged; what came before has been given.
    """
    number = 0
    while (data := _next(file)) is not None:
        flow = _parse(data)
        if not isinstance(flow, dict) or flow.get("type") != "tcp":
            continue
        number += 1
        yield from _flow(flow, number)


def _next(file: IO[bytes]) -> bytes | None:
    """Read the data of the next flow."""
    digits = b""
    while (octet := file.read(1)) != b":":
        if not octet and not digits.strip():
            return None
        digits += octet
        if not octet or not digits.isdigit() or len(digits) > _DIGITS:
            raise LogError("the file is damaged, or its end was cut off")
    size = int(digits or b"0")
    if size > FLOW_MOST:
        raise LogError(f"a flow has {size} octets, which is more than can be read")
    data = file.read(size + 1)
    if len(data) <= size or data[-1:] != b"}":
        raise LogError("the last flow is not whole: the file's end was cut off")
    return data[:-1]


def _parse(data: bytes) -> Value:
    """Read the content of a flow."""
    left = [_COUNT]
    try:
        return _dictionary(data, _DEPTH, left)
    except (ValueError, UnicodeDecodeError, IndexError) as error:
        raise LogError("a flow is damaged: it is not written as mitmproxy does") from error


def _value(data: bytes, place: int, depth: int, left: list[int]) -> tuple[Value, int]:
    """Read the value at a place; give it, and the place behind it."""
    left[0] -= 1
    colon = data.index(b":", place, place + _DIGITS + 1)
    start = colon + 1
    end = start + int(data[place:colon])
    kind = data[end : end + 1]
    if not kind or depth <= 0 or left[0] <= 0:
        raise ValueError
    return _typed(data[start:end], kind, depth - 1, left), end + 1


def _typed(text: bytes, kind: bytes, depth: int, left: list[int]) -> Value:
    match kind:
        case b",":
            return text
        case b";":
            return text.decode()
        case b"#":
            return int(text[:32])
        case b"^":
            return float(text)
        case b"!":
            return text == b"true"
        case b"~":
            return None
        case b"]":
            made: list[Value] = []
            place = 0
            while place < len(text):
                value, place = _value(text, place, depth, left)
                made.append(value)
            return made
        case b"}":
            return _dictionary(text, depth, left)
        case _:
            raise ValueError


def _dictionary(text: bytes, depth: int, left: list[int]) -> dict[str, Value]:
    made: dict[str, Value] = {}
    place = 0
    while place < len(text):
        key, place = _value(text, place, depth, left)
        value, place = _value(text, place, depth, left)
        made[key.decode() if isinstance(key, bytes) else str(key)] = value
    return made


def _flow(flow: dict[str, Value], number: int) -> Iterator[Item]:
    client, server = flow.get("client_conn"), flow.get("server_conn")
    begun = _time(client.get("timestamp_start")) if isinstance(client, dict) else None
    yield Begin(stream=number, at=begun, client=_endpoint(client), server=_endpoint(server))
    messages = flow.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, list) or len(message) < 3:
            continue
        from_client, content, at = message[:3]
        if isinstance(content, bytes) and content:
            side = Side.CLIENT if from_client is True else Side.SERVER
            yield Piece(side=side, data=content, stream=number, at=_time(at))
    ended = _time(server.get("timestamp_end")) if isinstance(server, dict) else None
    yield Finish(stream=number, at=ended, reason="closed" if ended else "log-ended")


def _time(value: Value) -> datetime | None:
    if not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        return None
    return datetime.fromtimestamp(value, UTC)


def _endpoint(connection: Value) -> Endpoint | None:
    if not isinstance(connection, dict):
        return None
    for name in ("peername", "address", "ip_address"):
        end = connection.get(name)
        if isinstance(end, list) and len(end) >= 2:
            host, port = end[0], end[1]
            host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
            if isinstance(host, str) and isinstance(port, int) and 0 <= port <= 65_535:
                return Endpoint(address=host[:255], port=port)
    return None
