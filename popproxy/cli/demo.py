"""`popproxy demo`: a server, the proxy and a client in one process, on loopback.

The proxy is the one that `run` runs, with the same sinks; only its two neighbours are ours. With
`--serve` there is no client, and both stay up for whatever client a person has at hand.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from popproxy.cli import outputs
from popproxy.cli.config import Configuration, Layers, build
from popproxy.cli.console import is_terminal
from popproxy.cli.diagnostics import Diagnostics
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.privileges import forbid_core_dumps
from popproxy.cli.run import make_diagnostics
from popproxy.cli.sayings import say_listening
from popproxy.cli.sources import read_options
from popproxy.diagnostics import on_first_use
from popproxy.peers import server
from popproxy.peers.client import ClientError, ScriptedClient, seed_conversation
from popproxy.peers.demo_mail import DEMO_PASSWORD, DEMO_USER, demo_accounts
from popproxy.privacy import Policy
from popproxy.relay import Listener, Route, Timeouts, parse_url, serve
from popproxy.sinks import FileSink, Hub, Sink, SinkError

PACE = 0.25
"""Seconds between two commands when a person watches."""

DRAIN = 1.0
"""Seconds that sessions get when it ends."""

HERE = "pop3://127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What the demonstration needs.

    Attributes:
        hub: Takes the records.
        diagnostics: Where to speak.
        folder: Where the logs are.
        pace: Seconds between two commands.
    """

    hub: Hub
    diagnostics: Diagnostics
    folder: Path
    pace: float


def demo(
    invocation: Invocation,
    given: Mapping[tuple[str, str], tuple[str, object]],
    *,
    stay: bool,
    keep: str | None,
) -> int:
    """Show popproxy at work; see `popproxy demo --help`.

    Raises:
        CommandError: The folder cannot be used, or the session could not be held.
    """
    layers = Layers()
    read_options(layers, given)
    configuration = build(layers)
    forbid_core_dumps()
    folder = _folder(keep)
    hub = Hub(_sinks(configuration, invocation.env, folder))
    stage = _Stage(
        hub=hub,
        diagnostics=make_diagnostics(configuration, invocation.env),
        folder=folder,
        pace=PACE if is_terminal(sys.stdout) else 0.0,
    )
    on_first_use(stage.diagnostics.configure)
    try:
        trio.run(_serving if stay else _showing, stage)
    finally:
        stage.diagnostics.close()
    return Status.DONE


def _folder(keep: str | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="popproxy-demo-"))
    path = Path(keep)
    if path.exists() and not path.is_dir():
        raise CommandError(
            f"--keep {keep}: it is not a folder",
            hint="Name a folder; it is made if it is not there.",
            status=Status.USAGE,
        )
    return path


def _sinks(configuration: Configuration, env: Mapping[str, str], folder: Path) -> list[Sink]:
    text = str(folder).replace("&", "&&")
    files = [FileSink("putty", f"{text}/&S.log"), FileSink("jsonl", f"{text}/demo.jsonl")]
    try:
        for sink in files:
            sink.check()
    except SinkError as error:
        raise CommandError(str(error), status=Status.USAGE) from None
    view = outputs.make_view(configuration, env, alone=not configuration.settings.log.quiet)
    return [*files, *([view] if view is not None else [])]


@contextlib.asynccontextmanager
async def _running(stage: _Stage) -> AsyncIterator[tuple[Listener, int]]:
    """Run the server, and the proxy in front of it; end with the sessions that are under way.

    Gives the proxy's listener and the server's port.
    """
    stop = trio.Event()
    try:
        async with trio.open_nursery() as servers:
            server_port: int = await servers.start(server.serve, demo_accounts())
            route = Route(
                name="demo",
                listen=parse_url(f"{HERE}:0", listener=True),
                upstream=parse_url(f"{HERE}:{server_port}", listener=False),
            )
            async with trio.open_nursery() as proxies:
                listeners: Sequence[Listener] = await proxies.start(
                    partial(
                        serve,
                        [route],
                        hub=stage.hub,
                        policy=Policy(),
                        timeouts=Timeouts(drain=DRAIN),
                        stop=stop,
                    )
                )
                yield listeners[0], server_port
                stop.set()
            servers.cancel_scope.cancel()
    finally:
        await stage.hub.aclose()


async def _showing(stage: _Stage) -> None:
    """Hold the session and say what to try next."""
    async with _running(stage) as (listener, _):
        await _converse(listener.address, stage.pace)
    for line in _what_next(stage.folder):
        stage.diagnostics.announce("demo", line)


async def _converse(address: tuple[str, int], pace: float) -> None:
    try:
        async with await trio.open_tcp_stream(*address) as stream:
            client = ScriptedClient(stream)
            await client.converse(seed_conversation(DEMO_USER, DEMO_PASSWORD), pause=pace)
            await stream.send_eof()
            await stream.receive_some()  # until the server has closed, too
    except (ClientError, trio.BrokenResourceError) as error:
        what = str(error) if isinstance(error, ClientError) else "the connection was lost"
        raise CommandError(f"the demonstration's session failed: {what}") from None


def _what_next(folder: Path) -> list[str]:
    logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    putty = logs[-1] if logs else folder
    return [
        "",
        f"The session's PuTTY log:  {putty}",
        f"Its records as JSON:      {folder / 'demo.jsonl'}",
        "",
        "Try next:",
        "  popproxy demo --serve                           to use a client of your own",
        "  popproxy run --upstream pop3s://pop.example.org in front of a real server",
        "  popproxy help                                   the manual",
    ]


async def _serving(stage: _Stage) -> None:
    """Keep server and proxy up until a signal comes."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async with _running(stage) as (listener, server_port):
            for line in _how_to_connect(listener, server_port, stage.folder):
                stage.diagnostics.announce("demo", line)
            say_listening(stage.diagnostics, [listener])
            async for _ in received:
                break
    stage.diagnostics.announce("demo", f"The logs are in {stage.folder}")


def _how_to_connect(listener: Listener, server_port: int, folder: Path) -> list[str]:
    host, port = listener.address
    user, password = DEMO_USER, DEMO_PASSWORD
    return [
        f"A mail server of popproxy's own is on port {server_port}, the proxy on {host}:{port}.",
        f"What you send shows up here. The logs are in {folder}",
        "",
        "With telnet; type user, pass, stat, list, retr 1, quit:",
        f"    telnet {host} {port}",
        "With curl:",
        f"    curl -u {user}:{password} pop3://{host}:{port}/1",
        "With a mail client, POP3 without encryption:",
        f"    server {host}, port {port}",
        f"    user {user}, password {password}",
        "Ctrl-C ends it.",
        "",
    ]
