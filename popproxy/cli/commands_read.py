"""The verbs that show captures to a person: what can be said to them, not how they do it."""

from __future__ import annotations

from typing import Any

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import color_only, no_pager
from popproxy.cli.options_captures import SESSIONS, kind_option, session_options


@click.command(
    "show",
    cls=Command,
    short_help="Read a capture in the terminal.",
    examples=[
        ("A capture: its session, or a list if there are several", "popproxy show capture.jsonl"),
        ("The third of them, with every line of every message",
         "popproxy show --session 3 --body capture.jsonl"),
        ("What went wrong, wherever it did",
         "popproxy show capture.jsonl --filter 'pop.response.indicator == \"-ERR\"'"),
        ("Message 12: its header and the tree of its parts", "popproxy show capture.jsonl 12"),
    ],
    notes=[("Read on", "popproxy help reading         filters, with every field")],
)  # fmt: skip
@click.argument("capture")
@click.argument("message", required=False, type=click.IntRange(min=0))
@click.option(
    "-l", "--list", "listed", cls=Option, group=SESSIONS, is_flag=True, help="List the sessions."
)
@click.option(
    "-a",
    "--all",
    "everything",
    cls=Option,
    group=SESSIONS,
    is_flag=True,
    help="Show all sessions that are chosen, one after the other, instead of listing them.",
)
@click.option(
    "-Y",
    "--filter",
    "condition",
    cls=Option,
    metavar="FILTER",
    help="Show only commands and responses that fit, of all sessions that are chosen:"
    ' pop.request.command == "RETR" and pop.time > 1s; with --list, sessions that have any.',
)
@click.option(
    "--body",
    cls=Option,
    is_flag=True,
    help="Show every line of messages and tables; without it they are folded, with counts.",
)
@click.option(
    "-f",
    "--follow",
    cls=Option,
    is_flag=True,
    help="Go on showing what is added to the file, until Ctrl-C; it may be rotated meanwhile.",
)
@click.option(
    "--raw",
    cls=Option,
    is_flag=True,
    help="Show octets, read by read: what is no printable ASCII stands as an escape, \\x0d\\x0a,"
    " on a terminal or not.",
)
@click.option(
    "--timing",
    cls=Option,
    is_flag=True,
    help="Show who was waited for, as a waterfall: client, server, and popproxy's own handshakes.",
)
@click.option(
    "--json", "as_json", cls=Option, is_flag=True, help="With --list: a JSON object a session."
)
@kind_option
@session_options
@no_pager
@color_only
@click.pass_context
def show(
    context: click.Context,
    /,
    capture: str,
    message: int | None,
    color: str,
    session: str | None,
    user: str | None,
    since: str | None,
    until: str | None,
    **how: Any,
) -> int:
    """Show CAPTURE as a transcript: what client and server said, with times and findings.

    With several sessions they are listed, to choose from. With MESSAGE, a message's number, its
    header and the structure of its parts are shown. CAPTURE is a file, - for standard input.
    """
    from popproxy.cli import show as verb

    context.obj.color = color
    which = {"session": session, "user": user, "since": since, "until": until}
    return verb.show(context.obj, capture, which, verb.Manner(message=message, **how))


@click.command(
    "diff",
    cls=Command,
    short_help="Two sessions side by side.",
    examples=[
        ("The client that works, and the one that fails", "popproxy diff good.jsonl bad.jsonl"),
        ("Two sessions of one capture", "popproxy diff capture.jsonl --session-a 3 --session-b 7"),
        ("For a program", "popproxy diff --json before.jsonl after.jsonl"),
    ],
    notes=[
        ("Exit status", "0    the sessions do not differ\n1    they do"),
        ("Read on", "popproxy help reading         what is compared, and what is made alike first"),
    ],
)  # fmt: skip
@click.argument("a")
@click.argument("b", required=False)
@click.option(
    "--session-a",
    cls=Option,
    group=SESSIONS,
    metavar="WHICH",
    help="The session of A, if it holds several: its number, its id, or how that begins or ends.",
)
@click.option("--session-b", cls=Option, group=SESSIONS, metavar="WHICH", help="The same for B.")
@click.option(
    "--timing",
    cls=Option,
    is_flag=True,
    help="Durations differ, too: those that are more than twice as long, and 20 ms at least.",
)
@click.option(
    "-a",
    "--all",
    "everything",
    cls=Option,
    is_flag=True,
    help="Show all that is the same, too; without it, only a little around what differs.",
)
@click.option("--json", "as_json", cls=Option, is_flag=True, help="One JSON object.")
@kind_option
@no_pager
@color_only
@click.pass_context
def diff(
    context: click.Context,
    /,
    a: str,
    b: str | None,
    session_a: str | None,
    session_b: str | None,
    kind: str | None,
    color: str,
    **how: bool,
) -> int:
    """Compare a session of capture A with one of capture B, command by command.

    Numbers of messages, unique-ids, times, ports and names of hosts are made alike before. Without
    B, two sessions of A are compared. A and B are files; one of them may be - for standard input.
    """
    from popproxy.cli import diff as verb

    context.obj.color = color
    sides = verb.Sides(a=a, b=b, session_a=session_a, session_b=session_b)
    return verb.compare(context.obj, sides, kind, **how)
