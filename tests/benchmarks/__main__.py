"""`python -m tests.benchmarks`: how fast popproxy is, beside others, on this machine.

`python -m tests.benchmarks growth` asks how its cost grows with the work.
The manual's page on performance tells what each figure means.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from tests.benchmarks import grown
from tests.benchmarks.blocked import blocked_sink
from tests.benchmarks.kit import KitError
from tests.benchmarks.memory import idle, large_message
from tests.benchmarks.modes import MODES
from tests.benchmarks.peers import NOBODY, PEERS, POPPROXY, Peer, popproxies
from tests.benchmarks.processes import PeerError, allow_many_files
from tests.benchmarks.results import Figure, Results
from tests.benchmarks.rounds import Stage, play_round, set_up, tell
from tests.benchmarks.startup import start
from tests.benchmarks.table import tables

BESIDE = ("idle", "large-message", "startup", "blocked-sink")
"""What is measured once, after the rounds."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = [*(mode.name for mode in MODES), *BESIDE]
    parser.add_argument("--only", nargs="+", metavar="MODE", choices=names, help=", ".join(names))
    known = ", ".join([NOBODY, *(peer.name for peer in PEERS)])
    parser.add_argument("--peers", nargs="+", metavar="PEER", help=known)
    parser.add_argument("--against", metavar="PATH", help="another checkout's popproxy, as a peer")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of each run")
    parser.add_argument("--quick", action="store_true", help="one round, half a second each")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where what is recorded goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    return parser


def _choose(wanted: Sequence[str] | None, against: str | None) -> list[Peer | None]:
    known: dict[str, Peer | None] = {NOBODY: None} | {peer.name: peer for peer in PEERS}
    if against is not None:
        known |= {peer.name: peer for peer in popproxies(against, "other-popproxy")}
    if unknown := set(wanted or ()) - known.keys():
        raise PeerError(f"no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    return [peer for name, peer in known.items() if not wanted or name in wanted]


def _present(peers: Sequence[Peer | None], results: Results) -> list[Peer | None]:
    present: list[Peer | None] = []
    for peer in peers:
        if peer is None or peer.find() is not None:
            present.append(peer)
        else:
            results.absent[peer.name] = peer.missing()
            tell(f"{peer.name} is left out, {peer.missing()}")
    return present


def _measure_beside(
    stage: Stage,
    results: Results,
    wanted: Sequence[str],
    peers: Sequence[Peer | None],
    rounds: int,
    timing: Sequence[str],
) -> None:
    measurements: list[tuple[str, str, Callable[[], list[Figure]]]] = [
        (name, peer.name, partial(measure, stage, peer))
        for name, measure in (("idle", idle), ("large-message", large_message))
        for peer in peers
        if peer is not None and peer.one_process
    ]
    measurements += [
        ("startup", POPPROXY, lambda: start(4 * rounds)),
        ("blocked-sink", POPPROXY, lambda: blocked_sink(stage, rounds, timing)),
    ]
    for name, peer_name, measurement in measurements:
        if name not in wanted:
            continue
        try:
            found = measurement()
        except (PeerError, KitError) as error:
            results.absent[f"{peer_name}, {name}"] = str(error)
            tell(f"{name:15} {peer_name:20} failed: {error}")
            continue
        results.figures += found
        for one in found:
            tell(f"{name:15} {one.peer:20} {one.value:10.1f} {one.unit:5} {one.what}")


def main(argv: Sequence[str]) -> int:
    """Run what was asked for; gives 1 if popproxy failed at anything."""
    options = _parser().parse_args(argv)
    if options.quick:
        options.rounds, options.seconds = 1, 0.5
    results = Results()
    peers = _present(_choose(options.peers, options.against), results)
    allow_many_files()
    with ExitStack() as stack:
        stage = set_up(stack, options.folder)
        modes = [mode for mode in MODES if not options.only or mode.name in options.only]
        modes = [mode for mode in modes if stage.kit.tls or not mode.tls]
        timing = ["--seconds", str(options.seconds), "--warm-up", str(options.seconds / 4)]
        for number in range(1, options.rounds + 1):
            play_round(stage, results, number, modes, peers, timing)
        beside = [name for name in BESIDE if not options.only or name in options.only]
        _measure_beside(stage, results, beside, peers, options.rounds, timing)
    shown = tables(results)
    sys.stdout.write(shown)
    if options.markdown:
        options.markdown.write_text(shown, "utf-8")
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    return any(name.startswith("popproxy") for name in results.absent)


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["growth"]:
            sys.exit(grown.main(sys.argv[2:]))
        sys.exit(main(sys.argv[1:]))
    except (KitError, PeerError) as error:
        sys.exit(str(error))
