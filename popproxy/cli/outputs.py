"""Sinks for what the settings name, and for the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

from popproxy.cli import wiring_chain, wiring_syslog
from popproxy.cli.config import Configuration
from popproxy.cli.console import is_terminal, wants_color
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.settings import RecordSettings
from popproxy.cli.wiring import STDOUT, stream_of
from popproxy.formats import Kind
from popproxy.sinks import FileSink, Sink, SinkError, StreamSink
from popproxy.sinks.elsewhere import Elsewhere
from popproxy.sinks.naming import is_per_session
from popproxy.sinks.retention import Retention


def named(record: RecordSettings) -> Iterator[tuple[Kind, str]]:
    """List the outputs that the settings name, as format and path."""
    for path in record.putty:
        yield "putty", path
    for path in record.jsonl:
        yield "jsonl", path
    for path in record.text:
        yield "text", path
    for path in record.pcapng:
        yield "pcapng", path


def make_sinks(
    configuration: Configuration,
    env: Mapping[str, str],
    elsewhere: Elsewhere,
    *,
    again: bool = False,
) -> list[Sink]:
    """Make every sink, and find out whether its files can be written.

    Args:
        configuration: The settings.
        env: The environment.
        elsewhere: Takes lines about files.
        again: The settings were read again: files may be in use by ourselves.

    Returns:
        The sinks; at least one.

    Raises:
        CommandError: An output cannot be used, or there would be none.
    """
    settings = configuration.settings
    collectors = list(wiring_syslog.make_sinks(configuration))
    chain = wiring_chain.make_chain(configuration, elsewhere)
    if not again:
        wiring_chain.refuse_files_in_use(configuration)
    sinks: list[Sink] = []
    descriptors = set()
    for kind, path in named(settings.record):
        descriptor = stream_of(path)
        if descriptor is not None:
            descriptors.add(descriptor)
            if kind == "pcapng" and os.isatty(descriptor):
                raise CommandError(
                    f"--pcapng {path}: this is a terminal, and pcapng is no text",
                    hint="Name a file, or pipe it on, as into `wireshark -k -i -`.",
                    status=Status.USAGE,
                )
            sinks.append(StreamSink(kind, descriptor, putty_mode=settings.record.putty_mode))
            continue
        sink = FileSink(
            kind,
            path,
            putty_mode=settings.record.putty_mode,
            rotate_size=settings.files.rotate_size,
            rotate_every=settings.files.rotate_every,
            fsync=settings.files.fsync,
            retention=Retention(
                keep_days=settings.files.keep_days,
                keep_size=settings.files.keep_size,
                compress=settings.files.compress,
            ),
            make_keeper=wiring_chain.seals_for(chain, kind, path),
        )
        try:
            sink.check()
        except SinkError as error:
            raise CommandError(
                f"--{kind} {path}: {error}",
                hint=f"It comes from: {configuration.origins['record', kind]}.",
                status=Status.USAGE,
            ) from None
        sinks.append(sink)
    sinks.extend(collectors)
    view = None if STDOUT in descriptors else make_view(configuration, env, alone=not sinks)
    if view is not None:
        sinks.append(view)
    if not sinks:
        raise CommandError(
            "with --quiet and no output, nothing would be recorded anywhere",
            hint="Name a file, as --jsonl popproxy.jsonl, or leave --quiet out.",
            status=Status.USAGE,
        )
    return sinks


def make_view(configuration: Configuration, env: Mapping[str, str], *, alone: bool) -> Sink | None:
    """Make the sink that shows sessions as they happen on standard output.

    Args:
        configuration: The settings.
        env: The environment.
        alone: Whether no other output is named; only then is it written to what is no terminal.
    """
    log = configuration.settings.log
    terminal = is_terminal(sys.stdout)
    if terminal and log.quiet:
        return None
    if terminal or (alone and log.color == "always"):
        from popproxy.sinks.terminal import TerminalSink, make_console

        return TerminalSink(make_console(log.color, sys.stdout, env))
    return StreamSink("text", STDOUT) if alone else None


def warnings(configuration: Configuration) -> Iterator[str]:
    """Find what works, but perhaps not as it was meant."""
    record = configuration.settings.record
    yield from wiring_syslog.warnings(configuration)
    for path in record.putty:
        if stream_of(path) is not None:
            yield (
                "a PuTTY log on a stream holds one session at a time: sessions that begin while"
                " another lives are left out of it"
            )
        elif not is_per_session(path):
            yield (
                f"the PuTTY log {path} has no &S: a session that begins while another is being"
                " written gets its id added to the name"
            )


def colors_of_diagnostics(configuration: Configuration, env: Mapping[str, str]) -> bool:
    """Decide whether diagnostics on standard error are coloured."""
    return wants_color(configuration.settings.log.color, sys.stderr, env)
