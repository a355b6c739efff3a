"""What the relay counts while it serves: numbers only, and no name of anybody."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

REASONS = 64
"""Reasons of an end that are told apart; there are fewer, and no peer can make one."""


@dataclass(slots=True)
class Tally:
    """Counts since the start.

    Attributes:
        begun: Sessions that began.
        ended: Sessions that ended, by `summary.reason`.
        refused: Clients that were not let in, by `popproxy.relay.admission.Refusal`.
    """

    begun: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def end(self, reason: str) -> None:
        """Count the end of a session."""
        self.ended[reason if reason in self.ended or len(self.ended) < REASONS else "other"] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """A listener that is served.

    Attributes:
        name: The route's.
        listen: Its URL, with the port that was bound.
        upstream: The server's URL.
        sessions: Sessions that are under way, also those that began by earlier settings of the
            same name.
        server_until: Until when the certificate is valid that the server showed last; None if it
            showed none yet.
    """

    name: str
    listen: str
    upstream: str
    sessions: int
    server_until: datetime | None = None
