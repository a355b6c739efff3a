"""Standard output, or another stream that is open already, as an output.

When its reader goes away, as `head` does, the sink ends with one message; the sessions go on
(P63). Python ignores SIGPIPE, so that shows as EPIPE.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from datetime import tzinfo

from popproxy.formats import Kind, PuttyMode, Writer, writer_for
from popproxy.records import Record
from popproxy.sinks.backlog import QUEUE_OCTETS, SLOW, Entry, Loss, gap_after
from popproxy.sinks.base import Notices
from popproxy.sinks.output import Output
from popproxy.sinks.pump import GATHER, RETRY
from popproxy.sinks.queued import QueuedSink
from popproxy.sinks.target import StreamTarget

_NAMES = {1: "standard output", 2: "standard error"}


class StreamSink(QueuedSink):
    """Writes records to a descriptor, which stays open and in the mode that it is in."""

    def __init__(
        self,
        kind: Kind,
        descriptor: int = 1,
        *,
        putty_mode: PuttyMode = "printable",
        tz: tzinfo | None = None,
        queue_octets: int = QUEUE_OCTETS,
        gather: float = GATHER,
        retry: float = RETRY,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare the sink.

        Args:
            kind: The format. PuTTY's holds one session at a time: sessions that begin while
                another lives are left out, with a warning.
            descriptor: What to write to; the caller keeps it open until the sink is closed.
            putty_mode: Which of PuTTY's two ways to log.
            tz: Time zone of PuTTY's header; the machine's if it is None.
            queue_octets: Memory that records may take that wait for being written.
            gather: Seconds to gather records for before they are written.
            retry: Seconds between two attempts after a failure.
            on_notice: Called with a sentence for people, in the sink's thread.
        """
        name = _NAMES.get(descriptor, f"descriptor {descriptor}")
        notices = Notices(f"--{kind} to {name}", on_notice)

        def make_writer() -> Writer:
            return writer_for(kind, putty_mode=putty_mode, tz=tz)

        def make_writer_of_stream() -> Writer:
            return _SessionBySession(make_writer) if kind == "putty" else make_writer()

        def make_outputs(on_lost: Callable[[Record], None]) -> StreamOutputs:
            target = StreamTarget(descriptor, name)
            output = Output(target, make_writer_of_stream, notices=notices, on_lost=on_lost)
            return StreamOutputs(output, one_by_one=kind == "putty", notices=notices)

        super().__init__(
            make_outputs, notices=notices, queue_octets=queue_octets, gather=gather, retry=retry
        )


class _SessionBySession:
    """Begins anew with each session, for a format whose files hold one session."""

    def __init__(self, make_writer: Callable[[], Writer]) -> None:
        self._make_writer = make_writer
        self._writer: Writer | None = None
        self._session = ""

    def write(self, record: Record) -> bytes:
        """Give a record's octets, behind the end of the session before if there was one."""
        octets = b""
        if self._writer is None or record.session.id != self._session:
            octets = self.end()
            self._writer = self._make_writer()
            self._session = record.session.id
        return octets + self._writer.write(record)

    def end(self) -> bytes:
        """Give what belongs at the end of the session."""
        writer, self._writer = self._writer, None
        return writer.end() if writer is not None else b""


class StreamOutputs:
    """The one output of a stream; see `popproxy.sinks.pump.Outputs`."""

    def __init__(self, output: Output, *, one_by_one: bool, notices: Notices) -> None:
        """Begin.

        Args:
            output: Writes to the stream.
            one_by_one: Only one session can be written at a time.
            notices: Where to tell people about trouble.
        """
        self._output = output
        self._one_by_one = one_by_one
        self._notices = notices
        self._session: str | None = None  # the one being written, if it is one by one

    def place(self, entry: Entry) -> Iterable[Output]:
        """See `Outputs.place`."""
        number, weight, item = entry
        if isinstance(item, Loss):
            return self._place_loss(number, item)
        if not self._admit(item.session.id, ends=item.event.action == "session.end"):
            return []
        self._output.add(number, weight, item)
        return [self._output]

    def _place_loss(self, number: int, loss: Loss) -> Iterable[Output]:
        for session_id, lost in loss.sessions.items():
            if not self._one_by_one:
                self._output.add(number, 0, gap_after(lost.place, loss.records, SLOW))
                break
            if self._admit(session_id, ends=lost.ended):
                self._output.add(number, 0, gap_after(lost.place, lost.records, SLOW))
        return [self._output]

    def _admit(self, session_id: str, *, ends: bool) -> bool:
        """Tell whether a session may be written now; note whose turn it is."""
        if not self._one_by_one:
            return True
        if self._session not in {None, session_id}:
            self._notices.warn(
                "session_left_out",
                "a PuTTY log on a stream holds one session at a time: those that begin while"
                " another lives are left out; name a file with &S instead",
            )
            return False
        self._session = None if ends else session_id
        return True

    def written(self, output: Output) -> None:
        """See `Outputs.written`."""

    def give_up(self, output: Output, error: OSError) -> bool:
        """See `Outputs.give_up`: a reader that went away does not come back."""
        if error.errno not in {errno.EPIPE, errno.EBADF, errno.ECONNRESET}:
            return False
        name = output.target.name
        self._notices.inform("stream_closed", f"{name} was closed; nothing more is written to it")
        return True

    def reopen(self) -> Iterable[Output]:
        """See `Outputs.reopen`: a stream has no name to open it by."""
        return []

    def end(self) -> Iterable[Output]:
        """See `Outputs.end`."""
        if self._output.ended:
            return []
        self._output.end()
        return [self._output]

    def close(self) -> None:
        """See `Outputs.close`: the descriptor is the caller's."""
