"""What the relay can be told: routes, limits and time-outs. Durations are in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from popproxy.relay.url import Url
from popproxy.tls.settings import ListenerTls, UpstreamTls

Network = IPv4Network | IPv6Network

StlsMode = Literal["intercept", "pass", "hide"]
"""What becomes of a client's STLS: popproxy ends TLS on both legs and reads on; client and server
speak TLS with each other and nothing is read; STLS is taken out of CAPA and refused."""


Announce = Literal["none", "v1", "v2", "xclient"]
"""How the server learns who the client is: not at all, by a PROXY header before anything else, in
text or in binary, or by Dovecot's command XCLIENT."""


def _no_authority() -> ListenerTls:
    return ListenerTls(authority=Path())


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A listener and the one upstream that its sessions are relayed to (P67).

    Attributes:
        name: What the route is called in records and messages.
        listen: Where to listen. Port 0 picks a free one.
        upstream: The server. Never taken from a client.
        allow: Networks whose clients are served; others are refused. Empty allows every client
            of a loopback address, and is not enough for any other address.
        proxy_from: Networks of load balancers: their connections have to begin with a PROXY header
            that says who the client is.
        proxy_to: How the server learns who the client is.
        stls: What becomes of STLS on a listener that begins in the clear.
        listener_tls: How TLS is spoken with clients.
        upstream_tls: How TLS is spoken with the server.
    """

    name: str
    listen: Url
    upstream: Url
    allow: tuple[Network, ...] = ()
    proxy_from: tuple[Network, ...] = ()
    proxy_to: Announce = "none"
    stls: StlsMode = "intercept"
    listener_tls: ListenerTls = field(default_factory=_no_authority)
    upstream_tls: UpstreamTls = field(default_factory=UpstreamTls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is served at once (P52, P55).

    Attributes:
        connections: Sessions in all, over all routes.
        connections_per_client: Sessions of one client address, over all routes.
        pending_commands: Unanswered commands of one session that are kept track of; beyond it the
            session is relayed without being read.
    """

    connections: int = 1000
    connections_per_client: int = 50
    pending_commands: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each step may take, in seconds (P58).

    Attributes:
        proxy_header: For a load balancer to say who the client is.
        resolve: To look the upstream's name up.
        connect: To connect to the upstream, over all of its addresses.
        handshake: For a TLS handshake.
        login: From the start of a session to the end of AUTHORIZATION.
        idle: Without an octet in either direction. RFC 1939, section 3, asks for 600 at least.
        closing: Without an octet, for a client that has not closed though its server has.
        drain: For the sessions that are under way when the relay is told to stop.
    """

    proxy_header: float = 5.0
    resolve: float = 5.0
    connect: float = 10.0
    handshake: float = 10.0
    login: float = 180.0
    idle: float = 600.0
    closing: float = 60.0
    drain: float = 10.0
