"""A replay as a server: listens, and gives each client the recorded session anew.

Listening, admission and TLS are the relay's. One client's failure never ends the others (P57).
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from popproxy.relay.accepting import Acceptor, hang_up
from popproxy.relay.admission import Admission, Refused
from popproxy.relay.binding import Listener, open_listeners
from popproxy.relay.encryption import TlsEncryption
from popproxy.relay.legs import SocketLeg
from popproxy.relay.loops import Address
from popproxy.relay.settings import Limits, Network, Route, Timeouts
from popproxy.relay.url import Url
from popproxy.tls.settings import ListenerTls, UpstreamTls
from popproxy.tools.replay_pacing import Pacer
from popproxy.tools.replay_place import Known
from popproxy.tools.replay_plan import Plan
from popproxy.tools.replay_session import Manner, Outcome, ReplaySession

_NOWHERE = Url("pop3", "popproxy.invalid", 110)
"""A replay has no upstream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a replay as a server needs.

    Attributes:
        plan: The recording.
        manner: How it is replayed.
        listen: Where to listen.
        tls: How TLS is spoken with clients.
        allow: Networks whose clients are served, as `Route.allow` has it.
        connections: Clients at a time.
        once: Whether to end after the first client.
    """

    plan: Plan
    manner: Manner
    listen: Url
    tls: ListenerTls
    allow: tuple[Network, ...] = ()
    connections: int = 64
    once: bool = False


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of all sessions.

    Attributes:
        sessions: How many have ended.
        departed: How many of them departed from the recording.
    """

    sessions: int = 0
    departed: int = 0


class Events:
    """Told of what happens; every method may be left as it is."""

    def departed(self, number: int, text: str) -> None:
        """A client departs from the recording.

        Args:
            number: Which connection, from 1.
            text: How, in words.
        """

    def ended(self, number: int, outcome: Outcome) -> None:
        """A session has ended.

        Args:
            number: As in `departed`.
            outcome: What came of it.
        """

    def failed(self, number: int, error: Exception) -> None:
        """A session has failed by a defect of ours.

        Args:
            number: As in `departed`.
            error: The defect; its text may quote a peer (P13).
        """


@dataclass(slots=True, kw_only=True)
class _Server:
    stage: Stage
    known: Known
    told: Events
    encryption: TlsEncryption
    nursery: trio.Nursery
    stop: trio.Event
    admission: Admission
    tally: Tally = field(default_factory=Tally)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    taken: bool = False

    def welcome(self, client: socket.socket, address: Address) -> None:
        """Begin a client's session, or refuse it."""
        if self.stage.once and self.taken:
            hang_up(client, "this replay is for one connection, and that has come")
            return
        try:
            self.admission.enter(address, self.stage.allow)
        except Refused as refused:
            hang_up(client, refused.cause)
            return
        self.taken = True
        self.nursery.start_soon(self._serve, client, address, next(self.numbers))

    async def _serve(self, client: socket.socket, address: Address, number: int) -> None:
        stage, leg = self.stage, SocketLeg(client)
        try:
            try:
                pacer = Pacer((client.getsockname()[:2], address), client.family)
            except OSError:
                pacer = Pacer(None)  # it is gone already
            session = ReplaySession(
                leg,
                self.known,
                stage.manner,
                encryption=self.encryption,
                pacer=pacer,
                report=lambda text: self.told.departed(number, text),
            )
            outcome = await session.run()
        # P57: one session's defect must not end the others.
        except Exception as error:  # noqa: BLE001 - see above
            self.told.failed(number, error)
            self.tally.departed += 1
        else:
            self.told.ended(number, outcome)
            self.tally.departed += not outcome.matched
        finally:
            leg.close()
            self.admission.leave(address[0])
        self.tally.sessions += 1
        if stage.once:
            self.stop.set()


def _nobody(_urls: list[Url]) -> None:
    pass


async def serve(
    stage: Stage,
    stop: trio.Event,
    told: Events | None = None,
    *,
    drain: float = 10.0,
    ready: Callable[[list[Url]], None] = _nobody,
) -> Tally:
    """Listen and replay until told to stop, or until the first client has gone (`Stage.once`).

    Args:
        stage: What to do.
        stop: When set, no more clients are accepted.
        told: Told of what happens.
        drain: Seconds that sessions get then to end by themselves.
        ready: Called with the URLs that are listened on, before the first client is accepted.

    Returns:
        What came of the sessions that have ended.

    Raises:
        CannotListen: The address cannot be listened on.
        RouteError: Other machines can reach the address, and nobody is allowed.
        TlsSetupError: TLS cannot be spoken as it is wanted.
    """
    timeouts = Timeouts()
    route = Route(
        name="replay",
        listen=stage.listen,
        upstream=_NOWHERE,
        allow=stage.allow,
        listener_tls=stage.tls,
    )
    encryption = TlsEncryption(
        listener=stage.tls,
        upstream=UpstreamTls(),
        host=stage.listen.host,
        own_names=["localhost"],
        timeouts=timeouts,
    )
    listeners = await open_listeners([route], timeouts.resolve)
    acceptor = Acceptor()
    try:
        # Where STLS was offered and not used, nothing is made before a client asks for it.
        if stage.manner.tls in ("start", "require") or stage.plan.tls == "stls":
            await encryption.prepare(clients=True, server=False)
        async with trio.open_nursery() as sessions:
            server = _Server(
                stage=stage,
                known=Known(stage.plan),
                told=told or Events(),
                encryption=encryption,
                nursery=sessions,
                stop=stop,
                admission=Admission(
                    Limits(connections=stage.connections, connections_per_client=stage.connections)
                ),
            )
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(acceptor.run, listener.socket, server.welcome)
                ready([listener.url for listener in listeners])
                await stop.wait()
                accepting.cancel_scope.cancel()
            _close(listeners)
            sessions.cancel_scope.deadline = trio.current_time() + drain
        return server.tally
    finally:
        _close(listeners)
        acceptor.close()


def _close(listeners: list[Listener]) -> None:
    for listener in listeners:
        if listener.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(listener.socket)
            listener.socket.close()
