"""One way in for all records, and out to every sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import trio

from popproxy.records import Record
from popproxy.sinks.base import Notices, Sink
from popproxy.sinks.elsewhere import TakesLines
from popproxy.sinks.losses import Losses
from popproxy.sinks.queued import QueuedSink

DRAIN = 2.0
"""Seconds that sinks get for writing what is left when the proxy ends."""


class Hub:
    """Hands each record to all sinks, and keeps their defects from the traffic (P25)."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        required: bool = False,
        *,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        """Take charge of sinks.

        Args:
            sinks: The sinks; the hub closes them.
            required: `flushed` is to wait for files and streams, and to say if they failed
                (`--require-log`). Views such as the terminal do not count, unless there is
                nothing else.
            on_notice: Called with a sentence for people if a sink has a defect.
        """
        self._sinks = tuple(sinks)
        self._required = required
        self._written = [sink for sink in self._sinks if isinstance(sink, QueuedSink)]
        self._others = [] if self._written else list(self._sinks)
        self._notices = Notices("output", on_notice)
        self._losses = Losses()

    def put(self, records: Iterable[Record]) -> None:
        """Give records to all sinks. Never blocks, never raises."""
        for record in records:
            if self._required:
                self._losses.watch(record)
            for sink in self._sinks:
                try:
                    sink.put(record)
                except Exception as error:  # noqa: BLE001 -- a defect in a sink must not reach the traffic (P25)
                    self._failed(sink, error)
                    if sink in self._written or sink in self._others:
                        self._losses.mark(record.session.id)

    async def flushed(self, session_id: str | None = None) -> bool:
        """Wait until every required sink has written all records that were put so far (P27).

        Returns at once, without a checkpoint, if nothing is required or all is written.
        Cancelling does no harm.

        Args:
            session_id: The session that asks. Without it the losses of any live session count.

        Returns:
            True if the session may go on; False if records of it could not be written, or if a
            sink fails now.
        """
        if not self._required:
            return True
        if self._losses.concern(session_id):
            return False
        for queued in self._written[1:]:
            queued.hurry()  # all write at the same time, while the first is waited for
        for queued in self._written:
            if not await queued.flushed(session_id):
                return False
        for sink in self._others:
            if not await sink.flushed():
                return False
        return True

    @property
    def healthy(self) -> bool:
        """Whether every sink writes records as they come."""
        return all(sink.healthy for sink in self._sinks)

    @property
    def lost(self) -> int:
        """Records that files and streams lost; after `aclose`, those too that it left unwritten."""
        return sum(sink.lost for sink in self._written)

    def reopen(self) -> None:
        """Have every file closed and opened again by its name, as after a rotation."""
        for sink in self._written:
            sink.reopen()

    async def aclose(self, deadline: float = DRAIN) -> int:
        """Have the sinks write what is left, and end them, all at the same time.

        Those that take lines about files end when the files are closed, so that the last line of
        each is among them; for that they wait half of the time at most.

        Args:
            deadline: Seconds that they have for it.

        Returns:
            How many records files and streams lost, in all.
        """
        # Shielded, because a proxy that is cancelled still has to write down how its sessions
        # ended. Bounded, because every sink keeps to the deadline.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                closed = trio.Event()
                for sink in self._sinks:
                    if isinstance(sink, TakesLines):
                        nursery.start_soon(self._close_behind, closed, sink, deadline)
                async with trio.open_nursery() as files:
                    for sink in self._sinks:
                        if not isinstance(sink, TakesLines):
                            files.start_soon(self._close, sink, deadline)
                closed.set()
        return self.lost

    async def _close_behind(self, closed: trio.Event, sink: Sink, deadline: float) -> None:
        until = time.monotonic() + deadline
        with trio.move_on_after(deadline / 2):
            await closed.wait()
        await self._close(sink, max(0.0, until - time.monotonic()))

    async def _close(self, sink: Sink, deadline: float) -> None:
        try:
            if isinstance(sink, QueuedSink):
                await sink.close(deadline)
            else:
                with trio.move_on_after(deadline):
                    await sink.close(deadline)
        except Exception as error:  # noqa: BLE001 -- the others have to be closed all the same
            self._failed(sink, error)

    def _failed(self, sink: Sink, error: Exception) -> None:
        # The types alone: the message may quote the record (P15).
        self._notices.warn(
            "sink_defect",
            f"a defect in popproxy ({type(error).__name__} in {type(sink).__name__}) keeps records"
            " from an output; please report it; the traffic is not affected",
            error=type(error).__name__,
            sink=type(sink).__name__,
        )
