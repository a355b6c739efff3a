"""Walks along the chain of one file of JSON lines, and names the first line that breaks it.

The walk holds one line at a time. As long as each line follows the one before, that is all there
is to it: a hash, and a comparison. At the first line that does not follow, `chain_search` finds out
what became of the one that should stand there, and the walk goes on from what the lines say of
themselves, so that the file's end is known and further breaks are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Final, Literal

import msgspec

from popproxy.formats.chain import START, State, behind, follows, link_of
from popproxy.formats.file_lines import END, REMOVED, Earlier, FileLine, decode
from popproxy.formats.file_lines import START as FILE_START
from popproxy.formats.jsonl import is_about_file
from popproxy.tools.captures import MAX_LINE

Kind = Literal[
    "changed",
    "missing",
    "repeated",
    "reordered",
    "moved",
    "foreign",
    "added",
    "unsealed",
    "anew",
]
"""What may be wrong with a line.

- changed: it does not have the hash that it should have
- missing: the line that should stand here is nowhere
- repeated: it stands further ahead already
- reordered: the line that should stand here stands further behind
- moved: the line that should stand here stands in another file
- foreign: it belongs into another file
- added: it belongs to no file that was given
- unsealed: nothing in the file has a link
- anew: a new chain begins, as if nothing had been in front of it
"""


_TORN: Final = 8
"""Torn lines that may stand behind each other: as many processes were killed in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A line that does not follow the one before it.

    Attributes:
        kind: What is wrong.
        line: Its number in the file, from 1.
        n: Number of the line in the chain that is concerned.
        until: Of those missing, the last one.
        where: Where it stands as well, or instead: a path, and a line's number.
    """

    kind: Kind
    line: int
    n: int
    until: int = 0
    where: tuple[str, int] | None = None


@dataclass(slots=True, kw_only=True)
class Walked:
    """What a walk found.

    Attributes:
        path: The file.
        lines: How many lines it has.
        records: How many of these are records.
        octets: Of all lines.
        breaks: How many lines do not follow.
        first_break: The first of them.
        before: The chain in front of the first line; None if there is no link in the file.
        known: Whether `before` is known, and was not taken from the first line itself.
        last: The chain behind the last line.
        end_line: Whether the last line closes the file.
        torn: Numbers of lines that were cut off while they were written.
        start: The first line about the file.
        numbers: The file's numbers in its series: popproxy gives a new one each time it opens it.
        removed: Numbers of files that retention removed.
        previous: The file that the first line says was written before this one.
    """

    path: str
    lines: int = 0
    records: int = 0
    octets: int = 0
    breaks: int = 0
    first_break: Break | None = None
    before: State | None = None
    known: bool = False
    last: State = START
    end_line: bool = False
    torn: list[int] = field(default_factory=list)
    start: FileLine | None = None
    numbers: set[int] = field(default_factory=set)
    removed: set[int] = field(default_factory=set)
    previous: Earlier | None = None


OnFileLine = Callable[[FileLine, State, State], None]
"""Called with each line about the file that is whole, and the chain in front of and behind it."""

Explain = Callable[[int, bytes, bytes, State], Break]
"""Finds out what is wrong: line number, line, the one behind it, the chain in front of it."""


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Give a file's lines; one that is longer than `MAX_LINE` comes in pieces."""
    while line := file.readline(MAX_LINE):
        yield line


def base_of(line: bytes) -> State | None:
    """Give the chain that a `file.start` says it goes on from; None for any other line."""
    about = _start_in(line)
    if about is None:
        return None
    previous = about.file.previous
    return (previous.state if previous and about.file.continues else None) or START


def _start_in(line: bytes) -> FileLine | None:
    about = decode(line) if is_about_file(line) else None
    return about if about is not None and about.event.action == FILE_START else None


