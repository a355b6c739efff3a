"""A server and clients for long runs, and what is looked at meanwhile.

Both ends live in one process, under trio; popproxy is another, started as its users start it. The
server accepts whatever it is told: what is tested is the proxy.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from popproxy.formats.packed import open_packed
from tests.support.proxy import Proxy, command

MIB = 1024 * 1024
MESSAGE = b"Subject: endurance\r\n\r\n" + b"".join(
    b"line %03d of a message that says nothing\r\n" % number for number in range(40)
)
PATIENCE = 60.0
"""Seconds until a client gives up waiting for one answer."""


@dataclass
class Server:
    """What the server did.

    Attributes:
        port: Where it listens.
        large: Octets of the message that `RETR 9` gives.
        reset_at: Reset the connection instead of answering this command; None for never.
    """

    port: int = 0
    large: int = 0
    reset_at: int | None = None


class Disconnected(Exception):  # noqa: N818 -- it is what happened
    """The other side closed the connection, or reset it."""


class Lines:
    """A connection, read line by line."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def line(self) -> bytes:
        """Read a line, with its end.

        Raises:
            Disconnected: There is none.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            try:
                octets = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                raise Disconnected from None
            if not octets:
                raise Disconnected
            self._buffer += octets
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    async def send(self, octets: bytes) -> None:
        """Send octets.

        Raises:
            Disconnected: Nobody is there.
        """
        try:
            await self.stream.send_all(octets)
        except trio.BrokenResourceError:
            raise Disconnected from None

    def reset(self) -> None:
        """Have the connection end by RST when it is closed."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def serving(large: int = 0) -> AsyncIterator[Server]:
    """Run a server on loopback."""
    server = Server(large=large)

    async def handle(stream: trio.SocketStream) -> None:
        connection = Lines(stream)
        try:
            await _serve(connection, server)
        except Disconnected:
            pass
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield server
        nursery.cancel_scope.cancel()


async def _serve(connection: Lines, server: Server) -> None:
    await connection.send(b"+OK ready\r\n")
    number = 0
    while True:
        line = await connection.line()
        if number == server.reset_at:
            connection.reset()
            return
        number += 1
        verb = line[:4].upper()
        if verb == b"RETR" and line.startswith(b"RETR 9\r"):
            await connection.send(b"+OK\r\n")
            for _ in range(server.large // len(MESSAGE)):
                await connection.send(MESSAGE)
            await connection.send(b".\r\n")
        elif verb == b"RETR":
            await connection.send(b"+OK\r\n" + MESSAGE + b".\r\n")
        elif verb == b"LIST":
            await connection.send(b"+OK\r\n1 %d\r\n2 %d\r\n.\r\n" % (len(MESSAGE), len(MESSAGE)))
        else:
            await connection.send(b"+OK\r\n")
        if verb == b"QUIT":
            return


SESSION = (
    b"USER wren", b"PASS secret", b"STAT", b"LIST", b"RETR 1", b"RETR 2", b"DELE 1", b"DELE 2",
    b"QUIT",
)  # fmt: skip
"""What a client says: the session of which popproxy's first log was made."""
_MULTI_LINE = (b"LIST", b"RETR")


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Lines]:
    """Connect a client."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        yield Lines(stream)


async def converse(port: int, commands: Sequence[bytes] = SESSION, reset_at: int = -1) -> int:
    """Have a session.

    Args:
        port: Popproxy's.
        commands: What to say, each without its end.
        reset_at: Reset the connection instead of saying this one.

    Returns:
        How many commands had a positive response.
    """
    answered = 0
    try:
        with trio.fail_after(PATIENCE):
            async with connected(port) as client:
                if not (await client.line()).startswith(b"+OK"):
                    return 0
                for number, said in enumerate(commands):
                    if number == reset_at:
                        client.reset()
                        return answered
                    await client.send(said + b"\r\n")
                    if not (await client.line()).startswith(b"+OK"):
                        return answered
                    while said[:4] in _MULTI_LINE and await client.line() != b".\r\n":
                        pass
                    answered += 1
    except (Disconnected, OSError):
        pass
    return answered


@dataclass
class Vital:
    """What popproxy takes at one moment: resident octets, and descriptors."""

    memory: int
    descriptors: int

    @classmethod
    def of(cls, proxy: Proxy) -> Vital:
        """Look."""
        descriptors = len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))
        return cls(proxy.memory(), descriptors)


def processor_time(pid: int) -> float:
    """Give the seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def settled_in(proxy: Proxy, logs: Path | None = None) -> Vital:
    """Have a first session, so that all is loaded and open that comes late, and look."""
    await converse(proxy.port)
    log = (logs or proxy.home / "logs") / "all.jsonl"
    for _ in range(500):
        if log.exists() and b'"action":"session.end"' in log.read_bytes():
            break
        await trio.sleep(0.02)
    return Vital.of(proxy)


@dataclass
class Outcome:
    """Figures, and what they were to be.

    Attributes:
        name: Of the run.
        rows: Each a name, a figure, and whether that is as it has to be; None if anything is.
    """

    name: str
    rows: list[tuple[str, str, bool | None]] = field(default_factory=list)

    def tell(self, name: str, figure: object, well: bool | None = None) -> None:
        """Add a figure."""
        self.rows.append((name, f"{figure:,}" if isinstance(figure, int) else str(figure), well))

    @property
    def well(self) -> bool:
        """Whether all is as it has to be."""
        return all(well is not False for _, _, well in self.rows)

    def lines(self) -> Iterator[str]:
        """Give a table, in Markdown."""
        yield f"| {self.name} | |  |"
        yield "|---|--:|---|"
        for name, figure, well in self.rows:
            yield f"| {name} | {figure} | {'' if well is None else 'ok' if well else 'NOT OK'} |"


def written(log: Path) -> Iterator[bytes]:
    """Give all lines of JSON lines, also of files that were set aside and packed."""
    files = [path for path in log.parent.glob(f"{log.stem}*") if not path.name.endswith(".new")]
    for path in sorted(files, key=lambda path: (path.name == log.name, path.name)):
        with open_packed(str(path)) as file:
            yield from file


def verify(folder: Path) -> tuple[bool, str]:
    """Have `popproxy verify --chain` look at a folder: whether it is whole, and what it says."""
    done = subprocess.run(
        [command(), "verify", "--chain", folder], capture_output=True, text=True, check=False
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip().splitlines()[-1]
