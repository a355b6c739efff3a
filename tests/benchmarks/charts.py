"""Charts of growth: time and memory beside each other, both axes logarithmic, one PNG a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.growth import SERIES, Point, Series
from tests.benchmarks.peers import NOBODY, POPPROXY, in_order

_COLOURS = ("#1f5fa8", "#d1742b", "#3c8d40", "#8a4f9e", "#777777")
_LEAST = 4096
"""Growth below one page cannot be seen, and a logarithm of nothing cannot be drawn."""


def draw(points: Sequence[Point], folder: Path) -> list[Path]:
    """Draw a chart of each series that has points, as `growth-NAME.png`; gives the files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    drawn = []
    for series in SERIES:
        of_series = [point for point in points if point.series == series.name]
        if not of_series:
            continue
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        figure.suptitle(series.title)
        _panel(left, series, of_series, "seconds", lambda point: point.seconds)
        _panel(right, series, of_series, "growth of the process, octets", _octets)
        left.legend(frameon=False, fontsize=8)
        drawn.append(folder / f"growth-{series.name}.png")
        figure.savefig(drawn[-1], dpi=110, metadata={"Software": None})
        pyplot.close(figure)
    return drawn


def _octets(point: Point) -> float | None:
    return None if point.grown is None else max(point.grown, _LEAST)


def _panel(
    axes: Any,
    series: Series,
    points: Sequence[Point],
    label: str,
    value: Callable[[Point], float | None],
) -> None:
    axes.set(xscale="log", yscale="log", xlabel=series.axis, ylabel=label)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for place, peer in enumerate(in_order({point.peer for point in points})):
        line = [
            (point.size, found)
            for point in points
            if point.peer == peer and (found := value(point)) is not None
        ]
        if not line:
            continue
        colour = "#aaaaaa" if peer == NOBODY else _COLOURS[place % len(_COLOURS)]
        sizes, values = zip(*line, strict=True)
        axes.plot(sizes, values, marker="o", markersize=3.5, color=colour, label=peer)
        if peer == POPPROXY:
            _proportional(axes, sizes, values)


def _proportional(axes: Any, sizes: Sequence[float], values: Sequence[float]) -> None:
    """Dot the line of cost that grows as the work, through the largest point."""
    low = max(sizes[0], sizes[-1] * min(values) / values[-1])
    axes.plot(
        [low, sizes[-1]],
        [values[-1] * low / sizes[-1], values[-1]],
        linestyle=":",
        linewidth=1,
        color="#333333",
        label="proportional",
    )
