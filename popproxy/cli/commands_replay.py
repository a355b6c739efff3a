"""The verb that replays a capture: what can be said to it, not how it does it."""

from __future__ import annotations

import click
from click.core import ParameterSource

from popproxy.cli.command import Command, Option
from popproxy.cli.options import (
    EXIT_STATUS,
    LIMITS,
    TLS_CLIENTS,
    TLS_SERVER,
    config_file,
    display,
    given_settings,
)
from popproxy.cli.options_captures import kind_option, session_options
from popproxy.cli.options_tls import tls_with_clients, tls_with_server

REPLAY, SERVER, SEGMENTS = "Replay", "As a server", "Segments and time"
CLIENT = "As a client"
SERVER_ONLY = frozenset({SERVER, SEGMENTS, LIMITS, TLS_CLIENTS})
CLIENT_ONLY = frozenset({CLIENT, TLS_SERVER})


@click.command(
    cls=Command,
    name="replay",
    short_help="Answer a client, or ask a server, as recorded.",
    examples=[
        (
            "Serve the session of a bug report; point the mail client at 127.0.0.1, port 1110",
            "popproxy replay bundle.zip",
        ),
        (
            "Answer whatever a client asks, in any order, without the recorded pauses",
            "popproxy replay capture.jsonl --match lenient --no-timing",
        ),
        (
            "One connection; exit status 1 if the client departs from the recording",
            "popproxy replay capture.jsonl --session 3 --once",
        ),
        (
            "Find out whether a client needs the end of a message in one segment",
            "popproxy replay capture.jsonl --split terminator",
        ),
        (
            "Does the server still answer as it did? Nothing is deleted",
            "popproxy replay capture.jsonl --as client --upstream pop3s://pop.example.org",
        ),
    ],
    notes=[
        (
            "URLs",
            "pop3://       in the clear; STLS if the recorded server offered it   port 1110\n"
            "pop3s://      TLS from the start                                     port 1995\n"
            "pop3+stls://  STLS, before anybody logs in                           port 1110",
        ),
        ("Exit status", EXIT_STATUS),
        ("Read on", "popproxy help replaying        what is imitated, and what cannot be"),
    ],
)
@click.argument("capture")
@click.option(
    "--as",
    "side",
    cls=Option,
    group=REPLAY,
    type=click.Choice(["server", "client"]),
    default="server",
    help="server: answer a live client; client: ask a live server. Default: server.",
)
@click.option(
    "--listen",
    cls=Option,
    group=SERVER,
    metavar="URL",
    help="Where clients connect; port 0 picks a free one. Default: 127.0.0.1, as recorded.",
)
@click.option(
    "--allow",
    cls=Option,
    group=SERVER,
    multiple=True,
    metavar="NETWORK",
    help="A network that may connect, as 192.0.2.0/24; needed beyond loopback. Repeatable.",
)
@click.option(
    "--match",
    cls=Option,
    group=SERVER,
    type=click.Choice(["strict", "lenient"]),
    default="strict",
    help="strict: commands in the recorded order; lenient: in any order. Default: strict.",
)
@click.option(
    "--tls",
    cls=Option,
    group=SERVER,
    type=click.Choice(["recorded", "none"]),
    default="recorded",
    help="recorded: TLS or STLS, as the recorded client had it; none: in the clear."
    " Default: recorded.",
)
@click.option(
    "--once",
    cls=Option,
    group=SERVER,
    is_flag=True,
    help="End after the first connection; exit status 1 if it departed from the recording.",
)
@click.option(
    "--speed",
    cls=Option,
    group=SEGMENTS,
    type=click.FloatRange(min=0, min_open=True, max=1_000_000),
    metavar="X",
    default=1.0,
    help="X times as fast as recorded. Default: 1.",
)
@click.option(
    "--no-timing",
    cls=Option,
    group=SEGMENTS,
    is_flag=True,
    help="Answer at once, without the recorded pauses.",
)
@click.option(
    "--split",
    cls=Option,
    group=SEGMENTS,
    metavar="HOW",
    help="Cut answers behind every octet (every), behind N octets (N), at random (random:SEED),"
    " inside CRLF.CRLF (terminator), or not at all (none), instead of as recorded.",
)
@tls_with_clients
@click.option(
    "--upstream",
    cls=Option,
    group=CLIENT,
    metavar="URL",
    help="The server to play the recorded commands to, as pop3s://pop.example.org.",
)
@click.option(
    "--login",
    cls=Option,
    group=CLIENT,
    metavar="NAME",
    help="The user's name there. Without it, it is asked for.",
)
@click.option(
    "--password-file",
    cls=Option,
    group=CLIENT,
    metavar="FILE",
    help="Holds the password in its first line; - is standard input. Without it, it is asked for.",
)
@click.option(
    "--allow-delete",
    cls=Option,
    group=CLIENT,
    is_flag=True,
    help="DANGER: send DELE too, and let QUIT delete. Else nothing is deleted.",
)
@click.option(
    "--all",
    "every",
    cls=Option,
    group=CLIENT,
    is_flag=True,
    help="Report every difference, and not the first one only.",
)
@tls_with_server
@click.option(
    "--max-connections",
    cls=Option,
    group=LIMITS,
    type=click.IntRange(min=1),
    metavar="N",
    default=64,
    help="Connections at once. Default: 64.",
)
@click.option(
    "--idle-timeout",
    cls=Option,
    group=LIMITS,
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=600.0,
    help="That a client may be silent. Default: 600, RFC 1939's minimum.",
)
@kind_option
@session_options
@display()
@config_file
@click.pass_context
def replay(context: click.Context, /, **_options: object) -> int:
    """Answer a live client as the recorded server did, or ask a live server as its client did.

    CAPTURE is a capture of popproxy's or a bundle of `popproxy share`; - is standard input.

    As a server: each client that connects gets the recorded session anew, the answers as they
    were, in the segments and with the pauses in which they came, with the server's faults and with
    TLS if there was TLS. Any user name with any password is let in. Departures from the recording
    are reported. Ends on Ctrl-C or SIGTERM.

    As a client: the recorded commands are sent to the server that --upstream names, and the first
    answer that differs is reported, with exit status 1. Nothing is deleted.
    """
    _refuse_options(context)
    if context.params["side"] == "client":
        from popproxy.cli.replay_client import play

        return play(context.obj, context.params, given_settings(context))
    from popproxy.cli.replay import replay as verb

    return verb(context.obj, context.params, given_settings(context))


def _refuse_options(context: click.Context) -> None:
    """Refuse options that would have no effect: somebody relies on them.

    Raises:
        click.UsageError: There are some.
    """
    side = context.params["side"]
    other = CLIENT_ONLY if side == "server" else SERVER_ONLY
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "")
        if getattr(parameter, "group", "") in other and given is ParameterSource.COMMANDLINE:
            needed = "client" if side == "server" else "server"
            raise click.UsageError(f"{parameter.opts[0]} is for --as {needed} only", context)
