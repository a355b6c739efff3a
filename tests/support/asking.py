"""Asks a running popproxy how it is, by its Unix socket and by HTTP."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.support.waiting import PATIENCE


def report(path: Path) -> dict[str, Any]:
    """Give what a popproxy says at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(PATIENCE)
        asking.connect(str(path))
        found: dict[str, Any] = json.loads(_all(asking))
        return found


def request(port: int, octets: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request over HTTP, and give status, headers in lower case, and body."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as asking:
        asking.sendall(octets)
        head, _, body = _all(asking).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
    }
    return int(first.split()[1]), headers, body


def get(
    port: int, token: str = "", path: str = "/metrics", method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Ask for a page, as Prometheus does."""
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    return request(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n".encode())


def _all(asking: socket.socket) -> bytes:
    return b"".join(iter(lambda: asking.recv(65536), b""))
