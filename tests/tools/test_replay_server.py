"""A replay that listens: real sockets, TLS, limits, ends."""

from __future__ import annotations

import contextlib
import poplib
import socket
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio

from popproxy.peers.script import parse
from popproxy.relay import CannotListen, RouteError, Url, parse_url
from popproxy.relay.legs import LegLost
from popproxy.tls.settings import ListenerTls
from popproxy.tools.replay_pieces import Split
from popproxy.tools.replay_plan import Plan
from popproxy.tools.replay_planner import make_plan
from popproxy.tools.replay_server import Stage, serve
from popproxy.tools.replay_session import Manner
from tests.support.loopback import read_exactly, read_until_end
from tests.support.replaying import captured, replaying

ORDINARY = parse(
    "S: +OK ready\n"
    "C: USER ada\nS: +OK\nC: PASS {secret}\nS: +OK in\nC: STAT\nS: +OK 1 20\n"
    "C: RETR 1\nS: +OK\nS: Subject: {cut}a\nS+\nS: one\nS+ .{cut}.two\nS: .\n"
    "C: QUIT\nS: +OK bye\nS! eof\n"
)
SECRET = b"s3cr3t-of-ada"


def fetch(
    port: int, *, tls: bool = False, stls: bool = False, ca: Path | None = None
) -> list[bytes]:
    """Fetch message 1 as Python's own client does."""
    context = ssl.create_default_context(cafile=ca) if ca is not None else None
    session: poplib.POP3
    if tls:
        session = poplib.POP3_SSL("localhost", port, timeout=30, context=context)
    else:
        session = poplib.POP3("localhost", port, timeout=30)
    with contextlib.closing(session):
        if stls:
            session.stls(context)
        session.user("whoever")
        session.pass_("whatever")
        assert session.stat() == (1, 20)
        _, lines, _ = session.retr(1)
        session.quit()
    return lines


LINES = [b"Subject: a", b"", b"one", b".two"]


async def test_a_client_fetches_what_was_recorded() -> None:
    async with replaying(captured(ORDINARY, SECRET)) as replay:
        for _ in range(3):
            assert await trio.to_thread.run_sync(fetch, replay.url.port) == LINES
    assert [one.departures for one in replay.told.outcomes] == [[]] * 3
    assert (replay.tally[0].sessions, replay.tally[0].departed) == (3, 0)


@pytest.mark.parametrize("how", ["every", "terminator", "3", "random:7", "none"])
async def test_any_split_brings_the_same_mail(how: str) -> None:
    manner = Manner(speed=None, split=Split.parse(how))
    async with replaying(captured(ORDINARY, SECRET), manner=manner) as replay:
        assert await trio.to_thread.run_sync(fetch, replay.url.port) == LINES


async def test_segments_arrive_as_they_were_recorded() -> None:
    async with replaying(captured(ORDINARY, SECRET)) as replay:
        client = replay.connect()
        assert await client.read() == b"+OK ready\r\n"
        for command in (b"USER a\r\n", b"PASS b\r\n", b"STAT\r\n"):
            await client.write(command)
            await client.read()
        await client.write(b"RETR 1\r\n")
        found = [await client.read() for _ in range(6)]
        assert found == [b"+OK\r\n", b"Subject: ", b"a\r\n\r\n", b"one\r\n.", b".two\r\n", b".\r\n"]
        client.close()


async def test_a_segment_waits_until_the_client_has_read_the_one_before() -> None:
    async with replaying(captured(ORDINARY, SECRET)) as replay:
        with socket.create_connection((replay.url.host, replay.url.port), 30) as client:
            client.setblocking(False)
            for command in (b"", b"USER a\r\n", b"PASS b\r\n", b"STAT\r\n"):
                client.send(command)
                await trio.lowlevel.wait_readable(client)
                client.recv(100)
            client.send(b"RETR 1\r\n")
            for segment in (b"+OK\r\n", b"Subject: ", b"a\r\n\r\n"):
                await trio.lowlevel.wait_readable(client)
                for _ in range(100):  # the replay has its turns, and uses none of them
                    await trio.lowlevel.checkpoint()
                assert client.recv(100) == segment


