"""Who is let in: by network (P67) and by number (P55)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from popproxy.relay.arrivals import is_among
from popproxy.relay.loops import Address
from popproxy.relay.settings import Limits, Network

Refusal = Literal["network", "connections", "connections-per-client", "proxy-header"]
"""Why a client is not let in: its network is not allowed; there are too many, in all or from its
address; or a load balancer did not say who it is. This is all that there is."""


class Refused(Exception):  # noqa: N818 - it says what the client is
    """A client is not let in.

    Attributes:
        cause: Why, in words that client and log may see.
        kind: Why, in one word.
    """

    def __init__(self, cause: str, kind: Refusal) -> None:
        super().__init__(cause)
        self.cause = cause
        self.kind = kind


class Admission:
    """Counts the clients that are in, and decides about the next.

    Attributes:
        limits: How many are let in; may be changed at any time.
    """

    __slots__ = ("_by_address", "_total", "limits")

    def __init__(self, limits: Limits) -> None:
        """Begin with nobody in.

        Args:
            limits: How many are let in.
        """
        self.limits = limits
        self._total = 0
        self._by_address: Counter[str] = Counter()

    def hold(self) -> None:
        """Count a connection of which is not known yet who it is; `let_go` ends that.

        Raises:
            Refused: There are too many.
        """
        if self._total >= self.limits.connections:
            raise Refused("too many connections, try again later", "connections")
        self._total += 1

    def let_go(self) -> None:
        """Count a connection no more that was held: it has gone, or is about to `enter`."""
        self._total -= 1

    def enter(self, client: Address, allow: Iterable[Network]) -> None:
        """Let a client in. Whoever is let in has to `leave`.

        Args:
            client: Where it connects from.
            allow: The route's networks; none of them means all clients.

        Raises:
            Refused: It is not let in.
        """
        allow = tuple(allow)
        if allow and not is_among(client[0], allow):
            raise Refused("clients of your network are not served here", "network")
        self.hold()
        if self._by_address[client[0]] >= self.limits.connections_per_client:
            self.let_go()
            raise Refused("too many connections from your address", "connections-per-client")
        self._by_address[client[0]] += 1

    def leave(self, host: str) -> None:
        """Note that a client that was let in has gone."""
        self._total -= 1
        self._by_address[host] -= 1
        if not self._by_address[host]:
            del self._by_address[host]
