"""The texts of a bundle: what its owner judges it by, and what its reader does with it."""

from __future__ import annotations

import platform
import ssl
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from popproxy import __version__
from popproxy.records import Record, TlsEnd, TlsFailed, TlsStart

if TYPE_CHECKING:
    from popproxy.tools.share_parts import Made, Wish

README: Final = """\
A recorded mail session (POP3), made fit for a bug report by popproxy.

  capture.jsonl   the session: every command, every response, how they were cut into reads, and when
  capture.html    the same as a page for a browser; it needs no network
  putty/          the same as a terminal would have shown it, a log for each session
  findings.txt    what is odd about it, with RFC sections; findings.json is for programs
  tls.txt         what is known of TLS on either leg
  REMOVED.txt     what was replaced before it was given to you
  versions.txt    what recorded it

To serve it to a mail client, as the recorded server did:

  popproxy replay BUNDLE.zip

Then point the client at 127.0.0.1, port 1110; any user and password will do. To read it:

  popproxy show BUNDLE.zip

Names, addresses and dates are pseudonyms: the same name has the same pseudonym everywhere in here,
and none in any other bundle. Messages have their true structure, lengths and encodings, and no
words. Sizes of lines and messages, reads and pauses are those of the original.
"""

TLS_HEADING: Final = "Nothing is known of TLS: the session was in the clear, or began before.\n"

LEVELS: Final = {
    "structure": "Messages keep their shape: octets, lines, structure, encodings; no words.",
    "headers": "Of messages only the shape of their headers stays.",
    "nothing": "Nothing stays of messages.",
    "all": "MESSAGES STAY AS THEY ARE, with everything in them.",
}

_WIDTH: Final = 76

_LEARNABLE: Final = """\
What a stranger can still learn from it:
  how long names, words and lines are, and how many; what is equal to what
  sizes, structure, encodings and charsets of messages, and kinds of attachments
  weekdays, times of day and time zones, and how much time lies between dates
  what the server can do, and how fast it and the client are
  ports, and whether addresses are private
"""


def removed_text(made: Made, wish: Wish) -> str:
    """Say what was replaced, by rule and count.

    Args:
        made: The bundle.
        wish: What its owner wanted.
    """
    rules = ["What was replaced, and how often:", ""]
    width = max((len(rule) for rule in made.removed), default=0)
    rules += [f"  {rule:<{width}}  {count:>10,}" for rule, count in sorted(made.removed.items())]
    if not made.removed:
        rules.append("  nothing: what was shared was sanitised before, and is as it was")
    lines = ["", LEVELS[wish.level]]
    for message, numbers in wish.keep_lines.items():
        told = ", ".join(str(number) for number in sorted(numbers))
        where = f"message {message}" if message is not None else "the message"
        lines.append(f"Of {where} these lines stay word for word: {told}.")
    lines.append("")
    if wish.level == "all":
        lines.append("The bundle was NOT searched for words of the messages, as these are in it.")
    else:
        lines.append(
            f"The bundle was searched for {made.words:,} words of six characters or more that the"
            " source holds, in every encoding; none is in it."
        )
        if not made.complete:
            lines.append("The source holds more words than can be looked for: the rest was not.")
    wrapped = [part for line in lines for part in textwrap.wrap(line, _WIDTH) or [""]]
    return "\n".join([*rules, *wrapped, "", _LEARNABLE])


def tls_text(records: Iterable[Record]) -> str:
    """Tell what is known of TLS.

    Args:
        records: Those of TLS, sanitised.
    """
    lines: list[str] = []
    for record in records:
        if not isinstance(record, TlsStart | TlsFailed | TlsEnd):
            continue
        part = record.tls
        told = [
            f"{name.replace('_', ' ')} {value}"
            for name in part.__struct_fields__
            if name != "leg" and (value := getattr(part, name)) not in (None, False, [], {})
        ]
        lines.append(
            f"session {record.session.id}, {part.leg} leg, {record.event.action}: {'; '.join(told)}"
        )
    return "\n".join(lines) + "\n" if lines else TLS_HEADING


def versions() -> str:
    """Name what made the bundle, and nothing of whose machine it was."""
    return (
        f"popproxy {__version__}\n"
        f"Python {platform.python_version()} ({platform.python_implementation()})\n"
        f"{ssl.OPENSSL_VERSION}\n"
        f"{platform.system()}, {platform.machine()}\n"
    )
