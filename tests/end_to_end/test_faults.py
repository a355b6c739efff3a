"""What goes wrong around popproxy: disks, signals, limits, peers without an end."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support.proxy import (
    Proxy,
    Record,
    records,
    records_in,
    wait_for_sessions_to_end,
    with_action,
)
from tests.support.sockets import (
    Session,
    Upstream,
    fill,
    pass_through,
    receive,
    receive_to_end,
)
from tests.support.waiting import until

MIB = 1 << 20
QUEUE = 16 * MIB
"""What an output may hold back in memory (`popproxy.sinks.backlog.QUEUE_OCTETS`)."""
MESSAGE = b"+OK 1048576 octets\r\n" + (b"0123456789abcde\r\n" * 61_681) + b".\r\n"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as listener:
        yield listener


def _sent_through(source: socket.socket, sink: socket.socket, data: bytes) -> None:
    """Send what is too large for the buffers on the way."""
    sender = threading.Thread(target=source.sendall, args=(data,))
    sender.start()
    assert receive(sink, len(data)) == data
    sender.join()


def _retrieve(session: Session, times: int = 1) -> None:
    for _ in range(times):
        pass_through(session.client, session.server, b"RETR 1\r\n")
        _sent_through(session.server, session.client, MESSAGE)


def _end(path: Path) -> Record:
    """Give the end of the first session; who tried whether popproxy still listens has others."""
    found = records(path)
    first = found[0]["session"]["id"]
    (end,) = (
        record for record in with_action(found, "session.end") if record["session"]["id"] == first
    )
    return end


def _stops_listening(proxy: Proxy, number: signal.Signals) -> None:
    """Send a signal, and wait until no client is taken any more."""
    proxy.process.send_signal(number)
    until(lambda: b"stopping" in proxy.stderr, "the word that it is stopping")
    until(lambda: _refuses(proxy.port), "the listener's end")


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


# --- Files ---


def test_p64_after_sigkill_every_line_but_perhaps_the_last_parses_and_none_older_than_1_s_lacks(
    upstream: Upstream, tmp_path: Path
) -> None:
    with Proxy(tmp_path / "proxy", upstream.port, "--jsonl", "log.jsonl") as proxy:
        session = upstream.session(proxy.port).log_in()
        done: list[float] = []
        while not done or done[-1] - done[0] < 2.5:
            session.exchange(b"DELE %d\r\n" % len(done), b"+OK deleted\r\n")
            done.append(time.monotonic())
        killed = time.monotonic()
        proxy.kill()
    found = records_in((proxy.home / "log.jsonl").read_bytes().rpartition(b"\n")[0])
    told = {
        record["pop3"]["arguments"]
        for record in with_action(found, "pop3.response")
        if record["pop3"]["command"] == "DELE"
    }
    old = {str(number) for number, at in enumerate(done) if at < killed - 1}
    assert old
    assert old - told == set()


def test_p61_a_full_disk_stops_no_session(upstream: Upstream, tmp_path: Path) -> None:
    outputs = ("--jsonl", "/dev/full", "--text", "log.txt")
    with Proxy(tmp_path / "proxy", upstream.port, *outputs) as proxy:
        session = upstream.session(proxy.port).log_in()
        _retrieve(session, times=4)
        session.quit()
        assert proxy.stop() == 0
    assert b"/dev/full" in proxy.stderr
    assert "QUIT" in (proxy.home / "log.txt").read_text()


def test_p54_a_fifo_that_nobody_reads_stops_no_session(upstream: Upstream, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with Proxy(tmp_path / "proxy", upstream.port, "--jsonl", fifo, "--text", "log.txt") as proxy:
        session = upstream.session(proxy.port).log_in()
        _retrieve(session, times=4)
        session.quit()
        assert proxy.stop() == 0
    assert "QUIT" in (proxy.home / "log.txt").read_text()


@pytest.mark.soak  # it takes times
def test_p54_a_noop_takes_no_longer_beside_a_fifo_that_nobody_reads(
    upstream: Upstream, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # it is opened, and never read
    with (
        Proxy(tmp_path / "blocked", upstream.port, "--jsonl", fifo) as blocked,
        Proxy(tmp_path / "free", upstream.port, "--jsonl", "/dev/null") as free,
    ):
        sessions = [upstream.session(proxy.port).log_in() for proxy in (blocked, free)]
        for session in sessions:
            _retrieve(session, times=32)  # more than may wait for an output
        times: list[list[float]] = [[], []]
        for _ in range(500):  # in turns: whatever else the machine does slows both
            for session, taken in zip(sessions, times, strict=True):
                began = time.monotonic()
                session.exchange(b"NOOP\r\n", b"+OK\r\n")
                taken.append(time.monotonic() - began)
        for session in sessions:
            session.quit()
        assert blocked.stop() == free.stop() == 0
    os.close(reader)
    with_fifo, without = (sorted(taken)[len(taken) * 99 // 100] for taken in times)
    assert with_fifo < 5 * without + 0.02
    assert sorted(times[0])[250] < 3 * sorted(times[1])[250] + 0.002
    assert b"were lost" in blocked.stderr


def test_p54_a_fifo_with_a_reader_that_sleeps_stops_no_session_and_losses_are_told(
    upstream: Upstream, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with Proxy(tmp_path / "proxy", upstream.port, "--jsonl", fifo) as proxy:
        session = upstream.session(proxy.port).log_in()
        _retrieve(session, times=4)
        before = proxy.memory()
        _retrieve(session, times=64)
        assert proxy.memory() - before < QUEUE + 8 * MIB
        session.quit()
        os.set_blocking(reader, True)
        with os.fdopen(reader, "rb") as pipe:
            gap = _read_until(pipe, "gap")
            assert gap["gap"]["records"] > 0
            upstream.session(proxy.port).log_in().quit()
            end = _read_until(pipe, "session.end")
            assert end["session"]["id"] != gap["session"]["id"]
        assert proxy.stop() == 0
    assert f"{gap['gap']['records']} records were lost" in proxy.stderr.decode()


def _read_until(pipe: BinaryIO, action: str) -> Record:
    """Read records, each of which must be whole, until one of a kind comes."""
    for line in pipe:
        record: Record = json.loads(line)
        if record["event"]["action"] == action:
            return record
    raise AssertionError(f"there is no {action}")


def test_p61_a_log_directory_that_vanishes_stops_no_session_and_comes_back(
    upstream: Upstream, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    with Proxy(tmp_path / "proxy", upstream.port, "--jsonl", folder / "log.jsonl") as proxy:
        session = upstream.session(proxy.port).log_in()
        until((folder / "log.jsonl").exists, "the log")
        shutil.rmtree(folder)
        _retrieve(session, times=2)
        session.exchange(b"NOOP\r\n", b"+OK\r\n")

        def is_back() -> bool:
            session.exchange(b"NOOP\r\n", b"+OK\r\n")
            return (folder / "log.jsonl").exists()

        until(is_back, "the log's return")
        session.quit()
        assert proxy.stop() == 0
    assert with_action(records(folder / "log.jsonl"), "session.end")


def test_p27_with_require_log_a_full_disk_lets_nothing_pass(
    upstream: Upstream, tmp_path: Path
) -> None:
    options = ("--jsonl", "/dev/full", "--require-log")
    with Proxy(tmp_path / "proxy", upstream.port, *options) as proxy:
        session = upstream.session(proxy.port)
        session.server.sendall(b"+OK the secret greeting\r\n")
        answer = receive_to_end(session.client)
        assert answer.startswith(b"-ERR [SYS/TEMP]")
        assert b"secret" not in answer
        assert proxy.stop() == 0


def test_p63_a_closed_stdout_ends_no_session(upstream: Upstream, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    outputs = ("--jsonl", "-", "--text", "log.txt")
    with Proxy(tmp_path / "proxy", upstream.port, *outputs, stdout=writer) as proxy:
        os.close(writer)
        session = upstream.session(proxy.port).log_in()
        os.close(reader)
        _retrieve(session, times=2)
        session.quit()
        upstream.session(proxy.port).log_in().quit()
        assert proxy.stop() == 0
    assert (proxy.home / "log.txt").read_text().count("QUIT") == 2


# --- Limits ---


def test_p56_with_64_descriptors_sessions_go_on_and_waiting_clients_get_their_turn(
    upstream: Upstream, tmp_path: Path
) -> None:
    limited = ("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh")
    started = time.monotonic()
    with Proxy(tmp_path / "proxy", upstream.port, "--jsonl", "log.jsonl", prefix=limited) as proxy:
        session = upstream.session(proxy.port).log_in()
        greeter = threading.Thread(target=_greet_all, args=(upstream,), daemon=True)
        greeter.start()
        waiting = [upstream.connect(proxy.port) for _ in range(49)]
        session.exchange(b"NOOP\r\n", b"+OK\r\n")
        greetings = []
        for client in waiting:
            greetings.append(client.recv(512))
            client.close()
            session.exchange(b"NOOP\r\n", b"+OK\r\n")
        last = upstream.connect(proxy.port)
        assert last.recv(512) == b"+OK ready\r\n"
        last.close()
        session.quit()
        took = time.monotonic() - started
        assert proxy.stop() == 0
    assert {greeting[:15] for greeting in greetings} <= {b"+OK ready\r\n", b"-ERR [SYS/TEMP]"}
    assert b"+OK ready\r\n" in greetings
    assert proxy.stderr.count(b"too many open files") <= 1 + took / 10
    records(proxy.home / "log.jsonl")


def _greet_all(upstream: Upstream) -> None:
    """Greet whoever connects, and say no more, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            with upstream.accept() as server, contextlib.suppress(OSError):
                server.sendall(b"+OK ready\r\n")


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_2000_idle_sessions_are_held_and_each_answers(upstream: Upstream, tmp_path: Path) -> None:
    limits = ("--max-connections=2001", "--max-connections-per-client=2001")
    options = ("--jsonl", "log.jsonl", *limits)
    with Proxy(tmp_path / "proxy", upstream.port, *options) as proxy:
        upstream.session(proxy.port).log_in().quit()
        before = proxy.memory()
        sessions = [upstream.session(proxy.port).log_in() for _ in range(2000)]
        growth = proxy.memory() - before
        assert growth < 2000 * 32 * 1024
        for session in sessions:
            session.exchange(b"NOOP\r\n", b"+OK\r\n")
        for session in sessions:
            session.quit()
        found = wait_for_sessions_to_end(proxy.home / "log.jsonl", count=2001)
        assert len({record["session"]["id"] for record in found}) == 2001
        assert proxy.stop() == 0


