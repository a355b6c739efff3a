"""What rounds gave, and the arithmetic of ratios: rounds are compared within, never across."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec

from tests.benchmarks.modes import Unit


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one mode through one peer.

    Attributes:
        mode: its name.
        peer: who stood between.
        round: which round, from 1.
        rate: in the unit of the mode; what the ratio is made of.
        unit: of the rate.
        p50_us: of an operation, in microseconds.
        p99_us: the same.
        cpu: of the proxy: seconds per 10^9 octets where the unit is MB/s, else microseconds per
            operation. None for nobody.
    """

    mode: str
    peer: str
    round: int
    rate: float
    unit: Unit
    p50_us: float
    p99_us: float
    cpu: float | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement that stands for itself, as memory or the time of a start.

    Attributes:
        what: is measured.
        peer: of whom.
        value: the figure, the median where there are several.
        unit: of the figure.
        low: the least of them.
        high: the greatest.
    """

    what: str
    peer: str
    value: float
    unit: str
    low: float
    high: float


def figure(what: str, peer: str, values: Sequence[float], unit: str) -> Figure:
    """Make a figure of one or more values."""
    return Figure(
        what=what, peer=peer, value=median(values), unit=unit, low=min(values), high=max(values)
    )


class Results(msgspec.Struct, kw_only=True):
    """Everything that a run of the benchmark found.

    Attributes:
        samples: of all rounds.
        figures: measurements beside the rounds.
        absent: peers that were not found, or failed, and why.
    """

    samples: list[Sample] = msgspec.field(default_factory=list)
    figures: list[Figure] = msgspec.field(default_factory=list)
    absent: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of several values, and how far they lie apart."""

    middle: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """Give median, least and greatest; None for no values."""
    found = sorted(values)
    return Spread(median(found), found[0], found[-1]) if found else None


def ratio(samples: Sequence[Sample], mode: str, ours: str, theirs: str) -> Spread | None:
    """Say how many times as fast `ours` is as `theirs`: one ratio per round, then their spread.

    Rounds in which one of the two is missing do not count. None if none is left.
    """
    rates = {(sample.round, sample.peer): sample.rate for sample in samples if sample.mode == mode}
    return spread(
        rate / rates[number, theirs]
        for (number, peer), rate in rates.items()
        if peer == ours and rates.get((number, theirs))
    )


def middle(samples: Sequence[Sample], mode: str, peer: str) -> Sample | None:
    """Give the sample whose rate is the median one, of an even number the lower of the two."""
    found = sorted(
        (sample for sample in samples if (sample.mode, sample.peer) == (mode, peer)),
        key=lambda sample: sample.rate,
    )
    return found[(len(found) - 1) // 2] if found else None


def names(samples: Sequence[Sample]) -> tuple[list[str], list[str]]:
    """Give the modes and the peers of samples, each in the order of their first appearance."""
    modes = dict.fromkeys(sample.mode for sample in samples)
    peers = dict.fromkeys(sample.peer for sample in samples)
    return list(modes), list(peers)
