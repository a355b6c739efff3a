"""A running popproxy with a configuration file, which a test changes and has read again."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.running import AS_ROOT, LISTENING, started
from tests.support.waiting import PATIENCE, until

BODY = b"".join(b"%07d of a message whose lines are numbered\r\n" % line for line in range(40_000))
"""What RETR gives: far more than buffers of systems hold."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, name: bytes, tls: ssl.SSLContext | None) -> None:
        self.name = name
        self.tls = tls
        super().__init__(("127.0.0.1", 0), _Session)


class _Session(socketserver.StreamRequestHandler):
    server: _Server

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()  # the server knows the socket below it only

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.wfile.write(b"+OK %b\r\n" % self.server.name)
            for line in self.rfile:
                if line.startswith(b"RETR"):
                    self.wfile.write(b"+OK\r\n" + BODY + b".\r\n")
                else:
                    self.wfile.write(b"+OK\r\n")
                if line.startswith(b"QUIT"):
                    break


@contextlib.contextmanager
def greeting(name: bytes, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run a server that greets with its name, under TLS if told how; give its port."""
    with _Server(name, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def greeted(port: int) -> tuple[socket.socket, bytes]:
    """Connect, and give the connection and the greeting."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    return client, line(client)


def line(client: socket.socket) -> bytes:
    """Read one line, without its end."""
    found = bytearray()
    while not found.endswith(b"\r\n"):
        octet = client.recv(1)
        assert octet, f"the connection ended behind {bytes(found)!r}"
        found += octet
    return bytes(found[:-2])


def name_behind(port: int) -> bytes:
    """Give the name of the server that a new session reaches."""
    client, said = greeted(port)
    with client:
        client.sendall(b"QUIT\r\n")
        while client.recv(100):
            pass
    return said.removeprefix(b"+OK ")


def route(upstream: int, listen: str = "pop3://127.0.0.1:0", more: str = "") -> str:
    """Write a route."""
    server = f'upstream = "pop3://127.0.0.1:{upstream}"'
    return f'[[route]]\nlisten = "{listen}"\n{server}\n{more}\n'


class Reloading:
    """popproxy with a configuration file.

    Attributes:
        home: Where it runs.
        process: The process.
        port: Where it listened first.
    """

    def __init__(self, home: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self.home = home
        self.process = process
        self.port = port
        self._answers = 0

    @property
    def said(self) -> str:
        """What it has said on standard error."""
        return (self.home / "stderr").read_text()

    def ports(self) -> list[int]:
        """All ports that it said it listens on."""
        return [int(found) for found in LISTENING.findall(self.said.encode())]

    def write(self, text: str) -> None:
        """Write the configuration, without having it read."""
        (self.home / "popproxy.toml").write_text(text)

    def reload(self, text: str | None = None) -> str:
        """Have it read its configuration again, after a change, and give what it says to that."""
        if text is not None:
            self.write(text)
        before = len(self.said)
        self.process.send_signal(signal.SIGHUP)

        def answered() -> bool:
            found = len(re.findall("was read again|was not put in force", self.said))
            return found > self._answers

        until(answered, "the end of the reload")
        self._answers += 1
        return self.said[before:]

    def open_files(self) -> int:
        """Count its descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def holds(self, path: Path) -> int:
        """Count how often it has a file open."""
        found = 0
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found += entry.readlink() == path
        return found

    def memory(self) -> int:
        """Give its resident memory in octets."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert found
        return int(found[1]) * 1024


@contextlib.contextmanager
def running(
    home: Path,
    text: str,
    *options: str,
    command: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Reloading]:
    """Start popproxy with a configuration file.

    Args:
        home: Where it runs.
        text: The configuration.
        options: More options; the file or these say whom root becomes, or it stays root.
        command: popproxy itself, if it is not the one that is installed.
        env: More variables for its environment.
    """
    home.mkdir(exist_ok=True)
    (home / "popproxy.toml").write_text(text)
    user = () if "\nuser = " in text else AS_ROOT
    argv = ("run", *user, *options)
    with started(*argv, cwd=home, program=command, env=env) as (process, port):
        proxy = Reloading(home, process, port)
        try:
            yield proxy
        except BaseException as error:
            error.add_note(f"popproxy said:\n{proxy.said}")
            raise
