"""The wire between the real command's two sockets: what goes in comes out, as it went in."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.proxy import Proxy, records, with_action
from tests.support.sockets import (
    Session,
    Upstream,
    fill,
    is_reset,
    pass_through,
    receive,
    receive_to_end,
    reset,
    send_for_ever,
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as listener:
        yield listener


@pytest.fixture(scope="module")
def proxy(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One popproxy for the module, with every output on; at its end the capture is looked at."""
    home: Path = tmp_path_factory.mktemp("transparency") / "proxy"
    outputs = ("--jsonl", "log.jsonl", "--text", "log.txt", "--putty", "&S.log")
    with Proxy(home, upstream.port, *outputs) as running:
        yield running
        assert running.stop() == 0
        capture = records(home / "log.jsonl")
        ends = with_action(capture, "session.end")
        assert len(ends) == len(with_action(capture, "session.start"))
        assert {end["summary"]["reason"] for end in ends} <= {
            "client-closed",
            "server-closed",
            "client-reset",
            "server-reset",
        }


@pytest.fixture
def session(upstream: Upstream, proxy: Proxy) -> Iterator[Session]:
    made = upstream.session(proxy.port)
    yield made
    made.client.close()
    made.server.close()


def _each_segment_arrives_alone(
    source: socket.socket, sink: socket.socket, segments: list[bytes]
) -> None:
    for segment in segments:
        source.sendall(segment)
        assert sink.recv(1 << 16) == segment


def test_p24_commands_arrive_segment_by_segment_and_none_waits_for_its_end(
    session: Session,
) -> None:
    session.greet()
    _each_segment_arrives_alone(
        session.client,
        session.server,
        [b"US", b"ER bo\r", b"\nPA", b"SS correct horse\r\nSTAT\r\n", b"\0", b"\r", b"\n", b"QUIT"],
    )


def test_p24_responses_arrive_segment_by_segment_and_none_waits_for_its_end(
    session: Session,
) -> None:
    _each_segment_arrives_alone(
        session.server, session.client, [b"+", b"OK ready", b"\r\n", b"+OK\r\n+OK\r\n-E", b"RR\r\n"]
    )


def test_p24_one_octet_segments(session: Session) -> None:
    session.greet()
    command = b"user bo\r\npass correct horse\r\nretr 1\r\nquit\r\n"
    _each_segment_arrives_alone(session.client, session.server, [bytes([o]) for o in command])
    responses = b"+OK\r\n+OK\r\n+OK 5 octets\r\na\r\n..\r\n.\r\n+OK bye\r\n"
    _each_segment_arrives_alone(session.server, session.client, [bytes([o]) for o in responses])


def test_p23_pipelined_commands_stay_in_one_segment_and_in_order(session: Session) -> None:
    session.greet()
    pipelined = b"".join(b"RETR %d\r\n" % number for number in range(2, 400))
    _each_segment_arrives_alone(session.client, session.server, [pipelined])


def test_p23_a_large_segment_is_not_parted(session: Session) -> None:
    session.greet()
    _each_segment_arrives_alone(session.server, session.client, [bytes(range(256)) * 64])


ODD = {
    "NUL": b"NOOP\0\r\nUSER \0bo\0\r\n\0\0\0",
    "8 bit": bytes(range(256)) + b"\r\n",
    "UTF-8": "USER grüße“”\u2028\r\n".encode(),
    "bare LF": b"NOOP\n\n\nPASS secret words\n",
    "bare CR": b"NOOP\rPASS secret words\r\r\r",
    "dots": b".\r\n..\r\n.\n\r\n.\r\n",
    "a line of 70 KB": b"x" * 70_000 + b"\r\n",
    "no line end": b"NOOP",
    "a TLS handshake": bytes.fromhex("160301007a0100007603 03") + bytes(100),
    "HTTP": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "an empty line": b"\r\n",
    "PuTTY's header": b"=~=~=~=~=~=~=~=~=~=~=~= PuTTY log 2011.10.29 22:37:46 =~=~\r\n",
    "escapes": b"\x1b[2J\x1b]0;title\x07\x9b31m\r\n",
    "one octet": b"+",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=[name.replace(" ", "-") for name in ODD])
