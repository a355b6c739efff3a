"""The server and the load in C: built where they are needed, started, and their results read."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.benchmarks.certificates import Certificates

SOURCES = Path(__file__).parent / "kit"
MAILDROP = "200x4096,40x1048576,4x26214400,1x209715200"
"""Messages 1-200 of 4 KiB, 201-240 of 1 MiB, 241-244 of 25 MiB, and 245 of 200 MiB."""

_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-function")
_TLS = ("-DWITH_TLS", "-lssl", "-lcrypto")
_SLACK = 120.0


class KitError(Exception):
    """The kit cannot be built, or a run of it came to no result."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What `load` reports about a run.

    Attributes:
        mode: `bulk`, `pipe`, `chatty`, `churn`, `hs` or `idle`.
        seconds: the time that counted.
        operations: commands in that time; in churn and hs, sessions.
        octets: of messages in that time, on the wire.
        operations_per_second: the two divided.
        megabytes_per_second: in units of 10^6 octets.
        p50_us: half of all operations took no longer, in microseconds.
        p99_us: 99 of 100 took no longer.
        max_us: the longest.
        total_operations: with those of the warm-up.
        total_octets: the same of octets.
        client_cpu_seconds: what the load itself used.
        errors: how often something was not as it had to be.
        first_error: what that was, the first time.
    """

    mode: str
    seconds: float
    operations: int
    octets: int
    operations_per_second: float
    megabytes_per_second: float
    p50_us: float
    p99_us: float
    max_us: float
    total_operations: int
    total_octets: int
    client_cpu_seconds: float
    errors: int
    first_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The two programs, built.

    Attributes:
        server: the POP3 server.
        load: the clients.
        tls: whether both speak TLS.
    """

    server: Path
    load: Path
    tls: bool

    @contextmanager
    def serving(
        self,
        maildrop: str = MAILDROP,
        *,
        tls: Certificates | None = None,
        spoil: str | None = None,
    ) -> Iterator[tuple[int, int]]:
        """Run the server; gives its port and its process id.

        Raises:
            KitError: it did not come up; it says why.
        """
        command = [str(self.server), "--maildrop", maildrop]
        if tls is not None:
            command += ["--chain", str(tls.chain), "--key", str(tls.key)]
        if spoil is not None:
            command += ["--spoil", spoil]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                first = process.stdout.readline()
                if not first.startswith("port "):
                    raise KitError(f"the server did not start: {process.stderr.read().strip()}")
                yield int(first.split()[1]), process.pid
            finally:
                process.terminate()

    def command(self, options: Sequence[str], port: int, *, maildrop: str, tls: bool) -> list[str]:
        """Give the command line of a run of the load."""
        command = [str(self.load), *options, "--port", str(port), "--maildrop", maildrop]
        return [*command, "--tls"] if tls else command

    def run(
        self,
        options: Sequence[str],
        port: int,
        *,
        maildrop: str = MAILDROP,
        tls: bool = False,
        timeout: float = _SLACK,
    ) -> Load:
        """Run the load against a port, and give what it reports, errors included.

        Raises:
            KitError: it reported nothing, or did not end within the time-out in seconds.
        """
        command = self.command(options, port, maildrop=maildrop, tls=tls)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise KitError(f"load {options[0]} did not end within {timeout:.0f} s") from error
        if done.returncode not in (0, 1):
            raise KitError(f"load {options[0]}: {done.stderr.strip()}")
        return read_report(done.stdout)

    @contextmanager
    def holding(self, port: int, connections: int, *, maildrop: str = MAILDROP) -> Iterator[float]:
        """Hold connections that are logged in; gives the seconds that all logins took together.

        At the end each of them has to answer a NOOP and a QUIT.

        Raises:
            KitError: they did not all come up, or one of them broke.
        """
        options = ["idle", "--connections", str(connections)]
        command = self.command(options, port, maildrop=maildrop, tls=False)
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            first = process.stdout.readline()
            if first.startswith("up "):
                yield float(first.split()[1])
                process.stdin.close()
                first = process.stdout.read()
        report = read_report(first)
        if report.errors:
            raise KitError(f"{connections} connections: {report.first_error}")


def read_report(output: str) -> Load:
    """Read the last line of what the load said.

    Raises:
        KitError: it is no report.
    """
    last = output.strip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(last, type=Load)
    except msgspec.DecodeError as error:
        raise KitError(f"the load gave no result, but {last!r}") from error


def build(folder: Path) -> Kit:
    """Compile both programs into a folder, with TLS if OpenSSL's headers are there.

    Raises:
        KitError: there is no compiler, or it fails; the message says what to install.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise KitError("there is no C compiler: apt install gcc libc6-dev libssl-dev")
    tls = _has_openssl(compiler)
    programs = {}
    for name in ("server", "load"):
        programs[name] = folder / name
        command = [compiler, *_FLAGS, str(SOURCES / f"{name}.c"), "-o", str(programs[name])]
        done = subprocess.run(
            [*command, *(_TLS if tls else ())], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise KitError(
                f"{compiler} cannot build the kit, are libc's headers there? "
                f"apt install gcc libc6-dev libssl-dev\n{done.stderr.strip()}"
            )
    return Kit(server=programs["server"], load=programs["load"], tls=tls)


def _has_openssl(compiler: str) -> bool:
    source = "#include <openssl/ssl.h>\n"
    checked = subprocess.run(
        [compiler, "-fsyntax-only", "-xc", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    return checked.returncode == 0
