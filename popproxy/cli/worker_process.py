"""One worker, as its parent sees it: a process that may be replaced, and what it says of itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

import msgspec
import trio

from popproxy.cli.service_manager import Vitals
from popproxy.cli.status_report import ProcessReport, succeeding, without_process
from popproxy.cli.worker import LARGEST, READY, VARIABLE, Orders, send
from popproxy.diagnostics import logger
from popproxy.relay import Listener

_NAME = "popproxy.cli"
_OF_THE_PARENT = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PID",
    }
)
"""Environment variables by which a service manager speaks with the process that it started."""


class Worker:
    """One worker, whichever process it is at present.

    Attributes:
        number: From 1.
        process: The process, if there is one.
        connection: The parent's end of the pair that joins them.
        ready: Set while it serves.
        vitals: What it last said of itself.
    """

    def __init__(self, number: int) -> None:
        """Begin without a process."""
        self.number = number
        self.process: trio.Process | None = None
        self.connection: socket.socket | None = None
        self.ready = trio.Event()
        self.vitals = Vitals(sessions=0, lost=0, well=True)
        self._lost_before = 0  # by its earlier processes
        self._before: ProcessReport | None = None  # what they counted
        self._well_at = 0.0

    @property
    def lost(self) -> int:
        """Records that it lost, whichever process it was."""
        return self._lost_before + self.vitals.lost

    @property
    def report(self) -> ProcessReport:
        """What it says of itself, together with what its earlier processes counted."""
        now = self.vitals.report or ProcessReport(worker=self.number)
        serving = self.ready.is_set() and self.process is not None
        return succeeding(self._before, msgspec.structs.replace(now, serving=serving))

    def silent(self) -> float:
        """Say for how many seconds there has been no sign that it serves and is well."""
        return trio.current_time() - self._well_at if self.ready.is_set() else 0.0

    def tell(self, orders: Orders, listeners: Sequence[Listener]) -> None:
        """Send orders; a worker that cannot take them is ended, and started again with them."""
        try:
            if self.connection is not None:
                send(self.connection, orders, [one.socket.fileno() for one in listeners])
        except OSError:
            self.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End its process at once."""
        self.signal(signal.SIGKILL)

    async def start(self, env: Mapping[str, str]) -> tuple[socket.socket, trio.Process]:
        """Start a process.

        Args:
            env: The environment of the parent.

        Returns:
            The parent's end of the pair that joins it, and the process.

        Raises:
            OSError: It cannot be started.
        """
        kept = {name: value for name, value in env.items() if name not in _OF_THE_PARENT}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                ours.setblocking(False)
                process = await trio.lowlevel.open_process(
                    [sys.executable, "-m", "popproxy", "run"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**kept, VARIABLE: str(theirs.fileno())},
                    # A group of its own: Ctrl-C is for the parent, who passes it on.
                    process_group=0,
                )
            except BaseException:
                ours.close()
                raise
        self.process, self.connection = process, ours
        return ours, process

    def ended(self) -> None:
        """Note that its process has ended."""
        self._lost_before += self.vitals.lost
        self._before = without_process(self.report)
        self.vitals = Vitals(sessions=0, lost=0, well=True)
        self.process = self.connection = None

    async def hear(self, connection: socket.socket) -> None:
        """Hear what its process says, until that is gone."""
        misread = False
        while True:
            await trio.lowlevel.wait_readable(connection)
            try:
                said = connection.recv(LARGEST)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not said:
                return
            if said == READY:
                self.ready.set()
            else:
                try:
                    self.vitals = msgspec.json.decode(said, type=Vitals)
                except msgspec.MsgspecError:
                    misread = misread or self._cannot_read()
            if self.vitals.well:
                self._well_at = trio.current_time()

    def _cannot_read(self) -> bool:
        """Say that its process speaks otherwise than this one; that it does is a sign of life."""
        logger(_NAME).warning(
            "worker-of-another-version",
            message=f"worker {self.number} was started by another version of popproxy than the one"
            " that watches it, and what it counts is not seen; restart popproxy",
        )
        return True


def end_of(status: int) -> str:
    """Say how a process ended.

    Args:
        status: Its exit status, or the negative number of a signal.
    """
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"


def refused_start(error: OSError) -> str:
    """Say why a process could not be started, and what it needs."""
    return (
        f"{os.strerror(error.errno or 0)};"
        f" the user that popproxy runs as needs the right to run {sys.executable}"
    )
