"""rsyslog as a collector, started by the tests on loopback, and ended by its process id.

Under TLS it runs by `config/rsyslog.conf`, the example that users copy; only places are the test's.
"""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from types import TracebackType

import trustme

from tests.support.ports import free_ports
from tests.support.programs import find
from tests.support.proxy import records_in
from tests.support.waiting import PATIENCE, until

EXAMPLE = Path(__file__).parents[2] / "config" / "rsyslog.conf"
PROXY_NAME = "proxy.example.org"
"""The name that the example wants in a proxy's certificate."""

_PLAIN = """
global(maxMessageSize="64k")
module(load="{module}")
input(type="{module}" port="6514" ruleset="popproxy")
"""


def _certificates(home: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(home / "ca.pem")
    own = authority.issue_cert("localhost")
    own.private_key_pem.write_to_path(home / "collector.key")
    for part in own.cert_chain_pems:
        part.write_to_path(home / "collector.pem", append=True)
    authority.issue_cert(PROXY_NAME).private_key_and_cert_chain_pem.write_to_path(
        home / "proxy.pem"
    )
    authority.issue_cert("other.example.org").private_key_and_cert_chain_pem.write_to_path(
        home / "other.pem"
    )


def configuration(home: Path, port: int, module: str = "") -> Path:
    """Write the example with a test's places, certificates for it included; give its path."""
    text = EXAMPLE.read_text("utf-8")
    if module:
        text = _PLAIN.format(module=module) + text[text.index("template(") :]
    else:
        _certificates(home)
    text = text.replace("/etc/popproxy/collector/", f"{home}/")
    text = text.replace("/var/log/popproxy/", f"{home}/")
    text = text.replace('port="6514"', f'address="127.0.0.1" port="{port}"')
    text = text.replace("global(", f'global(\n  workDirectory="{home}"\n', 1)
    path = home / "rsyslog.conf"
    path.write_text(text)
    return path


class Rsyslog:
    """A collector, which can be ended and started again; a context manager.

    Attributes:
        home: Its folder; under TLS with `ca.pem`, and `proxy.pem` for popproxy.
        port: Where it listens, always.
    """

    def __init__(self, home: Path, module: str = "") -> None:
        """Start it and wait until it listens.

        Args:
            home: A directory of its own.
            module: The module that listens in the clear; empty for TLS.
        """
        home.mkdir()
        self.home = home
        [self.port] = free_ports(1)
        self._configuration = configuration(home, self.port, module)
        self._log = home / "rsyslog.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, again if it was ended."""
        program = find("rsyslogd")
        assert program, "the test needs a mark: needs('rsyslogd')"
        (self.home / "pid").unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-n", "-f", self._configuration, "-i", self.home / "pid"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            until(self._listens, "rsyslog to listen")
        except AssertionError as failure:
            self.kill()
            failure.add_note(self.log)
            raise

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"rsyslog ended:\n{self.log}"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
        except OSError:
            return False
        return True

    @property
    def log(self) -> str:
        """What rsyslog has said so far."""
        return self._log.read_text(errors="replace")

    def collected(self) -> list[tuple[str, int]]:
        """Give session and number of each record that it has written, in its order."""
        file = self.home / "records.jsonl"
        content = file.read_bytes() if file.exists() else b""
        found = records_in(content.rpartition(b"\n")[0])
        return [(one["session"]["id"], one["session"]["seq"]) for one in found]

    def stop(self) -> None:
        """End it (SIGTERM)."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Rsyslog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        if error is not None:
            error.add_note(f"rsyslog said:\n{self.log}")
