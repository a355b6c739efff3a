"""SIGHUP: the configuration is read anew, checked whole, and put in force, or refused whole.

Everything that can fail comes first, in a thread where it may have to wait for a disk: reading all
layers, checking them as `config check` does and as `run` does at its start, then, by the relay,
binding what is new and reading certificates. Only then does anything change, and all of it at once.
Whatever is found wrong is told in one message, and what was in force stays.

What a process decides once, at its start, is not changed: whoever changed it is told so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import msgspec
import trio

from popproxy.cli import outputs, wiring, wiring_syslog, wiring_tls
from popproxy.cli.config import Configuration
from popproxy.cli.errors import CommandError, ConfigurationError, Status
from popproxy.cli.service_manager import ServiceManager
from popproxy.cli.settings import Settings
from popproxy.cli.sources import read_all
from popproxy.cli.wiring_status import metrics_address
from popproxy.diagnostics import logger
from popproxy.privacy import Policy
from popproxy.relay import Limits, Listener, Relay, RelayError, Route, Terms, Timeouts
from popproxy.relay.record_hub import RecordHub
from popproxy.sinks import Generations, Sink
from popproxy.sinks.elsewhere import Elsewhere
from popproxy.tls import key_log
from popproxy.tls.failures import TlsSetupError

RELOADED = ("route", "record", "tls", "limits", "timeouts")
"""The sections that a reload changes; the others are those of the process."""
_OF_SESSIONS = ("body", "mask_users", "require_log")
"""The settings of `record` that are not an output's."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the configuration comes from, and what is not read anew.

    Attributes:
        env: The environment.
        context: click's context of `popproxy run`, with its options; a worker has none.
        key: Key of pseudonyms, which stay the same within a run.
        authority: The folder of the local authority, if the settings name no other.
        elsewhere: Takes lines about files, and hands them to the collectors of the time.
    """

    env: Mapping[str, str]
    context: click.Context | None
    key: bytes
    authority: Path
    elsewhere: Elsewhere = field(default_factory=Elsewhere)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a configuration asks for, checked.

    Attributes:
        configuration: The configuration.
        routes: The routes.
        policy: How sessions are recorded.
        limits: The relay's limits.
        timeouts: The relay's time-outs.
        sinks: The outputs; nothing is opened yet.
        ignored: Settings that were changed, and stay as they were until a restart.
    """

    configuration: Configuration
    routes: Sequence[Route]
    policy: Policy
    limits: Limits
    timeouts: Timeouts
    sinks: Sequence[Sink]
    ignored: Sequence[str] = ()

    @property
    def required(self) -> bool:
        """Whether no byte may pass that could not be recorded."""
        return self.configuration.settings.record.require_log

    def terms(self, hub: RecordHub) -> Terms:
        """Give what the relay is told; a hub takes the records."""
        return Terms(
            routes=self.routes,
            hub=hub,
            policy=self.policy,
            limits=self.limits,
            timeouts=self.timeouts,
            own=() if (address := metrics_address(self.configuration)) is None else (address,),
        )


ESCAPED_WORKER = re.compile("&([&Ww])")
"""`&W`, the number of the worker, or an ampersand that stands for itself."""


def own_path(path: str, number: int, *, alone: bool = False) -> str:
    """Give a worker's own path: `&W` is its number, or `-w` and the number stand at the end.

    Args:
        path: An output's path, with escapes.
        number: The worker's number.
        alone: There is no other worker, so that the number need not stand there.
    """
    if wiring.stream_of(path) is not None:
        return path
    if any(found in "Ww" for found in ESCAPED_WORKER.findall(path)):
        return ESCAPED_WORKER.sub(lambda found: "&&" if found[1] == "&" else str(number), path)
    directory, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    return path if alone else f"{directory}{slash}{stem}-w{number}{dot}{suffix}"