def test_p60_an_upstream_that_refuses_is_told_to_the_client(tmp_path: Path) -> None:
    with Upstream() as gone:
        port = gone.port
    with (
        Proxy(tmp_path / "proxy", port, "--jsonl", "log.jsonl") as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client,
    ):
        assert receive_to_end(client).startswith(b"-ERR [SYS/TEMP] ")
        client.close()
        found = wait_for_sessions_to_end(proxy.home / "log.jsonl")
        assert "refused" in found[-1]["summary"]["detail"]
        assert proxy.stop() == 0


# --- Signals ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_p63_a_signal_lets_sessions_end_and_takes_no_more(
    upstream: Upstream, tmp_path: Path, number: signal.Signals
) -> None:
    with Proxy(tmp_path / "proxy", upstream.port, "--jsonl", "log.jsonl") as proxy:
        session = upstream.session(proxy.port).log_in()
        _stops_listening(proxy, number)
        _retrieve(session)
        session.quit()
        assert proxy.process.wait(30) == 0
    end = _end(proxy.home / "log.jsonl")
    assert end["summary"]["reason"] == "server-closed"
    assert end["summary"]["messages_retrieved"] == 1


def test_p63_a_session_that_does_not_end_is_closed_with_the_reason_shutdown(
    upstream: Upstream, tmp_path: Path
) -> None:
    configuration = tmp_path / "short.toml"
    configuration.write_text("[timeouts]\ndrain = 0.2\n")
    options = ("--jsonl", "log.jsonl", "--config", configuration)
    with Proxy(tmp_path / "proxy", upstream.port, *options) as proxy:
        session = upstream.session(proxy.port).log_in()
        assert proxy.stop() == 0
        assert receive_to_end(session.client) == b""
        assert receive_to_end(session.server) == b""
    end = _end(proxy.home / "log.jsonl")
    assert end["summary"]["reason"] == "shutdown"


