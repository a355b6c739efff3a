"""P13: where the relay reads, writes or waits, an exception that quotes traffic leaves no trace."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from popproxy.cli.diagnostics import Diagnostics
from popproxy.privacy import Policy
from popproxy.records import Record
from popproxy.relay.legs import LegLost, SocketLeg
from popproxy.relay.upstream import Reached, Upstream
from popproxy.sinks import FileSink, Hub
from tests.support.leaks import PASSWORD, leaks
from tests.support.loopback import Serving, serving
from tests.support.relaying import KeepingHub

SECRET = PASSWORD.encode()
TALK = (
    (False, b"+OK ready\r\n"),
    (True, b"USER bo\r\n"),
    (False, b"+OK\r\n"),
    (True, b"PASS " + SECRET + b"\r\n"),
    (False, b"+OK " + SECRET + b" is right\r\n"),
    (True, b"RETR 1\r\n"),
    (False, b"+OK\r\nSubject: " + SECRET + b"\r\n\r\n" + SECRET + b"\r\n.\r\n"),
    (True, b"QUIT\r\n"),
    (False, b"+OK bye\r\n"),
)
"""Whether the client says it, and what."""


class QuotingError(Exception):
    """Quotes the traffic, and holds it in its locals, as a defect might."""


class Awaits:
    """Counts the calls of the relay that read, write or wait, and raises at one of them.

    Attributes:
        count: How many there were, each counted before and behind its work.
        fatal: At which one to raise; never if it is negative.
        ours: The test's own legs, which are left alone.
    """

    def __init__(self) -> None:
        self.count = 0
        self.fatal = -1
        self.ours: set[int] = set()

    def trapped_at_once(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Make a method of a leg that does not wait raise before or behind its work."""

        def call(self_: Any, *arguments: Any) -> Any:
            if id(self_) in self.ours:
                return method(self_, *arguments)
            self._pass(arguments)
            answer = method(self_, *arguments)
            self._pass(answer)
            return answer

        return call

    def trapped(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Make a method raise before or behind its work, when its turn comes."""

        async def call(self_: Any, *arguments: Any) -> Any:
            self._pass(arguments)
            answer = await method(self_, *arguments)
            if not isinstance(answer, Reached):  # nobody could close the leg that is lost here
                self._pass(answer)
            return answer

        return call

    def _pass(self, quoted: object) -> None:
        self.count += 1
        if self.count - 1 == self.fatal:
            raise QuotingError(PASSWORD, quoted)


class WritingHub(KeepingHub):
    """Also writes what it keeps, as `run` would."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.hub = Hub(
            [
                FileSink("jsonl", f"{folder}/capture.jsonl"),
                FileSink("text", f"{folder}/capture.txt"),
                FileSink("putty", f"{folder}/&S.log"),
            ],
            required=True,
        )

    def put(self, records: Iterable[Record]) -> None:
        kept = list(records)
        super().put(kept)
        self.hub.put(kept)

    async def flushed(self, session_id: str | None = None) -> bool:
        return await self.hub.flushed(session_id)


@pytest.fixture
def awaits(monkeypatch: pytest.MonkeyPatch) -> Awaits:
    trap = Awaits()
    for name in ("receive", "send"):
        monkeypatch.setattr(SocketLeg, name, trap.trapped_at_once(getattr(SocketLeg, name)))
    monkeypatch.setattr(WritingHub, "flushed", trap.trapped(WritingHub.flushed))
    monkeypatch.setattr(Upstream, "connect", trap.trapped(Upstream.connect))
    return trap


@pytest.fixture(params=["console", "json"])
def said(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    Diagnostics(level="debug", form=request.param, stream=stream).configure()
    yield stream
    structlog.reset_defaults()


async def hold(server: Serving, awaits: Awaits) -> None:
    """Hold the conversation as far as it goes."""
    client = server.connect()
    awaits.ours.add(id(client))
    with trio.move_on_after(1):  # the relay may have failed before it reached the server
        upstream = await server.accept()
        awaits.ours.add(id(upstream))
        ends = {True: client, False: upstream}
        try:
            for by_client, data in TALK:
                await ends[by_client].write(data)
                if not await ends[not by_client].read():
                    break
        except LegLost:
            pass
        upstream.close()
    client.close()
    await server.ended(1)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def outputs_of_a_session(awaits: Awaits, said: io.StringIO, folder: Path) -> dict[str, bytes]:
    """Hold the conversation through a relay that writes everything; give all that it wrote."""
    hub = WritingHub(folder)
    async with serving(hub=hub, policy=Policy(body="full", require_log=True)) as server:
        await hold(server, awaits)
    awaits.fatal = -1
    await hub.hub.aclose()
    return {**files_of(folder), "standard error": said.getvalue().encode()}


async def test_p13_an_exception_at_any_await_tells_nothing_of_the_traffic(
    awaits: Awaits, said: io.StringIO, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert not leaks(await outputs_of_a_session(awaits, said, whole))
    points = awaits.count
    assert points > 40
    for fatal in range(points):
        awaits.count, awaits.fatal = 0, fatal
        folder = tmp_path / str(fatal)
        folder.mkdir()
        outputs = await outputs_of_a_session(awaits, said, folder)
        assert not leaks(outputs), f"at await {fatal}"
        assert b"session.end" in outputs["capture.jsonl"]
    assert "QuotingError" in said.getvalue()


def test_the_search_would_find_what_such_an_exception_quotes() -> None:
    assert leaks({"a traceback": str(QuotingError(PASSWORD, SECRET)).encode()})
