"""Names with a form of their own: mail addresses, host names, IP addresses.

Parts are replaced by themselves, so that what was alike stays alike: addresses of one domain, hosts
below one domain, machines of one network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from popproxy.privacy.sanitise.kept import HOST_LABELS, TOP_LEVEL
from popproxy.privacy.sanitise.keys import Keys, Kind
from popproxy.privacy.sanitise.words import fill

_IPV4: Final = re.compile(rb"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_IPV6: Final = re.compile(rb"(?=[0-9A-Fa-f:.]{2,45}\Z)[0-9A-Fa-f:]*:[0-9A-Fa-f:]*[0-9A-Fa-f.]*")
_HOST: Final = re.compile(rb"[A-Za-z0-9_\x80-\xff-]+(?:\.[A-Za-z0-9_\x80-\xff-]+)+\.?")
_DOMAIN: Final = re.compile(rb"[A-Za-z0-9._\x80-\xff-]*")

_TELLING: Final = frozenset({0, 10, 100, 127, 169, 172, 192, 198, 203})
"""First octets of which a part has a meaning of its own (RFC 6890)."""

_PRIVATE_SECONDS: Final = {
    100: range(64, 128), 169: range(254, 255), 172: range(16, 32), 192: range(168, 169)
}  # fmt: skip
_SPECIAL_V6: Final = re.compile(
    rb"fe[89ab][0-9a-f]|f[cd][0-9a-f]{2}|ff[0-9a-f]{2}|0*", re.IGNORECASE
)
_HEX: Final = b"0123456789abcdef"


def is_ipv4(text: bytes) -> bool:
    """Tell whether a text is an IPv4 address."""
    return _IPV4.fullmatch(text) is not None and all(int(one) < 256 for one in text.split(b"."))


def is_ipv6(text: bytes) -> bool:
    """Tell whether a text is an IPv6 address."""
    if _IPV6.fullmatch(text) is None:
        return False
    try:
        ipaddress.IPv6Address(text.decode("ascii"))
    except ValueError:
        return False
    return True


def is_host(text: bytes) -> bool:
    """Tell whether a text looks like a host name of several labels."""
    return _HOST.fullmatch(text) is not None and not text.rstrip(b".")[-1:].isdigit()


def place(keys: Keys, text: bytes) -> bytes:
    """Replace a host name or an IP address.

    Args:
        keys: Gives the pseudonyms.
        text: The name or the address; anything else counts as a name.
    """
    if is_ipv4(text):
        return ipv4(keys, text)
    if is_ipv6(text):
        return ipv6(keys, text)
    return host(keys, text)


def host(keys: Keys, name: bytes) -> bytes:
    """Replace a host name, label by label; the last one stays if it is a general one."""
    if name.lower() in (b"localhost", b"localhost.localdomain", b"unknown"):
        return name
    labels = name.split(b".")
    last = len(labels) - 1 - (not labels[-1])
    return b".".join(
        label
        if (at == last > 0 and label.lower() in TOP_LEVEL)
        or (at < last and label.lower() in HOST_LABELS)
        else keys.token("label", label)
        for at, label in enumerate(labels)
    )


def address(keys: Keys, text: bytes, kind: Kind = "mailbox") -> bytes:
    """Replace a mail address, or what is built like one.

    Args:
        keys: Gives the pseudonyms.
        text: With an `@` in it.
        kind: What stands before the `@`.
    """
    local, at, domain = text.rpartition(b"@")
    end = _DOMAIN.match(domain)
    size = end.end() if end else 0
    return keys.token(kind, local) + at + place(keys, domain[:size]) + fill(domain[size:])


def user(keys: Keys, name: bytes) -> bytes:
    """Replace a user's name as it is logged in with: an address, or its first half."""
    return address(keys, name) if b"@" in name else keys.token("mailbox", name)


def ipv4(keys: Keys, text: bytes) -> bytes:
    """Replace an IPv4 address: private stays private, public public, digits are as many."""
    octets = text.split(b".")
    numbers = [int(one) for one in octets]
    if numbers[0] in (0, 127) or numbers == [255] * 4:
        return text
    made: list[bytes] = []
    for at, digits in enumerate(octets):
        choices = _alike(numbers, at, len(digits))
        if numbers[at] not in choices:  # leading zeros
            made.append(digits)
            continue
        added = keys.number("ipv4", b".".join(octets[:at]), len(choices))
        made.append(b"%d" % choices[(choices.index(numbers[at]) + added) % len(choices)])
    return b".".join(made)


def _alike(numbers: Sequence[int], at: int, digits: int) -> list[int]:
    """Give the values that an octet may be replaced by."""
    values = [value for value in range(256) if len(str(value)) == digits]
    value = numbers[at]
    if at == 0:
        if value in _TELLING:
            return [value]
        return [each for each in values if each not in _TELLING and _range(each) == _range(value)]
    if at == 1 and (private := _PRIVATE_SECONDS.get(numbers[0])) is not None:
        return [each for each in values if (each in private) == (value in private)]
    return values


def _range(first: int) -> int:
    """Tell addresses of one machine, of many, and reserved ones apart."""
    return 0 if first < 224 else 1 if first < 240 else 2


def ipv6(keys: Keys, text: bytes) -> bytes:
    """Replace an IPv6 address: private stays private, groups stay as long as they are."""
    if text in (b"::", b"::1"):
        return text
    groups = text.split(b":")
    made: list[bytes] = []
    for at, group in enumerate(groups):
        if b"." in group:
            made.append(ipv4(keys, group) if is_ipv4(group) else fill(group))
        elif (at == 0 and _SPECIAL_V6.fullmatch(group)) or (
            b"." in groups[-1] and group.lower() == b"ffff"
        ):
            made.append(group)
        else:
            made.append(_hexadecimal(keys, b":".join(groups[:at]), group, first=at == 0))
    return b":".join(made)


def _hexadecimal(keys: Keys, before: bytes, group: bytes, *, first: bool) -> bytes:
    made = bytearray(group.lower())
    for at, digit in enumerate(made):
        if first and at == 0:
            continue  # 2 or 3: what the whole world uses
        zero_not_allowed = at == 0 and digit != ord("0")
        size = 15 if zero_not_allowed else 16
        value = _HEX.index(digit) - zero_not_allowed
        added = keys.number("ipv6", before + b":" + bytes(group[:at]), size)
        if at == 0 and digit == ord("0"):
            continue  # a group that is written with leading zeros, or is zero
        made[at] = _HEX[(value + added) % size + zero_not_allowed]
    return bytes(made).upper() if group.isupper() else bytes(made)