def test_p63_a_second_signal_ends_at_once(upstream: Upstream, tmp_path: Path) -> None:
    configuration = tmp_path / "long.toml"
    configuration.write_text("[timeouts]\ndrain = 3600\n")
    options = ("--jsonl", "log.jsonl", "--config", configuration)
    with Proxy(tmp_path / "proxy", upstream.port, *options) as proxy:
        upstream.session(proxy.port).log_in()
        _stops_listening(proxy, signal.SIGTERM)
        assert proxy.stop() == 0
    end = _end(proxy.home / "log.jsonl")
    assert end["summary"]["reason"] == "shutdown"


# --- Peers without an end ---


def _takes_no_memory(proxy: Proxy, source: socket.socket, sink: socket.socket, octets: int) -> None:
    """Send octets without a line end through, and see that they are not kept.

    The first ones fill what is allocated once: buffers, a module that is loaded when there is
    time. While an output is slow its queue may fill; behind that nothing may remain.
    """
    _endless(source, sink, 64 * MIB)
    before = proxy.memory()
    proxy.forget_peak()
    _endless(source, sink, octets)
    assert proxy.memory("VmHWM") - before < QUEUE + 2 * MIB
    until(lambda: proxy.memory() - before < 2 * MIB, "memory to be given back")


def _endless(source: socket.socket, sink: socket.socket, octets: int) -> None:
    def send() -> None:
        for _ in range(octets // MIB):
            source.sendall(b"x" * MIB)

    sender = threading.Thread(target=send)
    sender.start()
    left = octets
    while left and (came := len(sink.recv(min(left, MIB)))):
        left -= came
    sender.join()
    assert left == 0


SIZES = [
    pytest.param(64 * MIB, id="64-MiB"),
    pytest.param(1024 * MIB, id="1-GiB", marks=pytest.mark.soak),
]
NOWHERE = ("--jsonl", "/dev/null")


@pytest.mark.parametrize("octets", SIZES)
@pytest.mark.parametrize("keyword", [b"PASS ", b"NOOP", b"\xff"])
def test_p50_a_command_line_without_an_end_takes_no_memory(
    upstream: Upstream, tmp_path: Path, octets: int, keyword: bytes
) -> None:
    with Proxy(tmp_path / "proxy", upstream.port, *NOWHERE) as proxy:
        session = upstream.session(proxy.port).greet()
        pass_through(session.client, session.server, keyword)
        _takes_no_memory(proxy, session.client, session.server, octets)


@pytest.mark.parametrize("octets", SIZES)
@pytest.mark.parametrize(
    "beginning",
    [b"", b"+OK 3 octets\r\n", b"+OK 3 octets\r\nSubject: one\r\n\r\n"],
    ids=["status-line", "header", "body"],
)
def test_p50_a_response_without_an_end_takes_no_memory(
    upstream: Upstream, tmp_path: Path, octets: int, beginning: bytes
) -> None:
    with Proxy(tmp_path / "proxy", upstream.port, *NOWHERE) as proxy:
        session = upstream.session(proxy.port).log_in()
        pass_through(session.client, session.server, b"RETR 1\r\n")
        pass_through(session.server, session.client, beginning)
        _takes_no_memory(proxy, session.server, session.client, octets)


def test_p53_a_client_that_reads_nothing_stops_its_server_and_takes_no_memory(
    upstream: Upstream, tmp_path: Path
) -> None:
    with Proxy(tmp_path / "proxy", upstream.port, *NOWHERE) as proxy:
        session = upstream.session(proxy.port).log_in()
        _retrieve(session, times=64)
        pass_through(session.client, session.server, b"RETR 1\r\n")
        before = proxy.memory()
        sent = fill(session.server)
        until(lambda: proxy.memory() - before < 2 * MIB, "memory to be given back")
        assert receive(session.client, sent) == b"x" * sent
