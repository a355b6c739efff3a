"""popproxy as a server of TLS: each client sees a certificate for the name that it asked for.

A handshake begins on the *base* context, whose certificate is for the default names. When OpenSSL
has read the client's hello, it asks back (`sni_callback`), and the connection is moved to a context
whose certificate, a *leaf*, is for the name in it. OpenSSL keeps using the base context's keys for
session tickets, so that resumption works whatever the name.

All that a client can make us keep is bounded: contexts of leaves (`CAPACITY`), and sessions of
clients without tickets, for which the base context is made anew (`SESSIONS`). It is made anew once
a day, too, so that no key for tickets is in use for longer, and so that a certificate of the
user's own is replaced some time after its file was.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from socket import socket

from popproxy.tls.authority import Authority
from popproxy.tls.contexts import ALPN, server_context
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.minting import LEAF_LIFETIME, leaf_key_pem
from popproxy.tls.names import certificate_names, host_name
from popproxy.tls.pairs import first_certificate, load_pair
from popproxy.tls.settings import ListenerTls

CAPACITY = 128
"""Leaves that are kept; each one's context takes about 25 KiB. Servers have few names: who asks
for more is looking for something."""
SESSIONS = 1_000
"""Sessions that OpenSSL may keep for clients without tickets, each about 1 KiB; its own limit,
20,480, cannot be changed from Python."""
BASE_LIFETIME = timedelta(days=1)
LEAF_RENEWAL = timedelta(days=30)
"""Before the end of a leaf, from when on it is not shown any more."""


def _now() -> datetime:
    return datetime.now(UTC)


class ListenerSocket(ssl.SSLSocket):
    """Our end of a client's connection.

    Attributes:
        requested_name: The server name that the client asked for, checked, in lower case; None
            if it asked for none, or for something that is no host name.
        shown: The certificate that the client is shown, in DER.
        trouble: Why popproxy itself made the handshake fail, in words; None if it did not.
    """

    requested_name: str | None = None
    shown: bytes = b""
    trouble: str | None = None

    def do_handshake(self, block: bool = False) -> None:
        """Go on with the handshake; as `ssl.SSLSocket` does it, but for one thing.

        Before it calls back, Python decodes the server name as ASCII. If that fails, it ends the
        handshake and writes a traceback with the name to standard error, where no peer has
        anything to say (P43). Here it becomes `trouble`.
        """
        outer = sys.unraisablehook

        def hook(raised: sys.UnraisableHookArgs) -> None:
            if raised.exc_type is UnicodeDecodeError and isinstance(raised.object, bytes):
                self.trouble = "the client asked for a server name that is not ASCII"
            else:
                outer(raised)

        sys.unraisablehook = hook
        try:
            super().do_handshake(block)
        finally:
            sys.unraisablehook = outer


@dataclass(frozen=True, slots=True)
class _Made:
    """A context, the certificate in it, and until when it is to be used."""

    context: ssl.SSLContext
    shown: bytes
    until: datetime


class ListenerContext:
    """What is needed to be a server of TLS, for one route.

    Args:
        settings: How clients are served.
        default_names: The names for a client that asks for none: the upstream's first (P37), then
            those under which the listener can be reached.
        now: Gives the time; for tests.

    Attributes:
        warnings: What works, but should be looked at; for the start of the program.

    Raises:
        TlsSetupError: The authority or the certificate cannot be used.
    """

    def __init__(
        self,
        settings: ListenerTls,
        *,
        default_names: Sequence[str],
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.warnings: tuple[str, ...] = ()
        self._settings = settings
        self._now = now
        self._authority: Authority | None = None
        if settings.certificate is None:
            self._authority = Authority.open(settings.authority)
            self.warnings = tuple(self._authority.warnings())
        self._default_names = default_names if certificate_names(default_names) else ("localhost",)
        self._known = frozenset(map(str, certificate_names(default_names)))
        self._leaves: OrderedDict[str, _Made] = OrderedDict()
        try:
            self._base = self._make_base()
        except OSError as error:
            raise TlsSetupError(
                f"OpenSSL could not be handed a certificate by /dev/fd: {error.strerror}; popproxy"
                " needs /dev and /proc where it runs, and some file descriptors to spare"
            ) from None

    def wrap(self, connected: socket) -> ListenerSocket:
        """Put TLS on a connection, whose socket it takes over; the handshake is the caller's.

        Raises:
            OSError: The connection has gone already.
        """
        base = self._current_base()
        wrapped = base.context.wrap_socket(
            connected, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        assert isinstance(wrapped, ListenerSocket)  # noqa: S101 - says so to the type checker
        wrapped.shown = base.shown
        return wrapped

    def _current_base(self) -> _Made:
        base = self._base
        if base.until <= self._now() or base.context.session_stats()["number"] >= SESSIONS:
            # The user may be replacing files, or popproxy may have given up the right to read
            # them, or descriptors have run out. What there is goes on serving.
            with contextlib.suppress(TlsSetupError, OSError):
                self._base = self._make_base()
        return self._base

    def _make_base(self) -> _Made:
        now = self._now()
        until = now + BASE_LIFETIME
        if self._authority is not None:
            made = self._leaf(self._authority, self._default_names, now, until)
        else:
            assert self._settings.certificate is not None  # noqa: S101 - says so to the checker
            context = self._empty_context()
            loaded = load_pair(context, self._settings.certificate, self._settings.key)
            self.warnings = loaded.warnings
            made = _Made(context, loaded.certificate, until)
        made.context.sslsocket_class = ListenerSocket
        made.context.sni_callback = self._on_hello
        return made

    def _empty_context(self) -> ssl.SSLContext:
        settings = self._settings
        context = server_context(settings.minimum, settings.key_log, settings.maximum)
        context.set_alpn_protocols([ALPN])
        return context

    def _leaf(
        self, authority: Authority, names: Sequence[str], now: datetime, until: datetime
    ) -> _Made:
        context = self._empty_context()
        content = authority.leaf(names, now=now)
        # OpenSSL's function for this reads files, and a key must not touch a disk. What is
        # written to a pipe stays in the kernel's memory; the two are opened one after the other.
        with (
            _as_path(content) as chain,
            _as_path(leaf_key_pem()) as key,
        ):
            context.load_cert_chain(chain, key)
        return _Made(context, first_certificate(content), until)

    def _on_hello(
        self, tls: ssl.SSLSocket | ssl.SSLObject, name: str | None, _base: ssl.SSLContext
    ) -> int | None:
        """Answer OpenSSL, which has read a client's hello.

        Returns:
            None to go on, or the number of the alert to end the handshake with.
        """
        assert isinstance(tls, ListenerSocket)  # noqa: S101 - says so to the type checker
        try:
            tls.requested_name = None if name is None else host_name(name)
            wanted = tls.requested_name
            if self._authority is not None and wanted and wanted not in self._known:
                made = self._made_for(self._authority, wanted)
                tls.context, tls.shown = made.context, made.shown
        except Exception as error:  # noqa: BLE001 - Python would write a traceback to stderr
            # As when descriptors have run out. A certificate for another name would mislead.
            tls.trouble = f"no certificate could be made: {type(error).__name__}"
            if isinstance(error, OSError) and error.strerror:
                tls.trouble = f"no certificate could be made: {error.strerror}"
            return int(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
        return None

    def _made_for(self, authority: Authority, name: str) -> _Made:
        now = self._now()
        made = self._leaves.get(name)
        if made is None or made.until <= now:
            until = now + LEAF_LIFETIME - LEAF_RENEWAL
            made = self._leaves[name] = self._leaf(authority, [name], now, until)
        self._leaves.move_to_end(name)
        if len(self._leaves) > CAPACITY:
            self._leaves.popitem(last=False)
        return made


@contextlib.contextmanager
def _as_path(content: bytes) -> Iterator[str]:
    """Give content a path that can be opened once, without a file."""
    reading, writing = os.pipe()
    try:
        try:
            # A pipe takes a page at least. Should it not, an error is better than to wait.
            os.set_blocking(writing, False)
            if os.write(writing, content) != len(content):
                raise BlockingIOError(None, "a pipe is too small for a certificate")
        finally:
            os.close(writing)
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
