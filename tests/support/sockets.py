"""Plain sockets for tests that must see each segment: a server and a client of the test's own.

The test plays both ends: what it sends on one socket it expects on the other.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from dataclasses import dataclass
from types import TracebackType

from tests.support.waiting import PATIENCE

CHUNK = 1 << 20
FILLING = b"x" * CHUNK


@dataclass(frozen=True, slots=True)
class Session:
    """Both ends of one relayed session."""

    client: socket.socket
    server: socket.socket

    def greet(self) -> Session:
        """Send a greeting through, so that the session is known to be up."""
        pass_through(self.server, self.client, b"+OK ready\r\n")
        return self

    def exchange(self, command: bytes, response: bytes) -> None:
        """Send a command and its response through."""
        pass_through(self.client, self.server, command)
        pass_through(self.server, self.client, response)

    def log_in(self, password: bytes = b"correct horse") -> Session:
        """Greet, and log in."""
        self.greet()
        self.exchange(b"USER bo\r\n", b"+OK\r\n")
        self.exchange(b"PASS " + password + b"\r\n", b"+OK logged in\r\n")
        return self

    def quit(self) -> None:
        """End the session in an orderly way, and see that both ends are told."""
        self.exchange(b"QUIT\r\n", b"+OK bye\r\n")
        self.server.close()
        assert receive_to_end(self.client) == b""
        self.client.close()


class Upstream:
    """A listener that stands for the upstream server; closes all that it made at its end."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._listener = self._open.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=4096)
        )
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Upstream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def connect(self, port: int) -> socket.socket:
        """Connect a client to popproxy."""
        client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._open.enter_context(client)

    def accept(self) -> socket.socket:
        """Take the connection that popproxy makes to its upstream."""
        server, _ = self._listener.accept()
        server.settimeout(PATIENCE)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._open.enter_context(server)

    def asked(self) -> bool:
        """Say whether somebody has connected who was not accepted yet."""
        return bool(select.select([self._listener], [], [], 0)[0])

    def session(self, port: int) -> Session:
        """Open a session through popproxy. One at a time: the next accepted is taken for it."""
        return Session(self.connect(port), self.accept())


def pass_through(source: socket.socket, sink: socket.socket, data: bytes) -> None:
    """Send from one end and see exactly that arrive at the other."""
    source.sendall(data)
    assert receive(sink, len(data)) == data


def receive(sink: socket.socket, count: int) -> bytes:
    """Receive this many octets, or what came before the end of the stream."""
    data = bytearray()
    while len(data) < count and (came := sink.recv(min(CHUNK, count - len(data)))):
        data += came
    return bytes(data)


def receive_to_end(sink: socket.socket) -> bytes:
    """Receive until the stream ends."""
    data = bytearray()
    while came := sink.recv(CHUNK):
        data += came
    return bytes(data)


def fill(source: socket.socket) -> int:
    """Send until the way is full, and give how many octets that took."""
    source.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += source.send(FILLING)
    source.settimeout(PATIENCE)
    return sent


def send_for_ever(source: socket.socket) -> None:
    """Send until the connection is no more."""
    while True:
        source.sendall(FILLING)


def reset(connection: socket.socket) -> None:
    """Close so that the other end receives an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def is_reset(connection: socket.socket) -> bool:
    """Read to the end and say whether it was an RST."""
    try:
        receive_to_end(connection)
    except ConnectionResetError:
        return True
    return False
