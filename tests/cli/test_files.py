"""Options of files for the long run, as a popproxy that was started with them acts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.programs import find, needs
from tests.support.proxy import Proxy
from tests.support.running import AS_ROOT, NOWHERE, answering, connected, run, started
from tests.support.waiting import until

NAME = "all.20200101T120000Z.jsonl"


def recorded(home: Path, *options: str, server: int) -> None:
    """Have a session recorded, and what the options say done."""
    with started(
        "run", *AS_ROOT, "--listen", "pop3://127.0.0.1:0", "--upstream",
        f"pop3://127.0.0.1:{server}", "--jsonl", "all.jsonl", *options, cwd=home,
    ) as (process, port):  # fmt: skip
        connected(port).close()
        until(lambda: _ended(home / "all.jsonl"), "the session's end")
        until(lambda: not (home / NAME).exists() or not options, "what becomes of the old file")
        process.terminate()
        assert process.wait() == 0


def _ended(log: Path) -> bool:
    return log.exists() and b'"action":"session.end"' in log.read_bytes()


def test_p62_files_of_long_ago_are_removed_when_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("old")
    with answering() as server:
        recorded(tmp_path, server=server)
        assert (tmp_path / NAME).exists(), "nobody asked for it"
        recorded(tmp_path, "--keep-days", "30", server=server)
    assert not list(tmp_path.glob("all.2020*"))


def test_p62_files_are_packed_when_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("old")
    with answering() as server:
        recorded(tmp_path, "--compress", server=server)
    assert [path.name for path in tmp_path.glob("all.2020*")] == [f"{NAME}.zst"]


def test_p62_a_size_to_keep_removes_the_oldest(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(bytes(100_000))
    with answering() as server:
        recorded(tmp_path, "--keep-size", "50000", server=server)
    assert not list(tmp_path.glob("all.2020*"))


def test_p62_a_file_of_an_earlier_day_is_set_aside_by_the_day(tmp_path: Path) -> None:
    with answering() as server:
        recorded(tmp_path, server=server)
        earlier = time.time() - 2 * 86400
        os.utime(tmp_path / "all.jsonl", (earlier, earlier))
        recorded(tmp_path, "--rotate-every", "day", server=server)
    assert len(list(tmp_path.glob("all.*Z.jsonl"))) == 1
    done = run("verify", "--chain", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs("strace")
@pytest.mark.parametrize(("fsync", "called"), [("never", False), ("record", True)])
def test_p64_the_disk_is_waited_for_when_that_is_asked_for(
    fsync: str, called: bool, tmp_path: Path
) -> None:
    strace = find("strace")
    assert strace is not None
    trace = tmp_path / "trace"
    prefix = (strace, "-f", "-qq", "-e", "trace=fsync", "-o", str(trace))
    home = tmp_path / "proxy"
    with (
        answering() as server,
        Proxy(home, server, "--jsonl", "all.jsonl", "--fsync", fsync, prefix=prefix) as proxy,
    ):
        connected(proxy.port).close()
        until(lambda: _ended(home / "all.jsonl"), "the session's end")
        if called:
            until(lambda: "fsync(" in trace.read_text(), "the call")
        else:
            assert "fsync(" not in trace.read_text()
        assert proxy.stop() == 0


def test_a_file_that_another_popproxy_writes_is_refused(tmp_path: Path) -> None:
    with (
        answering() as server,
        started(
            "run", *AS_ROOT, "--listen", "pop3://127.0.0.1:0", "--upstream",
            f"pop3://127.0.0.1:{server}", "--jsonl", "all.jsonl", cwd=tmp_path,
        ) as (_, port),
    ):  # fmt: skip
        connected(port).close()
        until(lambda: _ended(tmp_path / "all.jsonl"), "the session's end")
        options = (*AS_ROOT, "--listen", "pop3://127.0.0.1:0", "--upstream", NOWHERE)
        done = run("run", *options, "--jsonl", "all.jsonl", cwd=tmp_path)
        assert done.returncode == 2
        assert "another popproxy is writing this file" in done.stderr


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("no key", 0o600, "holds no Ed25519 private key"),
        ("no key", 0o644, "can be used by others than its owner"),
    ],
)
def test_a_key_that_cannot_sign_is_refused(
    content: str, mode: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(content)
    (tmp_path / "key").chmod(mode)
    options = ("--upstream", NOWHERE, "--jsonl", "all.jsonl", "--chain-key", "key")
    done = run("run", *AS_ROOT, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "It comes from: option --chain-key." in done.stderr
    assert not (tmp_path / "all.jsonl").exists()
