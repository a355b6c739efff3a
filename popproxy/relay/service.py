"""What the sessions of one route share, and how a session that is refused is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from popproxy.pop3 import Session as Parser
from popproxy.privacy import Policy, Recorder
from popproxy.records import Endpoint, LegName, RoutePart
from popproxy.relay.arrivals import Arrival
from popproxy.relay.encryption import Encryption
from popproxy.relay.loops import Address, plain_ip
from popproxy.relay.observer import Observer
from popproxy.relay.record_hub import RecordHub
from popproxy.relay.rules import Manner
from popproxy.relay.settings import Limits, Timeouts
from popproxy.relay.upstream import Connector

LONGEST_LINE = 512
"""Octets of a response, CRLF included (RFC 2449, section 4)."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Moment(NamedTuple):
    """A point in time, on two clocks.

    Attributes:
        utc: The time of day, in UTC.
        ns: The monotonic clock, in nanoseconds.
    """

    utc: datetime
    ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What all sessions of a route share.

    Attributes:
        route: The route, as records name it.
        connector: Reaches the upstream.
        hub: Takes the records.
        policy: How sessions are recorded.
        notice: Says that they are (P71).
        manner: How the two legs speak.
        encryption: Puts TLS on legs; None if the route never does.
        limits: What is kept track of at most.
        timeouts: How long things may take.
        utc_now: The time of day, in UTC.
        clock: The monotonic clock, in nanoseconds.
    """

    route: RoutePart
    connector: Connector
    hub: RecordHub
    policy: Policy
    notice: str
    manner: Manner
    encryption: Encryption | None
    limits: Limits
    timeouts: Timeouts
    utc_now: Callable[[], datetime] = _utc_now
    clock: Callable[[], int] = time.monotonic_ns

    def begin(
        self,
        session_id: str,
        arrival: Arrival,
        server: Address | None,
        started: Moment,
        *,
        tls: bool = False,
    ) -> Observer:
        """Make a session's observer, and record that the session began.

        Args:
            session_id: Its name.
            arrival: Where the client comes from.
            server: Where it is relayed to, None if there is no connection.
            started: When the client connected.
            tls: Whether the client's leg is under TLS already.
        """
        # P19: what TLS hides is told of later, by leg. What is between a client and a load balancer
        # cannot be seen from here.
        nearest = arrival.via or arrival.client
        ends: list[tuple[LegName, Address | None]] = [("client", nearest), ("upstream", server)]
        exposed = [leg for leg, end in ends if end and not plain_ip(end[0]).is_loopback]
        observer = Observer(
            session_id=session_id,
            parser=Parser(tls=tls, max_pending=self.limits.pending_commands),
            recorder=Recorder(session_id, self.policy, started.utc, started.ns, exposed=exposed),
            hub=self.hub,
            started_at=started.utc,
            started_ns=started.ns,
            require_log=self.policy.require_log,
        )
        observer.start(
            client=_endpoint(arrival.client),
            listener=_endpoint(arrival.listener),
            server=_endpoint(server) if server is not None else None,
            via=_endpoint(arrival.via) if arrival.via is not None else None,
            destination=_endpoint(arrival.destination) if arrival.destination is not None else None,
            route=self.route,
            notice=self.notice,
            rewrites=self.manner.names(),
            at=self.clock(),
        )
        return observer

    def now(self) -> Moment:
        """Give the present moment."""
        return Moment(self.utc_now(), self.clock())

    def record_refusal(self, session_id: str, arrival: Arrival, detail: str) -> None:
        """Record a session that is refused at once.

        Args:
            session_id: Its name.
            arrival: Where the client comes from.
            detail: Why it is refused, in words.
        """
        observer = self.begin(session_id, arrival, None, self.now())
        observer.finish("refused", detail, self.clock())


def temporary_failure(text: str) -> bytes:
    """Make the line that tells a client that it is popproxy that fails (RFC 3206, section 4).

    Args:
        text: The cause in words.
    """
    return _failure("SYS/TEMP", text)


def permanent_failure(text: str) -> bytes:
    """Make the line that tells a client of a failure that a person has to mend (RFC 3206).

    Args:
        text: The cause in words.
    """
    return _failure("SYS/PERM", text)


def _failure(code: str, text: str) -> bytes:
    line = f"-ERR [{code}] popproxy: {text}".encode("ascii", "replace")
    return line[: LONGEST_LINE - 2] + b"\r\n"


def _endpoint(address: Address) -> Endpoint:
    return Endpoint(address=address[0], port=address[1])