async def test_once_ends_with_the_first_client() -> None:
    async with replaying(captured(ORDINARY, SECRET), once=True) as replay:
        first = replay.connect()
        assert await first.read() == b"+OK ready\r\n"
        second = replay.connect()
        assert b"for one connection" in await read_until_end(second)
        await first.write(b"QUIT\r\n")
        assert (await read_until_end(first)).startswith(b"+OK bye")
        first.close()
        second.close()
        while not replay.tally:  # noqa: ASYNC110 - it ends by itself
            await trio.sleep(0.01)
    assert (replay.tally[0].sessions, replay.tally[0].departed) == (1, 1)
    assert replay.told.departures == [
        "1: command 1: QUIT came before USER ada, PASS ********, STAT and 1 more"
    ]


async def test_more_clients_than_allowed_are_told() -> None:
    async with replaying(captured(ORDINARY, SECRET), connections=1) as replay:
        first, second = replay.connect(), replay.connect()
        assert await first.read() == b"+OK ready\r\n"
        assert b"-ERR [SYS/TEMP]" in await read_until_end(second)
        first.close()
        second.close()


async def test_sessions_under_way_get_a_while_at_the_end() -> None:
    async with replaying(captured(ORDINARY, SECRET)) as replay:
        client = replay.connect()
        await client.read()
        replay.stop.set()
        await client.write(b"QUIT\r\n")
        assert (await read_until_end(client)).startswith(b"+OK bye")
        client.close()


async def test_a_reset_reaches_the_client_behind_the_octets() -> None:
    half = parse("S: +OK\nC: RETR 1\nS: +OK\nS+ half\\\nS! rst\n")
    async with replaying(captured(half)) as replay:
        client = replay.connect()
        await client.read()
        await client.write(b"RETR 1\r\n")
        assert await read_exactly(client, 9) == b"+OK\r\nhalf"
        with pytest.raises(LegLost):
            await client.read()
        client.close()


async def test_a_client_that_resets_disturbs_nobody() -> None:
    async with replaying(captured(ORDINARY, SECRET)) as replay:
        rude = replay.connect()
        await rude.read()
        rude.abort()
        assert await trio.to_thread.run_sync(fetch, replay.url.port) == LINES
    assert replay.told.errors == []


async def test_a_defect_in_one_session_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with replaying(captured(ORDINARY, SECRET)) as replay:
        with monkeypatch.context() as broken:
            broken.setattr("popproxy.tools.replay_session.ReplaySession.run", None)
            client = replay.connect()
            while not replay.told.errors:  # noqa: ASYNC110 - no event
                await trio.sleep(0.01)
            client.close()
        assert await trio.to_thread.run_sync(fetch, replay.url.port) == LINES
    assert replay.tally[0].departed == 1


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from popproxy.tls.authority import Authority

    folder = tmp_path_factory.mktemp("ca") / "authority"
    Authority.open(folder)
    return folder


def ca(authority: Path) -> Path:
    from popproxy.tls.folder import CERTIFICATE

    return authority / CERTIFICATE


async def test_tls_from_the_start(authority: Path) -> None:
    async with replaying(captured(ORDINARY, SECRET), scheme="pop3s", authority=authority) as replay:
        run = partial(fetch, replay.url.port, tls=True, ca=ca(authority))
        assert await trio.to_thread.run_sync(run) == LINES
    assert replay.told.departures == []


async def test_stls_where_it_is_required(authority: Path) -> None:
    async with replaying(
        captured(ORDINARY, SECRET), scheme="pop3+stls", authority=authority
    ) as replay:
        run = partial(fetch, replay.url.port, stls=True, ca=ca(authority))
        assert await trio.to_thread.run_sync(run) == LINES
        with pytest.raises(poplib.error_proto, match="STLS first"):
            await trio.to_thread.run_sync(fetch, replay.url.port)
    assert replay.told.departures[0] == "2: command 1: a login came before STLS"


