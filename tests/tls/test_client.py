"""popproxy as a client of TLS: whom it accepts, and how it says why not (P32, P33, P38-P40)."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from popproxy.tls.certificates import Told, covers, read
from popproxy.tls.client import UpstreamContext
from popproxy.tls.facts import facts
from popproxy.tls.failures import CAUSE, TlsFailure, TlsSetupError, explain
from popproxy.tls.handshake import handshake
from popproxy.tls.settings import UpstreamTls
from tests.support.certificates import Certificates, issue

HOST = "pop.example.test"
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
BOTH = pytest.mark.parametrize("version", [TLS12, TLS13])


def server_context(made: Certificates, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain_file, made.key_file)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@contextlib.contextmanager
def connected(
    upstream: UpstreamContext, server: ssl.SSLContext
) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Connect popproxy's side with a server; give both before their handshake."""
    near, far = socket.socketpair()
    with near, far:
        for end in (near, far):
            end.setblocking(False)
        theirs = server.wrap_socket(far, server_side=True, do_handshake_on_connect=False)
        ours = upstream.wrap(near)
        with ours, theirs:
            yield ours, theirs


async def _serve(theirs: ssl.SSLSocket) -> None:
    with contextlib.suppress(TlsFailure):  # the test looks at the other end
        await handshake(theirs, leg="client")


async def meet(ours: ssl.SSLSocket, theirs: ssl.SSLSocket, name: str = HOST) -> None:
    """Do a handshake, and let our side read what comes behind it."""
    failed: TlsFailure | None = None
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, theirs)
            try:
                await handshake(ours, leg="upstream", name=name)
            except TlsFailure as found:
                failed = found
                nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
        with contextlib.suppress(ssl.SSLWantReadError):
            ours.recv(1)


async def failure(upstream: UpstreamContext, server: ssl.SSLContext) -> TlsFailure:
    """Give why popproxy does not talk to a server."""
    with connected(upstream, server) as (ours, theirs):
        try:
            await meet(ours, theirs)
            upstream.verify(ours)
        except TlsFailure as failed:
            found = failed
        else:
            pytest.fail("popproxy talks to it")
    assert len(found.cause) <= CAUSE
    assert found.cause.isascii()
    assert found.cause.isprintable()
    return found


def digest(made: Certificates) -> str:
    told = read(ssl.PEM_cert_to_DER_cert(made.chain_file.read_text().split("\n\n", maxsplit=1)[0]))
    assert told is not None
    return told.sha256


def dated(tmp_path: Path, start: int, end: int) -> Certificates:
    """Make a server's certificate whose days are counted from today."""
    authority = trustme.CA()
    now = datetime.now(UTC)
    leaf = authority.issue_cert(
        HOST, not_before=now + timedelta(start), not_after=now + timedelta(end)
    )
    made = Certificates(
        ca_file=tmp_path / "ca.pem",
        chain_file=tmp_path / "chain.pem",
        key_file=tmp_path / "server.key",
    )
    authority.cert_pem.write_to_path(str(made.ca_file))
    leaf.cert_chain_pems[0].write_to_path(str(made.chain_file))
    leaf.private_key_pem.write_to_path(str(made.key_file))
    return made


def self_signed(tmp_path: Path, subject: str = HOST) -> Certificates:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(1))
        .not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = Certificates(
        ca_file=tmp_path / "own.pem",
        chain_file=tmp_path / "own.pem",
        key_file=tmp_path / "own.key",
    )
    made.chain_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


