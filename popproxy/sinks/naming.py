"""Names of log files, made from PuTTY's templates.

A template is a path with escapes: `&Y &M &D` (date), `&T` (time as HHMMSS), `&H` (host), `&P`
(port), as PuTTY has them, and `&S`, the session's id. Either case will do, `&&` stands for `&`,
and an unknown escape stays as it is.

The operator writes the template, so it may name any place. The values may come from elsewhere:
they are slugged to a fixed alphabet, cannot hold a `/` and never begin with a dot, so no value can
lead out of the directory that the template names, or hide the file (P48).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from popproxy.sinks.base import SinkError

VALUE_MAX = 128
"""Longest value put into a name; file systems allow 255 octets for a whole name."""

SESSION = r"\d{8}t\d{6}-[0-9a-z]{7}"
"""A session's id as a regular expression; see `popproxy.relay.ids`. Not any name that would fit:
files of others may stand in the same folder."""
_ESCAPE = re.compile("&([YMDTHPS&])", re.IGNORECASE)
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")


class TemplateError(SinkError):
    """A template cannot name a file. The message is for people."""


def slug(value: str) -> str:
    """Make a value fit for a file name: letters, digits, `.`, `_` and `-`, no leading dot.

    `/` becomes `.`, as in PuTTY; other characters become `_`; an empty value becomes `_`.
    """
    text = _FOREIGN.sub("_", value.replace("/", ".")).lstrip(".")
    return text[:VALUE_MAX] or "_"


@dataclass(frozen=True, slots=True)
class Template:
    """A path template that was checked.

    Attributes:
        text: The template as it was written.
    """

    text: str

    def __post_init__(self) -> None:
        """Check the template.

        Raises:
            TemplateError: It is empty, names a directory, or holds a NUL.
        """
        if not self.text:
            raise TemplateError("the path of a log file is empty")
        if "\0" in self.text:
            raise TemplateError("the path of a log file holds a NUL character")
        name = self.text.rpartition("/")[2]
        if name in {"", ".", ".."}:
            raise TemplateError(
                f"{self.text!r} names a directory; add a file name, for instance &S.log"
            )

    def uses(self, escape: str) -> bool:
        """Tell whether the template has an escape, given as its upper-case letter."""
        return any(found.upper() == escape for found in _ESCAPE.findall(self.text))

    @property
    def uses_any(self) -> bool:
        """Whether the template may give more than one name."""
        return _ESCAPE.search(self.text) is not None

    @property
    def per_session(self) -> bool:
        """Whether each session gets a file of its own, by `&S`."""
        return self.uses("S")

    @property
    def per_server(self) -> bool:
        """Whether each server gets a file of its own, by `&H` or `&P`."""
        return self.uses("H") or self.uses("P")

    @property
    def fixed_directory(self) -> str:
        """The directory up to the first component that depends on an escape; may be empty."""
        directory = self.text.rpartition("/")[0] or ("/" if self.text.startswith("/") else "")
        fixed: list[str] = []
        for component in directory.split("/"):
            if "&" in component:
                break
            fixed.append(component)
        else:
            return directory
        return "/".join(fixed) or ("/" if directory.startswith("/") else "")

    @property
    def dated(self) -> bool:
        """Whether files have different names at different times."""
        return any(self.uses(escape) for escape in "YMDT")

    def patterns(self) -> list[str]:
        """Give a regular expression for each component below `fixed_directory`, the name last."""
        rest = self.text[len(self.fixed_directory) :].lstrip("/")
        return [_pattern(component) for component in rest.split("/")]

    def expand(self, *, when: datetime, host: str, port: int, session_id: str) -> str:
        """Give the path for one moment and session.

        Args:
            when: Local time.
            host: The server's host name or address.
            port: The server's port.
            session_id: The session's id.
        """
        values = {
            "Y": f"{when.year:04}",
            "M": f"{when.month:02}",
            "D": f"{when.day:02}",
            "T": f"{when.hour:02}{when.minute:02}{when.second:02}",
            "H": slug(host),
            "P": slug(str(port)),
            "S": slug(session_id),
            "&": "&",
        }
        return _ESCAPE.sub(lambda found: values[found[1].upper()], self.text)


_VALUES = {
    "Y": r"\d{4}", "M": r"\d\d", "D": r"\d\d", "T": r"\d{6}", "P": r"\d{1,5}",
    "H": r"[A-Za-z0-9_-][A-Za-z0-9._-]*?", "S": SESSION, "&": "&",
}  # fmt: skip
"""What stands in a name for each escape; as little as will do, as more may stand behind it."""


def _pattern(text: str) -> str:
    """Give a regular expression for what a part of a template stands for."""
    literal = re.split(_ESCAPE.pattern, text, flags=re.IGNORECASE)
    return "".join(
        _VALUES[part.upper()] if place % 2 else re.escape(part)
        for place, part in enumerate(literal)
    )


def expand(template: str, *, when: datetime, host: str, port: int, session_id: str) -> str:
    """Give the path that a template stands for; see `Template.expand`.

    Raises:
        TemplateError: The template cannot name a file.
    """
    return Template(template).expand(when=when, host=host, port=port, session_id=session_id)


def is_per_session(template: str) -> bool:
    """Tell whether a template gives each session a file of its own.

    Raises:
        TemplateError: The template cannot name a file.
    """
    return Template(template).per_session


def with_session(path: str, session_id: str) -> str:
    """Add `-<session id>` to a file's name, in front of its extension, so that it is unique."""
    directory, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    return f"{directory}{slash}{stem}-{slug(session_id)}{dot}{extension}"
