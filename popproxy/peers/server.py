"""A small, complete POP3 server for demonstrations and tests; no place for mail that matters.

It speaks in the clear and listens on loopback unless told otherwise. One session's failure never
ends another's, nor the server (P57): whatever goes wrong in one is contained here and reported in
a sentence that holds nothing a client sent.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable

import trio

from popproxy.peers.accounts import Accounts
from popproxy.peers.server_session import ServerSession, Settings

__all__ = ["Server", "Settings", "serve"]

_REFUSED = b"-ERR [SYS/TEMP] too many connections, try again later\r\n"
_REFUSAL_TIME = 5.0
"""Seconds that a refused client has to take the refusal."""


def _silent(_sentence: str) -> None:
    pass


class Server:
    """Serves connections, wherever they come from.

    Args:
        accounts: Who may log in.
        settings: What is allowed.
        report: Told, in a sentence, that a session failed in a way that was not foreseen.
    """

    def __init__(
        self,
        accounts: Accounts,
        settings: Settings | None = None,
        report: Callable[[str], None] = _silent,
    ) -> None:
        self._accounts = accounts
        self._settings = settings or Settings()
        self._report = report
        self._numbers = itertools.count(1)
        self.connections = 0
        """How many sessions are under way."""

    async def handle(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Hold a session over a connection, then close it.

        Args:
            stream: The connection.
        """
        async with stream:
            if self.connections >= self._settings.connections:
                await _refuse(stream)
                return
            self.connections += 1
            try:
                session = ServerSession(stream, self._accounts, self._settings, self._timestamp())
                await session.run()
            # P57: one session's defect must not end the others. Its text may quote a client's
            # octets, so that only its type is told (P13).
            except Exception as error:  # noqa: BLE001
                self._report(f"a session of the embedded server failed: {type(error).__name__}")
            finally:
                self.connections -= 1

    def _timestamp(self) -> bytes:
        """Make a greeting's timestamp, as a msg-id that never comes twice (RFC 1939, section 7)."""
        return f"<{next(self._numbers)}.{secrets.token_hex(8)}@popproxy.invalid>".encode()


async def _refuse(stream: trio.abc.HalfCloseableStream) -> None:
    with trio.move_on_after(_REFUSAL_TIME):
        try:
            await stream.send_all(_REFUSED)
            await stream.send_eof()
        except trio.BrokenResourceError:
            pass  # it went away by itself


async def serve(
    accounts: Accounts,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    settings: Settings | None = None,
    report: Callable[[str], None] = _silent,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen and serve until cancelled.

    Args:
        accounts: Who may log in. Show `accounts.notice` to the person who starts the server.
        host: The address, or a name for one, to listen at.
        port: The port; 0 lets the system choose one.
        settings: What is allowed.
        report: As in `Server`.
        task_status: Started with the port that was bound.

    Raises:
        OSError: The address cannot be listened at.
    """
    server = Server(accounts, settings, report)
    listeners = await trio.open_tcp_listeners(port, host=host)
    if port == 0:  # each address would get another port, and one is promised
        for other in listeners[1:]:
            await other.aclose()
        del listeners[1:]
    bound: int = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, server.handle, listeners)
        task_status.started(bound)
