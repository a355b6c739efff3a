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
from popproxy.sinks.series import Chain, Series


def seals(path_template: str, chain: Chain) -> Callable[[str], Keeper]:
    """Give what makes the seals of a sink's outputs, as `FileSink` wants it.

    Args:
        path_template: The sink's.
        chain: How to seal.

    Raises:
        TemplateError: The template cannot name a file.
    """
    series = Series(Template(path_template), Notices(f"--jsonl {path_template}"))
    return lambda _path: Seal(series, chain)


class Seal:
    """Keeps the books of one output; see `popproxy.sinks.keeping.Keeper`."""

    __slots__ = (
        "_chain",
        "_closing",
        "_due",
        "_ended",
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

    def __init__(self, series: Series, chain: Chain) -> None:
        """Begin without a file.

        Args:
            series: The series of the files.
            chain: How to seal.
        """
        self._series = series
        self._chain = chain
        self._path = ""
        self._reserved = 0  # the number of a file whose first line is not yet written
        self._sealing: Sealing | None = None
        self._written: State | None = None  # the chain behind the last line of this output's file
        self._previous: Earlier | None = None  # that file
        self._opening = False
        self._closing = False
        self._ended = False
        self._lines: list[tuple[str, bytes]] = []  # about the file, made and not yet written
        self._due = 0.0
        self._telling: list[Earlier] = []  # files of which a line tells that is not yet written

    def opened(self, path: str, size: int) -> bytes:
        """See `Keeper.opened`."""
        series = self._series
        series.load(path)
        self._path = path
        self._lines.clear()
        self._series.removed.extendleft(reversed(self._telling))
        self._telling.clear()
        self._closing = False
        self._reserved = self._reserved or series.reserve()
        state, previous = self._base(path, size)
        name = os.path.basename(path)  # noqa: PTH119 -- paths are text here
        self._sealing = Sealing(
            series.id, self._reserved, name, sign=self._chain.sign, state=state or chain.START
        )
        self._opening = True
        self._due = time.monotonic() + self._chain.checkpoint
        if tail.is_regular(path):
            series.remember(self._reserved, path, state=None, pending=True)
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
                number = last.number if last is not None else 1
                name = os.path.basename(path)  # noqa: PTH119 -- paths are text here
                return left, Earlier(number=number, name=name, n=left.n, sha256=left.digest.hex())
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
        sealed = sealing.record(octets)
        removed = self._series.removed
        while removed:
            file = removed.popleft()  # the sink's thread alone takes them
            sealed += self._about(REMOVED, sealing.removed(utc_now(), file, "expired"))
            self._telling.append(file)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._chain.checkpoint
            sealed += self._about(CHECKPOINT, sealing.checkpoint(utc_now()))
        return sealed

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
            self._series.remember(here.number, self._path, state=closed, pending=False)
        if self._closing:
            self._sealing = None
        self._opening = self._closing = False
        self._reserved = 0
        self._telling.clear()
        lines, self._lines = self._lines, []
        for action, line in lines:
            if self._chain.on_line is not None:
                with contextlib.suppress(Exception):  # who sends it elsewhere tells of trouble
                    self._chain.on_line(action, line)

    def closing(self, reason: Closing) -> bytes:
        """See `Keeper.closing`."""
        if self._sealing is None:
            return b""
        self._closing = True
        return self._about(END, self._sealing.end(utc_now(), reason))

    def set_aside(self, path: str, now: str) -> None:
        """See `Keeper.set_aside`; an earlier process may have left the file without its end."""
        self._series.load(now)
        self._path = now

    def removing(self, path: str) -> None:
        """See `Keeper.removing`: the chain tells of it behind the next record."""
        name = os.path.basename(path)  # noqa: PTH119 -- paths are text here
        _, numbers = tail.file_lines(path)
        removed = (Earlier(number=number, name=name) for number in sorted(numbers))
        self._series.removed.extend(removed)
