"""Floods of connections, resets at every step, servers and clients that never answer."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.endurance.rig import (
    MIB,
    SESSION,
    Disconnected,
    Outcome,
    Vital,
    connected,
    converse,
    processor_time,
    serving,
    settled_in,
    written,
)
from tests.support.proxy import Proxy

FLOOD = ("--max-connections=2000", "--max-connections-per-client=2000")
HELD = 256 * 1024
"""Octets that a slow reader may hold in the proxy (P53)."""
_BACK = 0.1


async def _settled(proxy: Proxy, before: Vital) -> Vital:
    """Wait, for some seconds, until descriptors are as before, and look."""
    after = Vital.of(proxy)
    for _ in range(100):
        if after.descriptors <= before.descriptors:
            break
        await trio.sleep(_BACK)
        after = Vital.of(proxy)
    return after


def _ends(folder: Path) -> Counter[bytes]:
    """Count ends of sessions in the records, by reason."""
    mark = b'"reason":"'
    return Counter(
        line.partition(mark)[2].partition(b'"')[0]
        for line in written(folder / "proxy/logs/all.jsonl")
        if b'"action":"session.end"' in line
    )


def storm(folder: Path, connections: int, seconds: float) -> Outcome:
    """Have clients come in a flood (P55, P57).

    Args:
        folder: Where popproxy writes.
        connections: How many come.
        seconds: Within which time.
    """
    outcome = Outcome(f"storm: {connections:,} connections in {seconds:g} s")
    most = str(connections // 2)  # so that places have to become free

    async def main() -> None:
        async with serving() as server:
            limits = ("--max-connections", most, "--max-connections-per-client", most)
            options = ("--jsonl", "logs/all.jsonl", *limits)
            with Proxy(folder / "proxy", server.port, *options) as proxy:
                before = await settled_in(proxy)
                served = 0
                took: list[float] = []

                async def one() -> None:
                    nonlocal served
                    began = time.monotonic()
                    answered = await converse(proxy.port, [b"NOOP", b"QUIT"])
                    served += answered == 2
                    took.append(time.monotonic() - began)

                began = trio.current_time()
                async with trio.open_nursery() as nursery:
                    for number in range(connections):
                        await trio.sleep_until(began + number * seconds / connections)
                        nursery.start_soon(one)
                spent = trio.current_time() - began
                after = await _settled(proxy, before)
                outcome.tell("connections served whole", served, served == connections)
                outcome.tell("seconds", f"{spent:.1f}")
                took.sort()
                outcome.tell("a session took, ms, median", f"{took[len(took) // 2] * 1000:.1f}")
                outcome.tell("p99", f"{took[len(took) * 99 // 100] * 1000:.1f}")
                outcome.tell("descriptors before", before.descriptors)
                back = after.descriptors <= before.descriptors
                outcome.tell("descriptors after", after.descriptors, back)
                outcome.tell("resident before, MiB", f"{before.memory / MIB:.1f}")
                outcome.tell("resident after, MiB", f"{after.memory / MIB:.1f}")
                status = await trio.to_thread.run_sync(proxy.stop)
                outcome.tell("exit status", status, status == 0)

    trio.run(main)
    ends = sum(_ends(folder).values())
    outcome.tell("ends of sessions in the records", ends, ends == connections + 1)
    return outcome


def resets(folder: Path, times: int) -> Outcome:
    """Have client and server reset the connection at each step of a session (P26, P57).

    Args:
        folder: Where popproxy writes.
        times: How often at each step, by each side.
    """
    steps = len(SESSION)
    outcome = Outcome(f"resets: {times} at each of {steps} steps, by either side")

    async def main() -> None:
        async with serving() as server:
            options = ("--jsonl", "logs/all.jsonl", *FLOOD)
            with Proxy(folder / "proxy", server.port, *options) as proxy:
                before = await settled_in(proxy)
                wrong = 0
                for step in range(steps):
                    for side in ("client", "server"):
                        server.reset_at = step if side == "server" else None
                        reset_at = step if side == "client" else -1

                        async def one(step: int = step, reset_at: int = reset_at) -> None:
                            nonlocal wrong
                            answered = await converse(proxy.port, reset_at=reset_at)
                            wrong += answered != step

                        async with trio.open_nursery() as nursery:
                            for _ in range(times):
                                nursery.start_soon(one)
                server.reset_at = None
                outcome.tell("sessions that were reset", steps * 2 * times)
                outcome.tell("of them with other answers than before", wrong, wrong == 0)
                served = await converse(proxy.port)
                outcome.tell("a session afterwards is served", served, served == steps)
                after = await _settled(proxy, before)
                outcome.tell("descriptors before", before.descriptors)
                back = after.descriptors <= before.descriptors
                outcome.tell("descriptors after", after.descriptors, back)
                status = await trio.to_thread.run_sync(proxy.stop)
                outcome.tell("exit status", status, status == 0)

    trio.run(main)
    reasons = _ends(folder)
    ends = sum(reasons.values())
    outcome.tell("ends of sessions in the records", ends, ends == steps * 2 * times + 2)
    for reason, count in sorted(reasons.items()):
        outcome.tell(f"by reason: {reason.decode()}", count)
    return outcome


@contextlib.contextmanager
def _never_answers() -> Iterator[int]:
    """Listen with a queue that is full, so that nobody's connection is ever made; give the port."""
    with socket.socket() as listening, contextlib.ExitStack() as held:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in range(4):
            filling = held.enter_context(socket.socket())
            filling.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filling.connect(("127.0.0.1", port))
        yield port


