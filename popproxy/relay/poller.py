"""One task that waits for the connections of all sessions, and calls whoever can go on.

trio wakes a task when a connection is ready, and a task for each direction of each session costs
about as much as all the work that is done when it wakes: in time, since a way through trio's
scheduler takes as long as reading and writing together, and in memory, since an idle session would
be little else than two tasks. So the connections that are only relayed are watched here, by a
selector of our own. trio watches the selector.

Calls are synchronous and short. Whoever is called reads and writes until nothing is left to be read
or `BUDGET` octets were; no session keeps the others waiting for longer. After `ROUNDS` looks at the
selector trio's other tasks have their turn, whatever is still to be done.

What need not be done while somebody waits for octets is put off until all who were ready have been
called (`afterwards`).

A connection counts as ready for as long as there is something to do (level-triggered), so that
nothing is lost if somebody stops early.
"""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable

import trio

BUDGET = 256 * 1024
"""Octets that a session may move when it is called, give or take a read."""
ROUNDS = 8
"""Looks at the selector before trio's other tasks may run."""

Wake = Callable[[], None]
"""Is called when a connection can be read from or written to as was asked. Must not raise."""

READING = selectors.EVENT_READ
WRITING = selectors.EVENT_WRITE


class Poller:
    """The connections that are watched, and the task that watches them."""

    __slots__ = ("_afterwards", "_calling", "_forgotten", "_selector")

    def __init__(self) -> None:
        """Begin without connections; `run` has to be started."""
        self._selector = selectors.DefaultSelector()
        self._afterwards: list[Wake] = []
        self._calling = False
        self._forgotten: set[int] = set()  # since the last look at the selector

    def watch(self, descriptor: int, wake: Wake, mask: int) -> None:
        """Watch a connection from now on, or watch it for something else than before.

        Args:
            descriptor: The connection's.
            wake: Whom to call.
            mask: `READING`, `WRITING`, both, or 0 to watch it no more.
        """
        if not mask:  # a mask of 0 would have the system report errors again and again
            self.forget(descriptor)
            return
        try:
            self._selector.modify(descriptor, mask, wake)
        except KeyError:
            self._selector.register(descriptor, mask, wake)

    def forget(self, descriptor: int) -> None:
        """Watch a connection no more. It must be called before a watched connection is closed."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)
            self._forgotten.add(descriptor)

    def afterwards(self, wake: Wake) -> None:
        """Call somebody when all who are ready now have been called; at once if nobody is.

        Args:
            wake: Whom to call; must not raise.
        """
        if self._calling:
            self._afterwards.append(wake)
        else:
            wake()

    async def run(self) -> None:
        """Watch until cancelled."""
        selector, forgotten = self._selector, self._forgotten
        try:
            while True:
                await trio.lowlevel.wait_readable(selector)
                for _ in range(ROUNDS):
                    forgotten.clear()
                    ready = selector.select(0)
                    if not ready:
                        break
                    self._calling = True
                    for key, _ in ready:
                        if key.fd not in forgotten:  # by somebody who was called before
                            key.data()
                    self._calling = False
                    for wake in self._afterwards:
                        wake()
                    self._afterwards.clear()
        finally:
            selector.close()


_current: trio.lowlevel.RunVar[Poller] = trio.lowlevel.RunVar("popproxy.relay.poller")


def current_poller() -> Poller:
    """Give the poller of the trio that runs; the first call starts it."""
    with contextlib.suppress(LookupError):
        return _current.get()
    poller = Poller()
    _current.set(poller)
    trio.lowlevel.spawn_system_task(poller.run)
    return poller
