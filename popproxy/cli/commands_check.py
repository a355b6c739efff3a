"""The verbs that judge a capture and count it: what can be said to them, not how they do it."""

from __future__ import annotations

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import color_only, no_pager
from popproxy.cli.options_captures import kind_option, session_options


@click.command(
    "check",
    cls=Command,
    short_help="What is odd in a capture, with RFC sections.",
    examples=[
        ("Everything that departs from the RFCs", "popproxy check capture.jsonl"),
        ("For a test: fail on errors only", "popproxy check --fail-on error capture.jsonl"),
        ("One session, for a program", "popproxy check --session 3 --json capture.jsonl"),
    ],
    notes=[
        (
            "Exit status",
            "0    nothing of the severity that --fail-on names, or worse\n"
            "1    there is, or part of the capture could not be read",
        ),
        ("Read on", "popproxy help findings        what each of them means"),
    ],
)
@click.argument("capture")
@click.option(
    "--fail-on",
    cls=Option,
    type=click.Choice(["info", "warning", "error", "never"]),
    default="warning",
    help="The exit status is 1 from this severity upwards. Default: warning.",
)
@click.option(
    "--severity",
    cls=Option,
    type=click.Choice(["info", "warning", "error"]),
    default="info",
    help="Leave out what matters less than this. Default: info.",
)
@click.option("--json", "as_json", cls=Option, is_flag=True, help="One JSON object.")
@kind_option
@session_options
@no_pager
@color_only
@click.pass_context
def check(
    context: click.Context,
    /,
    capture: str,
    fail_on: str,
    severity: str,
    as_json: bool,
    kind: str | None,
    paged: bool,
    color: str,
    **which: str | None,
) -> int:
    """List the findings of CAPTURE: departures from the RFCs, and risks.

    Each is told with its severity, the RFC's section, how often it came up, and where. CAPTURE is
    a file, - for standard input.
    """
    from popproxy.cli import check as verb

    context.obj.color = color
    return verb.check(
        context.obj,
        capture,
        kind,
        which,
        fail_on=fail_on,
        severity=severity,
        as_json=as_json,
        paged=paged,
    )


@click.command(
    "stats",
    cls=Command,
    short_help="What happened, in numbers.",
    examples=[
        ("Who fetched and deleted how much", "popproxy stats capture.jsonl"),
        ("The last day", "popproxy stats --since 1d capture.jsonl"),
        ("For a program", "popproxy stats --json capture.jsonl | jq .users"),
    ],
)
@click.argument("capture")
@click.option("--json", "as_json", cls=Option, is_flag=True, help="One JSON object.")
@kind_option
@session_options
@no_pager
@color_only
@click.pass_context
def stats(
    context: click.Context,
    /,
    capture: str,
    as_json: bool,
    kind: str | None,
    paged: bool,
    color: str,
    **which: str | None,
) -> int:
    """Count what CAPTURE holds: sessions, users, commands, messages, deletions, durations.

    CAPTURE is a file, - for standard input.
    """
    from popproxy.cli import stats as verb

    context.obj.color = color
    return verb.stats(context.obj, capture, kind, which, as_json=as_json, paged=paged)