def holes(folder: Path, clients: int) -> Outcome:
    """Have an upstream that never answers, and clients that never read (P53, P58, P60).

    Args:
        folder: Where popproxy writes.
        clients: How many there are of each.
    """
    outcome = Outcome(f"holes: {clients} clients each")

    async def unanswered() -> None:
        options = ("--jsonl", "logs/all.jsonl", "--connect-timeout=1", *FLOOD)
        with _never_answers() as port, Proxy(folder / "hole", port, *options) as proxy:
            told = 0

            async def one() -> None:
                nonlocal told
                with contextlib.suppress(Disconnected):
                    async with connected(proxy.port) as client:
                        said = await client.line()
                        told += said.startswith(b"-ERR [SYS/TEMP]")

            before = await settled_in(proxy)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for _ in range(clients):
                    nursery.start_soon(one)
            spent = trio.current_time() - began
            after = await _settled(proxy, before)
            outcome.tell("clients of a server that never answers, told so", told, told == clients)
            outcome.tell("seconds until the last one was told", f"{spent:.1f}", spent < 30)
            back = after.descriptors <= before.descriptors
            outcome.tell("descriptors left over", after.descriptors - before.descriptors, back)

    async def unread() -> None:
        async with serving(large=64 * MIB) as server:
            options = ("--jsonl", "logs/all.jsonl", "--body=headers", *FLOOD)
            with Proxy(folder / "proxy", server.port, *options) as proxy:
                before = await settled_in(proxy)
                async with _deaf(proxy.port, clients):
                    held = await _steady(proxy)
                    growth = (held.memory - before.memory) // clients
                    outcome.tell(
                        "octets that a client holds that never reads", growth, growth < HELD
                    )
                    began = time.monotonic()
                    served = await converse(proxy.port)
                    outcome.tell("another session is served", served, served == len(SESSION))
                    outcome.tell("which took, ms", f"{(time.monotonic() - began) * 1000:.1f}")
                after = await _settled(proxy, before)
                back = after.descriptors <= before.descriptors
                outcome.tell("descriptors left over", after.descriptors - before.descriptors, back)
                status = await trio.to_thread.run_sync(proxy.stop)
                outcome.tell("exit status", status, status == 0)

    trio.run(unanswered)
    trio.run(unread)
    return outcome


@asynccontextmanager
async def _deaf(port: int, clients: int) -> AsyncIterator[None]:
    """Have clients that ask for a large message and read nothing of it."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(clients):
            client = await stack.enter_async_context(connected(port))
            await client.line()
            await client.send(b"USER wren\r\nPASS secret\r\n")
            await client.line()
            await client.line()
            await client.send(b"RETR 9\r\n")
        yield


async def _steady(proxy: Proxy) -> Vital:
    """Look when popproxy has read all that could be sent, and has nothing to do any more."""
    spent = processor_time(proxy.process.pid)
    for _ in range(100):
        await trio.sleep(0.3)
        earlier, spent = spent, processor_time(proxy.process.pid)
        if spent - earlier < 0.02:
            break
    return Vital.of(proxy)
