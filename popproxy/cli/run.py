"""`popproxy run`: relay and record until told to stop.

The order at the start matters. Settings are checked, then outputs, as the user that popproxy will
be; then the listeners are bound, root is given up, certificates are read, and it is said that
popproxy listens; only then is the first client accepted. Whatever is wrong is thus said before
anything has happened.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import click
import trio

from popproxy.cli import outputs, reload, wiring_status, wiring_syslog, wiring_tls
from popproxy.cli.config import Configuration
from popproxy.cli.console import is_terminal
from popproxy.cli.diagnostics import Diagnostics
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.places import authority_directory
from popproxy.cli.privileges import (
    Identity,
    acting_as,
    become,
    forbid_core_dumps,
    wanted_identity,
)
from popproxy.cli.reload import Reloader, Source, Wanted
from popproxy.cli.sayings import say_listening, say_waiting
from popproxy.cli.service_manager import ServiceManager, Vitals
from popproxy.cli.status_report import ProcessReport, process_report
from popproxy.cli.wiring_status import Desk
from popproxy.cli.worker import Parent
from popproxy.diagnostics import load, on_first_use
from popproxy.relay import (
    CannotListen,
    Listener,
    Relay,
    RelayError,
    encryption,
    notice,
)
from popproxy.sinks import Generations
from popproxy.sinks.turns import share_interpreter
from popproxy.tls.failures import TlsSetupError

FLUSH = 5.0
"""Seconds that the end may take beyond the time for draining."""
AT_ONCE = 0.2
"""Seconds that outputs get when a second signal asks to end at once."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run needs, checked.

    Attributes:
        source: Where the configuration comes from.
        wanted: What it asks for.
        parent: If this is a worker: who tells it what to do.
        outputs: Take the records.
        identity: The user to become once listening, if any.
        diagnostics: Where to speak.
        manager: The service manager; a worker has none.
        desk: Answers how popproxy is.
        silent_listeners: Whether not to say where it listens.
        attended: Whether a person looks on from a terminal. SIGHUP then means that the terminal
            is gone, and ends the run; otherwise it means to open files and read settings anew.
    """

    source: Source
    wanted: Wanted
    parent: Parent | None
    outputs: Generations
    identity: Identity | None
    diagnostics: Diagnostics
    manager: ServiceManager
    desk: Desk
    silent_listeners: bool = False
    attended: bool = False


def run(invocation: Invocation, context: click.Context) -> int:
    """Relay and record; see `popproxy run --help`.

    Raises:
        CommandError: Something is wrong that a person can mend.
    """
    parent = Parent.of(invocation.env)
    if parent is not None:
        configuration = parent.orders.configuration
    else:
        configuration = reload.read(invocation.env, context)
    log = configuration.settings.log
    invocation.color, invocation.log_level, invocation.log_format = log.color, log.level, log.format
    identity = wanted_identity(configuration.settings.process.user)
    forbid_core_dumps()
    home = {"HOME": identity.home} if identity is not None else invocation.env
    if parent is not None:
        source = parent.source(invocation.env)
    else:
        key, authority = os.urandom(32), authority_directory(home)
        source = Source(env=invocation.env, context=context, key=key, authority=authority)
    with acting_as(identity):
        wanted = reload.wanted(source, configuration)
    plan = Plan(
        source=source,
        wanted=wanted,
        parent=parent,
        outputs=Generations(wanted.sinks, required=wanted.required, elsewhere=source.elsewhere),
        identity=identity,
        diagnostics=make_diagnostics(
            configuration, invocation.env, 0 if parent is None else parent.orders.number
        ),
        manager=ServiceManager.of(invocation.env) if parent is None else ServiceManager(),
        desk=Desk(configuration, shut=parent is not None),
        # Programs read the line; a person who asked for quiet does not want it.
        silent_listeners=log.quiet and is_terminal(sys.stderr),
        attended=is_terminal(sys.stderr) or is_terminal(sys.stdout),
    )
    if parent is None:
        _warn(plan, configuration)
    on_first_use(plan.diagnostics.configure)
    share_interpreter()
    try:
        if parent is None and configuration.settings.process.workers > 1:
            return trio.run(_serve_by_workers, plan)
        trio.run(relay, plan)
    finally:
        plan.desk.close()
        plan.manager.close()
        plan.diagnostics.close()
    return Status.DONE


def _warn(plan: Plan, configuration: Configuration) -> None:
    for warning in outputs.warnings(configuration):
        plan.diagnostics.announce("output_warning", warning, level="warning")
    for warning in wiring_tls.warnings(plan.wanted.routes):
        plan.diagnostics.announce("tls_warning", warning, level="warning")
    if os.geteuid() == 0 and plan.identity is None:
        plan.diagnostics.announce("root", "popproxy stays root, as asked", level="warning")


def make_diagnostics(
    configuration: Configuration, env: Mapping[str, str], worker: int = 0
) -> Diagnostics:
    """Make the place to speak to; quiet means warnings and errors.

    Args:
        configuration: The settings.
        env: The environment.
        worker: The number of this worker, if it is one.
    """
    log = configuration.settings.log
    level = log.level
    if log.quiet and level in ("debug", "info"):
        level = "warning"
    colors = outputs.colors_of_diagnostics(configuration, env)
    return Diagnostics(
        level=level, form=log.format, colors=colors, stream=sys.stderr, worker=worker
    )


async def _serve_by_workers(plan: Plan) -> int:
    from popproxy.cli.workers import Workers

    workers = Workers(
        plan.source,
        plan.wanted,
        partial(_give_up_root, plan),
        partial(_started, plan),
        partial(_say_new, plan),
        plan.manager,
        plan.desk,
    )
    with trio.open_signal_receiver(*_signals()) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(workers.obey, received, plan.attended)
            with _in_words():
                status = await workers.run()
            nursery.cancel_scope.cancel()
    return status


async def relay(plan: Plan) -> None:
    """Relay until a signal comes.

    Args:
        plan: What to do.

    Raises:
        CommandError: An address cannot be listened on.
    """
    stop = trio.Event()
    deadline = None
    terms, parent = plan.wanted.terms(plan.outputs.hub), plan.parent
    relaying = Relay(terms) if parent is None else Relay(terms, parent.open_listeners)
    reloader = Reloader(
        partial(reload.read_again if parent is None else parent.read_again, plan.source),
        plan.wanted.configuration,
        relaying,
        plan.outputs,
        partial(_say_new, plan),
        manager=plan.manager,
        adopted=partial(_adopted, plan),
        aloud=parent is None,
    )
    look = partial(_vitals, plan, relaying)
    report = partial(_report, plan, relaying, plan.manager.patience)
    with trio.CancelScope() as scope, trio.open_signal_receiver(*_signals()) as received:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_obey, received, stop, scope, plan, reloader)
                nursery.start_soon(reloader.run)
                nursery.start_soon(plan.manager.keep_told, look)
                nursery.start_soon(
                    plan.desk.answer, lambda: [report()], lambda: plan.manager.remarked
                )
                if parent is not None:
                    nursery.start_soon(_obey_parent, parent, stop, reloader)
                    nursery.start_soon(parent.keep_told, look)
                await _serve(plan, relaying, stop)
                nursery.cancel_scope.cancel()
        finally:
            deadline = AT_ONCE if scope.cancel_called else None
            lost = await (
                plan.outputs.aclose() if deadline is None else plan.outputs.aclose(deadline)
            )
            if lost:
                plan.diagnostics.announce(
                    "records_lost",
                    f"{lost} records could not be written",
                    level="warning",
                    records=str(lost),
                )


def _vitals(plan: Plan, relaying: Relay, patience: float) -> Vitals:
    told = plan.parent is not None and wiring_status.wanted(plan.wanted.configuration)
    return Vitals(
        sessions=relaying.sessions,
        lost=plan.outputs.lost,
        well=not plan.outputs.stuck(patience),
        report=_report(plan, relaying, patience) if told else None,
    )


def _report(plan: Plan, relaying: Relay, patience: float) -> ProcessReport:
    return process_report(
        worker=0 if plan.parent is None else plan.parent.orders.number,
        stuck=plan.outputs.stuck(patience),
        sessions=relaying.sessions,
        tally=relaying.tally,
        lost=plan.outputs.lost,
        routes=relaying.states,
        outputs=plan.outputs.states,
    )


def _adopted(plan: Plan, wanted: Wanted) -> None:
    plan.desk.adopt(wanted.configuration, wanted.routes)


def _signals() -> list[signal.Signals]:
    return [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


async def _obey(
    received: AsyncIterator[int],
    stop: trio.Event,
    scope: trio.CancelScope,
    plan: Plan,
    reloader: Reloader,
) -> None:
    async for number in received:
        if number == signal.SIGHUP and not plan.attended:
            reloader.request()
        elif not stop.is_set():
            stop.set()
            plan.manager.stopping(reloader.drain + FLUSH)
            if plan.parent is None:
                plan.diagnostics.announce(
                    "stopping", "stopping: no new clients; a second time ends all sessions at once"
                )
        else:
            scope.cancel()


async def _obey_parent(parent: Parent, stop: trio.Event, reloader: Reloader) -> None:
    while await parent.next_orders():
        reloader.request()
    stop.set()


async def _serve(plan: Plan, relaying: Relay, stop: trio.Event) -> None:
    with _in_words():
        await relaying.run(
            stop=stop,
            bound=partial(_give_up_root, plan),
            task_status=_Ready(partial(_begin, plan)),
        )


def _begin(plan: Plan, listeners: Sequence[Listener]) -> None:
    plan.outputs.start()
    _started(plan, listeners)


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Make what the relay cannot do a message for people, with its exit status."""
    try:
        yield
    except TlsSetupError as error:
        raise wiring_tls.setup_error(error) from None
    except CannotListen as error:
        raise CommandError(str(error), status=Status.LISTEN) from None
    except RelayError as error:
        raise CommandError(str(error), status=Status.USAGE) from None


