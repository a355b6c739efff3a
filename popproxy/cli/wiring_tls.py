"""TLS from settings to what the relay is told, and what is wrong with it.

A setting that could never have an effect is a mistake and not a warning: who pins a certificate
and misspells the scheme of the URL would otherwise talk in the clear, and believe not to.
"""

from __future__ import annotations

import difflib
import re
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from popproxy.cli.config import Configuration
from popproxy.cli.errors import CommandError, Problem, Status
from popproxy.cli.settings import RouteSettings
from popproxy.relay.settings import Route
from popproxy.relay.url import Url, is_address, is_host
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.key_log import ENDING
from popproxy.tls.settings import ListenerTls, UpstreamTls

NO_NAME = "none"
"""What `sni` says if no name is to be sent; no server is called so."""
_OF_CLIENTS = ("cert", "key", "client_tls_minimum")
_OF_THE_SERVER = (
    "upstream_ca",
    "pin",
    "insecure",
    "client_certificate",
    "client_key",
    "server_name",
    "sni",
    "upstream_tls_minimum",
)
_FILES = ("cert", "key", "upstream_ca", "client_certificate", "client_key")
_LEGACY = ("1.0", "1.1")
_DEFAULTS = RouteSettings()
_PIN = re.compile(r"sha-?256(?:\s*fingerprint\s*=|:)\s*((?:[0-9a-f]{2}:?){32})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Legs:
    """Which legs of a route can ever be under TLS.

    Attributes:
        listen: Where clients connect.
        upstream: The server.
        stls: What becomes of STLS on a listener in the clear.
    """

    listen: Url
    upstream: Url
    stls: str

    @classmethod
    def of(cls, route: Route) -> Legs:
        """Give those of a route that the relay is told of."""
        return cls(listen=route.listen, upstream=route.upstream, stls=route.stls)

    @property
    def any(self) -> bool:
        """Whether popproxy can come to speak TLS at all."""
        return self.with_clients or self.with_server

    @property
    def with_clients(self) -> bool:
        """Whether popproxy can come to speak TLS with a client."""
        return self.listen.scheme != "pop3" or self.stls == "intercept"

    @property
    def with_server(self) -> bool:
        """Whether popproxy can come to speak TLS with the server."""
        both = self.listen.scheme == "pop3" and self.stls == "intercept"
        return self.upstream.scheme != "pop3" or both


def pinned(text: str) -> str | None:
    """Read a pin: `sha256:` and 64 hexadecimal digits, with colons as OpenSSL prints them or not.

    Returns:
        The pin without colons, in lower case; None if it is none.
    """
    found = _PIN.fullmatch(text.strip())
    return f"sha256:{found[1].replace(':', '').lower()}" if found else None


def listener_tls(configuration: Configuration, index: int, authority: Path) -> ListenerTls:
    """Make what the relay is told of TLS with clients.

    Args:
        configuration: What was read.
        index: Which route.
        authority: The folder of the local authority, if no other is named.
    """
    settings, tls = configuration.settings.route[index], configuration.settings.tls
    return ListenerTls(
        authority=Path(tls.authority) if tls.authority else authority,
        certificate=_path(settings.cert),
        key=_path(settings.key),
        minimum=settings.client_tls_minimum,
        key_log=_path(tls.keys),
    )


def upstream_tls(configuration: Configuration, index: int) -> UpstreamTls:
    """Make what the relay is told of TLS with the server.

    Args:
        configuration: What was read.
        index: Which route.
    """
    settings = configuration.settings.route[index]
    return UpstreamTls(
        ca=_path(settings.upstream_ca),
        pins=tuple(dict.fromkeys(pinned(pin) or pin for pin in settings.pin)),
        insecure=settings.insecure,
        certificate=_path(settings.client_certificate),
        key=_path(settings.client_key),
        server_name=settings.server_name or None,
        sni="" if settings.sni == NO_NAME else settings.sni or None,
        minimum=settings.upstream_tls_minimum,
        key_log=_path(configuration.settings.tls.keys),
    )


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def check(configuration: Configuration, legs: Mapping[int, Legs]) -> Iterator[Problem]:
    """Find what is wrong with the settings of TLS, beyond their types.

    Args:
        configuration: What was read.
        legs: By index, the routes whose URLs can be used.
    """
    for index, settings in enumerate(configuration.settings.route):
        place = _Place(configuration, index)
        yield from _pairs(place, settings)
        yield from _pins(place, settings)
        yield from _names(place, settings)
        yield from _missing(place, settings)
        if index in legs:
            yield from _contradictions(place, legs[index])
    yield from _without_effect(configuration, legs)
    yield from _key_log(configuration, legs)


@dataclass(frozen=True, slots=True)
class _Place:
    """A route, to which problems belong."""

    configuration: Configuration
    index: int

    def problem(self, key: str, what: str, hint: str = "") -> Problem:
        where = self.configuration.origins["route", self.index, key]
        return Problem(where=where, key=f"route.{key}", what=what, hint=hint)


def _pairs(place: _Place, settings: RouteSettings) -> Iterator[Problem]:
    if settings.key and not settings.cert:
        yield place.problem(
            "key", "a key without its certificate", "name the certificate, with cert or --cert"
        )
    if settings.client_key and not settings.client_certificate:
        yield place.problem(
            "client_key",
            "a key without its certificate",
            "name the certificate, with client_certificate or --client-certificate",
        )


def _pins(place: _Place, settings: RouteSettings) -> Iterator[Problem]:
    for pin in settings.pin:
        if pinned(pin) is None:
            shown = pin if len(pin) <= 80 else pin[:77] + "..."
            yield place.problem(
                "pin",
                f"expected sha256: and 64 hexadecimal digits, found {shown!r}",
                _nearest_pin(pin.strip()),
            )
    if settings.pin and settings.insecure:
        yield place.problem(
            "insecure",
            "accepts any certificate, and pin only certain ones",
            "leave one of them out; a pinned certificate needs no issuer that is trusted",
        )


def _nearest_pin(pin: str) -> str:
    scheme, colon, digits = pin.partition(":")
    bare = pin.replace(":", "").lower()
    if re.fullmatch("[0-9a-f]{64}", bare):
        return f"write sha256:{bare}"
    if "sha256/" in pin:
        return "that is a pin of a key, as curl has them; this takes the certificate's fingerprint"
    if re.fullmatch("[0-9a-f]{40}", bare) or (colon and scheme.lower() in ("sha1", "sha-1")):
        return (
            "that is SHA-1; openssl x509 -noout -fingerprint -sha256 -in FILE gives the right one"
        )
    digits = digits.replace(":", "")
    if scheme.lower() == "sha256" and re.fullmatch("[0-9a-fA-F]+", digits):
        return f"it has {len(digits)}"
    return "openssl x509 -noout -fingerprint -sha256 -in FILE gives a certificate's"


def _names(place: _Place, settings: RouteSettings) -> Iterator[Problem]:
    for key, name in (("server_name", settings.server_name), ("sni", settings.sni)):
        if name and not is_host(name):
            yield place.problem(
                key, f"{name!r} is no host name", "write the name alone, as pop.example.org"
            )
    if is_address(settings.sni):
        yield place.problem(
            "sni",
            "a numeric address cannot be asked for (RFC 6066, section 3)",
            f"write the name, or {NO_NAME} to send none",
        )


def _missing(place: _Place, settings: RouteSettings) -> Iterator[Problem]:
    """Find files that are not there; what is in them is looked at when they are used."""
    for key in _FILES:
        name = getattr(settings, key)
        if not name:
            continue
        path = Path(name)
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a NUL inside
            yield place.problem(key, f"there is no file {name}", _nearest_file(path))
        except OSError:  # perhaps another user can read it: whoever opens it tells
            continue
        else:
            if stat.S_ISDIR(mode):
                yield place.problem(key, f"{name} is a folder, and a file in PEM is wanted")


def _nearest_file(path: Path) -> str:
    try:
        names = [one.name for one in path.parent.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no folder {path.parent}, either"
    except (OSError, ValueError):
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / close[0]}?" if close else ""


def _contradictions(place: _Place, legs: Legs) -> Iterator[Problem]:
    if legs.stls != "intercept" and legs.listen.scheme == "pop3+stls":
        yield place.problem(
            "stls",
            f'"{legs.stls}" contradicts a listener on which popproxy requires STLS',
            "listen on pop3://, or leave stls out",
        )
    if legs.stls == "pass" and legs.listen.scheme == "pop3" and legs.upstream.scheme != "pop3":
        yield place.problem(
            "stls",
            f'"pass" leaves TLS to client and server, and popproxy itself speaks it with'
            f" {legs.upstream}",
            f"use {Url('pop3', legs.upstream.host, 110)} as upstream, or leave stls out",
        )


def _without_effect(configuration: Configuration, legs: Mapping[int, Legs]) -> Iterator[Problem]:
    """Find settings that can have none; an option must have one on some route."""
    told = set()
    for index, one in legs.items():
        for key, what, hint in _idle(one):
            if _is_default(configuration, index, key):
                continue
            where = configuration.origins["route", index, key]
            if where.startswith("option "):
                used = any(key not in {idle[0] for idle in _idle(other)} for other in legs.values())
                if used or where in told:
                    continue
                told.add(where)
            yield _Place(configuration, index).problem(key, what, hint)


def _is_default(configuration: Configuration, index: int, key: str) -> bool:
    given: object = getattr(configuration.settings.route[index], key)
    return bool(given == getattr(_DEFAULTS, key))


def _idle(legs: Legs) -> Iterator[tuple[str, str, str]]:
    """List what has no effect on a route: key, why, what to do."""
    if not legs.with_clients:
        why = f'on {legs.listen} with stls "{legs.stls}", popproxy never speaks TLS with clients'
        hint = f'listen on {_secure(legs.listen)}, or set stls to "intercept"'
        yield from ((key, why, hint) for key in _OF_CLIENTS)
    if not legs.with_server:
        why = f"popproxy never speaks TLS with {legs.upstream} here"
        hint = f"write {_secure(legs.upstream)}, or pop3+stls:// if it has STLS"
        yield from ((key, why, hint) for key in _OF_THE_SERVER)
    if legs.listen.scheme == "pop3s":
        yield "stls", f"on {legs.listen} there is TLS from the start, and no STLS", "leave it out"


def _secure(url: Url) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"pop3s://{host}"


def _key_log(configuration: Configuration, legs: Mapping[int, Legs]) -> Iterator[Problem]:
    name = configuration.settings.tls.keys
    where = configuration.origins["tls", "keys"]
    if not name:
        return
    if not name.endswith(ENDING):
        yield Problem(
            where=where,
            key="tls.keys",
            what=f"the name of a file of keys ends in {ENDING}, so that nobody mistakes it",
            hint=f"write {shlex.quote(name + ENDING)}",
        )
    if legs and not any(one.any for one in legs.values()):
        yield Problem(
            where=where,
            key="tls.keys",
            what="popproxy speaks TLS on no route, so that there are no keys to write",
            hint="leave it out, or use pop3s:// or pop3+stls://",
        )


def warnings(routes: Sequence[Route]) -> Iterator[str]:
    """Find what works, but weakens what TLS is for; said at each start (P32, P39, P16).

    Args:
        routes: The routes.
    """
    key_logs = set()
    for route in routes:
        legs = Legs.of(route)
        clients, server = route.listener_tls, route.upstream_tls
        if legs.with_server and server.insecure:
            yield (
                f"route {route.name}: --insecure: nobody verifies that {route.upstream.host} is"
                " who it says; an impostor would get the passwords. --upstream-ca or --pin would"
                " do better"
            )
        if legs.with_clients and clients.minimum in _LEGACY:
            yield (
                f"route {route.name}: clients may speak TLS {clients.minimum}, which has been"
                " unsafe for years (RFC 8996), and weak ciphers with it"
            )
        if legs.with_server and server.minimum in _LEGACY:
            yield (
                f"route {route.name}: the server may speak TLS {server.minimum}, which has been"
                " unsafe for years (RFC 8996), and weak ciphers with it"
            )
        key_logs |= {one for one in (clients.key_log, server.key_log) if one is not None}
    for path in sorted(key_logs):
        yield (
            f"the keys of every TLS connection are written to {path}: whoever has that file can"
            " decrypt what was captured, passwords included. Delete it when you are done"
        )


def setup_error(error: TlsSetupError) -> CommandError:
    """Tell what TLS cannot be set up with; what to do stands behind the first semicolon."""
    what, _, remedy = str(error).partition("; ")
    return CommandError(what, hint=remedy[:1].upper() + remedy[1:], status=Status.USAGE)
