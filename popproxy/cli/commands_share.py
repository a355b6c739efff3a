"""The verbs that make a capture fit to be given away: what can be said to them."""

from __future__ import annotations

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import color_only
from popproxy.cli.options_captures import kind_option, session_options

_KEEP = "What stays"
_PROOF = "Proof"
_CHAIN = "Chain"


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
    short_help="Does a file still hold a secret? Is its chain whole?",
    examples=[
        ("Be asked for the strings; they do not show", "popproxy verify b.zip"),
        ("Strings from a file, one a line", "popproxy verify --secrets-from mine.txt logs/ b.zip"),
        ("From a password manager", "pass show mail | popproxy verify --secrets-from - b.zip"),
        ("Was a record changed, or taken away?", "popproxy verify --chain logs/"),
    ],
    notes=[
        (
            "Exit status",
            "0  none of the strings is in any file; the chain is whole\n"
            "1  at least one is, the chain is broken, or a file cannot be read\n"
            "2  usage",
        ),
        ("Read on", "popproxy help evidence        chains, keys, checkpoints"),
    ],
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--secrets-from",
    cls=Option,
    metavar="FILE",
    help="The strings to look for, one a line; - is standard input. Without it, you are asked.",
)
@click.option(
    "--chain",
    cls=Option,
    is_flag=True,
    group=_CHAIN,
    help="Verify instead that no record of JSON lines was changed, removed, added or moved.",
)
@click.option(
    "--key",
    "keys",
    cls=Option,
    group=_CHAIN,
    multiple=True,
    metavar="FILE.pub",
    help="The public key that the chain has to be signed by; repeatable.",
)
@click.option(
    "--checkpoints",
    cls=Option,
    group=_CHAIN,
    multiple=True,
    metavar="FILE",
    help="Copies of checkpoints that were kept elsewhere; repeatable.",
)
@click.option(
    "--open",
    "open_end",
    cls=Option,
    is_flag=True,
    group=_CHAIN,
    help="The newest file may be without its end: it was copied while it was written.",
)
@color_only
@click.pass_context
def verify(
    context: click.Context,
    /,
    paths: tuple[str, ...],
    secrets_from: str | None,
    chain: bool,
    keys: tuple[str, ...],
    checkpoints: tuple[str, ...],
    open_end: bool,
    color: str,
) -> int:
    """Search files for strings that must not be in them, in every encoding that they may have.

    Each string is looked for in any case of letters, as base64 at any alignment, wrapped or not,
    as hexadecimal digits, percent-encoded, quoted-printable, in HTML and JSON, and as UTF-16; in
    files of any kind, in folders, and in what zip and gzip files hold. Strings never stand on the
    command line, and are never shown.

    With --chain, the files are those of `popproxy run --jsonl`, compressed ones included. Give all
    files of a time together, as a folder: then it is seen too whether one is missing, or lost its
    tail. The first line that was changed, removed, repeated or moved is named.
    """
    context.obj.color = color
    if chain:
        if secrets_from is not None:
            raise click.UsageError("--chain and --secrets-from cannot be used together")
        from popproxy.cli import verify_chain

        options = verify_chain.Options(keys=keys, checkpoints=checkpoints, open_end=open_end)
        return verify_chain.verify_chain(paths, options)
    if keys or checkpoints or open_end:
        raise click.UsageError("--key, --checkpoints and --open need --chain")
    from popproxy.cli import verify as verb

    return verb.verify(context.obj, paths, secrets_from)
