"""Log files by name template: one for all sessions, or one for each.

A PuTTY log is always one session's; the other formats share a file unless the template has `&S`.
A file is opened when the first octet is to go into it. The name's date is that of the record at
which the output began: the session's start, or for a shared file its first record.

Two live sessions never share a PuTTY log. If a template gives a second session the name of one
that is still being written, `-` and the session's id are added to the second name, with a warning.

Of the files of single sessions at most `OPEN_FILES` are held open; the others are opened again
when there is something to add.
"""

from __future__ import annotations

import errno
import urllib.parse
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import tzinfo

import trio

from popproxy.formats import Kind, PuttyMode, Writer, writer_for
from popproxy.records import GapRecord, Record, SessionStart
from popproxy.sinks.backlog import QUEUE_OCTETS, SLOW, Entry, Loss, gap_after
from popproxy.sinks.base import Notices
from popproxy.sinks.files import check_path
from popproxy.sinks.keeping import Every, Fsync, Keeper, Keeping
from popproxy.sinks.naming import Template, with_session
from popproxy.sinks.output import Output
from popproxy.sinks.pump import GATHER, RETRY
from popproxy.sinks.queued import QueuedSink
from popproxy.sinks.retention import Caretaker, Retention
from popproxy.sinks.target import FileTarget

OPEN_FILES = 32
SESSIONS = 16 * 1024
"""Sessions that are kept in mind; the one that was silent longest is forgotten first."""

_LINES: frozenset[Kind] = frozenset({"jsonl", "text"})
_DEFAULT_PORTS = {"pop3s": 995}


def server_of(record: SessionStart) -> tuple[str, int]:
    """Give host and port of a session's upstream, as the route names them."""
    url = urllib.parse.urlsplit(record.route.upstream)
    try:
        port = url.port
    except ValueError:
        port = None
    return url.hostname or "", port or _DEFAULT_PORTS.get(url.scheme, 110)


