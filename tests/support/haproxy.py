"""HAProxy, started by the tests on loopback in front of popproxies.

It runs in the foreground and is ended by its process id. Its backend is that of
`config/haproxy.cfg`, the example that users copy; only addresses and pauses are the test's.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.support.ports import free_ports, greets
from tests.support.programs import find
from tests.support.waiting import PATIENCE, until

EXAMPLE = Path(__file__).parents[2] / "config" / "haproxy.cfg"


def _configuration(port: int, recorders: Sequence[int]) -> str:
    """Give the example with a test's ports, and with checks that come more often."""
    text = EXAMPLE.read_text("utf-8")
    text = text.replace("bind :110\n", f"bind 127.0.0.1:{port}\n")
    text = text.replace("inter 10s fastinter 1s", "inter 100ms")
    # So that each test's clients, which are few, come to all recorders.
    text = text.replace("balance source\n    hash-type consistent\n", "balance roundrobin\n")
    text, servers = re.subn(r"^    server \w+ \S+\n", "", text, flags=re.MULTILINE)
    assert servers == 2
    named = "".join(
        f"    server recorder{number} 127.0.0.1:{recorder}\n"
        for number, recorder in enumerate(recorders)
    )
    return text + named


class HAProxy:
    """A running HAProxy; a context manager that ends it.

    Attributes:
        port: Where clients connect.
    """

    def __init__(self, home: Path, recorders: Sequence[int]) -> None:
        """Start it and wait until a server greets through it.

        Args:
            home: A directory of its own.
            recorders: The ports of its servers.
        """
        home.mkdir()
        [self.port] = free_ports(1)
        self._log = home / "haproxy.log"
        configuration = home / "haproxy.cfg"
        configuration.write_text(_configuration(self.port, recorders))
        program = find("haproxy")
        assert program, "the test needs a mark: needs('haproxy')"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "-db", "-f", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            until(lambda: greets("127.0.0.1", self.port), "a greeting through HAProxy")
        except AssertionError as failure:
            self.stop()
            failure.add_note(self.log)
            raise

    @property
    def log(self) -> str:
        """What HAProxy has said so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Wait until its log has so many matches of a pattern."""

        def look() -> bool:
            assert self._process.poll() is None, f"HAProxy ended:\n{self.log}"
            return len(re.findall(pattern, self.log)) >= times

        until(look, f"{pattern} in HAProxy's log")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> HAProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(f"HAProxy said:\n{self.log}")
