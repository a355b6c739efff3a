"""`popproxy share`."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import click

from popproxy.cli import secrets_list
from popproxy.cli.captures import Opened, choice, opened
from popproxy.cli.console import is_terminal
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.privacy.sanitise import Level
from popproxy.privacy.search import Search
from popproxy.records import Record
from popproxy.tools.saving import Saved
from popproxy.tools.share import Made, Wish, make, pack

_KEEP_LINE = re.compile(r"(?:([0-9]{1,9}):)?([0-9]{1,9})")
_TOLD_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is to be made; see `popproxy share --help`."""

    output: str
    kind: str | None
    force: bool
    yes: bool
    level: str
    keep_lines: Sequence[str]
    secrets_from: str | None


def share(
    invocation: Invocation,
    paths: Sequence[str],
    which: Mapping[str, str | None],
    options: Options,
) -> int:
    """Make a bundle; see `popproxy share --help`.

    Raises:
        CommandError: A capture cannot be read, the bundle cannot be written, it would hold
            something of the source, or its owner said no.
    """
    wanted = choice(**which)
    keep_lines = _keep_lines(options.keep_lines)
    out = Path(options.output)
    _check(out, paths, options)
    search = None
    if options.secrets_from is not None:
        strings = secrets_list.from_file(options.secrets_from, invocation)
        search = Search([string for string in strings if string])
    wish = Wish(level=cast("Level", options.level), keep_lines=keep_lines, search=search)
    with ExitStack() as closing:
        captures = [closing.enter_context(opened(path, options.kind, invocation)) for path in paths]
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="popproxy-")))
        first = True

        def source() -> Iterator[Record]:
            nonlocal first
            again, first = not first, False
            for capture in captures:
                yield from capture.records(wanted, again=again)

        made = make(source, folder, wish)
        _refuse(made, wish, which)
        click.echo(made.text)
        if not options.yes and not click.confirm(f"Write {out}?", default=False, err=True):
            raise CommandError("nothing was written")
        _write(folder, out, force=options.force)
    return _end(out, made, captures)


def _end(out: Path, made: Made, captures: Sequence[Opened]) -> int:
    sessions = f"{made.sessions:,} session{'' if made.sessions == 1 else 's'}"
    click.echo(f"{out}: {sessions}, {out.stat().st_size:,} octets")
    return Status.FAILED if any(capture.damaged for capture in captures) else Status.DONE


def _check(out: Path, paths: Sequence[str], options: Options) -> None:
    """Find out what is wrong before the work, not after it."""
    if options.output == "-" or out.is_dir():
        raise CommandError(
            f"--output: {options.output} is no file that a bundle can be written to",
            hint="Give it a name: -o bundle.zip",
            status=Status.USAGE,
        )
    if out.exists():
        if any(path != "-" and Path(path).exists() and out.samefile(path) for path in paths):
            raise CommandError(
                f"{out} is what is to be shared", hint="Choose another name.", status=Status.USAGE
            )
        if not options.force:
            raise CommandError(
                f"{out} exists already",
                hint="Choose another name, or give --force to replace it.",
                status=Status.USAGE,
            )
    if not out.parent.is_dir():
        raise CommandError(f"there is no folder {out.parent}", status=Status.USAGE)
    if paths.count("-") + (options.secrets_from == "-") > 1:
        raise CommandError("standard input can be read once only", status=Status.USAGE)
    if not options.yes and (not is_terminal(sys.stdin) or "-" in (*paths, options.secrets_from)):
        raise CommandError(
            "nobody can be asked whether the bundle may be written",
            hint="Run it on a terminal, or give --yes and read REMOVED.txt in the bundle before\n"
            "you send it.",
            status=Status.USAGE,
        )


def _keep_lines(texts: Sequence[str]) -> dict[int | None, list[int]]:
    found: dict[int | None, list[int]] = {}
    for text in texts:
        match = _KEEP_LINE.fullmatch(text)
        if match is None or not int(match[2]):
            raise CommandError(
                f"--keep-line: {text!r} is no line",
                hint="Write the number of a line, or of a message and a line: 40 or 2:40.",
                status=Status.USAGE,
            )
        found.setdefault(int(match[1]) if match[1] else None, []).append(int(match[2]))
    return found


def _refuse(made: Made, wish: Wish, which: Mapping[str, str | None]) -> None:
    """Say why a bundle must not, or cannot, be written."""
    if not made.sessions:
        raise CommandError(
            "there is nothing to share: no session fits",
            hint="popproxy show --list CAPTURE lists them." if any(which.values()) else "",
        )
    if None in wish.keep_lines and len(made.messages) > 1:
        raise CommandError(
            f"--keep-line: which of the {len(made.messages):,} messages is meant?",
            hint=f"Name it, as in --keep-line {made.messages[0]}:LINE, or choose one session.",
            status=Status.USAGE,
        )
    if made.hits:
        places = [
            f"{hit.member}, octet {hit.offset:,}: {hit.rule} ({hit.form})" for hit in made.hits
        ]
        more = len(places) - _TOLD_MOST
        told = "\n".join(places[:_TOLD_MOST]) + (f"\nand {more:,} more" if more > 0 else "")
        raise CommandError(
            f"the bundle would hold something of the source in {len(places):,}"
            f" place{'' if len(places) == 1 else 's'}; nothing was written",
            hint=f"{told}\nTry --keep headers or --keep nothing. If it is no secret of yours, this"
            " is a defect:\nplease report it with these lines.",
        )


def _write(folder: Path, out: Path, *, force: bool) -> None:
    try:
        with Saved(str(out), force=force) as saved:
            pack(folder, saved.file)
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror or error}") from None
