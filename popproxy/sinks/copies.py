"""Copies of lines about files, kept where those who may write the files cannot reach them."""

from __future__ import annotations

import os
import threading

from popproxy.sinks.base import Notices, explain
from popproxy.sinks.files import open_log


class Copies:
    """Appends lines to a file on another disk, or to a FIFO that takes them elsewhere.

    It is opened for each line, so that a disk that comes back is found again.
    """

    def __init__(self, path: str, notices: Notices | None = None) -> None:
        """Remember the path.

        Args:
            path: The path.
            notices: Where to tell that a line could not be copied.
        """
        self.path = path
        self._notices = notices or Notices(f"chain.copies {path}")
        self._lock = threading.Lock()

    def put(self, line: bytes) -> None:
        """Append a line; callable from any thread. Never raises: it warns."""
        try:
            with self._lock:
                descriptor = open_log(self.path)
                try:
                    written = os.write(descriptor, line)
                finally:
                    os.close(descriptor)
        except OSError as error:
            self._lost(explain(error))
        else:
            if written < len(line):
                self._lost("no room for the whole line")

    def _lost(self, cause: str) -> None:
        self._notices.warn(
            "checkpoint_not_copied",
            f"a line about a file could not be copied to {self.path}: {cause}",
            cause=cause,
        )
