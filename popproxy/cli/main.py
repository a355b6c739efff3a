"""`main(argv, env) -> exit status`: the border between the program and the person.

Nothing that goes wrong crosses it as a traceback. What a person can mend is a `CommandError`, with
a message and a hint. Everything else is a defect of popproxy: it is told by its type and its place
in our sources only, because an exception's text may quote what was on the wire (P13).

This module imports next to nothing, so that `--version` does not pay for what it does not use.
"""

from __future__ import annotations

import os
import sys

from popproxy import __version__

TYPE_CHECKING = False  # as typing has it, without the 15 ms that importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run popproxy.

    Args:
        argv: The arguments, without the program's name.
        env: The environment.

    Returns:
        The exit status, see `popproxy.cli.errors.Status`.
    """
    if list(argv) == ["--version"]:
        print(f"popproxy {__version__}")  # noqa: T201 - before click, which knows how, is loaded
        return 0
    from popproxy.cli.boundary import guarded

    return guarded(argv, env)


def entry_point() -> NoReturn:
    """Run popproxy as the program that was started."""
    sys.exit(main(sys.argv[1:], os.environ))
