"""Whether a log that nobody reads is felt by a client: NOOP beside a FIFO that is full."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.benchmarks.kit import Load
from tests.benchmarks.peers import POPPROXY, writing_to
from tests.benchmarks.processes import PeerError
from tests.benchmarks.results import Figure, figure
from tests.benchmarks.rounds import Stage

_NOOP = ("chatty", "--say", "n")


def blocked_sink(stage: Stage, rounds: int, timing: Sequence[str]) -> list[Figure]:
    """Measure NOOPs in turns: with JSON lines to a file, and to a FIFO whose reader never reads.

    The FIFO is full after the warm-up at the latest; from then on popproxy has to drop records.

    Raises:
        PeerError: popproxy does not run, or a NOOP was not answered as it had to be.
    """
    file, fifo = stage.folder / "read.jsonl", stage.folder / "unread.jsonl"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    runs: dict[str, list[Load]] = {file.name: [], fifo.name: []}
    try:
        for number in range(rounds):
            for path in (file, fifo) if number % 2 else (fifo, file):
                with stage.standing(writing_to(path)) as (port, _):
                    load = stage.kit.run([*_NOOP, *timing], port)
                if load.errors:
                    raise PeerError(load.first_error)
                runs[path.name].append(load)
    finally:
        os.close(reader)
        fifo.unlink()
    free, blocked = runs[file.name], runs[fifo.name]
    shares = [one.p99_us / other.p99_us for one, other in zip(blocked, free, strict=True)]
    return [
        figure("p99 of NOOP, sink free", POPPROXY, [load.p99_us for load in free], "µs"),
        figure("p99 of NOOP, sink blocked", POPPROXY, [load.p99_us for load in blocked], "µs"),
        figure("p99 blocked / free", POPPROXY, shares, "times"),
    ]
