"""The embedded server over real sockets, against a client that is not ours: Python's poplib."""

from __future__ import annotations

import contextlib
import hashlib
import poplib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from popproxy.peers.accounts import Accounts
from popproxy.peers.client import ScriptedClient, seed_conversation
from popproxy.peers.demo_mail import (
    DEMO_MESSAGES,
    DEMO_PASSWORD,
    DEMO_USER,
    demo_accounts,
    demo_maildrop,
)
from popproxy.peers.maildrop import Maildrop, open_path
from popproxy.peers.server import Settings, serve
from tests.support.mails import ATTACHMENT, DOTS, EIGHT_BIT, EMPTY_BODY, MULTIPART, Mail

T = TypeVar("T")
PASSWORD = "canary-kiosk-0471"
# poplib refuses lines over 2,048 octets, so that LONG_LINE is left to test_maildrop.
MAILS = (DOTS, EIGHT_BIT, EMPTY_BODY, MULTIPART, ATTACHMENT)


@asynccontextmanager
async def serving(accounts: Accounts, settings: Settings | None = None) -> AsyncIterator[int]:
    """Serve on a free port of loopback."""
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(lambda task_status: _serve(accounts, settings, task_status))
        yield port
        nursery.cancel_scope.cancel()


async def _serve(
    accounts: Accounts, settings: Settings | None, task_status: trio.TaskStatus[int]
) -> None:
    await serve(accounts, settings=settings, task_status=task_status)


def one_user(drop: Maildrop) -> Accounts:
    return Accounts(lambda _user: drop, {"ada": PASSWORD})


async def with_poplib(port: int, action: Callable[[poplib.POP3], T]) -> T:
    def run() -> T:
        client = poplib.POP3("127.0.0.1", port, timeout=30)
        try:
            return action(client)
        finally:
            client.close()

    return await trio.to_thread.run_sync(run)


def make_maildir(path: Path) -> Path:
    for folder in ("new", "cur", "tmp"):
        (path / folder).mkdir()
    for number, mail in enumerate(MAILS):
        (path / "new" / f"{number}.x.host").write_bytes(mail.content.replace(b"\r\n", b"\n"))
    return path


def make_mbox(path: Path) -> Path:
    with (path / "mbox").open("wb") as file:
        for mail in MAILS:
            stored = mail.content.replace(b"\r\n", b"\n")
            end = b"" if stored.endswith(b"\n") else b"\n"
            file.write(b"From x\n" + stored + end + b"\n")
    return path / "mbox"


def received(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


def digest_of(mail: Mail) -> str:
    content = mail.content if mail.content.endswith(b"\n") else mail.content + b"\r\n"
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("make", [make_maildir, make_mbox])
async def test_poplib_fetches_every_mail_digest_by_digest_and_deletes(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path)

    def fetch(client: poplib.POP3) -> list[str]:
        client.user("ada")
        client.pass_(PASSWORD)
        count, size = client.stat()
        assert count == len(MAILS)
        listing = client.list()[1]
        assert sum(int(line.split()[1]) for line in listing) == size
        digests = []
        for number in range(1, count + 1):
            _status, lines, octets = client.retr(number)
            content = received(lines)
            assert octets == len(content) == int(listing[number - 1].split()[1])
            assert client.top(number, 0)[1] == lines[: lines.index(b"") + 1]
            digests.append(hashlib.sha256(content).hexdigest())
            client.dele(number)
        client.quit()
        return digests

    async with serving(one_user(open_path(path))) as port:
        assert await with_poplib(port, fetch) == [digest_of(mail) for mail in MAILS]
        assert await with_poplib(port, lambda c: (c.apop("ada", PASSWORD), c.stat())[1]) == (0, 0)


async def test_poplib_apop_capa_uidl_rset_and_utf8_refusal() -> None:
    def session(client: poplib.POP3) -> None:
        assert client.capa()["SASL"] == ["PLAIN"]
        client.apop(DEMO_USER, DEMO_PASSWORD)
        ids = client.uidl()[1]
        assert [line.split()[0] for line in ids] == [b"1", b"2"]
        client.dele(1)
        client.rset()
        assert client.noop() == b"+OK"
        assert client.stat() == (2, sum(map(len, DEMO_MESSAGES)))
        with pytest.raises(poplib.error_proto, match="no such message"):
            client.retr(3)
        client.quit()

    async with serving(demo_accounts()) as port:
        await with_poplib(port, session)


async def test_a_wrong_password_and_a_second_session_are_refused_with_codes() -> None:
    def refused(client: poplib.POP3) -> None:
        client.user(DEMO_USER)
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            client.pass_("wrong")
        client.user(DEMO_USER)
        client.pass_(DEMO_PASSWORD)
        second = poplib.POP3(client.host, client.port, timeout=30)
        second.user(DEMO_USER)
        with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
            second.pass_(DEMO_PASSWORD)
        second.close()
        client.quit()

    async with serving(demo_accounts()) as port:
        await with_poplib(port, refused)


async def test_the_seeds_conversation_over_sockets_empties_the_maildrop() -> None:
    drop = demo_maildrop()
    async with serving(demo_accounts(drop)) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            said = await ScriptedClient(stream).converse(
                seed_conversation(DEMO_USER, DEMO_PASSWORD)
            )
    assert len(said) == 10
    assert all(exchange.ok for exchange in said)
    for number, content in enumerate(DEMO_MESSAGES):
        _status, _, rest = said[5 + number].answer.partition(b"\r\n")
        assert rest == content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    assert drop.contents == ()


async def test_p26_a_reset_deletes_nothing_and_frees_the_maildrop() -> None:
    drop = demo_maildrop()
    async with serving(demo_accounts(drop)) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await ScriptedClient(stream).converse(
            [*seed_conversation(DEMO_USER, DEMO_PASSWORD)[:2], b"dele 1"]
        )
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()

        def log_in(client: poplib.POP3) -> int:
            while True:  # the reset takes its time to arrive
                client.user(DEMO_USER)
                with contextlib.suppress(poplib.error_proto):
                    client.pass_(DEMO_PASSWORD)
                    return client.stat()[0]

        assert await with_poplib(port, log_in) == 2


async def test_octets_behind_quit_do_not_cost_the_client_the_last_answer() -> None:
    async with serving(demo_accounts()) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"QUIT\r\nand more\r\n" + b"x" * 10_000)
            received = b"".join([data async for data in stream])
    assert received.endswith(b"+OK goodbye\r\n")


async def test_a_port_in_use_is_an_os_error() -> None:
    async with serving(demo_accounts()) as port:
        with pytest.raises(OSError, match="in use"):
            await serve(demo_accounts(), port=port)


async def test_a_name_with_several_addresses_gets_one_port() -> None:
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(
            lambda task_status: serve(demo_accounts(), host="localhost", task_status=task_status)
        )
        async with await trio.open_tcp_stream("localhost", port) as stream:
            assert (await ScriptedClient(stream).greeting()).ok
        nursery.cancel_scope.cancel()