class _Ready:
    """Calls a function when the relay has bound its listeners, before it accepts a client."""

    def __init__(self, call: Callable[[Sequence[Listener]], None]) -> None:
        self._call = call

    def started(self, value: list[Listener] | None = None) -> None:
        """Take what trio's task status takes."""
        self._call(value or [])


def _give_up_root(plan: Plan) -> None:
    if plan.identity is not None:
        # What is imported late must be here before the right to read it may be gone.
        load()
        "".encode("idna")
        wiring_syslog.load()
        encryption.load()  # also without TLS now: a reload may bring it
    become(plan.identity)
    plan.desk.open()


def _started(plan: Plan, listeners: Sequence[Listener]) -> None:
    if plan.parent is not None:
        load()
        plan.parent.say_ready()
        return
    _adopted(plan, plan.wanted)
    said = notice(plan.wanted.policy)
    recorded = said.partition(": ")[2]
    plan.diagnostics.announce("recording", f"mail is being recorded: {recorded}", notice=said)
    if not plan.silent_listeners:
        say_listening(plan.diagnostics, listeners)
    if is_terminal(sys.stderr) and plan.diagnostics.form == "console":
        first = listeners[0]
        say_waiting(plan.diagnostics, first.url, first.route.listener_tls)
    plan.manager.ready()
    load()  # not earlier: whoever waits for the line above need not wait for structlog


def _say_new(plan: Plan, listeners: Sequence[Listener]) -> None:
    if not plan.silent_listeners and plan.parent is None:
        say_listening(plan.diagnostics, listeners)
