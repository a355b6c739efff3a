"""The verbs of the local authority: what can be said to them, not how they do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from popproxy.cli.command import Group, Option
from popproxy.cli.options import config_file

F = TypeVar("F", bound=Callable[..., Any])


def _whose(function: F) -> F:
    """Add the options that say which authority is meant."""
    directory = click.option(
        "--authority",
        cls=Option,
        metavar="DIR",
        help="Its folder. Default: tls.authority of the configuration.",
    )
    return directory(config_file(function))


@click.group(
    "ca",
    cls=Group,
    short_help="The local authority, which clients have to trust.",
    examples=[
        ("Is there one, and which", "popproxy ca show"),
        (
            "A file for a mail client to trust; makes the authority if need be",
            "popproxy ca export popproxy.crt",
        ),
        (
            "One connection of curl that trusts it",
            'curl --cacert "$(popproxy ca path)" pop3s://127.0.0.1:1995/',
        ),
    ],
    notes=[
        (
            "Where it is",
            "The first of: --authority, tls.authority of the configuration,\n"
            "$XDG_DATA_HOME/popproxy/authority, ~/.local/share/popproxy/authority.",
        ),
        ("Read on", "popproxy help trust           how to trust it, and how to stop"),
    ],
)
def ca() -> None:
    """Look after the local authority.

    popproxy is the server to a client that speaks TLS, so it needs a certificate for the name that
    the client asked for. It makes one, and its local authority signs it. The client has to trust
    that authority. Its key stays on this machine: whoever had it could pass for any server with
    those who trust it.
    """


@ca.command("show", short_help="Name, dates, fingerprint, place.")
@_whose
@click.pass_context
def show(context: click.Context, /, authority: str | None, config_file: str | None) -> int:
    """Show the authority, and how to trust it. It is not made by this."""
    from popproxy.cli import ca as verbs

    return verbs.show(verbs.directory(context.obj, authority, config_file))


@ca.command(
    "export",
    short_help="Write the certificate to a file.",
    examples=[
        (
            "For Debian, whose names end in .crt, Thunderbird, curl",
            "popproxy ca export popproxy.crt",
        ),
        ("For Windows", "popproxy ca export popproxy.cer"),
        ("For Java", "popproxy ca export popproxy.p12"),
        ("To another machine", "popproxy ca export - | ssh HOST 'cat > popproxy.crt'"),
    ],
)
@click.argument("path")
@click.option(
    "--format",
    "form",
    cls=Option,
    type=click.Choice(["pem", "der", "p12"]),
    help="Default: as PATH ends (.pem .crt, .der .cer, .p12 .pfx); pem for standard output.",
)
@click.option("--force", cls=Option, is_flag=True, help="Replace a file that exists.")
@_whose
@click.pass_context
def export(
    context: click.Context,
    /,
    path: str,
    form: str | None,
    force: bool,
    authority: str | None,
    config_file: str | None,
) -> int:
    """Write the authority's certificate to PATH, - for standard output; never its key.

    If there is no authority yet, it is made.
    """
    from popproxy.cli import ca as verbs

    directory = verbs.directory(context.obj, authority, config_file)
    return verbs.export(directory, path, form, force=force)


@ca.command(
    "path",
    short_help="Where the certificate lies.",
    examples=[
        (
            "A Python program that trusts it",
            'SSL_CERT_FILE="$(popproxy ca path)" python3 fetch.py',
        )
    ],
)
@_whose
@click.pass_context
def path_(context: click.Context, /, authority: str | None, config_file: str | None) -> int:
    """Print the path of the authority's certificate, for use in command lines."""
    from popproxy.cli import ca as verbs

    return verbs.path(verbs.directory(context.obj, authority, config_file))


@ca.command("renew", short_help="Replace it by a new one.")
@click.option("--yes", cls=Option, is_flag=True, help="Do not ask.")
@_whose
@click.pass_context
def renew(
    context: click.Context, /, yes: bool, authority: str | None, config_file: str | None
) -> int:
    """Make a new authority, with a new key, in the place of the old one.

    The old one is kept beside it under a name with the day. Clients have to be told to trust the
    new one. A popproxy that runs goes on with the old one until it is started again.
    """
    from popproxy.cli import ca as verbs

    return verbs.renew(verbs.directory(context.obj, authority, config_file), yes=yes)
