"""What the relay wants of whatever takes its records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from popproxy.records import Record


class RecordHub(Protocol):
    """Where the records of all sessions go."""

    def put(self, records: Iterable[Record]) -> None:
        """Take records; never waits."""
        ...

    async def flushed(self, session_id: str | None = None) -> bool:
        """Wait until everything that was put is written; False if it could not be.

        Args:
            session_id: The session that asks.
        """
        ...
