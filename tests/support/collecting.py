"""fetchmail as a collector: fetches and deletes, a few mails a session, from an address of its own.

fetchmail cannot choose the address that it connects from. It can let a program connect (`plugin`),
and that program can.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from tests.support.clients import Account, environment, private_file

AT_ONCE = 2
"""Mails of one session; then it deletes them, and quits."""
NO_MAIL = 1
"""fetchmail's exit status where the maildrop is empty."""
ATTEMPTS = 200

_CONNECT = """\
import os, socket, sys, threading
source, host, port = sys.argv[1:]
connected = socket.create_connection((host, int(port)), source_address=(source, 0))
def outwards():
    while data := os.read(0, 65536):
        connected.sendall(data)
    connected.shutdown(socket.SHUT_WR)
threading.Thread(target=outwards, daemon=True).start()
while data := connected.recv(65536):
    os.write(1, data)
"""


class Collector:
    """fetchmail, run again and again until its account is empty, in a thread of its own.

    Attributes:
        source: The address that it connects from.
        user: Whose account it collects.
    """

    def __init__(self, account: Account, source: str) -> None:
        """Begin to collect.

        Args:
            account: Where and as whom.
            source: The address to connect from.
        """
        self.source = source
        self.user = account.user
        self._account = account
        self._folder = account.home / "fetched"
        self._folder.mkdir()
        agent = private_file(
            account.home / "deliver",
            f"#!/bin/sh\nexec cat > $(mktemp '{self._folder}'/XXXXXXXX)\n",
        )
        agent.chmod(0o700)
        connect = account.home / "connect.py"
        connect.write_text(_CONNECT)
        self._configuration = private_file(
            account.home / "fetchmailrc",
            f'set invisible\nset pidfile "{account.home}/fetchmail.pid"\n'
            f"poll {account.host} service {account.port} protocol POP3\n"
            f'  plugin "{sys.executable} -IS {connect} {source} %h %p"\n'
            f'  user "{account.user}" password "{account.password}"\n'
            f"  sslproto '' no rewrite fetchall no keep pass8bits fetchlimit {AT_ONCE}\n"
            f'  mda "{agent}"\n',
        )
        self._outcomes: list[int] = []
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _collect(self) -> None:
        for _ in range(ATTEMPTS):
            ended = subprocess.run(
                ["fetchmail", "-f", self._configuration, "--nodetach"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment(self._account),
                cwd=self._account.home,
                timeout=60,
                check=False,
            )
            self._outcomes.append(ended.returncode)
            if ended.returncode == NO_MAIL:
                break

    def wait(self) -> list[int]:
        """Wait until the account is empty; give the exit status of each session."""
        self._thread.join()
        return self._outcomes

    @property
    def collected(self) -> list[bytes]:
        """What it has fetched so far; a mail of a session that was cut off may be there twice."""
        return [path.read_bytes() for path in sorted(Path(self._folder).iterdir())]
