"""Names of sessions: sortable by time, unique, and made of characters that fit any file name.

`20111029t223746-q7x0001`: the second in UTC in which the session began, three characters drawn at
random for the process (two of them may write into one directory), four that count its sessions.
"""

from __future__ import annotations

import secrets
from datetime import datetime

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Base 32 in ASCII order, without letters that look like digits."""
_COUNTS = 32**4


class SessionIds:
    """Makes the names of one process's sessions."""

    __slots__ = ("_count", "_tag")

    def __init__(self) -> None:
        self._tag = "".join(secrets.choice(_DIGITS) for _ in range(3))
        self._count = 0

    def make(self, when: datetime) -> str:
        """Make the next name.

        Args:
            when: When the session began, in UTC.
        """
        self._count = (self._count + 1) % _COUNTS
        count = "".join(_DIGITS[(self._count >> shift) & 31] for shift in (15, 10, 5, 0))
        return f"{when:%Y%m%dt%H%M%S}-{self._tag}{count}"
