"""What is measured once beside the rounds: memory, starts, and a process's own counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.memory import idle, large_message
from tests.benchmarks.peers import Peer
from tests.benchmarks.processes import PeerError, Watched
from tests.benchmarks.rounds import Stage
from tests.benchmarks.startup import cpu_milliseconds
from tests.support.programs import needs

LAID = ("gcc", "stdio.h", "openssl/ssl.h")


@needs(*LAID)
def test_memory_is_told_for_each_connection(stage: Stage, bare_relay: Peer) -> None:
    (found,) = idle(stage, bare_relay, connections=100)
    assert (found.peer, found.unit) == ("bare-trio", "kB")
    assert found.what == "memory of one of 100 idle connections"
    assert 0 < found.value < 1000, "of one, not of all"


@needs(*LAID)
def test_memory_during_a_large_message_and_after_it_are_told(
    stage: Stage, bare_relay: Peer
) -> None:
    during, after = large_message(stage, bare_relay)
    assert during.value >= after.value
    assert during.value < 100, "a relay does not hold 200 MiB"


_HOLDS_FOR_A_WHILE = "for _ in open(0): print(len(bytes([1]) * 50_000_000), flush=True)"


def test_the_peak_of_memory_is_seen_and_forgotten() -> None:
    command = [sys.executable, "-c", _HOLDS_FOR_A_WHILE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        watched = Watched(process.pid)
        for _ in range(2):
            process.stdin.write(b"now\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"50000000\n"
        assert watched.peak() > 50_000_000
        watched.forget_peak()
        assert watched.peak() < 50_000_000
        process.stdin.close()


def test_cpu_time_of_a_start_is_that_until_it_listens() -> None:
    line = "import sys, time; print('listening on pop3', file=sys.stderr, flush=True)"
    idle_then = f"{line}; time.sleep(3600)"
    assert 0 < cpu_milliseconds([sys.executable, "-c", idle_then]) < 60_000


def test_a_start_that_fails_is_no_measurement(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n", "utf-8")
    program.chmod(0o755)
    with pytest.raises(PeerError, match="broken: out of order"):
        cpu_milliseconds([str(program)])