class FileSink(QueuedSink):
    """Writes records to files that are named by a template."""

    def __init__(
        self,
        kind: Kind,
        path_template: str,
        *,
        host: str = "",
        port: int = 110,
        putty_mode: PuttyMode = "printable",
        tz: tzinfo | None = None,
        queue_octets: int = QUEUE_OCTETS,
        open_files: int = OPEN_FILES,
        rotate_size: int = 0,
        rotate_every: Every = "never",
        fsync: Fsync = "never",
        make_keeper: Callable[[str], Keeper] | None = None,
        retention: Retention = Retention(),  # noqa: B008 -- it cannot change
        gather: float = GATHER,
        retry: float = RETRY,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare the sink; nothing is opened yet.

        Args:
            kind: The format.
            path_template: The path, with the escapes of `popproxy.sinks.naming`.
            host: What `&H` stands for, if a session does not say it.
            port: What `&P` stands for, if a session does not say it.
            putty_mode: Which of PuTTY's two ways to log.
            tz: Time zone of dates in names and in PuTTY's header; the machine's if it is None.
            queue_octets: Memory that records may take that wait for being written.
            open_files: How many files of single sessions are held open.
            rotate_size: Octets after which a file of all sessions is set aside under a name with
                the time; 0 for never. Files of single sessions are not.
            rotate_every: The period, in UTC, after which it is set aside as well.
            fsync: When to wait until the disk has what was written: never, within a second, or
                before a record counts as written.
            make_keeper: Makes who keeps books of an output's files, for its path; called in the
                sink's thread.
            retention: What becomes of files that are closed.
            gather: Seconds to gather records for before they are written.
            retry: Seconds between two attempts at a file that cannot be written.
            on_notice: Called with a sentence for people, in the sink's thread.

        Raises:
            TemplateError: The template cannot name a file.
        """
        self._template = Template(path_template)
        notices = Notices(f"--{kind} {path_template}", on_notice)

        def make_writer() -> Writer:
            return writer_for(kind, putty_mode=putty_mode, tz=tz)

        shared = kind != "putty" and not self._template.per_session
        locked = make_keeper is not None or retention.wanted
        self._caretaker: Caretaker | None = None
        self._looked_after = False
        keepers: list[Keeper] = []  # the last one, which hears what is removed

        def removing(path: str) -> None:
            for keeper in keepers:
                keeper.removing(path)

        if retention.wanted:
            self._caretaker = Caretaker(self._template, retention, notices, removing)

        def make_output(path: str, on_lost: Callable[[Record], None]) -> Output:
            target = FileTarget(path, lines=kind in _LINES, notices=notices, locked=locked)
            keeper = make_keeper(path) if make_keeper is not None else None
            if keeper is not None:
                keepers[:] = [keeper]
            wake = self._caretaker.wake if self._caretaker is not None else None
            if wake is not None and not self._looked_after:
                self._looked_after = True
                wake()
            keeping = Keeping(
                target,
                notices,
                rotate_size=rotate_size if shared else 0,
                rotate_every=rotate_every if shared else "never",
                fsync=fsync,
                keeper=keeper,
                on_aside=wake,
            )
            return Output(target, make_writer, notices=notices, on_lost=on_lost, keeping=keeping)

        def make_outputs(on_lost: Callable[[Record], None]) -> FileOutputs:
            return FileOutputs(
                self._template,
                lambda path: make_output(path, on_lost),
                shared=shared,
                server=(host, port),
                tz=tz,
                open_files=open_files,
                notices=notices,
            )

        super().__init__(
            make_outputs, notices=notices, queue_octets=queue_octets, gather=gather, retry=retry
        )

    def check(self) -> None:
        """Find out, before any traffic, whether the files can be written.

        Raises:
            SinkError: They cannot; the message says why and what to do.
        """
        check_path(self._template)

    async def close(self, deadline: float) -> None:
        """See `QueuedSink.close`."""
        if self._caretaker is not None:
            await trio.to_thread.run_sync(self._caretaker.end)
        await super().close(deadline)


class FileOutputs:
    """The files of one sink; see `popproxy.sinks.pump.Outputs`."""

    def __init__(
        self,
        template: Template,
        make_output: Callable[[str], Output],
        *,
        shared: bool,
        server: tuple[str, int],
        tz: tzinfo | None,
        open_files: int,
        notices: Notices,
    ) -> None:
        """Begin without files.

        Args:
            template: Names the files.
            make_output: Makes the output of a path.
            shared: Sessions share a file; else each has its own.
            server: Host and port for sessions that do not say theirs.
            tz: Time zone of the dates in names; the machine's if it is None.
            open_files: How many files are held open.
            notices: Where to tell people about names that would be shared.
        """
        self._template = template
        self._per_server = template.per_server
        self._make_output = make_output
        self._shared = shared
        self._server = server
        self._tz = tz
        self._open_files = open_files
        self._notices = notices
        self._own: OrderedDict[str, Output] = OrderedDict()  # by session, if each has its own
        self._servers: OrderedDict[str, tuple[str, int]] = OrderedDict()  # else: by session
        self._common: dict[tuple[str, int], Output] = {}
        self._paths: dict[str, Output] = {}
        self._ended: list[Output] = []  # by `reopen`, and perhaps not yet written to their end
        self._open: OrderedDict[Output, None] = OrderedDict()

    def place(self, entry: Entry) -> Iterable[Output]:
        """See `Outputs.place`."""
        number, weight, item = entry
        if isinstance(item, Loss):
            return self._place_loss(number, item)
        output = self._output_of(item)
        output.add(number, weight, item)
        if item.event.action == "session.end":
            self._forget(item.session.id)
        return [output, *self._forget_silent()]

    def _place_loss(self, number: int, loss: Loss) -> Iterable[Output]:
        """Write one gap into each file that lacks records."""
        gaps: dict[Output, tuple[GapRecord, int]] = {}
        for lost in loss.sessions.values():
            output = self._output_of(lost.place)
            place, records = gaps.get(output, (lost.place, 0))
            gaps[output] = place, records + lost.records
        for output, (place, records) in gaps.items():
            # Of sessions that were not kept apart it is unknown which file lacks them, unless
            # there is one file only.
            records += loss.elsewhere if self._shared and len(gaps) == 1 else 0
            output.add(number, 0, gap_after(place, records, SLOW))
        for session_id, lost in loss.sessions.items():
            if lost.ended:
                self._forget(session_id)
        return [*gaps, *self._forget_silent()]

    def _forget(self, session_id: str) -> Output | None:
        self._servers.pop(session_id, None)
        output = self._own.pop(session_id, None)
        if output is not None:
            output.end()
        return output

    def _forget_silent(self) -> list[Output]:
        """End sessions beyond `SESSIONS`: the end of some of them was lost."""
        ended = []
        while len(self._servers) > SESSIONS:
            self._servers.popitem(last=False)
        while len(self._own) > SESSIONS:
            _, output = self._own.popitem(last=False)
            output.end()
            ended.append(output)
        return ended

    def _output_of(self, record: Record) -> Output:
        if self._shared:
            return self._shared_output(record)
        session = record.session.id
        output = self._own.get(session)
        if output is None:
            output = self._own[session] = self._own_output(record, self._server_of(record))
        else:
            self._own.move_to_end(session)
        return output

    def _server_of(self, record: Record) -> tuple[str, int]:
        return server_of(record) if isinstance(record, SessionStart) else self._server

    def _shared_output(self, record: Record) -> Output:
        server, session = self._server, record.session.id
        if self._per_server:  # else nothing need be kept of a session
            server = self._servers.setdefault(session, self._server_of(record))
            self._servers.move_to_end(session)
        if server not in self._common:
            path = self._path(record, server)
            self._common[server] = self._paths.get(path) or self._new_output(path)
        return self._common[server]

    def _own_output(self, record: Record, server: tuple[str, int]) -> Output:
        path = self._path(record, server)
        before = self._paths.get(path)
        if before is not None and before.ending:
            output = self._new_output(path)
            output.follow(before)
            return output
        if before is not None:
            taken, path = path, with_session(path, record.session.id)
            self._notices.warn(
                "log_name_taken",
                f"{taken} is still being written for another session, so this session's log is"
                f" {path}; put &S into the name to give each session a file of its own",
                path=path,
            )
        return self._new_output(path)

    def _path(self, record: Record, server: tuple[str, int]) -> str:
        host, port = server
        when = record.timestamp.astimezone(self._tz)
        return self._template.expand(when=when, host=host, port=port, session_id=record.session.id)

    def _new_output(self, path: str) -> Output:
        output = self._paths[path] = self._make_output(path)
        self._ended = [one for one in self._ended if not one.ended]
        for one in self._ended:
            # The end of one file comes before the beginning of the next.
            if not self._per_server or one.target.name == path:
                output.follow(one)
        return output

    def written(self, output: Output) -> None:
        """See `Outputs.written`."""
        if output.ended:
            output.release()
            self._open.pop(output, None)
            if self._paths.get(output.target.name) is output:
                del self._paths[output.target.name]
        elif output.target.is_open:
            self._open[output] = None
            self._open.move_to_end(output)
            self._close_down_to(self._open_files)

    def _close_down_to(self, number: int) -> None:
        while len(self._open) > number:
            output, _ = self._open.popitem(last=False)
            output.release()

    def give_up(self, output: Output, error: OSError) -> bool:
        """See `Outputs.give_up`: files may always come back."""
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            self._close_down_to(0)
        return False

    def reopen(self) -> Iterable[Output]:
        """See `Outputs.reopen`.

        A shared file ends, and the next record begins another, whose name has that record's date;
        a file that waits for being written, or that is a session's own, is opened by its name.
        """
        # What ends still has its file open, so that the end goes where the records are.
        ended = [output for output in self._paths.values() if self._shared and output.idle]
        for output in ended:
            self._open.pop(output, None)
        self._close_down_to(0)
        if not self._shared:
            return []
        for output in ended:
            output.end()
            del self._paths[output.target.name]
        self._ended += ended
        self._common = {
            server: output for server, output in self._common.items() if output not in ended
        }
        return ended

    def end(self) -> Iterable[Output]:
        """See `Outputs.end`."""
        for output in self._paths.values():
            output.end()
        return list(self._paths.values())

    def close(self) -> None:
        """See `Outputs.close`."""
        self._close_down_to(0)
        for output in self._paths.values():
            output.target.close()
