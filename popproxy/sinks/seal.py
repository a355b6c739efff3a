"""Seals the files of JSON lines that an output writes; see `popproxy.formats.chain`.

A line counts when it is in its file. A write that failed and left nothing is made once more, from
the chain as it was: `_written` is the chain behind what is in the file for certain.

Checkpoints are made behind a record, when it is time: while no records come there is nothing that
they could tell.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import msgspec

from popproxy import __version__
from popproxy.formats import chain
from popproxy.formats.chain import State
from popproxy.formats.file_lines import CHECKPOINT, END, REMOVED, START, Earlier
from popproxy.formats.sealing import Sealing
from popproxy.sinks import tail
from popproxy.sinks.base import Notices
from popproxy.sinks.keeping import Closing, Keeper, utc_now
from popproxy.sinks.naming import Template
from popproxy.sinks.series import Chain, Series, earlier


def seals(path_template: str, chain: Chain) -> Callable[[str], Keeper]:
    """Give what makes the seals of a sink's outputs, as `FileSink` wants it.

    Args:
        path_template: The sink's.
        chain: How to seal.

    Raises:
        TemplateError: The template cannot name a file.
    """
    series = Series(Template(path_template), Notices(f"--jsonl {path_template}"))

    def make(path: str) -> Seal:
        # Before anything is done with files: the last one may be set aside, or packed, first.
        series.load(path)
        return Seal(series, chain, path)

    return make


class Seal:
    """Keeps the books of one output; see `popproxy.sinks.keeping.Keeper`."""

    __slots__ = (
        "_chain",
        "_closing",
        "_due",
        "_lines",
        "_opening",
        "_path",
        "_previous",
        "_reserved",
        "_sealing",
        "_series",
        "_telling",
        "_written",
    )

    def __init__(self, series: Series, chain: Chain, path: str) -> None:
        """Begin without a file.

        Args:
            series: The series of the files.
            chain: How to seal.
            path: The path of the output's files.
        """
        self._series = series
        self._chain = chain
        self._path = path
        self._reserved = 0  # the number of a file whose first line is not yet written
        self._sealing: Sealing | None = None
        # The chain behind the last line of this output's file, and that file.
        self._written, self._previous = series.without_end.pop(path, (None, None))
        self._opening = False
        self._closing = False
        self._lines: list[tuple[str, bytes]] = []  # about the file, made and not yet written
        self._due = 0.0
        self._telling: list[Earlier] = []  # files of which a line tells that is not yet written

    def opened(self, path: str, size: int) -> bytes:
        """See `Keeper.opened`."""
        series = self._series
        self._path = path
        self._take_back()
        self._reserved = self._reserved or series.reserve()
        state, previous = self._base(path, size)
        name = os.path.basename(path)  # noqa: PTH119 -- paths are text here
        self._sealing = Sealing(
            series.id, self._reserved, name, sign=self._chain.sign, state=state or chain.START
        )
        self._opening = True
        self._due = time.monotonic() + self._chain.checkpoint
        if tail.is_regular(path):
            series.announce(self._reserved, path, previous)
        return self._about(
            START,
            self._sealing.start(utc_now(), __version__, previous, continues=state is not None),
        )

    def _base(self, path: str, size: int) -> tuple[State | None, Earlier | None]:
        """Give the chain to go on from, None if a new one begins, and the file before."""
        last = self._series.last
        if self._written is not None:
            return self._written, self._previous
        if size:
            left = tail.last_link(path)
            if left is not None:
                name = os.path.basename(path)  # noqa: PTH119 -- paths are text here
                return left, earlier(last.number if last is not None else 1, name, left)
        if last is None:
            return None, None
        if self._series.single and last.state is not None:
            return last.state, last
        return None, Earlier(number=last.number, name=last.name)

    def seal(self, octets: bytes) -> bytes:
        """See `Keeper.seal`."""
        sealing = self._sealing
        if sealing is None or not octets:
            return octets
        sealed = sealing.record(octets) + self._removals(sealing)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._chain.checkpoint
            sealed += self._about(CHECKPOINT, sealing.checkpoint(utc_now()))
        return sealed

    def _removals(self, sealing: Sealing) -> bytes:
        """Give lines about files that were removed since."""
        files = self._series.to_tell()
        self._telling += files
        lines = (sealing.removed(utc_now(), file, "expired") for file in files)
        return b"".join(self._about(REMOVED, line) for line in lines)

    def _take_back(self) -> None:
        """Forget what was made and is not in the file."""
        self._lines.clear()
        self._series.not_told(self._telling)
        self._telling.clear()
        self._closing = False

    def _about(self, action: str, line: bytes) -> bytes:
        if self._chain.on_line is not None:
            self._lines.append((action, line))
        return line

    def written(self) -> None:
        """See `Keeper.written`."""
        sealing = self._sealing
        if sealing is None:
            return
        name = os.path.basename(self._path)  # noqa: PTH119 -- paths are text here
        here = msgspec.structs.replace(sealing.here, name=name)
        self._written, self._previous = sealing.state, here
        self._series.reached(here)
        if (self._opening or self._closing) and tail.is_regular(self._path):
            closed = sealing.state if self._closing else None
            self._series.remember(here.number, self._path, closed)
        self._series.without_end.pop(self._path, None)
        if self._closing:
            self._sealing = None
        else:
            self._series.without_end[self._path] = sealing.state, here
        self._opening = self._closing = False
        self._reserved = 0
        if self._telling:
            self._series.told(self._telling)
            self._telling.clear()
        lines, self._lines = self._lines, []
        for action, line in lines:
            if self._chain.on_line is not None:
                with contextlib.suppress(Exception):  # who sends it elsewhere tells of trouble
                    self._chain.on_line(action, line)

    @property
    def lacks_end(self) -> bool:
        """See `Keeper.lacks_end`."""
        return self._sealing is not None and tail.is_regular(self._path)

    def closing(self, reason: Closing) -> bytes:
        """See `Keeper.closing`."""
        sealing = self._sealing
        if sealing is None:
            return b""
        if reason == "rotated":  # what waits was perhaps sealed already, and goes elsewhere
            self._take_back()
            if self._written is None:
                return b""
            sealing.state = self._written
        self._closing = True
        told = self._removals(sealing)
        return told + self._about(END, sealing.end(utc_now(), reason))

    def set_aside(self, path: str, now: str) -> None:
        """See `Keeper.set_aside`; an earlier process may have left the file without its end."""
        self._path = now
        self._series.without_end.pop(path, None)
        if self._written is None:  # an earlier process wrote it, and the chain goes on behind that
            last, name = self._series.last, os.path.basename(now)  # noqa: PTH119 -- as above
            self._written = tail.last_link(now)
            self._previous = earlier(last.number if last is not None else 1, name, self._written)

    def removing(self, path: str) -> None:
        """See `Keeper.removing`: the chain tells of it behind the next record."""
        name = os.path.basename(path)  # noqa: PTH119 -- paths are text here
        _, numbers = tail.file_lines(path)
        self._series.remove([Earlier(number=number, name=name) for number in sorted(numbers)])
