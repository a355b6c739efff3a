"""`popproxy check`."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Final, cast

import click
import msgspec

from popproxy.cli.captures import choice, opened
from popproxy.cli.console import is_terminal, wants_color
from popproxy.cli.errors import Status
from popproxy.cli.options import Invocation
from popproxy.formats import visible
from popproxy.tools.check import Checked, Found, Place, Severity
from popproxy.tools.check import check as put_together

_COLORS: Final = {"error": "red", "warning": "yellow", "info": "cyan"}
_WIDEST: Final = 100
_INDENT: Final = " " * 9


def check(
    invocation: Invocation,
    path: str,
    kind: str | None,
    which: Mapping[str, str | None],
    *,
    fail_on: str,
    severity: str,
    as_json: bool,
) -> int:
    """List findings; see `popproxy check --help`.

    Raises:
        CommandError: The capture cannot be read, or an option is wrong.
    """
    wanted = choice(**which)
    with opened(path, kind, invocation) as capture:
        checked = put_together(capture.records(wanted))
        damaged = capture.damaged
    shown = checked.at_least(cast("Severity", severity))
    if as_json:
        click.echo(_json(checked, shown))
    else:
        colored = wants_color(invocation.color, sys.stdout, invocation.env)
        width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else _WIDEST
        for line in _lines(checked, shown, max(40, min(width, _WIDEST))):
            click.echo(line, color=colored)
    failed = fail_on != "never" and checked.at_least(cast("Severity", fail_on))
    return Status.FAILED if failed or damaged else Status.DONE


def _json(checked: Checked, shown: list[Found]) -> bytes:
    told = {"sessions": checked.sessions, "commands": checked.commands, "findings": shown}
    return msgspec.json.encode(told)


def _lines(checked: Checked, shown: list[Found], width: int) -> list[str]:
    lines = [
        f"{_count(checked.sessions, 'session')}, {_count(checked.commands, 'command')},"
        f" {_count(sum(found.count for found in shown), 'finding')}"
    ]
    for found in shown:
        name = click.style(f"{found.severity:<8}", fg=_COLORS[found.severity], bold=True)
        rfc = f"  {visible(found.rfc)}" if found.rfc else ""
        lines += ["", f"{name} {visible(found.code)}{rfc}"]
        lines += _wrapped(visible(found.what), width)
        again = f"{_count(found.count, 'time')} in {_count(found.sessions, 'session')}"
        lines += _wrapped(f"{again}: {'; '.join(map(_place, found.places))}" + _more(found), width)
    return lines


def _more(found: Found) -> str:
    rest = found.count - len(found.places)
    return f"; {rest} more" if rest else ""


def _place(place: Place) -> str:
    command = ""
    if place.command_seq is not None:
        keyword = f" ({visible(place.command)})" if place.command else ""
        command = f", command {place.command_seq}{keyword}"
    where = f", {visible(place.where)}" if place.where else ""
    return f"session {visible(place.session)}{command}{where}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
