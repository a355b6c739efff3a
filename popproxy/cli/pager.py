"""Long output in the person's pager; what fits on the screen is simply printed.

Output comes in pieces, and the pager is started as soon as they are more than a screen holds, so
that the first page of a large capture is there at once, and what nobody pages to is never made.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import click

from popproxy.cli.console import is_terminal
from popproxy.cli.errors import CommandError, Status

_ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")
_CHUNK: Final = 64 * 1024
"""Characters that are gathered before they are written."""


def display(pieces: Iterable[str], env: Mapping[str, str], *, paged: bool = True) -> None:
    """Show output: in a pager if a person is there and it is longer than the screen.

    Args:
        pieces: Whole lines, with escape sequences for colours. Characters that standard output
            does not have are written as escapes.
        env: The environment; `PAGER` names the pager, which is less without it.
        paged: False if the person wants no pager.

    Raises:
        CommandError: `PAGER` cannot be understood.
        BrokenPipeError: Whoever read standard output has seen enough.
    """
    pieces = iter(pieces)
    if not paged or not is_terminal(sys.stdout) or not is_terminal(sys.stdin):
        _print(pieces)
        return
    size = shutil.get_terminal_size()
    begun: list[str] = []
    lines = 0
    for piece in pieces:
        begun.append(piece)
        lines += _rows(piece, size.columns)
        if lines >= size.lines:
            break
    pager = _pager(env) if lines >= size.lines else None
    if pager is None:
        _print(_chain(begun, pieces))
    else:
        _page(_chain(begun, pieces), pager, env)


def write_through(piece: str) -> None:
    """Write to standard output what belongs on it now; `sys.stdout.flush` sends it off."""
    sys.stdout.write(_encoded(piece).decode(_encoding()))


def _chain(begun: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from begun
    yield from rest


def _rows(piece: str, columns: int) -> int:
    """Count the rows that whole lines take on the screen, about."""
    lines = _ESCAPE.sub("", piece).splitlines()
    return sum(max(1, -(-len(line) // max(1, columns))) for line in lines)


def _print(pieces: Iterable[str]) -> None:
    for chunk in _chunks(pieces):
        click.echo(_encoded(chunk).decode(_encoding()), nl=False, color=True)


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _encoded(text: str) -> bytes:
    """Encode for standard output, with escapes for what its encoding lacks."""
    return text.encode(_encoding(), "backslashreplace")


def _chunks(pieces: Iterable[str]) -> Iterator[str]:
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield "".join(held)
            held, size = [], 0
    if held:
        yield "".join(held)


def _pager(env: Mapping[str, str]) -> list[str] | None:
    """Find the pager; None if there is none."""
    try:
        words = shlex.split(env.get("PAGER") or "less")
    except ValueError:
        raise CommandError(
            "PAGER: the quotes in it do not match",
            hint="Set it to the command that shows text, or leave it unset for less.",
            status=Status.USAGE,
        ) from None
    program = shutil.which(words[0], path=env.get("PATH")) if words else None
    return None if program is None else [program, *words[1:]]


def _page(pieces: Iterable[str], pager: list[str], env: Mapping[str, str]) -> None:
    # -F: leave at once if it fits; -R: pass colours; -X: leave the text on the screen.
    environment = {**env, "LESS": env.get("LESS") or "FRX", "LV": "-c"}
    sys.stdout.flush()
    # The pager is the one that the person's own environment names.
    process = subprocess.Popen(pager, stdin=subprocess.PIPE, env=environment)  # noqa: S603
    try:
        if process.stdin is not None:
            with process.stdin as stdin:
                for chunk in _chunks(pieces):
                    stdin.write(_encoded(chunk))
    except BrokenPipeError:
        pass  # the person left the pager
    except KeyboardInterrupt:
        pass  # the pager's to deal with; it shows what has come so far
    finally:
        _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for the pager, whatever the person types at it."""
    while True:
        try:
            process.wait()
        except KeyboardInterrupt:
            continue
        return
