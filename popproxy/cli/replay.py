"""`popproxy replay`: a recorded session, served to live clients."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import trio

from popproxy.cli import wiring, wiring_tls
from popproxy.cli.ca import directory
from popproxy.cli.captures import Opened, choice, opened
from popproxy.cli.config import DEFAULT, Configuration, Entry, Layers, build
from popproxy.cli.console import is_terminal
from popproxy.cli.diagnostics import Diagnostics
from popproxy.cli.errors import CommandError, ConfigurationError, Problem, Status
from popproxy.cli.options import Invocation
from popproxy.cli.privileges import forbid_core_dumps
from popproxy.cli.routes import read_route_options
from popproxy.cli.run import make_diagnostics
from popproxy.cli.sayings import say_waiting
from popproxy.cli.sources import read_options
from popproxy.diagnostics import on_first_use
from popproxy.formats import visible
from popproxy.relay import CannotListen, RelayError, Route
from popproxy.relay.url import Url
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.settings import ListenerTls, Minimum
from popproxy.tools import captures
from popproxy.tools.replay_pieces import Split, SplitError
from popproxy.tools.replay_place import TlsMode, tls_mode
from popproxy.tools.replay_plan import Plan
from popproxy.tools.replay_planner import PlanError, make_plan
from popproxy.tools.replay_server import Events, Stage, Tally, serve
from popproxy.tools.replay_session import Manner, Outcome
from popproxy.tools.sessions import Choice, Overview, overviews, records_of

Given = Mapping[tuple[str, str], tuple[str, object]]

_LISTED = 10
"""Sessions that are named if a capture has more than one."""
_MATCHED = {"strict": "in the recorded order", "lenient": "in any order"}
_NOWHERE = "pop3://popproxy.invalid"
_VERSIONS: dict[str, Minimum] = {
    "TLSv1": "1.0",
    "TLSv1.1": "1.1",
    "TLSv1.2": "1.2",
    "TLSv1.3": "1.3",
}


def replay(invocation: Invocation, options: Mapping[str, Any], given: Given) -> int:
    """Serve a session; see `popproxy replay --help`.

    Args:
        invocation: With the environment.
        options: What the command line says.
        given: The settings among them.

    Raises:
        CommandError: Something is wrong that a person can mend.
    """
    split = _split(options["split"])
    plan, overview = load(invocation, options)
    configuration, route = _route(invocation, options, given, plan)
    forbid_core_dumps()
    mode: TlsMode = "never"
    if options["tls"] == "recorded":
        mode = tls_mode(plan, route.listen.scheme)
    manner = Manner(
        match=options["match"],
        tls=mode,
        speed=None if options["no_timing"] else options["speed"],
        split=split,
        idle=options["idle_timeout"],
    )
    stage = Stage(
        plan=plan,
        manner=manner,
        listen=route.listen,
        tls=_versions(route.listener_tls, plan, chosen=("route", "client_tls_minimum") in given),
        allow=route.allow,
        connections=options["max_connections"],
        once=options["once"],
    )
    diagnostics = make_diagnostics(configuration, invocation.env)
    on_first_use(diagnostics.configure)
    for warning in wiring_tls.warnings([replace(route, listener_tls=stage.tls)]):
        diagnostics.announce("tls_warning", warning, level="warning")
    _introduce(diagnostics, stage, overview, options["capture"])
    try:
        tally, by_signal = trio.run(_serve, stage, diagnostics)
    finally:
        diagnostics.close()
    if not stage.once:
        return Status.DONE
    if not tally.sessions:
        return Status.INTERRUPTED if by_signal == signal.SIGINT else Status.DONE
    return Status.FAILED if tally.departed else Status.DONE


# What is replayed.


def pseudo_route(
    invocation: Invocation,
    options: Mapping[str, Any],
    given: Given,
    *,
    listen: tuple[str, str],
    upstream: tuple[str, str],
    stls: str = "intercept",
) -> tuple[Configuration, Route]:
    """Make a route of the options, to have them checked as those of `run` are.

    Args:
        invocation: With the environment.
        options: What the command line says.
        given: The settings among them.
        listen: Where it would listen, and where that comes from.
        upstream: Its server, likewise.
        stls: As `Route.stls` has it.

    Raises:
        CommandError: Something is wrong.
    """
    layers = Layers()
    read_options(layers, given)
    layers.routes = [
        {
            "name": Entry("replay", DEFAULT),
            "listen": Entry(*listen),
            "upstream": Entry(*upstream),
            "stls": Entry(stls, DEFAULT),
        }
    ]
    read_route_options(layers, (), (), options["allow"], given)
    configuration = build(layers)
    authority = given.get(("tls", "authority"))
    folder = directory(
        invocation, str(authority[1]) if authority is not None else None, options["config_file"]
    )
    problems: list[Problem] = []
    routes = wiring.make_routes(configuration, problems, folder)
    if problems or not routes:
        raise ConfigurationError(problems)
    return configuration, routes[0]


def load(invocation: Invocation, options: Mapping[str, Any]) -> tuple[Plan, Overview]:
    """Read the session that is meant.

    Args:
        invocation: Of the verb.
        options: What the command line says.

    Raises:
        CommandError: The capture cannot be read, or does not hold one such session alone.
    """
    which = choice(**{name: options[name] for name in ("session", "user", "since", "until")})
    with opened(options["capture"], options["kind"], invocation) as capture:
        overview = _only(capture, which)
        try:
            return make_plan(records_of(capture.records(again=True), overview.number)), overview
        except PlanError as error:
            what, _, hint = str(error).partition(": ")
            raise CommandError(what, hint=hint[:1].upper() + hint[1:]) from None


def _only(capture: Opened, which: Choice) -> Overview:
    found, count = _first_of(capture, which)
    if not found:
        raise CommandError(
            f"{capture.name} holds no session" + ("" if which.everything else " that is meant"),
            hint="" if which.everything else "Leave out what chooses it, to see which there are.",
            status=Status.USAGE,
        )
    if count > 1:
        lines = [
            f"{one.number:>4}  {visible(one.id)}  {one.started:%Y-%m-%d %H:%M:%S}"
            f"  {visible(one.user or '(no login)')}  {one.commands} commands"
            for one in found
        ]
        if count > len(found):
            lines.append(f"      and {count - len(found):,} more: popproxy show --list lists all")
        listed = "\n".join(lines)
        raise CommandError(
            f"{capture.name} holds {count:,} such sessions, and one is replayed at a time",
            hint=f"Choose one with --session:\n{listed}",
            status=Status.USAGE,
        )
    return found[0]


def _first_of(capture: Opened, which: Choice) -> tuple[list[Overview], int]:
    """Give the first few sessions that are meant, and how many there are."""
    first: list[Overview] = []
    count = 0
    for one in overviews(capture.records()):
        if which.matches(one):
            count += 1
            # They come in the order of their ends.
            first = sorted([*first, one], key=lambda seen: seen.number)[:_LISTED]
    return first, count


def _split(text: str | None) -> Split:
    if text is None:
        return Split()
    try:
        return Split.parse(text)
    except SplitError as error:
        raise CommandError(f"--split: {error}", status=Status.USAGE) from None


# How.


def _route(
    invocation: Invocation, options: Mapping[str, Any], given: Given, plan: Plan
) -> tuple[Configuration, Route]:
    scheme = "pop3s" if plan.tls == "start" and options["tls"] == "recorded" else "pop3"
    listen = options["listen"] or f"{scheme}://127.0.0.1"
    configuration, route = pseudo_route(
        invocation,
        options,
        given,
        listen=(listen, "option --listen"),
        upstream=(_NOWHERE, DEFAULT),
    )
    if options["tls"] == "none" and route.listen.scheme != "pop3":
        raise CommandError(
            f"--listen {listen} means TLS, and --tls none means that there is none",
            hint="Leave one of them out.",
            status=Status.USAGE,
        )
    return configuration, route


def _versions(tls: ListenerTls, plan: Plan, *, chosen: bool) -> ListenerTls:
    """Let TLS have no newer version than the recorded server's; an old one was asked for by that.

    Args:
        tls: What the options say.
        plan: The recording.
        chosen: Whether the options say what the oldest version is.
    """
    maximum = _VERSIONS.get(plan.tls_version or "")
    if maximum is None or (chosen and maximum < tls.minimum):
        return tls
    return replace(tls, maximum=maximum, minimum=min(tls.minimum, maximum))


def _introduce(diagnostics: Diagnostics, stage: Stage, overview: Overview, path: str) -> None:
    plan, manner = stage.plan, stage.manner
    commands = len(plan.commands)
    diagnostics.announce(
        "replaying",
        f"replaying session {overview.number} ({plan.session}) of {captures.name_of(path)}:"
        f" {commands} command{'s' * (commands != 1)}, {_MATCHED[manner.match]}",
        session=plan.session,
    )
    for note in plan.notes:
        diagnostics.announce("note", f"note: {note}", note=note)
    diagnostics.announce("accounts", "any user name with any password is let in")


# The run.


class _Teller(Events):
    """Tells a person what happens."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics

    def departed(self, number: int, text: str) -> None:
        self._diagnostics.announce(
            "departure", f"connection {number}: {text}", level="warning", departure=text
        )

    def ended(self, number: int, outcome: Outcome) -> None:
        count = len(outcome.departures) + outcome.more
        told = "as recorded"
        if count:
            told = f"{count} departure{'s' * (count != 1)} from the recording"
        commands = f"{outcome.commands} command{'s' * (outcome.commands != 1)}"
        self._diagnostics.announce(
            "session_ended",
            f"connection {number}: {commands}, {told}; {outcome.reason}",
            commands=str(outcome.commands),
            departures=str(count),
            reason=outcome.reason,
        )

    def failed(self, number: int, error: Exception) -> None:
        self._diagnostics.announce(
            "session_failed",
            f"connection {number}: internal error: {type(error).__name__}",
            level="error",
        )


