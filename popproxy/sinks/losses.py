"""Which live sessions lost records: those cannot go on under `--require-log` (P27)."""

from __future__ import annotations

from popproxy.records import Record


class Losses:
    """The live sessions, and whether each lost a record. The caller holds the lock.

    Attributes:
        inexpressible: Records that were lost because no format or output would take them.
    """

    def __init__(self) -> None:
        self.inexpressible = 0
        self._live: dict[str, bool] = {}
        self._concerned = 0

    def watch(self, record: Record) -> None:
        """Learn from a record that a session lives, or that it ends."""
        if record.event.action == "session.end":
            self._concerned -= self._live.pop(record.session.id, False)
        else:
            self._live.setdefault(record.session.id, False)

    def mark(self, session_id: str) -> None:
        """A record of this session is lost."""
        if self._live.get(session_id) is False:
            self._live[session_id] = True
            self._concerned += 1

    def concern(self, session_id: str | None) -> bool:
        """Tell whether a session, or any live session, lost a record."""
        if session_id is None:
            return self._concerned > 0
        return self._live.get(session_id, False)
