"""The relay as a whole: routes in, sessions out, until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import trio

from popproxy.privacy import Policy
from popproxy.records import RoutePart
from popproxy.relay import diagnostics
from popproxy.relay.accepting import Acceptor
from popproxy.relay.binding import Listener, open_listeners
from popproxy.relay.encryption import TlsEncryption
from popproxy.relay.errors import RouteError
from popproxy.relay.loops import Address, OwnAddresses
from popproxy.relay.notice import notice
from popproxy.relay.reception import Reception
from popproxy.relay.record_hub import RecordHub
from popproxy.relay.rules import Manner
from popproxy.relay.service import Service
from popproxy.relay.settings import Limits, Route, Timeouts
from popproxy.relay.upstream import Unreachable, Upstream
from popproxy.tls.settings import UpstreamTls


async def serve(
    routes: Sequence[Route],
    *,
    hub: RecordHub,
    policy: Policy,
    stop: trio.Event,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    bound: Callable[[], None] | None = None,
    task_status: trio.TaskStatus[list[Listener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Relay and record sessions until told to stop.

    Args:
        routes: Where to listen, and where each listener's sessions lead to.
        hub: Takes the records; the caller closes it afterwards.
        policy: How sessions are recorded.
        stop: When set, no more clients are accepted; sessions get `timeouts.drain` seconds to end
            by themselves, then they are ended with the reason `shutdown` (P63).
        limits: How much is served at once.
        timeouts: How long things may take.
        bound: Called when the listeners are bound, before anything else is done: root can be given
            up then (P70).
        task_status: Started with the open listeners, whose `url` tells the port.

    Raises:
        CannotListen: An address cannot be listened on.
        RouteError: A route cannot work, because it leads back to popproxy, for example.
        TlsSetupError: A route's settings of TLS cannot be used.
    """
    limits = limits or Limits()
    timeouts = timeouts or Timeouts()
    own = OwnAddresses()
    upstreams = [Upstream(route.upstream, timeouts, own) for route in routes]
    listeners = await open_listeners(routes, timeouts.resolve)
    acceptor = Acceptor()
    try:
        if bound is not None:
            bound()
        own.listens(listener.address for listener in listeners)
        for route, upstream in zip(routes, upstreams, strict=True):
            await _refuse_loop(route, upstream, own)
        encryptions = [await _encryption(route, timeouts) for route in routes]
        services = {
            id(route): Service(
                route=RoutePart(
                    name=route.name, listen=str(route.listen), upstream=str(route.upstream)
                ),
                connector=upstream,
                hub=hub,
                policy=policy,
                notice=notice(policy, keys_logged=_logs_keys(route)),
                manner=_manner(route),
                encryption=encryption,
                limits=limits,
                timeouts=timeouts,
            )
            for route, upstream, encryption in zip(routes, upstreams, encryptions, strict=True)
        }
        async with trio.open_nursery() as background, trio.open_nursery() as sessions:
            reception = Reception(sessions, limits)
            background.start_soon(reception.housekeeper.run)
            try:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        service = services[id(listener.route)]
                        welcome = _welcome(reception, listener, service, accepting)
                        accepting.start_soon(acceptor.run, listener.socket, welcome)
                    task_status.started(listeners)
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                _close(listeners)
                with trio.move_on_after(timeouts.drain):
                    await reception.housekeeper.empty()
            finally:  # also if all of this is cancelled: most sessions have no task to see that
                reception.end_all("shutdown")
            await reception.housekeeper.empty()
            background.cancel_scope.cancel()
    finally:
        _close(listeners)
        acceptor.close()


def _welcome(
    reception: Reception, listener: Listener, service: Service, arriving: trio.Nursery
) -> Callable[[socket.socket, Address], None]:
    def welcome(client: socket.socket, address: Address) -> None:
        reception.welcome(listener, service, arriving, client, address)

    return welcome


def _close(listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        if listener.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(listener.socket)
            listener.socket.close()


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
