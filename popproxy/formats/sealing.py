"""Makes the lines of one sealed file, in the order in which they are to be written.

It knows neither files nor clocks. The chain's state can be taken and put back, so that a caller who
could not write a line can make it once more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from popproxy.formats import chain
from popproxy.formats.chain import State
from popproxy.formats.file_lines import (
    CHECKPOINT,
    END,
    REMOVED,
    START,
    Earlier,
    FileAction,
    FileEvent,
    FileLine,
    FilePart,
    Signature,
    encode,
    signed_text,
)

Sign = Callable[[bytes], Signature]
"""Signs a text."""


class Sealing:
    """Seals the lines of a file.

    Args:
        series: The series that the file belongs to.
        number: The file's number in it.
        name: The file's name, without folders.
        sign: Signs lines about the file; None leaves them unsigned.
        state: The chain in front of the file's first line.

    Attributes:
        state: The chain behind the last line that was made. May be put back to an earlier one.
    """

    __slots__ = ("_name", "_number", "_series", "_sign", "state")

    def __init__(
        self,
        series: str,
        number: int,
        name: str,
        *,
        sign: Sign | None = None,
        state: State = chain.START,
    ) -> None:
        self._series = series
        self._number = number
        self._name = name
        self._sign = sign
        self.state = state

    @property
    def here(self) -> Earlier:
        """The file as the one behind it will name it."""
        return Earlier(
            number=self._number,
            name=self._name,
            n=self.state.n,
            sha256=self.state.digest.hex(),
        )

    def record(self, line: bytes) -> bytes:
        """Seal the line of a record; see `popproxy.formats.chain.seal`."""
        self.state, sealed = chain.seal(self.state, line)
        return sealed

    def start(
        self, when: datetime, version: str, previous: Earlier | None = None, *, continues: bool
    ) -> bytes:
        """Make the line that opens the file.

        Args:
            when: The time, in UTC.
            version: popproxy's.
            previous: The file before it.
            continues: Whether the chain goes on from that.
        """
        return self._about(
            START, when, popproxy=version, previous=previous, continues=continues and bool(previous)
        )

    def checkpoint(self, when: datetime) -> bytes:
        """Make a line that tells how far the chain has come."""
        return self._about(CHECKPOINT, when)

    def removed(self, when: datetime, file: Earlier, reason: str) -> bytes:
        """Make the line that tells that retention deleted a file, and why."""
        return self._about(REMOVED, when, removed=file, reason=reason)

    def end(self, when: datetime, reason: str) -> bytes:
        """Make the line that closes the file, and says why."""
        return self._about(END, when, reason=reason)

    def _about(
        self,
        action: FileAction,
        when: datetime,
        *,
        popproxy: str | None = None,
        previous: Earlier | None = None,
        continues: bool = False,
        removed: Earlier | None = None,
        reason: str | None = None,
    ) -> bytes:
        signature = None
        if self._sign is not None:
            gone = removed.number if removed is not None else None
            text = signed_text(self._series, self._number, self.state, action, gone)
            signature = self._sign(text)
        line = FileLine(
            timestamp=when,
            schema="popproxy/1",
            event=FileEvent(action=action),
            file=FilePart(
                series=self._series,
                number=self._number,
                name=self._name,
                popproxy=popproxy,
                previous=previous,
                continues=continues,
                removed=removed,
                reason=reason,
            ),
            signature=signature,
        )
        return self.record(encode(line))
