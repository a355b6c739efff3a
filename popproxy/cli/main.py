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
    try:
        _open_standard_streams()
        status = main(sys.argv[1:], os.environ)
    except KeyboardInterrupt:  # Ctrl-C while what the verb needs was being imported
        status = 130
    sys.exit(status)


def _open_standard_streams() -> None:
    """Give a program that was started with closed standard streams /dev/null instead.

    Otherwise the first socket would get descriptor 1, and what is written to standard output
    would go to a mail client.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - never closed
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - never closed
