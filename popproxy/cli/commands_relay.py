"""`popproxy run`: what can be said to it, not how it does it."""

from __future__ import annotations

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import (
    EXIT_STATUS,
    LIMITS,
    OUTPUT,
    PRIVACY,
    ROUTE,
    STATUS,
    config_file,
    display,
    setting,
)
from popproxy.cli.options_tls import tls_options


@click.command(
    cls=Command,
    name="run",
    short_help="Relay sessions and record them.",
    examples=[
        (
            "Watch a client talk to its server: in the clear on this machine, under TLS beyond it",
            "popproxy run --upstream pop3s://pop.example.org",
        ),
        (
            "TLS on both sides; popproxy help trust tells how the client comes to trust it",
            "popproxy run --listen pop3s://127.0.0.1:1995 --upstream pop3s://pop.example.org",
        ),
        (
            "A server whose certificate its owners made themselves",
            "popproxy run --upstream pop3s://mail.home.example --upstream-ca our-ca.pem",
        ),
        (
            "A PuTTY log of each session, JSON lines of all; headers only of messages",
            "popproxy run --upstream pop3s://pop.example.org \\\n"
            "      --putty 'logs/&Y&M&D-&T-&S.log' --jsonl logs/all.jsonl --body headers",
        ),
        (
            "Two routes in one process",
            "popproxy run --listen pop3://127.0.0.1:1110 --upstream pop3s://a.example \\\n"
            "      --listen pop3://127.0.0.1:1111 --upstream pop3+stls://b.example",
        ),
        (
            "For clients of a local network, with a certificate that they trust already",
            "popproxy run --listen pop3s://192.0.2.1:1995 --allow 192.0.2.0/24 \\\n"
            "      --cert proxy.pem --key proxy.key --upstream pop3s://pop.example.org",
        ),
        ("With a file; the annotated example lists every setting", "popproxy run --config FILE"),
    ],
    notes=[
        (
            "URLs",
            "pop3://       in the clear; STLS if the client asks   listener 1110, upstream 110\n"
            "pop3s://      TLS from the start                      listener 1995, upstream 995\n"
            "pop3+stls://  STLS, before anybody logs in            listener 1110, upstream 110",
        ),
        (
            "Paths",
            "&Y &M &D &T  year, month, day, time          &H &P  server's host and port\n"
            "&S           the session's id                &&     an ampersand\n"
            "-            standard output",
        ),
        ("Exit status", EXIT_STATUS),
        (
            "Read on",
            "popproxy help                 the manual, by topic\n"
            "popproxy help tls             what becomes of TLS, verification, failures\n"
            "popproxy config show --origin what is in force, and where it comes from",
        ),
    ],
)
@click.option(
    "--listen",
    cls=Option,
    group=ROUTE,
    multiple=True,
    metavar="URL",
    help="Where clients connect; port 0 picks a free one. Default: pop3://127.0.0.1:1110.",
)
@click.option(
    "--upstream",
    cls=Option,
    group=ROUTE,
    multiple=True,
    metavar="URL",
    help="The real server. For several routes, repeat --listen and --upstream in pairs.",
)
@click.option(
    "--allow",
    cls=Option,
    group=ROUTE,
    multiple=True,
    metavar="NETWORK",
    help="A network that may connect, as 192.0.2.0/24; needed beyond loopback. Repeatable.",
)
@setting(
    "--proxy-from",
    setting="route.proxy_from",
    group=ROUTE,
    multiple=True,
    metavar="NETWORK",
    help="A network of load balancers, whose connections begin with a PROXY header. Repeatable.",
)
@setting(
    "--proxy-to",
    setting="route.proxy_to",
    group=ROUTE,
    type=click.Choice(["none", "v1", "v2", "xclient"]),
    metavar="HOW",
    help="Tell the server the client's address: by a PROXY header, v1 or v2, or by Dovecot's"
    " xclient. Default: none.",
)
@setting(
    "--user",
    setting="process.user",
    group=ROUTE,
    metavar="NAME",
    help="Started as root: become this user once listening. To stay root, say root.",
)
@setting(
    "--putty",
    setting="record.putty",
    group=OUTPUT,
    multiple=True,
    metavar="PATH",
    help="PuTTY session logs, one file per session: the path needs &S. Repeatable.",
)
@setting(
    "--jsonl",
    setting="record.jsonl",
    group=OUTPUT,
    multiple=True,
    metavar="PATH",
    help="JSON lines, one record a line; - is standard output. Repeatable.",
)
@setting(
    "--text",
    setting="record.text",
    group=OUTPUT,
    multiple=True,
    metavar="PATH",
    help="A text transcript; - is standard output. Repeatable.",
)
@setting(
    "--pcapng",
    setting="record.pcapng",
    group=OUTPUT,
    multiple=True,
    metavar="PATH",
    help="Packets for Wireshark, decrypted and masked; - is standard output. Repeatable.",
)
@setting(
    "--rotate-size",
    setting="files.rotate_size",
    group=OUTPUT,
    type=int,
    metavar="OCTETS",
    help="Set a file of all sessions aside when it holds so much; 0 for never. Default: 0.",
)
@setting(
    "--rotate-every",
    setting="files.rotate_every",
    group=OUTPUT,
    type=click.Choice(["never", "hour", "day", "week", "month"]),
    help="Set a file of all sessions aside when the period, in UTC, is over. Default: never.",
)
@setting(
    "--keep-days",
    setting="files.keep_days",
    group=OUTPUT,
    type=int,
    metavar="DAYS",
    help="Remove closed files after so many days; 0 for never. Default: 0.",
)
@setting(
    "--keep-size",
    setting="files.keep_size",
    group=OUTPUT,
    type=int,
    metavar="OCTETS",
    help="Remove the oldest of them when all have more than so much; 0 for never. Default: 0.",
)
@setting(
    "--compress/--no-compress",
    setting="files.compress",
    group=OUTPUT,
    default=None,
    help="Pack closed files by zstd; all verbs read them. Default: no-compress.",
)
@setting(
    "--fsync",
    setting="files.fsync",
    group=OUTPUT,
    type=click.Choice(["never", "interval", "record"]),
    help="Wait until the disk has records: never, once a second, or each time. Default: never.",
)
@setting(
    "--seal/--no-seal",
    setting="chain.seal",
    group=OUTPUT,
    default=None,
    help="Seal JSON lines by a running hash, for `popproxy verify --chain`. Default: seal.",
)
@setting(
    "--chain-key",
    setting="chain.key",
    group=OUTPUT,
    metavar="FILE",
    help="Sign checkpoints by this key, Ed25519 in PEM; it is made if it does not exist.",
)
@setting(
    "--syslog",
    setting="record.syslog",
    group=OUTPUT,
    multiple=True,
    metavar="URL",
    help="A syslog collector: syslog+tls://HOST:6514 or syslog+tcp://HOST:601. Repeatable.",
)
@setting(
    "--putty-mode",
    setting="record.putty_mode",
    group=OUTPUT,
    type=click.Choice(["printable", "all"]),
    help="printable: control characters as visible escapes; all: byte-exact. Default: printable.",
)
@tls_options
@setting(
    "--body",
    setting="record.body",
    group=PRIVACY,
    type=click.Choice(["full", "headers", "none"]),
    help="How much of each message is recorded. Default: full.",
)
@setting(
    "--mask-users/--no-mask-users",
    setting="record.mask_users",
    group=PRIVACY,
    default=None,
    help="Show a pseudonym instead of each user's name.",
)
@setting(
    "--require-log/--no-require-log",
    setting="record.require_log",
    group=PRIVACY,
    default=None,
    help="Forward no byte that could not be recorded.",
)
@setting(
    "--max-connections",
    setting="limits.connections",
    group=LIMITS,
    type=int,
    metavar="N",
    help="Sessions at once, in all. Default: 1000.",
)
@setting(
    "--max-connections-per-client",
    setting="limits.connections_per_client",
    group=LIMITS,
    type=int,
    metavar="N",
    help="Sessions at once from one address. Default: 50.",
)
@setting(
    "--connect-timeout",
    setting="timeouts.connect",
    group=LIMITS,
    type=float,
    metavar="SECONDS",
    help="To connect to the upstream. Default: 10.",
)
@setting(
    "--login-timeout",
    setting="timeouts.login",
    group=LIMITS,
    type=float,
    metavar="SECONDS",
    help="To log in, from the start of the session. Default: 180.",
)
@setting(
    "--idle-timeout",
    setting="timeouts.idle",
    group=LIMITS,
    type=float,
    metavar="SECONDS",
    help="Without a byte in either direction. Default: 600, RFC 1939's minimum.",
)
@setting(
    "--status-socket",
    setting="status.socket",
    group=STATUS,
    metavar="PATH",
    help="Answer `popproxy status` at this Unix socket; only this user may ask.",
)
@setting(
    "--metrics",
    setting="status.metrics",
    group=STATUS,
    metavar="ADDRESS:PORT",
    help="Give Prometheus metrics at this port of loopback, for who has the token.",
)
@setting(
    "--metrics-token",
    setting="status.metrics_token",
    group=STATUS,
    metavar="FILE",
    help="Holds the token for metrics; it is made if it does not exist.",
)
@display()
@config_file
@click.pass_context
def run(context: click.Context, /, **_options: object) -> int:
    """Relay POP3 sessions and record them.

    Clients connect to the listener, popproxy connects to the upstream server, and what they say
    passes unchanged, with TLS on either side, on both or on none. With no output named, the
    transcript goes to the terminal, or as plain text to standard output if that is no terminal.
    Ends on Ctrl-C or SIGTERM, after the sessions that are under way; a second time, at once.
    """
    from popproxy.cli.run import run as verb

    return verb(context.obj, context)
