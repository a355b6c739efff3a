"""Asks one listener for many names, each in a real client's first message; a process of its own.

Tells in JSON by how much its memory grew and which files it left. Run as a program:
`python -m tests.tls.many_names FOLDER COUNT`.
"""

from __future__ import annotations

import json
import random
import string
import sys
from pathlib import Path

from popproxy.tls.leaves import ListenerContext
from popproxy.tls.settings import ListenerTls
from tests.support.handshakes import TLS12, TLS13, answered, hello

LABEL = 24
WARM = 20
"""Names asked for before memory is measured: OpenSSL and Python load what they need."""


def resident() -> int:
    """Give the octets of memory that this process holds now."""
    fields = Path("/proc/self/status").read_text("ascii").split()
    return int(fields[fields.index("VmRSS:") + 1]) * 1024


def main(folder: Path, count: int) -> None:
    """Ask, and tell what it took."""
    listener = ListenerContext(
        ListenerTls(authority=folder / "authority"), default_names=["pop.example.org"]
    )
    # Few messages serve for all: a server does not know that their random octets came before.
    placeholder = "x" * LABEL + ".example"
    messages = [hello(placeholder.encode(), version) for version in (TLS12, TLS12, TLS13)]
    source = random.Random(36)  # noqa: S311 - names, not secrets
    started, most, asked = 0, 0, set()
    for number in range(WARM + count):
        if number == WARM:
            started = most = resident()
        label = "".join(source.choices(string.ascii_lowercase + string.digits, k=LABEL - 1)) + "z"
        name = f"{label}.example"
        message = messages[number % len(messages)].replace(placeholder.encode(), name.encode())
        server, _ = answered(listener, message)
        asked.add(server.requested_name)
        if number % 50 == 0:
            most = max(most, resident())
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    told = {"grew": most - started, "asked": len(asked), "files": files}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
