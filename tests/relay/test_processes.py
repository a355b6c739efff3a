"""The relay in a process of its own: few descriptors, many sessions, endless lines."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIECE = 1 << 20


class Relay:
    """The relay's process, with a server of the test's behind it."""

    def __init__(self, process: subprocess.Popen[str], server: socket.socket) -> None:
        self.process = process
        self.server = server
        assert process.stdout is not None
        self.port = int(process.stdout.readline())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def session(self) -> tuple[socket.socket, socket.socket]:
        """Begin a session; give both ends, greeted."""
        client = self.connect()
        upstream, _ = self.server.accept()
        upstream.settimeout(60)
        upstream.sendall(b"+OK ready\r\n")
        assert client.recv(100) == b"+OK ready\r\n"
        return client, upstream

    def resident(self) -> int:
        """Give its memory in kilobytes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def relay(descriptors: int) -> Iterator[Relay]:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=2048) as server,
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.relay_process",
                str(server.getsockname()[1]),
                str(descriptors),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        server.settimeout(60)
        yield Relay(process, server)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert errors.count("cannot-accept") <= 1  # P56: one in ten seconds


def test_p56_with_64_descriptors_sessions_go_on_and_accepting_resumes() -> None:
    with relay(64) as proxy:
        served: list[tuple[socket.socket, socket.socket]] = []
        turned_away = 0
        for _ in range(80):
            client = proxy.connect()
            greeting = b""
            proxy.server.settimeout(0)
            while not greeting:
                try:
                    upstream, _ = proxy.server.accept()
                except BlockingIOError:
                    client.settimeout(0.01)
                    try:
                        greeting = client.recv(200)
                    except TimeoutError:
                        continue
                else:
                    upstream.settimeout(60)
                    client.settimeout(60)
                    upstream.sendall(b"+OK ready\r\n")
                    greeting = client.recv(200)
                    served.append((client, upstream))
            if not greeting.startswith(b"+OK"):
                assert greeting.startswith(b"-ERR [SYS/TEMP] popproxy: ")
                client.close()
                turned_away += 1
        assert 15 <= len(served) <= 32
        assert turned_away == 80 - len(served)
        for client, upstream in served:
            client.sendall(b"NOOP\r\n")
            assert upstream.recv(100) == b"NOOP\r\n"
        for client, upstream in served[:5]:
            client.close()
            assert upstream.recv(100) == b""
            upstream.close()
        proxy.server.settimeout(60)
        for _ in range(3):
            client, upstream = proxy.session()
            client.close()
            upstream.close()
        for client, upstream in served[5:]:
            client.close()
            upstream.close()


def test_2000_idle_sessions_are_held_and_all_of_them_work() -> None:
    count, most = 2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < 3 * count:
        pytest.skip(f"this system allows {most} descriptors a process; {3 * count} are needed")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 3 * count), most))
    try:
        with relay(3 * count) as proxy:
            empty = proxy.resident()
            sessions = [proxy.session() for _ in range(count)]
            each = (proxy.resident() - empty) / count
            for client, upstream in sessions:
                client.sendall(b"NOOP\r\n")
                assert upstream.recv(100) == b"NOOP\r\n"
                upstream.sendall(b"+OK\r\n")
                assert client.recv(100) == b"+OK\r\n"
            for client, upstream in sessions:
                client.close()
                upstream.close()
        assert each < 40, f"{each:.1f} kB for an idle session"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("kind", ["line", "body"])
def test_p50_memory_stays_with_64_mib_that_never_end(kind: str) -> None:
    endless(kind, 64)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["line", "body"])
def test_p50_memory_stays_with_a_gibibyte_that_never_ends(kind: str) -> None:
    endless(kind, 1024)


def endless(kind: str, pieces: int) -> None:
    """Send pieces of 1 MiB through, and see that the process has not grown by 2 MiB."""
    piece = b"x" * PIECE if kind == "line" else b"0123456789abcd\r\n" * (PIECE // 16)
    with relay(256) as proxy:
        client, upstream = proxy.session()
        with closing(client), closing(upstream):
            client.sendall(b"RETR 1\r\n")
            assert upstream.recv(100) == b"RETR 1\r\n"
            upstream.sendall(b"+OK\r\n")
            assert client.recv(100) == b"+OK\r\n"
            buffer = bytearray(PIECE)
            # Both ends are ours and the kernel's buffers are smaller than a piece, so neither a
            # plain sendall nor a plain recv would do.
            upstream.setblocking(False)
            client.settimeout(60)
            warm = 0
            for number in range(pieces + 8):
                rest = memoryview(piece)
                left = len(piece)
                got = bytearray()
                while left:
                    if rest:
                        with suppress(BlockingIOError):
                            rest = rest[upstream.send(rest) :]
                    size = client.recv_into(buffer)
                    got += buffer[:size]
                    left -= size
                assert got == piece
                if number == 7:
                    warm = proxy.resident()
            assert proxy.resident() - warm < 2048
