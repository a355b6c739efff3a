"""Results for people: tables in Markdown, which read well in a terminal, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.benchmarks.peers import POPPROXY, in_order
from tests.benchmarks.results import Figure, Results, Sample, Spread, middle, names, ratio

_NOTHING = "–"
_RATE = "Rate: median of the rounds; in brackets p50/p99 in µs"
_CPU = "CPU time of the proxy: in the round of the median"
_RATIO = "median of the rounds' ratios (least-greatest); above 1 it is faster"
_BESIDE = "Beside the rounds: median (least-greatest)"


def tables(results: Results, *, ours: str = POPPROXY) -> str:
    """Give all tables that there is something for: rates, CPU time, ratios, single figures."""
    parts = []
    if results.samples:
        modes, peers = names(results.samples)
        peers = in_order(peers)
        parts.append(f"{_RATE}\n\n{_by_peer(results.samples, modes, peers, _rate)}")
        parts.append(f"{_CPU}\n\n{_by_peer(results.samples, modes, peers, _cpu)}")
        others = [peer for peer in peers if not peer.startswith(ours)]
        parts += [
            f"{mine} / peer: {_RATIO}\n\n{_ratios(results.samples, modes, mine, others)}"
            for mine in peers
            if mine.startswith(ours)
        ]
    if results.figures:
        parts.append(f"{_BESIDE}\n\n{_figures(results)}")
    if results.absent:
        absent = "\n".join(f"- {name}: {why}" for name, why in results.absent.items())
        parts.append(f"Missing or failed:\n\n{absent}")
    return "\n\n".join(parts) + "\n"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draw a table whose columns are as wide as what they hold; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["| " + " | ".join(_aligned(row, widths)) + " |" for row in (head, *rows)]
    rule = ["-" * (width + 1) + ("-" if place == 0 else ":") for place, width in enumerate(widths)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    pairs = enumerate(zip(row, widths, strict=True))
    return [cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in pairs]


def _by_peer(
    samples: Sequence[Sample],
    modes: Sequence[str],
    peers: Sequence[str],
    cell: Callable[[Sample], str],
) -> str:
    rows = []
    for peer in peers:
        found = [middle(samples, mode, peer) for mode in modes]
        rows.append([peer, *(cell(sample) if sample else _NOTHING for sample in found)])
    units = {sample.mode: sample.unit for sample in samples}
    return markdown(["", *(f"{mode} {_unit(cell, units[mode])}" for mode in modes)], rows)


def _unit(cell: Callable[[Sample], str], unit: str) -> str:
    if cell is _rate:
        return unit
    return "s/GB" if unit == "MB/s" else "µs each"


def _rate(sample: Sample) -> str:
    if sample.unit == "MB/s":
        return f"{sample.rate:.0f}"
    return f"{sample.rate:.0f} ({sample.p50_us:.0f}/{sample.p99_us:.0f})"


def _cpu(sample: Sample) -> str:
    return _NOTHING if sample.cpu is None else f"{sample.cpu:.{1 if sample.cpu > 10 else 2}f}"


def _ratios(
    samples: Sequence[Sample], modes: Sequence[str], mine: str, others: Sequence[str]
) -> str:
    rows = [
        [mode, *(shown(ratio(samples, mode, mine, other)) for other in others)] for mode in modes
    ]
    return markdown(["", *others], rows)


def shown(found: Spread | None) -> str:
    """Write a spread as `1.20 (1.10-1.30)`."""
    if found is None:
        return _NOTHING
    return f"{found.middle:.2f} ({found.low:.2f}-{found.high:.2f})"


def _figures(results: Results) -> str:
    whats = dict.fromkeys(figure.what for figure in results.figures)
    peers = in_order({figure.peer for figure in results.figures})
    found = {(figure.what, figure.peer): figure for figure in results.figures}
    units = {figure.what: figure.unit for figure in results.figures}
    rows = [
        [f"{what}, {units[what]}", *(_figure(found.get((what, peer))) for peer in peers)]
        for what in whats
    ]
    return markdown(["", *peers], rows)


def _figure(found: Figure | None) -> str:
    if found is None:
        return _NOTHING
    if found.low == found.high:
        return f"{found.value:.1f}"
    return f"{found.value:.1f} ({found.low:.1f}-{found.high:.1f})"
