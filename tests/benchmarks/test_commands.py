"""`python -m tests.benchmarks`: its options, what it prints, and what it says is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.benchmarks.growth import Point
from tests.benchmarks.peers import PEERS
from tests.benchmarks.processes import ROOT
from tests.benchmarks.results import Results
from tests.support.programs import needs

LAID = ("gcc", "stdio.h", "openssl/ssl.h")


def _run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", *options]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@needs(*LAID)
def test_a_run_writes_its_tables_and_all_samples(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("all.json", "tables.md")]
    done = _run(
        *("--only", "tls-handshakes", "--rounds", "1", "--seconds", "0.3"),
        *("--peers", "nobody", "popproxy"),
        *("--folder", str(tmp_path), "--json", str(files[0]), "--markdown", str(files[1])),
    )
    assert done.returncode == 0, done.stderr
    assert "popproxy / peer: " in done.stdout
    assert files[1].read_text("utf-8") == done.stdout
    results = msgspec.json.decode(files[0].read_bytes(), type=Results)
    assert results.absent == {}
    assert {(sample.mode, sample.peer) for sample in results.samples} == {
        ("tls-handshakes", "nobody"),
        ("tls-handshakes", "popproxy"),
    }
    assert all(sample.rate > 0 and sample.round == 1 for sample in results.samples)
    assert sorted(tmp_path.iterdir()) == sorted(files), "nothing that was recorded is left"


@needs(*LAID)
def test_a_peer_that_is_missing_or_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    broken = tmp_path / "popproxy"
    broken.write_text("#!/bin/sh\necho out of order\nexit 3\n", "utf-8")
    broken.chmod(0o755)
    done = _run(
        *("--only", "chatty-1", "--rounds", "1", "--seconds", "0.2"),
        *("--peers", "nobody", "other-popproxy", "--against", str(broken)),
    )
    assert done.returncode == 0, "it is for our own failures only"
    assert "| nobody |" in done.stdout
    assert "- other-popproxy, chatty-1: did not come up; it said: out of order" in done.stdout
    gone = _run(
        *("--only", "idle", "--peers", "nobody", "other-popproxy"),
        *("--against", str(tmp_path / "gone")),
    )
    assert f"- other-popproxy: not found: {tmp_path / 'gone'}" in gone.stdout


@pytest.mark.parametrize("name", ["haproxy", "nginx", "socat", "mitmdump"])
def test_for_every_peer_that_may_be_missing_it_is_said_how_to_get_it(name: str) -> None:
    (peer,) = (peer for peer in PEERS if peer.name == name)
    assert " install " in peer.missing()


def test_every_peer_and_every_mode_can_be_asked_for_by_name() -> None:
    shown = _run("--help").stdout
    for name in (
        "nobody",
        *(peer.name for peer in PEERS),
        "bulk-25mb",
        "tls-handshakes",
        "startup",
    ):
        assert name in shown
    shown = _run("growth", "--help").stdout
    for name in ("sessions", "working", "listings", "pipeline", "message", "--full", "--charts"):
        assert name in shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--only", "swimming"], "swimming"),
        (["--peers", "postman"], "no such peer: postman; there are nobody, popproxy"),
        (["growth", "--only", "swimming"], "swimming"),
    ],
)
def test_an_unknown_name_is_told_with_the_known_ones(options: list[str], says: str) -> None:
    done = _run(*options)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_points_that_were_kept_are_shown_again(tmp_path: Path) -> None:
    kept = tmp_path / "points.json"
    point = Point(series="message", peer="popproxy", size=1000, seconds=0.25, grown=0)
    kept.write_bytes(msgspec.json.encode([point]))
    done = _run("growth", "--from-json", str(kept))
    assert done.returncode == 0
    assert "RETR of one message" in done.stdout
    assert "250.00 ms" in done.stdout
