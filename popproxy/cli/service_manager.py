"""What a service manager such as systemd is told: ready, reloading, stopping, and still alive.

It is told in datagrams to the socket that the environment names (`sd_notify`'s protocol): nothing
that needs a library. A manager that does not listen holds nothing up: no call here waits, what may
not get lost is tried again at the next beat, and the proxy serves without being heard.

The sign of life (`WATCHDOG=1`) is given by a task of the event loop, so only while that turns, and
only while no sink's thread is held up. A manager that misses it ends the process and starts it
again; a proxy that stands still would otherwise look healthy for a year.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import trio

from popproxy.cli.status_report import ProcessReport
from popproxy.diagnostics import logger

STATUS = 2.0
"""Seconds between two looks at what the status line says."""
PATIENCE = 30.0
"""Seconds after which what stands still is called so, if there is no watchdog to tell."""
_NAME = "popproxy.cli"
_KEPT = 8
"""Messages that may wait for a manager that does not keep up."""


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """How a process is.

    Attributes:
        sessions: Sessions that are under way.
        lost: Records that were lost in this run.
        well: Whether records are being written, or could be: no sink's thread is held up.
        report: All that it says of itself, if somebody may ask for it.
    """

    sessions: int
    lost: int
    well: bool
    report: ProcessReport | None = None

    def __str__(self) -> str:
        sessions = "1 session" if self.sessions == 1 else f"{self.sessions} sessions"
        lost = "1 record" if self.lost == 1 else f"{self.lost} records"
        still = "" if self.well else "; writing stands still"
        return f"{sessions} under way, {lost} lost{still}"


class ServiceManager:
    """The manager that started this process, if one did; else everything here does nothing.

    Attributes:
        watchdog: Seconds within which it wants a sign of life; 0 if it wants none.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        """Prepare.

        Args:
            address: Its socket: a path, or `@` and an abstract name; empty if there is none.
            watchdog: As the attribute.
        """
        self.watchdog = watchdog
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        self._waiting: deque[str] = deque(maxlen=_KEPT)
        self._said = ""  # the last status line
        self._remark = ""
        self._serving = False
        self._told = False  # it was told that the manager cannot be reached

    @classmethod
    def of(cls, env: Mapping[str, str]) -> ServiceManager:
        """Find the manager in the environment."""
        address = env.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()  # none, or one in another machine (vsock), which is no use to a proxy
        microseconds = env.get("WATCHDOG_USEC", "")
        for_us = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if microseconds.isdecimal() and for_us else 0.0
        return cls(address, watchdog)

    @property
    def listens(self) -> bool:
        """Whether there is one."""
        return self._socket is not None

    @property
    def pause(self) -> float:
        """Seconds between two signs of life: half of what the manager waits, or less."""
        return min(STATUS, self.watchdog / 2) if self.watchdog else STATUS

    @property
    def patience(self) -> float:
        """Seconds after which a thread, or a worker, that shows no sign of life counts as stuck."""
        return self.watchdog / 2 or PATIENCE

    def ready(self) -> None:
        """Say that clients are served; before that, `beat` says nothing."""
        self._serving = True
        self._tell("READY=1")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the configuration is read again, and then that clients are served by it.

        The remark of `remark` is forgotten.
        """
        self._remark = ""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._tell("READY=1")

    def stopping(self, seconds: float) -> None:
        """Say that the end has begun.

        Args:
            seconds: How long it may take.
        """
        self._tell(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    @property
    def remarked(self) -> str:
        """What `remark` said since the last reload; empty if nothing."""
        return self._remark

    def remark(self, text: str) -> None:
        """Say something behind the status line until the next reload; no names of users."""
        self._remark = text

    def beat(self, vitals: Vitals) -> None:
        """Say how the process is, and give a sign of life if it is well."""
        if not self._serving:
            return
        while self._waiting and self._send(self._waiting[0]):
            self._waiting.popleft()
        if vitals.well and self.watchdog:
            self._send("WATCHDOG=1")
        status = f"{vitals}; {self._remark}" if self._remark else str(vitals)
        if status != self._said and self._send(f"STATUS={status}"):
            self._said = status

    async def keep_told(self, look: Callable[[float], Vitals]) -> None:
        """Give signs of life until cancelled.

        Args:
            look: Says how the process is; is told how many seconds a write may take.
        """
        if not self.listens:
            return
        while True:
            self.beat(look(self.patience))
            await trio.sleep(self.pause)

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, message: str) -> None:
        if self._waiting or not self._send(message):
            self._waiting.append(message)

    def _send(self, message: str) -> bool:
        """Send a message; False if the manager does not keep up, and it is to be tried again."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                return False
            if not self._told:
                self._told = True
                logger(_NAME).warning(
                    "service-manager-unreachable",
                    message="the service manager that NOTIFY_SOCKET names cannot be told anything:"
                    f" {os.strerror(error.errno or 0)}; popproxy serves all the same",
                )
        return True
