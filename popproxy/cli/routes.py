"""Routes as the layers of the configuration make them: what replaces what, what goes for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from popproxy.cli.config import Entry, Layers, checked
from popproxy.cli.errors import Problem

PAIRS = {"cert": "key", "client_certificate": "client_key"}
"""A certificate's file may hold its key, too. So a later layer's certificate replaces both."""
OF_ONE_SERVER = frozenset({"pin", "insecure", "server_name", "sni", "proxy_to"})
"""Settings that are about one server, and must not go for another by accident (P32)."""


def over(below: Mapping[str, Entry], above: Mapping[str, Entry]) -> dict[str, Entry]:
    """Lay what a later layer says of a route over what earlier ones said."""
    kept = dict(below)
    for certificate, key in PAIRS.items():
        if certificate in above:
            kept.pop(key, None)
    return {**kept, **above}


def read_route_options(
    layers: Layers,
    listen: Sequence[str],
    upstream: Sequence[str],
    allow: Sequence[str],
    options: Mapping[tuple[str, str], tuple[str, object]] | None = None,
) -> None:
    """Make routes of `--listen` and `--upstream`, in pairs; they replace all others.

    `--allow` and the options of TLS go for every route, also for those of the file.

    Args:
        layers: Takes routes and problems.
        listen: What `--listen` says, each time.
        upstream: What `--upstream` says, each time.
        allow: What `--allow` says, each time.
        options: All options that stand for settings; those of routes count here.
    """
    if listen or upstream:
        _pair(layers, listen, upstream)
    given = {"allow": Entry(list(allow), "option --allow")} if allow else {}
    for (section, key), (name, value) in (options or {}).items():
        if section != "route":
            continue
        where = f"option {name}"
        if key in OF_ONE_SERVER and len(layers.routes) > 1:
            layers.problems.append(
                Problem(
                    where=where,
                    key=f"route.{key}",
                    what=f"there are {len(layers.routes)} routes, and this is about one server",
                    hint=f"say {key} in the configuration file, under the [[route]] that it is for",
                )
            )
        elif entry := checked(
            section, key, value, where=where, problems=layers.problems, text=False
        ):
            given[key] = entry
    layers.routes = [over(route, given) for route in layers.routes]


def _pair(layers: Layers, listen: Sequence[str], upstream: Sequence[str]) -> None:
    if len(upstream) > 1 and len(listen) != len(upstream):
        layers.problems.append(
            Problem(
                where="option --listen",
                key="",
                what=f"{len(upstream)} times --upstream, but {len(listen)} times --listen",
                hint="give both for each route, in the same order",
            )
        )
    elif len(listen) > max(1, len(upstream)) or (listen and not upstream and not layers.routes):
        layers.problems.append(
            Problem(
                where="option --listen",
                key="",
                what="a listener has no upstream",
                hint="add --upstream pop3s://SERVER, the server it stands for",
            )
        )
    elif listen and not upstream and len(layers.routes) > 1:
        layers.problems.append(
            Problem(
                where="option --listen",
                key="",
                what=f"there are {len(layers.routes)} routes, and this cannot say which",
                hint="give --upstream too, or change the configuration",
            )
        )
    elif upstream:
        layers.routes = [
            {"upstream": Entry(server, "option --upstream")}
            | ({"listen": Entry(listen[index], "option --listen")} if listen else {})
            for index, server in enumerate(upstream)
        ]
    else:
        layers.routes[0]["listen"] = Entry(listen[0], "option --listen")
