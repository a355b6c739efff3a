"""Names that stand for users: keyed, so that nobody can try names until one fits."""

from __future__ import annotations

import hmac
from typing import NoReturn

_SIZE = 6


class Pseudonyms:
    """Gives each user a name that stays the same as long as the key does (P12).

    Args:
        key: The key; secret, at least 16 octets for it to be of use.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Pseudonyms>"

    def __reduce__(self) -> NoReturn:
        """Refuse: the key never leaves the process (P13)."""
        raise TypeError("the key of pseudonyms cannot be pickled")

    def of(self, user: bytes) -> str:
        """Give a user's pseudonym.

        Args:
            user: The name as sent.

        Returns:
            `user-` and twelve hexadecimal digits, whatever the name's length.
        """
        return "user-" + hmac.digest(self._key, user, "sha256")[:_SIZE].hex()
