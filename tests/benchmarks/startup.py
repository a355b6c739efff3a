"""The CPU time of a start, the kernel's count of what the process used until it was done."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.peers import OWN, POPPROXY, as_whom
from tests.benchmarks.processes import ROOT, PeerError
from tests.benchmarks.results import Figure, figure

_READY = b"listening on "


def start(times: int) -> list[Figure]:
    """Start popproxy so many times in each way, and Python alone for comparison.

    Once more before, so that Python's compiled files are there, as they are where it is installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "popproxy.toml"
        settings.write_text("", "utf-8")
        run = [OWN, "run", "--config", str(settings), *as_whom()]
        run += ["--listen", "pop3://127.0.0.1:0", "--upstream", "pop3://127.0.0.1:9"]
        run += ["--jsonl", f"{folder}/sessions.jsonl", "--putty", f"{folder}/&S.log"]
        ways: list[tuple[str, Sequence[str]]] = [
            ("start of Python alone", [sys.executable, "-c", ""]),
            ("popproxy --version", [OWN, "--version"]),
            ("popproxy --help", [OWN, "--help"]),
            ("popproxy run, until it listens", run),
        ]
        for _, way in ways:
            cpu_milliseconds(way)
        return [
            figure(
                f"CPU time: {what}", POPPROXY, [cpu_milliseconds(way) for _ in range(times)], "ms"
            )
            for what, way in ways
        ]


def cpu_milliseconds(command: Sequence[str]) -> float:
    """Run a command until it ends or says that it listens, and give the CPU time that took.

    Raises:
        PeerError: it failed before.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stderr is not None
    said = b""
    with process.stderr as words:
        while _READY not in said and (more := words.read(4096)):
            said += more
    if _READY in said:
        process.kill()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and _READY not in said:
        raise PeerError(f"{' '.join(command)}: {said.decode('utf-8', 'replace').strip()}")
    return (used.ru_utime + used.ru_stime) * 1e3
