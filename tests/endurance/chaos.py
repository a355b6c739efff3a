"""Renames, signals and kills at random, as months of logrotate, restarts and power cuts in minutes.

Whatever comes, `popproxy verify --chain` has to find all files whole afterwards: nothing is cut
off, only gone on with elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path

import trio

from tests.endurance.kill import CLIENTS, Marks
from tests.endurance.rig import Disconnected, Outcome, connected, converse, serving, verify
from tests.support.proxy import Proxy

PAUSES = (0.002, 0.02, 0.1)
"""Seconds between two commands of a client."""


class _Chaos:
    """What happens to one popproxy after the other."""

    def __init__(self, logs: Path, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 -- no secret
        self.renamed = self.hung_up = self.killed = self.ended = 0
        self._logs = logs
        options = ["--jsonl", "logs/all.jsonl"]
        options += ["--rotate-size", "400000"] if seed % 2 else []
        self.options = [*options, "--compress"] if seed % 3 == 0 else options

    async def live(self, proxy: Proxy, marks: Marks) -> None:
        """Have clients, rename the file and send SIGHUP at random, and end it in some way."""

        async def client(pause: float) -> None:
            with contextlib.suppress(Disconnected, OSError):
                async with connected(proxy.port) as connection:
                    await marks.session(connection, pause)

        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(client, self.dice.choice(PAUSES))
            end = trio.current_time() + self.dice.uniform(0.3, 1.2)
            while trio.current_time() < end:
                await trio.sleep(self.dice.uniform(0.02, 0.3))
                self._rename_or_reload(proxy)
            if self.dice.random() < 0.7:
                self.killed += 1
                proxy.process.kill()
            else:
                self.ended += 1
                proxy.process.terminate()
                nursery.cancel_scope.cancel()  # and so clients do, or it would wait for them
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(proxy.process.wait)

    def _rename_or_reload(self, proxy: Proxy) -> None:
        what = self.dice.choice(("rename", "reload", "both", "nothing"))
        if what in ("rename", "both"):
            with contextlib.suppress(FileNotFoundError):
                name = f"all.jsonl.{self.renamed + 1:04}"
                os.rename(self._logs / "all.jsonl", self._logs / name)  # noqa: PTH104 -- no wait
                self.renamed += 1
        if what in ("reload", "both"):
            proxy.process.send_signal(signal.SIGHUP)
            self.hung_up += 1


def chaos(folder: Path, lives: int, seed: int) -> Outcome:
    """Run it.

    Args:
        folder: Where popproxy writes.
        lives: How often it is started.
        seed: Of everything.
    """
    outcome = Outcome(f"chaos: {lives} lives, seed {seed}")
    logs = folder / "proxy/logs"
    what = _Chaos(logs, seed)
    marks = Marks()

    async def main() -> None:
        async with serving() as server:
            for _ in range(lives):
                with Proxy(folder / "proxy", server.port, *what.options) as proxy:
                    await what.live(proxy, marks)
            with Proxy(folder / "proxy", server.port, *what.options) as proxy:
                await converse(proxy.port)
                status = await trio.to_thread.run_sync(proxy.stop)
                outcome.tell("exit status of the last one", status, status == 0)

    trio.run(main)
    outcome.tell("commands that were answered", len(marks.answered))
    outcome.tell("renamed by others", what.renamed)
    outcome.tell("SIGHUP", what.hung_up)
    outcome.tell("SIGKILL", what.killed)
    outcome.tell("SIGTERM", what.ended)
    whole, said = verify(logs)
    outcome.tell("popproxy verify --chain", said, whole)
    return outcome
