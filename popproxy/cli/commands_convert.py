"""The verb that converts captures: what can be said to it, not how it does it."""

from __future__ import annotations

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import color_only
from popproxy.cli.options_captures import kind_option, session_options

TARGETS = ["jsonl", "putty", "text", "pcapng", "html"]


@click.command(
    "convert",
    cls=Command,
    short_help="From one format into another; imports other programs' logs.",
    examples=[
        ("A page to look at, or to print", "popproxy convert capture.jsonl -o capture.html"),
        ("Packets for Wireshark", "popproxy convert capture.jsonl -o capture.pcapng"),
        ("A PuTTY log from a blog post, as records", "popproxy convert post.log -o post.jsonl"),
        (
            "A PuTTY log of each session",
            "popproxy convert capture.jsonl --to putty -o 'logs/&S.log'",
        ),
        ("From a pipe into a pipe", "tcpdump -w - port 110 | popproxy convert - --to text"),
    ],
    notes=[
        (
            "Formats",
            "jsonl   .jsonl .ndjson   everything there is\n"
            "text    .txt             the same, to be read\n"
            "putty   .log .putty      one session as PuTTY logs it\n"
            "pcapng  .pcapng          packets for Wireshark\n"
            "html    .html            a page for a browser",
        ),
        ("Read on", "popproxy help converting      popproxy help importing"),
    ],
)
@click.argument("capture")
@click.option(
    "--to",
    "target",
    cls=Option,
    type=click.Choice(TARGETS),
    help="The format. Default: as the output's name ends.",
)
@click.option(
    "-o",
    "--output",
    cls=Option,
    metavar="PATH",
    default="-",
    help="The file; - is standard output, the default. With &S each session has its own.",
)
@click.option("--force", cls=Option, is_flag=True, help="Replace a file that exists.")
@click.option(
    "--strict",
    cls=Option,
    is_flag=True,
    help="Stop where the capture cannot be read; write nothing.",
)
@click.option(
    "--putty-mode",
    cls=Option,
    type=click.Choice(["printable", "all"]),
    default="printable",
    help="printable: control characters as visible escapes; all: byte-exact. Default: printable.",
)
@kind_option
@session_options
@color_only
@click.pass_context
def convert(
    context: click.Context,
    /,
    capture: str,
    target: str | None,
    output: str,
    force: bool,
    strict: bool,
    putty_mode: str,
    kind: str | None,
    color: str,
    **which: str | None,
) -> int:
    """Write CAPTURE in another format. CAPTURE is a file, - for standard input.

    What it is shows in its content: popproxy's own formats, bundles, and the logs of PuTTY, telnet,
    curl, fetchmail, tcpdump and more. What is read goes the way of live traffic, so passwords are
    masked in any case.
    """
    from popproxy.cli import convert as verb

    context.obj.color = color
    return verb.convert(
        context.obj,
        capture,
        kind,
        which,
        target=target,
        output=output,
        force=force,
        strict=strict,
        putty_mode=putty_mode,
    )
