"""`python -m tests.endurance`: what popproxy does when it runs for long, and when all goes wrong.

Each run prints a table, and ends with status 1 if a figure is not as it has to be.
The manual's page on endurance tells what each figure means.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.processes import allow_many_files
from tests.endurance.chaos import chaos
from tests.endurance.disk import disk
from tests.endurance.kill import kill
from tests.endurance.million import million
from tests.endurance.rig import Outcome
from tests.endurance.soak import soak
from tests.endurance.storm import holes, resets, storm


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where popproxy writes")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("soak", help="sessions at a steady rate")
    one.add_argument("--rate", type=float, default=50, help="sessions that begin each second")
    one.add_argument("--seconds", type=float, default=600)
    one = verbs.add_parser("kill", help="kill -9 while records are written")
    one.add_argument("--times", type=int, default=300)
    one = verbs.add_parser("chaos", help="renames, signals and kills at random")
    one.add_argument("--lives", type=int, default=100)
    one.add_argument("--seed", type=int, default=1)
    one = verbs.add_parser("storm", help="connections in a flood")
    one.add_argument("--connections", type=int, default=10_000)
    one.add_argument("--seconds", type=float, default=60)
    one = verbs.add_parser("resets", help="resets at each step of a session, by either side")
    one.add_argument("--times", type=int, default=100)
    one = verbs.add_parser("holes", help="servers that never answer, clients that never read")
    one.add_argument("--clients", type=int, default=100)
    one = verbs.add_parser("disk", help="a disk that is full again and again; for root")
    one.add_argument("--times", type=int, default=20)
    one.add_argument("--seconds", type=float, default=3)
    one = verbs.add_parser("verify", help="popproxy verify --chain over many records")
    one.add_argument("--records", type=int, default=1_000_000)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run what the arguments name; give the exit status."""
    given = _parser().parse_args(argv)
    allow_many_files()
    runs: dict[str, Callable[[Path], Outcome]] = {
        "soak": lambda folder: soak(folder, given.rate, given.seconds),
        "kill": lambda folder: kill(folder, given.times),
        "chaos": lambda folder: chaos(folder, given.lives, given.seed),
        "storm": lambda folder: storm(folder, given.connections, given.seconds),
        "resets": lambda folder: resets(folder, given.times),
        "holes": lambda folder: holes(folder, given.clients),
        "verify": lambda folder: million(folder, given.records),
        "disk": lambda folder: disk(folder, given.times, given.seconds),
    }
    with tempfile.TemporaryDirectory(prefix="popproxy-endurance-") as made:
        outcome = runs[given.verb](given.folder or Path(made))
    sys.stdout.write("".join(f"{line}\n" for line in outcome.lines()))
    return 0 if outcome.well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
