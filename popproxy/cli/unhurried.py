"""Standard error for messages that come while traffic passes: whoever speaks never waits.

A terminal that is stopped with Ctrl-S, or a pipe that nobody reads, blocks whoever writes to it.
For the relay that would be every session at once (P54). Messages are therefore handed to a thread,
of which one may wait as long as it likes; what is too much is left out and counted.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading

MESSAGES = 1_000
"""Messages that may wait to be written."""


class UnhurriedStream:
    """Takes text as a file does, and writes it to a descriptor in a thread of its own.

    It writes past the file object that may exist for the same descriptor: a thread that is blocked
    there would hold its lock, and the interpreter could not end.
    """

    def __init__(self, descriptor: int) -> None:
        """Prepare; the thread starts with the first message.

        Args:
            descriptor: What to write to. It stays open, and in the mode that it is in.
        """
        self._descriptor = descriptor
        self._waiting: queue.Queue[str | None] = queue.Queue(MESSAGES)
        self._lost = 0
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Take text; never waits and never fails.

        Returns:
            The length of the text, as files do.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="messages", daemon=True)
            self._thread.start()
        try:
            if self._lost:
                self._waiting.put_nowait(f"({self._lost} messages could not be shown)\n")
                self._lost = 0
            self._waiting.put_nowait(text)
        except queue.Full:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes without a buffer."""

    def close(self, patience: float) -> None:
        """Let the thread write what waits, for a while.

        Args:
            patience: How long in seconds.
        """
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
            self._thread.join(patience)

    def _work(self) -> None:
        while (text := self._waiting.get()) is not None:
            data = text.encode("utf-8", "backslashreplace")
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    threading.Event().wait(0.1)  # somebody made the descriptor non-blocking
                except OSError:
                    return  # nobody reads any more; what is said from here on is lost
