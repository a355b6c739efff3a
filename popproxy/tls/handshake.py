"""A handshake on a non-blocking socket, waiting by trio."""

from __future__ import annotations

import ssl

import trio

from popproxy.records import LegName
from popproxy.tls.failures import explain


async def handshake(tls: ssl.SSLSocket, *, leg: LegName, name: str = "") -> None:
    """Do the handshake of a connection, however long it takes; the caller limits the time.

    Args:
        tls: A connected, non-blocking socket. It is not closed, whatever happens.
        leg: Which of a session's legs it is, for the words of a failure.
        name: The name that the server is to prove, likewise.

    Raises:
        TlsFailure: It failed; OpenSSL has sent the alert that goes with it.
    """
    await trio.lowlevel.checkpoint()
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(tls)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(tls)
        except (OSError, ValueError) as error:
            raise explain(error, tls, leg=leg, name=name) from None
        else:
            return
