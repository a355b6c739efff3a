"""From settings to what the relay is told, and what is wrong with them beyond their types.

Every check that needs no socket is made here, for `config check` and for `run` alike. Files of TLS
are looked for; what is in them is read when the relay starts. Files to write to are checked when
sinks are made (`popproxy.cli.outputs`), sockets by the relay.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from popproxy.cli import wiring_status, wiring_syslog, wiring_tls
from popproxy.cli.config import Configuration
from popproxy.cli.errors import Problem
from popproxy.cli.settings import RecordSettings
from popproxy.privacy import Policy
from popproxy.relay import Limits, Network, Route, Timeouts, Url, UrlError, parse_url
from popproxy.relay.url import is_address
from popproxy.sinks.files import descriptor_of
from popproxy.sinks.naming import Template, TemplateError

STDOUT = 1
ROTATE_LEAST = 64 * 1024
"""Octets: the least size at which files are set aside."""


def stream_of(path: str) -> int | None:
    """Give the descriptor that an output's path stands for, if it is a stream and no file."""
    return STDOUT if path == "-" else descriptor_of(path)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine's loopback address, without looking it up."""
    if is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _url(configuration: Configuration, index: int, key: str, problems: list[Problem]) -> Url | None:
    route = configuration.settings.route[index]
    text = route.listen if key == "listen" else route.upstream
    where = configuration.origins["route", index, key]
    if not text:
        problems.append(
            Problem(
                where=f"route {index + 1}",
                key=f"route.{key}",
                what="no server is named",
                hint=f'add {key} = "pop3s://pop.example.org"',
            )
        )
        return None
    try:
        url = parse_url(text, listener=key == "listen")
    except UrlError as error:
        problems.append(Problem(where=where, key=f"route.{key}", what=str(error)))
        return None
    return url


def _networks(
    configuration: Configuration,
    index: int,
    key: Literal["allow", "proxy_from"],
    problems: list[Problem],
) -> tuple[Network, ...]:
    networks = []
    where = configuration.origins["route", index, key]
    route = configuration.settings.route[index]
    for text in route.allow if key == "allow" else route.proxy_from:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError:
            try:
                hint = f"did you mean {ipaddress.ip_network(text, strict=False)}?"
            except ValueError:
                hint = "write an address and a prefix length, as 192.0.2.0/24 or 2001:db8::/32"
            problems.append(
                Problem(
                    where=where, key=f"route.{key}", what=f"{text!r} is not a network", hint=hint
                )
            )
    return tuple(networks)


def make_routes(
    configuration: Configuration, problems: list[Problem], authority: Path = Path()
) -> list[Route]:
    """Make the relay's routes.

    Args:
        configuration: What was read.
        problems: Takes what is wrong.
        authority: The folder of the local authority, if the settings name no other.

    Returns:
        The routes that can be made.
    """
    routes: dict[int, Route] = {}
    legs: dict[int, wiring_tls.Legs] = {}
    for index, settings in enumerate(configuration.settings.route):
        listen = _url(configuration, index, "listen", problems)
        upstream = _url(configuration, index, "upstream", problems)
        allow = _networks(configuration, index, "allow", problems)
        proxy_from = _networks(configuration, index, "proxy_from", problems)
        if listen is None or upstream is None:
            continue
        name = settings.name or f"{upstream.host}:{upstream.port}"
        routes[index] = Route(
            name=name,
            listen=listen,
            upstream=upstream,
            allow=allow,
            proxy_from=proxy_from,
            proxy_to=settings.proxy_to,
            stls=settings.stls,
            listener_tls=wiring_tls.listener_tls(configuration, index, authority),
            upstream_tls=wiring_tls.upstream_tls(configuration, index),
        )
        legs[index] = wiring_tls.Legs(listen=listen, upstream=upstream, stls=settings.stls)
        if not is_loopback(listen.host) and not settings.allow:
            problems.append(
                Problem(
                    where=configuration.origins["route", index, "listen"],
                    key="route.allow",
                    what=f"{listen.host} can be reached from other machines, and none is allowed",
                    hint="name the networks that may connect, as --allow 192.0.2.0/24",
                )
            )
    problems.extend(wiring_tls.check(configuration, legs))
    problems.extend(_clashes(configuration, routes))
    return list(routes.values())


def _reaches(listener: Url, host: str, port: int) -> bool:
    """Say whether a place is a listener's, as far as that shows without looking names up."""
    if listener.port != port or port == 0:
        return False
    if host == listener.host or (listener.host == "0.0.0.0" and host == "localhost"):  # noqa: S104 - compared with
        return True
    if is_address(host) and is_address(listener.host):
        here, there = ipaddress.ip_address(listener.host), ipaddress.ip_address(host)
        return here.is_unspecified and here.version == there.version and there.is_loopback
    return is_loopback(host) and is_loopback(listener.host)


