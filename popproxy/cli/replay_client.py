"""`popproxy replay --as client`: a recorded session's commands, played to a live server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from popproxy.cli import wiring_tls
from popproxy.cli.config import DEFAULT
from popproxy.cli.diagnostics import Diagnostics
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.passwords import ask, from_file
from popproxy.cli.privileges import forbid_core_dumps
from popproxy.cli.replay import Given, load, pseudo_route
from popproxy.cli.run import make_diagnostics
from popproxy.cli.wiring import is_loopback
from popproxy.diagnostics import on_first_use
from popproxy.records import MASK
from popproxy.relay import Route, Timeouts
from popproxy.relay.encryption import NotEncrypted, TlsEncryption
from popproxy.relay.loops import OwnAddresses
from popproxy.relay.upstream import Unreachable, Upstream
from popproxy.tls.failures import TlsSetupError
from popproxy.tools.captures import is_bundle
from popproxy.tools.replay_client import Part, Played, Player, PlayError
from popproxy.tools.replay_plan import Plan


@dataclass(frozen=True, kw_only=True, repr=False)
class _Stage:
    """What is played, to whom, and as whom."""

    plan: Plan
    route: Route
    part: Part
    diagnostics: Diagnostics


def play(invocation: Invocation, options: Mapping[str, Any], given: Given) -> int:
    """Play a session to a live server; see `popproxy replay --help`.

    Args:
        invocation: With the environment.
        options: What the command line says.
        given: The settings among them.

    Raises:
        CommandError: Something is wrong that a person can mend.
    """
    if not options["upstream"]:
        raise CommandError(
            "--as client needs a server to play to",
            hint="Add --upstream pop3s://pop.example.org.",
            status=Status.USAGE,
        )
    plan, overview = load(invocation, options)
    # STLS is used if the recorded client did.
    speaks_tls = plan.tls == "stls" or not options["upstream"].strip().lower().startswith("pop3://")
    configuration, route = pseudo_route(
        invocation,
        options,
        given,
        listen=("pop3://127.0.0.1:0", DEFAULT),
        upstream=(options["upstream"], "option --upstream"),
        stls="intercept" if speaks_tls else "hide",
    )
    forbid_core_dumps()
    diagnostics = make_diagnostics(configuration, invocation.env)
    on_first_use(diagnostics.configure)
    for warning in wiring_tls.warnings([route]):
        diagnostics.announce("tls_warning", warning, level="warning")
    if not speaks_tls and not is_loopback(route.upstream.host):
        diagnostics.announce(
            "in_clear",
            f"{route.upstream} is spoken to in the clear: whoever is in between reads the password",
            level="warning",
        )
    recorded = next((one.arguments for one in plan.commands if one.command in ("USER", "APOP")), "")
    user = options["login"] or ask(
        "User name", default=overview.user or recorded.split(" ")[0] or None, hidden=False
    )
    path = options["password_file"]
    password = from_file(path) if path else ask("Password", hidden=True)
    part = Part(
        user=user,
        password=password,
        delete=options["allow_delete"],
        every=options["every"],
        depth="shape" if is_bundle(options["capture"]) else "content",
        stls=route.upstream.scheme == "pop3+stls",
        under_tls=route.upstream.scheme == "pop3s",
    )
    try:
        played = trio.run(_play, _Stage(plan=plan, route=route, part=part, diagnostics=diagnostics))
    finally:
        diagnostics.close()
    return Status.FAILED if played.differences else Status.DONE


async def _play(stage: _Stage) -> Played:
    route, timeouts, diagnostics = stage.route, Timeouts(), stage.diagnostics
    encryption = TlsEncryption(
        listener=route.listener_tls,
        upstream=route.upstream_tls,
        host=route.upstream.host,
        own_names=[],
        timeouts=timeouts,
    )
    try:
        await encryption.prepare(
            clients=False,
            server=stage.part.under_tls or stage.part.stls or stage.plan.tls == "stls",
        )
        leg = (await Upstream(route.upstream, timeouts, OwnAddresses()).connect()).leg
        if stage.part.under_tls:
            leg = (await encryption.with_server(leg)).leg
    except TlsSetupError as error:
        raise wiring_tls.setup_error(error) from None
    except Unreachable as error:
        raise CommandError(
            f"cannot reach the server: {error.cause}", status=Status.UPSTREAM
        ) from None
    except NotEncrypted as error:
        raise CommandError(
            f"no TLS with the server: {error.cause}",
            hint=error.part.remedy or "",
            status=Status.UPSTREAM,
        ) from None

    def report(title: str, text: str) -> None:
        # A server may say the password in an answer, or have it in a mail.
        text = text.replace(stage.part.password, MASK)
        diagnostics.announce(
            "difference", f"{title}: {text}", level="warning", command=title, difference=text
        )

    player = Player(leg, stage.plan, stage.part, encryption, report)
    try:
        played = await player.run()
    except PlayError as error:
        raise CommandError(str(error), hint=error.remedy, status=Status.UPSTREAM) from None
    finally:
        player.leg.close()
    _sum_up(stage, played)
    return played


def _sum_up(stage: _Stage, played: Played) -> None:
    diagnostics = stage.diagnostics
    if played.left_out:
        shown = ", ".join(played.left_out[:5])
        more = len(played.left_out) - 5
        diagnostics.announce(
            "left_out",
            f"not sent: {shown}{f' and {more} more' if more > 0 else ''}",
            commands=str(len(played.left_out)),
        )
    count = len(played.differences)
    commands = f"{played.commands} command{'s' * (played.commands != 1)}"
    found = "no difference from the recording"
    if count:
        found = f"{count} difference{'s' * (count != 1)} from the recording"
        if not stage.part.every:
            found = "stopped at the first difference from the recording"
    diagnostics.announce(
        "played",
        f"{commands} played: {found}",
        commands=str(played.commands),
        differences=str(count),
    )
