"""Where answers are cut into segments, other than where they were cut when they were recorded.

A client that takes a segment for a line, or looks for the end of a message in the last segment
alone, works with one network and fails with another. `Split` cuts at places that find it out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from popproxy.tools.replay_plan import Piece

Kind = Literal["recorded", "every", "size", "random", "terminator", "none"]
_TERMINATOR = b"\r\n.\r\n"
_LARGEST = 24
"""Octets of a piece that is cut at random, at most."""
_SYNTAX = re.compile(r"every|terminator|none|(?P<size>[1-9][0-9]{0,8})|random:(?P<seed>.+)")


class SplitError(ValueError):
    """A way to split is not known; the text says what is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A way to cut answers.

    Attributes:
        kind: `recorded`: as they were; `every`: behind each octet; `size`: behind so many; at
            `random`; `terminator`: behind each octet of the CRLF `.` CRLF that ends an answer, and
            of each line that begins with a dot; `none`: not at all.
        size: Octets of a segment.
        seed: What the random places are made from: the same seed, the same places.
    """

    kind: Kind = "recorded"
    size: int = 0
    seed: str = ""

    @classmethod
    def parse(cls, text: str) -> Split:
        """Read what a person wrote.

        Raises:
            SplitError: It is no way to split.
        """
        found = _SYNTAX.fullmatch(text.strip())
        if found is None:
            raise SplitError(
                "expected every, terminator, none, a number of octets, or random:SEED,"
                f" found {text!r}"
            )
        if found["size"]:
            return cls(kind="size", size=int(found["size"]))
        if found["seed"]:
            return cls(kind="random", seed=found["seed"])
        kinds: dict[str, Kind] = {"every": "every", "terminator": "terminator", "none": "none"}
        return cls(kind=kinds[found[0]])


class Splitter:
    """Cuts the answers of one session."""

    def __init__(self, split: Split) -> None:
        self._split = split
        # No secret depends on it, and the same seed has to cut the same way.
        self._random = random.Random(split.seed)  # noqa: S311 - it cuts segments

    def cut(self, pieces: Sequence[Piece]) -> Iterable[Piece]:
        """Cut an answer.

        Args:
            pieces: The answer, or several, as recorded.

        Returns:
            The same octets in other pieces, made one by one. What held back the first octet of a
            recorded piece holds back the new piece that it is in.
        """
        match self._split.kind:
            case "recorded":
                return pieces
            case "none":
                return _by_size(pieces, lambda: sum(len(piece.data) for piece in pieces) or 1)
            case "every":
                return _by_size(pieces, lambda: 1)
            case "size":
                return _by_size(pieces, lambda: self._split.size)
            case "random":
                return _by_size(pieces, lambda: self._random.randint(1, _LARGEST))
            case "terminator":
                return _at_dots(pieces)


def _by_size(pieces: Sequence[Piece], size: Callable[[], int]) -> Iterator[Piece]:
    held, delay, wanted = bytearray(), 0.0, size()
    for piece in pieces:
        delay += piece.delay
        data = memoryview(piece.data)
        while len(held) + len(data) >= wanted:
            room = wanted - len(held)
            yield Piece(bytes(held) + bytes(data[:room]), delay)
            held.clear()
            data, delay, wanted = data[room:], 0.0, size()
        held += data
    if held:
        yield Piece(bytes(held), delay)


def _at_dots(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Cut where `_around_dots` says, besides where it was cut already."""
    places = _around_dots(b"".join(piece.data for piece in pieces))
    place = next(places, None)
    end = 0
    for piece in pieces:
        start, end = end, end + len(piece.data)
        first, delay = start, piece.delay
        while place is not None and place < end:
            if place > first:
                yield Piece(piece.data[first - start : place - start], delay)
                first, delay = place, 0.0
            place = next(places, None)
        yield Piece(piece.data[first - start :], delay)


def _around_dots(wire: bytes) -> Iterator[int]:
    """Give the places inside CRLF `.` CRLF, and of its beginning, in ascending order."""
    last = 0
    at = wire.find(_TERMINATOR[:3])
    while at >= 0:
        end = min(at + len(_TERMINATOR), len(wire))
        yield from range(max(at, last + 1), end)
        last = end - 1
        at = wire.find(_TERMINATOR[:3], at + 1)
