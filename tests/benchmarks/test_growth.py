"""How growth is judged: the exponent over the last tenfold, and which sizes are tried."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.benchmarks.grown import points_table
from tests.benchmarks.growth import SERIES, Point, grow, slope
from tests.benchmarks.peers import Peer
from tests.benchmarks.rounds import Stage
from tests.support.programs import needs


def _points(cost: Callable[[int], float], sizes: tuple[int, ...] = (1, 10, 100)) -> list[Point]:
    return [
        Point(series="sessions", peer="popproxy", size=size, seconds=cost(size), grown=None)
        for size in sizes
    ]


@pytest.mark.parametrize(
    ("cost", "exponent"),
    [
        (lambda size: 3.0 * size, 1),
        (lambda size: 0.5 * size**2, 2),
        (lambda _: 7.0, 0),
        (lambda size: 1 if size < 100 else 10.0, 1),
    ],
    ids=["as the size", "as its square", "not at all", "at the end only"],
)
def test_the_exponent_says_how_cost_grows(cost: Callable[[int], float], exponent: float) -> None:
    assert slope(_points(cost), lambda point: point.seconds) == pytest.approx(exponent)


def test_the_exponent_looks_at_sizes_that_lie_far_enough_apart() -> None:
    points = _points(lambda size: float(size) if size < 200 else 1e9, (1, 10, 100, 200))
    found = slope(points, lambda point: point.seconds)
    assert found
    assert found == pytest.approx((9 - 1) / 1.301, abs=0.001), "from 10 to 200, not 100 to 200"


def test_what_was_not_measured_or_did_not_grow_has_no_exponent() -> None:
    assert slope(_points(lambda _: 1.0), lambda point: point.grown) is None
    assert slope(_points(lambda _: 1.0, (5,)), lambda point: point.seconds) is None
    assert slope([], lambda point: point.seconds) is None


def test_a_message_of_gigabytes_is_fetched_only_if_asked_for() -> None:
    series = {one.name: one for one in SERIES}
    message = series["message"]
    assert message.chosen(None, full=False)[-1] == 200_000_000
    assert message.chosen(None, full=True) == list(message.sizes)
    assert message.sizes[-1] == 2_000_000_000
    assert message.chosen(10_000, full=True) == [1000, 10_000]
    assert series["sessions"].chosen(None, full=False)[-1] == 5000
    assert series["working"].chosen(None, full=False)[-1] == 5000
    assert series["listings"].chosen(None, full=False)[-1] == 100_000
    assert series["pipeline"].chosen(None, full=False)[-1] == 10_000


def test_the_table_of_growth_has_time_memory_and_exponents() -> None:
    points = [
        Point(series="sessions", peer="nobody", size=1, seconds=0.001, grown=None),
        Point(series="sessions", peer="popproxy", size=1, seconds=0.002, grown=500_000),
        Point(series="sessions", peer="popproxy", size=1000, seconds=2.0, grown=5_000_000),
    ]
    assert points_table(points) == (
        "Sessions that log in and stay, all at once\n"
        "\n"
        "| sessions |  nobody |            popproxy |\n"
        "|----------|--------:|--------------------:|\n"
        "| 1        | 1.00 ms |     2.00 ms, 0.5 MB |\n"
        "| 1,000    |       – | 2,000.00 ms, 5.0 MB |\n"
        "| exponent |    –, – |          1.00, 0.33 |\n"
    )


@needs("gcc", "stdio.h", "openssl/ssl.h")
@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_each_series_does_its_work(stage: Stage, bare_relay: Peer, series: object) -> None:
    (found,) = (one for one in SERIES if one is series)
    size = found.sizes[1]
    points = grow(stage, found, [size], [None, bare_relay], 5000)
    assert [(point.peer, point.size) for point in points] == [("nobody", size), ("bare-trio", size)]
    for point in points:
        assert point.seconds > 0
        assert (point.grown is None) == (point.peer == "nobody")


@needs("gcc", "stdio.h", "openssl/ssl.h")
def test_more_sessions_than_files_may_be_open_are_left_out(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    points = grow(stage, SERIES[0], [1, 5000], [None], 200)
    assert [point.size for point in points] == [1]
    assert "sessions 5000 left out: the limit of open files is 200" in capsys.readouterr().err
