"""The options of TLS: `popproxy run` has all of them, `popproxy replay` has some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from popproxy.cli.options import OUTPUT, TLS_CLIENTS, TLS_SERVER, setting

F = TypeVar("F", bound=Callable[..., Any])

_VERSIONS = click.Choice(["1.0", "1.1", "1.2", "1.3"])

_STLS = (
    setting(
        "--stls",
        setting="route.stls",
        group=TLS_CLIENTS,
        type=click.Choice(["intercept", "pass", "hide"]),
        help="A client's STLS. intercept: TLS ends here, and is recorded; pass: the server answers,"
        " and nothing is read; hide: it is not offered. Default: intercept.",
    ),
)
_WITH_CLIENTS = (
    setting(
        "--cert",
        setting="route.cert",
        group=TLS_CLIENTS,
        metavar="FILE",
        type=click.Path(),
        help="A certificate chain in PEM to show, instead of one that the local authority signs.",
    ),
    setting(
        "--key",
        setting="route.key",
        group=TLS_CLIENTS,
        metavar="FILE",
        type=click.Path(),
        help="Its private key in PEM, if it is not in the same file.",
    ),
    setting(
        "--client-tls-minimum",
        setting="route.client_tls_minimum",
        group=TLS_CLIENTS,
        type=_VERSIONS,
        metavar="VERSION",
        help="The oldest TLS that clients may speak: 1.0, 1.1, 1.2 or 1.3. Default: 1.2.",
    ),
    setting(
        "--authority",
        setting="tls.authority",
        group=TLS_CLIENTS,
        metavar="DIR",
        type=click.Path(),
        help="The local authority's folder. Default: see `popproxy ca path`.",
    ),
)
_WITH_SERVER = (
    setting(
        "--upstream-ca",
        setting="route.upstream_ca",
        group=TLS_SERVER,
        metavar="FILE",
        type=click.Path(),
        help="Trust the certificates in this PEM file, instead of the system's.",
    ),
    setting(
        "--pin",
        setting="route.pin",
        group=TLS_SERVER,
        multiple=True,
        metavar="sha256:HEX",
        help="Accept the certificate with this fingerprint, whoever issued it, and no other."
        " Repeatable.",
    ),
    setting(
        "--insecure/--no-insecure",
        setting="route.insecure",
        group=TLS_SERVER,
        default=None,
        help="Accept any certificate, an impostor's too. Better: --upstream-ca or --pin.",
    ),
    setting(
        "--client-certificate",
        setting="route.client_certificate",
        group=TLS_SERVER,
        metavar="FILE",
        type=click.Path(),
        help="A certificate chain in PEM, for a server that asks for one.",
    ),
    setting(
        "--client-key",
        setting="route.client_key",
        group=TLS_SERVER,
        metavar="FILE",
        type=click.Path(),
        help="Its private key in PEM, if it is not in the same file.",
    ),
    setting(
        "--server-name",
        setting="route.server_name",
        group=TLS_SERVER,
        metavar="NAME",
        help="The name that the certificate has to hold. Default: the upstream's host.",
    ),
    setting(
        "--sni",
        setting="route.sni",
        group=TLS_SERVER,
        metavar="NAME",
        help="The name to ask for; none sends no name. Default: the name that is verified.",
    ),
    setting(
        "--upstream-tls-minimum",
        setting="route.upstream_tls_minimum",
        group=TLS_SERVER,
        type=_VERSIONS,
        metavar="VERSION",
        help="The oldest TLS that the server may speak: 1.0, 1.1, 1.2 or 1.3. Default: 1.2.",
    ),
)
_KEYS = (
    setting(
        "--tls-keys",
        setting="tls.keys",
        group=OUTPUT,
        metavar="FILE.SECRET",
        type=click.Path(),
        help="DANGER: write the keys of every connection to FILE.SECRET. Whoever has it can"
        " decrypt what was captured, passwords included. For Wireshark.",
    ),
)


def tls_options(function: F) -> F:
    """Add the options of TLS."""
    return _added((*_STLS, *_WITH_CLIENTS, *_WITH_SERVER, *_KEYS), function)


def tls_with_clients(function: F) -> F:
    """Add the options of how TLS is spoken with clients."""
    return _added(_WITH_CLIENTS, function)


def tls_with_server(function: F) -> F:
    """Add the options of how TLS is spoken with a server."""
    return _added(_WITH_SERVER, function)


def _added(options: Sequence[Callable[[F], F]], function: F) -> F:
    for option in reversed(options):
        function = option(function)
    return function
