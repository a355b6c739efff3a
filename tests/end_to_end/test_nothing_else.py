"""popproxy connects to its upstream and to nothing else (P72), as the system's calls show."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.programs import find, needs
from tests.support.proxy import Proxy
from tests.support.sockets import Upstream
from tests.support.waiting import PATIENCE

CALL = re.compile(r"(connect|sendto|sendmsg|sendmmsg)\((\d+), .*?(sa_family=AF_INET6?,.*?)\}")


def destinations(trace: Path) -> set[str]:
    """Give what was connected or sent to over a network, in strace's words; glibc asks nscd."""
    return {
        found[3]
        for file in trace.parent.glob(f"{trace.name}*")
        for found in CALL.finditer(file.read_text())
    }


def traced(proxy: Proxy) -> list[int]:
    """Give the process that strace started."""
    lists = Path(f"/proc/{proxy.process.pid}/task").glob("*/children")
    return [int(one) for children in lists for one in children.read_text().split()]


@needs("strace")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_p72_nothing_is_connected_to_but_the_upstream(workers: str, tmp_path: Path) -> None:
    strace = find("strace")
    assert strace is not None
    trace = tmp_path / "trace"
    prefix = (strace, "-f", "-ff", "-qq", "-e", "trace=%network", "-o", str(trace))
    home = tmp_path / "proxy"
    home.mkdir()
    (home / "popproxy.toml").write_text(f"[process]\nworkers = {workers}\n")
    with Upstream() as upstream:
        with Proxy(home, upstream.port, "--jsonl", "all-&W.jsonl", prefix=prefix) as proxy:
            upstream.session(proxy.port).log_in().quit()
            for pid in traced(proxy):
                os.kill(pid, signal.SIGTERM)
            assert proxy.process.wait(PATIENCE) == 0
        found = destinations(trace)
    wanted = f'sa_family=AF_INET, sin_port=htons({upstream.port}), sin_addr=inet_addr("127.0.0.1")'
    assert found == {wanted}