def for_worker(configuration: Configuration, number: int) -> Configuration:
    """Give a worker's own outputs to a configuration; a process that is alone keeps its names.

    Args:
        configuration: What was read.
        number: The worker's number.
    """
    record, alone = configuration.settings.record, configuration.settings.process.workers == 1
    paths: dict[str, list[str]] = {}
    for kind, path in outputs.named(record):
        paths.setdefault(kind, []).append(own_path(path, number, alone=alone))
    settings = msgspec.structs.replace(
        configuration.settings,
        record=msgspec.structs.replace(record, **paths),
        syslog=wiring_syslog.for_worker(configuration.settings, number),
    )
    return replace(configuration, settings=settings)


def read(env: Mapping[str, str], context: click.Context) -> Configuration:
    """Read every layer.

    Args:
        env: The environment.
        context: click's context of `popproxy run`.

    Raises:
        CommandError: Something is wrong; the message tells all of it.
    """
    configuration = read_all(env, context, wiring.check)
    if not configuration.settings.route:
        raise CommandError(
            "no upstream server is named",
            hint=(
                "popproxy run --upstream pop3s://pop.example.org stands in front of that server.\n"
                "Without a server at hand, popproxy demo shows how it works."
            ),
            status=Status.USAGE,
        )
    configuration = wiring_syslog.with_spool(configuration, env)
    alone = configuration.settings.process.workers == 1
    return for_worker(configuration, 1) if alone else configuration


def wanted(source: Source, configuration: Configuration, *, again: bool = False) -> Wanted:
    """Check what a configuration names, and make what the relay is told.

    Args:
        source: Where it comes from.
        configuration: The configuration.
        again: It was read again, while another is in force.

    Raises:
        CommandError: An output or a file of keys cannot be used.
    """
    sinks = outputs.make_sinks(configuration, source.env, source.elsewhere, again=again)
    if keys := configuration.settings.tls.keys:
        try:
            key_log.prepare(Path(keys))
        except TlsSetupError as error:
            raise wiring_tls.setup_error(error) from None
    return Wanted(
        configuration=configuration,
        routes=wiring.make_routes(configuration, [], source.authority),
        policy=wiring.make_policy(configuration, source.key),
        limits=wiring.make_limits(configuration),
        timeouts=wiring.make_timeouts(configuration),
        sinks=sinks,
    )


def read_again(source: Source, before: Configuration) -> Wanted:
    """Read and check everything anew; sections that cannot change are as they were.

    Args:
        source: Where it comes from.
        before: What is in force.

    Raises:
        CommandError: Something is wrong.
    """
    assert source.context is not None  # noqa: S101 - a worker reads nothing by itself
    found = read(source.env, source.context)
    _refuse_other_formats(before, found)
    fixed = dict(_fixed(before.settings, found.settings))
    ignored = [
        f"{section}.{key}"
        for section, values in fixed.items()
        for key in values.__struct_fields__
        if getattr(values, key) != getattr(getattr(found.settings, section), key)
    ]
    settings = msgspec.structs.replace(found.settings, **fixed)
    configuration = replace(found, settings=settings)
    return replace(wanted(source, configuration, again=True), ignored=ignored)


def _fixed(before: Settings, found: Settings) -> Iterator[tuple[str, msgspec.Struct]]:
    """Give the sections that differ from what was found, or may: what cannot change is as before.

    Outputs can come and go, but how they are written is decided once: a file that stays is
    written by the sink that it has.
    """
    for section in found.__struct_fields__:
        if section == "syslog" and not before.record.syslog:
            continue  # nothing is written by it yet
        if section not in RELOADED:
            yield section, getattr(before, section)
    kept = {
        key: value
        for key in found.record.__struct_fields__
        if key not in _OF_SESSIONS and not isinstance(value := getattr(before.record, key), list)
    }
    yield "record", msgspec.structs.replace(found.record, **kept)


def _formats(configuration: Configuration) -> dict[int | str, str]:
    """Say in which format each place is written."""
    named = {
        path if (stream := wiring.stream_of(path)) is None else stream: str(kind)
        for kind, path in outputs.named(configuration.settings.record)
    }
    if named or configuration.settings.record.syslog:
        return named
    return {wiring.STDOUT: "text"}