async def test_no_authority_is_made_unless_tls_is_certain_or_asked_for(tmp_path: Path) -> None:
    offered = parse("S: +OK\nC: CAPA\nS: +OK\nS+ STLS\nS+ .\nC: QUIT\nS: +OK\nS! eof\n")
    place = tmp_path / "authority"
    async with replaying(captured(offered), authority=place) as replay:
        client = replay.connect()
        await client.read()
        await client.write(b"CAPA\r\n")
        assert await client.read() == b"+OK\r\nSTLS\r\n.\r\n"
        assert not place.exists()
        await client.write(b"STLS\r\n")
        assert await client.read() == b"+OK popproxy replay: begin TLS\r\n"
        await client.write(b"\x16no hello")
        await read_until_end(client)
        client.close()
    assert place.exists()


async def test_what_is_sent_behind_stls_in_the_clear_is_not_taken_for_tls(authority: Path) -> None:
    async with replaying(
        captured(ORDINARY, SECRET), scheme="pop3+stls", authority=authority
    ) as replay:
        client = replay.connect()
        await client.read()
        await client.write(b"STLS\r\nUSER a\r\n")
        assert await read_until_end(client) == b"+OK popproxy replay: begin TLS\r\n"
        client.close()
    assert "in the clear behind STLS" in replay.told.departures[0]


async def test_a_client_that_speaks_no_tls_is_reported(authority: Path) -> None:
    async with replaying(captured(ORDINARY, SECRET), scheme="pop3s", authority=authority) as replay:
        client = replay.connect()
        await client.write(b"USER a\r\n")
        await read_until_end(client)
        client.close()
    assert replay.told.departures[0].startswith("1: TLS did not come about: ")


async def test_a_stream_that_was_cut_under_tls_is_cut_again(authority: Path) -> None:
    records = captured(ORDINARY, SECRET)
    for truncated in (False, True):
        plan = make_plan(records)
        plan = Plan(
            session=plan.session, steps=plan.steps, end=plan.end, truncated=truncated, tls="start"
        )
        ended = await _end_of_tls(plan, authority)
        assert ended == truncated


async def _end_of_tls(plan: Plan, authority: Path) -> bool:
    """Whether a client sees the stream end without close_notify."""
    stage = Stage(
        plan=plan,
        manner=Manner(speed=None, tls="start"),
        listen=parse_url("pop3s://127.0.0.1:0", listener=True),
        tls=ListenerTls(authority=authority),
        once=True,
    )
    ports: list[int] = []
    bound = trio.Event()

    def ready(urls: list[Url]) -> None:
        ports.append(urls[0].port)
        bound.set()

    def client() -> bool:
        context = ssl.create_default_context(cafile=ca(authority))
        with (
            socket.create_connection(("127.0.0.1", ports[0]), 30) as plain,
            context.wrap_socket(
                plain, server_hostname="localhost", suppress_ragged_eofs=False
            ) as tls,
        ):
            tls.recv(100)
            tls.sendall(b"QUIT\r\n")
            try:
                while tls.recv(100):
                    pass
            except ssl.SSLEOFError:
                return True
            return False

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve, stage, trio.Event(), ready=ready))
            await bound.wait()
            return await trio.to_thread.run_sync(client)


async def test_no_newer_tls_than_was_recorded(authority: Path) -> None:
    plan = make_plan(captured(ORDINARY, SECRET))
    from popproxy.tls.leaves import ListenerContext

    made = ListenerContext(
        ListenerTls(authority=authority, maximum="1.2"), default_names=["localhost"]
    )
    ours, theirs = socket.socketpair()
    with made.wrap(ours) as tls:
        assert tls.context.maximum_version == ssl.TLSVersion.TLSv1_2
    theirs.close()
    assert plan.tls_version is None


# Addresses.


async def test_p67_another_address_needs_to_be_allowed() -> None:
    stage = Stage(
        plan=make_plan(captured(ORDINARY, SECRET)),
        manner=Manner(),
        listen=parse_url("pop3://0.0.0.0:0", listener=True),
        tls=ListenerTls(authority=Path()),
    )
    with pytest.raises(RouteError, match="other machines can reach"):
        await serve(stage, trio.Event())


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stage = Stage(
            plan=make_plan(captured(ORDINARY, SECRET)),
            manner=Manner(),
            listen=parse_url(f"pop3://127.0.0.1:{taken.getsockname()[1]}", listener=True),
            tls=ListenerTls(authority=Path()),
        )
        with pytest.raises(CannotListen, match="in use"):
            await serve(stage, trio.Event())
