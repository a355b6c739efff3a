"""Why TLS fails, in words to act upon: real peers of OpenSSL, on both legs (P32, P38, P39, P41)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from popproxy.records import LegName
from popproxy.tls.certificates import Told, read
from popproxy.tls.client import UpstreamContext
from popproxy.tls.facts import facts
from popproxy.tls.failures import CAUSE, TlsFailure, explain, wrong_name, wrong_pin
from popproxy.tls.handshake import handshake
from popproxy.tls.leaves import ListenerContext
from popproxy.tls.settings import ListenerTls, UpstreamTls
from tests.support.certificates import Certificates, issue
from tests.support.forged import EXPIRED, FUTURE, VALID, Days, forge
from tests.support.handshakes import TLS12, TLS13, client_context, close, connected, shake

HOST = "pop.example.test"
BOTH = pytest.mark.parametrize("version", [TLS12, TLS13])
Spoil = Callable[[socket.socket], None]


def harmless(text: str) -> bool:
    return text.isascii() and text.isprintable() and 0 < len(text) <= CAUSE


def server_context(made: Certificates, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain_file, made.key_file)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def digest(made: Certificates) -> str:
    told = read(ssl.PEM_cert_to_DER_cert(made.chain_file.read_text()))
    assert told is not None
    return told.sha256


@contextlib.contextmanager
def facing(
    upstream: UpstreamContext, server: ssl.SSLContext
) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Connect popproxy's side with a server; give both before their handshake."""
    near, far = socket.socketpair()
    with near, far:
        for end in (near, far):
            end.setblocking(False)
        theirs = server.wrap_socket(
            far, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        with theirs, upstream.wrap(near) as ours:
            yield ours, theirs


@dataclass
class Met:
    """How a handshake ended, as each side says it; None where it was well."""

    ours: TlsFailure | None = None
    theirs: TlsFailure | None = None


async def meet(upstream: UpstreamContext, server: ssl.SSLContext) -> Met:
    """Meet a server, as far as to the first read, whose turn it is after the handshake."""
    met = Met()

    async def serve(tls: ssl.SSLSocket) -> None:
        try:
            await handshake(tls, leg="client")
        except TlsFailure as failed:
            met.theirs = failed

    with facing(upstream, server) as (ours, theirs), trio.fail_after(30):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, theirs)
                try:
                    await handshake(ours, leg="upstream", name=upstream.name)
                    upstream.verify(ours)
                except TlsFailure as failed:
                    met.ours = failed
                    ours.shutdown(socket.SHUT_RDWR)
            if met.ours is None:
                ours.recv(1)
        except ssl.SSLWantReadError:
            pass
        except OSError as error:
            met.ours = explain(error, ours, leg="upstream", name=upstream.name)
    if met.ours is not None:
        assert harmless(met.ours.cause)
        assert not met.ours.remedy or harmless(met.ours.remedy)
    return met


async def why(settings: UpstreamTls, server: ssl.SSLContext, host: str = HOST) -> TlsFailure:
    """Give why popproxy does not talk to a server."""
    met = await meet(UpstreamContext(settings, host=host), server)
    assert met.ours is not None
    return met.ours


# Which servers are accepted

NOT_ASCII = b"\x30\x04\x82\x02\xc3\xb6"
"""The extension of one name, an o with two dots above in UTF-8, which no authority may issue."""
WRONG = pytest.mark.parametrize(
    ("names", "days"), [([HOST], EXPIRED), ([HOST], FUTURE), (["other.test"], VALID), ([], VALID)]
)


@BOTH
@WRONG
async def test_p32_insecure_accepts_whatever_is_wrong(
    tmp_path: Path, version: ssl.TLSVersion, names: list[str], days: Days
) -> None:
    server = server_context(forge(tmp_path, names, days=days), version)
    assert await meet(UpstreamContext(UpstreamTls(insecure=True), host=HOST), server) == Met()


@BOTH
@WRONG
async def test_p32_a_pin_vouches_for_chain_name_and_dates(
    tmp_path: Path, version: ssl.TLSVersion, names: list[str], days: Days
) -> None:
    made = forge(tmp_path, names, days=days)
    upstream = UpstreamContext(UpstreamTls(pins=("00" * 32, digest(made))), host=HOST)
    assert await meet(upstream, server_context(made, version)) == Met()


