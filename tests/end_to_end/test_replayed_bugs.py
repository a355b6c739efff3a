"""Bugs of a mail client show at a replay as they show at the server, and vanish with the shape.

The server is popproxy's own, made to be as servers are at times: it sends the end of a message in
two segments, and says a number of octets that is not the message's. The mail has lines of dots.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from popproxy.peers.accounts import Accounts
from popproxy.peers.maildrop import MemoryMaildrop, Message, OpenMaildrop
from popproxy.peers.server import Server
from popproxy.peers.wire import Reader
from popproxy.tools.replay_pacing import Pacer
from tests.support.buggy_client import BUGS, Bug, BuggyClient, shows
from tests.support.proxy import Proxy
from tests.support.running import run, started

MAIL = (
    b"From: Ada Kiesel <ada.kiesel@kieselwerke.example>\r\n"
    b"To: Bo Linde <bo@example.net>\r\n"
    b"Subject: the contract with Wolkenstein\r\n"
    b"\r\n"
    b"Dear Bo,\r\n"
    b".\r\n"
    b"..\r\n"
    b"the price is confidential.\r\n"
)


class LyingMaildrop(MemoryMaildrop):
    """A maildrop that says that its messages are seven octets shorter than they are."""

    def open(self) -> OpenMaildrop:
        return _Lying(super().open())


class _Lying:
    def __init__(self, opened: OpenMaildrop) -> None:
        self._opened = opened
        self.messages: Sequence[Message] = [
            replace(message, octets=message.octets - 7) for message in opened.messages
        ]

    def read(self, number: int) -> Reader:
        return self._opened.read(number)

    def remove(self, numbers: Collection[int]) -> None:
        self._opened.remove(numbers)

    def close(self) -> None:
        self._opened.close()


class _Cutting(trio.abc.HalfCloseableStream):
    """Sends what ends a message in two segments, which are read apart."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        connected = stream.socket
        self._pacer = Pacer((connected.getsockname()[:2], connected.getpeername()[:2]))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for piece in re.split(rb"(?<=\r\n\.)(?=\r\n\Z)", bytes(data)):
            await self._pacer.read()
            await self._stream.send_all(piece)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def live() -> AsyncIterator[int]:
    """Run the server; gives its port."""
    # A maildrop for each session: a client that fails leaves its own locked for a while.
    server = Server(Accounts(lambda _user: LyingMaildrop([MAIL])))

    async def handle(stream: trio.SocketStream) -> None:
        await server.handle(_Cutting(stream))

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _shown(port: int, bug: Bug) -> bool:
    return await trio.to_thread.run_sync(shows, port, bug)


async def _capture(tmp_path: Path, *options: str) -> Path:
    """Have a client without bugs fetch through popproxy, and give the capture."""
    async with live() as server:
        proxy = await trio.to_thread.run_sync(
            lambda: Proxy(tmp_path / "proxy", server, "--jsonl", "log.jsonl", *options)
        )
        with proxy:
            fetched = await trio.to_thread.run_sync(lambda: BuggyClient(proxy.port, "none").fetch())
            assert fetched == [MAIL]
            assert await trio.to_thread.run_sync(proxy.stop) == 0
    return proxy.home / "log.jsonl"


@pytest.mark.parametrize("bug", BUGS)
async def test_a_bug_shows_at_the_live_server(bug: Bug) -> None:
    async with live() as port:
        assert await _shown(port, bug)
        assert not await _shown(port, "none")


@pytest.mark.parametrize("kind", ["capture", "bundle"])
async def test_every_bug_shows_at_the_replay(kind: str, tmp_path: Path) -> None:
    capture = await _capture(tmp_path)
    if kind == "bundle":
        capture = _shared(capture, tmp_path / "bundle.zip")
    with started(*_replay(capture), cwd=tmp_path / "replay") as (_process, port):
        for bug in BUGS:
            assert await _shown(port, bug), bug
        assert not await _shown(port, "none")


def _shared(capture: Path, bundle: Path, *options: str) -> Path:
    """Make a bundle of a capture, and see that nothing private is in it."""
    made = run("share", str(capture), "-o", str(bundle), "--yes", *options, cwd=bundle.parent)
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(bundle) as archive:
        told = b"".join(archive.read(name) for name in archive.namelist())
    for private in (b"kiesel", b"linde", b"wolkenstein", b"confidential", b"contract"):
        assert private not in told.lower()
    return bundle


def _replay(capture: Path, *options: str) -> list[str]:
    return ["replay", str(capture), "--listen", "pop3://127.0.0.1:0", *options]


async def test_no_bug_shows_where_the_shape_is_lost(tmp_path: Path) -> None:
    capture = await _capture(tmp_path)
    with started(*_replay(capture, "--split", "none"), cwd=tmp_path / "a") as (_process, port):
        assert not await _shown(port, "terminator")
        assert await _shown(port, "dot")
        assert await _shown(port, "octets")
    with started(*_replay(capture, "--split", "terminator"), cwd=tmp_path / "b") as (_p, port):
        assert await _shown(port, "terminator")
    told = re.compile(r"(\+OK )(\d+)( octets)")
    right = told.sub(lambda found: f"{found[1]}{int(found[2]) + 7}{found[3]}", capture.read_text())
    mended = tmp_path / "mended.jsonl"
    mended.write_text(right)
    with started(*_replay(mended), cwd=tmp_path / "c") as (_process, port):
        assert not await _shown(port, "octets")
        assert await _shown(port, "dot")


@pytest.mark.parametrize("kind", ["capture", "bundle"])
async def test_no_bug_of_dots_shows_where_the_lines_are_lost(kind: str, tmp_path: Path) -> None:
    if kind == "capture":
        capture = await _capture(tmp_path, "--body", "none")
    else:
        capture = _shared(await _capture(tmp_path), tmp_path / "b.zip", "--keep", "nothing")
    with started(*_replay(capture), cwd=tmp_path / "replay") as (_process, port):
        assert not await _shown(port, "dot")
        assert await _shown(port, "octets"), "the octets are as wrong as they were"
