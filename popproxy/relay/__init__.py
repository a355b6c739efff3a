"""The only place that moves traffic: listeners, sessions, legs, upstreams, time-outs, limits.

`serve` runs everything. Bytes go from one leg of a session to the other unchanged; the observer
between them turns what passes into records (see `popproxy.relay.observer`).
"""

from popproxy.relay.binding import Listener
from popproxy.relay.errors import CannotListen, RelayError, RouteError
from popproxy.relay.notice import notice
from popproxy.relay.server import Relay, serve
from popproxy.relay.services import Terms
from popproxy.relay.settings import Limits, Network, Route, Timeouts
from popproxy.relay.url import Url, UrlError, parse_url

__all__ = [
    "CannotListen",
    "Limits",
    "Listener",
    "Network",
    "Relay",
    "RelayError",
    "Route",
    "RouteError",
    "Terms",
    "Timeouts",
    "Url",
    "UrlError",
    "notice",
    "parse_url",
    "serve",
]
