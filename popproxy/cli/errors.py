"""What can go wrong in a way that a person can mend, and the exit statuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum


class Status(IntEnum):
    """Exit statuses; they are part of the interface."""

    DONE = 0
    FAILED = 1
    """A check failed, or something went wrong while running."""
    USAGE = 2
    """The command line, the environment or the configuration file is wrong."""
    LISTEN = 3
    """An address or port cannot be listened on."""
    UPSTREAM = 4
    """The upstream server, or TLS with it, failed."""
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends the program with a message for a person.

    Attributes:
        what: What happened, and where: one line, without a full stop.
        hint: What to do next; may have several lines; empty if there is nothing to say.
        status: The exit status.
    """

    def __init__(self, what: str, *, hint: str = "", status: Status = Status.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong in the configuration.

    Attributes:
        where: `popproxy.toml:12`, the name of an environment variable, or `option --body`.
        key: The dotted name of the setting, as `record.body`; empty if there is none.
        what: What was expected and what was found, or why it cannot work.
        hint: The nearest valid name, or what to do; empty if there is nothing to say.
    """

    where: str
    key: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        named = self.key and not self.where.startswith("option ")  # an option says enough
        subject = f"{self.where}: {self.key}: " if named else f"{self.where}: "
        return subject + self.what + (f" ({self.hint})" if self.hint else "")


class ConfigurationError(CommandError):
    """Every problem of a configuration at once."""

    def __init__(self, problems: Sequence[Problem], hint: str = "") -> None:
        if len(problems) == 1:
            what = str(problems[0])
        else:
            lines = "".join(f"\n  {problem}" for problem in problems)
            what = f"{len(problems)} problems in the configuration:{lines}"
        super().__init__(what, hint=hint, status=Status.USAGE)
        self.problems = tuple(problems)


def nearest(name: str, names: Iterable[str]) -> str:
    """Say which valid name was perhaps meant.

    Args:
        name: What was written.
        names: The valid names.

    Returns:
        `did you mean X?`, or all valid names if none is near.
    """
    names = list(names)
    close = get_close_matches(name.lower(), names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return "valid are " + ", ".join(names) if names else ""