def _clashes(configuration: Configuration, routes: Mapping[int, Route]) -> Iterator[Problem]:
    """Find listeners on one port, and upstreams that are listeners of ours.

    The relay finds the rest, which takes looking names up and binding sockets.
    """
    for index, route in routes.items():
        for number, earlier in routes.items():
            here, there = route.listen, earlier.listen
            if number < index and here.port and (here.host, here.port) == (there.host, there.port):
                yield Problem(
                    where=configuration.origins["route", index, "listen"],
                    key="route.listen",
                    what=f"two routes listen on {here}",
                    hint="give each route a port of its own, with listen or --listen",
                )
        upstream = route.upstream
        if any(_reaches(one.listen, upstream.host, upstream.port) for one in routes.values()):
            yield Problem(
                where=configuration.origins["route", index, "upstream"],
                key="route.upstream",
                what=f"{upstream} is a listener of popproxy itself: a loop",
                hint="name the real server",
            )


def _paths(record: RecordSettings) -> Iterator[tuple[str, list[str]]]:
    """Give the paths of each format."""
    yield "putty", record.putty
    yield "jsonl", record.jsonl
    yield "text", record.text
    yield "pcapng", record.pcapng


def _outputs(configuration: Configuration) -> Iterator[Problem]:
    record = configuration.settings.record
    stdout = []
    for key, paths in _paths(record):
        where = configuration.origins["record", key]
        for path in paths:
            descriptor = stream_of(path)
            if descriptor is not None:
                if descriptor == STDOUT:
                    stdout.append((where, key))
                continue
            try:
                Template(path)
            except TemplateError as error:
                yield Problem(where=where, key=f"record.{key}", what=str(error))
        for path in {path for path in paths if paths.count(path) > 1}:
            yield Problem(where=where, key=f"record.{key}", what=f"{path} is named twice")
    if len(stdout) > 1:
        where, key = stdout[-1]
        names = " and ".join(name for _, name in stdout)
        yield Problem(
            where=where,
            key=f"record.{key}",
            what=f"{names} would both write to standard output",
            hint="send one of them to a file",
        )
    named: dict[str, str] = {}
    for key, paths in _paths(record):
        for path in {path for path in paths if stream_of(path) is None}:
            if path in named:
                yield Problem(
                    where=configuration.origins["record", key],
                    key=f"record.{key}",
                    what=f"{path} is also the path of {named[path]}",
                    hint="give each format a file of its own",
                )
            named[path] = key


def check(configuration: Configuration) -> Iterator[Problem]:
    """Find everything that is wrong beyond types; see `popproxy.cli.config.build`."""
    problems: list[Problem] = []
    make_routes(configuration, problems)
    yield from problems
    yield from _outputs(configuration)
    yield from _files(configuration)
    yield from wiring_syslog.check(configuration)
    yield from wiring_status.check(configuration)
    yield from _workers(configuration)


def _files(configuration: Configuration) -> Iterator[Problem]:
    """Find a size that would make a file of every few records."""
    size = configuration.settings.files.rotate_size
    if 0 < size < ROTATE_LEAST:
        yield Problem(
            where=configuration.origins["files", "rotate_size"],
            key="files.rotate_size",
            what=f"expected 0 or a whole number of at least {ROTATE_LEAST}, found {size}",
        )


def _workers(configuration: Configuration) -> Iterator[Problem]:
    """Find what several processes cannot share."""
    if configuration.settings.process.workers == 1:
        return
    paths = [path for _, paths in _paths(configuration.settings.record) for path in paths]
    streams = [path for path in paths if stream_of(path) is not None]
    if streams or not (paths or configuration.settings.record.syslog):
        yield Problem(
            where=configuration.origins["process", "workers"],
            key="process.workers",
            what="several workers cannot write to one stream"
            + (f", as {streams[0]}" if streams else ", and no file is named"),
            hint='name files, as jsonl = ["popproxy-&W.jsonl"], where &W is the worker\'s number',
        )


def make_limits(configuration: Configuration) -> Limits:
    """Make the limits of one process: each worker has its share, so that they hold in all."""
    limits, workers = configuration.settings.limits, configuration.settings.process.workers
    return Limits(
        connections=max(1, limits.connections // workers),
        connections_per_client=max(1, limits.connections_per_client // workers),
        pending_commands=limits.pending_commands,
    )


def make_timeouts(configuration: Configuration) -> Timeouts:
    """Make the relay's time-outs."""
    timeouts = configuration.settings.timeouts
    return Timeouts(
        proxy_header=timeouts.proxy_header,
        resolve=timeouts.resolve,
        connect=timeouts.connect,
        handshake=timeouts.handshake,
        login=timeouts.login,
        idle=timeouts.idle,
        closing=timeouts.closing,
        drain=timeouts.drain,
    )


def make_policy(configuration: Configuration, key: bytes = b"") -> Policy:
    """Make the recorder's policy.

    Args:
        configuration: The settings.
        key: The key of pseudonyms; one of the policy's own if it is empty.
    """
    record = configuration.settings.record
    return Policy(
        body=record.body,
        mask_users=record.mask_users,
        require_log=record.require_log,
        pseudonym_key=key,
    )
