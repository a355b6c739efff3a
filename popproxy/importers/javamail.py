"""JavaMail's and Angus Mail's debug output (`mail.debug`).

Commands stand behind `C: `, status lines behind `S: `, and the lines of a response of several lines
without any mark, its final dot included. A login is not shown unless `mail.debug.auth` is set:
`DEBUG POP3: authentication command trace suppressed` stands in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from popproxy.importers.lines import cut_end, lines_of, start_lines
from popproxy.importers.marked import Marked
from popproxy.importers.source import Begin, Finish, Item, Missing

_DEBUG = re.compile(rb"DEBUG(?: POP3S?)?: ")
_CONNECTING = re.compile(rb"DEBUG POP3S?: connecting to host ")
_SUPPRESSED = b"authentication command trace suppressed"
_LOGIN_NOT_SHOWN = "the login is not in the log: mail.debug.auth was not set"


def is_javamail(start: bytes) -> bool:
    """Tell JavaMail's debug output."""
    lines = start_lines(start)
    return any(line.startswith((b"DEBUG POP3", b"DEBUG: setDebug: ")) for line in lines) and any(
        line.startswith((b"S: ", b"C: ")) for line in lines
    )


def read_javamail(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read JavaMail's debug output."""
    marked, said, content = Marked(), False, False
    for line in lines_of(file):
        text, _ = cut_end(line)
        if content:
            yield from marked.server(text)
            content = text != b"."
        elif text.startswith(b"C: "):
            yield from marked.client(text[3:])
            said = True
        elif text.startswith((b"S: ", b"S:")):
            yield from marked.server(text[2:].removeprefix(b" "))
            said, content = True, marked.in_content
        elif said and _CONNECTING.match(text):
            yield Finish()
            marked, said = Marked(), False
        elif _DEBUG.match(text) and _SUPPRESSED in text:
            if not said:
                yield Begin()
            yield Missing(why=_LOGIN_NOT_SHOWN)
    yield from marked.rest()
