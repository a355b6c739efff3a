"""Reads messages from a spool's segments, one behind the other, and remembers where it was."""

from __future__ import annotations

import os

from popproxy.sinks.spool_entries import FLAGS, HEAD, Segment, octets_at, whole_messages


class Reader:
    """Reads from one segment at a time. The caller holds the spool's lock."""

    def __init__(self) -> None:
        """Begin with nothing open."""
        self._open: tuple[Segment, int] | None = None  # and its descriptor
        self._place = (0, 0)  # the number of a message, and where it lies in the segment

    def close(self, segment: Segment | None = None) -> None:
        """Close the segment that is open, or only this one."""
        if self._open is not None and segment in (None, self._open[0]):
            os.close(self._open[1])
            self._open = None

    def read(
        self, directory: int | None, segment: Segment, number: int, octets: int
    ) -> list[bytes]:
        """Read messages.

        Args:
            directory: The descriptor of the spool's folder.
            segment: Where they lie.
            number: The number of the first that is wanted.
            octets: About how much; one message at least.

        Returns:
            They; none if the segment is damaged there.

        Raises:
            OSError: It cannot be read.
        """
        if self._open is None or self._open[0] is not segment:
            self.close()
            descriptor = os.open(segment.name, os.O_RDONLY | FLAGS, dir_fd=directory)
            self._open = segment, descriptor
            self._place = segment.first, 0
        if self._place[0] > number:
            self._place = segment.first, 0
        messages: list[bytes] = []
        while self._place[0] < segment.end and not messages:
            found = self._block(segment, octets)
            if not found:
                break
            at, offset = self._place
            messages = found[max(0, number - at) :]
            self._place = at + len(found), offset + sum(map(len, found)) + HEAD * len(found)
        return messages

    def _block(self, segment: Segment, octets: int) -> list[bytes]:
        """Read the whole entries in the next octets, one at least unless it is damaged."""
        assert self._open is not None  # noqa: S101 - the caller opened it
        descriptor, offset = self._open[1], self._place[1]
        data = os.pread(descriptor, min(max(octets, HEAD), segment.octets - offset), offset)
        found = whole_messages(data)
        if not found and len(data) >= HEAD:
            # Not more than there is, whatever a damaged length says.
            wanted = min(octets_at(data, 0), segment.octets - offset)
            found = whole_messages(os.pread(descriptor, wanted, offset))
        return found
