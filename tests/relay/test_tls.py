"""TLS on a session's legs, with real sockets and OpenSSL at both ends (P29-P31, P38, P41)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trio

from popproxy.privacy import Policy
from popproxy.records import (
    FindingRecord,
    RewriteRecord,
    TlsEnd,
    TlsFailed,
    TlsStart,
)
from popproxy.relay import Timeouts
from popproxy.relay.legs import SocketLeg
from popproxy.relay.tls_leg import TlsLeg
from popproxy.tls.failures import TlsFailure
from tests.support.loopback import read_until_end
from tests.support.relaying import KeepingHub
from tests.support.tls_peers import Peers, refused, tls_serving

BOTH = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
CAPA = b"+OK\r\nTOP\r\nSTLS\r\nSASL PLAIN SCRAM-SHA-1-PLUS\r\n.\r\n"


async def forward(client: SocketLeg, server: SocketLeg, data: bytes) -> None:
    await client.write(data)
    assert await server.read() == data


async def reply(client: SocketLeg, server: SocketLeg, data: bytes, shown: bytes = b"") -> None:
    await server.write(data)
    assert await client.read() == (shown or data)


async def upgraded(peers: Peers) -> tuple[TlsLeg, TlsLeg]:
    """Begin a session in the clear, and have both legs put under TLS by STLS."""
    client, server = await peers.relay.session()
    await forward(client, server, b"STLS\r\n")
    await server.write(b"+OK go on\r\n")
    secure_server = await peers.secure_server(server)
    assert await client.read() == b"+OK go on\r\n"
    return await peers.secure_client(client), secure_server


def close(*legs: SocketLeg) -> None:
    for leg in legs:
        leg.close()


def codes(hub: KeepingHub) -> list[str]:
    return [record.finding.code for record in hub.of(FindingRecord)]


def started(hub: KeepingHub) -> list[str]:
    return [record.tls.leg for record in hub.of(TlsStart)]


def rules(hub: KeepingHub) -> list[str]:
    return [record.rewrite.rule for record in hub.of(RewriteRecord)]


@BOTH
async def test_stls_puts_both_legs_under_tls(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3", version=version) as peers:
        client, server = await upgraded(peers)
        await forward(client, server, b"CAPA\r\n")
        await reply(client, server, CAPA, b"+OK\r\nTOP\r\nSTLS\r\nSASL PLAIN\r\n.\r\n")
        await forward(client, server, b"USER bo\r\n")
        await reply(client, server, b"+OK\r\n")
        close(client)
        assert await server.read() == b""
        assert not server.truncated  # popproxy says close_notify (P41)
        close(server)
        await peers.relay.ended(1)
    hub = peers.relay.hub
    assert started(hub) == ["upstream", "client"]
    for record in hub.of(TlsStart):
        assert record.tls.version == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
        assert record.tls.cipher
    for record in hub.of(TlsStart):
        assert "127.0.0.1" in record.tls.certificate_names
        assert record.tls.certificate_sha256
        assert record.tls.issuer
    assert rules(hub) == ["channel-binding-removed"]
    assert hub.end.summary.reason == "client-closed"
    assert [record.tls.truncated for record in hub.of(TlsEnd)] == [False, False]


@BOTH
@pytest.mark.parametrize("listen", ["pop3s", "pop3+stls", "pop3"])
async def test_a_large_message_passes_under_tls_unchanged(
    tmp_path: Path, version: ssl.TLSVersion, listen: str
) -> None:
    message = b"+OK\r\n" + bytes(range(256)).replace(b"\n", b"") * 8_000 + b"\r\n.\r\n"
    async with tls_serving(tmp_path, listen, "pop3s", version=version) as peers:
        client, server = await opened(peers, listen)
        await forward(client, server, b"RETR 1\r\n")
        got = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.write, message)
            while len(got) < len(message):
                got += await client.read()
        assert got == message
        close(client, server)
        await peers.relay.ended(1)


async def opened(peers: Peers, listen: str) -> tuple[SocketLeg, TlsLeg]:
    """Begin a session with a server of TLS, the client's leg put under TLS as its port wants it."""
    client: SocketLeg = peers.relay.connect()
    if listen == "pop3s":
        client = await peers.secure_client(client)
    server = await peers.secure_server(await peers.relay.accept())
    await reply(client, server, b"+OK ready\r\n")
    if listen == "pop3+stls":
        await client.write(b"STLS\r\n")
        assert (await client.read()).startswith(b"+OK ")
        client = await peers.secure_client(client)
    return client, server