@pytest.mark.parametrize("greeted", [True, False], ids=["greeted", "at-once"])
def test_p23_odd_octets_pass_in_both_directions_up_to_the_end(
    session: Session, odd: bytes, greeted: bool
) -> None:
    if greeted:
        session.greet()
    pass_through(session.client, session.server, odd)
    pass_through(session.server, session.client, odd)
    session.client.sendall(odd)
    session.client.shutdown(socket.SHUT_WR)
    assert receive_to_end(session.server) == odd
    session.server.sendall(odd)
    session.server.close()
    assert receive_to_end(session.client) == odd


def test_p23_both_directions_at_full_speed_at_once(session: Session) -> None:
    chance = random.Random(23)  # noqa: S311  # octets to compare, the same in each run
    there, back = chance.randbytes(24 << 20), chance.randbytes(24 << 20)
    senders = [
        threading.Thread(target=session.client.sendall, args=(there,)),
        threading.Thread(target=session.server.sendall, args=(back,)),
    ]
    came_back: list[bytes] = []
    reader = threading.Thread(target=lambda: came_back.append(receive(session.client, len(back))))
    for thread in (*senders, reader):
        thread.start()
    assert hashlib.sha256(receive(session.server, len(there))).digest() == (
        hashlib.sha256(there).digest()
    )
    for thread in (*senders, reader):
        thread.join()
    assert came_back == [back]


def test_octets_behind_quit_pass(session: Session) -> None:
    session.log_in()
    pass_through(session.client, session.server, b"QUIT\r\nNOOP\r\nand more")
    pass_through(session.server, session.client, b"+OK bye\r\nand more")


def test_p26_a_half_close_of_the_client_passes_and_it_still_gets_a_long_reply(
    session: Session,
) -> None:
    session.log_in()
    pass_through(session.client, session.server, b"RETR 1\r\n")
    session.client.shutdown(socket.SHUT_WR)
    assert session.server.recv(1) == b""
    reply = b"+OK\r\n" + b"0123456789abcdef\r\n" * 160_000 + b".\r\n"
    sender = threading.Thread(target=session.server.sendall, args=(reply,))
    sender.start()
    assert receive(session.client, len(reply)) == reply
    sender.join()
    session.server.close()
    assert receive_to_end(session.client) == b""


def test_p26_a_half_close_of_the_server_passes_and_it_still_gets_commands(
    session: Session,
) -> None:
    session.log_in()
    session.server.shutdown(socket.SHUT_WR)
    assert session.client.recv(1) == b""
    pass_through(session.client, session.server, b"DELE 1\r\nQUIT\r\n")
    session.client.close()
    assert session.server.recv(1) == b""


@pytest.mark.parametrize("in_a_body", [False, True])
def test_p26_a_reset_passes_and_other_sessions_stay(
    upstream: Upstream, proxy: Proxy, session: Session, in_a_body: bool
) -> None:
    session.log_in()
    for client_resets in (True, False):
        other = upstream.session(proxy.port).log_in()
        if in_a_body:
            other.exchange(b"RETR 1\r\n", b"+OK\r\nSubject: half a ma")
        reset(other.client if client_resets else other.server)
        assert is_reset(other.server if client_resets else other.client)
        other.client.close()
        other.server.close()
        session.exchange(b"NOOP\r\n", b"+OK\r\n")


def test_p26_a_reset_passes_while_the_peer_reads_nothing(session: Session) -> None:
    session.log_in()
    session.client.sendall(b"RETR 1\r\n")
    fill(session.server)
    reset(session.client)
    with pytest.raises(ConnectionError):
        send_for_ever(session.server)
