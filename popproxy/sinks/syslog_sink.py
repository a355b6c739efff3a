"""Records to a syslog collector, by way of a spool on disk.

Two threads: one writes every record into the spool, as other sinks write files; the other sends
what is there (`popproxy.sinks.syslog_sender`). Records go through the spool also while the
collector keeps up. So there is one way only, a record that counts as written survives a SIGKILL,
and however long the collector is away, memory stays the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import trio

from popproxy.formats import jsonl
from popproxy.formats.errors import FormatError
from popproxy.formats.syslog import Origin, SyslogWriter
from popproxy.records import EventPart, GapPart, GapRecord, Record, SessionPart
from popproxy.sinks.backlog import QUEUE_OCTETS
from popproxy.sinks.base import Notices, SinkError, explain
from popproxy.sinks.collector import Collector
from popproxy.sinks.files import open_directory
from popproxy.sinks.output import Output
from popproxy.sinks.pump import GATHER, RETRY
from popproxy.sinks.queued import QueuedSink
from popproxy.sinks.spool import Spool
from popproxy.sinks.spool_entries import pack
from popproxy.sinks.state import SinkState
from popproxy.sinks.stream_sink import StreamOutputs
from popproxy.sinks.syslog_sender import FIRST_PAUSE, RESEND, Sender

NOWHERE = "no-session"
"""The session of a gap behind which nothing is known."""


@dataclass(frozen=True, kw_only=True)
class SyslogOptions:
    """How messages are made and kept.

    Attributes:
        origin: What is the same in all of them.
        bodies: Whether the content of multi-line responses is sent.
        max_size: Octets of a message.
        spool: The folder of the spool.
        spool_size: Octets of the spool.
        resend: Seconds for which an acknowledged message may be sent again.
    """

    origin: Origin
    bodies: bool = False
    max_size: int = 8000
    spool: str
    spool_size: int = 64 * 1024 * 1024
    resend: float = RESEND


class SyslogSink(QueuedSink):
    """Sends records to a syslog collector."""

    def __init__(
        self,
        name: str,
        collector: Collector,
        options: SyslogOptions,
        *,
        queue_octets: int = QUEUE_OCTETS,
        gather: float = GATHER,
        retry: float = RETRY,
        first_pause: float = FIRST_PAUSE,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare the sink; nothing is opened yet.

        Args:
            name: The collector's URL.
            collector: Where to send to.
            options: How messages are made and kept.
            queue_octets: Memory that records may take that wait for the spool.
            gather: Seconds to gather records for before they are written.
            retry: Seconds between two attempts at a spool that cannot be written.
            first_pause: Seconds until it is tried again to connect, the first time.
            on_notice: Called with a sentence for people, in a thread of the sink's.
        """
        notices = Notices(f"--syslog {name}", on_notice)
        self.cut = 0
        self._collector = collector
        self._spool = Spool(options.spool, options.spool_size)
        self._writer = SyslogWriter(
            options.origin,
            bodies=options.bodies,
            max_size=options.max_size,
            on_cut=self._count_cut,
        )
        self._sender = Sender(
            collector,
            self._spool,
            notices,
            self._gap_message,
            resend=options.resend,
            first_pause=first_pause,
        )
        target = _SpoolTarget(self._spool, self._sender.wake)

        def make_outputs(on_lost: Callable[[Record], None]) -> _Outputs:
            output = Output(
                target, lambda: _Entries(self._writer), notices=notices, on_lost=on_lost
            )
            return _Outputs(output, one_by_one=False, notices=notices)

        super().__init__(
            make_outputs, notices=notices, queue_octets=queue_octets, gather=gather, retry=retry
        )

    def check(self) -> None:
        """Find out, before any traffic, whether the spool can be used.

        Raises:
            SinkError: It cannot; the message says why.
        """
        folder = str(Path(self._spool.path).parent)  # the spool itself is made when it is used
        try:
            directory = open_directory(folder)
        except OSError as error:
            raise SinkError(
                f"the directory {folder} cannot be used for a spool: {explain(error)};"
                " name another one with syslog.spool"
            ) from None
        try:
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory):
                raise SinkError(
                    f"no spool can be made in {folder}: no right to write there; name"
                    " another directory with syslog.spool"
                )
        finally:
            os.close(directory)

    def start(self) -> None:
        """Connect, and send what an earlier run has left, without waiting for a record."""
        self._sender.start()

    def put(self, record: Record) -> None:
        """See `QueuedSink.put`."""
        super().put(record)
        self._sender.start()

    def put_line(self, action: str, line: bytes, when: datetime | None = None) -> bool:
        """Send a JSON line that is no record, as one about a file; callable from any thread.

        Args:
            action: Its `event.action`.
            line: The line, with or without its end.
            when: Its time; now if it is None.

        Returns:
            Whether it is in the spool; if not, it is lost.
        """
        message = self._writer.line(action, line, when or datetime.now(UTC))
        try:
            taken = message is not None and self._spool.append(pack(message)) > 0
        except OSError:
            taken = False
        if taken:
            self._sender.start()
            self._sender.wake()
        else:
            self._notices.warn(
                "syslog_line_lost",
                f"{self.name}: a line with action {action} could not be sent: "
                + ("it is too long" if message is None else "the spool cannot be written"),
            )
        return taken

    async def flushed(self, session_id: str | None = None) -> bool:
        """Wait until everything that was put so far is in the spool (P27).

        As soon as sessions depend on that (`--require-log`), a full spool refuses records instead
        of dropping old ones.

        Args:
            session_id: The session that asks.
        """
        if session_id is not None:
            self._spool.keep = True
        return await super().flushed(session_id)

    async def close(self, deadline: float) -> None:
        """Send what is left, for at most `deadline` seconds; the rest stays in the spool."""
        at = time.monotonic() + deadline
        await super().close(deadline / 2)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._sender.stop, at)
        if waiting := self._spool.waiting:
            self._notices.inform(
                "syslog_left",
                f"{self.name}: {waiting} records stay in {self._spool.path}, and are sent at the"
                " next start",
                waiting=waiting,
            )

    @property
    def lost(self) -> int:
        """See `QueuedSink.lost`; what a full spool dropped is lost, too."""
        return super().lost + self._spool.lost

    @property
    def state(self) -> SinkState:
        """See `QueuedSink.state`; what a full spool dropped is lost, too."""
        state, dropped = super().state, self._spool.lost
        return replace(state, lost={**state.lost, "spool-full": dropped}) if dropped else state

    @property
    def waiting(self) -> int:
        """Records in the spool that are not known to be with the collector."""
        return self._spool.waiting

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the collector."""
        return self._sender.connected

    def _count_cut(self, what: str) -> None:
        self.cut += 1
        self._notices.warn(
            "syslog_cut",
            f"{self.name}: a record was longer than max_size, and was sent without: {what}",
            cut=self.cut,
        )

    def _gap_message(self, following: bytes | None, records: int, reason: str) -> bytes:
        """Make the message that tells of missing ones, in the place of the one that follows."""
        place, when = SessionPart(id=NOWHERE, seq=1), datetime.now(UTC)
        if following is not None:
            with_record = following[following.find(b"] {") + 2 :]
            try:
                record = jsonl.decode(with_record)
            except FormatError:
                pass
            else:
                place, when = record.session, record.timestamp
        gap = GapRecord(
            timestamp=when,
            schema="popproxy/1",
            event=EventPart(action="gap"),
            session=place,
            gap=GapPart(reason=reason, records=records),
        )
        return self._writer.message(gap)


class _Entries:
    """Writes records as entries of a spool; see `popproxy.formats.Writer`."""

    def __init__(self, writer: SyslogWriter) -> None:
        self._writer = writer

    def write(self, record: Record) -> bytes:
        """Give a record's entry."""
        return pack(self._writer.message(record))

    def end(self) -> bytes:
        """Give what belongs at the end: nothing."""
        return b""


class _SpoolTarget:
    """A spool as what an output is written to; see `popproxy.sinks.target.Target`."""

    is_open = False  # no descriptor that has to be given back for others

    def __init__(self, spool: Spool, wake: Callable[[], None]) -> None:
        self.name = spool.path
        self._spool = spool
        self._wake = wake

    def open(self) -> bool:
        """Open the spool; its format never begins anew."""
        self._spool.open()
        return False

    def write(self, data: memoryview) -> int:
        """Append whole entries, and have them sent."""
        taken = self._spool.append(data)
        self._wake()
        return taken

    def cut(self, excess: int) -> bool:
        """Tell that entries may be written anew: a torn one is never left in front of others."""
        return True

    def vanished(self) -> bool:
        """Tell whether the file was deleted: the spool looks after that."""
        return False

    def close(self) -> None:
        """Leave the spool open: the sender reads from it."""


class _Outputs(StreamOutputs):
    """The one output of the sink; see `popproxy.sinks.pump.Outputs`."""

    def give_up(self, output: Output, error: OSError) -> bool:
        """Never end: whatever is wrong with a disk may be mended."""
        return False
