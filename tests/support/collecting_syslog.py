"""A syslog collector that a test leads: it accepts when told, reads when told, and breaks off."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
from types import TracebackType

from tests.support.waiting import PATIENCE

_FRAME = re.compile(rb"([1-9][0-9]*) ")
_PLACE = re.compile(rb'session="([^"]*)" seq="([0-9]+)"')


class Connected:
    """One connection of a sender.

    Attributes:
        messages: What came, taken out of its frames.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self._connection = connection
        self._octets = b""
        self.messages: list[bytes] = []

    def read(self, number: int) -> list[bytes]:
        """Read until so many messages have come on this connection."""
        while len(self.messages) < number:
            octets = self._connection.recv(65536)
            assert octets, "the sender closed the connection"
            self._take(octets)
        return self.messages

    def read_to_the_end(self) -> list[bytes]:
        """Read until the sender has nothing more to say."""
        with contextlib.suppress(ConnectionError):
            while octets := self._connection.recv(65536):
                self._take(octets)
        assert not self._octets, "the last frame is torn"
        return self.messages

    def _take(self, octets: bytes) -> None:
        self._octets += octets
        while found := _FRAME.match(self._octets):
            end = found.end() + int(found[1])
            if len(self._octets) < end:
                break
            self.messages.append(self._octets[found.end() : end])
            self._octets = self._octets[end:]

    def half_close(self) -> None:
        """Say that nothing comes from here, as a collector does that ends; read on."""
        self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Go away as a process does."""
        self._connection.close()

    def reset(self) -> None:
        """Go away as a process does that is killed with something unread."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()


class FakeCollector:
    """Listens on a port of its own; a context manager.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, buffer: int = 0) -> None:
        """Listen.

        Args:
            tls: How it speaks TLS, if it does.
            buffer: Octets that its system takes of a connection that is not read; 0 for its own.
        """
        self._tls = tls
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(5)
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[Connected] = []

    def accept(self) -> Connected:
        """Wait for the sender's next connection."""
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE)
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except (ssl.SSLError, ConnectionError):
                connection.close()
                raise
        connected = Connected(connection)
        self._connections.append(connected)
        return connected

    def close(self) -> None:
        """Go away with all connections."""
        self._listener.close()
        for connected in self._connections:
            connected.close()

    def __enter__(self) -> FakeCollector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def place(message: bytes) -> tuple[str, int]:
    """Give session and number of a message."""
    found = _PLACE.search(message)
    assert found, message
    return found[1].decode(), int(found[2])


def places(messages: list[bytes]) -> list[tuple[str, int]]:
    """Give session and number of each message."""
    return [place(message) for message in messages]
