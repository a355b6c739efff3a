"""Processes that are measured: started, watched through /proc, and ended by their id."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_READY = 20.0
_END = 10.0


class PeerError(Exception):
    """A peer did not come up, or did not answer; the message has its last words."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A running process and its children, by process id."""

    pid: int

    def _tree(self) -> list[int]:
        found, at = [self.pid], 0
        while at < len(found):
            with suppress(OSError):
                for task in Path(f"/proc/{found[at]}/task").iterdir():
                    found += map(int, (task / "children").read_text("ascii").split())
            at += 1
        return found

    def cpu_seconds(self) -> float:
        """Give the CPU time used so far, of children that ended, too."""
        ticks = 0
        for pid in self._tree():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        return ticks / _TICKS

    def resident(self) -> int:
        """Give the resident memory in octets; pages that processes share count for each."""
        pages = 0
        for pid in self._tree():
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        return pages * _PAGE

    def forget_peak(self) -> None:
        """Let `peak` begin anew with what is resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", "ascii")

    def peak(self) -> int:
        """Give the most resident memory since `forget_peak`, in octets, without children's."""
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


def free_port() -> int:
    """Give a port of loopback that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def allow_many_files() -> int:
    """Raise the limit of open files as far as it goes, for children too; gives the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def running(
    command: Sequence[str], port: int, folder: Path, *, tls: bool, up: str = ""
) -> Iterator[Watched]:
    """Run a proxy until it answers with a greeting on its port, and end it afterwards.

    Args:
        command: its command line.
        port: where it listens.
        folder: for what it says.
        tls: whether it speaks TLS.
        up: what it says when all of it is up, if that is later than its first greeting.

    Raises:
        PeerError: no greeting came.
    """
    words = folder / "said.txt"
    with words.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        _wait_for_greeting(process, port, words, tls=tls, up=up)
        yield Watched(process.pid)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process: with SIGTERM, and if that is not enough, with SIGKILL."""
    process.terminate()
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for_greeting(
    process: subprocess.Popen[bytes], port: int, words: Path, *, tls: bool, up: str
) -> None:
    until = time.monotonic() + _READY
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError):
            if _greets(port, tls=tls) and up in words.read_text("utf-8", "replace"):
                return
        time.sleep(0.02)
    last = words.read_text("utf-8", "replace").strip()[-500:]
    raise PeerError(f"did not come up; it said: {last or 'nothing'}")


def _greets(port: int, *, tls: bool) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        if not tls:
            return _says_goodbye(plain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(plain) as wrapped:
            return _says_goodbye(wrapped)


def _says_goodbye(stream: socket.socket) -> bool:
    if not stream.recv(100).startswith(b"+OK"):
        return False
    stream.sendall(b"QUIT\r\n")
    while stream.recv(100):
        pass
    return True
