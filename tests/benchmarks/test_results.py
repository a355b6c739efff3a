"""The arithmetic of the benchmark: ratios are made within rounds, and shown with their spread."""

from __future__ import annotations

import pytest

from tests.benchmarks.modes import Unit
from tests.benchmarks.peers import in_order
from tests.benchmarks.results import (
    Results,
    Sample,
    Spread,
    figure,
    middle,
    names,
    ratio,
    spread,
)
from tests.benchmarks.table import markdown, shown, tables


def _sample(
    peer: str, number: int, rate: float, *, mode: str = "chatty-1", unit: Unit = "/s"
) -> Sample:
    cpu = None if peer == "nobody" else 12.5
    return Sample(
        mode=mode, peer=peer, round=number, rate=rate, unit=unit, p50_us=20, p99_us=90, cpu=cpu
    )


# The machine is half as fast in the second round: rates differ by 2, ratios hardly.
ROUNDS = [
    _sample("popproxy", 1, 1200),
    _sample("haproxy", 1, 1000),
    _sample("haproxy", 2, 500),
    _sample("popproxy", 2, 550),
    _sample("popproxy", 3, 1300),
    _sample("haproxy", 3, 1000),
]


def test_a_ratio_is_made_within_each_round() -> None:
    assert ratio(ROUNDS, "chatty-1", "popproxy", "haproxy") == Spread(1.2, 1.1, 1.3)


def test_the_other_way_round_it_is_the_inverse() -> None:
    found = ratio(ROUNDS, "chatty-1", "haproxy", "popproxy")
    assert found
    assert found.middle == pytest.approx(1 / 1.2)
    assert found.low == pytest.approx(1 / 1.3)
    assert found.high == pytest.approx(1 / 1.1)


def test_a_round_that_one_of_them_missed_does_not_count() -> None:
    alone = [*ROUNDS, _sample("popproxy", 4, 9999), _sample("haproxy", 5, 1)]
    assert ratio(alone, "chatty-1", "popproxy", "haproxy") == Spread(1.2, 1.1, 1.3)


def test_other_modes_do_not_count() -> None:
    others = [_sample("popproxy", 1, 7, mode="churn-16"), _sample("haproxy", 2, 7, mode="churn-16")]
    assert ratio([*ROUNDS, *others], "chatty-1", "popproxy", "haproxy") == Spread(1.2, 1.1, 1.3)
    assert ratio([*ROUNDS, *others], "churn-16", "popproxy", "haproxy") is None


def test_spread_is_median_least_and_greatest() -> None:
    assert spread([3, 1, 2]) == Spread(2, 1, 3)
    assert spread([4, 1, 2, 3]) == Spread(2.5, 1, 4)
    assert spread([]) is None


def test_the_middle_sample_is_one_that_was_measured() -> None:
    assert middle(ROUNDS, "chatty-1", "popproxy") == _sample("popproxy", 1, 1200)
    assert middle(ROUNDS[:4], "chatty-1", "popproxy") == _sample("popproxy", 2, 550)
    assert middle(ROUNDS, "chatty-1", "nginx") is None


def test_figures_of_several_runs_have_their_spread() -> None:
    made = figure("start", "popproxy", [30.0, 10.0, 20.0], "ms")
    assert (made.value, made.low, made.high) == (20, 10, 30)


def test_names_come_in_the_order_of_their_appearance() -> None:
    more = [*ROUNDS, _sample("nobody", 1, 5, mode="churn-16")]
    assert names(more) == (["chatty-1", "churn-16"], ["popproxy", "haproxy", "nobody"])


def test_peers_are_put_in_one_order() -> None:
    found = in_order(["other-popproxy", "bare-trio", "popproxy", "haproxy", "nobody"])
    assert found == ["nobody", "popproxy", "haproxy", "bare-trio", "other-popproxy"]


def test_a_ratio_is_shown_with_its_spread() -> None:
    assert shown(Spread(1.234, 1, 1.5)) == "1.23 (1.00-1.50)"
    assert shown(None) == "–"


def test_a_table_is_aligned_markdown() -> None:
    assert markdown(["", "long head"], [["row", "1"], ["second", "22"]]) == (
        "|        | long head |\n"
        "|--------|----------:|\n"
        "| row    |         1 |\n"
        "| second |        22 |"
    )


def test_all_tables_of_a_run() -> None:
    results = Results(
        samples=[
            *ROUNDS,
            *(_sample("nobody", number, 40000) for number in (1, 2, 3)),
            _sample("popproxy", 1, 480.4, mode="bulk-1mb", unit="MB/s"),
            _sample("popproxy-no-bodies", 1, 600, mode="bulk-1mb", unit="MB/s"),
        ],
        figures=[
            figure("start", "popproxy", [30, 10, 20], "ms"),
            figure("memory", "haproxy", [3.3], "kB"),
        ],
        absent={"nginx": "not found; apt install nginx-light"},
    )
    assert (
        tables(results)
        == """\
Rate: median of the rounds; in brackets p50/p99 in µs

|                    |   chatty-1 /s | bulk-1mb MB/s |
|--------------------|--------------:|--------------:|
| nobody             | 40000 (20/90) |             – |
| popproxy           |  1200 (20/90) |           480 |
| popproxy-no-bodies |             – |           600 |
| haproxy            |  1000 (20/90) |             – |

CPU time of the proxy: in the round of the median

|                    | chatty-1 µs each | bulk-1mb s/GB |
|--------------------|-----------------:|--------------:|
| nobody             |                – |             – |
| popproxy           |             12.5 |          12.5 |
| popproxy-no-bodies |                – |          12.5 |
| haproxy            |             12.5 |             – |

popproxy / peer: median of the rounds' ratios (least-greatest); above 1 it is faster

|          |           nobody |          haproxy |
|----------|-----------------:|-----------------:|
| chatty-1 | 0.03 (0.01-0.03) | 1.20 (1.10-1.30) |
| bulk-1mb |                – |                – |

popproxy-no-bodies / peer: median of the rounds' ratios (least-greatest); above 1 it is faster

|          | nobody | haproxy |
|----------|-------:|--------:|
| chatty-1 |      – |       – |
| bulk-1mb |      – |       – |

Beside the rounds: median (least-greatest)

|            |         popproxy | haproxy |
|------------|-----------------:|--------:|
| start, ms  | 20.0 (10.0-30.0) |       – |
| memory, kB |                – |     3.3 |

Missing or failed:

- nginx: not found; apt install nginx-light
"""
    )
