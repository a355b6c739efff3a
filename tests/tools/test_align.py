"""Sequences put next to each other."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from popproxy.tools import align as align_module
from popproxy.tools.align import Key, align

keys = st.lists(st.sampled_from("abcdef").map(lambda letter: (letter,)), max_size=20)
pairs = st.tuples(keys, keys)


def longest(a: list[Key], b: list[Key]) -> int:
    """The length of the longest common subsequence, by definition."""
    row = [0] * (len(b) + 1)
    for one in a:
        above = row[:]
        for j, other in enumerate(b):
            row[j + 1] = above[j] + 1 if one == other else max(above[j + 1], row[j])
    return row[-1]


@given(pairs)
def test_pairs_are_equal_and_rise(two: tuple[list[Key], list[Key]]) -> None:
    a, b = two
    found = align(a, b)
    assert all(a[i] == b[j] for i, j in found)
    assert all(x < y for one in zip(*found, strict=True) for x, y in pairwise(one))


@given(pairs)
def test_the_other_way_round_is_the_mirror_image(two: tuple[list[Key], list[Key]]) -> None:
    a, b = two
    assert align(b, a) == [(j, i) for i, j in align(a, b)]


@given(keys)
def test_what_is_the_same_is_aligned_in_whole(a: list[Key]) -> None:
    assert align(a, a) == [(i, i) for i in range(len(a))]


@given(st.lists(st.integers(0, 1).map(lambda one: (str(one),)), max_size=12), keys)
def test_without_anchors_the_longest_is_found(a: list[Key], b: list[Key]) -> None:
    for one, other in (
        (doubled(a), [*_MIXED, *doubled(b)]),
        (_MIXED, _MIXED[::-1]),
        ([*_MIXED, ("1",)], [("1",), *_MIXED[:1], *_MIXED]),
    ):
        assert len(align(one, other)) <= longest(one, other)
    few: list[Key] = [("1",), ("0",), ("0",), ("1",), ("0",)]
    assert len(align([*_MIXED, ("1",)], few)) == longest([*_MIXED, ("1",)], few)


def doubled(of: list[Key]) -> list[Key]:
    return [key for key in of for _ in range(2)]


_MIXED: list[Key] = [("0",), ("1",), ("0",), ("1",)]


def test_ten_thousand_commands_are_aligned_within_the_bound() -> None:
    counted = 0

    class Counted(align_module._Aligning):
        def _longest(self, a_from: int, a_to: int, b_from: int, b_to: int) -> list[tuple[int, int]]:
            nonlocal counted
            counted += (a_to - a_from) * (b_to - b_from)
            return super()._longest(a_from, a_to, b_from, b_to)

    a = [("command", "NOOP" if number % 3 else "STAT", "") for number in range(10_000)]
    b = [("command", "NOOP" if number % 4 else "STAT", "") for number in range(10_000)]
    found = Counted(a, b).pairs()
    assert counted <= align_module.CELLS_MOST
    assert len(found) > 5_000
    numbered = [("command", "RETR", f"mail {number}") for number in range(10_000)]
    without = [key for number, key in enumerate(numbered) if number % 7]
    assert len(Counted(numbered, without).pairs()) == len(without)
    assert counted <= align_module.CELLS_MOST
