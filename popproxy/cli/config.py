"""Where settings come from, and what wins: defaults, then the file, the environment, options.

Each layer is read into *entries*: a value with the place that it came from. Everything that is
wrong is collected as a `Problem`, so that a person sees all of it at once; what is right is kept,
so that one mistake does not hide another. Later layers replace a setting whole: an option that may
be repeated replaces the file's list. A route given by options replaces the file's routes.

The first file that exists is read, and only that one: `--config`, `POPPROXY_CONFIG`,
`./popproxy.toml`, `$XDG_CONFIG_HOME/popproxy/config.toml`, `/etc/popproxy/config.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from popproxy.cli.errors import ConfigurationError, Problem, nearest
from popproxy.cli.settings import SECTIONS, RouteSettings, Settings
from popproxy.cli.toml_lines import Path

DEFAULT = "default"


@dataclass(frozen=True)
class Entry:
    """A setting's value and where it came from."""

    value: object
    origin: str


@dataclass
class Layers:
    """What has been read so far.

    Attributes:
        entries: By section and key; the later layer has replaced the earlier.
        routes: One mapping of entries for each route.
        problems: Everything that is wrong.
        file: The configuration file that was read, if any.
    """

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    routes: list[dict[str, Entry]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    file: str | None = None


@dataclass(frozen=True)
class Configuration:
    """Settings that are valid by type, and where each came from.

    Attributes:
        settings: The settings.
        origins: By path, as `("record", "body")` or `("route", 0, "listen")`.
        file: The configuration file that was read, if any.
    """

    settings: Settings
    origins: Mapping[Path, str]
    file: str | None


def describe(wanted: Any) -> str:
    """Say in words what values a setting's type takes."""
    least = above = None
    if get_origin(wanted) is Annotated:
        wanted, *metas = get_args(wanted)
        for meta in metas:
            least = meta.ge if meta.ge is not None else least
            above = meta.gt if meta.gt is not None else above
    if get_origin(wanted) is Literal:
        return "one of " + ", ".join(f'"{value}"' for value in get_args(wanted))
    if get_origin(wanted) is list:
        return f"a list, each item {describe(*get_args(wanted))}"
    if wanted is bool:
        return "true or false"
    if wanted is int:
        return "a whole number" + (f" of at least {least}" if least is not None else "")
    if wanted is float:
        return "a number" + (f" greater than {above:g}" if above is not None else "")
    return "a string in quotes"


def toml_value(value: object) -> str:
    """Write a string, number, boolean or list of them as TOML."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    # JSON's notation of these is TOML's too, but for DEL, which TOML wants escaped.
    return msgspec.json.encode(value).decode().replace('","', '", "').replace("\x7f", "\\u007f")


def shown(value: object) -> str:
    """Show a value of the wrong type, cut if it is long."""
    if isinstance(value, dict):
        return "a table"
    try:
        text = toml_value(value)
    except TypeError:  # TOML's dates and times
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


FIELDS: dict[str, dict[str, msgspec.structs.FieldInfo]] = {
    section: {one.encode_name: one for one in msgspec.structs.fields(type_)}
    for section, type_ in SECTIONS.items()
}


def checked(
    section: str, key: str, value: object, *, where: str, problems: list[Problem], text: bool
) -> Entry | None:
    """Check one value against its setting's type.

    Args:
        section: The section's name.
        key: The setting's name.
        value: What was found.
        where: Its place, for the message and as its origin.
        problems: Takes what is wrong.
        text: Whether numbers and booleans come as strings, as in the environment.
    """
    if key not in FIELDS[section]:
        problem = Problem(
            where=where,
            key=f"{section}.{key}",
            what="there is no such setting",
            hint=_nearest_setting(section, key),
        )
        problems.append(problem)
        return None
    wanted = FIELDS[section][key].type
    try:
        return Entry(msgspec.convert(value, wanted, strict=not text), where)
    except msgspec.ValidationError:
        expected = describe(wanted)
        problem = Problem(
            where=where,
            key=f"{section}.{key}",
            what=f"expected {expected}, found {shown(value)}",
            hint=_nearest_value(expected, value),
        )
        problems.append(problem)
        return None


def _nearest_setting(section: str, key: str) -> str:
    for other, settings in FIELDS.items():
        if key in settings:
            return f"{key} belongs to the section {other}"
    return nearest(key, FIELDS[section])


def _nearest_value(expected: str, value: object) -> str:
    if expected.startswith("a list") and isinstance(value, str):
        return f"write [{toml_value(value)}]"
    if expected.startswith("one of") and f'"{value}"' in expected:
        return f'write "{value}"'  # a version, without its quotes
    if expected.startswith("one of") and isinstance(value, str):
        hint = nearest(value, re.findall('"([^"]*)"', expected))
        return hint if hint.startswith("did") else ""  # else it would only repeat what is expected
    return ""


def _built(layers: Layers) -> tuple[Settings, dict[Path, str]]:
    origins: dict[Path, str] = {}
    sections: dict[str, Any] = {}
    for section, type_ in SECTIONS.items():
        if section == "route":
            continue
        values = {}
        for key in FIELDS[section]:
            entry = layers.entries.get((section, key))
            origins[section, key] = entry.origin if entry else DEFAULT
            if entry:
                values[key] = entry.value
        sections[section] = type_(**values)
    routes = []
    for index, route in enumerate(layers.routes):
        for key in FIELDS["route"]:
            origins["route", index, key] = route[key].origin if key in route else DEFAULT
        given: dict[str, Any] = {key: entry.value for key, entry in route.items()}
        routes.append(RouteSettings(**given))
    return Settings(route=routes, **sections), origins


Check = Callable[[Configuration], Iterator[Problem]]
"""Finds what is wrong beyond types."""


def build(layers: Layers, check: Check | None = None) -> Configuration:
    """Put the layers together.

    Args:
        layers: What was read.
        check: Finds what is wrong beyond types; it sees what could be read.

    Raises:
        ConfigurationError: Something is wrong; it lists everything.
    """
    settings, origins = _built(layers)
    configuration = Configuration(settings, origins, layers.file)
    problems = list(layers.problems)
    if check is not None:
        problems.extend(check(configuration))
    if problems:
        hint = "`popproxy help configuration` tells about every setting."
        raise ConfigurationError(problems, hint=hint if layers.problems else "")
    return configuration
