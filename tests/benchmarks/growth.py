"""Cost that grows as the work grows: the same work in ever larger sizes, time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import msgspec

from tests.benchmarks.kit import KitError, Load
from tests.benchmarks.peers import NOBODY, Peer
from tests.benchmarks.processes import PeerError, Watched
from tests.benchmarks.rounds import Stage, tell

_PATIENCE = 900.0
_WARM = (
    ("pipe", "--messages", "1", "--rounds", "40", "--connections", "4"),
    ("chatty", "--rounds", "40", "--connections", "4"),
)
_SAID_EACH = 10
"""Commands of each working session."""
_MEGABYTE = 10**6
_SETTLE = 0.3
_FAR = 5
"""Sizes nearer than this say more about chance than about growth."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One size of one kind of work.

    Attributes:
        series: which kind.
        peer: who stood between.
        size: how much of it.
        seconds: it took.
        grown: octets by which the peer grew meanwhile, at the most; None for nobody.
    """

    series: str
    peer: str
    size: int
    seconds: float
    grown: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A kind of work.

    Attributes:
        name: of the series, and of its chart's file.
        title: of the chart.
        axis: what sizes count.
        sizes: from small to large.
        maildrop: gives the server's for a size.
        work: does the work of a size at a port, and gives the seconds that count.
        files: open files that the peer needs for each unit of size.
        usual: the largest size unless all are asked for; None for the last one.
    """

    name: str
    title: str
    axis: str
    sizes: tuple[int, ...]
    maildrop: Callable[[int], str]
    work: Callable[[Stage, int, int, str], float]
    files: int = 0
    usual: int | None = None

    def chosen(self, largest: int | None, *, full: bool) -> list[int]:
        """Give the sizes up to a largest one; those beyond the usual only if asked for."""
        bounds = [largest, None if full else self.usual]
        return [size for size in self.sizes if all(size <= bound for bound in bounds if bound)]


def _sound(load: Load) -> Load:
    if load.errors:
        raise KitError(load.first_error)
    return load


def _sessions(stage: Stage, port: int, size: int, maildrop: str) -> float:
    with stage.kit.holding(port, size, maildrop=maildrop) as seconds:
        time.sleep(_SETTLE)  # what was recorded is written meanwhile
    return seconds


def _working(stage: Stage, port: int, size: int, maildrop: str) -> float:
    options = ("chatty", "--connections", str(size), "--rounds", str(_SAID_EACH))
    return _sound(stage.kit.run(options, port, maildrop=maildrop, timeout=_PATIENCE)).seconds


def _listings(stage: Stage, port: int, _size: int, maildrop: str) -> float:
    options = ("chatty", "--say", "lu", "--rounds", "6")
    load = _sound(stage.kit.run(options, port, maildrop=maildrop, timeout=_PATIENCE))
    return load.seconds / 3


def _pipeline(stage: Stage, port: int, size: int, maildrop: str) -> float:
    options = ("chatty", "--say", "n", "--window", str(size), "--rounds", str(size))
    loads = [
        _sound(stage.kit.run(options, port, maildrop=maildrop, timeout=_PATIENCE)) for _ in range(3)
    ]
    return min(load.seconds for load in loads)


def _message(stage: Stage, port: int, size: int, maildrop: str) -> float:
    # What is small is over so soon that it takes several to find out how long it takes.
    rounds = 10 if size < _MEGABYTE else 1
    options = ("bulk", "--messages", "2", "--rounds", str(rounds))
    load = _sound(stage.kit.run(options, port, maildrop=maildrop, timeout=_PATIENCE))
    return load.seconds / rounds


SERIES = (
    Series(
        name="sessions",
        title="Sessions that log in and stay, all at once",
        axis="sessions",
        sizes=(1, 10, 100, 1000, 5000),
        maildrop=lambda _: "1x4096",
        work=_sessions,
        files=3,
    ),
    Series(
        name="working",
        title=f"Sessions at work, all at once, {_SAID_EACH} commands each",
        axis="sessions",
        sizes=(1, 10, 100, 1000, 5000),
        maildrop=lambda _: "1x4096",
        work=_working,
        files=3,
    ),
    Series(
        name="listings",
        title="LIST and UIDL of a maildrop",
        axis="messages in it",
        sizes=(1, 10, 100, 1000, 10_000, 100_000),
        maildrop=lambda size: f"{size}x1000",
        work=_listings,
    ),
    Series(
        name="pipeline",
        title="NOOPs sent at once",
        axis="commands",
        sizes=(1, 10, 100, 1000, 10_000),
        maildrop=lambda _: "1x4096",
        work=_pipeline,
    ),
    Series(
        name="message",
        title="RETR of one message",
        axis="octets",
        sizes=(10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 2 * 10**8, 10**9, 2 * 10**9),
        usual=2 * 10**8,
        maildrop=lambda size: f"1x4096,1x{size}",
        work=_message,
    ),
)


def grow(
    stage: Stage, series: Series, sizes: Sequence[int], peers: Sequence[Peer | None], limit: int
) -> list[Point]:
    """Do sizes of a series with each peer; what fails is told, and left out.

    Args:
        stage: what it needs.
        series: the kind of work.
        sizes: from small to large.
        peers: who stands between; None for nobody.
        limit: of open files.
    """
    points = []
    for size in sizes:
        if series.files * size + 100 > limit:
            tell(f"{series.name} {size} left out: the limit of open files is {limit} (ulimit -Hn)")
            continue
        maildrop = series.maildrop(size)
        for peer in peers:
            name = peer.name if peer else NOBODY
            try:
                with stage.kit.serving(maildrop) as (upstream, _):
                    point = _point(stage, series, size, peer, upstream)
            except (PeerError, KitError) as error:
                tell(f"{series.name:9} {size:>12,} {name:20} failed: {error}")
                continue
            points.append(point)
            grown = "" if point.grown is None else f"{point.grown / 1e6:10.2f} MB"
            tell(f"{series.name:9} {size:>12,} {name:20} {point.seconds:12.6f} s {grown}")
    return points


def _point(stage: Stage, series: Series, size: int, peer: Peer | None, upstream: int) -> Point:
    maildrop = series.maildrop(size)
    if peer is None:
        seconds = series.work(stage, upstream, size, maildrop)
        return Point(series=series.name, peer=NOBODY, size=size, seconds=seconds, grown=None)
    with stage.standing(peer, upstream=upstream) as (port, process):
        _warm_up(stage, port, maildrop)
        before = _begin(process)
        seconds = series.work(stage, port, size, maildrop)
        grown = max(0, process.peak() - before)
    return Point(series=series.name, peer=peer.name, size=size, seconds=seconds, grown=grown)


def _warm_up(stage: Stage, port: int, maildrop: str) -> None:
    """Let the peer do a little first, whatever the size, so that its own start is not counted."""
    for options in _WARM:
        _sound(stage.kit.run(options, port, maildrop=maildrop))


def _begin(process: Watched) -> int:
    process.forget_peak()
    return process.resident()


def slope(points: Sequence[Point], value: Callable[[Point], float | None]) -> float | None:
    """Say how a value grew over the last tenfold of the size: 1 is as the size, 2 as its square.

    Args:
        points: of one series and one peer, from small to large.
        value: what to look at.

    Returns:
        The exponent, or None where there are too few points or nothing grew.
    """
    known = [(point.size, found) for point in points if (found := value(point))]
    if not known:
        return None
    last_size, last = known[-1]
    for size, earlier in reversed(known[:-1]):
        if last_size >= _FAR * size:
            return log(last / earlier) / log(last_size / size)
    return None
