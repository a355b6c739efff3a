"""Who is let in: by network (P67) and by number (P55)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from popproxy.relay.arrivals import is_among
from popproxy.relay.loops import Address
from popproxy.relay.settings import Limits, Network


class Refused(Exception):  # noqa: N818 - it says what the client is
    """A client is not let in.

    Attributes:
        cause: Why, in words that client and log may see.
        by_number: Whether it is because there are too many, so that many refusals are likely.
    """

    def __init__(self, cause: str, *, by_number: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.by_number = by_number


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
            raise Refused("too many connections, try again later", by_number=True)
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
            raise Refused("clients of your network are not served here")
        self.hold()
        if self._by_address[client[0]] >= self.limits.connections_per_client:
            self.let_go()
            raise Refused("too many connections from your address", by_number=True)
        self._by_address[client[0]] += 1

    def leave(self, host: str) -> None:
        """Note that a client that was let in has gone."""
        self._total -= 1
        self._by_address[host] -= 1
        if not self._by_address[host]:
            del self._by_address[host]
