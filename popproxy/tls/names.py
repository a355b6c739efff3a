"""Which texts are host names: what a peer asks for is looked at here first (P36).

A name that passes holds letters, digits, hyphens, underscores and dots only, so that it can stand
in a certificate, in a log and in a file's name. Underscores are no part of RFC 952's names, but
containers and machines of local networks have them, and clients ask for them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_LONGEST = 253
"""Octets of a name in dotted form, without the final dot (RFC 1035, section 2.3.4)."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def host_name(text: str) -> str | None:
    """Check that a text which a peer sent is a host name.

    Args:
        text: What the peer sent, for instance as server name (RFC 6066, section 3).

    Returns:
        The name in lower case, without a final dot; None if it is none. Numeric addresses are
        none: RFC 6066 forbids them.
    """
    if not text.isascii() or len(text) > _LONGEST + 1:
        return None
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _LONGEST or not all(_is_label(label) for label in labels):
        return None
    # A name whose last label is a number is an IPv4 address to some, as 127.1 is.
    return None if labels[-1].isdigit() else name


def _is_label(label: str) -> bool:
    if not _LABEL.fullmatch(label):
        return False
    if not label.startswith("xn--"):
        return True
    # Not Python's codec "idna": it knows the rules of 2003 only, and refuses names of today, as
    # those with a sharp s. That the rest is punycode at all is as much as matters here: what is
    # kept and shown is the ASCII form.
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return False
    return not decoded.isascii()


def certificate_names(texts: Iterable[str]) -> list[str | Address]:
    """Sort out what can stand in a certificate.

    Args:
        texts: Host names, international ones too, and numeric addresses, as settings have them.

    Returns:
        Names and addresses in their order, each once; what is neither is left out, and so are
        addresses that stand for "any", to which nobody connects.
    """
    found: dict[str | Address, None] = {}
    for text in texts:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            if name := host_name(_ascii(text)):
                found[name] = None
        else:
            if not address.is_unspecified:
                found[address] = None
    return list(found)


def canonical(text: str) -> str:
    """Write a name of the settings as certificates do: ASCII, lower case, without a final dot.

    Args:
        text: A host name, or a numeric address, which is written in its shortest form.
    """
    found = certificate_names([text])
    if found:
        return str(found[0])
    return "".join(each if each.isascii() and each.isprintable() else "?" for each in text)


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
