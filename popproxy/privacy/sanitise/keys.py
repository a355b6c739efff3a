"""Pseudonyms: keyed, of the same length and look, and never the same for two names.

A pseudonym takes the place of a name inside lines whose octets have to stay, so it has as many
letters and digits, in the same places and cases; everything else of the name stays as it is. What
stands for the letters is chosen by HMAC under a key that nobody keeps, in a Feistel network over
the letters' and digits' places: two names that differ have pseudonyms that differ, however short
they are, without a table that would grow with the capture.

That a name is as long as its pseudonym can be seen; the manual says so.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NoReturn

from popproxy.privacy.sanitise.words import fill_foreign

Kind = str
"""What a name is: the same word as a user's and as a host's name has two pseudonyms."""

_ROUNDS: Final = 4
_SEED_VALUES: Final = 16
"""Values that one HMAC-SHA-256 gives, of two octets each; the bias of that is below 1 in 2,000."""

_CACHED: Final = 65_536
_ATTEMPTS: Final = 16
_BOUNDARY_MOST: Final = 128

_LETTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS: Final = frozenset(b"0123456789")
_A, _ZERO, _LOWER = ord("a"), ord("0"), 0x20
_PATTERN: Final = bytes(
    _A if octet in _LETTERS else _ZERO if octet in _DIGITS else octet for octet in range(256)
)


class Keys:
    """Gives names their pseudonyms, the same for the same name as long as it lives.

    Args:
        key: The key; made at random if it is empty. Throw it away with the object.
        taken: Tells whether a word occurs in what is to be hidden; a pseudonym never is such a
            word, or it would be taken for one that was forgotten.
    """

    __slots__ = ("_key", "_taken", "_tokens", "boundary", "token")

    def __init__(self, key: bytes = b"", taken: Callable[[bytes], bool] | None = None) -> None:
        self._key = key or os.urandom(32)
        self._taken = taken
        self.token = lru_cache(_CACHED)(self._token)
        self.boundary = lru_cache(1_024)(self._boundary)

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        """Refuse: the key never leaves the process (P13)."""
        raise TypeError("the key of pseudonyms cannot be pickled")

    def number(self, kind: Kind, name: bytes, below: int) -> int:
        """Choose a number by a name.

        Args:
            kind: What the name is.
            name: The name.
            below: How many numbers there are to choose from.

        Returns:
            A number from 0 to `below` - 1.
        """
        digest = hmac.digest(self._key, kind.encode() + b"\0" + name, "sha256")
        return int.from_bytes(digest[:8]) % below

    def _token(self, kind: Kind, name: bytes) -> bytes:
        """Give a name's pseudonym: other letters, digits and characters that are not ASCII."""
        found = name
        for attempt in range(_ATTEMPTS):
            found = self._shuffled(kind, name, attempt)
            if self._taken is None or not self._taken(found):
                break
        return found

    def _shuffled(self, kind: Kind, name: bytes, attempt: int) -> bytes:
        pattern = name.translate(_PATTERN)
        places = [at for at, octet in enumerate(pattern) if octet in (_A, _ZERO)]
        if not places:
            return fill_foreign(name)
        sizes = [26 if pattern[at] == _A else 10 for at in places]
        values = [
            (name[at] | _LOWER) - _A if pattern[at] == _A else name[at] - _ZERO for at in places
        ]
        tweak = b"%b\0%d\0%b\0" % (kind.encode(), attempt, pattern)
        half = (len(values) + 1) // 2
        halves, moduli = [values[:half], values[half:]], [sizes[:half], sizes[half:]]
        for turn in range(_ROUNDS):
            this = turn % 2
            added = self._stream(tweak + bytes([turn, *halves[1 - this]]), len(halves[this]))
            halves[this] = [
                (value + more) % size
                for value, more, size in zip(halves[this], added, moduli[this], strict=True)
            ]
        made = bytearray(fill_foreign(name))
        for at, value in zip(places, halves[0] + halves[1], strict=True):
            base = _ZERO if pattern[at] == _ZERO else _A - (0 if name[at] & _LOWER else _LOWER)
            made[at] = base + value
        return bytes(made)

    def _stream(self, what: bytes, size: int) -> Sequence[int]:
        octets = hmac.digest(self._key, what, "sha256")
        if size > _SEED_VALUES:
            octets = hashlib.shake_256(octets).digest(2 * size)
        return [octets[2 * at] << 8 | octets[2 * at + 1] for at in range(size)]

    def _boundary(self, boundary: bytes) -> bytes:
        """Give a MIME boundary's pseudonym.

        A boundary may begin with another, which is what some parsers fall over. Each letter is
        therefore replaced by what those before it say: what begins alike goes on to begin alike.
        """
        made = bytearray(fill_foreign(boundary))
        for at, octet in enumerate(boundary[:_BOUNDARY_MOST]):
            if octet in _LETTERS:
                first = _A if octet & _LOWER else _A - _LOWER
                size = 26
            elif octet in _DIGITS:
                first, size = _ZERO, 10
            else:
                continue
            added = self.number("boundary", boundary[:at], size)
            made[at] = first + (octet - first + added) % size
        for at in range(_BOUNDARY_MOST, len(made)):
            if made[at] in _LETTERS or made[at] in _DIGITS:
                made[at] = _ZERO if made[at] in _DIGITS else ord("x")
        return bytes(made)


class SameNames(Keys):
    """Gives every name itself: for what was sanitised before, so that twice is the same as once."""

    def __init__(self) -> None:
        super().__init__(b"\0")
        self.token = self.boundary = lru_cache(1)(_itself)

    def number(self, kind: Kind, name: bytes, below: int) -> int:
        """Choose the number that changes nothing."""
        del kind, name, below
        return 0


def _itself(*given: bytes | str) -> bytes:
    name = given[-1]
    return name if isinstance(name, bytes) else name.encode()