def _refuse_other_formats(before: Configuration, found: Configuration) -> None:
    """Refuse another format for what sessions under way still write to.

    Raises:
        CommandError: There is one.
    """
    earlier = _formats(before)
    for place, kind in _formats(found).items():
        if place in earlier and earlier[place] != kind:
            name = "standard output" if place == wiring.STDOUT else str(place)
            raise CommandError(
                f"{name} is written as {earlier[place]}, and cannot become {kind} on the way",
                hint="Name another file, or restart popproxy.",
            )


class Reloader:
    """Puts the configuration in force anew, whenever it is asked to."""

    def __init__(
        self,
        again: Callable[[Configuration], Wanted],
        configuration: Configuration,
        relay: Relay,
        generations: Generations,
        say_listening: Callable[[Sequence[Listener]], None],
        *,
        manager: ServiceManager,
        adopted: Callable[[Wanted], None],
        aloud: bool = True,
    ) -> None:
        """Prepare.

        Args:
            again: Given what is in force, reads what is wanted now; called in a thread.
            configuration: What is in force.
            relay: Serves by it.
            generations: Its outputs.
            say_listening: Tells people and programs of listeners that are new.
            manager: Is told when a reload begins and ends.
            adopted: Called with what is in force from now on.
            aloud: Whether to say that it was done; a worker's parent does that.
        """
        self._again = again
        self._configuration = configuration
        self._relay = relay
        self._generations = generations
        self._say_listening = say_listening
        self._manager = manager
        self._adopted = adopted
        self._aloud = aloud
        self._asked = trio.Event()

    @property
    def drain(self) -> float:
        """Seconds that sessions get when popproxy is told to stop."""
        return self._configuration.settings.timeouts.drain

    def request(self) -> None:
        """Open files anew at once, and the configuration soon; several requests may become one."""
        self._generations.reopen()
        self._asked.set()

    async def run(self) -> None:
        """Do what is requested, until cancelled."""
        async with trio.open_nursery() as retiring:
            while True:
                await self._asked.wait()
                self._asked = trio.Event()
                with self._manager.reloading():
                    try:
                        await self.reload(retiring)
                    except (CommandError, RelayError, TlsSetupError) as error:
                        refused(error, self._manager)

    async def reload(self, retiring: trio.Nursery) -> None:
        """Read the configuration, and put it in force.

        Args:
            retiring: Where it is waited for the end of sessions whose outputs are given up.

        Raises:
            CommandError: Something is wrong, and everything stays as it was.
            RelayError: As above.
            TlsSetupError: As above.
        """
        before = self._configuration
        new = await trio.to_thread.run_sync(self._again, before, abandon_on_cancel=True)
        async with self._generations.changing:
            generation = self._generations.next(new.sinks, new.required)
            opened = await self._relay.replace(new.terms(generation.hub))
            retired = self._generations.adopt(generation)
        self._configuration = new.configuration
        self._adopted(new)
        if retired is not None:
            retiring.start_soon(self._generations.retire, retired, self._relay.unused)
        if new.ignored:
            logger(_NAME).warning(
                "reload-ignored",
                message=f"changed, but as before until popproxy is restarted:"
                f" {', '.join(new.ignored)}",
            )
        for warning in (
            ()
            if not self._aloud
            else (*outputs.warnings(new.configuration), *wiring_tls.warnings(new.routes))
        ):
            logger(_NAME).warning("reload-warning", message=warning)
        file = new.configuration.file
        if self._aloud:
            logger(_NAME).info(
                "reloaded",
                message=f"the configuration was read again{f' from {file}' if file else ''};"
                " sessions that begin now follow it",
            )
        if opened:
            # In a thread, because whoever reads standard error may take its time.
            await trio.to_thread.run_sync(self._say_listening, opened, abandon_on_cancel=True)


_NAME = "popproxy.cli"


def refused(error: Exception, manager: ServiceManager) -> None:
    """Tell that a configuration was refused, and all that is wrong with it."""
    manager.remark("the last reload was refused")
    if isinstance(error, ConfigurationError):
        what = "; ".join(str(problem) for problem in error.problems)
    elif isinstance(error, CommandError):
        what = f"{error.what}. {error.hint}" if error.hint else error.what
    else:
        what = str(error)
    logger(_NAME).error(
        "reload-refused",
        message=f"the configuration was not put in force, and the one before stays: {what}",
    )
