"""Promises by number, and the tests that cite them: `def test_p61_…`, `def test_p53_p58_…`."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]
_NAMED = re.compile(r"def test((?:_p\d\d)+)_")

UNATTENDED = {
    50: "Memory per session is bounded whatever a peer sends.",
    51: "Time grows with what is said, and not faster.",
    52: "Pipelined commands that wait are capped; beyond it the session is relayed on, unread.",
    53: "A slow reader slows its sender, and holds 256 KiB in the proxy at most.",
    54: "An output that is slow, or that nobody reads, holds no session up; whole records are"
    " dropped and counted, and a record says how many.",
    55: "Connections are capped, in all and for each client; who is one too many is told.",
    56: "Without descriptors sessions go on, accepting resumes, and it is told once in 10 s.",
    57: "What fails in one connection ends no other, and not the server.",
    58: "Time-outs for each step, named, and settings.",
    59: "An upstream that is a listener of popproxy's own is refused.",
    60: "When the server cannot be reached, the client is told in time, and the record says why.",
    61: "A full or broken disk, a folder that goes away: traffic goes on, one warning a minute,"
    " recovery by itself, no two records in one.",
    62: "Rotation by renaming, by copying and cutting, and by popproxy itself loses nothing.",
    63: "A signal stops accepting and lets sessions end; a second one ends at once.",
    64: "After kill -9 nothing is lost that is older than a second; whole lines but the last.",
    65: "Durations come from the monotonic clock, order from numbers.",
    66: "In a long run nothing grows, and no record is lost.",
    67: "Loopback only, unless networks are named; the upstream is never the client's choice.",
    68: "What can be asked how popproxy is: off, local, for who may.",
    69: "Logs can be read by their owner alone, whatever the umask.",
    70: "Root is given up for good, or refused.",
    71: "The start and every log say that mail is recorded, and how it is masked.",
    72: "No connection but to the upstream and to what was named.",
}
"""The promises to who leaves popproxy alone for a year, in short."""


def shown() -> dict[int, list[str]]:
    """Give, by promise, the files whose tests cite it."""
    found: dict[int, set[str]] = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        for numbers in _NAMED.findall(path.read_text("utf-8")):
            for number in re.findall(r"\d\d", numbers):
                found[int(number)].add(str(path.relative_to(TESTS)))
    return {number: sorted(files) for number, files in found.items()}


def table() -> str:
    """Draw the promises with the files of their tests."""
    files = shown()
    rows = "".join(
        f"| P{number} | {text} | {', '.join(f'`{one}`' for one in files.get(number, []))} |\n"
        for number, text in UNATTENDED.items()
    )
    return f"| | promise | shown by, in `tests/` |\n|---|---|---|\n{rows}"
