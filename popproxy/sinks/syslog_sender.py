"""The thread that sends a spool's messages to a collector, and connects again when that is gone.

What the collector's machine has acknowledged may still wait in its memory, and is lost if the
collector dies. So a message counts as delivered only when it was acknowledged `resend` seconds ago
and the connection still stands; when it breaks, all that does not count is sent again. Delivery is
thus at least once, and session and number tell a second copy.

At the end the connection is closed half, and it is waited for the collector to close the other
half: whoever does that has read everything. A collector may also close because it refuses us, as
for a certificate that it learns of late in TLS 1.3; so a young connection is not closed half.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from popproxy.formats.syslog import frame
from popproxy.sinks.base import Notices, explain
from popproxy.sinks.collector import Collector, CollectorError, Connection, connect
from popproxy.sinks.spool import Spool

RESEND = 10.0
CONNECT = 10.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
_STEADY = 5.0
"""Seconds after which a connection counts as good, so that the next pause is a short one."""
_TRIAL = 1.0
"""Seconds within which a collector that refuses us closes; then it has read, but kept, nothing."""
_BLOCK = 64 * 1024
_LOOK = 0.1
"""Seconds between two looks at what was acknowledged, which nothing announces."""
_PERSIST = 1.0
"""Seconds between two times that the position and the spool are written to the disk."""


class Sender:
    """Sends what a spool holds; `run` is the thread.

    Attributes:
        connected: Whether there is a connection now.
    """

    def __init__(
        self,
        collector: Collector,
        spool: Spool,
        notices: Notices,
        make_gap: Callable[[bytes | None, int, str], bytes],
        *,
        resend: float = RESEND,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            collector: Where to send to.
            spool: What to send.
            notices: Where to tell people about trouble.
            make_gap: Makes the message that tells of missing ones: of the message that follows
                them, if there is one, their number, and the reason.
            resend: Seconds for which an acknowledged message may be sent again.
            first_pause: Seconds until it is tried again to connect, the first time.
        """
        self._collector = collector
        self._spool = spool
        self._notices = notices
        self._make_gap = make_gap
        self._resend = resend
        self._first_pause = first_pause
        self._pause = first_pause
        self._stop_at: float | None = None
        self._in_trouble = False
        self._gap: tuple[int, bool] | None = None
        self._due = 0.0  # when the position is written next
        self._woken: socket.socket | None = None
        self._waker: socket.socket | None = None
        self.connected = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    # For other threads.

    def start(self) -> None:
        """Start the thread, unless it was started; try again later if there can be none now."""
        if self._thread is not None:
            return
        with self._starting, contextlib.suppress(RuntimeError, OSError):
            if self._thread is not None:
                return
            if self._woken is None:
                self._woken, self._waker = socket.socketpair()
                self._woken.setblocking(False)
                self._waker.setblocking(False)
            thread = threading.Thread(target=self.run, name="popproxy-syslog", daemon=True)
            thread.start()
            self._thread = thread

    def wake(self) -> None:
        """Have it look at the spool."""
        if (waker := self._waker) is not None:
            with contextlib.suppress(OSError):
                waker.send(b"!")

    @property
    def stopping(self) -> bool:
        """Whether it is to end."""
        return self._stop_at is not None

    def stop(self, at: float) -> None:
        """Have it end when all is sent, or at a monotonic time, and wait for that."""
        self._stop_at = at
        self.wake()
        if self._thread is not None:
            self._thread.join(max(0.0, at - time.monotonic()) + 0.2)
        else:
            self._end()

    # The thread.

    def run(self) -> None:
        """Work until it is stopped."""
        try:
            while not self._over():
                try:
                    self._work()
                except CollectorError as error:
                    self._tell(str(error))
                except OSError as error:
                    self._tell(f"the spool cannot be read: {explain(error)}")
                except Exception as error:  # noqa: BLE001 -- no defect may end the sending (P25)
                    # The type alone: the message may quote a record (P15).
                    self._tell(f"a defect in popproxy ({type(error).__name__}), please report it")
                if self._stop_at is not None:
                    break  # one attempt is all that there is time for
                self._rest()
        finally:
            self._end()

    def _end(self) -> None:
        self._spool.close()
        for one in (self._woken, self._waker):
            if one is not None:
                one.close()

    def _over(self) -> bool:
        return self._stop_at is not None and (
            time.monotonic() >= self._stop_at or not self._spool.waiting
        )

    def _tell(self, cause: str) -> None:
        waiting = self._spool.waiting
        self._in_trouble |= self._notices.warn(
            "syslog_trouble",
            f"{self._notices.output}: {cause}; {waiting} records wait in {self._spool.path}, and"
            " it is tried again; the traffic is not affected",
            cause=cause,
            waiting=waiting,
        )

    def _rest(self) -> None:
        until = time.monotonic() + self._pause * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        while self._stop_at is None and time.monotonic() < until:
            self._persist()
            self._wait(None, 0, until - time.monotonic())

    def _wait(self, one: socket.socket | None, events: int, seconds: float | None) -> int:
        """Wait for events of a socket, or to be woken; give the socket's events."""
        poll = select.poll()
        assert self._woken is not None  # noqa: S101 - the thread runs
        poll.register(self._woken, select.POLLIN)
        if one is not None:
            poll.register(one, events)
        found = dict(poll.poll(None if seconds is None else max(0.0, seconds) * 1000))
        if found.pop(self._woken.fileno(), 0):
            with contextlib.suppress(BlockingIOError):
                while self._woken.recv(4096):
                    pass
        return next(iter(found.values()), 0)

    def _wait_for(self, one: socket.socket, events: int, until: float) -> bool:
        """See `popproxy.sinks.collector.Wait`."""
        while True:
            now = time.monotonic()
            if self._stop_at is not None and now >= self._stop_at:
                return False
            if now >= until:
                raise TimeoutError
            # Not all the time at once: the end may be asked for meanwhile.
            if self._wait(one, events, min(until - now, 0.5)):
                return True

    def _work(self) -> None:
        self._spool.open()
        connection = connect(self._collector, self._wait_for, time.monotonic() + CONNECT)
        if connection is None:
            return
        since = time.monotonic()
        self.connected = True
        if self._in_trouble:
            self._in_trouble = False
            self._notices.inform(
                "syslog_recovered",
                f"{self._notices.output}: connected again; {self._spool.waiting} records wait",
                waiting=self._spool.waiting,
            )
        try:
            self._serve(connection, since)
        finally:
            self.connected = False
            connection.close()
            self._gap = None
            self._spool.rewind()
            if time.monotonic() - since >= _STEADY:
                self._pause = self._first_pause

    def _serve(self, connection: Connection, since: float) -> None:
        # On the wire: where a block ends, the number behind it, and when it was acknowledged.
        sent: deque[tuple[int, int]] = deque()
        seen: deque[tuple[float, int]] = deque()
        while True:
            connection.receive()
            if connection.pending < _BLOCK and (block := self._next_block()) is not None:
                octets, end = block
                connection.queue(octets)
                sent.append((connection.queued, end))
            connection.flush()
            self._note(connection, sent, seen)
            self._persist()
            if self._spool.unread and connection.pending < _BLOCK and not self._late():
                continue
            times = self._times(sent, seen)
            if self._stop_at is not None:
                trial = since + _TRIAL - time.monotonic()
                if self._late() or (not connection.pending and trial <= 0):
                    self._finish(connection, all_sent=not self._spool.unread)
                    return
                times.append(trial if trial > 0 else self._stop_at - time.monotonic())
            events = select.POLLIN | (select.POLLOUT if connection.pending else 0)
            self._wait(connection.socket, events, min(times) if times else None)

    def _note(
        self,
        connection: Connection,
        sent: deque[tuple[int, int]],
        seen: deque[tuple[float, int]],
    ) -> None:
        """Confirm what was acknowledged long enough ago."""
        now = time.monotonic()
        if sent:
            acknowledged = connection.acknowledged
            while sent and sent[0][0] <= acknowledged:
                seen.append((now, sent.popleft()[1]))
        while seen and seen[0][0] + self._resend <= now:
            self._spool.confirm(seen.popleft()[1])

    def _late(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _times(self, sent: deque[tuple[int, int]], seen: deque[tuple[float, int]]) -> list[float]:
        """Give the seconds until there is something to do."""
        now = time.monotonic()
        times = [self._due - now] if self._spool.untidy else []
        if sent:
            times.append(_LOOK)
        if seen:
            times.append(seen[0][0] + self._resend - now)
        return times

    def _next_block(self) -> tuple[bytes, int] | None:
        """Give framed messages, and the number behind them."""
        batch = self._spool.read(_BLOCK)
        if batch.missing:
            missing, damaged = self._gap or (0, False)
            self._gap = missing + batch.missing, damaged or batch.damaged
        if not batch.messages and (self._gap is None or self._spool.unread):
            return None
        framed = [frame(message) for message in batch.messages]
        if self._gap is not None:
            missing, damaged = self._gap
            self._gap = None
            reason = "the spool was damaged" if damaged else "the spool was full"
            self._notices.warn(
                "syslog_lost",
                f"{self._notices.output}: {missing} records are lost: {reason}",
                lost=missing,
            )
            first = batch.messages[0] if batch.messages else None
            framed.insert(0, frame(self._make_gap(first, missing, reason)))
        return b"".join(framed), batch.end

    def _persist(self) -> None:
        now = time.monotonic()
        if now < self._due or not self._spool.untidy:
            return
        self._due = now + _PERSIST
        # A full disk: the records in the spool stay, and are sent twice at the worst.
        with contextlib.suppress(OSError):
            self._spool.persist()
            self._spool.sync()

    def _finish(self, connection: Connection, *, all_sent: bool) -> None:
        """Have the collector tell, by closing its side, that it has read everything."""
        end = self._spool.end
        if connection.pending or not all_sent:
            return  # there was no time for the rest
        connection.finish()
        while not self._late() and self._spool.waiting:
            assert self._stop_at is not None  # noqa: S101 - else it would not be the end
            self._wait(connection.socket, select.POLLIN, self._stop_at - time.monotonic())
            try:
                connection.receive()
            except CollectorError:
                if connection.ended:
                    self._spool.confirm(end)
                return
