"""A leg as trio's streams are, for whoever reads lines from one or writes to one."""

from __future__ import annotations

import trio

from popproxy.relay.legs import Leg, LegLost


class LegStream(trio.abc.Stream):
    """A leg as a stream; the leg stays its owner's.

    Args:
        leg: The leg.
    """

    def __init__(self, leg: Leg) -> None:
        self._leg = leg

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give what one read brings, however much that is."""
        del max_bytes
        try:
            return await self._leg.read()
        except LegLost:
            raise trio.BrokenResourceError from None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets."""
        try:
            await self._leg.write(bytes(data))
        except LegLost:
            raise trio.BrokenResourceError from None

    async def wait_send_all_might_not_block(self) -> None:
        """Do not wait: `send_all` does."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Leave the leg to its owner."""
        await trio.lowlevel.checkpoint()
