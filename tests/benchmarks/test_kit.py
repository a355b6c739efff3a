"""The kit in C: what it counts is what was sent, and it notices a single wrong octet."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.benchmarks.certificates import Certificates
from tests.benchmarks.kit import Kit, KitError, build, read_report
from tests.support.programs import needs

pytestmark = needs("gcc", "stdio.h", "openssl/ssl.h")

MAILDROP = "3x4096,1x3000000"
LARGE = ("bulk", "--messages", "4", "--rounds", "1")


def _fetched(port: int, number: int) -> bytes:
    """Fetch a message by hand; gives all octets of the response."""
    said = f"USER bench\r\nPASS word\r\nRETR {number}\r\nQUIT\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(said)
        got = b""
        while more := client.recv(1 << 20):
            got += more
    greeting, user, password, rest = got.split(b"\r\n", 3)
    assert {greeting[:3], user, password} == {b"+OK"}
    message, end, goodbye = rest.rpartition(b"\r\n.\r\n")
    assert goodbye == b"+OK\r\n"
    return message + end


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_octets_of_messages_are_counted_as_they_are_on_the_wire(
    kit: Kit, certificates: Certificates, tls: bool
) -> None:
    with kit.serving(MAILDROP) as (plain, _):
        size = len(_fetched(plain, 4))
    with kit.serving(MAILDROP, tls=certificates if tls else None) as (port, _):
        load = kit.run(LARGE, port, maildrop=MAILDROP, tls=tls)
    assert (load.errors, load.first_error) == (0, "")
    assert (load.operations, load.octets, load.total_octets) == (1, size, size)
    assert size == pytest.approx(3_000_000, abs=100)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("how", ["flip", "short", "long"])
def test_the_load_notices_what_is_not_as_it_was(
    kit: Kit, certificates: Certificates, how: str, tls: bool
) -> None:
    secured = certificates if tls else None
    with kit.serving(MAILDROP, tls=secured, spoil=how) as (port, _):
        load = kit.run(LARGE, port, maildrop=MAILDROP, tls=tls)
    assert load.errors == 1
    assert load.first_error.startswith("the answer to RETR 4 differs")


def test_one_octet_is_enough(kit: Kit) -> None:
    with kit.serving(MAILDROP) as (right, _), kit.serving(MAILDROP, spoil="flip") as (wrong, _):
        pairs = zip(_fetched(right, 4), _fetched(wrong, 4), strict=True)
        differing = sum(one != other for one, other in pairs)
    assert 1 <= differing <= 3, "the test above has to show that so few are found"


def test_a_wrong_listing_is_noticed(kit: Kit) -> None:
    with kit.serving("3x4096") as (port, _):
        load = kit.run(["chatty", "--say", "l", "--rounds", "1"], port, maildrop="3x4200")
    assert load.errors == 1
    assert "LIST" in load.first_error


@pytest.mark.parametrize(
    ("options", "operations"),
    [
        (("bulk", "--connections", "2", "--messages", "1-3", "--rounds", "5"), 10),
        (("pipe", "--window", "8", "--messages", "1-3", "--rounds", "20"), 20),
        (("chatty", "--connections", "4", "--rounds", "9"), 36),
        (("chatty", "--say", "nlu", "--window", "100", "--rounds", "100"), 100),
        (("churn", "--connections", "4", "--messages", "1-3", "--rounds", "3"), 12),
        (("hs", "--connections", "3", "--rounds", "2"), 6),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_as_many_operations_are_done_as_were_asked_for(
    kit: Kit, options: tuple[str, ...], operations: int
) -> None:
    with kit.serving(MAILDROP) as (port, _):
        load = kit.run(options, port, maildrop=MAILDROP)
    assert (load.mode, load.errors, load.first_error) == (options[0], 0, "")
    assert load.operations == operations
    assert 0 < load.p50_us <= load.p99_us <= load.max_us


def test_handshakes_are_sessions_with_tls(kit: Kit, certificates: Certificates) -> None:
    with kit.serving(tls=certificates) as (port, _):
        load = kit.run(["hs", "--connections", "2", "--rounds", "3"], port, tls=True)
    assert (load.errors, load.operations) == (0, 6)


def test_connections_are_held_and_answer_at_the_end(kit: Kit) -> None:
    with kit.serving() as (port, _), kit.holding(port, 200) as seconds:
        assert seconds > 0


def test_a_connection_that_broke_meanwhile_is_an_error(kit: Kit) -> None:
    with (
        kit.serving() as (port, server),
        pytest.raises(KitError, match="3 connections: "),
        kit.holding(port, 3),
    ):
        os.kill(server, signal.SIGKILL)


def test_a_server_that_cannot_start_says_why(kit: Kit) -> None:
    with pytest.raises(KitError, match="not a maildrop: much"), kit.serving("much"):
        pass


def test_a_wrong_option_of_the_load_is_told(kit: Kit) -> None:
    with pytest.raises(KitError, match="load swim: not a mode: swim"):
        kit.run(["swim"], 1)


def test_what_is_no_report_is_told() -> None:
    with pytest.raises(KitError, match="gave no result, but 'Killed'"):
        read_report("up 1.0\nKilled\n")


def test_without_a_compiler_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("gcc") is None
    with pytest.raises(KitError, match="apt install gcc libc6-dev libssl-dev"):
        build(tmp_path)
