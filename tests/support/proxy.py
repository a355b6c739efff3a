"""popproxy, started as its users start it, and what it wrote."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from popproxy.formats.jsonl import is_about_file
from tests.support.waiting import PATIENCE, until

_LISTENING = re.compile(rb"listening on pop3(?:s|\+stls)?://(?:127\.0\.0\.1|\[::1\]):(\d+)")

_AS_ROOT = ("--user", "root") if os.geteuid() == 0 else ()
"""Root has to say whom to become; in a container of tests everything belongs to root."""

Record = dict[str, Any]


def command() -> str:
    """Give the path of the command that the installation made."""
    beside = Path(sys.executable).with_name("popproxy")
    found = str(beside) if beside.exists() else shutil.which("popproxy")
    assert found, "popproxy is not installed beside this Python"
    return found


class Proxy:
    """A running `popproxy run` with a home of its own; a context manager that ends it.

    Attributes:
        home: Its working directory and home; nothing but its own files lies there.
        host: Where it listens.
        port: Where it listens.
        process: The process itself.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        home: Path,
        upstream: int,
        *options: str | Path,
        prefix: Sequence[str] = (),
        stdout: int | None = None,
        listen: str = "pop3",
        speak: str = "pop3",
        server: str = "127.0.0.1",
        at: int = 0,
    ) -> None:
        """Start it and wait until it listens.

        Args:
            home: A directory of its own.
            upstream: The port of the upstream on 127.0.0.1.
            options: Further options of `popproxy run`.
            prefix: A command to start popproxy with, such as one that sets limits.
            stdout: A descriptor for its stdout; a file in `home`'s neighbourhood otherwise.
            listen: The scheme of its listener.
            speak: The scheme of its upstream.
            server: The upstream's name.
            at: The port of its listener; 0 for a free one.
        """
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self._stdout = home.with_name(f"{home.name}.stdout")
        self._stderr = home.with_name(f"{home.name}.stderr")
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [
                    *prefix,
                    command(),
                    "run",
                    *_AS_ROOT,
                    "--listen",
                    f"{listen}://127.0.0.1:{at}",
                    "--upstream",
                    f"{speak}://{server}:{upstream}",
                    *map(str, options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err,
                cwd=home,
                env=_environment(home),
            )
        try:
            self.port: int = until(self._port, "the line 'listening on'")
        except AssertionError as failure:
            failure.add_note(self.stderr.decode(errors="replace"))
            self.kill()
            raise

    def _port(self) -> int:
        found = _LISTENING.search(self.stderr)
        if found is None and self.process.poll() is not None:
            raise AssertionError(f"popproxy ended with {self.process.returncode} at its start")
        return int(found[1]) if found else 0

    @property
    def stdout(self) -> bytes:
        """What it has printed on stdout so far."""
        return self._stdout.read_bytes()

    @property
    def stderr(self) -> bytes:
        """What it has printed on stderr so far."""
        return self._stderr.read_bytes()

    def outputs(self) -> dict[str, bytes]:
        """Give everything that came out of it: both streams and every file, names too."""
        found = {"stdout": self.stdout, "stderr": self.stderr}
        for path in sorted(self.home.rglob("*")):
            name = str(path.relative_to(self.home))
            found[f"the name of {name}"] = name.encode()
            if path.is_file():
                found[name] = path.read_bytes()
        return found

    @property
    def ca_file(self) -> Path:
        """The certificate of its local authority."""
        return self.home / ".local/share/popproxy/authority/authority.pem"

    def memory(self, field: str = "VmRSS") -> int:
        """Give its resident memory in octets (`VmHWM`: the most since `forget_peak`)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """Let `VmHWM` begin anew from what is resident now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def traced(self) -> list[int]:
        """The processes that strace has, if that was the command to start popproxy with."""
        proc = Path(f"/proc/{self.process.pid}")
        with contextlib.suppress(OSError):
            if (proc / "comm").read_text() == "strace\n":
                lists = (proc / "task").glob("*/children")
                return [int(one) for children in lists for one in children.read_text().split()]
        return []

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ask it to end and give its exit status."""
        for pid in self.traced or [self.process.pid]:
            os.kill(pid, signal_number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        for pid in self.traced:  # it would live on without strace
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        if error is not None:
            error.add_note(f"popproxy said:\n{self.stderr.decode(errors='replace')}")


def _environment(home: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("POPPROXY_", "XDG_", "COVERAGE")) and name not in ("CI", "TERM")
    }
    return {**kept, "HOME": str(home)}


def records(path: Path) -> list[Record]:
    """Read the records of a JSON lines file; every line must be one, or be about the file."""
    content = path.read_bytes()
    assert not content or content.endswith(b"\n"), "the last line is incomplete"
    return records_in(content)


def records_in(content: bytes) -> list[Record]:
    """Read the records among JSON lines, each of which must be whole; leave out others."""
    return [json.loads(line) for line in content.splitlines() if not is_about_file(line)]


def with_action(found: Sequence[Record], action: str) -> list[Record]:
    """Give the records of one kind."""
    return [record for record in found if record["event"]["action"] == action]


def wait_for_sessions_to_end(path: Path, count: int = 1) -> list[Record]:
    """Wait until a JSON lines file holds the end of this many sessions, and give its records."""

    def look() -> list[Record]:
        if not path.exists():
            return []
        complete = path.read_bytes().rpartition(b"\n")[0]
        found = records_in(complete)
        return found if len(with_action(found, "session.end")) >= count else []

    return until(look, f"{count} session.end in {path.name}")
