"""Looking at what the live terminal shows."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from datetime import UTC

from popproxy.records import Record
from popproxy.sinks.terminal import Transcript, make_console
from popproxy.sinks.terminal.ink import Glyphs, Palette, palette_for
from tests.support.speaking import Speaking

SGR = re.compile(r"\x1b\[[0-9;]*m")
COLOURS = palette_for(make_console("always", io.StringIO(), {"TERM": "xterm"}))


def shown(
    records: Iterable[Record],
    *,
    width: int = 80,
    palette: Palette | None = None,
    glyphs: Glyphs | None = None,
    encoding: str = "utf-8",
    fold: int = 40,
    cap: int = 500,
) -> str:
    """Give what the terminal shows of records."""
    transcript = Transcript(
        palette or Palette(),
        glyphs or Glyphs(),
        lambda: width,
        encoding=encoding,
        fold=fold,
        cap=cap,
        tz=UTC,
    )
    octets = b"".join([*map(transcript.write, records), transcript.end()])
    return octets.decode(encoding)


def conversation() -> list[Record]:
    """Give a session as short as one can be that logs in, fetches, deletes and quits."""
    session = Speaking().start().later(3).greeting(b"+OK POP3 Server Ready\r\n").later(880)
    session.says(b"user mail@domain.com\r\n").later(11)
    session.answers(b"+OK Send your password\r\n", 11.2).later(800)
    session.says(b"pass ********\r\n", masked=True).later(57)
    session.answers(b"+OK Mailbox locked and ready\r\n", 57.13)
    session.logs_in("success", "mail@domain.com").later(300)
    session.says(b"list\r\n").later(3)
    session.brings(b"+OK 1 messages (59 octets)\r\n", b"1 59\r\n", milliseconds=4).later(500)
    mail = b"From: <test@domain.com>\r\nSubject: Test 1\r\n\r\nTest 1\r\n"
    session.says(b"retr 1\r\n").later(1200)
    session.brings(b"+OK 59 octets\r\n", mail, milliseconds=1250).later(500)
    session.says(b"dele 7\r\n").later(2).answers(b"-ERR [SYS/TEMP] no such message\r\n", 2).later(9)
    session.says(b"quit\r\n").later(31).answers("+OK goodbye…\r\n".encode(), 31)
    return session.end(
        commands=6, messages_retrieved=1, deletions_committed=1, octets_client=74, octets_server=272
    ).records
