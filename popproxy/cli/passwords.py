"""Passwords, which never stand on a command line (P14): from a file, or asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from popproxy.cli.console import is_terminal
from popproxy.cli.errors import CommandError, Status


def from_file(path: str) -> str:
    """Read a password from a file's first line.

    Args:
        path: The file; `-` is standard input.

    Raises:
        CommandError: There is none.
    """
    try:
        if path == "-":
            line = sys.stdin.readline()
        else:
            with Path(path).open(encoding="utf-8") as file:
                line = file.readline()
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8 text", status=Status.USAGE) from None
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}", status=Status.USAGE) from None
    password = line.rstrip("\r\n")
    if not password:
        raise CommandError(
            "the password is empty",
            hint=f"The first line of {path} has to hold it.",
            status=Status.USAGE,
        )
    return password


def ask(question: str, *, default: str | None = None, hidden: bool) -> str:
    """Ask the person at the terminal.

    Args:
        question: What for, without the colon.
        default: What an empty answer means.
        hidden: Whether what is typed does not show.

    Raises:
        CommandError: Nobody is there.
    """
    if not is_terminal(sys.stdin):
        raise CommandError(
            f"nobody can be asked for {question[:1].lower()}{question[1:]}",
            hint="Give --login NAME and --password-file FILE, or run it on a terminal.",
            status=Status.USAGE,
        )
    answer: str = click.prompt(question, default=default, hide_input=hidden, err=True)
    return answer
