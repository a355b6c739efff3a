"""Mail as a person reads it: header fields decoded, the tree of its MIME parts.

The standard library's `email` does the reading. It takes whatever a message holds, so nothing here
raises for what a peer sent; what comes out is peer text all the same, and has to be escaped before
it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from typing import Final

from popproxy.privacy.headers import decoded

WORK_MOST: Final = 20_000_000
"""Lines times boundaries: every boundary is looked for in every line of the parts below it."""

DEPTH_MOST: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a message (RFC 2045, section 2.5), or the message itself.

    Attributes:
        type: Its media type, as `text/plain`.
        charset: The charset that it names; empty if it names none.
        encoding: The content transfer encoding; empty if none is named.
        disposition: `attachment`, `inline`, or empty.
        name: A file's name, decoded; empty if it has none.
        octets: Of its body as it came, encoded.
        lines: Of its body as it came.
        parts: The parts within it.
        deeper: Parts within it that are too deep to be told.
    """

    type: str
    charset: str = ""
    encoding: str = ""
    disposition: str = ""
    name: str = ""
    octets: int = 0
    lines: int = 0
    parts: tuple[Part, ...] = field(default=())
    deeper: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message.

    Attributes:
        fields: Names and bodies of the header's fields, in order, unfolded; octets that are no
            UTF-8 as with the error handler `surrogateescape`.
        root: The message as a part; None if it has too many of them to be told apart.
    """

    fields: tuple[tuple[str, str], ...]
    root: Part | None


def read(octets: bytes, *, body: bool = True) -> Mail:
    """Read a message.

    Args:
        octets: Its octets, byte-stuffing removed.
        body: Whether all of it is there; if not, its parts are not told.
    """
    header, _, _ = octets.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = tuple(_fields(header))
    # Many boundaries before many lines are an attack, no mail.
    work = octets.lower().count(b"boundary") * octets.count(b"\n")
    if not body or work > WORK_MOST:
        return Mail(fields=fields, root=None)
    try:
        message = BytesParser(policy=compat32).parsebytes(octets)
        return Mail(fields=fields, root=_part(message, DEPTH_MOST))
    except (RecursionError, ValueError, LookupError, AssertionError):
        # What the library itself trips over.
        return Mail(fields=fields, root=None)


def _fields(header: bytes) -> Iterator[tuple[str, str]]:
    name, body = "", ""
    for line in header.decode("utf-8", "surrogateescape").split("\n"):
        if line[:1] in (" ", "\t") and name:
            body += line
            continue
        if name:
            yield name, body
        name, colon, body = line.partition(":")
        if not colon:
            name, body = "", ""
    if name:
        yield name, body


def _part(message: Message, depth: int) -> Part:
    payload = message.get_payload()
    inner: tuple[Part, ...] = ()
    octets = lines = deeper = 0
    if isinstance(payload, list):
        if depth > 0:
            inner = tuple(_part(one, depth - 1) for one in payload if isinstance(one, Message))
        else:
            deeper = len(payload)
        octets, lines = sum(one.octets for one in inner), sum(one.lines for one in inner)
    elif isinstance(payload, str):
        octets = len(payload.encode("utf-8", "surrogateescape"))
        lines = payload.count("\n") + (not payload.endswith("\n") and bool(payload))
    return Part(
        type=message.get_content_type(),
        charset=_text(message.get_content_charset()),
        encoding=_text(message.get("Content-Transfer-Encoding")).strip().lower(),
        disposition=_text(message.get_content_disposition()),
        name=decoded(_octets(message.get_filename())),
        octets=octets,
        lines=lines,
        parts=inner,
        deeper=deeper,
    )


def _octets(value: object) -> bytes:
    return _text(value).encode("utf-8", "surrogateescape")


def _text(value: object) -> str:
    """Give a header's value, which `email` may give as an object, as text."""
    return "" if value is None else str(value)
