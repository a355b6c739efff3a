"""What popproxy keeps as a server of TLS, and for how long; certificates of a user's own."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from popproxy.tls import leaves
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.folder import CERTIFICATE
from popproxy.tls.leaves import BASE_LIFETIME, CAPACITY, ListenerContext
from popproxy.tls.settings import ListenerTls
from tests.support.handshakes import (
    DEFAULT,
    TLS12,
    UPSTREAM,
    answered,
    both_versions,
    certificate,
    client_context,
    close,
    connected,
    hello,
    shake,
    shown_names,
)


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


def session_of(
    listener: ListenerContext,
    client: ssl.SSLContext,
    name: str | None,
    session: ssl.SSLSession | None = None,
) -> tuple[ssl.SSLSession | None, bool]:
    """Connect, and give the client's session and whether it was a resumed one."""
    with connected(listener, client, name, session) as (server, peer):
        shake(server, peer)
        assert server.session_reused == peer.session_reused
        found = peer.session, bool(peer.session_reused)
        close(server, peer)
        return found


# What is kept


def test_p36_leaves_are_kept_as_far_as_there_is_room_the_least_used_goes(
    listener: ListenerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaves, "CAPACITY", 3)
    contexts: dict[str, ssl.SSLContext] = {}

    def ask(name: str) -> ssl.SSLContext:
        return answered(listener, hello(name.encode()))[0].context

    for name in ("a.example", "b.example", "c.example"):
        contexts[name] = ask(name)
    assert ask("a.example") is contexts["a.example"]
    ask("d.example")  # pushes b out
    assert ask("a.example") is contexts["a.example"]
    assert ask("c.example") is contexts["c.example"]
    assert ask("b.example") is not contexts["b.example"]
    assert CAPACITY >= 100  # enough for all servers of a person, and the names of them


def test_leaves_that_end_soon_are_made_anew(folder: Path) -> None:
    clock = Clock()
    listener = ListenerContext(ListenerTls(authority=folder), default_names=DEFAULT, now=clock)
    first = answered(listener, hello(b"a.example"))[0].context
    clock.time += timedelta(days=160)
    assert answered(listener, hello(b"a.example"))[0].context is first
    clock.time += timedelta(days=10)
    assert answered(listener, hello(b"a.example"))[0].context is not first


