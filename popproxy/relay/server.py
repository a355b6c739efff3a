"""The relay as a whole: routes in, sessions out, until it is told to stop.

While it runs it can be told other terms (`Relay.replace`): everything that can fail is done first,
beside what is being served, and then all of it is put in place at once. A listener that stays keeps
its very socket, so that no client finds the port closed in between; sessions go on with the terms
that they began with.
"""

from __future__ import annotations

import dataclasses
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import trio

from popproxy.privacy import Policy
from popproxy.relay.accepting import Acceptor
from popproxy.relay.binding import Listener, Opener, matched, open_listeners, refuse_strangers
from popproxy.relay.errors import RelayError
from popproxy.relay.loops import Address
from popproxy.relay.reception import Reception
from popproxy.relay.record_hub import RecordHub
from popproxy.relay.service import Service
from popproxy.relay.services import Terms, services_for
from popproxy.relay.settings import Limits, Route, Timeouts
from popproxy.relay.tally import RouteState, Tally
from popproxy.relay.url import Url


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
        stop: As for `Relay.run`.
        limits: How much is served at once.
        timeouts: How long things may take.
        bound: As for `Relay.run`.
        task_status: As for `Relay.run`.

    Raises:
        CannotListen: An address cannot be listened on.
        RouteError: A route cannot work, because it leads back to popproxy, for example.
        TlsSetupError: A route's settings of TLS cannot be used.
    """
    terms = Terms(
        routes=routes,
        hub=hub,
        policy=policy,
        limits=limits or Limits(),
        timeouts=timeouts or Timeouts(),
    )
    await Relay(terms).run(stop=stop, bound=bound, task_status=task_status)


class _Place:
    """A listener that is being served."""

    __slots__ = ("listener", "scope", "service")

    def __init__(self, listener: Listener, service: Service) -> None:
        self.listener = listener
        self.service = service
        self.scope = trio.CancelScope()


class Relay:
    """Relays sessions, by terms that can be replaced while it does."""

    def __init__(self, terms: Terms, opener: Opener = open_listeners) -> None:
        """Prepare; nothing is opened yet.

        Args:
            terms: What the first sessions are served by.
            opener: Opens listeners, or has them from somebody else.
        """
        self._terms = terms
        self._open = opener
        self._places: list[_Place] = []
        self._acceptor: Acceptor | None = None
        self._reception: Reception | None = None
        self._accepting: trio.Nursery | None = None  # while clients are accepted

    async def run(
        self,
        *,
        stop: trio.Event,
        bound: Callable[[], None] | None = None,
        task_status: trio.TaskStatus[list[Listener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Relay and record sessions until told to stop; can be called once.

        Args:
            stop: When set, no more clients are accepted; sessions get `timeouts.drain` seconds to
                end by themselves, then they are ended with the reason `shutdown` (P63).
            bound: Called when the listeners are bound, before anything else is done: root can be
                given up then (P70).
            task_status: Started with the open listeners, whose `url` tells the port.

        Raises:
            CannotListen: An address cannot be listened on.
            RouteError: A route cannot work, because it leads back to popproxy, for example.
            TlsSetupError: A route's settings of TLS cannot be used.
        """
        terms = self._terms
        listeners = await self._open(terms.routes, terms.timeouts.resolve)
        self._acceptor = Acceptor()
        try:
            if bound is not None:
                bound()
            services = await services_for(terms, listeners)
            self._places = [_Place(one, services[id(one.route)]) for one in listeners]
            async with trio.open_nursery() as background, trio.open_nursery() as sessions:
                reception = self._reception = Reception(sessions, terms.limits)
                background.start_soon(reception.housekeeper.run)
                try:
                    async with trio.open_nursery() as self._accepting:
                        for place in self._places:
                            self._accepting.start_soon(
                                self._accept, place, reception, self._accepting
                            )
                        task_status.started(listeners)
                        await stop.wait()
                        self._accepting.cancel_scope.cancel()
                        self._accepting = None
                    self._close()
                    with trio.move_on_after(self._terms.timeouts.drain):
                        await reception.housekeeper.empty()
                finally:  # also if all of this is cancelled: most sessions have no task to see that
                    self._accepting = None
                    reception.end_all("shutdown")
                await reception.housekeeper.empty()
                background.cancel_scope.cancel()
        finally:
            _close(listeners)
            self._close()
            self._acceptor.close()

    async def replace(self, terms: Terms) -> list[Listener]:
        """Serve sessions that begin from now on by other terms, or leave everything as it is.

        Listeners are known by the host and port that their route names; those that stay keep their
        sockets. Files of certificates are read anew. Only one call may be under way.

        Args:
            terms: The other terms.

        Returns:
            The listeners that are new.

        Raises:
            CannotListen: As for `run`.
            RouteError: As for `run`.
            TlsSetupError: As for `run`.
            RelayError: The relay accepts no clients, because it is about to end.
        """
        places = {id(place.listener): place for place in self._places}
        staying, wanted = matched([place.listener for place in self._places], terms.routes)
        for route, listener in staying:
            refuse_strangers(route, listener.address[0])
        opened = await self._open(wanted, terms.timeouts.resolve)
        try:
            kept = [(places[id(one)], _under(one, route)) for route, one in staying]
            services = await services_for(terms, [one for _, one in kept] + opened)
            accepting, reception = self._at_work()
        except BaseException:
            _close(opened)
            raise
        # Nothing waits from here on, and nothing fails: it is all of it, or nothing.
        self._terms = terms
        reception.limit(terms.limits)
        for place, listener in kept:
            place.listener, place.service = listener, services[id(listener.route)]
        stays = {place: None for place, _ in kept}
        for place in self._places:
            if place not in stays:
                place.scope.cancel()
                _close([place.listener])
        added = [_Place(listener, services[id(listener.route)]) for listener in opened]
        order = {id(route): number for number, route in enumerate(terms.routes)}
        self._places = sorted([*stays, *added], key=lambda place: order[id(place.listener.route)])
        for place in added:
            accepting.start_soon(self._accept, place, reception, accepting)
        return opened

    def _at_work(self) -> tuple[trio.Nursery, Reception]:
        if self._accepting is None or self._reception is None:
            raise RelayError("popproxy is about to end, and takes no new settings")
        return self._accepting, self._reception

    @property
    def sessions(self) -> int:
        """How many sessions are under way."""
        return 0 if self._reception is None else len(self._reception.housekeeper.sessions)

    @property
    def tally(self) -> Tally:
        """What was counted so far."""
        return Tally() if self._reception is None else self._reception.tally

    @property
    def states(self) -> list[RouteState]:
        """The listeners that are served, each with the sessions of its route."""
        counts: Counter[str] = Counter()
        if self._reception is not None:
            counts.update(session.route_name for session in self._reception.housekeeper.sessions)
        every = {place.listener.url: place for place in self._places}  # workers have several each
        return [
            RouteState(
                name=place.listener.route.name,
                listen=str(url),
                upstream=str(place.listener.route.upstream),
                sessions=counts[place.listener.route.name],
                server_until=tls.server_until if (tls := place.service.encryption) else None,
            )
            for url, place in every.items()
        ]

    async def unused(self, hub: RecordHub) -> None:
        """Wait until no session, nor a client that is about to begin one, has to do with a hub.

        Args:
            hub: One that new sessions do not get any more.
        """
        if self._reception is not None:
            await self._reception.unused(hub)

    async def _accept(self, place: _Place, reception: Reception, arriving: trio.Nursery) -> None:
        assert self._acceptor is not None  # noqa: S101 - says so to the type checker

        def welcome(client: socket.socket, address: Address) -> None:
            reception.welcome(place.listener, place.service, arriving, client, address)

        with place.scope:
            await self._acceptor.run(place.listener.socket, welcome, place.listener.patience)

    def _close(self) -> None:
        _close(place.listener for place in self._places)


def _under(listener: Listener, route: Route) -> Listener:
    """Give a listener under another route."""
    url = Url(route.listen.scheme, listener.url.host, listener.url.port)
    return dataclasses.replace(listener, route=route, url=url)


def _close(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        if listener.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(listener.socket)
            listener.socket.close()
