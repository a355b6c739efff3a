"""What the sessions of each route share, made of what the relay is told.

It is made at the start, and again at each reload: what clients and servers prove themselves with is
read anew from its files then, so that a certificate that was renewed is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from popproxy.privacy import Policy
from popproxy.records import RoutePart
from popproxy.relay import diagnostics
from popproxy.relay.binding import Listener
from popproxy.relay.encryption import TlsEncryption
from popproxy.relay.errors import RouteError
from popproxy.relay.loops import Address, OwnAddresses
from popproxy.relay.notice import notice
from popproxy.relay.record_hub import RecordHub
from popproxy.relay.rules import Manner
from popproxy.relay.service import Service
from popproxy.relay.settings import Limits, Route, Timeouts
from popproxy.relay.upstream import Unreachable, Upstream
from popproxy.tls.settings import UpstreamTls


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What sessions are served by; a session keeps those that it began with.

    Attributes:
        routes: Where to listen, and where each listener's sessions lead to.
        hub: Takes the records; whoever made it closes it.
        policy: How sessions are recorded.
        limits: How much is served at once.
        timeouts: How long things may take.
        own: Addresses that popproxy listens on for something else: no upstream may be one (P68).
    """

    routes: Sequence[Route]
    hub: RecordHub
    policy: Policy
    limits: Limits
    timeouts: Timeouts
    own: Sequence[Address] = ()


async def services_for(terms: Terms, listeners: Sequence[Listener]) -> dict[int, Service]:
    """Make what the sessions of each route share, and find out whether the routes can work.

    Args:
        terms: What is wanted.
        listeners: All of its listeners.

    Returns:
        By the `id` of the route.

    Raises:
        RouteError: A route leads back to popproxy.
        TlsSetupError: A route's settings of TLS cannot be used.
    """
    own = OwnAddresses()
    own.listens([*(listener.address for listener in listeners), *terms.own])
    upstreams = [Upstream(route.upstream, terms.timeouts, own) for route in terms.routes]
    for route, upstream in zip(terms.routes, upstreams, strict=True):
        await _refuse_loop(route, upstream, own)
    return {
        id(route): Service(
            route=RoutePart(
                name=route.name, listen=str(route.listen), upstream=str(route.upstream)
            ),
            connector=upstream,
            hub=terms.hub,
            policy=terms.policy,
            notice=notice(terms.policy, keys_logged=_logs_keys(route)),
            manner=_manner(route),
            encryption=await _encryption(route, terms.timeouts),
            limits=terms.limits,
            timeouts=terms.timeouts,
        )
        for route, upstream in zip(terms.routes, upstreams, strict=True)
    }


def _logs_keys(route: Route) -> bool:
    return bool(route.listener_tls.key_log or route.upstream_tls.key_log)


def _manner(route: Route) -> Manner:
    return Manner(
        listen=route.listen.scheme,
        upstream=route.upstream.scheme,
        mode=route.stls,
        announce=route.proxy_to,
    )


async def _encryption(route: Route, timeouts: Timeouts) -> TlsEncryption:
    """Make what puts TLS on a route's legs, and what it needs for certain, at once.

    Raises:
        TlsSetupError: The route's settings cannot be used.
    """
    encryption = TlsEncryption(
        listener=route.listener_tls,
        upstream=route.upstream_tls,
        host=route.upstream.host,
        own_names=[route.listen.host, "localhost"],
        timeouts=timeouts,
    )
    warnings = await encryption.prepare(
        clients=route.listen.scheme != "pop3" or route.listener_tls.certificate is not None,
        server=route.upstream.scheme != "pop3" or route.upstream_tls != UpstreamTls(),
    )
    for warning in warnings:
        diagnostics.warn("tls-warning", route=route.name, warning=warning)
    return encryption


async def _refuse_loop(route: Route, upstream: Upstream, own: OwnAddresses) -> None:
    """Refuse a route that leads back to one of our listeners (P59).

    Raises:
        RouteError: It does.
    """
    if not own.port_is_ours(route.upstream.port):
        return  # and no name needs to be looked up
    try:
        targets = await upstream.resolve()
    except Unreachable:
        return  # each session will find out for itself
    for _, address in targets:
        if own.leads_back(address[0], address[1]):
            raise RouteError(
                f"route {route.name}: its upstream {route.upstream} is a listener of this popproxy,"
                " so each session would lead to itself; name the mail server instead"
            )
