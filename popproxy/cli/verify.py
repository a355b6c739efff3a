"""`popproxy verify`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import click

from popproxy.cli import secrets_list
from popproxy.cli.console import show_error
from popproxy.cli.errors import Status
from popproxy.cli.options import Invocation
from popproxy.formats import visible
from popproxy.tools.verify import Place, Sum, Verifier

_KB = 1000


def verify(invocation: Invocation, paths: Sequence[str], secrets_from: str | None) -> int:
    """Search files; see `popproxy verify --help`.

    Raises:
        CommandError: There is nothing to look for.
    """
    not_in: os.stat_result | None = None
    if secrets_from is None:
        strings = secrets_list.asked()
    else:
        strings = secrets_list.from_file(secrets_from, invocation)
        if secrets_from != "-":
            with contextlib.suppress(OSError):
                not_in = os.stat(secrets_from)  # noqa: PTH116 - the same call as for the files
    verifier = Verifier(strings, not_in)
    for path in paths:
        for found in verifier.paths(path):
            if isinstance(found, Place):
                click.echo(
                    f"{visible(found.file)}:{found.line}: string {found.number}, {found.form}"
                    f" (octet {found.offset:,})"
                )
            else:
                show_error(visible(str(found)), "", env=invocation.env, color=invocation.color)
    total = verifier.sum
    click.echo(_told(total, sum(map(bool, strings))))
    return Status.FAILED if total.places or total.problems else Status.DONE


def _told(total: Sum, strings: int) -> str:
    what = f"{_count(total.files, 'file')}, {_size(total.octets)}, {_count(strings, 'string')}"
    if total.skipped:
        what += "; the list of the strings itself was left out"
    if total.problems:
        what += f"; {_count(total.problems, 'file')} could not be searched"
    if total.places:
        return f"found in {_count(total.places, 'place')} ({what})"
    return f"clean as far as it could be searched ({what})" if total.problems else f"clean ({what})"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _size(octets: int) -> str:
    size = float(octets)
    for unit in ("octets", "kB", "MB"):
        if size < _KB:
            return f"{size:.0f} {unit}" if unit == "octets" else f"{size:.1f} {unit}"
        size /= _KB
    return f"{size:.1f} GB"
