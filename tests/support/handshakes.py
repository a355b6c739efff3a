"""Handshakes of TLS within one thread: two ends of a socket pair, each moved on in its turn."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from popproxy.tls.leaves import ListenerContext, ListenerSocket

TLS12 = ssl.TLSVersion.TLSv1_2
TLS13 = ssl.TLSVersion.TLSv1_3
UPSTREAM = "pop.example.org"
DEFAULT = [UPSTREAM, "127.0.0.1", "localhost"]
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=lambda one: one.name)
"""How popproxy's side knows itself, and the versions that its tests try."""
_TURNS = 100
"""More than any handshake takes; so that two ends which wait for each other are found out."""


def client_context(
    trusted: Path | bytes | None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Make a client that is strict about certificates.

    Args:
        trusted: The authority's certificate in PEM, or its file; None to trust everybody.
        version: The only version of TLS that is spoken; None for all.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if trusted is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif isinstance(trusted, bytes):
        context.load_verify_locations(cadata=trusted.decode())
    else:
        context.load_verify_locations(trusted)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@contextlib.contextmanager
def connected(
    listener: ListenerContext,
    client: ssl.SSLContext,
    name: str | None,
    session: ssl.SSLSession | None = None,
) -> Iterator[tuple[ListenerSocket, ssl.SSLSocket]]:
    """Connect a client to popproxy's side; the handshake is still to be made.

    Args:
        listener: Our side.
        client: The client.
        name: The server name that the client asks for and verifies; None for none.
        session: A session that the client would resume.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        server = listener.wrap(ours)
        peer = client.wrap_socket(
            theirs, server_hostname=name, session=session, do_handshake_on_connect=False
        )
        with server, peer:
            yield server, peer


def shake(server: ssl.SSLSocket, client: ssl.SSLSocket) -> None:
    """Make the handshake, and let the client take the tickets that come behind it.

    Raises:
        ssl.SSLError: As one end says it; the other end has not been asked what it makes of it.
    """
    waiting = [client, server]
    for _ in range(_TURNS):
        for end in list(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                waiting.remove(end)
        if not waiting:
            break
    assert not waiting
    server.sendall(b"+OK\r\n")
    assert client.recv(10) == b"+OK\r\n"


def close(server: ssl.SSLSocket, client: ssl.SSLSocket) -> None:
    """End the connection in an orderly way, without which OpenSSL would forget the session."""
    for end in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.unwrap()


def certificate(client: ssl.SSLSocket) -> x509.Certificate:
    """Give the certificate that a client was shown."""
    content = client.getpeercert(binary_form=True)
    assert content is not None
    return x509.load_der_x509_certificate(content)


def shown_names(client: ssl.SSLSocket) -> list[str]:
    """Give the names in the certificate that a client was shown."""
    names = certificate(client).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(one.value) for one in names.value]


def hello(name: bytes | None, version: ssl.TLSVersion | None = None) -> bytes:
    """Make the first message of a real client.

    Args:
        name: The server name that it asks for, whatever its octets; None to ask for none.
        version: The only version of TLS that it speaks.
    """
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    # OpenSSL would not send every name: one of the same length is sent, and then replaced.
    placeholder = None if name is None else _placeholder(len(name))
    client = client_context(None, version).wrap_bio(coming, going, server_hostname=placeholder)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    message = going.read()
    if name is None or placeholder is None:
        return message
    # Type and length stand before the name (RFC 6066, section 3), so that it is found for sure.
    head = b"\x00" + len(name).to_bytes(2, "big")
    assert message.count(head + placeholder.encode()) == 1
    return message.replace(head + placeholder.encode(), head + name)


def _placeholder(length: int) -> str:
    letters = random.Random(length).choices(string.ascii_lowercase, k=length)  # noqa: S311
    letters[40:-1:41] = "." * len(letters[40:-1:41])
    return "".join(letters)


def answered(listener: ListenerContext, message: bytes) -> tuple[ListenerSocket, bytes]:
    """Let popproxy's side read a client's first message.

    Returns:
        Our end, closed, and what it sent.

    Raises:
        ssl.SSLError: The handshake failed by it.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        server = listener.wrap(ours)
        theirs.sendall(message)
        with server, contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        return server, theirs.recv(1 << 16)
