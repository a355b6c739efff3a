"""popproxy connects to its upstream and to nothing else (P72), as the system's calls show."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from poplib import POP3_SSL

import pytest
import trustme

from tests.support.programs import find, needs
from tests.support.proxy import Proxy
from tests.support.reloading import greeting
from tests.support.sockets import Upstream

CALL = re.compile(r"(connect|sendto|sendmsg|sendmmsg)\((\d+), .*?(sa_family=AF_INET6?,.*?)\}")


def destinations(trace: Path) -> set[str]:
    """Give what was connected or sent to over a network, in strace's words; glibc asks nscd."""
    return {
        found[3]
        for file in trace.parent.glob(f"{trace.name}*")
        for found in CALL.finditer(file.read_text())
    }


def traced(tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """Give where a trace will lie, and the command that makes it of another."""
    strace = find("strace")
    assert strace is not None
    trace = tmp_path / "trace"
    return trace, (strace, "-f", "-ff", "-qq", "-e", "trace=%network", "-o", str(trace))


def address(port: int) -> str:
    """Give an address of loopback in strace's words."""
    return f'sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("127.0.0.1")'


@needs("strace")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_p72_nothing_is_connected_to_but_the_upstream(workers: str, tmp_path: Path) -> None:
    trace, prefix = traced(tmp_path)
    home = tmp_path / "proxy"
    home.mkdir()
    (home / "popproxy.toml").write_text(f"[process]\nworkers = {workers}\n")
    with Upstream() as upstream:
        with Proxy(home, upstream.port, "--jsonl", "all-&W.jsonl", prefix=prefix) as proxy:
            upstream.session(proxy.port).log_in().quit()
            assert proxy.stop() == 0
        found = destinations(trace)
    assert found == {address(upstream.port)}


@needs("strace")
def test_p72_nor_under_tls_with_a_name(tmp_path: Path) -> None:
    trace, prefix = traced(tmp_path)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    with greeting(b"one", tls) as port:
        options = ("--upstream-ca", str(tmp_path / "ca.pem"), "--jsonl", "all.jsonl")
        with Proxy(
            tmp_path / "proxy",
            port,
            *options,
            prefix=prefix,
            listen="pop3s",
            speak="pop3s",
            server="localhost",
        ) as proxy:
            context = ssl.create_default_context(cafile=str(proxy.ca_file))
            session = POP3_SSL("localhost", proxy.port, context=context)
            assert session.getwelcome() == b"+OK one"
            session.quit()
            assert proxy.stop() == 0
        found = destinations(trace)
    assert found == {address(port)}
