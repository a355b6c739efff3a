"""`python -m tests.benchmarks growth`: does the cost grow as the work, and no faster?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from tests.benchmarks.charts import draw
from tests.benchmarks.growth import SERIES, Point, grow, slope
from tests.benchmarks.peers import NOBODY, PEERS, POPPROXY, Peer, in_order
from tests.benchmarks.processes import allow_many_files
from tests.benchmarks.rounds import set_up, tell
from tests.benchmarks.table import markdown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks growth", description=__doc__)
    names = [series.name for series in SERIES]
    peers = [NOBODY, *(peer.name for peer in PEERS if peer.one_process)]
    parser.add_argument("--only", nargs="+", metavar="SERIES", choices=names, help=", ".join(names))
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="PEER",
        choices=peers,
        default=[NOBODY, POPPROXY, f"{POPPROXY}-no-bodies"],
        help=", ".join(peers),
    )
    parser.add_argument("--largest", type=int, metavar="N", help="leave out larger sizes")
    parser.add_argument("--full", action="store_true", help="all sizes, up to a message of 2 GB")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="draw charts there, as PNG")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where what is recorded goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all points there")
    parser.add_argument(
        "--from-json", type=Path, metavar="FILE", help="measure nothing, draw these"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Measure, or read what was measured before; then print it, and draw it."""
    options = _parser().parse_args(argv)
    if options.from_json:
        points = msgspec.json.decode(options.from_json.read_bytes(), type=list[Point])
    else:
        points = _measure(options)
    sys.stdout.write(points_table(points))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(points)) + b"\n")
    if options.charts:
        try:
            drawn = draw(points, options.charts)
        except ImportError:
            tell("charts need matplotlib: uv run --group bench python -m tests.benchmarks growth")
            return 1
        tell(f"drawn: {', '.join(map(str, drawn))}")
    return 0


def _measure(options: argparse.Namespace) -> list[Point]:
    limit = allow_many_files()
    points: list[Point] = []
    with ExitStack() as stack:
        stage = set_up(stack, options.folder)
        peers: list[Peer | None] = [None] if NOBODY in options.peers else []
        peers += [peer for peer in PEERS if peer.name in options.peers]
        for series in SERIES:
            if not options.only or series.name in options.only:
                sizes = series.chosen(options.largest, full=options.full)
                points += grow(stage, series, sizes, peers, limit)
    return points


def points_table(points: Sequence[Point]) -> str:
    """Write all points as tables, with the exponent of growth over the last tenfold."""
    parts = []
    for series in SERIES:
        of_series = [point for point in points if point.series == series.name]
        if not of_series:
            continue
        peers = in_order({point.peer for point in of_series})
        rows = [
            [f"{size:,}", *(_cell(of_series, peer, size) for peer in peers)]
            for size in dict.fromkeys(point.size for point in of_series)
        ]
        rows.append(["exponent", *(_exponents(of_series, peer) for peer in peers)])
        parts.append(f"{series.title}\n\n{markdown([series.axis, *peers], rows)}\n")
    return "\n".join(parts)


def _cell(points: Sequence[Point], peer: str, size: int) -> str:
    for point in points:
        if (point.peer, point.size) == (peer, size):
            grown = "" if point.grown is None else f", {point.grown / 1e6:.1f} MB"
            return f"{point.seconds * 1e3:,.2f} ms{grown}"
    return "–"


def _exponents(points: Sequence[Point], peer: str) -> str:
    own = [point for point in points if point.peer == peer]
    found = (
        slope(own, lambda point: point.seconds),
        slope(own, lambda point: point.grown),
    )
    return ", ".join("–" if exponent is None else f"{exponent:.2f}" for exponent in found)
