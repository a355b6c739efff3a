"""Reads the layers of the configuration: the file, the environment, the options."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

import click

from popproxy.cli.config import (
    FIELDS,
    Check,
    Configuration,
    Entry,
    Layers,
    build,
    checked,
    describe,
    shown,
)
from popproxy.cli.errors import CommandError, Problem, Status, nearest
from popproxy.cli.options import given_settings
from popproxy.cli.routes import over, read_route_options
from popproxy.cli.settings import SECTIONS
from popproxy.cli.toml_lines import Path, line_numbers

PREFIX = "POPPROXY_"

_TOO_DEEP = "lists or tables stand in each other too many times"


def _unknown_section(where: str, name: str) -> Problem:
    hint = nearest(name, SECTIONS)
    for section, settings in FIELDS.items():
        if name in settings:
            hint = f"{name} belongs to the section {section}"
    return Problem(where=where, key=name, what="there is no such section", hint=hint)


def find_file(option: str | None, env: Mapping[str, str]) -> FilePath | None:
    """Find the configuration file that counts.

    Args:
        option: What `--config` says, if it was given.
        env: The environment.

    Returns:
        The file; None if there is none, which is no mistake.

    Raises:
        CommandError: A file was named and is not there.
    """
    for name, named_by in ((option, "--config"), (env.get("POPPROXY_CONFIG"), "POPPROXY_CONFIG")):
        if name:
            if not FilePath(name).exists():
                raise CommandError(
                    f"there is no configuration file {name}, which {named_by} names",
                    hint="Check the path, or leave it out to go without a file.",
                    status=Status.USAGE,
                )
            return FilePath(name)
    home = env.get("XDG_CONFIG_HOME") or (
        f"{env['HOME']}/.config" if env.get("HOME") else "/nonexistent"
    )
    candidates = ("popproxy.toml", f"{home}/popproxy/config.toml", "/etc/popproxy/config.toml")
    return next((path for name in candidates if (path := FilePath(name)).is_file()), None)


def _section_entries(
    section: str,
    table: object,
    *,
    place: Callable[[Path], str],
    path: Path,
    problems: list[Problem],
) -> dict[str, Entry]:
    if not isinstance(table, dict):
        header = "[[route]]" if section == "route" else f"[{section}]"
        problems.append(
            Problem(
                where=place(path),
                key=section,
                what=f"expected a table, found {shown(table)}",
                hint=f"write {header} on a line of its own, its settings below",
            )
        )
        return {}
    entries = {}
    for key, value in table.items():
        where = place((*path, key))
        if entry := checked(section, key, value, where=where, problems=problems, text=False):
            entries[key] = entry
    return entries


def read_text(layers: Layers, text: str, name: str) -> None:
    """Read a configuration file's text into the layers.

    Args:
        layers: Takes entries, routes and problems.
        text: The file's content.
        name: How the file is called in messages.
    """
    layers.file = name
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        layers.problems.append(_syntax_problem(str(error), text, name))
        return
    except RecursionError:
        layers.problems.append(Problem(where=name, key="", what=f"not valid TOML: {_TOO_DEEP}"))
        return
    lines = line_numbers(text)

    def place(path: Path) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in lines:
                return f"{name}:{lines[path[:length]]}"
        return name

    for section, table in content.items():
        if section not in SECTIONS:
            layers.problems.append(_unknown_section(place((section,)), section))
        elif section == "route":
            tables = table if isinstance(table, list) else None
            if tables is None:
                layers.problems.append(
                    Problem(
                        where=place((section,)),
                        key=section,
                        what="expected a list of tables",
                        hint="write [[route]], in double brackets, once for each route",
                    )
                )
            for index, one in enumerate(tables or []):
                path: Path = (section, index)
                layers.routes.append(
                    _section_entries(section, one, place=place, path=path, problems=layers.problems)
                )
        else:
            entries = _section_entries(
                section, table, place=place, path=(section,), problems=layers.problems
            )
            layers.entries.update({(section, key): entry for key, entry in entries.items()})


def _syntax_problem(message: str, text: str, name: str) -> Problem:
    """Make tomllib's message, which ends in its place, one of ours."""
    found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", message, re.DOTALL)
    if found:
        what, line, column = found[1], found[2], f", column {found[3]}"
    else:
        what, line, column = message.removesuffix(" (at end of document)"), "", ""
        line = str(text.rstrip("\n").count("\n") + 1)
    return Problem(where=f"{name}:{line}{column}", key="", what=f"not valid TOML: {what}")


