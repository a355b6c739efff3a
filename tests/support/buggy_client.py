"""A mail client with bugs that mail clients have had, to see whether a capture brings them out."""

from __future__ import annotations

import re
import socket
from typing import Literal

from tests.support.waiting import PATIENCE

Bug = Literal["none", "terminator", "dot", "octets"]
BUGS: tuple[Bug, ...] = ("terminator", "dot", "octets")

_END = b"\r\n.\r\n"


class FetchError(Exception):
    """What the client would tell its user, or what would make it wait for ever."""


class BuggyClient:
    """Fetches every message.

    Args:
        port: The server's, on this machine.
        bug: `terminator`: it looks for the end of a message in the last segment only; `dot`: it
            takes all dots off the beginning of a line; `octets`: it believes the number of octets
            in the answer to RETR.
    """

    def __init__(self, port: int, bug: Bug) -> None:
        self._bug = bug
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._held = b""

    def fetch(self) -> list[bytes]:
        """Fetch every message.

        Raises:
            FetchError: It cannot go on.
        """
        try:
            self._line()
            self._ask("USER ada")
            self._ask("PASS s3cr3t-of-ada")
            count = int(self._ask("STAT").split()[1])
            messages = [self._retrieve(number) for number in range(1, count + 1)]
            self._ask("QUIT")
        finally:
            self._socket.close()
        return messages

    def _ask(self, command: str) -> bytes:
        self._socket.sendall(command.encode() + b"\r\n")
        answer = self._line()
        if not answer.startswith(b"+OK"):
            raise FetchError(f"{command.split()[0]} was refused")
        return answer

    def _read(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise FetchError("the server is gone")
        return data

    def _line(self) -> bytes:
        while b"\n" not in self._held:
            self._held += self._read()
        line, _, self._held = self._held.partition(b"\n")
        return line.rstrip(b"\r")

    def _retrieve(self, number: int) -> bytes:
        status = self._ask(f"RETR {number}")
        if self._bug == "octets" and (found := re.search(rb"\d+", status)):
            return self._counted(int(found[0]))
        segment = self._held = b"\r\n" + self._held  # the status line's end
        while not self._held.endswith(_END):
            segment = self._read()
            self._held += segment
        if self._bug == "terminator" and not segment.endswith(_END):
            raise FetchError("it waits for the end of the message for ever")
        content, self._held = self._held[2 : -len(_END) + 2], b""
        return self._unstuffed(content)

    def _unstuffed(self, content: bytes) -> bytes:
        lines = content.split(b"\r\n")
        if self._bug == "dot":
            return b"\r\n".join(line.lstrip(b".") for line in lines)
        return b"\r\n".join(line.removeprefix(b".") for line in lines)

    def _counted(self, octets: int) -> bytes:
        while len(self._unstuffed(self._held)) < octets + 2:  # the final dot's CRLF
            self._held += self._read()
        content, self._held = self._unstuffed(self._held), b""
        if content[octets:] != b"\r\n":
            raise FetchError("the message does not end where the server said")
        return content[:octets]


def shows(port: int, bug: Bug) -> bool:
    """Tell whether a bug shows at a server: fetch with it, and without."""
    right = BuggyClient(port, "none").fetch()
    try:
        return BuggyClient(port, bug).fetch() != right
    except FetchError:
        return True
