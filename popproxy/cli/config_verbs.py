"""`popproxy config show | check | schema`, and `popproxy schema`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path as FilePath

import click
import msgspec

from popproxy.cli.config import (
    Configuration,
    Layers,
    build,
    toml_value,
)
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.settings import SECTIONS, json_schema
from popproxy.cli.sources import find_file, read_all, read_file

_ORIGIN_COLUMN = 40


def show(invocation: Invocation, like_run: click.Context, *, origin: bool) -> int:
    """Print the settings in force as TOML; see `popproxy config show --help`."""
    configuration = read_all(invocation.env, like_run)
    file = configuration.file
    click.echo(f"# {file}" if file else "# no configuration file was found")
    for line in _toml(configuration, origin=origin):
        click.echo(line)
    return Status.DONE


def _toml(configuration: Configuration, *, origin: bool) -> Iterator[str]:
    for section in SECTIONS:
        value = getattr(configuration.settings, section)
        if isinstance(value, list):
            for index, one in enumerate(value):
                yield f"\n[[{section}]]"
                yield from _table(configuration, (section, index), one, origin=origin)
        else:
            yield f"\n[{section}]"
            yield from _table(configuration, (section,), value, origin=origin)


def _table(
    configuration: Configuration,
    path: tuple[str | int, ...],
    table: msgspec.Struct,
    *,
    origin: bool,
) -> Iterator[str]:
    for one in msgspec.structs.fields(table):
        line = f"{one.encode_name} = {toml_value(getattr(table, one.name))}"
        if origin:
            line = f"{line:{_ORIGIN_COLUMN}}  # {configuration.origins[*path, one.encode_name]}"
        yield line


def check(invocation: Invocation, file: str | None) -> int:
    """Check a configuration file; see `popproxy config check --help`."""
    path = FilePath(file) if file else find_file(None, invocation.env)
    if path is None:
        raise CommandError(
            "there is no configuration file to check",
            hint="Name one: popproxy config check FILE.",
            status=Status.USAGE,
        )
    from popproxy.cli.wiring import check as check_wiring

    layers = Layers()
    read_file(layers, path)
    configuration = build(layers, check_wiring)
    routes = len(configuration.settings.route)
    click.echo(f"{path}: no mistakes; {routes} route{'s' * (routes != 1)}")
    return Status.DONE


def schema() -> int:
    """Print the JSON Schema of the configuration."""
    click.echo(json.dumps(json_schema(), indent=2))
    return Status.DONE


def record_schema() -> int:
    """Print the JSON Schema of the records."""
    from popproxy.formats.file_lines import json_schema as schema_of_lines

    click.echo(json.dumps(schema_of_lines(), indent=2))
    return Status.DONE
