"""Interleaved rounds: each mode through each peer, the peers one after the other, in turns."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.certificates import Certificates, make_certificates
from tests.benchmarks.kit import Kit, KitError, Load, build
from tests.benchmarks.modes import Mode
from tests.benchmarks.peers import NOBODY, Legs, Peer
from tests.benchmarks.processes import PeerError, Watched, free_port, running
from tests.benchmarks.results import Results, Sample


def tell(line: str) -> None:
    """Tell the person who waits what is going on."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What every measurement needs.

    Attributes:
        kit: server and load.
        plain: the port of a server in the clear.
        secured: the port of one that speaks TLS; 0 if there is none.
        certificates: for the legs with TLS.
        folder: for the peers' files, a new folder in it for each run.
    """

    kit: Kit
    plain: int
    secured: int
    certificates: Certificates
    folder: Path

    @contextmanager
    def standing(
        self, peer: Peer, *, tls: bool = False, upstream: int | None = None
    ) -> Iterator[tuple[int, Watched]]:
        """Put a peer between; gives its port, and the process to watch.

        Raises:
            PeerError: it is not there, or did not come up.
        """
        program = peer.find()
        if program is None:
            raise PeerError(peer.missing())
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as own:
            legs = Legs(
                listen=free_port(),
                upstream=upstream or (self.secured if tls else self.plain),
                folder=Path(own),
                tls=self.certificates if tls else None,
            )
            command = peer.command(program, legs)
            with running(command, legs.listen, legs.folder, tls=tls, up=peer.up) as process:
                yield legs.listen, process


def set_up(stack: ExitStack, folder: Path | None) -> Stage:
    """Build the kit, and run its servers until the stack is unwound.

    Args:
        stack: ends what is begun here.
        folder: where what is recorded goes; None for the system's temporary folder.

    Raises:
        KitError: the kit cannot be built; it says what to install.
    """
    own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
    kit = build(own)
    certificates = make_certificates(own)
    plain, _ = stack.enter_context(kit.serving())
    secured = 0
    if kit.tls:
        secured, _ = stack.enter_context(kit.serving(tls=certificates))
    else:
        tell("built without TLS, whose modes are left out; apt install libssl-dev")
    return Stage(kit=kit, plain=plain, secured=secured, certificates=certificates, folder=own)


def measure(stage: Stage, mode: Mode, peer: Peer | None, timing: Sequence[str]) -> Sample:
    """Run one mode through one peer, or with nobody between.

    Args:
        stage: what it needs.
        mode: the load.
        peer: who stands between.
        timing: options of `load` that say how long.

    Returns:
        A sample of round 0.

    Raises:
        PeerError: the peer does not run, or what came through it was not what had to come.
        KitError: the load came to no result.
    """
    options = [*mode.options, *timing]
    if peer is None:
        upstream = stage.secured if mode.tls else stage.plain
        return _sample(mode, NOBODY, stage.kit.run(options, upstream, tls=mode.tls), None)
    with stage.standing(peer, tls=mode.tls) as (port, process):
        before = process.cpu_seconds()
        load = stage.kit.run(options, port, tls=mode.tls)
        used = process.cpu_seconds() - before
    return _sample(mode, peer.name, load, used)


def _sample(mode: Mode, peer: str, load: Load, used: float | None) -> Sample:
    bulk = mode.unit == "MB/s"
    if load.errors or not (load.octets if bulk else load.operations):
        raise PeerError(load.first_error or "nothing was done in this time")
    units = load.total_octets / 1e9 if bulk else load.total_operations / 1e6
    return Sample(
        mode=mode.name,
        peer=peer,
        round=0,
        rate=load.megabytes_per_second if bulk else load.operations_per_second,
        unit=mode.unit,
        p50_us=load.p50_us,
        p99_us=load.p99_us,
        cpu=None if used is None else used / units,
    )


def play_round(
    stage: Stage,
    results: Results,
    number: int,
    modes: Sequence[Mode],
    peers: Sequence[Peer | None],
    timing: Sequence[str],
) -> None:
    """Play one round; what fails is noted in the results, and not tried in that mode again."""
    for place, mode in enumerate(modes):
        first = (number + place) % len(peers)
        for peer in [*peers[first:], *peers[:first]]:
            name = peer.name if peer else NOBODY
            failed = f"{name}, {mode.name}"
            if failed in results.absent or (peer and mode.tls and not peer.tls):
                continue
            try:
                sample = measure(stage, mode, peer, timing)
            except (PeerError, KitError) as error:
                results.absent[failed] = str(error)
                tell(f"round {number}  {mode.name:15} {name:20} failed: {error}")
                continue
            numbered = {key: getattr(sample, key) for key in sample.__struct_fields__}
            results.samples.append(Sample(**{**numbered, "round": number}))
            tell(
                f"round {number}  {mode.name:15} {name:20} {sample.rate:10.1f} {sample.unit:5}"
                f" p50 {sample.p50_us:9.1f} p99 {sample.p99_us:9.1f} us"
            )
