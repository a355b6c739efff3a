"""As many sealed records as a year may bring, and how long it takes to verify them."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from pathlib import Path

from tests.endurance.rig import MIB, Outcome
from tests.support.chained import Series, lines_of, rewrite
from tests.support.proxy import command

FILES = 10
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
MEMORY = 64 * MIB
"""Octets that are resident at most, however many records there are."""


def _verified(logs: Path) -> tuple[int, str, float]:
    """Give the exit status, what was said, and the seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [command(), "verify", "--chain", logs], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - began


def million(folder: Path, records: int) -> Outcome:
    """Run it.

    Args:
        folder: Where the records go.
        records: How many.
    """
    outcome = Outcome(f"verify: {records:,} records in {FILES} files")
    logs = folder / "logs"
    logs.mkdir(parents=True)
    series = Series(logs)
    paths = [series.file(f"all-{number:02}.jsonl", records // FILES) for number in range(FILES)]
    octets = sum(path.stat().st_size for path in paths)
    outcome.tell("octets", octets)
    status, said, seconds = _verified(logs)
    outcome.tell("whole", said.strip().splitlines()[-1], status == 0)
    outcome.tell("seconds", f"{seconds:.1f}")
    outcome.tell("records a second", round(records / seconds))
    peak = _peak(logs)
    outcome.tell("resident at most, MiB", f"{peak / MIB:.1f}", peak < MEMORY)
    lines = lines_of(paths[FILES // 2])
    rewrite(paths[FILES // 2], lines[:500] + lines[501:])
    status, said, seconds = _verified(logs)
    outcome.tell("exit status with one record dropped", status, status == 1)
    named = re.search(r"line 501: line [\d,]+ of the chain is missing", said)
    outcome.tell("what is told of it", named[0] if named else "nothing", named is not None)
    outcome.tell("seconds", f"{seconds:.1f}")
    return outcome


def _peak(logs: Path) -> int:
    """Give the most octets that a verification has resident, as the kernel counts them."""
    peak = 0
    with subprocess.Popen([command(), "verify", "--chain", logs], stdout=subprocess.DEVNULL) as it:
        while it.poll() is None:
            with contextlib.suppress(OSError):  # it has just ended
                found = _PEAK.search(Path(f"/proc/{it.pid}/status").read_text())
                peak = int(found[1]) * 1024 if found else peak
            time.sleep(0.005)
    return peak
