"""Options of the verbs that read captures: which kind it is, and which of its sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from popproxy.cli.command import Option

F = TypeVar("F", bound=Callable[..., Any])

SESSIONS = "Sessions"


def kind_option(function: F) -> F:
    """Add `--from`, which arrives as `kind`."""
    return click.option(
        "--from",
        "kind",
        cls=Option,
        metavar="KIND",
        help="What the capture is, where its content does not tell: jsonl, text, bundle, or one of"
        " the logs of `popproxy help importing`.",
    )(function)


def session_options(function: F) -> F:
    """Add the options that choose sessions: `session`, `user`, `since` and `until`."""
    options = [
        click.option(
            "--session",
            cls=Option,
            group=SESSIONS,
            metavar="WHICH",
            help="One session: its number in the capture, its id, or how that begins or ends.",
        ),
        click.option(
            "--user",
            cls=Option,
            group=SESSIONS,
            metavar="NAME",
            help="Sessions that this user logged in to.",
        ),
        click.option(
            "--since",
            cls=Option,
            group=SESSIONS,
            metavar="TIME",
            help="Sessions that were under way then or later: 2026-11-22, '2026-11-22 14:00', 2h"
            " (two hours ago; also m, d, w).",
        ),
        click.option(
            "--until",
            cls=Option,
            group=SESSIONS,
            metavar="TIME",
            help="Sessions that began before then.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
