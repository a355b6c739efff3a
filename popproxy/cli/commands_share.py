"""The verbs that make a capture fit to be given away: what can be said to them."""

from __future__ import annotations

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import color_only
from popproxy.cli.options_captures import kind_option, session_options

_KEEP = "What stays"
_PROOF = "Proof"


@click.command(
    "share",
    cls=Command,
    short_help="Make a bundle fit for a bug report.",
    examples=[
        ("See what would be replaced, then say yes", "popproxy share capture.jsonl -o b.zip"),
        (
            "Only the third session, and of its second message line 40 word for word",
            "popproxy share capture.jsonl --session 3 --keep-line 2:40 -o b.zip",
        ),
        ("Nothing of the messages", "popproxy share capture.jsonl --keep nothing -o b.zip"),
        ("What the maintainer does with it", "popproxy replay b.zip"),
    ],
    notes=[
        (
            "Keep",
            "structure  octets, lines, MIME structure, encodings of messages; none of their words\n"
            "headers    the same of their headers; no bodies\n"
            "nothing    no messages, only what was said around them\n"
            "all        messages as they are, with everything that is private in them",
        ),
        ("Read on", "popproxy help sharing         what is replaced, what can still be learned"),
    ],
)  # fmt: skip
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@click.option("-o", "--output", cls=Option, required=True, metavar="BUNDLE.zip", help="The bundle.")
@click.option("--force", cls=Option, is_flag=True, help="Replace a file that exists.")
@click.option("--yes", cls=Option, is_flag=True, help="Do not ask.")
@click.option(
    "--keep",
    "level",
    cls=Option,
    group=_KEEP,
    type=click.Choice(["structure", "headers", "nothing", "all"]),
    default="structure",
    help="What stays of messages: structure, headers, nothing or all; see below."
    " Default: structure.",
)
@click.option(
    "--keep-line",
    "keep_lines",
    cls=Option,
    group=_KEEP,
    multiple=True,
    metavar="[MESSAGE:]LINE",
    help="A line of a message that stays word for word, as the one that matters; lines count from"
    " the first of the header. Repeatable.",
)
@click.option(
    "--secrets-from",
    cls=Option,
    group=_PROOF,
    metavar="FILE",
    help="Search the bundle for these strings too, one a line, as `popproxy verify` does;"
    " - is standard input.",
)
@kind_option
@session_options
@color_only
@click.pass_context
def share(
    context: click.Context,
    /,
    captures: tuple[str, ...],
    output: str,
    color: str,
    kind: str | None,
    session: str | None,
    user: str | None,
    since: str | None,
    until: str | None,
    force: bool,
    yes: bool,
    level: str,
    keep_lines: tuple[str, ...],
    secrets_from: str | None,
) -> int:
    """Make a bundle of captures in which names are pseudonyms and messages have no words.

    It holds what makes a mail client fail, and can be replayed to one; it is searched for every
    word of the source before it is written. You see what was replaced, and are asked.
    """
    from popproxy.cli import share as verb

    context.obj.color = color
    which = {"session": session, "user": user, "since": since, "until": until}
    options = verb.Options(
        output=output,
        kind=kind,
        force=force,
        yes=yes,
        level=level,
        keep_lines=keep_lines,
        secrets_from=secrets_from,
    )
    return verb.share(context.obj, captures, which, options)


@click.command(
    "verify",
    cls=Command,
    short_help="Does a file still hold a secret?",
    examples=[
        ("Be asked for the strings; they do not show", "popproxy verify b.zip"),
        ("Strings from a file, one a line", "popproxy verify --secrets-from mine.txt logs/ b.zip"),
        ("From a password manager", "pass show mail | popproxy verify --secrets-from - b.zip"),
    ],
    notes=[
        (
            "Exit status",
            "0  none of the strings is in any file\n"
            "1  at least one is, or a file cannot be read\n"
            "2  usage",
        )
    ],
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--secrets-from",
    cls=Option,
    metavar="FILE",
    help="The strings to look for, one a line; - is standard input. Without it, you are asked.",
)
@color_only
@click.pass_context
def verify(
    context: click.Context, /, paths: tuple[str, ...], secrets_from: str | None, color: str
) -> int:
    """Search files for strings that must not be in them, in every encoding that they may have.

    Each string is looked for in any case of letters, as base64 at any alignment, wrapped or not,
    as hexadecimal digits, percent-encoded, quoted-printable, in HTML and JSON, and as UTF-16; in
    files of any kind, in folders, and in what zip and gzip files hold. Strings never stand on the
    command line, and are never shown.
    """
    from popproxy.cli import verify as verb

    context.obj.color = color
    return verb.verify(context.obj, paths, secrets_from)
