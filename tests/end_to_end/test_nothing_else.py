"""popproxy connects to its upstream and to nothing else (P72), as the system's calls show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.programs import find, needs
from tests.support.proxy import Proxy
from tests.support.sockets import Upstream

CALL = re.compile(r"(connect|sendto|sendmsg|sendmmsg)\((\d+), .*?(sa_family=AF_INET6?,.*?)\}")


def destinations(trace: Path) -> set[str]:
    """Give what was connected or sent to over a network, in strace's words; glibc asks nscd."""
    return {
        found[3]
        for file in trace.parent.glob(f"{trace.name}*")
        for found in CALL.finditer(file.read_text())
    }


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
            assert proxy.stop() == 0
        found = destinations(trace)
    wanted = f'sa_family=AF_INET, sin_port=htons({upstream.port}), sin_addr=inet_addr("127.0.0.1")'
    assert found == {wanted}
