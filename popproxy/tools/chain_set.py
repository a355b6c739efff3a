"""Verifies files of JSON lines together: each by its own chain, and how they go on from each other.

A file may be given on its own. What cannot be known then is told as a note and is no failure: what
stood in front of the earliest file, if that says that it goes on from another. A file that ends
without its end line is another matter: it may have lost its tail. It is whole only if another file
goes on from just its last line, or if a popproxy is writing it now, which its lock tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from popproxy.formats.chain import State, link_of
from popproxy.formats.file_lines import FileLine
from popproxy.tools.chain import Break, Walk, Walked, base_of, lines_of
from popproxy.tools.chain_proof import Checkpoints, Keys
from popproxy.tools.chain_search import Opened, Searcher

Ending = Literal["closed", "continued", "writing", "open"]

_LISTED: Final = 10


class ChainError(Exception):
    """A file cannot be read; the message is for a person, and names it."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What is known of a file.

    Attributes:
        walked: What the walk along it found.
        ending: How it ends.
        faults: What is wrong with it, in words, but for the first break of its chain.
        notes: What cannot be known, or should be.
        signed: Number of the last line in the chain that a signature vouches for; 0 if none does.
        forged: Whether a signature by a key that was given does not fit.
        unvouched: Number of the first line about the file, behind a signed one, that is not signed.
        known: Whether one of its lines is the same as its copy.
    """

    walked: Walked
    ending: Ending = "open"
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    signed: int = 0
    forged: bool = False
    unvouched: int = 0
    known: bool = False

    @property
    def series(self) -> str:
        """What the file says it is one of; empty if it does not say."""
        start = self.walked.start
        return start.file.series if start is not None else ""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and self.walked.first_break is None

    @property
    def broken(self) -> Break | None:
        """The first line that breaks the chain."""
        return self.walked.first_break


@dataclass(slots=True, kw_only=True)
class Whole:
    """What was verified.

    Attributes:
        verdicts: One for each file, in the order in which they were written.
        faults: What is wrong with the set, in words.
        notes: What cannot be known of it.
    """

    verdicts: list[Verdict]
    faults: list[str]
    notes: list[str]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and all(verdict.whole for verdict in self.verdicts)


class ChainVerifier:
    """Verifies files.

    Args:
        opened: Opens one of them at its beginning; raises OSError.
        being_written: Tells whether a popproxy is writing a file at this moment.
        keys: The public keys that lines about a file have to be signed by; none need be.
        checkpoints: Copies of such lines that were kept elsewhere.
        open_end: A series' last file may end without its end line.
    """

    def __init__(
        self,
        opened: Opened,
        *,
        being_written: Callable[[str], bool],
        keys: Keys | None = None,
        checkpoints: Checkpoints | None = None,
        open_end: bool = False,
    ) -> None:
        self._opened = opened
        self._being_written = being_written
        self._keys = keys
        self._checkpoints = checkpoints
        self._open_end = open_end
        self._ends: dict[int, list[Verdict]] = {}  # by the number of their last line

    def verify(self, paths: Iterable[str]) -> Whole:
        """Verify files.

        Args:
            paths: The files, in any order.

        Raises:
            ChainError: One of them cannot be read.
        """
        every = list(dict.fromkeys(paths))
        searcher = Searcher(every, self._opened)
        writing = {path for path in every if self._being_written(path)}
        verdicts: list[Verdict] = []
        for path in self._in_order(every):
            verdict = self._walk(path, searcher)
            self._ends.setdefault(verdict.walked.last.n, []).append(verdict)
            verdicts.append(verdict)
        verdicts.sort(key=_place)
        whole = Whole(verdicts=verdicts, faults=[], notes=[])
        for files in _by_series(verdicts).values():
            self._join(files, whole)
            self._judge_ends(files, writing)
        if self._checkpoints is not None:
            whole.faults += self._checkpoints.unmet(_ends_by_number(verdicts))
        return whole

    def _in_order(self, paths: list[str]) -> list[str]:
        """Put those last that lack their beginning: other files may tell what stood there."""
        keys: dict[str, tuple[int, int, str]] = {}
        for path in paths:
            try:
                with self._opened(path) as file:
                    line = next(lines_of(file), b"")
            except OSError as error:
                raise _unreadable(path, error) from None
            link = link_of(line)
            headless = link is not None and link.n > 1 and base_of(line) is None
            keys[path] = int(headless), link.n if link else 0, path
        return sorted(paths, key=keys.__getitem__)

    def _walk(self, path: str, searcher: Searcher) -> Verdict:
        held: list[Verdict] = []

        def on_file_line(line: FileLine, before: State, behind: State) -> None:
            if self._checkpoints is not None and self._checkpoints.meet(line, behind):
                held[0].known = True
            if self._keys is not None and before.digest:
                self._vouch(held[0], line, before, behind)

        walk = Walk(
            path,
            before=lambda n: [verdict.walked.last for verdict in self._ends.get(n, ())],
            explain=partial(searcher.explain, path),
            on_file_line=on_file_line,
        )
        verdict = Verdict(walked=walk.walked)
        held.append(verdict)
        try:
            with self._opened(path) as file:
                walk.along(file)
        except OSError as error:
            raise _unreadable(path, error) from None
        if self._keys is not None and not verdict.signed:
            verdict.faults.append("no line of it is signed by a key that was given")
        elif verdict.unvouched:
            verdict.faults.append(
                f"line {verdict.unvouched:,} of the chain is about the file, as others of it, and"
                " is not signed by a key that was given"
            )
        self._look_for_copies(verdict)
        for line in verdict.walked.torn:
            verdict.notes.append(
                f"line {line:,} was cut off while it was written, and its record is lost"
            )
        return verdict

    def _look_for_copies(self, verdict: Verdict) -> None:
        """See whether any copy tells of a file that is not older than all copies."""
        walked, checkpoints = verdict.walked, self._checkpoints
        if checkpoints is None or verdict.known or walked.before is None:
            return
        if checkpoints.should_know(verdict.series, walked.numbers):
            verdict.faults.append("no checkpoint that was given is of this file")
        else:
            verdict.notes.append("it is older than the checkpoints that were given")

    def _vouch(self, verdict: Verdict, line: FileLine, before: State, behind: State) -> None:
        assert self._keys is not None  # noqa: S101 - for the type checker
        good = self._keys.vouch(line, before)
        if good:
            verdict.signed = behind.n
        elif good is None and verdict.signed:
            verdict.unvouched = verdict.unvouched or behind.n
        elif good is False and not verdict.forged:
            verdict.forged = True
            since = f"behind line {verdict.signed:,}" if verdict.signed else "from its beginning"
            verdict.faults.append(
                f"the signature of line {behind.n:,} of the chain does not fit: the chain was made"
                f" anew {since}"
            )

    def _join(self, files: list[Verdict], whole: Whole) -> None:
        """See how the files of a series go on from each other."""
        numbers = set().union(*(file.walked.numbers for file in files))
        removed = set().union(*(file.walked.removed for file in files))
        if numbers:
            gone = set(range(min(numbers), max(numbers))) - numbers - removed
            if gone:
                whole.faults.append(
                    f"missing: {_listed(gone)} of the series of {files[0].walked.path}"
                )
        for file in files:
            before = file.walked.before
            if before is None:
                continue
            same = [one for one in self._ends.get(before.n, ()) if one.walked.last == before]
            if same and before.n:
                for one in same:
                    one.ending = "continued"
            elif before.n or file.walked.previous is not None:
                self._look_ahead(file, before, files, removed)

    def _look_ahead(
        self, file: Verdict, before: State, files: list[Verdict], removed: set[int]
    ) -> None:
        """Find out why no file ends where this one goes on."""
        ahead = [
            one
            for one in files
            if one is not file and one.walked.last.n <= before.n and _place(one) < _place(file)
        ]
        previous = file.walked.previous
        if not ahead:
            if files[0] is file:
                gone = previous is not None and previous.number in removed
                if not previous and not file.walked.known:
                    file.faults.append(
                        "its beginning was cut off, or is a file that was not given: nothing in it"
                        f" tells what stood in front of line {before.n + 1:,} of the chain"
                    )
                    return
                what = f"{previous.name} (file {previous.number})" if previous else "another file"
                why = "which retention removed" if gone else "which is not among those given"
                file.notes.append(f"it goes on from {what}, {why}")
            return
        if not before.n:
            return
        nearest = max(ahead, key=lambda one: one.walked.last.n)
        last = nearest.walked.last
        if last.n == before.n:
            file.faults.append(
                f"it does not go on from {nearest.walked.path}, though it says so: one of both was"
                " made anew"
            )
        elif previous is not None and previous.number in nearest.walked.numbers:
            nearest.faults.append(
                f"its tail was cut off: {_lines(last.n + 1, before.n)} of the chain are missing, as"
                f" {file.walked.path} tells"
            )
        else:
            file.faults.append(
                f"{_lines(last.n + 1, before.n)} of the chain are missing in front of it"
            )

    def _judge_ends(self, files: list[Verdict], writing: set[str]) -> None:
        for file in files:
            walked = file.walked
            if walked.before is None:
                continue
            if walked.end_line:
                file.ending = "closed"
            elif walked.path in writing:
                file.ending = "writing"
            elif file.ending != "continued" and not (self._open_end and file is files[-1]):
                file.faults.append(
                    f"it has no end line, and no file goes on from it: it was cut off, or its"
                    f" popproxy was interrupted, behind line {walked.last.n:,} of the chain"
                )


def _unreadable(path: str, error: OSError) -> ChainError:
    return ChainError(f"{path} cannot be read: {error.strerror or error}")


def _place(verdict: Verdict) -> tuple[str, int, int, str]:
    """Give the order in which files were written."""
    walked = verdict.walked
    before = walked.before.n if walked.before is not None else 0
    return verdict.series, min(walked.numbers, default=0), before, walked.path


def _by_series(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    series: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        series.setdefault(verdict.series or verdict.walked.path, []).append(verdict)
    return series


def _ends_by_number(verdicts: Iterable[Verdict]) -> dict[tuple[str, int], int]:
    """Give the last line's number of each file, by series and number."""
    ends: dict[tuple[str, int], int] = {}
    for verdict in verdicts:
        for number in verdict.walked.numbers:
            key = verdict.series, number
            ends[key] = max(verdict.walked.last.n, ends.get(key, 0))
    return ends


def _listed(numbers: set[int]) -> str:
    shown = ", ".join(str(number) for number in sorted(numbers)[:_LISTED])
    more = f" and {len(numbers) - _LISTED:,} more" if len(numbers) > _LISTED else ""
    return f"file{'' if len(numbers) == 1 else 's'} {shown}{more}"


def _lines(first: int, last: int) -> str:
    return f"line {first:,}" if first == last else f"lines {first:,} to {last:,}"
