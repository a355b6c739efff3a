"""A connection to a syslog collector: TCP (RFC 6587), or TLS (RFC 5425), and never waiting.

Syslog has no acknowledgement. The one thing that can be known is what the other machine's TCP has
acknowledged: `TIOCOUTQ` tells on Linux how many octets it has not. TLS is thus spoken over buffers
in memory, which show how many octets each message became. A collector sends nothing; that it has
gone shows only to who reads, so that it is read from before each write.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass

_READ = 16 * 1024
_READS = 16
"""Reads in a row: what a collector sends is thrown away, and must not keep us from sending."""
_PATIENCE = 60_000
"""Milliseconds without an acknowledgement, or without room, after which TCP gives up."""
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4}


class CollectorError(Exception):
    """There is no connection, or no longer. The message says why, in words of ours."""


@dataclass(frozen=True, kw_only=True)
class Collector:
    """Where a collector is, and how it is spoken to.

    Attributes:
        host: Its name or address.
        port: Its port.
        tls: Makes the context, verification included; None for a connection in the clear. It is
            called for each connection, so that renewed certificates are seen.
    """

    host: str
    port: int
    tls: Callable[[], ssl.SSLContext] | None = None


Wait = Callable[[socket.socket, int, float], bool]
"""Waits for an event of `poll` on a socket until a monotonic time; False if it is time to stop."""


class Connection:
    """A connection.

    Attributes:
        queued: Octets of the wire that all messages so far have become, from the beginning.
        ended: Whether the collector has ended its side, having read all or not.
    """

    def __init__(self, connected: socket.socket, tls: _Tls | None) -> None:
        """Take over a connected, non-blocking socket."""
        self._socket = connected
        self._tls = tls
        self._pending = bytearray()
        self._sent = 0
        self._finished = False
        self.queued = 0
        self.ended = False

    @property
    def socket(self) -> socket.socket:
        """To wait for."""
        return self._socket

    @property
    def pending(self) -> int:
        """Octets that were not handed to the system yet."""
        return len(self._pending)

    @property
    def acknowledged(self) -> int:
        """Octets of the wire that the other machine's TCP has acknowledged, from the beginning."""
        unacknowledged = 0
        with contextlib.suppress(OSError):  # a system that does not tell
            answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0" * 4)
            [unacknowledged] = struct.unpack("i", answer)
        return self._sent - unacknowledged

    def queue(self, data: bytes) -> None:
        """Add octets to what is to be sent."""
        self._enqueue(data if self._tls is None else self._tls.sealed(data))

    def _enqueue(self, octets: bytes) -> None:
        self._pending += octets
        self.queued += len(octets)

    def flush(self) -> None:
        """Hand to the system what it takes now.

        Raises:
            CollectorError: The connection is gone.
        """
        try:
            while self._pending:
                sent = self._socket.send(self._pending)
                self._sent += sent
                del self._pending[:sent]
        except BlockingIOError:
            return
        except OSError as error:
            raise CollectorError(_words(error)) from None

    def receive(self) -> None:
        """Read and throw away what the collector sends.

        Raises:
            CollectorError: The collector has ended the connection, or it failed.
        """
        for _ in range(_READS):
            try:
                octets = self._socket.recv(_READ)
            except BlockingIOError:
                return
            except OSError as error:
                raise CollectorError(_words(error)) from None
            if not octets:
                self.ended = True
                raise CollectorError("the collector closed the connection")
            if self._tls is not None and not self._finished:
                self._enqueue(self._tls.answer(octets))

    def finish(self) -> None:
        """Say that nothing more comes; what is pending has to be flushed before.

        Raises:
            CollectorError: The connection is gone.
        """
        if self._tls is not None:
            self._enqueue(self._tls.farewell())
            self.flush()
        self._finished = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise CollectorError(_words(error)) from None

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


class _Tls:
    """TLS over buffers in memory."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def shake_hands(self, connected: socket.socket, wait: Wait, until: float) -> bool:
        """Do the handshake; False if it is time to stop."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            else:
                done = True
            while octets := self._outgoing.read():
                while octets:
                    try:
                        octets = octets[connected.send(octets) :]
                    except BlockingIOError:
                        if not wait(connected, select.POLLOUT, until):
                            return False
            if done:
                return True
            if not wait(connected, select.POLLIN, until):
                return False
            try:
                octets = connected.recv(_READ)
            except BlockingIOError:
                continue
            if not octets:
                raise CollectorError("the collector closed the connection during the TLS handshake")
            self._incoming.write(octets)

    def sealed(self, data: bytes) -> bytes:
        """Encrypt."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise CollectorError(_words(error)) from None
        return self._outgoing.read()

    def answer(self, octets: bytes) -> bytes:
        """Take what came and throw its content away; give what TLS answers."""
        self._incoming.write(octets)
        try:
            while self._tls.read(_READ):
                pass
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        except ssl.SSLError as error:
            raise CollectorError(_words(error)) from None
        raise CollectorError("the collector closed the connection")

    def farewell(self) -> bytes:
        """Give the alert that ends TLS."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()


def connect(collector: Collector, wait: Wait, until: float) -> Connection | None:
    """Connect, trying all addresses, and shake hands.

    Args:
        collector: The collector.
        wait: Waits for the socket.
        until: Monotonic time at which to give up.

    Returns:
        The connection; None if it is time to stop.

    Raises:
        CollectorError: It did not work.
    """
    trouble = "the name has no address"
    try:
        found = socket.getaddrinfo(collector.host, collector.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise CollectorError("the name was not found") from None
    for place, (family, kind, protocol, _, address) in enumerate(found):
        connected = None
        # One address that does not answer leaves time for the others.
        share = (until - time.monotonic()) / (len(found) - place)
        try:
            connected = socket.socket(family, kind, protocol)
            connected.setblocking(False)
            if not _reach(connected, address, wait, time.monotonic() + share):
                connected.close()
                return None
            return _secured(connected, collector, wait, until)
        except (OSError, CollectorError) as error:
            trouble = str(error) if isinstance(error, CollectorError) else _words(error)
            if connected is not None:
                connected.close()
            if time.monotonic() >= until:
                break
    raise CollectorError(trouble)


def _reach(connected: socket.socket, address: object, wait: Wait, until: float) -> bool:
    number = connected.connect_ex(address)  # type: ignore[arg-type] # whatever getaddrinfo gives
    if number == errno.EINPROGRESS:
        if not wait(connected, select.POLLOUT, until):
            return False
        number = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {"TCP_USER_TIMEOUT": _PATIENCE, **_KEEPALIVE}
    for name, value in options.items():
        with contextlib.suppress(AttributeError, OSError):  # not every system has them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return True


def _secured(
    connected: socket.socket, collector: Collector, wait: Wait, until: float
) -> Connection | None:
    if collector.tls is None:
        return Connection(connected, None)
    tls = _Tls(collector.tls(), collector.host)
    if not tls.shake_hands(connected, wait, until):
        connected.close()
        return None
    return Connection(connected, tls)


def _words(error: OSError) -> str:
    """Say in words what failed; nothing of what a peer sent stands in them."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.lower().rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or "").replace("_", " ").lower()
        return f"TLS failed: {reason or 'no reason given'}"
    return os.strerror(error.errno).lower() if error.errno else "connection lost"
