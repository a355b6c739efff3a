"""The sink that shows sessions on the terminal while they happen.

Queue, thread and their limits are those of every other output (`popproxy.sinks.queued`): the event
loop hands records over and never waits, whether the terminal is slow, stopped by Ctrl-S, or gone.
What a stopped terminal has no room for is dropped in whole records, and one line says how many.

It is a view and no evidence: the hub asks it for `--require-log` only if there is no other output.
That is why it holds a queued sink instead of being one.
"""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Callable
from datetime import tzinfo
from typing import IO

from rich.console import Console

from popproxy.records import Record
from popproxy.sinks.base import Notices
from popproxy.sinks.output import Output
from popproxy.sinks.pump import GATHER, RETRY
from popproxy.sinks.queued import QueuedSink
from popproxy.sinks.stream_sink import StreamOutputs
from popproxy.sinks.target import StreamTarget, Target
from popproxy.sinks.terminal.ink import glyphs_for, palette_for
from popproxy.sinks.terminal.lines import CAP
from popproxy.sinks.terminal.transcript import FOLD, Transcript

QUEUE_OCTETS = 4 * 1024 * 1024
"""Memory that records may take that wait for the terminal."""
_RESIZE = 0.2  # seconds


class TerminalSink:
    """Shows records on a console.

    Args:
        console: Where to write, with which colours, how wide; see `make_console`. It is asked for
            these things only and never prints. Its file stays open.
        fold: Lines of a multi-line response that are shown; the others are counted.
        cap: Octets of a line that are shown; the others are counted (P49).
        tz: Time zone of the times shown; local time if None.
        queue_octets: Memory that records may take that wait for the terminal.
        gather: Seconds to gather records for before they are shown.
        retry: Seconds between two attempts after a failure.
        on_notice: Called with a sentence for people, in the sink's thread.
    """

    def __init__(
        self,
        console: Console,
        *,
        fold: int = FOLD,
        cap: int = CAP,
        tz: tzinfo | None = None,
        queue_octets: int = QUEUE_OCTETS,
        gather: float = GATHER,
        retry: float = RETRY,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        encoding = console.encoding
        palette, glyphs = palette_for(console), glyphs_for(encoding)
        notices = _TerminalNotices("the terminal", on_notice)

        def make_writer() -> Transcript:
            return Transcript(
                palette,
                glyphs,
                _Width(console),
                encoding=encoding,
                fold=fold,
                cap=cap,
                tz=tz,
            )

        def make_outputs(on_lost: Callable[[Record], None]) -> _TerminalOutputs:
            target = _target(console.file, encoding)
            output = Output(target, make_writer, notices=notices, on_lost=on_lost)
            return _TerminalOutputs(output, one_by_one=False, notices=notices)

        self._queued = QueuedSink(
            make_outputs, notices=notices, queue_octets=queue_octets, gather=gather, retry=retry
        )

    def put(self, record: Record) -> None:
        """Take a record. Never blocks, never raises."""
        self._queued.put(record)

    async def flushed(self, session_id: str | None = None) -> bool:
        """Wait until everything that was put so far is shown; see `QueuedSink.flushed`.

        Args:
            session_id: The session that asks. Without it the losses of any live session count.

        Returns:
            False if records were lost, or if the terminal is stopped or gone.
        """
        return await self._queued.flushed(session_id)

    async def close(self, deadline: float) -> None:
        """Show what is left, for at most `deadline` seconds, and end."""
        await self._queued.close(deadline)

    @property
    def healthy(self) -> bool:
        """Whether records are being shown as they come."""
        return self._queued.healthy

    @property
    def lost(self) -> int:
        """Records that were not shown."""
        return self._queued.lost


class _Width:
    """A console's width, looked at no more often than people drag windows."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = 0
        self._until = 0.0

    def __call__(self) -> int:
        """Give the width in columns."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + _RESIZE
            self._width = self._console.width
        return self._width


class _TerminalNotices(Notices):
    """Keeps quiet about a terminal that is stopped: somebody stopped it, and a line tells."""

    def warn(self, topic: str, text: str, **facts: str | int) -> bool:
        """Give a warning; see `Notices.warn`."""
        return topic != "output_trouble" and super().warn(topic, text, **facts)


class _TerminalOutputs(StreamOutputs):
    """The terminal as the one output; a terminal that hangs up does not come back (EIO)."""

    def give_up(self, output: Output, error: OSError) -> bool:
        """See `Outputs.give_up`."""
        return error.errno in {errno.EIO, errno.ENXIO} or super().give_up(output, error)


class _FileObjectTarget:
    """A console's file that is no descriptor, as a program has that captures its own output."""

    is_open = False
    name = "the terminal"

    def __init__(self, file: IO[str], encoding: str) -> None:
        self._file = file
        self._encoding = encoding

    def open(self) -> bool:
        """See `Target.open`."""
        return False

    def write(self, data: memoryview) -> int:
        """See `Target.write`."""
        try:
            self._file.write(str(data, self._encoding))
            self._file.flush()
        except ValueError:  # the file was closed
            raise OSError(errno.EBADF, "closed") from None
        return len(data)

    def cut(self, excess: int) -> bool:
        """See `Target.cut`."""
        return False

    def vanished(self) -> bool:
        """See `Target.vanished`."""
        return False

    def close(self) -> None:
        """See `Target.close`; the file is the caller's."""


def _target(file: IO[str], encoding: str) -> Target:
    try:
        # Past the file object: a thread that a stopped terminal blocks must not hold its lock.
        return StreamTarget(file.fileno(), "the terminal")
    except (io.UnsupportedOperation, AttributeError, ValueError):
        return _FileObjectTarget(file, encoding)
