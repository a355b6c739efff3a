"""One session: two legs, an observer between them, and one reason why it ended.

A session is opened (`popproxy.relay.opening`), then pumps move octets (`popproxy.relay.pumps`)
until it ends or until STLS is to be followed by TLS (`popproxy.relay.stls`), whereupon other pumps
go on with the legs as they are then. Only while it is opened, and while TLS begins, does it have a
task. What all of them share is `popproxy.relay.course`.

`tick` is called a few times a second for all sessions by one task: a timer for each would cost
memory in each idle session. It compares octet counts, so that the pumps never look at the clock
for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio

from popproxy.pop3 import FindingCode, Side
from popproxy.relay.announcing import Added, announcement
from popproxy.relay.arrivals import Arrival
from popproxy.relay.course import Course
from popproxy.relay.encryption import Encryption
from popproxy.relay.legs import Leg, LegLost
from popproxy.relay.observer import Observer
from popproxy.relay.opening import open_session
from popproxy.relay.pumps import Pumps
from popproxy.relay.record_hub import RecordHub
from popproxy.relay.service import Moment, Service
from popproxy.relay.stls import begin_tls
from popproxy.relay.stops import Accepted
from popproxy.relay.translation import Translation


class _Begun(NamedTuple):
    """What a session's first record tells of its beginning.

    Attributes:
        arrival: Where the client comes from.
        at: When.
    """

    arrival: Arrival
    at: Moment


class RelaySession:
    """A client's session, from its connection to its end.

    Attributes:
        id: The session's name.
        client_host: Where the client connects from.
    """

    __slots__ = (
        "_begun",
        "_course",
        "_dirty",
        "_end_recorded",
        "_finished",
        "_login_seen",
        "_moved",
        "_moved_at",
        "_on_ended",
        "_pumps",
        "_service",
        "_started",
        "client_host",
        "id",
    )

    def __init__(
        self,
        *,
        session_id: str,
        service: Service,
        client: Leg,
        arrival: Arrival,
        nursery: trio.Nursery,
        on_ended: Callable[[RelaySession], None],
    ) -> None:
        """Begin; call `start` next.

        Args:
            session_id: Its name.
            service: What it shares with the other sessions of its route.
            client: The client's leg; the session closes it.
            arrival: Where the client comes from.
            nursery: Where its tasks run, for as long as it has any.
            on_ended: Called once when it has ended: its end is recorded, its legs are closed.
        """
        self.id = session_id
        self.client_host = arrival.client[0]
        self._service = service
        self._course = Course(session_id, service, client, nursery, self)
        self._begun: _Begun | None = _Begun(arrival, service.now())
        self._on_ended = on_ended
        self._pumps: Pumps | None = None
        self._end_recorded = False
        self._finished = False
        self._started = self._moved_at = trio.current_time()
        self._moved = 0
        self._dirty = True
        self._login_seen = False

    @property
    def hub(self) -> RecordHub:
        """What takes its records."""
        return self._service.hub

    @property
    def route_name(self) -> str:
        """The name of its route."""
        return self._service.route.name

    @property
    def reason(self) -> tuple[str, str | None]:
        """Why it ended, or would if it ended now, and the cause in words."""
        course = self._course
        return course.reason or (
            (f"{course.ended[0].value}-closed" if course.ended else "shutdown"),
            None,
        )

    def start(self) -> None:
        """Relay the session to its end. The legs get closed and the end recorded in any case."""
        self._course.spawn(self._open)

    def end(self, reason: str, detail: str | None = None) -> None:
        """End the session now, by closing its legs.

        Args:
            reason: The reason to record; the first one given stays.
            detail: The cause in words.
        """
        self._course.end(reason, detail)

    def tick(self, now: float, at: int) -> None:
        """Do what is due by time.

        Args:
            now: trio's clock, in seconds.
            at: The monotonic clock, in nanoseconds.
        """
        course = self._course
        observer, client, server = course.observer, course.client, course.server
        if observer is None or server is None or course.ending or course.busy:
            return
        moved = client.octets_in + client.octets_out + server.octets_in + server.octets_out
        if moved != self._moved:
            self._moved = moved
            self._moved_at = now
            self._dirty = True
        if self._dirty and not course.held:  # a pump may have octets in hand that were read
            events = observer.housekeeping(at)
            self._dirty = events is not None or now == self._moved_at
            if not self._dirty:
                observer.rest()
            translation = self._pumps.translation if self._pumps is not None else None
            if events and translation is not None:
                translation.read_elsewhere(events, observer.due)
        if course.ended or course.held or course.lost or client.stalled or server.stalled:
            self._find_losses(client, server)
        self._check_timeouts(observer, now)

    async def _open(self) -> None:
        course = self._course
        how, said = self._service.manner.announce, b""
        if how != "none" and self._begun is not None:
            said = announcement(how, self._begun.arrival, self.id)
        opened = await open_session(course, said)
        observer = self._record_start()
        for told in opened.told:
            at = course.clock()
            if isinstance(told, Added):
                was, now = (told.line, b"") if told.side is Side.SERVER else (b"", told.line)
                observer.rewritten(told.side, told.rule, was=was, now=now, seq=None, at=at)
            elif isinstance(told, FindingCode):
                observer.found(told, at, "upstream leg")
            else:
                observer.tls(told, at, became="started")
        if opened.failed is not None:
            observer.tls(opened.failed, course.clock(), became="failed")
        if opened.reason is None:
            self._relay(opened.greeting)
            return
        course.reason = course.reason or opened.reason
        self._record_end()
        if opened.last_line:
            await course.farewell(opened.last_line)
        self.pumped(None)

    def _relay(self, first: bytes) -> None:
        """Relay with the legs as they are now; octets of the server may have been read before."""
        course = self._course
        rules = self._service.manner.rules(
            client_tls="client" in course.under_tls, server_tls="upstream" in course.under_tls
        )
        translation = Translation(rules) if rules is not None else None
        course.busy = False
        assert course.observer is not None  # noqa: S101 - says so to the type checker
        self._pumps = Pumps(course, course.observer, translation, self)
        self._pumps.start(first)

    def pumped(self, accepted: Accepted | None) -> None:
        """See `popproxy.relay.stops.Owner`."""
        course = self._course
        course.busy = True
        if accepted is None or self._service.encryption is None:
            course.finish()
        else:
            course.spawn(self._begin_tls, accepted, self._service.encryption)

    async def _begin_tls(self, accepted: Accepted, encryption: Encryption) -> None:
        course, pumps = self._course, self._pumps
        assert course.observer is not None  # noqa: S101 - as above
        required = pumps is not None and pumps.requires_stls
        if await begin_tls(course, course.observer, encryption, accepted, required=required):
            self._moved_at = trio.current_time()
            self._relay(b"")
        else:
            course.finish()

    def halt(self) -> None:
        """See `popproxy.relay.course.Owner`."""
        if self._pumps is not None:
            self._pumps.stop()

    def _find_losses(self, client: Leg, server: Leg) -> None:
        """Pass on the loss of a leg that nobody reads from at present."""
        course = self._course
        for side, leg, other in (
            (Side.CLIENT, client, server),
            (Side.SERVER, server, client),
        ):
            unread = side in course.ended or other.stalled or course.held
            if unread and (side in course.lost or leg.lost()):
                course.note_loss(side, LegLost("connection reset by peer"))
                course.abort()

    def _check_timeouts(self, observer: Observer, now: float) -> None:
        timeouts, still = self._service.timeouts, now - self._moved_at
        if still >= timeouts.idle:
            self.end("idle-timeout", f"nothing was sent for {timeouts.idle:g} seconds")
        elif self._course.ended[:1] == (Side.SERVER,) and still >= timeouts.closing:
            self.end("server-closed", "the client did not close in its turn")
        elif not self._login_seen and now - self._started >= timeouts.login:
            self._login_seen = True
            if observer.awaits_login:
                self.end("login-timeout", f"no login within {timeouts.login:g} seconds")

    def _record_start(self) -> Observer:
        """Record the beginning, as soon as it is known where the session leads to."""
        course, begun = self._course, self._begun
        assert begun is not None  # noqa: S101 - it is recorded once
        course.observer = self._service.begin(
            self.id,
            begun.arrival,
            course.server_address,
            begun.at,
            tls="client" in course.under_tls,
        )
        self._begun = course.server_address = None  # which is not needed any more
        return course.observer

    def _record_end(self) -> None:
        """Record the end, once, with the reason that is known by now."""
        if self._end_recorded:
            return
        self._end_recorded = True
        course = self._course
        observer = course.observer or self._record_start()
        observer.finish(*self.reason, course.clock())

    def finish(self) -> None:
        """Record the end and close the legs; see `popproxy.relay.course.Owner`."""
        course = self._course
        if self._finished:
            return
        self._finished = True
        self.halt()
        try:
            self._record_end()
        except Exception as error:  # noqa: BLE001 - P57: one connection never ends the server
            course.fail(error)
        finally:
            for leg in (course.client, course.server):
                if leg is None:
                    continue
                if course.aborting:
                    leg.abort()
                else:
                    leg.close()
            self._on_ended(self)
