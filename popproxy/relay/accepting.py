"""Accepting clients, also when descriptors run out.

A process that has used up its descriptors cannot accept, and a client that is not accepted waits
without a word. So one descriptor is kept in reserve: it is given up to accept the client, tell it
that there is no room, and hang up (P56). Sessions that are under way are not touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable

import trio

from popproxy.relay import diagnostics
from popproxy.relay.loops import Address
from popproxy.relay.service import temporary_failure

PAUSE = 0.5
"""Seconds until accepting is tried again after it failed."""
_BATCH = 16
"""Clients accepted before other tasks may run."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Welcome = Callable[[socket.socket, Address], None]
"""Takes a client's socket, and the client's address."""


class Acceptor:
    """Accepts the clients of all listeners."""

    __slots__ = ("_limiter", "_reserve")

    def __init__(self) -> None:
        """Set a descriptor aside; `close` frees it."""
        self._reserve: int | None = None
        self._limiter = diagnostics.Limiter(interval=10.0)
        self._set_aside()

    def close(self) -> None:
        """Free the descriptor that was set aside."""
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    async def run(self, listening: socket.socket, welcome: Welcome, patience: float = 0.0) -> None:
        """Accept clients until cancelled.

        Args:
            listening: A listening, non-blocking socket.
            welcome: Called with each client; must not raise.
            patience: Seconds to leave clients to another process before they are accepted here.
        """
        while True:
            await trio.lowlevel.wait_readable(listening)
            if patience:
                await trio.sleep(patience)
            for _ in range(_BATCH):
                try:
                    client, address = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno == errno.ECONNABORTED:
                        continue  # the client left before it was accepted
                    self._report(error)
                    if error.errno not in _EXHAUSTED or not self._turn_away(listening):
                        await trio.sleep(PAUSE)
                    break
                client.setblocking(False)
                welcome(client, address[:2])

    def _turn_away(self, listening: socket.socket) -> bool:
        """Use the descriptor in reserve to tell one client that there is no room."""
        if self._reserve is None:
            self._set_aside()
            return False
        self.close()
        try:
            client, _ = listening.accept()
        except BlockingIOError:
            return True  # there is none: the kernel looks for a descriptor first
        except OSError:
            return False  # somebody else took the descriptor
        else:
            client.setblocking(False)
            hang_up(client, "no room for another connection, try again later")
            return True
        finally:
            self._set_aside()

    def _set_aside(self) -> None:
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _report(self, error: OSError) -> None:
        if self._limiter.passes(diagnostics.now()):
            diagnostics.warn(
                "cannot-accept",
                cause=os.strerror(error.errno or 0).lower(),
                remedy="raise the limit of open files (ulimit -n), or lower limits.connections",
                unreported=self._limiter.suppressed(),
            )


def hang_up(client: socket.socket, cause: str) -> None:
    """Tell a client why it is not served, and close its connection, without waiting.

    Args:
        client: A non-blocking socket, closed afterwards.
        cause: In words.
    """
    with contextlib.suppress(OSError):
        client.send(temporary_failure(cause))
        client.shutdown(socket.SHUT_WR)
        # What the client has sent already would turn the close into a reset, which on some systems
        # takes our line back out of the client's hands.
        client.recv(4096)
    client.close()
