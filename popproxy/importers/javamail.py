"""JavaMail's and Angus Mail's debug output (`mail.debug`).

The octets of both sides pass through it as they are, without marks; between them stand lines of the
library's own, `DEBUG POP3: …`, at line ends. A login is not shown unless `mail.debug.auth` is set:
`authentication command trace suppressed` stands in its place. What is left when the library's lines
are taken out is a terminal's log (`popproxy.importers.unmarked`), a session for each connection.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from popproxy.importers.lines import lines_of, start_lines
from popproxy.importers.source import Begin, Finish, Item, Missing
from popproxy.importers.unmarked import Unmarked

_DEBUG = re.compile(rb"DEBUG(?: [A-Za-z0-9]{1,20})?: ")
_CONNECTING = re.compile(rb"DEBUG POP3S?: connecting to host ")
_SUPPRESSED: Final = b"authentication command trace suppressed"
_LOGIN_NOT_SHOWN: Final = "the login is not in the log: mail.debug.auth was not set"
_IN_MEMORY: Final = 1024 * 1024


def is_javamail(start: bytes) -> bool:
    """Tell JavaMail's debug output."""
    return any(line.startswith(b"DEBUG POP3") for line in start_lines(start))


def read_javamail(file: IO[bytes], _path: Path | None) -> Iterator[Item]:
    """Read JavaMail's debug output."""
    session = _Session()
    for line in lines_of(file):
        if _DEBUG.match(line) is None:
            session.add(line)
            continue
        if _CONNECTING.match(line):
            yield from session.read()
            session = _Session()
        session.login_missing = session.login_missing or _SUPPRESSED in line
    yield from session.read()


class _Session:
    """What passed on one connection, without the library's lines."""

    def __init__(self) -> None:
        self._said = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed when read
        self._crlf = False
        self.login_missing = False

    def add(self, line: bytes) -> None:
        self._crlf = self._crlf or line.endswith(b"\r\n")
        self._said.write(line)

    def read(self) -> Iterator[Item]:
        with self._said as said:
            if not said.tell():
                return
            said.seek(0)
            yield Begin()
            if self.login_missing:
                yield Missing(why=_LOGIN_NOT_SHOWN)
            yield from Unmarked(said, lf=not self._crlf).read()
            yield Finish()
