"""A leg under TLS: `popproxy.relay.legs.Leg` over a non-blocking `ssl.SSLSocket`.

As with `SocketLeg`, OpenSSL is called first, and trio is asked to wait only when it needs the
network. One read gives what one TLS record held, so that segments stay as they were; a write makes
records of up to 16 KiB.

*The end of a stream.* TLS has a sign for it, close_notify. A stream that ends without it may have
been cut by somebody, so `truncated` tells of it (P41). We send ours in `shutdown_write` and in
`close`. Python's only way to it, `unwrap`, asks OpenSSL at once for the peer's too, and octets of
the peer that wait to be read would be lost by that. So a half-close is put off until nothing waits
to be read; whoever reads from the leg then does it.

*Waiting both ways.* Reading may have to write first and the other way round (an answer to a change
of keys). That is rare, and the other pump may be waiting for the same event already, which trio
allows only once; so these cases are tried again after a moment.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable

import trio

from popproxy.records import LegName
from popproxy.relay.legs import READ, TURN, LegLost, SocketLeg, leg_lost
from popproxy.tls.failures import explain

RECORD = 16 * 1024
"""Octets of one TLS record at most (RFC 8446, section 5.1)."""
_AGAIN = 0.02
"""Seconds until a call is tried again that needs the network the other way round."""


class TlsLeg(SocketLeg):
    """A leg whose handshake is done. See `Leg` for its attributes and methods."""

    __slots__ = ("_before_close", "_end_due", "_leg", "_name", "_over", "_tls")

    def __init__(
        self,
        tls: ssl.SSLSocket,
        *,
        leg: LegName,
        name: str = "",
        before_close: Callable[[ssl.SSLSocket], None] | None = None,
    ) -> None:
        """Take a connection over; it is closed by the leg from now on.

        Args:
            tls: A connected, non-blocking socket whose handshake is done.
            leg: Which of a session's legs this is, for the words of failures.
            name: The server's name, likewise.
            before_close: Called once with the socket before it is closed in order.
        """
        super().__init__(tls)
        self._tls = tls
        self._leg: LegName = leg
        self._name = name
        self._before_close = before_close
        self._end_due = False  # a half-close was asked for
        self._over = False  # both sides have said that they end

    async def read(self) -> bytes:
        """See `Leg.read`."""
        while not self._over:
            if self._turn >= TURN:
                await trio.lowlevel.checkpoint()
                self._turn = 0
            try:
                data = self._tls.recv(READ)
            except ssl.SSLWantReadError:
                self._turn = 0
                if self._end_due and not self._say_end():
                    await trio.sleep(_AGAIN)
                elif not self._over:
                    await trio.lowlevel.wait_readable(self._descriptor)
            except ssl.SSLWantWriteError:
                await trio.sleep(_AGAIN)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                self.truncated = True
                return b""
            except OSError as error:
                raise self._lost(error) from None
            else:
                self._turn += 1
                self.octets_in += len(data)
                return data
        return b""

    async def write(self, data: bytes) -> None:
        """See `Leg.write`."""
        rest = memoryview(data)
        try:
            while rest:
                try:
                    sent = self._tls.send(rest[:RECORD])
                except ssl.SSLWantWriteError:
                    self.stalled = True
                    await trio.lowlevel.wait_writable(self._descriptor)
                except ssl.SSLWantReadError:
                    self.stalled = True
                    await trio.sleep(_AGAIN)
                except OSError as error:
                    raise self._lost(error) from None
                else:
                    self.octets_out += sent
                    rest = rest[sent:]
        finally:
            self.stalled = False

    async def shutdown_write(self) -> None:
        """See `Leg.shutdown_write`; close_notify may follow later, see the module."""
        self._end_due = True
        while self._end_due and self._nothing_waits():
            if not self._say_end():
                await trio.sleep(_AGAIN)

    def close(self) -> None:
        """See `Leg.close`."""
        if self._descriptor >= 0:
            if self._before_close is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._before_close(self._tls)
            self._say_end()
        super().close()

    def abort(self) -> None:
        """See `Leg.abort`: without close_notify, for it is no orderly end."""
        self._reset_at_close()
        super().close()

    def _nothing_waits(self) -> bool:
        """Whether no octet of the peer waits, so that none can be lost."""
        return not self._tls.pending() and self.peek() is None

    def _say_end(self) -> bool:
        """Send close_notify and close our direction; False if there is no room for it."""
        try:
            self._tls.unwrap()
            self._over = True
        except ssl.SSLWantReadError:
            pass  # it is sent; the peer's has not come
        except ssl.SSLWantWriteError:
            return False
        except (OSError, ValueError):
            pass  # the connection is gone; whoever reads from it will be told
        self._end_due = False
        self._shut_down()
        return True

    def _lost(self, error: OSError) -> LegLost:
        if isinstance(error, ssl.SSLError):
            failure = explain(error, self._tls, leg=self._leg, name=self._name)
            return LegLost(failure.cause, failure)
        return leg_lost(error)
