"""The server is told who the client is: by a PROXY header, or by Dovecot's XCLIENT (P28)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from popproxy.records import CommandRecord, FindingRecord, RewriteRecord
from popproxy.relay.legs import SocketLeg
from popproxy.relay.proxy_header import write_header
from popproxy.relay.rules import Manner
from tests.relay.test_proxy_from import BALANCER, FROM, V1, WHERE, WHO, end
from tests.support.guide import GUIDE
from tests.support.loopback import leg_to, read_exactly, serving
from tests.support.relaying import KeepingHub, read_all, relayed
from tests.support.tls_peers import tls_serving

GREETING = b"+OK [XCLIENT] ready\r\n"
XCLIENT = b"XCLIENT ADDR=127.0.0.1 PORT=40000 SESSION=20111029t223746-aaa0001\r\n"
TOLD = Manner(listen="pop3", upstream="pop3", mode="pass", announce="xclient")


@pytest.mark.parametrize("how", ["v1", "v2"])
@pytest.mark.parametrize("behind", [True, False])
async def test_p28_the_server_is_told_first_of_all(how: Any, behind: bool) -> None:
    async with serving(proxy_from=FROM, proxy_to=how) as server:
        client = server.connect(BALANCER if behind else "127.0.0.1")
        if behind:
            await client.write(V1)
        upstream = await server.accept()
        await upstream.write(b"+OK ready\r\n")
        assert await client.read() == b"+OK ready\r\n"
        start = server.hub.start
        port = start.client.port
        meant = (WHO, WHERE) if behind else (("127.0.0.1", port), server.listeners[0].address)
        header = write_header(how, *meant)
        assert await read_exactly(upstream, len(header)) == header
        await client.write(b"QUIT\r\n")
        assert await upstream.read() == b"QUIT\r\n"
        end(client, upstream)
        await server.ended(1)
    assert start.rewrites[0] == "proxy-header-added"
    [record] = server.hub.of(RewriteRecord)
    assert record.session.seq == 2
    assert (record.side, record.rewrite.rule) == ("client", "proxy-header-added")
    assert record.rewrite.was is None
    if how == "v1":
        assert record.rewrite.now == header.decode()


async def test_a_wildcard_s_clients_reached_one_address() -> None:
    everybody = (ip_network("127.0.0.0/8"),)
    async with serving(listen="pop3://0.0.0.0:0", allow=everybody, proxy_to="v1") as server:
        client = leg_to(("127.0.0.3", server.listeners[0].address[1]), "127.0.0.4")
        upstream = await server.accept()
        assert (await upstream.read()).startswith(b"PROXY TCP4 127.0.0.4 127.0.0.3 ")
        end(client, upstream)
        await server.ended(1)
    assert server.hub.start.listener.address == "127.0.0.3"


async def test_the_server_is_told_before_tls(tmp_path: Path) -> None:
    async with tls_serving(tmp_path, "pop3", "pop3s", proxy_to="v1") as peers:
        client = peers.relay.connect()
        upstream = await _behind_the_header(await peers.relay.accept())
        secure = await peers.secure_server(upstream)
        await secure.write(b"+OK ready\r\n")
        assert await client.read() == b"+OK ready\r\n"
        end(client, secure)
        await peers.relay.ended(1)
    actions = peers.relay.hub.actions
    assert actions[:4] == ["session.start", "rewrite", "tls.start", "pop3.greeting"]


async def _behind_the_header(upstream: SocketLeg) -> SocketLeg:
    """Read a v1 header, and not an octet more: TLS may be right behind it."""
    connected, line = upstream.take(), b""
    while not line.endswith(b"\n"):
        await trio.lowlevel.wait_readable(connected)
        line += connected.recv(1)
    assert line.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
    return SocketLeg(connected)


def rewrites(hub: KeepingHub) -> list[tuple[str, str, str | None, str | None]]:
    return [
        (record.side, record.rewrite.rule, record.rewrite.was, record.rewrite.now)
        for record in hub.of(RewriteRecord)
    ]


async def test_p28_xclient_is_between_popproxy_and_the_server() -> None:
    async with relayed(manner=TOLD) as session:
        await session.client.write(b"USER bo\r\nPASS secret\r\n")  # before it was greeted
        await session.server.write(GREETING)
        assert await session.server.read() == XCLIENT
        await trio.testing.wait_all_tasks_blocked()
        assert session.client.peek() is None
        assert session.server.peek() is None
        await session.server.write(b"+OK Updated\r\n")
        assert await session.client.read() == GREETING
        assert await session.server.read() == b"USER bo\r\nPASS secret\r\n"
        assert await session.reply(b"+OK\r\n+OK in\r\n") == b"+OK\r\n+OK in\r\n"
        assert await session.forward(b"QUIT\r\n") == b"QUIT\r\n"
        assert await session.reply(b"+OK bye\r\n") == b"+OK bye\r\n"
        session.server.close()
        session.client.close()
        await session.ended.wait()
    hub = session.hub
    assert hub.start.rewrites == ["xclient-added"]
    assert hub.actions[:4] == ["session.start", "rewrite", "rewrite", "pop3.greeting"]
    assert rewrites(hub) == [
        ("client", "xclient-added", None, XCLIENT.decode()),
        ("server", "xclient-added", "+OK Updated\r\n", None),
    ]
    assert [record.pop3.command for record in hub.of(CommandRecord)] == ["USER", "PASS", "QUIT"]
    assert hub.end.summary.unmatched_responses == 0
    assert hub.end.summary.unanswered_commands == 0


async def test_a_server_that_refuses_xclient_serves_on_and_that_is_found() -> None:
    with capture_logs() as logs:
        async with relayed(manner=TOLD) as session:
            await session.server.write(GREETING)
            assert await session.server.read() == XCLIENT
            await session.server.write(b"-ERR You are not trusted\r\n")
            assert await session.client.read() == GREETING
            assert await session.forward(b"CAPA\r\n") == b"CAPA\r\n"
    finding, *_ = session.hub.of(FindingRecord)
    assert (finding.finding.code, finding.finding.where) == ("xclient-refused", "upstream leg")
    assert rewrites(session.hub)[1] == (
        "server",
        "xclient-added",
        "-ERR You are not trusted\r\n",
        None,
    )
    assert [log["event"] for log in logs] == ["xclient-refused"]
    assert "login_trusted_networks" in logs[0]["remedy"]


async def test_a_server_that_refuses_the_session_is_told_nothing() -> None:
    async with relayed(manner=TOLD) as session:
        assert await session.reply(b"-ERR go away\r\n") == b"-ERR go away\r\n"
        session.server.close()
        assert await session.client.read() == b""
    assert rewrites(session.hub) == []
    assert session.hub.start.rewrites == ["xclient-added"]


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ([], "the server did not answer XCLIENT within 10 seconds"),
        ([b"+OK ha"], "the server did not answer XCLIENT within 10 seconds"),
        ([GREETING], "the server did not answer XCLIENT within 10 seconds"),
        ([GREETING, b"+OK"], "the server did not answer XCLIENT within 10 seconds"),
        ([GREETING + b"+OK\r\n"], "the server did not answer as POP3 servers do to XCLIENT"),
        ([GREETING, b"+OK\r\n+OK\r\n"], "the server did not answer as POP3 servers do to XCLIENT"),
        ([b"+OK" + b"x" * 9000], "the server did not answer as POP3 servers do to XCLIENT"),
        ([GREETING, b""], "the server closed before XCLIENT"),
    ],
)
async def test_p60_a_server_that_fails_over_xclient_is_named(
    said: list[bytes], cause: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with relayed(manner=TOLD) as session:
        for part in said:
            if part:
                await session.server.write(part)
            else:
                session.server.half_close()
            await trio.testing.wait_all_tasks_blocked()
        line = f"-ERR [SYS/TEMP] popproxy: {cause}\r\n".encode()
        assert await read_all(session.client) == line
        session.client.close()
        await session.ended.wait()
    assert session.hub.end.summary.reason == "xclient-failed"
    assert session.hub.end.summary.detail == cause


async def test_p60_a_connection_that_breaks_over_xclient_is_named() -> None:
    async with relayed(manner=TOLD) as session:
        await session.server.write(GREETING)
        assert await session.server.read() == XCLIENT
        session.server.abort()
        assert (await read_all(session.client)).startswith(b"-ERR [SYS/TEMP] popproxy: the conn")
        session.client.close()
        await session.ended.wait()
    assert session.hub.end.summary.reason == "xclient-failed"


@pytest.mark.parametrize("speak", ["pop3s", "pop3+stls"])
async def test_xclient_is_sent_under_tls_that_begins_first(tmp_path: Path, speak: str) -> None:
    async with tls_serving(tmp_path, "pop3", speak, proxy_to="xclient") as peers:
        client = peers.relay.connect()
        upstream = await peers.relay.accept()
        if speak == "pop3+stls":
            await upstream.write(GREETING)
            assert await upstream.read() == b"STLS\r\n"
            await upstream.write(b"+OK\r\n")
        secure = await peers.secure_server(upstream)
        if speak == "pop3s":
            await secure.write(GREETING)
        assert (await secure.read()).startswith(b"XCLIENT ADDR=127.0.0.1 PORT=")
        await secure.write(b"+OK\r\n")
        assert await client.read() == GREETING
        end(client, secure)
        await peers.relay.ended(1)
    actions = peers.relay.hub.actions
    assert actions[:5] == ["session.start", "tls.start", "rewrite", "rewrite", "pop3.greeting"]


@pytest.mark.parametrize("mode", ["pass", "intercept"])
@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ("v1", "proxy-header-added"),
        ("v2", "proxy-header-added"),
        ("xclient", "xclient-added"),
    ],
)
def test_p28_every_way_of_telling_has_a_rule_that_is_named(how: Any, rule: str, mode: Any) -> None:
    plain = Manner(listen="pop3", upstream="pop3", mode=mode)
    assert replace(plain, announce=how).names() == [rule, *plain.names()]


def test_p28_the_guide_names_the_rules() -> None:
    page = (GUIDE / "deploying.md").read_text("utf-8")
    assert "`proxy-header-added`" in page
    assert "`xclient-added`" in page
