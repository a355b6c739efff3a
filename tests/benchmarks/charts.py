"""Charts of growth: time and memory beside each other, both axes logarithmic, one PNG a series."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.growth import SERIES, Point, Series
from tests.benchmarks.peers import NOBODY, POPPROXY, in_order

_COLOURS = ("#1f5fa8", "#d1742b", "#3c8d40", "#8a4f9e", "#b0443c", "#5b8f8f", "#8c6d46")
_NOBODY = "#999999"
_INK = "#333333"
_GRID = "#dddddd"
_LEAST = 4096
"""Growth below one page cannot be seen, and a logarithm of nothing cannot be drawn."""
_WORK = "as the work (slope 1)"
_SHADES = 48
"""Colours of the picture; lines on white need no more, and the file stays small."""


def draw(points: Sequence[Point], folder: Path) -> list[Path]:
    """Draw a chart of each series that has points, as `growth-NAME.png`; gives the files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for series in SERIES:
        of_series = [point for point in points if point.series == series.name]
        if not of_series:
            continue
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
        figure.suptitle(series.title)
        _panel(left, series, of_series, lambda point: point.seconds)
        left.set_title("time", fontsize=10)
        _panel(right, series, of_series, _octets)
        right.set_title("memory that the process gained, at its peak", fontsize=10)
        right.set_ylim(bottom=_LEAST / 2)
        _name_ticks(left.yaxis, "s")
        _name_ticks(right.yaxis, "B")
        lines = sorted(left.get_lines(), key=lambda line: line.get_label() == _WORK)
        figure.legend(handles=lines, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
        drawn.append(folder / f"growth-{series.name}.png")
        _save(figure, drawn[-1])
        pyplot.close(figure)
    return drawn


def _save(figure: Any, path: Path) -> None:
    from PIL import Image  # which matplotlib itself needs

    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, metadata={"Software": None})
    with Image.open(picture) as drawn:
        drawn.convert("RGB").quantize(_SHADES).save(path, optimize=True)


def _octets(point: Point) -> float | None:
    return None if point.grown is None else max(point.grown, _LEAST)


def _name_ticks(axis: Any, unit: str) -> None:
    """Name the powers of ten in units that people read: 10 ms, 1 MB."""
    from matplotlib.ticker import EngFormatter

    axis.set_major_formatter(EngFormatter(unit, places=0))


def _panel(
    axes: Any, series: Series, points: Sequence[Point], value: Callable[[Point], float | None]
) -> None:
    axes.set(xscale="log", yscale="log", xlabel=series.axis)
    axes.grid(visible=True, which="major", color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if series.axis == "octets":
        _name_ticks(axes.xaxis, "B")
    else:
        axes.xaxis.set_major_formatter(lambda size, _: f"{size:,.0f}")
    peers = in_order({point.peer for point in points})
    colours = dict(zip((peer for peer in peers if peer != NOBODY), _COLOURS, strict=False))
    for peer in peers:
        line = [
            (point.size, found)
            for point in points
            if point.peer == peer and (found := value(point)) is not None
        ]
        if not line:
            continue
        sizes, values = zip(*line, strict=True)
        colour = colours.get(peer, _NOBODY)
        style = "--" if peer.startswith(f"{POPPROXY}-") else "-"  # it may lie upon popproxy's line
        axes.plot(sizes, values, style, marker="o", markersize=3.5, color=colour, label=peer)
        if peer == POPPROXY:
            _proportional(axes, sizes, values)


def _proportional(axes: Any, sizes: Sequence[float], values: Sequence[float]) -> None:
    """Dot the line of cost that grows as the work, slope 1, through popproxy's last point."""
    low = max(sizes[0], sizes[-1] * min(values) / values[-1])
    axes.plot(
        [low, sizes[-1]],
        [values[-1] * low / sizes[-1], values[-1]],
        linestyle=":",
        linewidth=1.2,
        color=_INK,
        label=_WORK,
    )