@pytest.mark.parametrize("listen", ["pop3s", "pop3+stls", "pop3"])
async def test_a_half_close_under_tls_lets_the_reply_through(tmp_path: Path, listen: str) -> None:
    async with tls_serving(tmp_path, listen, "pop3s") as peers:
        client, server = await opened(peers, listen)
        await forward(client, server, b"NOOP\r\n")
        await reply(client, server, b"-ERR\r\n")  # and session tickets before it
        await forward(client, server, b"QUIT\r\n")
        client.half_close()
        assert await server.read() == b""
        await reply(client, server, b"+OK bye\r\n")
        close(server)
        assert await client.read() == b""
        close(client)
        await peers.relay.ended(1)
    assert peers.relay.hub.end.summary.reason == "client-closed"


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("apart", [False, True])
async def test_p29_commands_behind_stls_end_the_session(
    tmp_path: Path, own: bool, apart: bool
) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3s" if own else "pop3") as peers:
        if own:
            client, server = await opened(peers, "pop3")
        else:
            client, server = await peers.relay.session()  # type: ignore[assignment]
        injected = b"USER eve\r\n"
        if not own:
            await client.write(b"STLS\r\n")
            assert await server.read() == b"STLS\r\n"
            await client.write(injected)
            assert await server.read() == injected
            await server.write(b"+OK go on\r\n")
        elif apart:
            # An answer is still due, so that STLS has to wait for its turn.
            await forward(client, server, b"CAPA\r\n")
            await client.write(b"STLS\r\n")
            await client.write(injected)
            await server.write(b"-ERR\r\n")
            assert await client.read() == b"-ERR\r\n"
        else:
            await client.write(b"STLS\r\n" + injected)
        await peers.relay.ended(1)
        close(client, server)
    hub = peers.relay.hub
    assert hub.end.summary.reason == "injected-behind-stls"
    assert "injected-behind-stls" in codes(hub)
    assert "client" not in started(hub)