async def test_p32_a_pin_accepts_a_certificate_whose_names_are_not_ascii(tmp_path: Path) -> None:
    made = forge(tmp_path, NOT_ASCII)
    upstream = UpstreamContext(UpstreamTls(pins=(digest(made),)), host=HOST)
    assert await meet(upstream, server_context(made)) == Met()


async def test_p32_names_that_are_not_ascii_stay_out_of_the_words(tmp_path: Path) -> None:
    made = forge(tmp_path, NOT_ASCII)
    found = await why(UpstreamTls(ca=made.ca_file), server_context(made))
    assert found.code == "wrong-name"


@BOTH
async def test_p32_a_pin_beside_an_authority_does_not_replace_it(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = forge(tmp_path, [HOST], days=EXPIRED)
    settings = UpstreamTls(ca=made.ca_file, pins=(digest(made),))
    assert (await why(settings, server_context(made, version))).code == "expired"


@BOTH
async def test_p32_the_servers_own_certificate_as_trusted_still_needs_name_and_dates(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = forge(tmp_path, [HOST])
    own = UpstreamTls(ca=made.chain_file)
    server = server_context(made, version)
    assert await meet(UpstreamContext(own, host=HOST), server) == Met()
    assert (await why(own, server, "other.test")).code == "wrong-name"
    (tmp_path / "old").mkdir()
    old = forge(tmp_path / "old", [HOST], days=EXPIRED)
    found = await why(UpstreamTls(ca=old.chain_file), server_context(old, version))
    assert found.code == "expired"


@BOTH
@pytest.mark.parametrize("asked", ["n1.test", "", None])
async def test_p32_a_name_far_back_in_the_certificate_counts_whatever_was_asked_for(
    tmp_path: Path, version: ssl.TLSVersion, asked: str | None
) -> None:
    made = forge(tmp_path, [f"n{number}.test" for number in range(100)])
    settings = UpstreamTls(ca=made.ca_file, server_name="n70.test", sni=asked)
    server = server_context(made, version)
    assert await meet(UpstreamContext(settings, host=HOST), server) == Met()


@pytest.mark.parametrize("asked", ["asked.test", "", None])
@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (HOST, "Pop.Example.Test"),
        (HOST, f"{HOST}."),
        ("xn--pp-fka.test", "p\xf6p.test"),
        ("2001:db8::1", "2001:DB8:0::1"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
async def test_p32_one_name_may_be_written_in_several_ways(
    tmp_path: Path, held: str, wanted: str, asked: str | None
) -> None:
    made = issue(tmp_path, held)
    settings = UpstreamTls(ca=made.ca_file, sni=asked)
    assert await meet(UpstreamContext(settings, host=wanted), server_context(made)) == Met()


# What is said of those that are not


@BOTH
@pytest.mark.parametrize(
    ("names", "days", "trusted", "code", "alert"),
    [
        ([HOST], VALID, False, "unknown-issuer", "unknown CA (48)"),
        ([HOST], EXPIRED, True, "expired", "certificate expired (45)"),
        ([HOST], FUTURE, True, "not-yet-valid", "bad certificate (42)"),
        (["other.test"], VALID, True, "wrong-name", "(4"),
    ],
)
async def test_p41_the_server_is_told_by_an_alert(
    tmp_path: Path,
    version: ssl.TLSVersion,
    names: list[str],
    days: Days,
    trusted: bool,
    code: str,
    alert: str,
) -> None:
    made = forge(tmp_path, names, days=days)
    settings = UpstreamTls(ca=made.ca_file if trusted else None)
    met = await meet(UpstreamContext(settings, host=HOST), server_context(made, version))
    assert met.ours is not None
    assert met.ours.code == code
    assert not met.ours.temporary
    assert f"--pin sha256:{digest(made)}" in met.ours.remedy
    assert met.theirs is not None
    assert met.theirs.alert is not None
    assert alert in met.theirs.alert


@BOTH
async def test_p32_it_may_be_the_issuers_certificate_that_expired(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = forge(tmp_path, [HOST], issuer_days=EXPIRED)
    found = await why(UpstreamTls(ca=made.ca_file), server_context(made, version))
    assert (found.code, found.cause) == ("expired", "an issuer's certificate expired")


async def test_p32_of_several_pins_one_is_named_and_the_others_counted(tmp_path: Path) -> None:
    made = forge(tmp_path, [HOST])
    pins = tuple(f"sha256:{each * 32}" for each in ("0b", "0a", "0c"))
    found = await why(UpstreamTls(pins=pins), server_context(made))
    assert found.code == "pin-mismatch"
    assert f"sha256:{digest(made)}" in found.cause
    assert f"{pins[1]} (or 2 more)" in found.cause
    assert f"--pin sha256:{digest(made)}" in found.remedy


LONG = ".".join([*["n" * 60] * 3, "n" * 50, "test"])


@BOTH
@pytest.mark.parametrize(
    "names", [[LONG], [LONG] * 9, ["a.test", LONG], [f"{n}{LONG[1:]}" for n in "abcdef"], []]
)
@pytest.mark.parametrize("host", [HOST, f"w{LONG[1:]}.example"])
async def test_p32_both_names_are_said_however_long_they_are(
    tmp_path: Path, version: ssl.TLSVersion, names: list[str], host: str
) -> None:
    made = forge(tmp_path, names)
    found = await why(UpstreamTls(ca=made.ca_file, sni=""), server_context(made, version), host)
    assert found.code == "wrong-name"
    held, _, wanted = found.cause.partition(", not for ")
    assert wanted.removeprefix("...") in host
    assert wanted.endswith(host[-40:])
    assert held.removesuffix(", ...").endswith("test" if names else "for no name")


async def test_p32_an_international_name_is_said_in_ascii(tmp_path: Path) -> None:
    made = forge(tmp_path, ["other.test"])
    found = await why(UpstreamTls(ca=made.ca_file), server_context(made), "p\xf6p.test")
    assert found.cause.endswith("for other.test, not for xn--pp-fka.test")


TOLD = Told(
    sha256="ab" * 32,
    names=("other.test",),
    issuer="",
    self_signed=False,
    not_before=datetime.now(UTC),
    not_after=datetime.now(UTC) + timedelta(1),
)


@pytest.mark.parametrize("name", ["p\xf6p.test", "\r\n+OK", "\u202e", "x" * 1000, ""])
def test_p32_whatever_the_name_the_words_are_harmless(name: str) -> None:
    assert harmless(wrong_name(TOLD, name).cause)
    assert harmless(wrong_name(replace(TOLD, names=()), name).cause)


def test_p32_a_thousand_pins_leave_the_words_short() -> None:
    found = wrong_pin(TOLD, [f"{number:064x}" for number in range(1000)])
    assert harmless(found.cause)
    assert "(or 999 more)" in found.cause


@BOTH
@pytest.mark.parametrize("issuer", ["evil\r\n+OK\x1b[31m", "\u202e\x85" + "e" * 58, ""])
@pytest.mark.parametrize("trusted", [False, True])
async def test_p32_hostile_texts_of_a_certificate_stay_out_of_the_words(
    tmp_path: Path, version: ssl.TLSVersion, issuer: str, trusted: bool
) -> None:
    made = forge(tmp_path, ["a\r\n-ERR.test", "\x1b[31m.test", "other.test"], issuer=issuer)
    settings = UpstreamTls(ca=made.ca_file if trusted else None)
    found = await why(settings, server_context(made, version))
    assert found.code == ("wrong-name" if trusted else "unknown-issuer")
    assert "ERR" not in found.cause  # that the rest is harmless, `meet` looks at


@BOTH
async def test_p32_ten_thousand_names_leave_the_words_and_the_facts_short(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = forge(tmp_path, [f"n{number}" for number in range(10_000)])
    found = await why(UpstreamTls(ca=made.ca_file), server_context(made, version))
    assert found.code == "wrong-name"
    assert "for n0, n1, n2, n3, n4, ..., not for" in found.cause
    upstream = UpstreamContext(UpstreamTls(insecure=True), host=HOST)
    with facing(upstream, server_context(made, version)) as (ours, theirs):
        shake(theirs, ours)
        assert facts(ours, "upstream").certificate_names == [f"n{number}" for number in range(20)]


# Alerts


@BOTH
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (40, "no-shared-cipher"),
        (42, "client-certificate-wanted"),
        (48, "client-certificate-wanted"),
        (49, "alert"),
        (70, "protocol-version"),
        (71, "no-shared-cipher"),
        (80, "alert"),
        (112, "unknown-server-name"),
        (120, "alert"),
    ],
)
async def test_p38_each_alert_of_a_server_is_told_with_its_number(
    tmp_path: Path, version: ssl.TLSVersion, number: int, code: str
) -> None:
    made = forge(tmp_path, [HOST])
    server = server_context(made, version)
    server.sni_callback = lambda *_: number
    found = await why(UpstreamTls(ca=made.ca_file), server)
    assert found.code == code
    assert found.alert is not None
    assert f"({number})" in found.alert
    assert found.alert_from == "server"
    if code != "alert":
        assert "--" in found.remedy


@BOTH
async def test_p38_a_server_that_wants_a_certificate_is_told_from_one_that_refuses_ours(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    for name in ("server", "stranger"):
        (tmp_path / name).mkdir()
    made, stranger = (
        forge(tmp_path / name, [HOST], issuer=name) for name in ("server", "stranger")
    )
    server = server_context(made, version)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(made.ca_file)
    bare = UpstreamTls(ca=made.ca_file)
    assert "--client-certificate" in (await why(bare, server)).remedy
    shown = replace(bare, certificate=stranger.chain_file, key=stranger.key_file)
    found = await why(shown, server)
    assert found.code == "client-certificate-wanted"
    assert "does not accept our client certificate" in found.cause
    assert found.alert == "unknown CA (48)"


@BOTH
async def test_p38_a_client_that_distrusts_the_authority_is_named(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    listener = ListenerContext(
        ListenerTls(authority=tmp_path / "authority"), default_names=["localhost"]
    )
    stranger = forge(tmp_path, [HOST])
    distrusting = client_context(stranger.ca_file, version)
    with connected(listener, distrusting, "localhost") as (server, client):
        assert await _both_ends(server, client) == "client-distrusts-ca"


async def _both_ends(server: ssl.SSLSocket, client: ssl.SSLSocket) -> str:
    """Let a client refuse us; see what is told of that, and give its code."""

    async def refuse() -> None:
        with pytest.raises(TlsFailure):
            await handshake(client, leg="upstream")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with trio.fail_after(30):
            found = await _refused(server)
    assert found.alert == "unknown CA (48)"
    assert found.alert_from == "client"
    assert found.cause.endswith("unknown CA (48)")
    assert "popproxy help trust" in found.remedy
    assert not found.temporary
    return found.code


async def _refused(server: ssl.SSLSocket) -> TlsFailure:
    """Give what is told of a client that ends TLS in its handshake, or right behind it."""
    try:
        await handshake(server, leg="client")
    except TlsFailure as failed:
        return failed
    await trio.lowlevel.wait_readable(server)
    with pytest.raises(ssl.SSLError) as caught:
        server.recv(1)
    return explain(caught.value, server, leg="client")


# Versions and ciphers


async def test_p39_a_server_without_a_version_that_is_allowed(tmp_path: Path) -> None:
    made = forge(tmp_path, [HOST])
    settings = UpstreamTls(ca=made.ca_file, minimum="1.3")
    found = await why(settings, server_context(made, TLS12))
    assert found.code == "protocol-version"
    assert "--upstream-tls-minimum" in found.remedy
    newer = UpstreamContext(settings, host=HOST)
    assert await meet(newer, server_context(made, TLS13)) == Met()


async def test_p39_a_client_without_a_version_that_is_allowed(tmp_path: Path) -> None:
    settings = ListenerTls(authority=tmp_path / "authority", minimum="1.3")
    listener = ListenerContext(settings, default_names=["localhost"])
    with connected(listener, client_context(None, TLS12), None) as (server, client):
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        with pytest.raises(TlsFailure) as caught:
            await handshake(server, leg="client")
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):  # our alert (P41)
            client.do_handshake()
    assert caught.value.code == "protocol-version"
    assert "--client-tls-minimum" in caught.value.remedy


async def test_p39_a_server_without_a_cipher_in_common(tmp_path: Path) -> None:
    made = forge(tmp_path, [HOST])
    server = server_context(made, TLS12)
    server.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    upstream = UpstreamContext(UpstreamTls(ca=made.ca_file), host=HOST)
    with facing(upstream, server) as (ours, _):
        ours.context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")  # that of all its connections
    met = await meet(upstream, server)
    assert met.ours is not None
    assert met.ours.code == "no-shared-cipher"
    assert met.ours.alert == "handshake failure (40)"
    assert met.theirs is not None
    assert met.theirs.code == "no-shared-cipher"
    assert "--client-tls-minimum" in met.theirs.remedy


# Peers that go, and peers that do not speak TLS


def _close(far: socket.socket) -> None:
    far.close()


def _reset(far: socket.socket) -> None:
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


async def spoiled(folder: Path, leg: LegName, spoil: Spoil) -> TlsFailure:
    """Begin a handshake with a peer on TCP that does something else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far = socket.create_connection(listening.getsockname())
        near, _ = listening.accept()
    with near, far:
        near.setblocking(False)
        if leg == "client":
            settings = ListenerTls(authority=folder / "authority")
            tls: ssl.SSLSocket = ListenerContext(settings, default_names=["localhost"]).wrap(near)
        else:
            tls = UpstreamContext(UpstreamTls(), host=HOST).wrap(near)
        found: list[TlsFailure] = []

        async def begin() -> None:
            with pytest.raises(TlsFailure) as caught:
                await handshake(tls, leg=leg, name=HOST)
            found.append(caught.value)

        with tls, trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(begin)
                await trio.testing.wait_all_tasks_blocked()
                spoil(far)
    assert harmless(found[0].cause)
    return found[0]


LEGS = pytest.mark.parametrize("leg", ["client", "upstream"])


@LEGS
@pytest.mark.parametrize(("spoil", "word"), [(_close, "closed"), (_reset, "reset")])
async def test_p38_a_peer_that_goes_within_the_handshake(
    tmp_path: Path, leg: LegName, spoil: Spoil, word: str
) -> None:
    if leg == "upstream" and spoil is _close:
        # What lies unread would make a reset of it.
        def read_and_close(far: socket.socket) -> None:
            far.recv(1 << 16)
            far.close()

        spoil = read_and_close
    found = await spoiled(tmp_path, leg, spoil)
    assert found.code == "closed"
    assert word in found.cause
    assert found.temporary is (leg == "upstream")
    assert ("popproxy help trust" in found.remedy) is (leg == "client")


@LEGS
@pytest.mark.parametrize(
    "said",
    [
        b"+OK POP3 server ready <1896.697170952@example.test>\r\n",
        b"CAPA\r\nUSER a\r\nPASS b\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x00" * 64,
        b"\xff" * 64,
    ],
)
async def test_a_peer_that_speaks_something_else_is_no_peer_of_tls(
    tmp_path: Path, leg: LegName, said: bytes
) -> None:
    found = await spoiled(tmp_path, leg, lambda far: far.sendall(said))
    assert found.code == "not-tls"
    assert "pop3://" in found.remedy


@LEGS
@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EBADF])
def test_the_systems_own_errors_are_said_in_its_words(leg: LegName, number: int) -> None:
    near, far = socket.socketpair()
    with near, far, UpstreamContext(UpstreamTls(), host=HOST).wrap(near) as tls:
        found = explain(OSError(number, os.strerror(number)), tls, leg=leg)
    assert found.code == "closed"
    assert os.strerror(number).lower() in found.cause
    assert found.temporary


def test_a_cause_is_never_too_long_for_a_line() -> None:
    failed = TlsFailure("x", "y" * 1000)
    assert len(failed.cause) == len(str(failed)) == CAUSE


@BOTH
async def test_a_peer_that_falls_silent_can_be_left(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = forge(tmp_path, [HOST])
    upstream = UpstreamContext(UpstreamTls(ca=made.ca_file), host=HOST)
    with facing(upstream, server_context(made, version)) as (ours, theirs):
        with trio.move_on_after(0.01) as scope:
            await handshake(ours, leg="upstream", name=HOST)
        assert scope.cancelled_caught
        shake(theirs, ours)  # nothing is lost: it would have gone on
        upstream.verify(ours)


# What a session is kept for


@BOTH
async def test_p32_a_session_goes_to_no_route_with_other_settings(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = forge(tmp_path, [HOST])
    server = server_context(made, version)
    lax = UpstreamContext(UpstreamTls(insecure=True), host=HOST)
    for resumed in (False, True, True):
        with facing(lax, server) as (ours, theirs):
            shake(theirs, ours)
            lax.verify(ours)
            told = facts(ours, "upstream")
            lax.remember(ours)
            close(theirs, ours)
        assert told.resumed is resumed
        assert told.certificate_sha256 == digest(made)
    strict = UpstreamTls()
    assert (await why(strict, server)).code == "unknown-issuer"
    pinned = UpstreamTls(pins=("00" * 32,))
    assert (await why(pinned, server)).code == "pin-mismatch"
