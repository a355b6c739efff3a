"""A leg under TLS: `popproxy.relay.legs.Leg` over a non-blocking `ssl.SSLSocket`.

OpenSSL reads and writes the socket itself. One read gives what one TLS record held, so that
segments stay as they were; a write makes records of up to 16 KiB.

*The end of a stream.* TLS has a sign for it, close_notify. A stream that ends without it may have
been cut by somebody, so `truncated` tells of it (P41). We send ours in `half_close` and in
`close`. Python's only way to it, `unwrap`, asks OpenSSL at once for the peer's too, and octets of
the peer that wait to be read would be lost by that. So a half-close is put off until nothing waits
to be read; whoever reads from the leg then does it.

*Waiting both ways.* Reading may have to write first and the other way round (an answer to a change
of keys). That is rare; `reads_when` and `writes_when` tell of it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable

from popproxy.records import LegName
from popproxy.relay.legs import READ, LegLost, SocketLeg, leg_lost
from popproxy.relay.poller import READING, WRITING
from popproxy.tls.failures import explain

RECORD = 16 * 1024
"""Octets of one TLS record at most (RFC 8446, section 5.1)."""


class TlsLeg(SocketLeg):
    """A leg whose handshake is done. See `Leg` for its attributes and methods."""

    __slots__ = (
        "_before_close",
        "_end_due",
        "_leg",
        "_name",
        "_over",
        "_tls",
        "reads_when",
        "truncated",
        "writes_when",
    )

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
        self.reads_when = READING
        self.writes_when = WRITING
        self.truncated = False
        self._over = False  # both sides have said that they end
        self.emptied = False  # OpenSSL may have read more than the handshake

    def receive(self) -> bytes | None:
        """See `Leg.receive`."""
        self.reads_when = READING
        if self._over:
            return b""
        try:
            data = self._tls.recv(READ)
        except ssl.SSLWantReadError:
            self.emptied = True
            return b"" if self._end_due and self._say_end() else None
        except ssl.SSLWantWriteError:
            self.reads_when = WRITING
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError:
            self.truncated = True
            return b""
        except OSError as error:
            raise self._lost(error) from None
        self.emptied = False  # of what OpenSSL has read already the kernel tells nothing
        self.octets_in += len(data)
        return data

    def send(self, data: bytes | memoryview) -> int:
        """See `Leg.send`."""
        self.writes_when = WRITING
        rest = memoryview(data)
        sent = 0
        try:
            while sent < len(rest):
                sent += self._tls.send(rest[sent : sent + RECORD])
        except ssl.SSLWantWriteError:
            pass
        except ssl.SSLWantReadError:
            self.writes_when = READING
        except OSError as error:
            raise self._lost(error) from None
        finally:
            self.octets_out += sent
        return sent

    def half_close(self) -> None:
        """See `Leg.half_close`; close_notify may follow later, see the module."""
        self._end_due = True
        if self._nothing_waits():
            self._say_end()

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
        """Send close_notify and close our direction; if there is no room for it, ask for that.

        Returns:
            Whether the peer has said that it ends, too.
        """
        try:
            self._tls.unwrap()
            self._over = True
        except ssl.SSLWantReadError:
            pass  # it is sent; the peer's has not come
        except ssl.SSLWantWriteError:
            self.reads_when = WRITING  # whoever reads tries it again
            return False
        except (OSError, ValueError):
            pass  # the connection is gone; whoever reads from it will be told
        self._end_due = False
        self._shut_down()
        return self._over

    def _lost(self, error: OSError) -> LegLost:
        if isinstance(error, ssl.SSLError):
            failure = explain(error, self._tls, leg=self._leg, name=self._name)
            return LegLost(failure.cause, failure)
        return leg_lost(error)
