"""Lines about the file itself, among its records: where it begins, what it continues, how it ends.

They are sealed like records (`popproxy.formats.chain`), have the records' schema and an
`event.action` that begins with `file.`, and belong to no session. Readers of records pass over
them; `popproxy verify --chain` reads them.

- `file.start` opens a file, or goes on with one that exists already. It names the file that the
  same output wrote before (`previous`), and the last line of that. If `continues` is set, the chain
  goes on behind that line, as if both were one file.
- `file.checkpoint` comes from time to time while records are written. Sent elsewhere, or signed,
  it proves what the chain was then.
- `file.removed` tells that retention deleted a file.
- `file.end` closes a file. A file without it is open, or was interrupted, or lost its tail.

All files of one output are a *series*, and have a number in it. With a signing key, each line about
the file carries an Ed25519 signature of its series, its number, its place in the chain, and the
hash of the line before it: of everything that stands in front of it, that is.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from popproxy import records
from popproxy.formats.chain import State
from popproxy.formats.jsonl import escape

START: Final = "file.start"
CHECKPOINT: Final = "file.checkpoint"
REMOVED: Final = "file.removed"
END: Final = "file.end"

FileAction = Literal["file.start", "file.checkpoint", "file.removed", "file.end"]


class _Part(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A nested object; members with their default value are left out."""


class FileEvent(_Part, kw_only=True, frozen=True):
    """What kind of line it is."""

    action: FileAction


class Earlier(_Part, kw_only=True, frozen=True):
    """A file of the same series that was written before."""

    number: Annotated[int, Meta(ge=1, description="Its number in the series.")]
    name: Annotated[str, Meta(description="Its name, without folders.")]
    n: Annotated[int, Meta(ge=0, description="Number of its last line.")] | None = None
    sha256: Annotated[str, Meta(description="The hash of its last line.")] | None = None

    @property
    def state(self) -> State | None:
        """How far its chain had come, if that is known."""
        if self.n is None or self.sha256 is None:
            return None
        try:
            digest = bytes.fromhex(self.sha256)
        except ValueError:
            return None
        return State(self.n, digest)


class FilePart(_Part, kw_only=True, frozen=True):
    """The file that the line stands in."""

    series: Annotated[str, Meta(description="The same for all files of one output.")]
    number: Annotated[int, Meta(ge=1, description="The file's number in its series, from 1.")]
    name: Annotated[str, Meta(description="The name it is written under, without folders.")]
    popproxy: Annotated[str, Meta(description="The version that writes it.")] | None = None
    previous: Earlier | None = None
    continues: Annotated[
        bool, Meta(description="The chain goes on behind the last line of `previous`.")
    ] = False
    removed: Annotated[
        Earlier | None, Meta(description="The file that retention deleted (file.removed).")
    ] = None
    reason: Annotated[str | None, Meta(description="Why: of file.end and file.removed.")] = None


class Signature(_Part, kw_only=True, frozen=True):
    """Ed25519 (RFC 8032), over `signed_text`."""

    key: Annotated[str, Meta(description="SHA-256 of the public key, its first 16 hex digits.")]
    ed25519: Annotated[bytes, Meta(description="The signature, in base64.")]


class ChainPart(_Part, kw_only=True, frozen=True):
    """The line's link in the chain of its file; always the last member."""

    n: Annotated[int, Meta(ge=1, description="Number of the line in the chain, from 1.")]
    sha256: Annotated[str, Meta(description="The running hash; see the manual, `records`.")]


class FileLine(
    Struct, kw_only=True, frozen=True, omit_defaults=True, rename={"timestamp": "@timestamp"}
):
    """A line about the file."""

    timestamp: Annotated[datetime, Meta(tz=True, description="UTC, microseconds.")]
    schema: Literal["popproxy/1"]
    event: FileEvent
    file: FilePart
    signature: Signature | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(FileLine)


def encode(line: FileLine) -> bytes:
    """Write a line about the file, ended by LF and not yet sealed."""
    return escape(_encoder.encode_lines([line]))


def decode(line: bytes) -> FileLine | None:
    """Read a line about the file.

    Returns:
        It; None if it is none, or has been damaged.
    """
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def key_name(public: bytes) -> str:
    """Name a signing key.

    Args:
        public: The public key's 32 octets.
    """
    return hashlib.sha256(public).hexdigest()[:16]


def signed_text(
    series: str, number: int, before: State, action: str, removed: int | None = None
) -> bytes:
    """Give what a line about the file signs.

    Args:
        series: Its series.
        number: The file's number.
        before: The chain in front of the line.
        action: The line's action.
        removed: Number of the file that it says was removed.
    """
    text = b"popproxy %b\nseries %b\nfile %d\nline %d\nsha256 %b\n" % (
        action.encode(),
        series.encode(),
        number,
        before.n,
        before.digest.hex().encode(),
    )
    return text if removed is None else b"%bremoved %d\n" % (text, removed)


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of a line of a file: a record, or a line about the file."""
    schema = records.json_schema()
    references, definitions = msgspec.json.schema_components(
        [FileLine, ChainPart], ref_template="#/$defs/{name}"
    )
    about, chain = references
    schema["anyOf"].append(about)
    schema["$defs"].update(definitions)
    for line in schema["anyOf"]:
        name = line["$ref"].rpartition("/")[2]
        schema["$defs"][name]["properties"]["chain"] = chain
    return schema
