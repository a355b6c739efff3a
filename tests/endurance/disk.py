"""A disk that is full, again and again (P61)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from tests.endurance.rig import SESSION, Outcome, converse, serving, settled_in, verify
from tests.support.proxy import Proxy

_SIZE = 192 << 20
"""Octets of the disk; more than all that is recorded, or there is no room for the end."""


@contextmanager
def _small_disk(folder: Path, octets: int) -> Iterator[Path]:
    """Mount a file system of this size; only root can."""
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={octets},mode=700", "popproxy", folder], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def disk(folder: Path, times: int, seconds: float) -> Outcome:
    """Run it.

    Args:
        folder: Where popproxy writes.
        times: How often the disk becomes full, and has room again.
        seconds: For how long it is full.
    """
    outcome = Outcome(f"disk: full {times} times, {seconds:g} s each")

    async def main(logs: Path) -> None:
        async with serving() as server:
            with Proxy(folder / "proxy", server.port, "--jsonl", logs / "all.jsonl") as proxy:
                await settled_in(proxy, logs)
                served = sessions = 0
                filler = os.open(logs / "filler", os.O_WRONLY | os.O_CREAT)
                for _ in range(times):
                    with contextlib.suppress(OSError):
                        while True:
                            os.write(filler, bytes(65536))
                    end = trio.current_time() + seconds
                    while trio.current_time() < end:
                        sessions += 1
                        served += await converse(proxy.port) == len(SESSION)
                    os.ftruncate(filler, 0)
                    os.lseek(filler, 0, os.SEEK_SET)
                    size = (logs / "all.jsonl").stat().st_size
                    for _ in range(200):  # it finds by itself that there is room
                        sessions += 1
                        served += await converse(proxy.port) == len(SESSION)
                        if (logs / "all.jsonl").stat().st_size > size:
                            break
                        await trio.sleep(0.05)
                outcome.tell("sessions", sessions)
                outcome.tell("of them served whole", served, served == sessions)
                status = await trio.to_thread.run_sync(proxy.stop)
                outcome.tell("exit status", status, status == 0)
                warnings = proxy.stderr.count(b"cannot be written")
                outcome.tell("warnings that it cannot be written", warnings, warnings > 0)

    with _small_disk(folder / "disk", _SIZE) as logs:
        trio.run(main, logs)
        glued = gaps = lost = 0
        for line in (logs / "all.jsonl").read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                glued += 1
                continue
            if record["event"]["action"] == "gap":
                gaps, lost = gaps + 1, lost + record["gap"]["records"]
        outcome.tell("lines that are no records", glued, glued == 0)
        outcome.tell("records that were lost and told as such", lost)
        outcome.tell("gaps", gaps)
        whole, said = verify(logs)
        outcome.tell("popproxy verify --chain", said, whole)
    return outcome
