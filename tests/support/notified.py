"""A service manager as a process sees it: a socket that takes datagrams, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.waiting import PATIENCE


class Manager:
    """Hears what a process tells.

    Attributes:
        env: What the process has to find in its environment.
        heard: All datagrams so far.
    """

    def __init__(self, address: str, taking: socket.socket, watchdog: float) -> None:
        self.env = {"NOTIFY_SOCKET": address}
        if watchdog:
            self.env["WATCHDOG_USEC"] = str(round(watchdog * 1e6))
        self.heard: list[str] = []
        self._taking = taking

    def next(self, beginning: str, patience: float = PATIENCE) -> str:
        """Wait for the next datagram that begins so, and give it."""
        until = time.monotonic() + patience
        while True:
            self._taking.settimeout(max(0.001, until - time.monotonic()))
            try:
                said = self._taking.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"no {beginning} after {self.heard[-5:]}") from None
            self.heard.append(said)
            if said.startswith(beginning):
                return said

    def forget(self) -> None:
        """Read all that has come."""
        self._taking.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self._taking.recv(4096).decode())

    def silent(self, beginning: str, seconds: float) -> bool:
        """Say whether no such datagram comes for a while."""
        try:
            self.next(beginning, seconds)
        except AssertionError:
            return True
        return False


@contextlib.contextmanager
def listening(home: Path, *, watchdog: float = 0.0, abstract: bool = False) -> Iterator[Manager]:
    """Have one listen.

    Args:
        home: Where its socket lies, unless its name is abstract.
        watchdog: Seconds within which it wants a sign of life.
        abstract: Whether the socket lies nowhere in the file system.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taking:
        if abstract:
            taking.bind("")  # the system makes a name up
            address = "@" + taking.getsockname()[1:].decode()
        else:
            address = str(home / "notify")
            taking.bind(address)
        yield Manager(address, taking, watchdog)
