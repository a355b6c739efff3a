"""Options that several verbs have, and options that stand for settings.

An option that stands for a setting of popproxy.toml names it, so that options, file and environment
are merged in one place (`popproxy.cli.config`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from popproxy.cli.command import Option

F = TypeVar("F", bound=Callable[..., Any])

ROUTE, OUTPUT, PRIVACY = "Route", "Output", "Privacy"
TLS_CLIENTS, TLS_SERVER = "TLS with clients", "TLS with the server"
LIMITS, STATUS, DISPLAY = "Limits and time-outs", "Status", "Display"

EXIT_STATUS = """\
0    done                       3    cannot listen
1    something went wrong       4    upstream or TLS
2    usage or configuration     130  interrupted"""


@dataclass
class Invocation:
    """What a verb is called with, besides its options.

    Attributes:
        env: The environment.
        color: As `--color` says, once it is known.
        log_level: As `--log-level` says, once it is known.
        log_format: As `--log-format` says, once it is known.
    """

    env: Mapping[str, str] = field(repr=False)
    color: str = "auto"
    log_level: str = "info"
    log_format: str = "console"


class SettingOption(Option):
    """An option that stands for a setting.

    Args:
        setting: The setting, as `record.body`.
        **attributes: What `Option` takes.
    """

    def __init__(self, *args: Any, setting: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.setting = setting


def given_settings(context: click.Context) -> dict[tuple[str, str], tuple[str, object]]:
    """Collect the settings that were given as options.

    Returns:
        By section and key: the option's name and its value.
    """
    given = {}
    for parameter in context.command.params:
        if not isinstance(parameter, SettingOption) or parameter.name is None:
            continue
        source = context.get_parameter_source(parameter.name)
        if source is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[parameter.name]
        section, _, key = parameter.setting.partition(".")
        name = next(one for one in parameter.opts if one.startswith("--"))
        given[section, key] = (name, list(value) if isinstance(value, tuple) else value)
    return given


def setting(*names: str, setting: str, group: str, **attributes: Any) -> Callable[[F], F]:
    """Add an option that stands for a setting; `attributes` are click's."""
    return click.option(*names, cls=SettingOption, setting=setting, group=group, **attributes)


def display(*, quiet: bool = True) -> Callable[[F], F]:
    """Add the options of what is shown and how."""

    def note_color(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
        if value and isinstance(context.obj, Invocation):
            context.obj.color = value
        return value

    def note_level(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
        if value and isinstance(context.obj, Invocation):
            context.obj.log_level = value
        return value

    def note_format(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
        if value and isinstance(context.obj, Invocation):
            context.obj.log_format = value
        return value

    options = [
        setting(
            "--color",
            setting="log.color",
            group=DISPLAY,
            type=click.Choice(["auto", "always", "never"]),
            is_eager=True,
            callback=note_color,
            help="Colours. auto: on a terminal, unless NO_COLOR is set. Default: auto.",
        ),
        setting(
            "--log-level",
            setting="log.level",
            group=DISPLAY,
            type=click.Choice(["debug", "info", "warning", "error"]),
            metavar="LEVEL",
            is_eager=True,
            callback=note_level,
            help="Show messages from debug, info, warning or error upwards. Default: info.",
        ),
        setting(
            "--log-format",
            setting="log.format",
            group=DISPLAY,
            type=click.Choice(["console", "json"]),
            is_eager=True,
            callback=note_format,
            help="Messages for people, or one JSON object a line. Default: console.",
        ),
    ]
    if quiet:
        options.insert(
            0,
            setting(
                "-q",
                "--quiet/--no-quiet",
                setting="log.quiet",
                group=DISPLAY,
                default=None,
                help="Nothing on the terminal but warnings and errors; files are written.",
            ),
        )

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


color_only = click.option(
    "--color",
    cls=Option,
    group=DISPLAY,
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Colours. auto: on a terminal, unless NO_COLOR is set. Default: auto.",
)
no_pager = click.option(
    "--no-pager",
    "paged",
    cls=Option,
    group=DISPLAY,
    flag_value=False,
    default=True,
    help="Print, however long it is. Without a terminal nothing is paged anyway.",
)
config_file = click.option(
    "--config",
    "config_file",
    cls=Option,
    metavar="FILE",
    help="Read this configuration file and no other.",
)
