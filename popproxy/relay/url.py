"""URLs of listeners and upstreams: `pop3://`, `pop3s://` and `pop3+stls://`, a host, a port.

Nothing else may stand in one. A user name or password is refused because a URL lands in argv, in
configuration files and in records (P14); messages about such a URL never quote that part. Every
message ends with the nearest form that would have been accepted, where there is one.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal, get_args

from popproxy.relay.errors import RelayError

Scheme = Literal["pop3", "pop3s", "pop3+stls"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

UPSTREAM_PORTS: dict[Scheme, int] = {"pop3": 110, "pop3s": 995, "pop3+stls": 110}
"""Ports that IANA assigned to POP3 and POP3S (RFC 1939, section 3; RFC 8314, section 7.3)."""
LISTENER_PORTS: dict[Scheme, int] = {"pop3": 1110, "pop3s": 1995, "pop3+stls": 1110}
"""Ports that a program without privileges may open."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_KINDRED = {"pop": "pop3", "pops": "pop3s", "tcp": "pop3", "ssl": "pop3s", "tls": "pop3s"}


class UrlError(RelayError):
    """A URL cannot be used; the message says why and gives the nearest valid form."""


@dataclass(frozen=True, slots=True)
class Url:
    """Where to listen, or where to connect to.

    Attributes:
        scheme: `pop3` (plain), `pop3s` (TLS from the start) or `pop3+stls` (STLS required).
        host: A name or a numeric address; an IPv6 address without its brackets.
        port: 1 to 65535; for a listener 0 means any free port.
    """

    scheme: Scheme
    host: str
    port: int

    def __str__(self) -> str:
        """Give the URL in full, port included."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_url(text: str, *, listener: bool) -> Url:
    """Read a URL as a person wrote it.

    Args:
        text: The URL. Case matters nowhere; blanks around it are dropped.
        listener: Whether popproxy is to listen there (it decides the default port, and port 0 is
            valid for a listener only).

    Returns:
        The URL with its port filled in and its host in lower case.

    Raises:
        UrlError: The text is not such a URL.
    """
    text = text.strip()
    kind = "listener" if listener else "upstream"
    scheme_text, separator, rest = text.partition("://")
    if not separator:
        scheme_text, rest = "pop3", text
    scheme = _nearest_scheme(scheme_text)
    ports = LISTENER_PORTS if listener else UPSTREAM_PORTS
    authority, tail = _split_tail(rest)
    secret, at_sign, authority = authority.rpartition("@")
    del secret  # it may be a password: no message below may hold it
    nearest = _nearest(scheme, authority, ports[scheme], listener=listener)
    example = f"pop3://{'127.0.0.1:1110' if listener else 'pop.example.org'}"

    if not rest:
        raise UrlError(f"the {kind}'s URL is empty: write one like {example}")
    if at_sign:
        raise UrlError(
            f"the {kind}'s URL holds a user name or a password; the mail client sends those:"
            f" write {nearest or example}"
        )
    if not separator:
        raise UrlError(f"{_shown(text)} has no scheme: write {nearest or example}")
    if scheme_text.lower() != scheme:
        raise UrlError(
            f"{_shown(scheme_text)}:// is not one of pop3://, pop3s:// and pop3+stls://:"
            f" write {nearest or example}"
        )
    if tail:
        raise UrlError(
            f"{_shown(text)} has something behind host and port: write {nearest or example}"
        )
    host, port = _split_authority(authority, nearest or example)
    if not host:
        raise UrlError(f"{_shown(text)} has no host: write {nearest or example}")
    if not is_host(host):
        raise UrlError(
            f"{_shown(host)} is neither a host name nor an address: write {nearest or example}"
        )
    if port is None:
        return Url(scheme, host.lower(), ports[scheme])
    number = _port(port)
    if number is None or (number == 0 and not listener):
        lowest = 0 if listener else 1
        raise UrlError(
            f"{_shown(port) or 'nothing'} is not a port ({lowest} to 65535):"
            f" write {nearest or example}"
        )
    return Url(scheme, host.lower(), number)


def is_address(host: str) -> bool:
    """Say whether a host is a numeric IPv4 or IPv6 address (without brackets)."""
    return _is_ipv4(host) or _is_ipv6(host)


def is_host(host: str) -> bool:
    """Say whether a text is a numeric address (without brackets) or could be a host name."""
    if is_address(host):
        return True
    if not host.isprintable():
        return False
    try:
        ascii_host = host.encode("idna").decode("ascii") if not host.isascii() else host
    except UnicodeError:
        return False
    ascii_host = ascii_host.removesuffix(".")
    labels = ascii_host.split(".")
    if len(ascii_host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    # A name whose last label is a number would be read as an IPv4 address by some resolvers.
    return not labels[-1].isdigit()


def _nearest_scheme(text: str) -> Scheme:
    """Give the scheme that was most likely meant."""
    lowered = text.lower()
    lowered = _KINDRED.get(lowered, lowered)
    close = difflib.get_close_matches(lowered, SCHEMES, n=1)
    for scheme in SCHEMES:
        if close == [scheme]:
            return scheme
    return "pop3s" if lowered.endswith("s") and lowered != "https" else "pop3"


def _split_tail(rest: str) -> tuple[str, str]:
    """Part host and port from a path, a query or a fragment."""
    match = re.search(r"[/?#\\]", rest)
    # A password may hold any of these characters: what follows an @ is the authority then.
    if match is None or "@" in rest[match.start() :]:
        return rest, ""
    return rest[: match.start()], rest[match.start() :]


def _split_authority(authority: str, nearest: str) -> tuple[str, str | None]:
    """Part host and port; the port is None if there is none.

    Raises:
        UrlError: Brackets do not match, or an IPv6 address lacks them.
    """
    if authority.startswith("["):
        host, bracket, port = authority[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or not _is_ipv6(host):
            raise UrlError(
                f"{_shown(authority)} is not an IPv6 address in brackets: write {nearest}"
            )
        return host, port[1:] if port else None
    if authority.count(":") > 1:
        raise UrlError(
            f"{_shown(authority)} is no host; an IPv6 address stands in brackets: write {nearest}"
        )
    host, colon, port = authority.partition(":")
    return host, port if colon else None


def _nearest(scheme: Scheme, authority: str, default: int, *, listener: bool) -> str:
    """Give the nearest valid URL, or nothing if no host can be made out."""
    authority = authority.strip()
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
        port = port.lstrip(":")
    elif _is_ipv6(authority):
        host, port = authority, ""
    else:
        host, _, port = authority.rpartition(":")
        if not host:
            host, port = (port, "") if ":" not in authority else ("", port)
    if not host and listener:
        host = "127.0.0.1"
    if not is_host(host):
        return ""
    number = _port(port)
    if number is None or (number == 0 and not listener):
        number = default
    return str(Url(scheme, host.lower(), number))


def _port(text: str) -> int | None:
    """Read a port; None if it is not one."""
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        return None
    number = int(text)
    return number if number <= 65535 else None


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
        return False
    return True


def _shown(text: str) -> str:
    """Make a person's own text fit for a message: printable, and not endless."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown if len(shown) <= 80 else shown[:77] + "..."
