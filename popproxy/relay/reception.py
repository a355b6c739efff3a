"""Receiving clients: who they are, whether they are let in, and the beginning of their sessions."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence

import trio

from popproxy.relay import diagnostics
from popproxy.relay.accepting import hang_up
from popproxy.relay.admission import Admission, Refusal, Refused
from popproxy.relay.arrivals import Arrival, arrival_of, is_among, read_header
from popproxy.relay.binding import Listener
from popproxy.relay.housekeeping import Housekeeper
from popproxy.relay.ids import SessionIds
from popproxy.relay.legs import SocketLeg
from popproxy.relay.loops import Address, plain_ip
from popproxy.relay.proxy_header import BadHeader
from popproxy.relay.record_hub import RecordHub
from popproxy.relay.service import Service
from popproxy.relay.session import RelaySession
from popproxy.relay.settings import Limits, Network, Route
from popproxy.relay.tally import Tally

REFUSALS_RECORDED = 20
"""Refusals a second that are recorded: a flood of clients must not push out what is recorded of
the sessions that are served."""


class Reception:
    """Receives the clients of one relay.

    Attributes:
        housekeeper: Looks after their sessions.
        tally: Counts them.
    """

    def __init__(self, sessions: trio.Nursery, limits: Limits) -> None:
        """Begin with nobody in.

        Args:
            sessions: Where sessions have their tasks.
            limits: How many are let in.
        """
        self.housekeeper = Housekeeper()
        self.tally = Tally()
        self._nursery = sessions
        self._admission = Admission(limits)
        self._users: Counter[RecordHub] = Counter()  # sessions, and clients that are introduced
        self._hub_left = trio.Event()
        self._ids = SessionIds()
        self._recorded_refusals = diagnostics.Limiter(interval=1.0, burst=REFUSALS_RECORDED)
        self._told_refusals = diagnostics.Limiter(interval=10.0)
        self._told_headers = diagnostics.Limiter(interval=10.0)
        self._on_ended = self._ended  # one for all sessions, as each mention makes another

    def limit(self, limits: Limits) -> None:
        """Let in others than before; whoever is in stays."""
        self._admission.limits = limits

    async def unused(self, hub: RecordHub) -> None:
        """Wait until nobody who is in, or about to be, has to do with a hub."""
        while self._users[hub]:
            await self._hub_left.wait()

    def _use(self, hub: RecordHub) -> None:
        self._users[hub] += 1

    def _leave(self, hub: RecordHub) -> None:
        self._users[hub] -= 1
        if not self._users[hub]:
            del self._users[hub]
            self._hub_left.set()
            self._hub_left = trio.Event()

    def welcome(
        self,
        listener: Listener,
        service: Service,
        arriving: trio.Nursery,
        client: socket.socket,
        address: Address,
    ) -> None:
        """Begin a client's session, or refuse it. Never raises: the listener goes on (P57).

        Args:
            listener: Where it connected to.
            service: The route's.
            arriving: Where it is waited for what a load balancer says of the client.
            client: Its connection.
            address: Where it connects from, or the load balancer's address.
        """
        route = listener.route
        try:
            arrival = Arrival(address, _came_to(client, listener))
            if not is_among(address[0], route.proxy_from):
                self._admit(service, client, arrival, route.allow)
                return
            try:
                self._admission.hold()
            except Refused as refused:
                self._refuse(service, client, arrival, refused)
                return
            self._use(service.hub)
            arriving.start_soon(self._introduce, route, service, client, arrival)
        except Exception as error:  # noqa: BLE001 - P57: one client never ends the server
            _give_up(client, error)

    async def _introduce(
        self, route: Route, service: Service, client: socket.socket, arrival: Arrival
    ) -> None:
        """Have a load balancer say who the client is; then as `welcome`."""
        try:
            try:
                header = await read_header(client, service.timeouts.proxy_header)
            finally:
                self._admission.let_go()
            if header is None:
                _close_socket(client)
                return
            allow = () if header.local else route.allow  # it is no client, and known by address
            arrival = arrival_of(header, arrival.client, arrival.listener)
            self._admit(service, client, arrival, allow)
        except BadHeader as bad:
            _close_socket(client)
            self._note_bad_header(service, arrival, bad)
        except Exception as error:  # noqa: BLE001 - as above
            _give_up(client, error)
        except BaseException:
            _close_socket(client)
            raise
        finally:
            self._leave(service.hub)

    def _admit(
        self,
        service: Service,
        client: socket.socket,
        arrival: Arrival,
        allow: Sequence[Network],
    ) -> None:
        """Begin the session of a client of which is known who it is."""
        host = arrival.client[0]
        try:
            self._admission.enter(arrival.client, allow)
        except Refused as refused:
            self._refuse(service, client, arrival, refused)
            return
        try:
            session = RelaySession(
                session_id=self._ids.make(service.utc_now()),
                service=service,
                client=SocketLeg(client),
                arrival=arrival,
                nursery=self._nursery,
                on_ended=self._on_ended,
            )
        except BaseException:
            self._admission.leave(host)
            raise
        self._use(service.hub)
        self.tally.begun += 1
        self.housekeeper.add(session)
        session.start()

    def _ended(self, session: RelaySession) -> None:
        self.tally.end(session.reason[0])
        self._leave(session.hub)
        self._admission.leave(session.client_host)
        self.housekeeper.remove(session)

    def end_all(self, reason: str) -> None:
        """End all sessions."""
        for session in list(self.housekeeper.sessions):
            session.end(reason)

    def _refuse(
        self, service: Service, client: socket.socket, arrival: Arrival, refused: Refused
    ) -> None:
        hang_up(client, refused.cause)
        self.tally.refused[refused.kind] += 1
        if self._told_refusals.passes(diagnostics.now()):
            diagnostics.warn(
                "client-refused",
                client=arrival.client[0],
                cause=refused.cause,
                unreported=self._told_refusals.suppressed(),
            )
        self._record_refusal(service, arrival, refused.cause)

    def _note_bad_header(self, service: Service, arrival: Arrival, bad: BadHeader) -> None:
        kind: Refusal = "proxy-header"
        self.tally.refused[kind] += 1
        if self._told_headers.passes(diagnostics.now()):
            diagnostics.warn(
                "bad-proxy-header",
                peer=arrival.client[0],
                cause=bad.cause,
                remedy="have the load balancer send PROXY headers (HAProxy: send-proxy-v2), or take"
                " its network out of proxy_from",
                unreported=self._told_headers.suppressed(),
            )
        self._record_refusal(service, arrival, f"no PROXY header: {bad.cause}")

    def _record_refusal(self, service: Service, arrival: Arrival, cause: str) -> None:
        if self._recorded_refusals.passes(diagnostics.now()):
            service.record_refusal(self._ids.make(service.utc_now()), arrival, cause)


def _came_to(client: socket.socket, listener: Listener) -> Address:
    """Give the address of ours that a client connected to; a wildcard is none."""
    if plain_ip(listener.address[0]).is_unspecified:
        address: Address = client.getsockname()[:2]
        return address
    return listener.address


def _close_socket(client: socket.socket) -> None:
    if client.fileno() >= 0:
        trio.lowlevel.notify_closing(client)
        client.close()


def _give_up(client: socket.socket, error: Exception) -> None:
    """Close a connection whose session could not begin, and tell people where that is (P57)."""
    _close_socket(client)
    diagnostics.warn("session-not-begun", where=diagnostics.whereabouts(error))
