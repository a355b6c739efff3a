"""Who has come: a client's own address, or what a load balancer says of it.

A connection from a load balancer that a route names (`proxy_from`) begins with a PROXY header,
before TLS and before anything else. Exactly its octets are taken from the connection: what is not
known to be the header's is looked at where it lies (`MSG_PEEK`), so that nothing has to be handed
back and TLS can begin behind it. Octets that are the header's are taken at once, since the kernel
would otherwise report over and over that there is something to read.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import NamedTuple

import trio

from popproxy.relay.loops import Address, plain_ip
from popproxy.relay.proxy_header import V2_MOST, BadHeader, HeaderReader, ProxyHeader
from popproxy.relay.settings import Network


class Arrival(NamedTuple):
    """A client, as it arrived.

    Attributes:
        client: Where it connects from.
        listener: The address of ours that the connection came to.
        via: The load balancer's end of the connection, if it came through one.
        destination: Where the client connected to, as the load balancer says.
    """

    client: Address
    listener: Address
    via: Address | None = None
    destination: Address | None = None


def arrival_of(header: ProxyHeader, peer: Address, listener: Address) -> Arrival:
    """Say who has come through a load balancer.

    Args:
        header: What it says.
        peer: Its end of the connection.
        listener: The address of ours that the connection came to.
    """
    return Arrival(header.source or peer, listener, peer, header.destination)


def is_among(host: str, networks: Iterable[Network]) -> bool:
    """Say whether a numeric address belongs to one of some networks."""
    address = plain_ip(host)
    return any(address in network for network in networks)


async def read_header(connected: socket.socket, seconds: float) -> ProxyHeader | None:
    """Read the PROXY header of a connection, and not an octet more.

    Args:
        connected: A non-blocking socket from which nothing was read.
        seconds: How long all of it may take.

    Returns:
        What it says; None if the peer closed without a word, as probes of a port do.

    Raises:
        BadHeader: Something else came, or too late.
    """
    reader = HeaderReader()
    with trio.move_on_after(seconds):
        while True:
            await trio.lowlevel.wait_readable(connected)
            try:
                data = connected.recv(V2_MOST, socket.MSG_PEEK)
                if data:
                    connected.recv(reader.take(data))
            except BlockingIOError:
                continue
            except OSError as error:
                words = os.strerror(error.errno or 0).lower()
                raise BadHeader(f"the connection is gone: {words}") from None
            if reader.header is not None:
                return reader.header
            if not data:
                if reader.begun:
                    raise BadHeader("the connection ended inside it")
                return None
    raise BadHeader(f"it did not come within {seconds:g} seconds")
