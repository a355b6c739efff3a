"""Loops: an upstream that is one of our own listeners would connect a session to itself, for ever.

An address is compared with those of all listeners, wildcards included, when the relay starts and
again before each connection, because a name may lead elsewhere by then (P59). A loop that leads
through another program, or through a firewall's redirection, cannot be seen here; the limit of
connections ends it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = tuple[str, int]
"""A numeric address without brackets, and a port."""


@lru_cache(maxsize=1024)
def plain_ip(text: str) -> IPv4Address | IPv6Address:
    """Read a numeric address; an IPv4 address that is written as IPv6 becomes IPv4.

    Args:
        text: The address, perhaps with a zone (`fe80::1%eth0`).

    Raises:
        ValueError: It is no numeric address.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class OwnAddresses:
    """The addresses that we listen on."""

    __slots__ = ("_listening",)

    def __init__(self) -> None:
        self._listening: list[tuple[IPv4Address | IPv6Address, int]] = []

    def listens(self, addresses: Iterable[Address]) -> None:
        """Note addresses that we listen on."""
        self._listening += [(plain_ip(host), port) for host, port in addresses]

    def port_is_ours(self, port: int) -> bool:
        """Say whether any listener has this port; if not, no upstream with it is a loop."""
        return any(port == listening for _, listening in self._listening)

    def leads_back(self, host: str, port: int) -> bool:
        """Say whether a connection to a numeric address would reach one of our listeners."""
        if not self.port_is_ours(port):
            return False
        target = plain_ip(host)
        if target.is_unspecified:  # connecting to 0.0.0.0 or :: reaches this machine
            target = ip_address("127.0.0.1" if target.version == 4 else "::1")
        return any(
            port == listening_port
            and (
                target == listening
                or (
                    listening.is_unspecified
                    and listening.version == target.version
                    and _is_local(target)
                )
            )
            for listening, listening_port in self._listening
        )


def _is_local(address: IPv4Address | IPv6Address) -> bool:
    """Say whether an address is one of this machine's."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Only an address of our own can be bound; a datagram socket sends nothing by that.
        probe.bind((str(address), 0))
        return True
    return False
