"""Lists of capabilities and mechanisms, changed line by line (RFC 2449, RFC 5034)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_CHANNEL_BINDING = re.compile(rb"[ \t]+[^ \t\r\n]+-PLUS(?=[ \t\r\n]|$)", re.IGNORECASE)


class Change(NamedTuple):
    """A line that was changed.

    Attributes:
        rule: What changed it.
        was: The line as it came, line end included; empty if it was added.
        now: The line as it is sent on; empty if it was left out.
    """

    rule: str
    was: bytes
    now: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What is changed in lists.

    Attributes:
        remove_stls: STLS goes out of CAPA.
        add_stls: CAPA gets STLS, if it has it not.
        remove_channel_binding: Mechanisms whose names end in `-PLUS` go out of both lists: they
            bind a login to a TLS connection (RFC 5802, section 6), and here are two.
    """

    remove_stls: bool = False
    add_stls: bool = False
    remove_channel_binding: bool = False

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return self.remove_stls or self.add_stls or self.remove_channel_binding

    def apply(self, keyword: bytes, content: bytes) -> tuple[bytes, list[Change]]:
        """Change a list.

        Args:
            keyword: `CAPA`, or `AUTH` for the list that AUTH without an argument asks for.
            content: Its lines, as they are on the wire, without the termination octet's.

        Returns:
            The lines to send on, and what was changed.
        """
        out = bytearray()
        changes: list[Change] = []
        has_stls = False
        for line in _LINE.findall(content):
            is_stls = keyword == b"CAPA" and _first_word(line) == b"STLS"
            rule, now = "", line
            if is_stls and self.remove_stls:
                rule, now = "stls-removed", b""
            elif self.remove_channel_binding:
                rule, now = "channel-binding-removed", _without_binding(keyword, line)
            has_stls = has_stls or (is_stls and bool(now))
            if now != line:
                changes.append(Change(rule, line, now))
            out += now
        if self.add_stls and keyword == b"CAPA" and not has_stls:
            changes.append(Change("stls-added", b"", b"STLS\r\n"))
            out += b"STLS\r\n"
        return bytes(out), changes


def _first_word(line: bytes) -> bytes:
    words = line.split(None, 1)
    return words[0].upper() if words else b""


def _without_binding(keyword: bytes, line: bytes) -> bytes:
    if keyword == b"AUTH":
        return b"" if _CHANNEL_BINDING.fullmatch(b" " + line.strip()) else line
    if _first_word(line) != b"SASL":
        return line
    now = _CHANNEL_BINDING.sub(b"", line)
    return now if now == line or len(now.split()) > 1 else b""
