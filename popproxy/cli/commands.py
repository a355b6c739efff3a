"""The tree of verbs. Every verb imports its module when it is called."""

from __future__ import annotations

import click

from popproxy import __version__
from popproxy.cli.command import Group, Option
from popproxy.cli.commands_ca import ca
from popproxy.cli.commands_check import check, stats
from popproxy.cli.commands_convert import convert
from popproxy.cli.commands_read import diff, show
from popproxy.cli.commands_relay import run
from popproxy.cli.commands_replay import replay
from popproxy.cli.commands_serve import demo, serve
from popproxy.cli.commands_share import share, verify
from popproxy.cli.commands_status import status
from popproxy.cli.options import EXIT_STATUS, color_only


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    examples=[
        ("See it work, with a mail server and a client of its own", "popproxy demo"),
        (
            "Stand in front of a server; point the mail client at 127.0.0.1, port 1110",
            "popproxy run --upstream pop3s://pop.example.org",
        ),
        ("Read the manual", "popproxy help"),
    ],
    notes=[("Exit status", EXIT_STATUS)],
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def popproxy() -> None:
    """Stand between a POP3 client and its server, and write down what they say.

    Nothing on the wire changes. What comes out is a transcript that is safe to share: passwords
    are masked before anything is written.
    """


for _verb in (
    run, demo, serve, status, show, convert, share, verify, replay, check, diff, stats, ca,
):  # fmt: skip
    popproxy.add_command(_verb)


@popproxy.group(
    "config",
    short_help="Show, check and describe the configuration.",
    notes=[
        (
            "Where it comes from",
            "Options win over the environment (POPPROXY_SECTION__KEY, as POPPROXY_RECORD__BODY),\n"
            "that over the file. The file is the first of: --config, POPPROXY_CONFIG,\n"
            "./popproxy.toml, $XDG_CONFIG_HOME/popproxy/config.toml, /etc/popproxy/config.toml.",
        )
    ],
)
def config() -> None:
    """Show, check and describe the configuration."""


@config.command(
    "show",
    short_help="The settings in force, as TOML.",
    context_settings={"ignore_unknown_options": True},
    options_metavar="[--origin] [OPTIONS OF run]",
    examples=[
        ("What is in force, and why", "popproxy config show --origin"),
        ("What would be in force", "popproxy config show --origin --body none"),
    ],
)
@click.option(
    "--origin", cls=Option, is_flag=True, help="Say behind each setting where it comes from."
)
@click.argument("options_of_run", nargs=-1, type=click.UNPROCESSED, metavar="")
@click.pass_context
def config_show(context: click.Context, /, origin: bool, options_of_run: tuple[str, ...]) -> int:
    """Print the settings that `popproxy run` would use, as a configuration file.

    All options of `popproxy run` may be given, to see what becomes of them.
    """
    from popproxy.cli.config_verbs import show

    like_run = run.make_context("popproxy run", list(options_of_run), obj=context.obj)
    return show(context.obj, like_run, origin=origin)


@config.command("check", short_help="Look for mistakes in a file.")
@click.argument("file", required=False)
@click.pass_context
def config_check(context: click.Context, /, file: str | None) -> int:
    """Look for mistakes in a configuration file, and name all of them at once.

    Without FILE, the file that `popproxy run` would read. Exit status 2 if there are any.
    """
    from popproxy.cli.config_verbs import check

    return check(context.obj, file)


@config.command("schema", short_help="The configuration's JSON Schema.")
def config_schema() -> int:
    """Print the JSON Schema of popproxy.toml, for editors and checkers."""
    from popproxy.cli.config_verbs import schema

    return schema()


@popproxy.command("schema", short_help="The JSON Schema of the records.")
def schema() -> int:
    """Print the JSON Schema of one line of `--jsonl`."""
    from popproxy.cli.config_verbs import record_schema

    return record_schema()


@popproxy.command("help", short_help="The manual, by topic.")
@click.argument("topic", required=False)
@color_only
@click.pass_context
def help_(context: click.Context, /, topic: str | None, color: str) -> int:
    """Show a topic of the manual; without TOPIC, list the topics."""
    from popproxy.cli.manual import show

    context.obj.color = color
    return show(context.obj, topic)


@popproxy.command(
    "completion",
    short_help="A completion script for bash, zsh or fish.",
    examples=[
        ("bash: in ~/.bashrc", 'eval "$(popproxy completion bash)"'),
        ("zsh: in ~/.zshrc", 'eval "$(popproxy completion zsh)"'),
        (
            "fish: once",
            "popproxy completion fish > ~/.config/fish/completions/popproxy.fish",
        ),
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print a script that makes a shell complete popproxy's verbs and options."""
    from click.shell_completion import ShellComplete, get_completion_class

    from popproxy.cli.boundary import COMPLETION_VARIABLE

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click has no completion for {shell}.")
    # The base class's method: bash's own first runs bash to look at its version.
    click.echo(ShellComplete.source(kind(popproxy, {}, "popproxy", COMPLETION_VARIABLE)))
    return 0
