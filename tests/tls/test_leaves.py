"""popproxy as a server of TLS, seen by real clients: certificates by name, resumption, bounds."""

from __future__ import annotations

import socket
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from popproxy.tls.folder import CERTIFICATE
from popproxy.tls.leaves import ListenerContext
from popproxy.tls.settings import ListenerTls
from tests.support.handshakes import (
    DEFAULT,
    TLS12,
    UPSTREAM,
    answered,
    both_versions,
    certificate,
    client_context,
    connected,
    hello,
    shake,
    shown_names,
)

# Certificates by name


@both_versions
def test_p35_a_client_gets_a_certificate_for_the_name_that_it_asks_for(
    listener: ListenerContext, folder: Path, version: ssl.TLSVersion
) -> None:
    client = client_context(folder / CERTIFICATE, version)
    with connected(listener, client, "Mail.Example.NET") as (server, peer):
        shake(server, peer)
        assert shown_names(peer) == ["mail.example.net"]
        assert server.requested_name == "mail.example.net"
        assert server.trouble is None


@both_versions
@pytest.mark.parametrize("name", [UPSTREAM, "localhost", "127.0.0.1"])
def test_p37_names_of_the_route_are_all_in_one_certificate(
    listener: ListenerContext, folder: Path, version: ssl.TLSVersion, name: str
) -> None:
    client = client_context(folder / CERTIFICATE, version)
    with connected(listener, client, name) as (server, peer):
        shake(server, peer)
        assert shown_names(peer) == DEFAULT
        assert server.requested_name == (None if name == "127.0.0.1" else name)


@both_versions
def test_p37_a_client_without_a_name_gets_the_certificate_for_the_upstream(
    listener: ListenerContext, folder: Path, version: ssl.TLSVersion
) -> None:
    client = client_context(folder / CERTIFICATE, version)
    client.check_hostname = False
    with connected(listener, client, None) as (server, peer):
        shake(server, peer)
        assert shown_names(peer)[0] == UPSTREAM
        subject = certificate(peer).subject
        assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == UPSTREAM
        assert server.requested_name is None


def test_p35_a_leaf_is_for_servers_and_for_199_days_at_most_and_its_serial_is_random(
    listener: ListenerContext, folder: Path
) -> None:
    client = client_context(folder / CERTIFICATE)
    leaves_seen = []
    for name in ("a.example", "b.example"):
        with connected(listener, client, name) as (server, peer):
            shake(server, peer)
            leaves_seen.append(certificate(peer))
    for leaf in leaves_seen:
        # Both ends of the validity count, to the second.
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc + timedelta(seconds=1)
        assert lifetime <= timedelta(days=199)
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
        basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert not basic.ca
        assert leaf.serial_number.bit_length() > 100
    assert leaves_seen[0].serial_number != leaves_seen[1].serial_number


@both_versions
def test_a_client_that_does_not_trust_the_authority_refuses(
    listener: ListenerContext, version: ssl.TLSVersion
) -> None:
    stranger = trustme.CA().cert_pem.bytes()
    with connected(listener, client_context(stranger, version), "a.example") as (server, peer):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(server, peer)
        with pytest.raises(ssl.SSLError, match=r"(?i)unknown ca"):
            server.do_handshake()


def test_the_chain_that_is_shown_holds_the_authority(
    listener: ListenerContext, folder: Path
) -> None:
    shown = answered(listener, hello(b"a.example", TLS12))[1]
    authority = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    assert ssl.PEM_cert_to_DER_cert((folder / CERTIFICATE).read_text()) in shown
    assert authority.subject.public_bytes() in shown


def test_alpn_is_answered_if_it_is_offered_and_not_asked_for(
    listener: ListenerContext, folder: Path
) -> None:
    for offered, chosen in ([["pop3"], "pop3"], [["imap"], None], [[], None]):
        client = client_context(folder / CERTIFICATE)
        if offered:
            client.set_alpn_protocols(list(offered))
        with connected(listener, client, "a.example") as (server, peer):
            shake(server, peer)
            assert peer.selected_alpn_protocol() == server.selected_alpn_protocol() == chosen


# Names that are none (P36)

NO_NAMES = [
    b"../../etc/passwd",
    b"a/b.example",
    b"a b.example",
    b"a.example\r\n+OK",
    b"\x1b[31mred.example",
    b"-a.example",
    b"a..example",
    b".",
    b"192.0.2.7",
    b"0x7f.1",
    b"x" * 64 + b".example",
    b".".join([b"x" * 50] * 5),
    b"*.example",
    b"'; drop",
    b"xn--999999999.example",
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_p36_what_is_no_host_name_gets_the_certificate_for_the_upstream(
    listener: ListenerContext, name: bytes
) -> None:
    # Certificates travel in clear in TLS 1.2.
    server, shown = answered(listener, hello(name, TLS12))
    assert server.requested_name is None
    assert UPSTREAM.encode() in shown
    assert name.rstrip(b".") == b"" or name not in shown
    assert server.trouble is None


@both_versions
@pytest.mark.parametrize("name", ["\u00e4.example".encode(), b"\xff\xfe", b"a\x80b.example"])
def test_p36_p43_a_name_that_is_not_ascii_ends_the_handshake_without_a_word_on_stderr(
    listener: ListenerContext,
    version: ssl.TLSVersion,
    name: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = listener.wrap(ours)
        theirs.sendall(hello(name, version))
        with server, pytest.raises(ssl.SSLError):
            server.do_handshake()
        assert server.trouble == "the client asked for a server name that is not ASCII"
        assert server.requested_name is None
        alert = theirs.recv(100)
        assert alert[0] == 21  # the type of alerts
        assert alert[-1] == ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
    said = capsys.readouterr()
    assert said.out == said.err == ""


@given(name=st.binary(min_size=1, max_size=250).filter(lambda name: b"\x00" not in name))
def test_p36_whatever_a_client_asks_for_only_host_names_are_kept(name: bytes) -> None:
    try:
        server, shown = answered(SHARED.listener(), hello(name, TLS12))
    except ssl.SSLError:
        assert not name.isascii()
        return
    kept = server.requested_name
    assert kept is None or set(kept) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert (kept or UPSTREAM).encode() in shown


class Shared:
    """One listener for all examples of a property, made when the first needs it."""

    def __init__(self) -> None:
        self._listener: ListenerContext | None = None

    def listener(self) -> ListenerContext:
        if self._listener is None:
            import tempfile

            with tempfile.TemporaryDirectory() as directory:
                settings = ListenerTls(authority=Path(directory) / "authority")
                self._listener = ListenerContext(settings, default_names=DEFAULT)
        return self._listener


SHARED = Shared()
