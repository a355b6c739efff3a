"""The tree that a filter is, and what it says of an exchange.

A comparison is true if any value of its field fits; `!=` is true if the field has a value and none
fits; a field alone is true if it has a value. `str` of a tree is a filter that parses to the same
tree.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from popproxy.tools.filter_fields import Field, Seen, Value

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "contains", "matches", "in"]

ORDER: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SECONDS: Final = re.compile(r"([0-9]*\.?[0-9]+)\s*(us|ms|s|min)?")
_UNITS: Final = {None: 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_NUMBER: Final = re.compile(r"[0-9][0-9,_]*(?:\.[0-9]+)?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Has:
    """The field has a value."""

    field: Field

    def matches(self, seen: Seen) -> bool:
        """Judge an exchange."""
        return any(value is not None for value in self.field.values(seen))

    def __str__(self) -> str:
        return self.field.name


@dataclass(frozen=True, slots=True)
class Compare:
    """A field compared with a value, or with several for `in`."""

    field: Field
    operator: Operator
    values: tuple[str, ...]

    def matches(self, seen: Seen) -> bool:
        """Judge an exchange."""
        found = [value for value in self.field.values(seen) if value is not None]
        test = _test(self.field, self.operator)
        fits = any(test(value, given) for given in self.values for value in found)
        return bool(found) and not fits if self.operator == "!=" else fits

    def __str__(self) -> str:
        values = [_quoted(value) for value in self.values]
        if self.operator == "in":
            return f"{self.field.name} in {{{', '.join(values)}}}"
        return f"{self.field.name} {self.operator} {values[0]}"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    of: Filter

    def matches(self, seen: Seen) -> bool:
        """Judge an exchange."""
        return not self.of.matches(seen)

    def __str__(self) -> str:
        return f"not {_inside(self.of)}"


@dataclass(frozen=True, slots=True)
class All:
    """All of several, two at least."""

    of: tuple[Filter, ...]

    def matches(self, seen: Seen) -> bool:
        """Judge an exchange."""
        return all(one.matches(seen) for one in self.of)

    def __str__(self) -> str:
        return " and ".join(map(_inside, self.of))


@dataclass(frozen=True, slots=True)
class Any:
    """Any of several, two at least."""

    of: tuple[Filter, ...]

    def matches(self, seen: Seen) -> bool:
        """Judge an exchange."""
        return any(one.matches(seen) for one in self.of)

    def __str__(self) -> str:
        return " or ".join(map(_inside, self.of))


Filter = Has | Compare | Not | All | Any
"""A filter."""


def _inside(one: Filter) -> str:
    return f"({one})" if isinstance(one, All | Any) else str(one)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


# Comparing


def _test(field: Field, how: Operator) -> Callable[[Value, str], bool]:
    """Give what compares one value of the capture with one of the filter."""
    if how == "contains":
        return lambda value, given: given in str(value)
    if how == "matches":
        return lambda value, given: re.search(given, str(value), re.IGNORECASE) is not None
    if how in ORDER:
        order = ORDER[how]
        return lambda value, given: order(float(value), _figure(field, given))
    match field.kind:
        case "number" | "seconds":
            return lambda value, given: float(value) == _figure(field, given)
        case "address":
            return _same_address
        case "word":
            return lambda value, given: str(value).casefold() == given.casefold()
        case _:
            return lambda value, given: value == given


def _figure(field: Field, given: str) -> float:
    """Read a number, or a length of time in seconds.

    Raises:
        ValueError: It is none.
    """
    if field.kind == "seconds" and (match := _SECONDS.fullmatch(given.strip())):
        return float(match[1]) * _UNITS[match[2]]
    if field.kind == "number" and _NUMBER.fullmatch(given.strip()):
        return float(given.replace(",", "").replace("_", ""))
    raise ValueError


def _network(given: str) -> Network:
    return ipaddress.ip_network(given.strip(), strict=False)


def _same_address(value: Value, given: str) -> bool:
    try:
        return ipaddress.ip_address(str(value).partition("%")[0]) in _network(given)
    except ValueError:
        return False


def problem_of(field: Field, how: Operator, given: str) -> str:
    """Say what is wrong with a value; empty if nothing is."""
    if how == "matches":
        try:
            re.compile(given)
        except (re.error, OverflowError, RecursionError) as error:
            return f"this is no regular expression: {getattr(error, 'msg', error)}"
        return ""
    if how == "contains":
        return ""
    try:
        if field.kind in ("number", "seconds"):
            _figure(field, given)
        elif field.kind == "address":
            _network(given)
    except ValueError:
        wanted = {
            "number": "a number",
            "seconds": "a length of time, as 0.5, 500ms or 2s",
            "address": "an address, or a network as 10.0.0.0/8",
        }[field.kind]
        return f"{field.name} is compared with {wanted}"
    return ""
