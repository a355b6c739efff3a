"""TLS on a session's legs: a leg in the clear goes in, the same leg under TLS comes out.

The contexts of a route are made when they are first needed, or at the start (`prepare`) if it is
certain that they will be: reading certificates and making keys takes a moment, so that happens in
a thread. A handshake has a time-out of its own; another session never waits for it.

A peer whose handshake failed has to learn why: OpenSSL sends the alert, but to close a connection
while octets lie unread resets it, and the alert is lost with it. So a failed connection is closed
in one direction first, and read for a moment (P41).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import trio

from popproxy.records import LegName, TlsPart
from popproxy.relay.legs import Leg, SocketLeg, leg_lost
from popproxy.relay.settings import Timeouts
from popproxy.tls.failures import TlsFailure, TlsSetupError
from popproxy.tls.settings import ListenerTls, UpstreamTls

if TYPE_CHECKING:
    from popproxy.tls.client import UpstreamContext
    from popproxy.tls.leaves import ListenerContext

LINGER = 1.0
"""Seconds that a peer whose handshake failed has to read the alert."""
_UNREAD = 64 * 1024
"""Octets of such a peer that are read and thrown away at most."""

_Context = TypeVar("_Context")


def load() -> None:
    """Import now what is imported when TLS is first spoken: later it may be out of reach (P70)."""
    from popproxy.relay import tls_leg
    from popproxy.tls import client, facts, handshake, leaves

    del tls_leg, client, facts, handshake, leaves


class Encrypted(NamedTuple):
    """A leg under TLS.

    Attributes:
        leg: The leg.
        part: What is told of it.
    """

    leg: Leg
    part: TlsPart


class NotEncrypted(Exception):  # noqa: N818 - it says what the leg is
    """TLS did not come about, and the leg is closed.

    Attributes:
        cause: Why, in words that client and log may see.
        temporary: Whether a later try may work by itself.
        part: What is told of it.
    """

    def __init__(self, failure: TlsFailure, leg: LegName, tls: ssl.SSLSocket | None = None) -> None:
        super().__init__(failure.cause)
        self.cause = failure.cause
        self.temporary = failure.temporary
        self.part = failed(failure, leg, tls)


def failed(failure: TlsFailure, leg: LegName, tls: ssl.SSLSocket | None = None) -> TlsPart:
    """Give what is told of TLS that failed.

    Args:
        failure: How.
        leg: On which leg.
        tls: The connection, if there is one still.
    """
    return TlsPart(
        leg=leg,
        code=failure.code,
        cause=failure.cause,
        remedy=failure.remedy or None,
        alert=failure.alert,
        alert_from=failure.alert_from,
        server_name=getattr(tls, "requested_name", None),
    )


class Encryption(Protocol):
    """Whoever can put TLS on the legs of a route's sessions.

    Attributes:
        server_until: Until when the certificate is valid that the server showed last; None if it
            showed none yet.
    """

    server_until: datetime | None

    async def with_client(self, leg: Leg) -> Encrypted:
        """Be the server of a handshake with a client, which begins it.

        Args:
            leg: The client's leg in the clear; of no use afterwards, and closed on failure.

        Raises:
            NotEncrypted: It did not come about.
        """
        ...

    async def with_server(self, leg: Leg) -> Encrypted:
        """Be the client of a handshake with the server, and verify who that is.

        Args:
            leg: As in `with_client`.

        Raises:
            NotEncrypted: As in `with_client`.
        """
        ...


class TlsEncryption:
    """TLS by OpenSSL, as the settings of a route say."""

    def __init__(
        self,
        *,
        listener: ListenerTls,
        upstream: UpstreamTls,
        host: str,
        own_names: Sequence[str],
        timeouts: Timeouts,
    ) -> None:
        """Prepare; nothing is read or made yet.

        Args:
            listener: How to speak TLS with clients.
            upstream: How to speak TLS with the server.
            host: The server's name, which it has to prove.
            own_names: Names and addresses that clients may know us by.
            timeouts: `handshake` is used.
        """
        self._listener = listener
        self._upstream = upstream
        self._host = host
        self._own_names = own_names
        self._seconds = timeouts.handshake
        self._client_side: UpstreamContext | None = None
        self._server_side: ListenerContext | None = None
        self._making = trio.Lock()
        self.server_until: datetime | None = None

    async def prepare(self, *, clients: bool, server: bool) -> list[str]:
        """Make contexts now, so that what is wrong with the settings shows at the start.

        Args:
            clients: Whether TLS will be spoken with clients.
            server: Whether TLS will be spoken with the server.

        Returns:
            What works, but should be looked at.

        Raises:
            TlsSetupError: A file or an option cannot be used.
        """
        warnings: list[str] = []
        if clients:
            warnings += (await self._listener_context()).warnings
        if server:
            await self._upstream_context()
        return warnings

    async def with_client(self, leg: Leg) -> Encrypted:
        """See `Encryption.with_client`."""
        connected = _taken(leg)
        context = await _usable(self._listener_context, connected, "client")
        tls = _wrapped(context.wrap, connected, "client")
        await self._shake_hands(tls, "client", self._host)
        return _encrypted(tls, "client", self._host)

    async def with_server(self, leg: Leg) -> Encrypted:
        """See `Encryption.with_server`."""
        connected = _taken(leg)
        context = await _usable(self._upstream_context, connected, "upstream")
        tls = _wrapped(context.wrap, connected, "upstream")
        await self._shake_hands(tls, "upstream", context.name, context.verify)
        encrypted = _encrypted(tls, "upstream", context.name, context.remember)
        if encrypted.part.not_after is not None:
            self.server_until = datetime.fromisoformat(encrypted.part.not_after)
        return encrypted

    async def _shake_hands(
        self,
        tls: ssl.SSLSocket,
        leg: LegName,
        name: str,
        verify: Callable[[ssl.SSLSocket], None] | None = None,
    ) -> None:
        from popproxy.tls.handshake import handshake

        try:
            try:
                with trio.fail_after(self._seconds):
                    await handshake(tls, leg=leg, name=name)
            except trio.TooSlowError:
                raise TlsFailure(
                    "timeout",
                    f"the TLS handshake took longer than {self._seconds:g} seconds",
                    temporary=True,
                ) from None
            if verify is not None:
                verify(tls)
        except TlsFailure as failure:
            told = NotEncrypted(failure, leg, tls)
            await _let_read(tls)
            raise told from None
        except BaseException:
            _close(tls)
            raise

    async def _listener_context(self) -> ListenerContext:
        async with self._making:
            if self._server_side is None:
                from popproxy.tls.leaves import ListenerContext

                def make() -> ListenerContext:
                    return ListenerContext(
                        self._listener, default_names=[self._host, *self._own_names]
                    )

                self._server_side = await trio.to_thread.run_sync(make)
            return self._server_side

    async def _upstream_context(self) -> UpstreamContext:
        async with self._making:
            if self._client_side is None:
                from popproxy.tls.client import UpstreamContext

                def make() -> UpstreamContext:
                    return UpstreamContext(self._upstream, host=self._host)

                self._client_side = await trio.to_thread.run_sync(make)
            return self._client_side


def _taken(leg: Leg) -> socket.socket:
    if not isinstance(leg, SocketLeg):
        raise TypeError("TLS needs a leg that is a socket")
    return leg.take()


async def _usable(
    make: Callable[[], Awaitable[_Context]], connected: socket.socket, leg: LegName
) -> _Context:
    """Give a context; if it cannot be made now, in the middle of the work, fail the session."""
    try:
        return await make()
    except TlsSetupError as error:
        _close(connected)
        failure = TlsFailure(
            "setup", "popproxy cannot speak TLS at present", remedy=str(error), temporary=True
        )
        raise NotEncrypted(failure, leg) from None
    except BaseException:
        _close(connected)
        raise


def _wrapped(
    wrap: Callable[[socket.socket], ssl.SSLSocket], connected: socket.socket, leg: LegName
) -> ssl.SSLSocket:
    try:
        return wrap(connected)
    except OSError as error:
        _close(connected)
        failure = TlsFailure("closed", f"the connection is gone: {leg_lost(error).cause}")
        raise NotEncrypted(failure, leg) from None
    except BaseException:
        _close(connected)
        raise


def _encrypted(
    tls: ssl.SSLSocket,
    leg: LegName,
    name: str,
    before_close: Callable[[ssl.SSLSocket], None] | None = None,
) -> Encrypted:
    from popproxy.relay.tls_leg import TlsLeg
    from popproxy.tls.facts import facts

    return Encrypted(TlsLeg(tls, leg=leg, name=name, before_close=before_close), facts(tls, leg))


async def _let_read(tls: ssl.SSLSocket) -> None:
    """Let a peer read our last octets, an alert among them, before the connection is closed."""
    unread = _UNREAD
    try:
        with trio.move_on_after(LINGER), contextlib.suppress(OSError):
            socket.socket.shutdown(tls, socket.SHUT_WR)
            while unread > 0:
                await trio.lowlevel.wait_readable(tls)
                with contextlib.suppress(BlockingIOError):
                    data = socket.socket.recv(tls, 4096)
                    if not data:
                        break
                    unread -= len(data)
    finally:
        _close(tls)


def _close(connected: socket.socket) -> None:
    if connected.fileno() >= 0:
        trio.lowlevel.notify_closing(connected)
        connected.close()