async def _serve(stage: Stage, diagnostics: Diagnostics) -> tuple[Tally, int | None]:
    stop = trio.Event()
    caught: list[int] = []
    tally = Tally()
    with (
        trio.CancelScope() as scope,
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, received, stop, scope, caught, diagnostics)
            tally = await _listen(stage, stop, diagnostics)
            nursery.cancel_scope.cancel()
    if tally.sessions > 1:
        diagnostics.announce(
            "summary",
            f"{tally.sessions} connections, {tally.departed} of them departed from the recording",
            sessions=str(tally.sessions),
            departed=str(tally.departed),
        )
    return tally, caught[0] if caught else None


async def _listen(stage: Stage, stop: trio.Event, diagnostics: Diagnostics) -> Tally:
    def ready(urls: list[Url]) -> None:
        for url in urls:
            diagnostics.announce("listening", f"listening on {url}", always=True, url=str(url))
        if is_terminal(sys.stderr) and diagnostics.form == "console":
            say_waiting(diagnostics, urls[0], stage.tls)

    try:
        return await serve(stage, stop, _Teller(diagnostics), ready=ready)
    except TlsSetupError as error:
        raise wiring_tls.setup_error(error) from None
    except CannotListen as error:
        raise CommandError(str(error), status=Status.LISTEN) from None
    except RelayError as error:
        raise CommandError(str(error), status=Status.USAGE) from None


async def _obey(
    received: AsyncIterator[int],
    stop: trio.Event,
    scope: trio.CancelScope,
    caught: list[int],
    diagnostics: Diagnostics,
) -> None:
    async for number in received:
        if caught:
            scope.cancel()
        caught.append(number)
        stop.set()
        diagnostics.announce(
            "stopping", "stopping: no new clients; a second time ends all sessions at once"
        )
