"""What a spool's files hold: entries of length, CRC and message, and a position (see `spool`)."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass

_HEAD = struct.Struct("<II")  # the message's octets, and their CRC
_POSITION = struct.Struct("<QI")  # a number, and the CRC of its octets
HEAD = _HEAD.size
"""Octets of an entry in front of its message."""
POSITION = _POSITION.size
"""Octets of a position."""
SUFFIX = ".spool"
FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(slots=True)
class Segment:
    """A file of entries.

    Attributes:
        first: The number of its first message.
        count: How many messages it holds.
        octets: Its size.
    """

    first: int
    count: int = 0
    octets: int = 0

    @property
    def end(self) -> int:
        """The number behind its last message."""
        return self.first + self.count

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return f"{self.first:020d}{SUFFIX}"


def pack(message: bytes) -> bytes:
    """Make the entry of a message, which is not empty."""
    return _HEAD.pack(len(message), zlib.crc32(message)) + message


def octets_at(entries: bytes | memoryview, place: int) -> int:
    """Give the octets of the entry at a place, as its length says; `HEAD` octets are there."""
    length: int = _HEAD.unpack_from(entries, place)[0]
    return HEAD + length


def whole_messages(data: bytes) -> list[bytes]:
    """Give the messages of the whole entries at the beginning, up to one that is damaged."""
    messages: list[bytes] = []
    place = 0
    while place + HEAD <= len(data):
        length, check = _HEAD.unpack_from(data, place)
        message = data[place + HEAD : place + HEAD + length]
        if len(message) < length or not length or zlib.crc32(message) != check:
            break
        messages.append(message)
        place += HEAD + length
    return messages


def measured(directory: int, name: str) -> tuple[int, int]:
    """Give the octets of a file of entries, and the number of whole entries at its beginning.

    Args:
        directory: The descriptor of its directory.
        name: Its name.

    Raises:
        OSError: It cannot be read.
    """
    descriptor = os.open(name, os.O_RDONLY | FLAGS, dir_fd=directory)
    try:
        octets = os.fstat(descriptor).st_size
        data, count = b"", 0
        while block := os.read(descriptor, 1024 * 1024):
            data += block
            messages = whole_messages(data)
            count += len(messages)
            data = data[sum(map(len, messages)) + len(messages) * HEAD :]
            if len(data) >= HEAD and len(data) > octets_at(data, 0):
                break  # damaged: a whole entry, and not what its CRC says
    finally:
        os.close(descriptor)
    return octets, count


def pack_position(number: int) -> bytes:
    """Make what the file `position` holds."""
    octets = struct.pack("<Q", number)
    return octets + struct.pack("<I", zlib.crc32(octets))


def position_in(data: bytes) -> int | None:
    """Read what `pack_position` made; None if it is something else."""
    if len(data) < POSITION:
        return None
    number, check = _POSITION.unpack_from(data)
    return int(number) if zlib.crc32(data[:8]) == check else None
