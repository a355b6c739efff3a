"""Finds out what became of a line that does not stand where its chain says it should.

A line names its place, but who changed the file may have changed that as well. What cannot be
forged without making the chain anew is the hash: the line that has to follow a given one is found
by it, wherever it stands. So each search reads the file once more, and the other files too if it
is not there, and holds one line at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Final

from popproxy.formats.chain import State, follows, link_of
from popproxy.tools.chain import Break, lines_of

SEARCHES: Final = 16
"""Files in which a break is searched for in the other files too; each costs reading all of them."""

Opened = Callable[[str], IO[bytes]]


@dataclass(slots=True)
class _Found:
    """Numbers of lines in the file that is searched; 0 for those that are not there.

    Attributes:
        expected: The line that should stand at the break.
        copy_ahead: A copy of the line at the break, in front of it.
        belongs: Whether the line at the break is a genuine one of this chain.
    """

    expected: int = 0
    copy_ahead: int = 0
    belongs: bool = False


class Searcher:
    """Explains breaks.

    Args:
        paths: All files that were given.
        opened: Opens one of them.
    """

    def __init__(self, paths: Iterable[str], opened: Opened) -> None:
        self._paths = list(paths)
        self._opened = opened
        self._searches = 0

    def explain(self, path: str, number: int, line: bytes, after: bytes, state: State) -> Break:
        """Say what is wrong at the first line that does not follow.

        Args:
            path: The file.
            number: The line's number in it.
            line: The line.
            after: The line behind it.
            state: The chain in front of it.

        Raises:
            OSError: A file cannot be read any more.
        """
        expected = state.n + 1
        link = link_of(line)
        found = self._in_same(path, number, line, link, state)
        if found.copy_ahead:
            n = link.n if link else expected
            return Break(kind="repeated", line=number, n=n, where=(path, found.copy_ahead))
        ahead = link is not None and link.n > expected
        if ahead and found.belongs and found.expected:
            return Break(kind="reordered", line=number, n=expected, where=(path, found.expected))
        if found.expected and not found.belongs:  # this line was put in between
            home = self._elsewhere(path, _neighbour(line, link)) if link else None
            return Break(
                kind="foreign" if home else "added",
                line=number,
                n=link.n if link else 0,
                where=home,
            )
        if link is None or link.n >= expected:
            home = self._elsewhere(path, _follower(state))
            if home is not None:
                return Break(kind="moved", line=number, n=expected, where=home)
        if link is not None and ahead:
            return Break(kind="missing", line=number, n=expected, until=link.n - 1)
        if link is None or link.n == expected:
            return Break(kind="changed", line=number, n=expected)
        home = self._elsewhere(path, _neighbour(line, link))
        return Break(kind="foreign" if home else "added", line=number, n=link.n, where=home)

    def _in_same(
        self, path: str, number: int, line: bytes, link: State | None, state: State
    ) -> _Found:
        found = _Found()
        is_expected = _follower(state)
        with self._opened(path) as file:
            for at, other in enumerate(lines_of(file), 1):
                if at == number:
                    continue
                if other == line and at < number:
                    found.copy_ahead = found.copy_ahead or at
                if at > number and not found.expected and is_expected(other):
                    found.expected = at
                if link is not None:
                    here = link_of(other)
                    if here is not None and here.n == link.n - 1:
                        found.belongs = found.belongs or follows(here, line) is not None
                    elif here is not None and here.n == link.n + 1:
                        found.belongs = found.belongs or follows(link, other) is not None
        return found

    def _elsewhere(self, path: str, wanted: Callable[[bytes], bool]) -> tuple[str, int] | None:
        if self._searches >= SEARCHES:
            return None
        self._searches += 1
        for other in self._paths:
            if other == path:
                continue
            with self._opened(other) as file:
                for at, line in enumerate(lines_of(file), 1):
                    if wanted(line):
                        return other, at
        return None


def _follower(state: State) -> Callable[[bytes], bool]:
    """Make a test for the line that has to follow."""
    mark = b',"chain":{"n":%d,' % (state.n + 1)
    return lambda line: mark in line and follows(state, line) is not None


def _neighbour(line: bytes, link: State) -> Callable[[bytes], bool]:
    """Make a test for a copy of a line, and for the line that it has to follow."""
    mark = b',"chain":{"n":%d,' % (link.n - 1)

    def test(other: bytes) -> bool:
        if other == line:
            return True
        before = link_of(other) if mark in other else None
        return before is not None and follows(before, line) is not None

    return test