@BOTH
async def test_p32_a_server_whose_issuer_is_trusted_is_accepted_and_its_facts_are_told(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = issue(tmp_path, HOST)
    upstream = UpstreamContext(UpstreamTls(ca=made.ca_file), host=HOST)
    with connected(upstream, server_context(made, version)) as (ours, theirs):
        await meet(ours, theirs)
        upstream.verify(ours)
        told = facts(ours, "upstream")
    assert told.version == {TLS12: "TLSv1.2", TLS13: "TLSv1.3"}[version]
    assert told.cipher
    assert told.server_name == HOST
    assert told.certificate_names == [HOST]
    assert told.certificate_sha256 == digest(made)
    assert told.not_before is not None
    assert told.not_after is not None
    assert told.not_before < told.not_after
    assert told.resumed is False


@BOTH
async def test_p32_an_unknown_issuer_is_named(tmp_path: Path, version: ssl.TLSVersion) -> None:
    made = issue(tmp_path, HOST)
    found = await failure(UpstreamContext(UpstreamTls(), host=HOST), server_context(made, version))
    assert found.code == "unknown-issuer"
    assert "trustme" in found.cause
    assert "--upstream-ca" in found.remedy
    assert digest(made) in found.remedy


@BOTH
@pytest.mark.parametrize(
    ("start", "end", "code"), [(-20, -10, "expired"), (10, 20, "not-yet-valid")]
)
async def test_p32_the_day_is_named(
    tmp_path: Path, version: ssl.TLSVersion, start: int, end: int, code: str
) -> None:
    made = dated(tmp_path, start, end)
    upstream = UpstreamContext(UpstreamTls(ca=made.ca_file), host=HOST)
    found = await failure(upstream, server_context(made, version))
    assert found.code == code
    day = datetime.now(UTC) + timedelta(end if code == "expired" else start)
    assert f"{day:%Y-%m-%d}" in found.cause


@BOTH
@pytest.mark.parametrize("sni", [None, "other.test", ""])
async def test_p32_a_wrong_name_is_named_and_so_is_the_right_one(
    tmp_path: Path, version: ssl.TLSVersion, sni: str | None
) -> None:
    made = issue(tmp_path, "other.test")
    upstream = UpstreamContext(UpstreamTls(ca=made.ca_file, sni=sni), host=HOST)
    found = await failure(upstream, server_context(made, version))
    assert found.code == "wrong-name"
    assert "other.test" in found.cause
    assert HOST in found.cause
    assert "--server-name" in found.remedy


@pytest.mark.parametrize("sni", [None, "asked.test", ""])
async def test_the_name_that_is_asked_for_and_the_one_that_is_verified_are_set_apart(
    tmp_path: Path, sni: str | None
) -> None:
    made = issue(tmp_path, "other.test")
    settings = UpstreamTls(ca=made.ca_file, server_name="other.test", sni=sni)
    upstream = UpstreamContext(settings, host="192.0.2.1")
    asked: list[str | None] = []
    server = server_context(made)
    server.sni_callback = lambda _tls, name, _context: asked.append(name)
    with connected(upstream, server) as (ours, theirs):
        await meet(ours, theirs, "other.test")
        upstream.verify(ours)
    assert asked == ["other.test" if sni is None else sni or None]


async def test_p32_self_signed_is_said_and_its_certificate_can_be_trusted(tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    server = server_context(made)
    found = await failure(UpstreamContext(UpstreamTls(), host=HOST), server)
    assert found.code == "self-signed"
    for settings in (
        UpstreamTls(ca=made.chain_file),
        UpstreamTls(pins=(f"sha256:{digest(made).upper()}",)),
        UpstreamTls(insecure=True),
    ):
        upstream = UpstreamContext(settings, host=HOST)
        with connected(upstream, server) as (ours, theirs):
            await meet(ours, theirs)
            upstream.verify(ours)


@pytest.mark.parametrize("with_ca", [False, True])
async def test_p32_a_pin_that_does_not_match_names_both(tmp_path: Path, with_ca: bool) -> None:
    made = issue(tmp_path, HOST)
    pin = "ab" * 32
    settings = UpstreamTls(ca=made.ca_file if with_ca else None, pins=(f"sha256:{pin}",))
    found = await failure(UpstreamContext(settings, host=HOST), server_context(made))
    assert found.code == "pin-mismatch"
    assert pin in found.cause
    assert digest(made) in found.cause


@BOTH
async def test_p38_a_server_that_wants_a_client_certificate(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = issue(tmp_path, HOST)
    server = server_context(made, version)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(made.ca_file)
    bare = UpstreamContext(UpstreamTls(ca=made.ca_file), host=HOST)
    with connected(bare, server) as (ours, theirs):
        with pytest.raises((TlsFailure, ssl.SSLError)) as caught:
            await meet(ours, theirs)
        error = caught.value
        found = error if isinstance(error, TlsFailure) else explain(error, ours, leg="upstream")
    if version is TLS13:
        assert found.code == "client-certificate-wanted"
    assert "--client-certificate" in found.remedy
    assert found.alert_from == "server"
    settings = UpstreamTls(ca=made.ca_file, certificate=made.chain_file, key=made.key_file)
    with connected(UpstreamContext(settings, host=HOST), server) as (ours, theirs):
        await meet(ours, theirs)
        assert theirs.getpeercert(binary_form=True)


@BOTH
async def test_a_session_is_resumed(tmp_path: Path, version: ssl.TLSVersion) -> None:
    made = issue(tmp_path, HOST)
    settings = UpstreamTls(ca=made.ca_file, pins=(digest(made),))
    upstream, server = UpstreamContext(settings, host=HOST), server_context(made, version)
    resumed = []
    for _ in range(2):
        with connected(upstream, server) as (ours, theirs):
            await meet(ours, theirs)
            upstream.verify(ours)
            resumed.append(facts(ours, "upstream").resumed)
            upstream.remember(ours)
    assert resumed == [False, True]


async def test_p39_old_versions_have_to_be_allowed(tmp_path: Path) -> None:
    made = issue(tmp_path, HOST)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.chain_file, made.key_file)
    server.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
    found = await failure(UpstreamContext(UpstreamTls(ca=made.ca_file), host=HOST), server)
    assert found.code == "protocol-version"
    assert "--upstream-tls-minimum" in found.remedy
    old = UpstreamContext(UpstreamTls(ca=made.ca_file, minimum="1.0"), host=HOST)
    with connected(old, server) as (ours, theirs):
        await meet(ours, theirs)
        assert facts(ours, "upstream").version == "TLSv1.1"


async def test_p40_the_environment_makes_nobody_write_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = issue(tmp_path, HOST)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    upstream = UpstreamContext(UpstreamTls(ca=made.ca_file), host=HOST)
    with connected(upstream, server_context(made)) as (ours, theirs):
        await meet(ours, theirs)
    assert not (tmp_path / "keys").exists()
    asked = UpstreamTls(ca=made.ca_file, key_log=tmp_path / "keys.SECRET")
    with connected(UpstreamContext(asked, host=HOST), server_context(made)) as (ours, theirs):
        await meet(ours, theirs)
    assert "SECRET" in (tmp_path / "keys.SECRET").read_text()  # CLIENT_..._TRAFFIC_SECRET


@pytest.mark.parametrize(
    ("said", "code"), [(b"+OK POP3 server ready\r\n", "not-tls"), (b"", "closed")]
)
async def test_a_server_that_speaks_no_tls(said: bytes, code: str) -> None:
    upstream = UpstreamContext(UpstreamTls(), host=HOST)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        with upstream.wrap(near) as ours:
            far.sendall(said)
            far.shutdown(socket.SHUT_WR)
            with pytest.raises(TlsFailure) as caught:
                await handshake(ours, leg="upstream", name=HOST)
    assert caught.value.code == code


async def test_a_handshake_can_be_cancelled() -> None:
    upstream = UpstreamContext(UpstreamTls(), host=HOST)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        with upstream.wrap(near) as ours, trio.move_on_after(0.01) as scope:
            await handshake(ours, leg="upstream", name=HOST)
    assert scope.cancelled_caught


async def test_what_an_issuer_calls_itself_is_made_harmless(tmp_path: Path) -> None:
    made = self_signed(tmp_path, "evil\r\n+OK\x1b[31m\u202e" + "x" * 20)
    told = read(ssl.PEM_cert_to_DER_cert(made.chain_file.read_text()))
    assert told is not None
    assert told.issuer.isascii()
    assert told.issuer.isprintable()


@pytest.mark.parametrize(
    "text", ["holds nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_certificates_is_an_error_of_the_settings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(TlsSetupError, match="cannot be read"):
        UpstreamContext(UpstreamTls(ca=path), host=HOST)
    path.write_text(text)
    with pytest.raises(TlsSetupError, match="certificates in PEM"):
        UpstreamContext(UpstreamTls(ca=path), host=HOST)


@pytest.mark.parametrize(
    ("names", "name", "is_covered"),
    [
        (("a.test",), "A.test", True),
        (("a.test",), "b.a.test", False),
        (("*.a.test",), "b.a.test", True),
        (("*.a.test",), "a.test", False),
        (("*.a.test",), "c.b.a.test", False),
        (("*.a.test",), ".a.test", False),
        (("192.0.2.1",), "192.0.2.1", True),
        (("*.0.2.1",), "192.0.2.1", False),
        ((), "a.test", False),
    ],
)
def test_which_names_a_certificate_is_for(
    names: tuple[str, ...], name: str, is_covered: bool
) -> None:
    now = datetime.now(UTC)
    told = Told(sha256="", names=names, issuer="", self_signed=False, not_before=now, not_after=now)
    assert covers(told, name) is is_covered
