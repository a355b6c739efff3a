"""popproxy as a process, with whatever arguments, and a server for it to connect to."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.proxy import command
from tests.support.root import IS_ROOT
from tests.support.waiting import PATIENCE, until

AS_ROOT = ("--user", "root") if IS_ROOT else ()
NOWHERE = "pop3://127.0.0.1:9"
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("POPPROXY_", "XDG_", "COVERAGE"))
    and name not in ("NO_COLOR", "HOME", "COLUMNS", "LINES")
}
LISTENING = re.compile(rb"listening on pop3(?:s|\+stls)?://127\.0\.0\.1:(\d+)")


class _Upstream(socketserver.StreamRequestHandler):
    """Greets, says +OK to whatever comes, and leaves when the client does."""

    def handle(self) -> None:
        self.wfile.write(b"+OK ready\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in self.rfile:
                self.wfile.write(b"+OK\r\n")


@contextlib.contextmanager
def answering() -> Iterator[int]:
    """Run a server that says +OK to whatever comes; give its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Upstream) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def connected(port: int) -> socket.socket:
    """Connect to the proxy and read the upstream's greeting."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    assert client.recv(100) == b"+OK ready\r\n"
    return client


def ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def run(*argv: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run something that ends by itself."""
    return subprocess.run(
        [command(), *argv],
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        env={**ENVIRONMENT, "HOME": str(cwd), **more},
        timeout=PATIENCE,
        check=False,
    )


@contextlib.contextmanager
def started(
    *argv: str,
    cwd: Path,
    stdout: int | None = None,
    program: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    **more: str,
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start something that listens; give the process and the port. Its stderr is in a file."""
    cwd.mkdir(exist_ok=True)
    with (cwd / "stderr").open("wb") as err, (cwd / "stdout").open("wb") as out:
        process = subprocess.Popen(
            [*(program or [command()]), *argv],
            stdin=subprocess.DEVNULL,
            stdout=out if stdout is None else stdout,
            stderr=err,
            cwd=cwd,
            env={**ENVIRONMENT, "HOME": str(cwd), **more, **(env or {})},
        )
    try:
        found = until(
            lambda: LISTENING.search((cwd / "stderr").read_bytes()) or ended(process),
            "the line 'listening on'",
        )
        assert isinstance(found, re.Match), (cwd / "stderr").read_text()
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait()
