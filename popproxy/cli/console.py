"""Standard output and standard error, as seen by a person or by a program."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

_RED_BOLD, _DIM, _RESET = "\x1b[1;31m", "\x1b[2m", "\x1b[0m"


def is_terminal(stream: TextIO) -> bool:
    """Say whether a stream is a terminal; a closed or missing one is none."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # None under pythonw and the like, or closed
        return False


def wants_color(choice: str, stream: TextIO, env: Mapping[str, str]) -> bool:
    """Decide whether to colour what goes to a stream.

    Args:
        choice: `auto`, `always` or `never`, as `--color` says.
        stream: Where the text goes.
        env: The environment; `NO_COLOR`, if not empty, and `TERM=dumb` count under `auto`.
    """
    if choice != "auto":
        return choice == "always"
    return not env.get("NO_COLOR") and env.get("TERM") != "dumb" and is_terminal(stream)


def show_error(
    what: str,
    hint: str,
    *,
    env: Mapping[str, str],
    color: str = "auto",
    form: str = "console",
) -> None:
    """Tell a person on standard error what went wrong and what to do.

    Args:
        what: What happened, and where.
        hint: What to do next; may be empty or have several lines.
        env: The environment.
        color: As `--color` says.
        form: As `--log-format` says.
    """
    if form == "json":
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        told = {"event": "ended", "level": "error", "timestamp": now, "message": what}
        with contextlib.suppress(OSError, ValueError):
            print(json.dumps(told | ({"hint": hint} if hint else {})), file=sys.stderr)  # noqa: T201 - this is the place for it
        return
    name, end = "popproxy: ", ""
    if wants_color(color, sys.stderr, env):
        name, end = f"{_RED_BOLD}popproxy:{_RESET} ", _RESET
    # What is quoted from files and arguments must not reach the terminal as control characters.
    what = "".join(char if char.isprintable() or char == "\n" else "?" for char in what)
    indented = "".join(f"\n  {line}" for line in hint.splitlines())
    if end and indented:
        indented = _DIM + indented + end
    with contextlib.suppress(OSError, ValueError):  # nobody is there to be told
        print(f"{name}{what}{indented}", file=sys.stderr)  # noqa: T201 - this is the place for it