class Walk:
    """One walk along a file.

    Args:
        path: The file's path.
        before: Chains that the first line may go on from, if it does not say that itself.
        explain: Called at the first break.
        on_file_line: Called with each line about the file that is whole.
    """

    def __init__(
        self,
        path: str,
        *,
        before: Callable[[int], list[State]],
        explain: Explain,
        on_file_line: OnFileLine,
    ) -> None:
        self.walked = Walked(path=path)
        self._before = before
        self._explain = explain
        self._on_file_line = on_file_line
        self._lines: Iterator[bytes] = iter(())
        self._ahead: deque[bytes] = deque()
        self._loose = False  # lines without a link stand in front of the first that has one

    def along(self, file: IO[bytes]) -> Walked:
        """Walk.

        Args:
            file: The file, at its beginning.

        Raises:
            OSError: It cannot be read.
        """
        walked = self.walked
        self._lines = lines_of(file)
        line = self._next()
        state = self._begin(line)
        number = 0
        while line:
            number += 1
            walked.octets += len(line)
            following = follows(state, line)
            if following is None:
                following = self._trouble(number, line, self._peek(0), state)
            elif is_about_file(line):
                self._about(line, state, following)
            else:
                walked.records += 1
                walked.end_line = False
            state = following
            line = self._next()
        walked.lines = number
        walked.last = state
        if walked.before is None and number:
            walked.first_break = Break(kind="unsealed", line=1, n=1)
            walked.breaks = 1
        return walked

    def _next(self) -> bytes:
        return self._ahead.popleft() if self._ahead else next(self._lines, b"")

    def _peek(self, place: int) -> bytes:
        """Give a line that comes later: the next one for 0; none behind the end."""
        while len(self._ahead) <= place:
            self._ahead.append(next(self._lines, b""))
        return self._ahead[place]

    def _begin(self, line: bytes) -> State:
        walked = self.walked
        link = link_of(line)
        base = base_of(line)
        if base is not None:
            walked.before, walked.known = base, True
            start = _start_in(line)
            walked.previous = start.file.previous if start is not None else None
        elif link is not None and link.n == 1:
            walked.before, walked.known = START, True
        elif link is not None:
            # Its file was cut in two, as by copytruncate: the other half may be among those given.
            for state in self._before(link.n - 1):
                if follows(state, line) is not None:
                    walked.before, walked.known = state, True
                    return state
            walked.before = State(link.n - 1, b"")
            return walked.before
        else:
            return START
        return walked.before

    def _about(self, line: bytes, state: State, following: State) -> None:
        about = decode(line)
        if about is None:  # Sealed as it is, so a later popproxy wrote it.
            return
        walked = self.walked
        walked.start = walked.start or about
        action = about.event.action
        walked.numbers.add(about.file.number)
        walked.end_line = action == END
        if action == REMOVED and about.file.removed is not None:
            walked.removed.add(about.file.removed.number)
        self._on_file_line(about, state, following)

    def _trouble(self, number: int, line: bytes, after: bytes, state: State) -> State:
        """Deal with a line that does not follow; give the chain to go on from."""
        walked = self.walked
        link = link_of(line)
        if link is not None and not state.digest and link.n == state.n + 1:
            # The line before is not there, or lost its hash: this one is believed.
            walked.records += not is_about_file(line)
            return link
        if walked.before is None:
            return self._unsealed(number, line, after, link)
        if link is None and self._is_torn(line, state):
            walked.torn.append(number)
            return state
        base = base_of(line)
        following = follows(base, line) if base is not None else None
        if base is not None and following is not None and base.n >= state.n:
            # popproxy itself went on from here: what is missing had gone before that.
            kind: Kind = "missing" if base.n > state.n else "changed"
            self._broken(Break(kind=kind, line=number, n=state.n + 1, until=base.n))
            self._about(line, base, following)
            return following
        if base == START and following is not None:
            self._broken(Break(kind="anew", line=number, n=state.n + 1))
            self._about(line, base, following)
            return following
        walked.records += not is_about_file(line)
        walked.end_line = False
        if walked.first_break is None:
            self._broken(self._explain(number, line, after, state))
        else:
            walked.breaks += 1
        return _goes_on(line, link, after, state)

    def _unsealed(self, number: int, line: bytes, after: bytes, link: State | None) -> State:
        """Pass over lines in front of the first one that has a link."""
        walked = self.walked
        base, following = base_of(after), link_of(after)
        if link is None and _looks_torn(line):
            walked.torn.append(number)
        else:
            self._loose = True
            walked.records += not is_about_file(line)
        if base is not None:
            if self._loose:
                self._broken(Break(kind="added", line=1, n=0))
            start = _start_in(after)
            walked.previous = start.file.previous if start is not None else None
            walked.before, walked.known = base, True
            return base
        if following is not None:
            # This is the first line, and its link was damaged.
            self._broken(Break(kind="changed", line=1, n=following.n - 1))
            walked.before = State(following.n - 2, b"")
            as_it_stands = behind(base_of(line) or START, line)
            right = follows(as_it_stands, after) is not None
            return as_it_stands if right else State(following.n - 1, b"")
        return START

    def _is_torn(self, line: bytes, state: State) -> bool:
        """Tell whether a line is the rest of a write that failed or was interrupted.

        Such a line is no record: a whole one stands behind it, popproxy went on behind it, or it is
        the file's last one. Several may stand behind each other.
        """
        if not self._peek(0) and not line.endswith(b"\n"):
            return True
        if _is_object(line):
            return False
        for place in range(_TORN):
            after = self._peek(place)
            if not after:
                return _looks_torn(line)
            if follows(state, after) is not None or base_of(after) == state:
                return True
            if not _looks_torn(after):
                return False
        return False

    def _broken(self, found: Break) -> None:
        self.walked.breaks += 1
        self.walked.first_break = self.walked.first_break or found


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _looks_torn(line: bytes) -> bool:
    """Tell whether a line lacks its end, in front of the LF that ended it later."""
    return not line.rstrip().endswith(b"}}") and not _is_object(line)


def _goes_on(line: bytes, link: State | None, after: bytes, state: State) -> State:
    """Say from where the chain goes on behind a line that does not follow."""
    if follows(state, after) is not None:
        return state  # the line was put in between
    as_it_stands = behind(state, line)
    if follows(as_it_stands, after) is not None:
        return as_it_stands  # only its hash was changed
    if link is not None and link.n > state.n:
        return link
    following = link_of(after)
    if link is None and following is not None and following.n == state.n + 2:
        return State(state.n + 1, b"")
    return state
