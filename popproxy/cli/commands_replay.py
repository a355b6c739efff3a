"""The verb that replays a capture: what can be said to it, not how it does it."""

from __future__ import annotations

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import EXIT_STATUS, LIMITS, config_file, display, given_settings
from popproxy.cli.options_captures import kind_option, session_options
from popproxy.cli.options_tls import tls_with_clients

REPLAY, SEGMENTS = "Replay", "Segments and time"


@click.command(
    cls=Command,
    name="replay",
    short_help="Serve a recorded session to a client.",
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
    "--listen",
    cls=Option,
    group=REPLAY,
    metavar="URL",
    help="Where clients connect; port 0 picks a free one. Default: 127.0.0.1, as recorded.",
)
@click.option(
    "--allow",
    cls=Option,
    group=REPLAY,
    multiple=True,
    metavar="NETWORK",
    help="A network that may connect, as 192.0.2.0/24; needed beyond loopback. Repeatable.",
)
@click.option(
    "--match",
    cls=Option,
    group=REPLAY,
    type=click.Choice(["strict", "lenient"]),
    default="strict",
    help="strict: commands in the recorded order; lenient: in any order. Default: strict.",
)
@click.option(
    "--tls",
    cls=Option,
    group=REPLAY,
    type=click.Choice(["recorded", "none"]),
    default="recorded",
    help="recorded: TLS or STLS, as the recorded client had it; none: in the clear."
    " Default: recorded.",
)
@click.option(
    "--once",
    cls=Option,
    group=REPLAY,
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
    """Serve a recorded session to a live client.

    CAPTURE is a capture of popproxy's or a bundle of `popproxy share`; - is standard input. Each
    client that connects gets the recorded session anew: the answers as they were, in the segments
    and with the pauses in which they came, with the server's faults and with TLS if there was TLS.
    Any user name with any password is let in. Departures from the recording are reported. Ends on
    Ctrl-C or SIGTERM.
    """
    from popproxy.cli.replay import replay as verb

    return verb(context.obj, context.params, given_settings(context))
