"""Sessions at a steady rate for a long time: nothing grows, and no record is lost (P66)."""

from __future__ import annotations

import statistics
from pathlib import Path

import trio

from tests.endurance.rig import (
    MIB,
    SESSION,
    Outcome,
    Vital,
    converse,
    serving,
    settled_in,
    verify,
    written,
)
from tests.support.proxy import Proxy

WARM = 0.2
"""The share of the run before growth is asked for: allocators take what they come to need."""
GROWTH = 2 * MIB
"""Octets by which what is resident may differ between the beginning and the end of the rest."""


async def _load(proxy: Proxy, rate: float, seconds: float) -> tuple[int, int, list[Vital]]:
    """Begin sessions at a rate; give how many began, how many were whole, and what it took."""
    looks: list[Vital] = []
    whole = 0

    async def one() -> None:
        nonlocal whole
        answered = await converse(proxy.port)
        whole += answered == len(SESSION)

    count = max(1, round(rate * seconds))
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        for number in range(count):
            await trio.sleep_until(began + number / rate)
            nursery.start_soon(one)
            if number % max(1, count // 200) == 0:
                looks.append(Vital.of(proxy))
    return count, whole, looks


def soak(folder: Path, rate: float, seconds: float) -> Outcome:
    """Run it.

    Args:
        folder: Where popproxy writes.
        rate: Sessions that begin each second.
        seconds: For how long.
    """
    outcome = Outcome(f"soak: {rate:g} sessions/s for {seconds:g} s")
    options = ("--rotate-size", str(16 * MIB), "--compress", "--max-connections-per-client=1000")

    async def main() -> None:
        async with serving() as server:
            with Proxy(
                folder / "proxy", server.port, "--jsonl", "logs/all.jsonl", *options
            ) as proxy:
                before = await settled_in(proxy)
                count, whole, looks = await _load(proxy, rate, seconds)
                after = Vital.of(proxy)
                for _ in range(100):  # a client has its answer before popproxy closes the session
                    if after.descriptors <= before.descriptors:
                        break
                    await trio.sleep(0.1)
                    after = Vital.of(proxy)
                status = await trio.to_thread.run_sync(proxy.stop)
            _judge(count, whole, looks, before, after)
            outcome.tell("exit status", status, status == 0)

    def _judge(count: int, whole: int, looks: list[Vital], before: Vital, after: Vital) -> None:
        warm = looks[int(len(looks) * WARM) :]
        part = max(1, len(warm) // 8)
        early, late = (
            statistics.median(look.memory for look in some) for some in (warm[:part], warm[-part:])
        )
        outcome.tell("sessions", count)
        outcome.tell("of them with all answers", whole, whole == count)
        outcome.tell("resident at the start, MiB", f"{before.memory / MIB:.1f}")
        outcome.tell("resident after warming up, MiB", f"{early / MIB:.1f}")
        outcome.tell("resident at the end, MiB", f"{late / MIB:.1f}", late - early < GROWTH)
        outcome.tell("descriptors before", before.descriptors)
        fewer = after.descriptors <= before.descriptors
        outcome.tell("descriptors after", after.descriptors, fewer)

    trio.run(main)
    _look_at(folder / "proxy/logs", outcome)
    return outcome


def _look_at(logs: Path, outcome: Outcome) -> None:
    ends = gaps = deletions = octets = 0
    for line in written(logs / "all.jsonl"):
        octets += len(line)
        ends += b'"action":"session.end"' in line
        gaps += b'"action":"gap"' in line
        deletions += b'"deletions_committed":2' in line
    sessions = int(outcome.rows[0][1].replace(",", "")) + 1
    outcome.tell("ends of sessions in the records", ends, ends == sessions)
    outcome.tell("of them with both deletions", deletions, deletions == sessions)
    outcome.tell("gaps", gaps, gaps == 0)
    outcome.tell("octets of records", octets)
    outcome.tell("files", len([path for path in logs.iterdir() if not path.name.startswith(".")]))
    whole, said = verify(logs)
    outcome.tell("popproxy verify --chain", said, whole)
