r"""JSON lines: one record, one object, one line (P44).

msgspec's encoder escapes what JSON demands, the C0 controls. On top of that, the characters that
some reader takes for the end of a line (U+0085, U+2028, U+2029) and those that could act on the
terminal of a person who looks at the file are written as `\uXXXX`: the same set as in
`popproxy.formats.escape`. Any JSON parser gives the characters back.

A reader tolerates members that it does not know, as a later popproxy may write them under the same
schema, and refuses another schema, as its known members may mean something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import msgspec

from popproxy.formats.errors import FormatError, TornError, quoted, shown
from popproxy.formats.escape import ALWAYS_ESCAPED
from popproxy.records import RECORD_TYPES, SCHEMA, Record

_encoder = msgspec.json.Encoder()
_ESCAPED = re.compile(f"[{ALWAYS_ESCAPED}]")
_DEL = 0x7F
_HARMLESS = bytes(range(_DEL))
_ABOUT_FILE = b'"event":{"action":"file.'
_ACTION_AHEAD = 120  # octets in which a line has told its action


def escape(encoded: bytes) -> bytes:
    r"""Write what P44 wants escaped as `\uXXXX`.

    Args:
        encoded: JSON in UTF-8. Such characters can only stand in its strings, where the escape
            means the same.
    """
    if encoded.isascii() and _DEL not in encoded:
        return encoded
    # Searching is slow, and in most languages' text little is left without ASCII.
    if not _ESCAPED.search(encoded.translate(None, _HARMLESS).decode()):
        return encoded
    return _ESCAPED.sub(lambda match: f"\\u{ord(match.group()):04x}", encoded.decode()).encode()


def encode(record: Record) -> bytes:
    """Write a record as one line, ended by LF.

    Args:
        record: Any record whose text can be UTF-8, as `popproxy.privacy` makes them.
    """
    # A list, since msgspec never frees the iterator that it makes for anything else.
    return escape(_encoder.encode_lines([record]))


def is_about_file(line: bytes) -> bool:
    """Tell whether a line is about the file (`popproxy.formats.file_lines`), and no record.

    popproxy writes the members of a line in one order, so that a look at its beginning will do,
    and nothing that a peer said can stand there.
    """
    return line.find(_ABOUT_FILE, 0, _ACTION_AHEAD) > 0


class JsonLinesWriter:
    """Writes a capture as JSON lines. It keeps no state: any record may come first (rotation)."""

    def write(self, record: Record) -> bytes:
        """Give the line of a record."""
        return encode(record)

    def end(self) -> bytes:
        """Give what belongs at the end of a file: nothing."""
        return b""


class _Action(msgspec.Struct):
    action: str


class _Outline(msgspec.Struct):
    """What has to be known of a line before the rest of it can be read."""

    schema: str
    event: _Action


_outline = msgspec.json.Decoder(_Outline)


@cache
def _decoder(action: str) -> msgspec.json.Decoder[Any]:
    """Make a decoder once it is needed: all of them take a thirtieth of a start."""
    return msgspec.json.Decoder(RECORD_TYPES[action])


def decode(line: bytes | str, number: int = 0) -> Record:
    """Read one line.

    Args:
        line: The line, with or without its end. Members with unknown names are passed over.
        number: The line's number in its file, from 1, for the message of an error.

    Raises:
        FormatError: It is no record of this schema. The message says why, and what to do.
    """
    try:
        outline = _outline.decode(line)
        kind = check_kind(outline.schema, outline.event.action, number)
        record: Record = _decoder(kind).decode(line)
    except msgspec.ValidationError as error:
        raise FormatError(
            f"this is JSON, but no record of a capture: {shown(str(error))}. Check whether the file"
            " was written by popproxy, or changed afterwards",
            number,
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            f"this is not JSON: {shown(str(error))}. Remove the line, or take the file from before"
            " it was changed",
            number,
        ) from None
    return record


def check_kind(schema: str, action: str, line: int) -> str:
    """Refuse records that this version cannot read.

    Args:
        schema: The record's schema.
        action: Its `event.action`.
        line: The line's number, for the message.

    Returns:
        The action.

    Raises:
        FormatError: Schema or action is not known.
    """
    if schema != SCHEMA:
        raise FormatError(
            f"the schema is {quoted(schema)}, and this version of popproxy reads {SCHEMA} only:"
            " use the version that wrote the file, or a later one",
            line,
        )
    if action not in RECORD_TYPES:
        raise FormatError(
            f"event.action is {quoted(action)}, which this version of popproxy does not know:"
            " use the version that wrote the file, or a later one",
            line,
        )
    return action


def read(
    lines: Iterable[bytes], *, on_error: Callable[[FormatError], None] | None = None
) -> Iterator[Record]:
    """Read a capture.

    Args:
        lines: The file's lines, ends included, as iterating over a binary file gives them. Empty
            lines are passed over, and those about the file itself.
        on_error: Called with the error of a line that cannot be read, `TornError` among them;
            reading goes on with the next line. Without it, errors are raised.

    Yields:
        The records, in the file's order.

    Raises:
        TornError: The last line was cut off while it was written; all other records came before.
        FormatError: A line is no record.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip() or is_about_file(line):
            continue
        try:
            record = decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, number)
        except FormatError as error:
            found = error
            if not line.endswith(b"\n"):
                found = TornError(
                    "the last line is torn: it was cut off while it was written, and its record is"
                    " lost; the records before it are whole",
                    number,
                )
            if on_error is None:
                raise found from None
            on_error(found)
        else:
            yield record