async def test_p29_responses_behind_the_ok_end_the_session(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3") as peers:
        client, server = await peers.relay.session()
        await forward(client, server, b"STLS\r\n")
        await server.write(b"+OK go on\r\n+OK injected\r\n")
        assert await read_until_end(client) == b""
        close(client, server)
        await peers.relay.ended(1)
    hub = peers.relay.hub
    assert hub.end.summary.reason == "injected-behind-stls"
    assert "injected-behind-stls" in codes(hub)
    assert started(hub) == []


async def test_p30_a_refused_stls_leaves_the_session_in_the_clear(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3") as peers:
        client, server = await peers.relay.session()
        await forward(client, server, b"STLS\r\n")
        await reply(client, server, b"-ERR no\r\n")
        await forward(client, server, b"USER bo\r\n")
        await reply(client, server, b"+OK\r\n")
        await forward(client, server, b"PASS correct horse\r\n")
        close(client, server)
        await peers.relay.ended(1)
    assert "stls-refused" in codes(peers.relay.hub)
    assert "correct horse" not in str(peers.relay.hub.records)


@pytest.mark.parametrize("own", [False, True])
async def test_p30_ok_without_a_handshake_is_a_downgrade(tmp_path: Path, own: bool) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3s" if own else "pop3") as peers:
        if own:
            client, server = await opened(peers, "pop3")
            await client.write(b"STLS\r\n")
        else:
            client, plain = await peers.relay.session()
            await forward(client, plain, b"STLS\r\n")
            await plain.write(b"+OK go on\r\n")
            server = await peers.secure_server(plain)
        assert (await client.read()).startswith(b"+OK ")
        await forward(client, server, b"USER bo\r\n")
        await reply(client, server, b"+OK\r\n")
        close(client, server)
        await peers.relay.ended(1)
    assert "stls-without-handshake" in codes(peers.relay.hub)
    assert started(peers.relay.hub) == ["upstream"]


@pytest.mark.parametrize("after_stls", [False, True])
async def test_p30_a_required_stls_ends_the_session_before_user(
    tmp_path: Path, after_stls: bool
) -> None:
    async with tls_serving(tmp_path, "pop3+stls", "pop3") as peers:
        client, server = await peers.relay.session()
        if after_stls:
            await client.write(b"STLS\r\n")
            assert (await client.read()).startswith(b"+OK ")
        await client.write(b"USER bo\r\n")
        assert (await read_until_end(client)).startswith(b"-ERR [SYS/PERM] popproxy: ")
        close(client)
        assert await read_until_end(server) == b""
        close(server)
        await peers.relay.ended(1)
    assert peers.relay.hub.end.summary.reason == "stls-required"


async def test_p31_stls_under_tls_is_refused_if_the_server_is_in_the_clear(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3s", "pop3") as peers:
        plain = peers.relay.connect()
        client = await peers.secure_client(plain)
        server = await peers.relay.accept()
        await reply(client, server, b"+OK ready\r\n")
        await client.write(b"STLS\r\nNOOP\r\n")
        assert (await client.read()).startswith(b"-ERR ")
        assert await server.read() == b"NOOP\r\n"
        await reply(client, server, b"+OK\r\n")
        await forward(client, server, b"CAPA\r\n")
        await reply(client, server, CAPA, b"+OK\r\nTOP\r\nSASL PLAIN\r\n.\r\n")
        close(client, server)
        await peers.relay.ended(1)
    hub = peers.relay.hub
    assert {"stls-in-tls", "stls-refused"} <= set(codes(hub))
    assert hub.start.rewrites == ["stls-removed", "stls-refused", "channel-binding-removed"]
    assert rules(hub) == [
        *("stls-refused", "stls-refused", "stls-removed", "channel-binding-removed")
    ]


async def test_p31_stls_under_tls_is_forwarded_to_a_server_under_tls(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3s", "pop3s") as peers:
        client, server = await opened(peers, "pop3s")
        await forward(client, server, b"STLS\r\n")
        await reply(client, server, b"+OK again\r\n")
        await forward(client, server, b"NOOP\r\n")
        await reply(client, server, b"+OK\r\n")
        close(client, server)
        await peers.relay.ended(1)
    assert "stls-in-tls" in codes(peers.relay.hub)


async def test_p31_stls_twice_after_login_and_inside_sasl(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3s") as peers:
        client, server = await opened(peers, "pop3")
        await forward(client, server, b"AUTH PLAIN\r\n")
        await reply(client, server, b"+ \r\n")
        await forward(client, server, b"STLS\r\n")  # a response of the exchange
        await reply(client, server, b"-ERR\r\n")
        for _ in range(2):
            await client.write(b"STLS\r\n")
            assert (await client.read()).startswith(b"+OK ")
            await forward(client, server, b"NOOP\r\n")
            await reply(client, server, b"-ERR\r\n")
        close(client, server)
        await peers.relay.ended(1)
    assert "stls-without-handshake" in codes(peers.relay.hub)


@pytest.mark.parametrize("speak", ["pop3s", "pop3+stls", "pop3"])
@pytest.mark.parametrize(
    ("options", "code"),
    [({"trusted": False}, "unknown-issuer"), ({"names": ("other.test",)}, "wrong-name")],
)
async def test_p32_a_server_that_proves_nothing_is_not_talked_to(
    tmp_path: Path, speak: str, options: dict[str, Any], code: str
) -> None:
    async with tls_serving(tmp_path, "pop3", speak, **options) as peers:
        client = peers.relay.connect()
        server = await peers.relay.accept()
        if speak == "pop3+stls":
            await server.write(b"+OK ready\r\n")
            assert await server.read() == b"STLS\r\n"
            await server.write(b"+OK\r\n")
        elif speak == "pop3":
            await server.write(b"+OK ready\r\n")
            await client.read()
            await forward(client, server, b"STLS\r\n")
            await server.write(b"+OK\r\n")
        failure = await refused(peers.secure_server(server))
        assert failure.alert_from == "client"  # P41: popproxy's alert has arrived
        said = await read_until_end(client)
        close(client)
        await peers.relay.ended(1)
    assert said.startswith(b"-ERR [SYS/PERM] popproxy: no TLS with the server: ")
    [record] = peers.relay.hub.of(TlsFailed)
    assert record.tls.code == code
    assert record.tls.remedy
    assert peers.relay.hub.end.summary.reason == "tls-failed"


async def test_p32_the_name_that_was_asked_for_is_told(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3s", server_name="wanted.test") as peers:
        client = peers.relay.connect()
        await refused(peers.secure_server(await peers.relay.accept()))
        assert b"not for wanted.test" in await read_until_end(client)
        close(client)
        await peers.relay.ended(1)


async def test_p28_with_a_required_log_changes_are_written_before_they_are_made(
    tmp_path: Path,
) -> None:
    class Slow(KeepingHub):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[list[str]] = []

        async def flushed(self, session_id: str | None = None) -> bool:
            self.seen.append(self.actions)
            return await super().flushed(session_id)

    hub = Slow()
    policy = Policy(body="full", require_log=True)
    async with tls_serving(tmp_path, "pop3", "pop3s", hub=hub, policy=policy) as peers:
        client, server = await opened(peers, "pop3")
        await forward(client, server, b"CAPA\r\n")
        await reply(client, server, CAPA, CAPA.replace(b" SCRAM-SHA-1-PLUS", b""))
        close(client, server)
        await peers.relay.ended(1)
    assert "rewrite" in hub.seen[-1]


async def test_a_server_that_refuses_stls_is_told_of(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3+stls") as peers:
        client = peers.relay.connect()
        server = await peers.relay.accept()
        await server.write(b"+OK ready\r\n")
        assert await server.read() == b"STLS\r\n"
        await server.write(b"-ERR never heard of\r\n")
        assert b"the server refused STLS" in await read_until_end(client)
        close(client, server)
        await peers.relay.ended(1)
    assert peers.relay.hub.of(TlsFailed)[0].tls.code == "stls-refused"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.0 400 "),
        (b"USER bo\r\n", b"-ERR [SYS/PERM] popproxy: this port expects TLS"),
        (b"", b"-ERR [SYS/PERM] popproxy: this port expects TLS"),
    ],
)
async def test_a_client_in_the_clear_on_a_port_with_tls_is_told(
    tmp_path: Path, said: bytes, answer: bytes
) -> None:
    timeouts = Timeouts(handshake=0.2)
    async with tls_serving(tmp_path, "pop3s", "pop3s", timeouts=timeouts) as peers:
        client = peers.relay.connect()
        if said:
            await client.write(said)
        assert (await read_until_end(client)).startswith(answer)
        close(client)
        await peers.relay.ended(1)
    [record] = peers.relay.hub.of(TlsFailed)
    assert record.tls.code == ("not-tls" if said else "timeout")
    assert record.tls.remedy


async def test_a_client_that_speaks_tls_on_a_port_in_the_clear_gets_an_alert(
    tmp_path: Path,
) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3s") as peers:
        client, server = await opened(peers, "pop3")
        with pytest.raises(TlsFailure) as refused:
            await peers.secure_client(client)
        assert refused.value.alert == "handshake failure (40)"
        close(server)
        await peers.relay.ended(1)
    assert "tls-on-plain-port" in codes(peers.relay.hub)
    assert peers.relay.hub.end.summary.reason == "tls-on-plain-port"


@BOTH
async def test_p38_a_client_that_distrusts_the_authority_is_named(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with tls_serving(tmp_path, "pop3s", "pop3", version=version) as peers:
        peers.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        peers.client.maximum_version = version
        leg = peers.relay.connect()
        with pytest.raises(TlsFailure, match="not trusted"):
            await peers.secure_client(leg)
        await peers.relay.ended(1)
    [record] = peers.relay.hub.of(TlsFailed)
    assert record.tls.code == "client-distrusts-ca"
    assert "popproxy help trust" in (record.tls.remedy or "")
    assert peers.relay.hub.end.summary.reason == "tls-failed"


@BOTH
async def test_p41_a_missing_close_notify_is_recorded_as_truncation(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with tls_serving(tmp_path, "pop3s", "pop3s", version=version) as peers:
        client, server = await opened(peers, "pop3s")
        await forward(client, server, b"NOOP\r\n")
        server.take().close()
        assert await client.read() == b""
        close(client)
        await peers.relay.ended(1)
    ends = {record.tls.leg: record.tls.truncated for record in peers.relay.hub.of(TlsEnd)}
    assert ends["upstream"] is True


async def test_a_silent_handshake_holds_up_nobody(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3s", "pop3s") as peers:
        silent = [peers.relay.connect() for _ in range(5)]
        for leg in silent:
            await leg.write(b"\x16\x03\x01")
        client, server = await opened(peers, "pop3s")
        await forward(client, server, b"NOOP\r\n")
        close(client, server, *silent)
        await peers.relay.ended(6)


@BOTH
async def test_sessions_are_resumed_on_both_legs(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with tls_serving(tmp_path, "pop3s", "pop3s", version=version) as peers:
        for number in (1, 2):
            client, server = await opened(peers, "pop3s")
            await forward(client, server, b"NOOP\r\n")
            await reply(client, server, b"-ERR\r\n")
            assert isinstance(client, TlsLeg)
            peers.session = client._tls.session
            close(client)
            assert await server.read() == b""
            close(server)
            await peers.relay.ended(number)
    resumed = [(record.tls.leg, record.tls.resumed) for record in peers.relay.hub.of(TlsStart)]
    assert resumed == [
        ("client", False),
        ("upstream", False),
        ("client", True),
        ("upstream", True),
    ]


async def test_hide_takes_stls_away(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3", stls="hide") as peers:
        client, server = await peers.relay.session()
        await forward(client, server, b"CAPA\r\n")
        await reply(client, server, CAPA, CAPA.replace(b"STLS\r\n", b""))
        await client.write(b"STLS\r\n")
        assert (await client.read()).startswith(b"-ERR ")
        await forward(client, server, b"USER bo\r\n")
        close(client, server)
        await peers.relay.ended(1)
    assert peers.relay.hub.start.rewrites == ["stls-removed", "stls-refused"]


async def test_pass_leaves_tls_to_client_and_server(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3", stls="pass") as peers:
        client, server = await peers.relay.session()
        await forward(client, server, b"STLS\r\n")
        await reply(client, server, b"+OK\r\n")
        peers.client.check_hostname = False
        peers.client.verify_mode = ssl.CERT_NONE
        legs: dict[str, TlsLeg] = {}

        async def secure() -> None:
            legs["server"] = await peers.secure_server(server)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(secure)
            legs["client"] = await peers.secure_client(client)
        await forward(legs["client"], legs["server"], b"PASS correct horse\r\n")
        close(*legs.values())
        await peers.relay.ended(1)
    assert [record.tls.passed_through for record in peers.relay.hub.of(TlsStart)] == [True]
    assert peers.relay.hub.start.rewrites == []
