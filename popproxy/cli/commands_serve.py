"""The verbs with a server of popproxy's own: what can be said to them, not how they do it."""

from __future__ import annotations

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import EXIT_STATUS, ROUTE, display, given_settings


@click.command(
    cls=Command,
    name="demo",
    short_help="See it work, with a server and a client of its own.",
    examples=[
        ("Watch a whole session", "popproxy demo"),
        ("Keep server and proxy up, to try one's own client on them", "popproxy demo --serve"),
    ],
    notes=[("Exit status", EXIT_STATUS)],
)
@click.option(
    "--serve",
    "stay",
    cls=Option,
    group="Demo",
    is_flag=True,
    help="No client: keep server and proxy up until Ctrl-C, and say how to connect.",
)
@click.option(
    "--keep",
    cls=Option,
    group="Demo",
    metavar="PATH",
    help="The folder for the logs. Default: a new one among the temporary files.",
)
@display()
@click.pass_context
def demo(context: click.Context, /, stay: bool, keep: str | None, **_settings: object) -> int:
    """Relay and record a session between a server and a client of popproxy's own.

    All three run in one process, on loopback. The session is shown as it happens; its PuTTY log
    and its JSON lines are left in a folder that is named at the end.
    """
    from popproxy.cli.demo import demo as verb

    return verb(context.obj, given_settings(context), stay=stay, keep=keep)


@click.command(
    cls=Command,
    name="serve",
    short_help="A small POP3 server over a Maildir or an mbox.",
    examples=[
        (
            "Serve a Maildir; a password is made, and said at the start",
            "popproxy serve --maildir ~/Maildir --login alice",
        ),
        (
            "Serve an mbox file on a free port",
            "popproxy serve --mbox inbox.mbox --listen pop3://127.0.0.1:0",
        ),
    ],
    notes=[("Exit status", EXIT_STATUS)],
)
@click.option("--maildir", cls=Option, group="Maildrop", metavar="PATH", help="Serve this Maildir.")
@click.option("--mbox", cls=Option, group="Maildrop", metavar="PATH", help="Serve this mbox file.")
@click.option(
    "--login",
    cls=Option,
    group="Maildrop",
    metavar="NAME",
    default="user",
    help="The only user. Default: user.",
)
@click.option(
    "--password-file",
    cls=Option,
    group="Maildrop",
    metavar="FILE",
    help="Holds the password in its first line; - is standard input. Without it one is made.",
)
@click.option(
    "--listen",
    cls=Option,
    group=ROUTE,
    metavar="URL",
    default="pop3://127.0.0.1:1100",
    help="A loopback address; port 0 picks a free one. Default: pop3://127.0.0.1:1100.",
)
@display()
@click.pass_context
def serve(
    context: click.Context,
    /,
    maildir: str | None,
    mbox: str | None,
    login: str,
    password_file: str | None,
    listen: str,
    **_settings: object,
) -> int:
    """Run popproxy's own POP3 server alone, over one maildrop.

    For tests and trials: it listens on loopback only, knows one user, and deletes what a client
    deletes.
    """
    from popproxy.cli.serve import serve as verb

    return verb(
        context.obj,
        given_settings(context),
        maildir=maildir,
        mbox=mbox,
        login=login,
        password_file=password_file,
        listen=listen,
    )
