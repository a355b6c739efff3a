"""Opening listeners: what a route's URL stands for, and what to do if it cannot be had."""

from __future__ import annotations

import dataclasses
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from popproxy.relay.errors import CannotListen, RouteError
from popproxy.relay.loops import Address, plain_ip
from popproxy.relay.settings import Route
from popproxy.relay.url import Url, is_address

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted, as far as it allows."""
_PORT_TRIES = 8
"""How often a free port is asked for that all addresses of a name can share."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens.

    Attributes:
        route: The route that it belongs to.
        url: Where it listens, with its port.
        address: The same, as an address.
        socket: The socket.
        turn: The worker whose queue this is, if several processes share the address.
        patience: Seconds to leave clients to that worker, if it is another.
    """

    route: Route
    url: Url
    address: Address
    socket: socket.socket
    turn: int = 1
    patience: float = 0.0


Opener = Callable[[Sequence[Route], float], Awaitable[list[Listener]]]
"""Opens the listeners of routes, as `open_listeners` does."""


def matched(
    listeners: Sequence[Listener], routes: Sequence[Route]
) -> tuple[list[tuple[Route, Listener]], list[Route]]:
    """Find the listeners that stay when routes change: host and port are as they were written.

    Two routes may both have asked for any free port of a host: they are taken in their order.

    Args:
        listeners: What is listened on.
        routes: The routes that are wanted.

    Returns:
        The listeners that stay, each with its route from now on, and the routes without any.
    """
    free: dict[tuple[str, int], list[list[Listener]]] = {}
    by_route: dict[int, list[Listener]] = {}
    for listener in listeners:
        route = listener.route
        if id(route) not in by_route:
            by_route[id(route)] = []
            free.setdefault((route.listen.host, route.listen.port), []).append(by_route[id(route)])
        by_route[id(route)].append(listener)
    staying: list[tuple[Route, Listener]] = []
    wanted: list[Route] = []
    for route in routes:
        found = free.get((route.listen.host, route.listen.port))
        if found:
            staying += [(route, listener) for listener in found.pop(0)]
        else:
            wanted.append(route)
    return staying, wanted


async def open_listeners(routes: Sequence[Route], resolve: float) -> list[Listener]:
    """Open the listeners of all routes, or none.

    Args:
        routes: The routes.
        resolve: Seconds that looking a name up may take.

    Raises:
        CannotListen: An address cannot be listened on.
        RouteError: A route's address is open to other machines, and the route does not say whom
            it is for (P67).
    """
    listeners: list[Listener] = []
    try:
        for route in routes:
            addresses = await _addresses(route, resolve)
            listeners += _open(route, addresses, listeners)
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


async def _addresses(route: Route, resolve: float) -> list[tuple[int, Any]]:
    """Find what a route's host stands for: families and socket addresses."""
    host, port = route.listen.host, route.listen.port
    try:
        if is_address(host):
            found = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        else:
            with trio.fail_after(resolve):
                found = await trio.socket.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )
    except (OSError, UnicodeError, trio.TooSlowError):
        raise CannotListen(
            f"cannot listen on {route.listen}: no address was found for {host}; give a numeric"
            " one, e.g. 127.0.0.1"
        ) from None
    addresses = list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))
    for _, address in addresses:
        refuse_strangers(route, str(address[0]))
    return addresses


def refuse_strangers(route: Route, host: str) -> None:
    """Refuse an address that is open to other machines, if nobody said whom it is for (P67).

    Args:
        route: The route that listens there.
        host: The numeric address.

    Raises:
        RouteError: It is.
    """
    if not plain_ip(host).is_loopback and not route.allow:
        raise RouteError(
            f"route {route.name} listens on {route.listen}, which other machines can reach:"
            ' say whose clients are served, e.g. allow = ["192.168.1.0/24"], or listen on'
            " 127.0.0.1"
        )


def _open(route: Route, addresses: list[tuple[int, Any]], others: list[Listener]) -> list[Listener]:
    """Open all addresses of one route, on one port."""
    for attempt in range(_PORT_TRIES):
        port = route.listen.port
        opened: list[Listener] = []
        problem: OSError | None = None
        for family, address in addresses:
            try:
                listener = _open_one(route, family, address, port)
            except OSError as error:
                problem = error
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and len(addresses) > 1:
                    continue  # a machine without IPv6 may still know localhost as ::1
                break
            opened.append(listener)
            port = listener.address[1]
            problem = None
        if problem is None and opened:
            return opened
        for listener in opened:
            listener.socket.close()
        free_port_was_taken = (
            problem is not None
            and problem.errno == errno.EADDRINUSE
            and not route.listen.port
            and attempt + 1 < _PORT_TRIES
        )
        if not free_port_was_taken:
            raise CannotListen(_advice(route, problem, others)) from None
    raise AssertionError("the last attempt returns or raises")


def _open_one(
    route: Route, family: int, address: Any, port: int, *, share: bool = False
) -> Listener:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::] is IPv6 and 0.0.0.0 is IPv4, whatever the system's default.
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((address[0], port, *address[2:]))
        opened.listen(BACKLOG)
        bound: Address = opened.getsockname()[:2]
    except BaseException:
        opened.close()
        raise
    return Listener(route, Url(route.listen.scheme, bound[0], bound[1]), bound, opened)


def shared(listener: Listener, workers: int) -> list[Listener]:
    """Open an address anew, once for each worker; the kernel deals clients out (SO_REUSEPORT).

    Args:
        listener: Has the address for itself, which shows that it was free; it is closed.
        workers: How many.

    Raises:
        CannotListen: Another program was faster.
    """
    family, place = listener.socket.family, listener.socket.getsockname()
    listener.socket.close()
    opened: list[Listener] = []
    try:
        for turn in range(1, workers + 1):
            one = _open_one(listener.route, family, place, place[1], share=True)
            opened.append(dataclasses.replace(one, turn=turn))
    except OSError as error:
        for one in opened:
            one.socket.close()
        raise CannotListen(_advice(listener.route, error, [])) from None
    return opened


def _advice(route: Route, problem: OSError | None, others: list[Listener]) -> str:
    """Say why a route cannot listen, and what to do."""
    prefix = f"cannot listen on {route.listen}"
    code = problem.errno if problem is not None else None
    if code == errno.EADDRINUSE:
        for other in others:
            if other.address[1] == route.listen.port:
                return (
                    f"{prefix}: routes {other.route.name} and {route.name} have the same port;"
                    " give one of them another"
                )
        return (
            f"{prefix}: the port is in use by another program; end that, choose another port, or"
            " port 0 for any free one"
        )
    if code == errno.EACCES:
        return (
            f"{prefix}: ports below 1024 need privileges; choose a higher one,"
            f" e.g. {Url(route.listen.scheme, route.listen.host, 1110)}"
        )
    if code in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return (
            f"{prefix}: this machine has no such address; listen on 127.0.0.1, or on one that"
            " `ip address` shows"
        )
    return f"{prefix}: {problem.strerror if problem is not None else 'unknown error'}"
