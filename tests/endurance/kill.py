"""kill -9, again and again, while records are written (P64)."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import trio

from tests.endurance.rig import (
    Disconnected,
    Lines,
    Outcome,
    connected,
    converse,
    serving,
    verify,
    written,
)
from tests.support.proxy import Proxy

OPTIONS = ("--jsonl", "logs/all.jsonl", "--rotate-size", "500000", "--compress")
OLD = 1.0
"""Seconds after which nothing may be lost."""
CLIENTS = 8
PAUSES = (0.1, 0.002)
"""Seconds between two commands of a client, by turns: records wait for more, or fill blocks."""


class Marks:
    """Commands that each are said once, and when each was answered."""

    def __init__(self) -> None:
        self.answered: dict[int, float] = {}
        self._next = 1

    async def session(self, client: Lines, pause: float) -> None:
        """Say commands until the connection ends."""
        await client.line()
        for said in (b"USER wren\r\n", b"PASS secret\r\n"):
            await client.send(said)
            await client.line()
        while True:
            number, self._next = self._next, self._next + 1
            await client.send(b"DELE %d\r\n" % number)
            await client.line()
            self.answered[number] = trio.current_time()
            await trio.sleep(pause)


async def _until_killed(proxy: Proxy, marks: Marks, pause: float, seconds: float) -> float:
    """Have clients talk, kill popproxy, and give the moment."""

    async def client() -> None:
        with contextlib.suppress(Disconnected, OSError):
            async with connected(proxy.port) as connection:
                await marks.session(connection, pause)

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client)
        await trio.sleep(seconds)
        killed = trio.current_time()
        proxy.process.kill()
        await trio.to_thread.run_sync(proxy.process.wait)
    return killed


def kill(folder: Path, times: int, seed: int = 0) -> Outcome:
    """Run it.

    Args:
        folder: Where popproxy writes.
        times: How often it is killed.
        seed: Of the moments.
    """
    outcome = Outcome(f"kill -9: {times} times")
    moments = random.Random(seed)  # noqa: S311 -- no secret
    marks = Marks()
    log = folder / "proxy/logs/all.jsonl"
    due: set[int] = set()

    async def main() -> None:
        async with serving() as server:
            for number in range(times):
                before = set(marks.answered)
                with Proxy(folder / "proxy", server.port, *OPTIONS) as proxy:
                    pause, seconds = PAUSES[number % 2], moments.uniform(1.05, 1.6)
                    killed = await _until_killed(proxy, marks, pause, seconds)
                due.update(
                    number
                    for number, when in marks.answered.items()
                    if number not in before and when < killed - OLD
                )
            with Proxy(folder / "proxy", server.port, *OPTIONS) as proxy:
                await converse(proxy.port)  # with the first record the file goes on, and says so
                status = await trio.to_thread.run_sync(proxy.stop)
                outcome.tell("exit status of the last one", status, status == 0)

    trio.run(main)
    recorded, torn, lines = _read(log)
    outcome.tell("commands that were answered", len(marks.answered))
    outcome.tell(f"of them more than {OLD:g} s before a kill", len(due), bool(due))
    outcome.tell("of these not recorded", len(due - recorded), due <= recorded)
    late = set(marks.answered) - due
    outcome.tell("of the later ones not recorded", len(late - recorded))
    outcome.tell("files", sum(1 for path in log.parent.iterdir() if path.name[0] != "."))
    outcome.tell("lines", lines)
    outcome.tell("torn lines", torn, torn <= times)
    whole, said = verify(log.parent)
    outcome.tell("popproxy verify --chain", said, whole)
    return outcome


def _read(log: Path) -> tuple[set[int], int, int]:
    """Give the commands that were recorded with an answer, and count torn lines and all."""
    recorded: set[int] = set()
    torn = lines = 0
    for line in written(log):
        lines += 1
        try:
            record = json.loads(line)
        except ValueError:
            torn += 1
            continue
        if record["event"]["action"] == "pop3.response" and record["pop3"]["command"] == "DELE":
            recorded.add(int(record["pop3"]["arguments"]))
    return recorded, torn, lines
