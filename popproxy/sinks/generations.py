"""Outputs that change while sessions are under way.

Each reload that changes outputs makes a *generation*: the hub of the sessions that begin from then
on. A session keeps the hub that it began with, so that its PuTTY log, its place in a file of all
sessions, and its pcapng stream are whole. An output that stays is one and the same sink in both
generations, so that no file has two writers. A sink is closed, when all of it is written, as soon
as the last session is over whose hub it belongs to; so there are never more generations than
sessions, and one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from popproxy.sinks.base import Sink
from popproxy.sinks.elsewhere import Elsewhere
from popproxy.sinks.hub import DRAIN, Hub
from popproxy.sinks.queued import QueuedSink
from popproxy.sinks.state import SinkState

PATIENCE = 30.0
"""Seconds that an output which is given up gets for writing what is left."""
_END = 1.0
"""Seconds for what comes last, such as the end of a file's format; nothing interrupts these."""


def name_of(sink: Sink) -> str:
    """Give what a sink is known by: two of one name write to the same place."""
    return sink.name if isinstance(sink, QueuedSink) else type(sink).__name__


@dataclass(frozen=True, eq=False)
class Generation:
    """The outputs of sessions that begin at one time.

    Attributes:
        hub: Hands records to the sinks.
        sinks: The sinks.
        required: Whether they are required, as for `Hub`.
    """

    hub: Hub
    sinks: tuple[Sink, ...]
    required: bool

    @classmethod
    def of(cls, sinks: Sequence[Sink], required: bool) -> Generation:
        """Make one."""
        return cls(Hub(sinks, required), tuple(sinks), required)


class Generations:
    """The outputs of a run, and the hub of the sessions that begin now.

    Attributes:
        changing: Held while outputs are chosen and put in force, and while some are closed.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        required: bool = False,
        *,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Begin with the first generation.

        Args:
            sinks: Its sinks; they are closed with the generations.
            required: As for `Hub`.
            elsewhere: Is told of the sinks of each generation that is put in force.
        """
        self._now = Generation.of(sinks, required)
        self._elsewhere = elsewhere or Elsewhere()
        self._elsewhere.follow(sinks)
        self._earlier: dict[Generation, None] = {}
        self._lost = 0  # by sinks that are closed
        self.changing = trio.Lock()

    @property
    def hub(self) -> Hub:
        """The hub of the sessions that begin now."""
        return self._now.hub

    @property
    def names(self) -> set[str]:
        """What the sinks are known by that are not closed yet."""
        return {name_of(sink) for sink in self._living()}

    @property
    def healthy(self) -> bool:
        """Whether every output of sessions that begin now writes records as they come."""
        return self._now.hub.healthy

    def stuck(self, seconds: float) -> bool:
        """Say whether the thread of an output is held up.

        Args:
            seconds: How long it may be at one piece of work, such as a write.
        """
        return any(sink.stuck(seconds) for sink in self._living() if isinstance(sink, QueuedSink))

    @property
    def lost(self) -> int:
        """Records that files and streams lost in this run."""
        return self._lost + _lost_by(self._living())

    @property
    def states(self) -> list[SinkState]:
        """How the files and streams are that are not closed yet."""
        return [sink.state for sink in self._living() if isinstance(sink, QueuedSink)]

    def start(self) -> None:
        """Have the outputs begin what does not wait for records."""
        for sink in self._now.sinks:
            if isinstance(sink, QueuedSink):
                sink.start()

    def reopen(self) -> None:
        """Have every file closed and opened again by its name, as after a rotation."""
        for sink in self._living():
            if isinstance(sink, QueuedSink):
                sink.reopen()

    def next(self, sinks: Sequence[Sink], required: bool) -> Generation:
        """Make the next generation, which is not in force before `adopt`; `changing` is held.

        Args:
            sinks: Sinks that were made for it. Where there is one of the same name, that is used
                instead, and the new one was in vain.
            required: As for `Hub`.

        Returns:
            It; the present one if nothing changes.
        """
        living = {name_of(sink): sink for sink in self._living()}
        chosen = [living.get(name_of(sink), sink) for sink in sinks]
        if set(chosen) == set(self._now.sinks) and required == self._now.required:
            return self._now
        return Generation.of(chosen, required)

    def adopt(self, generation: Generation) -> Generation | None:
        """Put in force what `next` made.

        Args:
            generation: It.

        Returns:
            What was in force, for `retire`; None if nothing changes.
        """
        if generation is self._now:
            return None
        before, self._now = self._now, generation
        self._earlier[before] = None
        self._elsewhere.follow(generation.sinks)
        self.start()
        return before

    async def retire(
        self, generation: Generation, unused: Callable[[Hub], Awaitable[None]]
    ) -> None:
        """Close what only an earlier generation writes to, when its sessions are over.

        Args:
            generation: What `adopt` returned.
            unused: Waits until no session has to do with a hub.
        """
        await unused(generation.hub)
        with trio.move_on_after(PATIENCE):
            for sink in self._leaving(generation):
                await sink.flushed()
        async with self.changing:
            leaving = self._leaving(generation)
            del self._earlier[generation]
            await Hub(leaving).aclose(_END)
            self._lost += _lost_by(leaving)

    async def aclose(self, deadline: float = DRAIN) -> int:
        """Have all sinks write what is left, and end them; see `Hub.aclose`.

        Args:
            deadline: Seconds that they have for it.

        Returns:
            How many records were lost in this run.
        """
        await Hub(self._living()).aclose(deadline)
        return self.lost

    def _living(self) -> list[Sink]:
        every = [sink for one in (self._now, *self._earlier) for sink in one.sinks]
        return list(dict.fromkeys(every))

    def _leaving(self, generation: Generation) -> list[Sink]:
        others = [self._now, *(one for one in self._earlier if one is not generation)]
        staying = {sink for one in others for sink in one.sinks}
        return [sink for sink in generation.sinks if sink not in staying]


def _lost_by(sinks: Sequence[Sink]) -> int:
    return sum(sink.lost for sink in sinks if isinstance(sink, QueuedSink))
