"""Connecting to a collector: all its addresses get their turn, and nothing waits for ever."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator

import pytest

from popproxy.sinks.collector import Collector, CollectorError, connect

SILENT = "127.0.0.1"
ANSWERING = "127.0.0.2"


def wait(one: socket.socket, events: int, until: float) -> bool:
    poll = select.poll()
    poll.register(one, events)
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError
    return True


@pytest.fixture
def silent() -> Iterator[int]:
    """Give a port whose system drops every attempt to connect: its queue is full."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind((SILENT, 0))
        listener.listen(0)
        for _ in range(3):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def addresses(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    def found(_host: str, port: int, **_: object) -> list[object]:
        kind = socket.AF_INET, socket.SOCK_STREAM, 0, ""
        return [(*kind, (host, port)) for host in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses(monkeypatch, SILENT, ANSWERING)
    with socket.socket() as listener:
        listener.bind((ANSWERING, silent))
        listener.listen()
        made = connect(Collector(host="x", port=silent), wait, time.monotonic() + 1)
        assert made is not None
        assert made.socket.getpeername()[0] == ANSWERING
        made.close()


def test_p58_no_address_answers_in_time(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses(monkeypatch, SILENT, SILENT)
    with pytest.raises(CollectorError, match="no answer in time"):
        connect(Collector(host="x", port=silent), wait, time.monotonic() + 0.2)


def test_p58_a_handshake_that_nobody_answers_ends_in_time() -> None:
    import ssl

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def tls() -> ssl.SSLContext:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

        place = Collector(host="127.0.0.1", port=port, tls=tls)
        with pytest.raises(CollectorError, match="no answer in time"):
            connect(place, wait, time.monotonic() + 0.2)


def test_names_that_are_not_found() -> None:
    with pytest.raises(CollectorError, match="the name was not found"):
        connect(Collector(host="x" * 70, port=1), wait, time.monotonic() + 1)


def test_whoever_has_to_stop_gives_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = Collector(host="127.0.0.1", port=listener.getsockname()[1])
        assert connect(place, lambda *_: False, time.monotonic() + 1) is None
