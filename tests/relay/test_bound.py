"""What is done between binding the listeners and all the rest, such as giving root up (P70)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from popproxy.privacy import Policy
from popproxy.relay import Route, parse_url, serve
from popproxy.tls.settings import ListenerTls
from tests.support.relaying import KeepingHub


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def route(port: int, authority: Path) -> Route:
    return Route(
        name="r",
        listen=parse_url(f"pop3s://127.0.0.1:{port}", listener=True),
        upstream=parse_url("pop3://127.0.0.1:9", listener=False),
        listener_tls=ListenerTls(authority=authority),
    )


async def test_p70_listeners_are_bound_by_then_and_no_file_was_touched(tmp_path: Path) -> None:
    stop = trio.Event()
    stop.set()
    seen = []
    authority = tmp_path / "authority"
    port = free_port()

    def bound() -> None:
        with socket.create_connection(("127.0.0.1", port)):
            seen.append(authority.exists())

    await serve([route(port, authority)], hub=KeepingHub(), policy=Policy(), stop=stop, bound=bound)
    assert seen == [False]
    assert authority.exists(), "it was made afterwards"


async def test_p70_if_it_fails_nothing_is_served(tmp_path: Path) -> None:
    port = free_port()

    def bound() -> None:
        raise PermissionError

    one = route(port, tmp_path / "authority")
    with pytest.raises(PermissionError):
        await serve([one], hub=KeepingHub(), policy=Policy(), stop=trio.Event(), bound=bound)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
