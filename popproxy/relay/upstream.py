"""Upstreams: finding a server's addresses and connecting to one of them, each in bounded time.

A name is looked up anew for each session, so that a change in the DNS is followed. A numeric
address takes the short way: no look-up, no second attempt. A name with several addresses is
connected to as RFC 8305 describes (happy eyeballs): one attempt after the other, begun 250 ms
apart, families by turns, and the first connection that stands is taken.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Protocol

import trio

from popproxy.relay.legs import Leg, SocketLeg
from popproxy.relay.loops import Address, OwnAddresses
from popproxy.relay.settings import Timeouts
from popproxy.relay.url import Url, is_address

ATTEMPT_DELAY = 0.25
"""Seconds between the beginnings of two attempts (RFC 8305, section 5)."""

_SocketAddress = tuple[Any, ...]
_Target = tuple[socket.AddressFamily, _SocketAddress]


class Unreachable(Exception):  # noqa: N818 - it says what the server is
    """The upstream cannot be reached.

    Attributes:
        cause: Why, in words that client and log may see.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Reached:
    """A connection to an upstream.

    Attributes:
        leg: The connection.
        server: The server's address.
    """

    leg: Leg
    server: Address


class Connector(Protocol):
    """Whoever can connect a session to its upstream."""

    async def connect(self) -> Reached:
        """Connect.

        Raises:
            Unreachable: It did not work, or took too long.
        """
        ...


class Upstream:
    """The server of a route."""

    __slots__ = ("_numeric", "_own", "_timeouts", "_url")

    def __init__(self, url: Url, timeouts: Timeouts, own: OwnAddresses) -> None:
        """Prepare; nothing is looked up yet.

        Args:
            url: Where the server is.
            timeouts: `resolve` and `connect` are used.
            own: Our addresses, which it must not be one of.
        """
        self._url = url
        self._timeouts = timeouts
        self._own = own
        self._numeric: list[_Target] | None = None
        """What a numeric address stands for; it never changes."""

    async def connect(self) -> Reached:
        """See `Connector.connect`."""
        targets = await self.resolve()
        for _, address in targets:
            if self._own.leads_back(address[0], address[1]):
                raise Unreachable(
                    f"{self._url.host} port {self._url.port} is popproxy itself (a loop)"
                )
        connected: socket.socket | None = None
        causes: list[str] = []
        with trio.move_on_after(self._timeouts.connect):
            if len(targets) == 1:
                connected = await self._attempt(targets[0], causes)
            else:
                connected = await self._race(targets, causes)
        if connected is None:
            cause = causes[0] if causes else f"no answer within {self._timeouts.connect:g} seconds"
            raise Unreachable(f"{self._url.host} port {self._url.port}: {cause}")
        try:
            server = connected.getpeername()
        except OSError as error:
            self._give_up(connected)
            raise Unreachable(f"{self._url.host} port {self._url.port}: {_words(error)}") from None
        return Reached(SocketLeg(connected), server[:2])

    async def resolve(self) -> list[_Target]:
        """Find the addresses, in the order in which to try them.

        Raises:
            Unreachable: The name is not known, or looking it up takes too long.
        """
        if self._numeric is not None:
            return self._numeric
        host, port = self._url.host, self._url.port
        try:
            if is_address(host):
                found: list[Any] = socket.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
                )
                self._numeric = [(family, address) for family, _, _, _, address in found]
                return self._numeric
            with trio.fail_after(self._timeouts.resolve):
                found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except trio.TooSlowError:
            raise Unreachable(
                f"looking up {host} took longer than {self._timeouts.resolve:g} seconds"
            ) from None
        except (OSError, UnicodeError) as error:
            cause = _words(error) if isinstance(error, OSError) else "no valid name"
            raise Unreachable(f"looking up {host}: {cause}") from None
        return _by_turns([(family, address) for family, _, _, _, address in found])

    async def _race(self, targets: list[_Target], causes: list[str]) -> socket.socket | None:
        """Try several addresses, each beginning a little after the one before (RFC 8305)."""
        winner: socket.socket | None = None

        async def run(target: _Target, failed: trio.Event) -> None:
            nonlocal winner
            connected = await self._attempt(target, causes)
            if connected is None:
                failed.set()
            elif winner is None:
                winner = connected
                nursery.cancel_scope.cancel()
            else:
                self._give_up(connected)

        try:
            async with trio.open_nursery() as nursery:
                for target in targets:
                    failed = trio.Event()
                    nursery.start_soon(run, target, failed)
                    with trio.move_on_after(ATTEMPT_DELAY):
                        await failed.wait()
        except BaseException:
            if winner is not None:  # the session was ended in the very moment of success
                self._give_up(winner)
            raise
        return winner

    async def _attempt(self, target: _Target, causes: list[str]) -> socket.socket | None:
        """Try one address; on failure note why and give None."""
        family, address = target
        attempt: socket.socket | None = None
        error = 0
        try:
            attempt = socket.socket(family, socket.SOCK_STREAM)
            attempt.setblocking(False)
            try:
                attempt.connect(address)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(attempt)
                error = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                connected, attempt = attempt, None
                return connected
            causes.append(os.strerror(error).lower())
        except OSError as failure:
            causes.append(_words(failure))
        finally:
            if attempt is not None:
                self._give_up(attempt)
        return None

    def _give_up(self, attempt: socket.socket) -> None:
        """Close a connection that is not, or no longer, wanted."""
        trio.lowlevel.notify_closing(attempt)
        attempt.close()


def _by_turns(targets: list[_Target]) -> list[_Target]:
    """Order addresses so that families alternate, the first one's family first."""
    first = [target for target in targets if target[0] == targets[0][0]]
    others = [target for target in targets if target[0] != targets[0][0]]
    pairs = chain.from_iterable(zip_longest(first, others))
    return [target for target in pairs if target is not None]


def _words(error: OSError) -> str:
    """Say a system error in words."""
    return (error.strerror or "unknown error").lower()
