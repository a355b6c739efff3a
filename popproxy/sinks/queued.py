"""Sinks with a queue and a thread of their own: the loop never waits for a disk (P54).

See `popproxy.sinks.handover` for what loop and thread share, `popproxy.sinks.pump` for the thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import trio

from popproxy.records import Record
from popproxy.sinks.backlog import QUEUE_OCTETS
from popproxy.sinks.base import Notices
from popproxy.sinks.handover import Handover
from popproxy.sinks.pump import GATHER, RETRY, Outputs, Pump
from popproxy.sinks.state import SinkState
from popproxy.sinks.turns import TURN

_GRACE = 0.2
"""Seconds that the thread gets, beyond the deadline that it observes itself, for its last write."""


class QueuedSink:
    """A sink whose outputs are written by a thread."""

    def __init__(
        self,
        make_outputs: Callable[[Callable[[Record], None]], Outputs],
        *,
        notices: Notices,
        queue_octets: int = QUEUE_OCTETS,
        gather: float = GATHER,
        retry: float = RETRY,
    ) -> None:
        """Prepare the sink; its thread starts with the first record.

        Args:
            make_outputs: Makes the outputs; is given what to call with a record that is lost
                because its format cannot express it.
            notices: Where to tell people about trouble.
            queue_octets: Memory that records may take that wait for being written.
            gather: Seconds to gather records for before they are written.
            retry: Seconds between two attempts at an output that fails.
        """
        self._notices = notices
        self._handover = Handover(queue_octets)
        outputs = make_outputs(self._handover.lose)
        self._pump = Pump(self._handover, outputs, notices, gather=gather, retry=retry)
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """What people call it, as `--jsonl all.jsonl`."""
        return self._notices.output

    def start(self) -> None:
        """Begin what does not wait for a record, if there is such a thing."""

    def put(self, record: Record) -> None:
        """Take a record; never waits for an output, never raises.

        Where the thread cannot keep up because the loop has the interpreter for itself, the loop
        lends it for a moment: that costs the traffic less than a lost record costs an audit.
        """
        pressed = self._handover.put(record)
        if self._thread is None:
            self._ensure_thread()
        elif pressed:
            time.sleep(TURN)

    def _ensure_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._pump.run, name="popproxy-sink", daemon=True)
            # If there can be no more threads now, the next record tries again.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def hurry(self) -> None:
        """Have the thread write at once what is there."""
        self._handover.hurry()

    async def flushed(self, session_id: str | None = None) -> bool:
        """Wait until everything that was put so far is written (P27).

        Returns at once, without a checkpoint, if it is. Cancelling does no harm.

        Args:
            session_id: The session that asks. Without it the losses of any live session count.

        Returns:
            False if the session lost a record, or if an output fails or stalls.
        """
        self._ensure_thread()
        if self._thread is None:
            return False
        return await self._handover.flushed(session_id)

    def reopen(self) -> None:
        """Close the files and open them again by their names, as after a rotation."""
        self._handover.reopen()

    async def close(self, deadline: float) -> None:
        """Write what is left, for at most `deadline` seconds, and end; see `lost` afterwards."""
        self._handover.begin_close(time.monotonic() + deadline)
        if self._thread is not None:
            # Real time and not trio's, which tests turn forward at will. Shielded, because a proxy
            # that is cancelled still has to write down how its sessions ended.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._thread.join, deadline + _GRACE)
        if self._handover.end_close() and self.lost:
            self._notices.inform(
                "records_lost",
                f"{self._notices.output}: {self.lost} records were lost",
                lost=self.lost,
            )

    def stuck(self, seconds: float) -> bool:
        """Say whether the thread is held up; see `Handover.stuck`."""
        return self._handover.stuck(seconds)

    @property
    def state(self) -> SinkState:
        """How the sink is now; costs a moment's lock, and nothing while nobody asks."""
        return self._handover.state(self.name, self._pump.trouble)

    @property
    def healthy(self) -> bool:
        """Whether records are being written as they come."""
        return self._handover.healthy

    @property
    def lost(self) -> int:
        """Records that were lost so far; after `close`, those too that it left unwritten."""
        return self._handover.lost
