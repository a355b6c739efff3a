"""popproxy as a client of TLS: which server it accepts, and what it shows of itself (P32).

The system's trust decides, through truststore where the system has trust of its own kind. Where
trust is a file or a folder, as on Linux, truststore would read it anew for each connection; there
the same places are read once, here. A file of the user's (`ca`) replaces the system's trust.

*Pins* say which certificate is accepted, whoever issued it. So where there are pins and no `ca`,
chain, dates and name are not looked at: the pin vouches for more than they could. They are checked
in `verify`, behind the handshake and before an octet of the session is written; nothing that a
client said has been sent by then.

A session that a server gave us is kept for the next connection to it. It belongs to the context,
so that what it skips, the verification, was done under the same settings.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from socket import socket

from popproxy.tls.certificates import covers, peer
from popproxy.tls.contexts import ALPN, prepare
from popproxy.tls.failures import TlsSetupError, no_certificate, wrong_name, wrong_pin
from popproxy.tls.names import canonical
from popproxy.tls.pairs import load_pair
from popproxy.tls.settings import UpstreamTls


class UpstreamContext:
    """How one route speaks TLS with its server.

    Attributes:
        warnings: What works, but should be looked at.
    """

    def __init__(self, settings: UpstreamTls, *, host: str) -> None:
        """Read what the settings name.

        Args:
            settings: How to speak TLS with the server.
            host: The server, as the route names it.

        Raises:
            TlsSetupError: A file cannot be used; the message says what to do.
        """
        self._settings = settings
        self.name = canonical(settings.server_name or host)
        self._sni = self.name if settings.sni is None else settings.sni
        self._pins = frozenset(pin.lower().removeprefix("sha256:") for pin in settings.pins)
        self._session: ssl.SSLSession | None = None
        self.warnings: tuple[str, ...] = ()
        self._context = self._make()

    def _make(self) -> ssl.SSLContext:
        settings = self._settings
        verified = not settings.insecure and (settings.ca is not None or not self._pins)
        context = trusting_the_system() if verified and settings.ca is None else _empty()
        prepare(context, settings.minimum, settings.key_log)
        # Python ties the name that is sent to the one that is verified; where they differ, the
        # name is compared in `verify`.
        context.check_hostname = verified and self._sni == self.name
        context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
        context.set_alpn_protocols([ALPN])
        if settings.ca is not None and verified:
            trust(context, settings.ca)
        if settings.certificate is not None:
            self.warnings = load_pair(context, settings.certificate, settings.key).warnings
        return context

    def wrap(self, connected: socket) -> ssl.SSLSocket:
        """Put TLS on a connection, whose socket it takes over; the handshake is the caller's.

        Args:
            connected: A connected, non-blocking socket.

        Raises:
            OSError: The connection has gone already.
        """
        return self._context.wrap_socket(
            connected,
            server_hostname=self._sni or None,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            session=self._session,
        )

    def verify(self, tls: ssl.SSLSocket) -> None:
        """Verify what OpenSSL did not: pins, and the name where another one was sent.

        Args:
            tls: The connection; its handshake is done.

        Raises:
            TlsFailure: The server is not who it should be.
        """
        if self._settings.insecure:
            return
        told = peer(tls)
        if told is None:
            raise no_certificate()
        if self._pins and told.sha256 not in self._pins:
            raise wrong_pin(told, self._pins)
        by_chain = self._settings.ca is not None or not self._pins
        if by_chain and self._sni != self.name and not covers(told, self.name):
            raise wrong_name(told, self.name)

    def remember(self, tls: ssl.SSLSocket) -> None:
        """Keep what the server gave for a shorter handshake next time.

        Args:
            tls: The connection, before it is closed.
        """
        self._session = tls.session or self._session


def _empty() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def trusting_the_system() -> ssl.SSLContext:
    """Make a context that trusts whom the system trusts."""
    paths = ssl.get_default_verify_paths()
    if sys.platform in ("darwin", "win32") or not (paths.cafile or paths.capath):
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = _empty()
    context.set_default_verify_paths()
    return context


def trust(context: ssl.SSLContext, ca: Path) -> None:
    """Have a context trust the certificates of a file.

    Raises:
        TlsSetupError: The file cannot be used; the message says what to do.
    """
    try:
        context.load_verify_locations(cafile=ca)
    except ssl.SSLError:
        raise TlsSetupError(
            f"{ca} holds no certificates in PEM; name a file with the certificate of who"
            " issued the server's, or the server's own"
        ) from None
    except OSError as error:
        raise TlsSetupError(
            f"{ca} cannot be read: {(error.strerror or 'unknown error').lower()}; name a"
            " file with certificates in PEM that the user who runs popproxy may read"
        ) from None
    # A server's own certificate in the file vouches for itself, as people expect.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
