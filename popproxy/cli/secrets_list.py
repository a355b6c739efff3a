"""Lists of strings that are looked for: from a file or from the terminal, never as arguments."""

from __future__ import annotations

import os
import stat
import sys

import click

from popproxy.cli.console import is_terminal, show_error
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.privacy.search import LEAST, MAX_SIZE, MAX_STRINGS

_MAX_FILE = MAX_STRINGS * MAX_SIZE


def from_file(path: str, invocation: Invocation) -> list[bytes]:
    """Read strings, one a line.

    Args:
        path: The file; `-` is standard input.
        invocation: Of the verb.

    Raises:
        CommandError: There are none, or one cannot be looked for.
    """
    try:
        if path == "-":
            if is_terminal(sys.stdin):
                return asked()
            data = sys.stdin.buffer.read(_MAX_FILE + 1)
        else:
            with open(path, "rb") as file:  # noqa: PTH123 - its descriptor is looked at
                mode = os.fstat(file.fileno()).st_mode
                if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
                    show_error(
                        f"warning: {path} can be read by other users of this machine",
                        f"chmod 600 {path}",
                        env=invocation.env,
                        color=invocation.color,
                    )
                data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}", status=Status.USAGE) from None
    if len(data) > _MAX_FILE:
        raise CommandError(f"{path} is too large for a list of secrets", status=Status.USAGE)
    return _checked([line.rstrip(b"\r") for line in data.split(b"\n")], path)


def asked() -> list[bytes]:
    """Ask for strings at the terminal, without showing them.

    Raises:
        CommandError: Nobody is there, or nothing was typed.
    """
    if not is_terminal(sys.stdin):
        raise CommandError(
            "nobody can be asked for the strings to look for",
            hint="Give --secrets-from FILE, with one string a line; - is standard input.",
            status=Status.USAGE,
        )
    strings: list[bytes] = []
    while True:
        number = len(strings) + 1
        answer: str = click.prompt(
            f"String {number} to look for (nothing to begin)",
            default="",
            hide_input=True,
            show_default=False,
            err=True,
        )
        if not answer:
            return _checked(strings, "what was typed")
        strings.append(answer.encode("utf-8", "surrogateescape"))


def _checked(lines: list[bytes], where: str) -> list[bytes]:
    """Refuse what cannot be looked for; say which line, and not what it is."""
    for number, line in enumerate(lines, 1):
        if line and not LEAST <= len(line) <= MAX_SIZE:
            raise CommandError(
                f"{where}: string {number} has {len(line)} octets",
                hint=f"Strings of {LEAST} to {MAX_SIZE} octets can be looked for: shorter ones are"
                " found everywhere.",
                status=Status.USAGE,
            )
    if not any(lines):
        raise CommandError(
            f"{where}: there is nothing to look for",
            hint="Write one string a line.",
            status=Status.USAGE,
        )
    if sum(map(bool, lines)) > MAX_STRINGS:
        raise CommandError(f"{where}: more than {MAX_STRINGS:,} strings", status=Status.USAGE)
    return lines
