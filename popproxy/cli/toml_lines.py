"""On which line of a TOML text each key stands.

tomllib gives values without their places, and a person who is told that a value is wrong wants to
know where. This reads a text that tomllib has already accepted, so it need not be strict: it finds
the table headers and the keys of each statement, and steps over values. A key inside an inline
table is not found by itself; the statement's own key is near enough.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]
"""Keys and, in arrays of tables, indices from 0: `("route", 1, "listen")`."""

_HEADER = re.compile(r"[ \t]*(\[\[?)([^\]\n]+)\]\]?[ \t]*(?:#[^\n]*)?")
_KEY = re.compile(r"""[ \t]*((?:[\w-]+|"[^"\n]*"|'[^'\n]*'|[ \t]*\.[ \t]*)+)[ \t]*=""")
_VALUE_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""|'  # the order matters: long quotes before short ones
    r"'''.*?'''|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'|"
    r"\#[^\n]*|"
    r"(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)",
    re.DOTALL,
)


def _keys(dotted: str) -> tuple[str, ...]:
    """Split a dotted key by letting tomllib read it."""
    value: object = tomllib.loads(f"{dotted} = 0")
    keys: list[str] = []
    while isinstance(value, dict):
        ((key, value),) = value.items()
        keys.append(key)
    return tuple(keys)


def _after_value(text: str, position: int) -> int:
    """Give the position behind the statement whose value starts at `position`."""
    depth = 0
    for token in _VALUE_TOKEN.finditer(text, position):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token["end"] and depth == 0:
            return token.end()
    return len(text)


def line_numbers(text: str) -> dict[Path, int]:
    """Find the line of every table and key.

    Args:
        text: TOML that tomllib accepts.

    Returns:
        Line numbers, from 1, by path.
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    position = counted = 0
    line = 1
    while position < len(text):
        line += text.count("\n", counted, position)
        counted = position
        if header := _HEADER.match(text, position):
            table = ()
            keys = _keys(header[2])
            for depth, key in enumerate(keys, start=1):
                table = (*table, key)
                if depth == len(keys) and header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = (*table, counts[table])
            lines.setdefault(table, line)
            position = _after_value(text, header.end())
        elif statement := _KEY.match(text, position):
            path = (*table, *_keys(statement[1]))
            for depth in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:depth], line)
            position = _after_value(text, statement.end())
        else:
            position = _after_value(text, position)
    return lines
