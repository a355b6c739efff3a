"""Runs a verb and turns whatever goes wrong into a message and an exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence

import click

from popproxy.cli.commands import popproxy
from popproxy.cli.console import show_error
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation

COMPLETION_VARIABLE = "_POPPROXY_COMPLETE"


def guarded(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the verb that the arguments name; see `popproxy.cli.main.main`."""
    invocation = Invocation(env=env)
    try:
        if env.get(COMPLETION_VARIABLE):
            from click.shell_completion import shell_complete

            instruction = env[COMPLETION_VARIABLE]
            return shell_complete(popproxy, {}, "popproxy", COMPLETION_VARIABLE, instruction)
        # Not click's own main: it ends the process by itself when a pipe breaks.
        with popproxy.make_context("popproxy", list(argv), obj=invocation) as context:
            result = popproxy.invoke(context)
        sys.stdout.flush()
        return result if isinstance(result, int) else Status.DONE
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.message, file=sys.stderr)  # noqa: T201 - the page that click made
        return Status.USAGE
    except click.ClickException as error:
        return _usage_error(error, invocation)
    except CommandError as error:
        _show(error.what, error.hint, invocation)
        return error.status
    except (KeyboardInterrupt, click.Abort):
        return Status.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still buffered must go nowhere, or
        # Python complains when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.DONE
    except BaseExceptionGroup as group:
        return _from_group(group, invocation)
    except Exception as error:  # noqa: BLE001 - the outermost border; nothing may pass as a traceback
        return _defect(error, invocation)


def _usage_error(error: click.ClickException, invocation: Invocation) -> int:
    message = error.format_message()
    hint = ""
    if isinstance(error, click.exceptions.NoSuchOption | click.exceptions.NoSuchCommand):
        message = error.message
        if error.possibilities:
            hint = f"Did you mean {' or '.join(error.possibilities)}?\n"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint += f"Try '{error.ctx.command_path} --help'."
    what = message[:1].lower() + message[1:].rstrip(".")
    _show(what, hint, invocation)
    return Status.USAGE


def _show(what: str, hint: str, invocation: Invocation) -> None:
    show_error(what, hint, env=invocation.env, color=invocation.color, form=invocation.log_format)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _from_group(group: BaseExceptionGroup[BaseException], invocation: Invocation) -> int:
    """Answer what came out of a nursery by the most telling of its exceptions."""
    leaves = list(_leaves(group))
    for error in leaves:
        if isinstance(error, CommandError):
            _show(error.what, error.hint, invocation)
            return error.status
    if all(isinstance(error, KeyboardInterrupt) for error in leaves):
        return Status.INTERRUPTED
    return _defect(next(e for e in leaves if not isinstance(e, KeyboardInterrupt)), invocation)


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


def _defect(error: BaseException, invocation: Invocation) -> int:
    if isinstance(error, OSError) and error.errno in _NO_ROOM and not error.filename:
        # Only what a verb prints is written without a name.
        _show(
            f"the output could not be written: {error.strerror}",
            "Make room, or send it elsewhere.",
            invocation,
        )
        return Status.FAILED
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}popproxy{os.sep}" in frame.filename] or frames
    place = ""
    if ours:
        name = ours[-1].filename.rpartition(f"{os.sep}popproxy{os.sep}")[2]
        place = f" in {name}:{ours[-1].lineno}"
    what = f"internal error: {type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        # The system's own words; no peer has a say in them.
        what = error.strerror + (f": {error.filename}" if error.filename else "")
    hint = (
        "This should not happen: please report it to the project, with this line, what you did,\n"
        "and the output of `popproxy --version`."
    )
    if invocation.log_level == "debug":
        # Frames and our own source lines; no locals, and not the exception's text.
        hint += "\n" + "".join(traceback.format_list(frames)).rstrip()
    else:
        hint += " With --log-level debug it says more."
    _show(what + place, hint, invocation)
    return Status.FAILED
