"""The verb that asks a popproxy that serves: what can be said to it, not how it does that."""

from __future__ import annotations

import click

from popproxy.cli.command import Command, Option
from popproxy.cli.options import color_only, config_file, setting


@click.command(
    "status",
    cls=Command,
    short_help="How a popproxy that serves is.",
    examples=[
        ("By the configuration that it serves by", "popproxy status"),
        ("By its socket", "popproxy status --socket /run/popproxy/status"),
        (
            "For a program",
            "popproxy status --json | jq '.processes[].outputs[] | {name, written, lost}'",
        ),
    ],
    notes=[
        (
            "Exit status",
            "0    all is well\n"
            "1    there is trouble, which is told; or nobody answers\n"
            "2    no socket is named",
        ),
        ("Read on", "popproxy help operations      what it tells, and metrics for Prometheus"),
    ],
)
@setting(
    "--socket",
    setting="status.socket",
    group="Popproxy",
    metavar="PATH",
    help="The Unix socket at which it answers. Default: what the configuration says.",
)
@click.option("--json", "as_json", cls=Option, is_flag=True, help="One JSON object.")
@config_file
@color_only
@click.pass_context
def status(context: click.Context, /, as_json: bool, color: str, **_options: object) -> int:
    """Ask a popproxy that serves how it is, and show what it says.

    Sessions, clients that were refused, outputs with what they lost, the dates of certificates,
    and trouble, if there is any. It answers if its section [status] names a socket.
    """
    from popproxy.cli.status import status as verb

    context.obj.color = color
    return verb(context.obj, context, as_json=as_json)
