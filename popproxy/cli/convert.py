"""`popproxy convert`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, cast

from popproxy.cli.captures import Opened, choice, opened
from popproxy.cli.console import is_terminal
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.formats import CaptureKind, PuttyMode
from popproxy.records import Record
from popproxy.sinks.naming import Template
from popproxy.tools import convert as tool
from popproxy.tools.saving import Saved
from popproxy.tools.sessions import Choice

_STDOUT: Final = "-"
_BINARY: Final = frozenset({"pcapng"})


def convert(
    invocation: Invocation,
    path: str,
    kind: str | None,
    which: Mapping[str, str | None],
    *,
    target: str | None,
    output: str,
    force: bool,
    strict: bool,
    putty_mode: str,
) -> int:
    """Write a capture in another format; see `popproxy convert --help`.

    Raises:
        CommandError: Something is wrong that a person can mend; nothing was written.
    """
    wanted = choice(**which)
    to = _target(target, output)
    mode = cast("PuttyMode", putty_mode)
    if output != _STDOUT and path != _STDOUT and _same(path, output):
        raise CommandError(
            f"{output} is the capture itself",
            hint="Name another file; the capture stays as it is.",
            status=Status.USAGE,
        )
    with opened(path, kind, invocation) as capture:
        records = _records(capture, wanted, strict=strict)
        count = 0
        try:
            count = _write(records, to, output, mode, force=force)
        except _NothingError:
            pass
        except tool.SeveralSessionsError:
            raise CommandError(
                "a PuTTY log holds one session, and there are several",
                hint="Give each a file, as -o 'logs/&S.log', or choose one with --session.",
                status=Status.USAGE,
            ) from None
        except tool.TooManyFilesError:
            raise CommandError(
                f"more than {tool.OPEN_MOST} sessions are under way at once in {capture.name}",
                hint="Choose some with --session, --user, --since or --until.",
            ) from None
        except tool.TemplateError as error:
            raise CommandError(f"-o {output}: {error}", status=Status.USAGE) from None
        except FileExistsError as error:
            raise CommandError(
                f"{error.filename or error} is there already",
                hint="Name another file, or say --force to replace it.",
                status=Status.USAGE,
            ) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            name = error.filename or output
            raise CommandError(f"{name} cannot be written: {error.strerror}") from None
        damaged = capture.damaged
    if not count:
        raise CommandError(
            f"there is no session in {capture.name} that fits",
            hint=f"popproxy show --list {path} lists those that it holds.",
        )
    return Status.FAILED if damaged else Status.DONE


def _records(capture: Opened, wanted: Choice, *, strict: bool) -> Iterator[Record]:
    for record in capture.records(wanted):
        if strict and capture.damaged:
            break
        yield record
    if strict and capture.damaged:
        raise CommandError(
            f"{capture.name} is damaged, and nothing was written",
            hint="Without --strict what can be read is written.",
        )


def _write(
    records: Iterator[Record], to: CaptureKind, output: str, mode: PuttyMode, *, force: bool
) -> int:
    """Write, and tell how many records or files there were."""
    if output == _STDOUT:
        if to in _BINARY and is_terminal(sys.stdout):
            raise CommandError(
                f"{to} is no text, and this is a terminal",
                hint="Name a file with -o, or pipe it on.",
                status=Status.USAGE,
            )
        sys.stdout.flush()
        count = tool.convert_to_file(records, sys.stdout.buffer, to, putty_mode=mode, tz=None)
        sys.stdout.buffer.flush()
        return count
    template = Template(output)
    if template.per_session:
        made = tool.convert_to_files(records, output, to, force=force, putty_mode=mode, tz=None)
        return len(made)
    with Saved(output, force=force) as saved:
        count = tool.convert_to_file(records, saved.file, to, putty_mode=mode, tz=None)
        if not count:
            raise _NothingError
    return count


class _NothingError(Exception):
    """There was nothing to write, so that no file is to be there."""


def _target(target: str | None, output: str) -> CaptureKind:
    if target is not None:
        return cast("CaptureKind", target)
    found = tool.kind_of(output) if output != _STDOUT else None
    if found is None:
        endings = ", ".join(sorted(tool.ENDINGS))
        where = "standard output" if output == _STDOUT else output
        raise CommandError(
            f"{where} does not tell the format",
            hint=f"Say it with --to, or name a file that ends in one of {endings}.",
            status=Status.USAGE,
        )
    return found


def _same(path: str, output: str) -> bool:
    try:
        return Path(path).samefile(output)
    except OSError:
        return False