def test_p36_a_certificate_that_cannot_be_made_ends_the_handshake_with_an_alert(
    listener: ListenerContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_pipe() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pipe", no_pipe)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = listener.wrap(ours)
        theirs.sendall(hello(b"a.example"))
        with server, pytest.raises(ssl.SSLError):
            server.do_handshake()
        assert server.trouble == "no certificate could be made: Too many open files"
        assert theirs.recv(100)[-1] == ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
    # The names of the route need nothing new.
    assert answered(listener, hello(UPSTREAM.encode()))[0].trouble is None
    assert capsys.readouterr().err == ""


def test_a_start_without_what_it_takes_to_hand_openssl_a_key_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pipe() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pipe", no_pipe)
    with pytest.raises(TlsSetupError, match="by /dev/fd: Too many open files; popproxy needs"):
        ListenerContext(ListenerTls(authority=folder), default_names=DEFAULT)


def test_no_descriptor_stays_open(listener: ListenerContext) -> None:
    before = sorted(os.listdir("/dev/fd"))  # noqa: PTH208 - numbers, not paths
    for number in range(20):
        answered(listener, hello(f"{number}.a.example".encode()))
    assert sorted(os.listdir("/dev/fd")) == before  # noqa: PTH208


def test_without_a_usable_default_name_there_is_still_a_certificate(folder: Path) -> None:
    listener = ListenerContext(ListenerTls(authority=folder), default_names=["::", "?"])
    client = client_context(folder / CERTIFICATE)
    with connected(listener, client, "localhost") as (server, peer):
        shake(server, peer)
        assert shown_names(peer) == ["localhost"]


def test_addresses_and_international_names_can_be_defaults(folder: Path) -> None:
    names = ["m\u00e4il.example", "fe80::1%eth0", "2001:db8::7", "::"]
    listener = ListenerContext(ListenerTls(authority=folder), default_names=names)
    client = client_context(folder / CERTIFICATE)
    with connected(listener, client, "2001:db8::7") as (server, peer):
        shake(server, peer)
        found = certificate(peer).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert found.value.get_values_for_type(x509.IPAddress) == [
            ip_address("fe80::1"),
            ip_address("2001:db8::7"),
        ]
        assert found.value.get_values_for_type(x509.DNSName) == ["xn--mil-qla.example"]


# Resumption


@both_versions
@pytest.mark.parametrize("name", ["a.example", UPSTREAM, "127.0.0.1"])
def test_sessions_are_resumed_whatever_the_name(
    listener: ListenerContext, folder: Path, version: ssl.TLSVersion, name: str
) -> None:
    client = client_context(folder / CERTIFICATE, version)
    session, resumed = session_of(listener, client, name)
    assert not resumed
    # The certificate has been made anew since, as if others had pushed it out.
    listener._leaves.clear()
    session, resumed = session_of(listener, client, name, session)
    assert resumed
    assert session_of(listener, client, name, session)[1]


def test_sessions_are_resumed_without_tickets_too(listener: ListenerContext, folder: Path) -> None:
    client = client_context(folder / CERTIFICATE, TLS12)
    client.options |= ssl.OP_NO_TICKET
    session, resumed = session_of(listener, client, "a.example")
    assert not resumed
    assert session_of(listener, client, "a.example", session)[1]


def test_sessions_without_tickets_are_bounded(
    listener: ListenerContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaves, "SESSIONS", 3)
    client = client_context(folder / CERTIFICATE, TLS12)
    client.options |= ssl.OP_NO_TICKET
    kept = []
    for _ in range(8):
        session_of(listener, client, "a.example")
        kept.append(listener._base.context.session_stats()["number"])
    assert kept == [1, 2, 3, 1, 2, 3, 1, 2]


@both_versions
def test_keys_of_tickets_are_in_use_for_a_day_and_no_longer(
    folder: Path, version: ssl.TLSVersion
) -> None:
    clock = Clock()
    listener = ListenerContext(ListenerTls(authority=folder), default_names=DEFAULT, now=clock)
    client = client_context(folder / CERTIFICATE, version)
    session, _ = session_of(listener, client, "a.example")
    clock.time += BASE_LIFETIME - timedelta(seconds=1)
    assert session_of(listener, client, "a.example", session)[1]
    clock.time += timedelta(seconds=1)
    assert not session_of(listener, client, "a.example", session)[1]


# A user's own certificate


def own_pair(folder: Path, authority: trustme.CA, name: str) -> tuple[Path, Path]:
    issued = authority.issue_cert(name)
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.touch(0o600)
    key.write_bytes(issued.private_key_pem.bytes())
    return chain, key


@both_versions
def test_a_certificate_of_the_users_own_is_shown_whatever_the_name(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    authority = trustme.CA()
    chain, key = own_pair(tmp_path, authority, "own.example")
    settings = ListenerTls(authority=tmp_path / "unused", certificate=chain, key=key)
    listener = ListenerContext(settings, default_names=DEFAULT)
    client = client_context(authority.cert_pem.bytes(), version)
    with connected(listener, client, "own.example") as (server, peer):
        shake(server, peer)
        assert server.requested_name == "own.example"
    client.check_hostname = False
    with connected(listener, client, "other.example") as (server, peer):
        shake(server, peer)
        assert server.requested_name == "other.example"
        assert shown_names(peer) == ["own.example"]
    assert not (tmp_path / "unused").exists()
    assert listener.warnings == ()


def test_a_certificate_that_was_replaced_is_shown_the_next_day(tmp_path: Path) -> None:
    authority, clock = trustme.CA(), Clock()
    chain, key = own_pair(tmp_path, authority, "first.example")
    settings = ListenerTls(authority=tmp_path / "unused", certificate=chain, key=key)
    listener = ListenerContext(settings, default_names=DEFAULT, now=clock)
    client = client_context(authority.cert_pem.bytes())
    client.check_hostname = False

    def shown() -> list[str]:
        with connected(listener, client, "x.example") as (server, peer):
            shake(server, peer)
            return shown_names(peer)

    own_pair(tmp_path, authority, "second.example")
    assert shown() == ["first.example"]
    clock.time += BASE_LIFETIME
    assert shown() == ["second.example"]
    chain.write_text("half of a certif")
    clock.time += BASE_LIFETIME
    assert shown() == ["second.example"]  # what there is goes on serving
    own_pair(tmp_path, authority, "third.example")
    assert shown() == ["third.example"]


# Versions


def test_p39_tls_1_1_is_refused_unless_it_is_allowed(folder: Path) -> None:
    client = client_context(None)
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    listener = ListenerContext(ListenerTls(authority=folder), default_names=DEFAULT)
    with (
        connected(listener, client, "a.example") as (server, peer),
        pytest.raises(ssl.SSLError, match=r"(?i)unsupported protocol"),
    ):
        shake(server, peer)


def test_p39_a_minimum_of_1_3_refuses_1_2(folder: Path) -> None:
    settings = ListenerTls(authority=folder, minimum="1.3")
    listener = ListenerContext(settings, default_names=DEFAULT)
    with (
        connected(listener, client_context(None, TLS12), "a.example") as (server, peer),
        pytest.raises(ssl.SSLError, match=r"(?i)unsupported protocol"),
    ):
        shake(server, peer)
