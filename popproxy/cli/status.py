"""`popproxy status`: asks a popproxy that serves, and shows what it says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import click
import msgspec

from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.pager import display
from popproxy.cli.screen import Screen, wrapped
from popproxy.cli.sources import read_all
from popproxy.cli.status_report import SCHEMA, ProcessReport, Report
from popproxy.formats import visible
from popproxy.relay.tally import RouteState
from popproxy.sinks.state import SinkState

PATIENCE: Final = 10.0
"""Seconds to wait for an answer."""
_MOST: Final = 16 * 1024 * 1024
_PIECE: Final = 64 * 1024
_NAME: Final = 13


def status(invocation: Invocation, context: click.Context, *, as_json: bool) -> int:
    """Ask, and show the answer; see `popproxy status --help`.

    Raises:
        CommandError: Nobody answers.
    """
    path = read_all(invocation.env, context).settings.status.socket
    if not path:
        raise CommandError(
            "no socket is named at which popproxy answers",
            hint=(
                'Set socket = "/run/popproxy/status" in the section [status] of its configuration,'
                "\nor start it with --status-socket PATH, and give the same here."
            ),
            status=Status.USAGE,
        )
    said = _ask(path)
    report = _read(said, path)
    if as_json:
        display([msgspec.json.format(said, indent=2).decode().rstrip() + "\n"], invocation.env,
                paged=False)  # fmt: skip
    else:
        display(_lines(report, Screen.standard(invocation)), invocation.env, paged=False)
    return Status.FAILED if report.troubles else Status.DONE


def _ask(path: str) -> bytes:
    """Get the answer.

    Raises:
        CommandError: There is none.
    """
    pieces: list[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(path)
            while piece := asking.recv(_PIECE):
                pieces.append(piece)
                if sum(map(len, pieces)) > _MOST:
                    break
    except (FileNotFoundError, ConnectionRefusedError):
        raise CommandError(
            f"no popproxy answers at {path}",
            hint="Is it running, and with this socket in its section [status]?",
        ) from None
    except TimeoutError:
        raise CommandError(
            f"popproxy did not answer at {path} within {PATIENCE:g} seconds",
            hint="It stands still, or others ask all the time.",
        ) from None
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise CommandError(
            f"popproxy cannot be asked at {path}: {cause}",
            hint="Only the user that popproxy runs as may ask, and root.",
        ) from None
    return b"".join(pieces)


def _read(said: bytes, path: str) -> Report:
    """Read the answer.

    Raises:
        CommandError: It is not one.
    """
    try:
        report = msgspec.json.decode(said, type=Report)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        report = None
    if report is None or report.schema != SCHEMA:
        raise CommandError(
            f"what answers at {path} is no popproxy, or one of another version",
            hint="Ask with the popproxy that runs there.",
        )
    return report


def _lines(report: Report, screen: Screen) -> Iterator[str]:
    palette, width = screen.palette, max(40, screen.width - 1) if screen.terminal else 10_000
    for name, value in _facts(report):
        for number, row in enumerate(wrapped(visible(value), width - _NAME - 1)):
            title = palette.title(f"{name:<{_NAME}}") if number == 0 else " " * _NAME
            yield f"{title} {row}\n"
    for number, trouble in enumerate(report.troubles or ["none"]):
        name = palette.title(f"{'trouble' if number == 0 else '':<{_NAME}}")
        ink = palette.error if report.troubles else palette.good
        for place, row in enumerate(wrapped(visible(trouble), width - _NAME - 1)):
            yield f"{name if place == 0 else ' ' * _NAME} {ink(row)}\n"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    took = _duration(report.at - report.since)
    yield (
        "popproxy",
        f"{report.version}, process {report.pid}, since {_time(report.since)} ({took})",
    )
    file = f"{report.file}, read {_time(report.read)}" if report.file else "no file"
    yield "settings", file
    workers = [process for process in report.processes if process.worker]
    if workers:
        serving = sum(process.serving for process in workers)
        yield "workers", f"{serving} of {len(workers)} serve"
    ended = _sum(process.ended for process in report.processes)
    refused = _sum(process.refused for process in report.processes)
    yield (
        "sessions",
        f"{sum(one.sessions for one in report.processes):,} now,"
        f" {sum(one.begun for one in report.processes):,} begun, {_told(ended, 'ended')}",
    )
    yield "refused", _told(refused, "client" if sum(refused.values()) == 1 else "clients")
    yield from _named("listening", (_route(route) for route in _routes(report.processes)))
    yield from _named(
        "outputs",
        (
            f"{f'worker {process.worker}: ' if process.worker else ''}{_output(output)}"
            for process in report.processes
            for output in process.outputs
        ),
    )
    yield from _named(
        "certificates",
        (
            f"{one.use}: until {one.not_after:%Y-%m-%d}"
            f" ({(one.not_after - report.at).days:,} days){one.path and f', {one.path}'}"
            for one in report.certificates
        ),
    )


def _named(name: str, values: Iterable[str]) -> Iterator[tuple[str, str]]:
    for number, value in enumerate(values):
        yield name if number == 0 else "", value


def _routes(processes: Iterable[ProcessReport]) -> list[RouteState]:
    """Give each listener once, with the sessions of all processes."""
    found: dict[str, RouteState] = {}
    for route in (route for process in processes for route in process.routes):
        before = found.get(route.listen)
        sessions = route.sessions + (before.sessions if before else 0)
        found[route.listen] = RouteState(
            name=route.name, listen=route.listen, upstream=route.upstream, sessions=sessions
        )
    return list(found.values())


def _route(route: RouteState) -> str:
    sessions = "1 session" if route.sessions == 1 else f"{route.sessions:,} sessions"
    return f"{route.listen} for {route.upstream}, {sessions}"


def _output(output: SinkState) -> str:
    lost = sum(output.lost.values())
    return (
        f"{output.name}: {output.condition}, {output.written:,} records written,"
        f" {output.waiting:,} waiting" + (f", {lost:,} lost" if lost else "")
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _told(counts: Mapping[str, int], what: str) -> str:
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    reasons = ", ".join(f"{name} {count:,}" for name, count in order)
    return f"{sum(counts.values()):,} {what}" + (f" ({reasons})" if reasons else "")


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def _duration(span: timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
