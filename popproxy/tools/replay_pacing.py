"""Having the other end read segments apart, as far as that can be had.

A segment that is written while the one before lies unread is read together with it: TCP knows
octets, not segments. TCP_NODELAY keeps our side from joining them. Whether the other side has read
shows only where it is a process of this machine, in Linux' table of connections; elsewhere a short
pause has to do. Under TLS nothing has to be done: each write is a record, and is read as one.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path

import trio

from popproxy.relay.loops import Address, plain_ip

PAUSE = 0.002
"""Seconds for the other end to read, where it does not show."""
PATIENCE = 0.5
"""Seconds that it gets to read, where it does."""
_FIRST_LOOK, _LAST_LOOK = 0.0001, 0.01


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
        self._table: Path | None = None
        self._line = ""
        if ends is None or sys.platform != "linux":
            return
        ours, theirs = ends
        if plain_ip(theirs[0]).is_loopback:
            # The peer's end of the connection is an entry of the table like ours.
            self._line = f" {_hex(*theirs)} {_hex(*ours)} "
            self._table = Path("/proc/self/net") / ("tcp6" if family == socket.AF_INET6 else "tcp")

    async def read(self) -> None:
        """Wait until the peer has read everything, or for a while."""
        if self._apart:
            await trio.lowlevel.checkpoint()
            return
        waiting = self._waiting()
        if waiting is None:
            await trio.sleep(PAUSE)
            return
        look, until = _FIRST_LOOK, trio.current_time() + PATIENCE
        while waiting and trio.current_time() < until:
            await trio.sleep(look)
            look = min(look * 2, _LAST_LOOK)
            waiting = self._waiting()
        await trio.lowlevel.checkpoint()

    def _waiting(self) -> int | None:
        """Give how many octets lie unread at the peer; None if it does not show."""
        if self._table is None:
            return None
        try:
            table = self._table.read_text("ascii")
        except (OSError, ValueError):
            table = ""
        at = table.find(self._line)
        if at < 0:
            self._table = None  # another machine's loopback, or one that hides its table
            return None
        # Behind the two addresses: the state, then octets to send and to read.
        queues = table[at + len(self._line) :].split(maxsplit=2)[1]
        return int(queues.partition(":")[2], 16)


def _hex(address: str, port: int) -> str:
    """Write an address as the table has it: by words, in the machine's order of octets."""
    packed = ipaddress.ip_address(address.partition("%")[0]).packed
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return f"{b''.join(words).hex().upper()}:{port:04X}"