def read_file(layers: Layers, path: FilePath) -> None:
    """Read a configuration file into the layers.

    Raises:
        CommandError: The file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors begin files with a mark
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{path} is not UTF-8 text (octet {error.start})",
            hint="Save the file as UTF-8; TOML takes nothing else.",
            status=Status.USAGE,
        ) from None
    except OSError as error:
        raise CommandError(
            f"cannot read the configuration file {path}: {error.strerror}",
            hint="Check its permissions, or name another file with --config.",
            status=Status.USAGE,
        ) from None
    read_text(layers, text, str(path))


def _environment_value(section: str, key: str, text: str) -> object:
    """Make a list of a text where the setting is one; `[...]` is read as TOML."""
    wanted = FIELDS[section].get(key)
    if wanted is None or "list" not in describe(wanted.type):
        return text
    if text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            return text
    return [text] if text else []


def read_environment(layers: Layers, env: Mapping[str, str]) -> None:
    """Read `POPPROXY_SECTION__KEY` variables into the layers.

    Names without a double underscore are left alone: container platforms make such names
    (`POPPROXY_PORT`) for a service that is called popproxy.
    """
    route: dict[str, Entry] = {}
    for variable in sorted(env):
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        if section not in SECTIONS:
            layers.problems.append(_unknown_section(variable, section))
            continue
        value = _environment_value(section, key, env[variable])
        entry = checked(section, key, value, where=variable, problems=layers.problems, text=True)
        if entry is None:
            continue
        if section == "route":
            route[key] = entry
        else:
            layers.entries[section, key] = entry
    if route and len(layers.routes) > 1:
        layers.problems.append(
            Problem(
                where=min(entry.origin for entry in route.values()),
                key="route",
                what=f"the file has {len(layers.routes)} routes, and this cannot say which",
                hint="change the file, or use --listen and --upstream",
            )
        )
    elif route:
        layers.routes = [over(layers.routes[0] if layers.routes else {}, route)]


def read_options(layers: Layers, options: Mapping[tuple[str, str], tuple[str, object]]) -> None:
    """Lay options over the other layers; those of routes are left to `read_route_options`.

    Args:
        layers: Takes entries and problems.
        options: By section and key: the option's name and its value, checked by the parser.
    """
    for (section, key), (name, value) in options.items():
        if section == "route":
            continue
        entry = checked(
            section, key, value, where=f"option {name}", problems=layers.problems, text=False
        )
        if entry is not None:
            layers.entries[section, key] = entry


def read_all(
    env: Mapping[str, str], context: click.Context, check: Check | None = None
) -> Configuration:
    """Read every layer, as `popproxy run` does.

    Args:
        env: The environment.
        context: click's context of `popproxy run`, with its options, or that of a verb with some.
        check: As for `popproxy.cli.config.build`.

    Raises:
        CommandError: The configuration is wrong, or its file is not there.
    """
    layers = Layers()
    file = find_file(context.params["config_file"], env)
    if file is not None:
        read_file(layers, file)
    read_environment(layers, env)
    given = given_settings(context)
    read_options(layers, given)
    listen, upstream, allow = (
        context.params.get(name) or () for name in ("listen", "upstream", "allow")
    )
    read_route_options(layers, listen, upstream, allow, given)
    return build(layers, check)
