"""Who stands between client and server: nobody, popproxy, and the programs it is compared with."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.certificates import Certificates

POPPROXY = "popproxy"
NOBODY = "nobody"

_INSTALL = {
    "haproxy": "apt install haproxy",
    "nginx": "apt install nginx-light libnginx-mod-stream",
    "socat": "apt install socat",
    "mitmdump": "pip install mitmproxy",
}

_SBIN = ("/usr/sbin", "/sbin")
_STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@dataclass(frozen=True, slots=True, kw_only=True)
class Legs:
    """Where a proxy stands.

    Attributes:
        listen: its port.
        upstream: the server's port.
        folder: its own, for files of configuration and for what it writes.
        tls: what it shows and trusts if both legs speak TLS.
    """

    listen: int
    upstream: int
    folder: Path
    tls: Certificates | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A way to relay.

    Attributes:
        name: in tables and after `--peers`.
        program: what to look for, on PATH and among administrators' programs.
        command: makes its command line, and the files that it needs.
        tls: whether it can end TLS on both legs.
        one_process: whether one process serves all connections.
        up: what it says when all of it is up, if that is later than its first greeting.
    """

    name: str
    program: str
    command: Callable[[str, Legs], list[str]]
    tls: bool = False
    one_process: bool = field(default=True)
    up: str = ""

    def missing(self) -> str:
        """Say that it is not there, and how it would be."""
        return f"not found: {_INSTALL.get(self.name, self.program)}"

    def find(self) -> str | None:
        """Give the program's path, or None if it is not there."""
        if Path(self.program).is_absolute():
            return self.program if Path(self.program).exists() else None
        found = shutil.which(self.program)
        for folder in _SBIN:
            found = found or shutil.which(self.program, path=folder)
        if self.name == "nginx" and not _STREAM_MODULE.exists():
            return None
        return found


def as_whom() -> list[str]:
    """Give the option that popproxy wants from root, who may run the benchmark."""
    return ["--user", "root"] if os.geteuid() == 0 else []


def _popproxy(*more: str, workers: int = 1) -> Callable[[str, Legs], list[str]]:
    def command(program: str, legs: Legs) -> list[str]:
        settings = legs.folder / "popproxy.toml"
        settings.write_text(f"[process]\nworkers = {workers}\n", "utf-8")
        scheme = "pop3s" if legs.tls else "pop3"
        options = ["--config", str(settings), "--quiet", *as_whom()]
        options += ["--listen", f"{scheme}://127.0.0.1:{legs.listen}"]
        options += ["--upstream", f"{scheme}://127.0.0.1:{legs.upstream}"]
        options += ["--max-connections", "100000", "--max-connections-per-client", "100000"]
        if "--jsonl" not in more:
            options += ["--jsonl", str(legs.folder / "sessions.jsonl")]
            options += ["--putty", str(legs.folder / "&S.log")]
        if legs.tls:
            options += ["--cert", str(legs.tls.chain), "--key", str(legs.tls.key)]
            options += ["--upstream-ca", str(legs.tls.authority)]
        return [program, "run", *options, *more]

    return command


def _haproxy(program: str, legs: Legs) -> list[str]:
    show = f" ssl crt {legs.tls.together}" if legs.tls else ""
    trust = f" ssl verify required ca-file {legs.tls.authority}" if legs.tls else ""
    settings = legs.folder / "haproxy.cfg"
    settings.write_text(
        "global\n  nbthread 1\n  maxconn 9000\n"
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n"
        f"listen pop3\n  bind 127.0.0.1:{legs.listen}{show}\n"
        f"  server upstream 127.0.0.1:{legs.upstream}{trust}\n",
        "utf-8",
    )
    return [program, "-db", "-q", "-f", str(settings)]


def _nginx(program: str, legs: Legs) -> list[str]:
    settings = legs.folder / "nginx.conf"
    settings.write_text(
        f"load_module {_STREAM_MODULE};\n"
        "daemon off; master_process off; error_log stderr error;\n"
        f"pid {legs.folder / 'nginx.pid'};\n"
        "events { worker_connections 20000; }\n"
        f"stream {{ server {{ listen 127.0.0.1:{legs.listen} backlog=4096;"
        f" proxy_pass 127.0.0.1:{legs.upstream}; }} }}\n",
        "utf-8",
    )
    return [program, "-e", "stderr", "-c", str(settings)]


def _socat(program: str, legs: Legs) -> list[str]:
    listen = f"TCP-LISTEN:{legs.listen},bind=127.0.0.1,reuseaddr,fork,backlog=1024,nodelay"
    return [program, "-b", "65536", listen, f"TCP:127.0.0.1:{legs.upstream},nodelay"]


def _mitmdump(program: str, legs: Legs) -> list[str]:
    scheme = "tls" if legs.tls else "tcp"
    mode = f"reverse:{scheme}://127.0.0.1:{legs.upstream}@127.0.0.1:{legs.listen}"
    options = ["-q", "--mode", mode, "-w", str(legs.folder / "flows")]
    options += ["--set", f"confdir={legs.folder}"]
    if legs.tls:
        options += ["--certs", f"*={legs.tls.together}"]
        options += ["--set", f"ssl_verify_upstream_trusted_ca={legs.tls.authority}"]
    return [program, *options]


def _bare_relay(program: str, legs: Legs) -> list[str]:
    module = "tests.benchmarks.bare_relay"
    return [program, "-m", module, str(legs.listen), str(legs.upstream)]


OWN = str(Path(sys.executable).with_name("popproxy"))
"""The command of the checkout that runs the benchmark."""


def popproxies(program: str = OWN, name: str = POPPROXY) -> tuple[Peer, Peer]:
    """Give popproxy as it comes, and recording no bodies; both write JSON lines and PuTTY logs."""
    return (
        Peer(name=name, program=program, command=_popproxy(), tls=True),
        Peer(
            name=f"{name}-no-bodies",
            program=program,
            command=_popproxy("--body", "none"),
            tls=True,
        ),
    )


def writing_to(path: Path) -> Peer:
    """Give a popproxy whose one output is JSON lines to a path."""
    return Peer(name=f"to {path.name}", program=OWN, command=_popproxy("--jsonl", str(path)))


PEERS = (
    *popproxies(),
    Peer(
        name="popproxy-2-workers",
        program=OWN,
        command=_popproxy(workers=2),
        tls=True,
        one_process=False,
        up="listening on",
    ),
    Peer(name="popproxy-unsealed", program=OWN, command=_popproxy("--no-seal"), tls=True),
    Peer(name="haproxy", program="haproxy", command=_haproxy, tls=True),
    Peer(name="nginx", program="nginx", command=_nginx),
    Peer(name="socat", program="socat", command=_socat, one_process=False),
    Peer(name="mitmdump", program="mitmdump", command=_mitmdump, tls=True),
    Peer(name="bare-trio", program=sys.executable, command=_bare_relay),
)
"""In the order of tables; `nobody`, no proxy at all, comes first there."""


def in_order(names: Iterable[str]) -> list[str]:
    """Sort peers' names as tables have them: nobody, the known ones, others."""
    known = [NOBODY, *(peer.name for peer in PEERS)]
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))
