"""`openssl s_client` as a mail client: OpenSSL speaks TLS, this module speaks POP3 through it."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import threading
from typing import IO

from tests.support.clients import SECONDS, Account, Fetched, environment


def s_client(account: Account) -> Fetched:
    """Log in, fetch every mail and quit; each command waits for the answer to the one before.

    The commands and their answers pass through s_client's pipes. With `-quiet` it prints nothing
    of its own there, takes no line for a command to itself, and does not end with its input.
    """
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as complaints,
        subprocess.Popen(
            _command(account),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=writing,
            env=environment(account),
            cwd=account.home,
        ) as process,
    ):
        os.close(writing)
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        assert process.stdin
        assert process.stdout
        try:
            said, messages = _fetch(process.stdin, process.stdout, account)
        except _RefusedError as refusal:
            process.kill()
            shown = complaints.read().decode(errors="replace")
            raise AssertionError(f"s_client: {refusal}\n{shown}") from refusal
        finally:
            process.wait()
            watchdog.cancel()
        told = complaints.read()
        assert process.returncode == 0, told.decode(errors="replace")
    return Fetched(messages=messages, output=b"".join(said) + told)


def _command(account: Account) -> list[str]:
    try:
        ipaddress.ip_address(account.host)
        name = ["-verify_ip", account.host, "-noservername"]
    except ValueError:
        name = ["-verify_hostname", account.host, "-servername", account.host]
    start = {"stls": ["-starttls", "pop3"], "tls": []}[account.security]
    address = f"{account.host}:{account.port}"
    trust = ["-CAfile", str(account.ca_file), "-no-CApath", "-no-CAstore", "-verify_return_error"]
    ends = ["-ignore_unexpected_eof"] if account.truncated else []
    return ["openssl", "s_client", "-connect", address, *start, *name, *trust, *ends, "-quiet"]


class _RefusedError(Exception):
    """The server refused a command, or the connection ended."""


def _fetch(
    to_server: IO[bytes], from_server: IO[bytes], account: Account
) -> tuple[list[bytes], list[bytes]]:
    said: list[bytes] = []

    def answer(command: str = "") -> bytes:
        if command:
            try:
                to_server.write(f"{command}\r\n".encode())
                to_server.flush()
            except OSError as error:
                raise _RefusedError(f"the connection ended before {command[:4]}") from error
        status = from_server.readline()
        said.append(status)
        if not status.startswith(b"+OK"):
            raise _RefusedError(f"{status!r} after {command[:4] or 'connecting'}")
        return status

    # Behind STLS s_client has read the greeting itself.
    if account.security == "tls":
        answer()
    answer(f"USER {account.user}")
    answer(f"PASS {account.password}")
    count = int(answer("STAT").split()[1])
    messages = []
    for number in range(1, count + 1):
        answer(f"RETR {number}")
        messages.append(_message(from_server))
    answer("QUIT")
    return said, messages


def _message(from_server: IO[bytes]) -> bytes:
    lines = []
    while (line := from_server.readline()) != b".\r\n":
        if not line:
            raise _RefusedError("the connection ended inside a message")
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)
