"""The thread of a sink: takes records, has them encoded and written, and copes with failures.

It gathers records for `GATHER` seconds, so that a busy proxy wakes it six times a second and
not at every record, and a SIGKILL loses no more than that (P64). Who waits for records to be
written, or a backlog that grows fast, makes it start at once.

While it computes, and not while it waits for a disk or a pipe, it says so (`Handover.computing`):
should records come faster than it can encode them, the loop leaves it the interpreter.

When an output fails (P61) its records keep their room and it is tried again every `RETRY` seconds.
So a full disk that is emptied in time costs nothing; else the room runs out, and from there on
whole records are dropped, counted, and told of by one `gap` record (P54).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from popproxy.sinks.backlog import Entry, Loss
from popproxy.sinks.base import Notices, explain
from popproxy.sinks.handover import Handover, Work
from popproxy.sinks.output import Output
from popproxy.sinks.turns import Turns

GATHER = 0.15
RETRY = 0.5
STALL = 1.0
"""Seconds without room after which a pipe counts as failing."""


class Outputs(Protocol):
    """Says which output each record goes to. Only the sink's thread calls it."""

    def place(self, entry: Entry) -> Iterable[Output]:
        """Add an entry to its output, or a loss to all outputs that it concerns.

        Returns:
            The outputs; none if there is no place for the record.
        """
        ...

    def written(self, output: Output) -> None:
        """Hear that an output has nothing more to write."""
        ...

    def give_up(self, output: Output, error: OSError) -> bool:
        """Hear that an output failed; True if the whole sink had better end."""
        ...

    def reopen(self) -> Iterable[Output]:
        """Have everything opened again by name; give the outputs that end by it."""
        ...

    def end(self) -> Iterable[Output]:
        """End all outputs, and give them."""
        ...

    def close(self) -> None:
        """Give all descriptors back."""
        ...


class Pump:
    """Moves records from a handover to outputs; `run` is the thread.

    Attributes:
        trouble: Why an output could not be written last, in words; empty if it always could.
    """

    def __init__(
        self,
        handover: Handover,
        outputs: Outputs,
        notices: Notices,
        *,
        gather: float = GATHER,
        retry: float = RETRY,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            handover: Where records come from.
            outputs: Where they go.
            notices: Where to tell people about trouble.
            gather: Seconds to gather records for before they are written.
            retry: Seconds between two attempts at an output that fails.
        """
        self._handover = handover
        self._outputs = outputs
        self._notices = notices
        self._gather = gather
        self._retry = retry
        self.trouble = ""
        self._busy: dict[Output, None] = {}
        self._unsynced: dict[Output, None] = {}  # written, and waiting for the disk
        self._taken = 0
        self._gone = False
        self._lost_before: int | None = None  # losses before the trouble that people were told of

    def run(self) -> None:
        """Work until the handover is closed."""
        closing_at: float | None = None
        try:
            while not self._gone and (
                closing_at is None or (self._busy and time.monotonic() < closing_at)
            ):
                work = self._handover.next(self._until_retry(), self._gather)
                closing_at = work.closing_at
                self._deal_with(work)
                del work  # else its records would be kept as long as none come
            self._outputs.close()
        finally:
            self._settle(stopped=True)

    def _report(self, error: Exception) -> None:
        # The type alone: the message may quote a record (P15).
        self.trouble = f"a defect in popproxy ({type(error).__name__})"
        self._notices.warn(
            "sink_defect",
            f"{self._notices.output}: a defect in popproxy ({type(error).__name__}) keeps records"
            " from being written; please report it; the traffic is not affected",
            error=type(error).__name__,
        )

    def _until_retry(self) -> float | None:
        due = [output.retry_at for output in self._busy if not output.waits_for_another]
        due += [output.sync_at for output in self._unsynced]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _deal_with(self, work: Work) -> None:
        turns = Turns()
        self._handover.computing = True
        for entry in work.entries:
            turns.offer()
            self._place(entry)
        self._handover.computing = False
        if work.reopening:
            self._mark_busy(self._outputs.reopen())
        if work.closing_at is not None:
            self._mark_busy(self._outputs.end())
        now = time.monotonic()
        for output in list(self._busy):
            if output.retry_at <= now and not output.waits_for_another:
                self._write(output, turns)
        self._sync(time.monotonic())
        self._settle()

    def _sync(self, now: float) -> None:
        for output in list(self._unsynced):
            if output.sync_at <= now:
                output.sync()
                del self._unsynced[output]

    def _mark_busy(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self._busy[output] = None

    def _place(self, entry: Entry) -> None:
        self._taken, weight, item = entry
        outputs: list[Output] = []
        try:
            outputs.extend(self._outputs.place(entry))
        except Exception as error:  # noqa: BLE001 -- no defect may end the recording (P25)
            self._report(error)
        self._mark_busy(outputs)
        if isinstance(item, Loss):
            records = item.records
            self._notices.warn(
                "output_trouble",
                f"{self._notices.output} is too slow: {records} records were lost; the traffic is"
                " not affected",
                cause="too slow",
                lost=records,
            )
        elif not outputs:
            self._handover.lose(item)
            self._handover.release(weight, 1)

    def _write(self, output: Output, turns: Turns) -> None:
        try:
            while True:
                self._handover.at_work = time.monotonic()
                self._handover.computing = True
                output.prepare(turns)
                self._handover.computing = False
                self._handover.writing = output.blocked_since or time.monotonic()
                written = output.step()
                self._handover.writing = 0.0
                if written is None:
                    break
                self._handover.release(*written)
                output.blocked_since = 0.0
        except BlockingIOError as error:
            now = time.monotonic()
            output.retry_at = 0.0
            output.blocked_since = output.blocked_since or now
            output.failing = now - output.blocked_since >= STALL
            if output.failing:
                self.trouble = explain(error)
                self._announce(output, error)
        except OSError as error:
            output.retry_at = time.monotonic() + self._retry
            output.failing = True
            self.trouble = explain(error)
            self._gone = self._outputs.give_up(output, error)
            if not self._gone:
                self._announce(output, error)
        except Exception as error:  # noqa: BLE001 -- no defect may end the recording (P25)
            self._report(error)
            output.retry_at = time.monotonic() + self._retry
            output.failing = True
        else:
            output.retry_at = 0.0
            output.failing = False
            del self._busy[output]
            self._outputs.written(output)
            if output.sync_at:
                self._unsynced[output] = None
        finally:
            self._handover.computing = False
            self._handover.writing = 0.0

    def _announce(self, output: Output, error: OSError) -> None:
        lost = self._handover.lost
        told = self._notices.warn(
            "output_trouble",
            f"{output.target.name} cannot be written: {explain(error)}; {output.unwritten} records"
            f" wait and {lost} are lost; the traffic is not affected, and it is tried again",
            cause=explain(error),
            waiting=output.unwritten,
            lost=lost,
        )
        if told and self._lost_before is None:
            self._lost_before = lost

    def _settle(self, *, stopped: bool = False) -> None:
        numbers = [output.first_unwritten for output in self._busy]
        unwritten = [number for number in numbers if number is not None]
        done = min(unwritten) - 1 if unwritten else self._taken
        failing = any(output.failing for output in self._busy)
        self._handover.settle(done, failing=failing, stopped=stopped, gone=self._gone)
        if self._lost_before is not None and not failing and not self._gone:
            lost = self._handover.lost - self._lost_before
            self._lost_before = None
            self._notices.inform(
                "output_recovered",
                f"{self._notices.output} is written again; {lost} records were lost meanwhile",
                lost=lost,
            )
