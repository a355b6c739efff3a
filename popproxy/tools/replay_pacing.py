"""Having the other end read segments apart, as far as that can be had.

A segment that is written while the one before lies unread is read together with it: TCP knows
octets, not segments. TCP_NODELAY keeps our side from joining them. Whether the other side has read
is known where it is a process of this machine: Linux tells what waits in its end of the connection
(sock_diag, the same that `ss` uses). Elsewhere a short pause has to do. Under TLS nothing has to be
done: each write is a record, and is read as one.

Linux' table in /proc would tell the same, but takes milliseconds to read, as all of its hash table
is walked; a question for one connection takes microseconds.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

import trio

from popproxy.relay.loops import Address

PAUSE = 0.002
"""Seconds for the other end to read, where it does not show."""
PATIENCE = 0.5
"""Seconds that it gets to read, where it does."""
_SPINS = 50
"""Looks without a pause between them: most clients have read after some of them."""
_LOOK = 0.001

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>: names are the kernel's.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
_REST = struct.Struct("=III")
_NO_COOKIE = 0xFFFFFFFF
_ANY_STATE = 0xFFFFFFFF
_RQUEUE = _HEADER.size + 4 + 48 + 4
"""Where an answer has `idiag_rqueue`: behind its header, `idiag_family` and the three octets after
it, the connection's identity, and `idiag_expires`."""


class Pacer:
    """Waits until a peer has read what it was sent.

    Args:
        ends: Our address and the peer's, if segments would be joined otherwise; None under TLS, and
            in memory.
        family: Of the addresses.
    """

    def __init__(
        self,
        ends: tuple[Address, Address] | None,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> None:
        self._apart = ends is None
        self._question: bytes | None = None
        if ends is not None and sys.platform == "linux":
            ours, theirs = ends
            with contextlib.suppress(OSError):  # an address with a zone is another machine's
                self._question = _question(theirs, ours, family)

    async def read(self) -> None:
        """Wait until the peer has read everything, or for a while."""
        if self._apart:
            await trio.lowlevel.checkpoint()
            return
        until = trio.current_time() + PATIENCE
        looks = 0
        while (unread := self._unread()) and trio.current_time() < until:
            looks += 1
            if looks < _SPINS:
                await trio.lowlevel.checkpoint()
            else:
                await trio.sleep(_LOOK)
        if unread is None:
            await trio.sleep(PAUSE)
        elif not looks:
            await trio.lowlevel.checkpoint()

    def _unread(self) -> int | None:
        """Give how many octets lie unread at the peer; None if it does not show."""
        if self._question is None:
            return None
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
                kernel.setblocking(False)
                kernel.send(self._question)
                answer = kernel.recv(4096)  # it is there when `send` returns
            kind = _HEADER.unpack_from(answer)[1]
            if kind == _SOCK_DIAG_BY_FAMILY:
                return int.from_bytes(answer[_RQUEUE : _RQUEUE + 4], sys.byteorder)
        except (OSError, struct.error):
            pass
        self._question = None  # the peer is elsewhere, or nobody may ask
        return None


def _question(source: Address, target: Address, family: socket.AddressFamily) -> bytes:
    """Ask for the connection whose own end is `source`."""
    identity = _PORTS.pack(source[1], target[1])
    for host, _port in (source, target):
        identity += socket.inet_pton(family, host).ljust(16, b"\0")
    identity += _REST.pack(0, _NO_COOKIE, _NO_COOKIE)
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE) + identity
    size = _HEADER.size + len(request)
    return _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + request
