"""Two sequences put next to each other: what is in both, in order, as much of it as is practical.

What both begin and end with is set aside. In between, things that occur once in each are anchors;
the longest run of anchors in the same order is kept (patience diff), and what lies between two
anchors is aligned in the same way. Where there are no anchors, the longest common subsequence is
found by the table of all pairs as long as `CELLS_MOST` last, and beyond that step by step. So the
cost is about linear, whatever the sequences hold.

Aligning the other way round gives the mirror image: the sequences are put into one order before,
and the result is turned back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

CELLS_MOST: Final = 1_000_000
"""Pairs that are compared in tables, all of them together."""

Key = tuple[str, ...]
Pair = tuple[int, int]


def align(a: Sequence[Key], b: Sequence[Key]) -> list[Pair]:
    """Find what two sequences have in common.

    Args:
        a: Keys of the one.
        b: Keys of the other.

    Returns:
        Pairs of positions with equal keys, rising in both.
    """
    if list(b) < list(a):
        return [(i, j) for j, i in _Aligning(b, a).pairs()]
    return _Aligning(a, b).pairs()


class _Aligning:
    def __init__(self, a: Sequence[Key], b: Sequence[Key]) -> None:
        numbers: dict[Key, int] = {}
        self._a = [numbers.setdefault(key, len(numbers)) for key in a]
        self._b = [numbers.setdefault(key, len(numbers)) for key in b]
        self._cells = CELLS_MOST
        self._found: list[Pair] = []

    def pairs(self) -> list[Pair]:
        work = [(0, len(self._a), 0, len(self._b))]
        while work:
            work += self._part(*work.pop())
        return sorted(self._found)

    def _part(
        self, a_from: int, a_to: int, b_from: int, b_to: int
    ) -> list[tuple[int, int, int, int]]:
        """Align a part of each; give the parts that remain to be aligned."""
        a, b, found = self._a, self._b, self._found
        while a_from < a_to and b_from < b_to and a[a_from] == b[b_from]:
            found.append((a_from, b_from))
            a_from, b_from = a_from + 1, b_from + 1
        while a_from < a_to and b_from < b_to and a[a_to - 1] == b[b_to - 1]:
            a_to, b_to = a_to - 1, b_to - 1
            found.append((a_to, b_to))
        if a_from == a_to or b_from == b_to:
            return []
        anchors = self._anchors(a_from, a_to, b_from, b_to)
        if not anchors:
            found += self._without_anchors(a_from, a_to, b_from, b_to)
            return []
        found += anchors
        rest = []
        for i, j in anchors:
            rest.append((a_from, i, b_from, j))
            a_from, b_from = i + 1, j + 1
        return [*rest, (a_from, a_to, b_from, b_to)]

    def _anchors(self, a_from: int, a_to: int, b_from: int, b_to: int) -> list[Pair]:
        """Find what occurs once in each part, as much of it as is in the same order."""
        in_a = Counter(self._a[a_from:a_to])
        in_b = Counter(self._b[b_from:b_to])
        where = {key: j for j, key in enumerate(self._b[b_from:b_to], b_from) if in_b[key] == 1}
        once = [
            (i, where[key])
            for i, key in enumerate(self._a[a_from:a_to], a_from)
            if in_a[key] == 1 and key in where
        ]
        return _rising(once)

    def _without_anchors(self, a_from: int, a_to: int, b_from: int, b_to: int) -> list[Pair]:
        cells = (a_to - a_from) * (b_to - b_from)
        if cells > self._cells:
            return self._greedy(a_from, a_to, b_from, b_to)
        self._cells -= cells
        return self._longest(a_from, a_to, b_from, b_to)

    def _longest(self, a_from: int, a_to: int, b_from: int, b_to: int) -> list[Pair]:
        a, b = self._a[a_from:a_to], self._b[b_from:b_to]
        table = [[0] * (len(b) + 1)]
        for one in reversed(a):
            below = table[-1]
            row = [0] * (len(b) + 1)
            for j in range(len(b) - 1, -1, -1):
                row[j] = below[j + 1] + 1 if one == b[j] else max(below[j], row[j + 1])
            table.append(row)
        table.reverse()
        found, i, j = [], 0, 0
        while i < len(a) and j < len(b):
            if a[i] == b[j]:
                found.append((a_from + i, b_from + j))
                i, j = i + 1, j + 1
            elif table[i + 1][j] >= table[i][j + 1]:
                i += 1
            else:
                j += 1
        return found

    def _greedy(self, a_from: int, a_to: int, b_from: int, b_to: int) -> list[Pair]:
        """Take for each the next equal one: not the best, but at once."""
        places: dict[int, list[int]] = {}
        for j in range(b_from, b_to):
            places.setdefault(self._b[j], []).append(j)
        found, next_b = [], b_from
        for i in range(a_from, a_to):
            left = places.get(self._a[i], [])
            at = bisect_left(left, next_b)
            # A step that skips much of the other leaves nothing for those behind it.
            if at < len(left) and left[at] - next_b <= _SKIP_MOST:
                found.append((i, left[at]))
                next_b = left[at] + 1
        return found


_SKIP_MOST: Final = 100


def _rising(pairs: list[Pair]) -> list[Pair]:
    """Give the longest run of pairs whose second numbers rise; their first ones do."""
    tails: list[int] = []  # the smallest last number of a run, by its length
    ends: list[int] = []  # which pair that is
    before: list[int] = []
    for number, (_, j) in enumerate(pairs):
        at = bisect_left(tails, j)
        before.append(ends[at - 1] if at else -1)
        if at == len(tails):
            tails.append(j)
            ends.append(number)
        else:
            tails[at], ends[at] = j, number
    run: list[Pair] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        run.append(pairs[number])
        number = before[number]
    return run[::-1]
