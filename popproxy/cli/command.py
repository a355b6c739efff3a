"""click's commands and options with what help needs: groups, examples, where to read on.

On a terminal rich-click draws the help; piped, or on a terminal that is none to speak of, it is
plain text. Both are made from the same attributes. Neither rich nor rich-click is imported unless
a person is there to look.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from popproxy.cli.console import is_terminal

OTHERS = "Other options"
_COLUMN = 24


class Option(click.Option):
    """An option that belongs to a group of the help page.

    Args:
        group: The group's title.
        **attributes: What click takes.
    """

    def __init__(self, *args: Any, group: str = OTHERS, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group


class Page:
    """What stands on a help page besides the description: made to be mixed into a command.

    Attributes:
        examples: Pairs of a comment and a command line.
        notes: Pairs of a title and a text, below the examples.
    """

    examples: Sequence[tuple[str, str]] = ()
    notes: Sequence[tuple[str, str]] = ()


class Command(click.Command, Page):
    """A verb.

    Args:
        examples: See `Page`.
        notes: See `Page`.
        **attributes: What click takes.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]] = (),
        notes: Sequence[tuple[str, str]] = (),
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples
        self.notes = notes

    def get_help(self, ctx: click.Context) -> str:
        """Draw the help page."""
        return _help_page(self, self, ctx)


class Group(click.Group, Page):
    """A verb that has verbs below it.

    Args:
        examples: See `Page`.
        notes: See `Page`.
        **attributes: What click takes.
    """

    command_class = Command

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]] = (),
        notes: Sequence[tuple[str, str]] = (),
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples
        self.notes = notes

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the verbs in the order of their definition, which is the order of their use."""
        del ctx
        return list(self.commands)

    def get_help(self, ctx: click.Context) -> str:
        """Draw the help page."""
        return _help_page(self, self, ctx)


Group.group_class = Group


def option_groups(command: click.Command, ctx: click.Context) -> dict[str, list[click.Option]]:
    """Sort a command's options by the group that they belong to, in order of definition."""
    groups: dict[str, list[click.Option]] = {}
    for parameter in command.get_params(ctx):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            groups.setdefault(getattr(parameter, "group", OTHERS), []).append(parameter)
    return {"Options": groups[OTHERS]} if list(groups) == [OTHERS] else groups


def _help_page(command: click.Command, page: Page, ctx: click.Context) -> str:
    if is_terminal(sys.stdout):
        from popproxy.cli.drawing import draw_help

        return draw_help(command, page, ctx)
    return "\n".join(_plain(command, page, ctx))


def _plain(command: click.Command, page: Page, ctx: click.Context) -> Iterator[str]:
    formatter = ctx.make_formatter()
    command.format_usage(ctx, formatter)
    command.format_help_text(ctx, formatter)
    if isinstance(command, click.Group):
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, one.get_short_help_str(limit=200))
                    for name, one in command.commands.items()
                    if not one.hidden
                ]
            )
    for title, options in option_groups(command, ctx).items():
        records = (record for one in options if (record := one.get_help_record(ctx)) is not None)
        with formatter.section(title):
            # The first column is as wide in every group, so that the eye finds the second.
            formatter.write_dl(
                [(names.ljust(_COLUMN), text) for names, text in records], col_max=_COLUMN
            )
    yield formatter.getvalue().rstrip("\n")
    if page.examples:
        yield "\nExamples:"
        for number, (comment, line) in enumerate(page.examples):
            yield ("\n" if number else "") + f"  # {comment}\n  {line}"
    for title, text in page.notes:
        yield f"\n{title}:"
        yield "\n".join(f"  {line}" for line in text.splitlines())
