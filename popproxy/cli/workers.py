"""`workers = n`: one parent, and n processes that serve.

The parent opens the listeners, gives up root, and hands the sockets to its workers; it accepts no
client itself. Each worker has a queue of its own at each address (SO_REUSEPORT), among which the
kernel deals clients out by a hash of their address and port, however busy each worker is. Yet all
workers hold all queues: a client that its own worker does not take within a moment, because it was
killed or is too busy, is taken by another. As the parent holds them, too, a queue outlives its
worker. An address is first opened alone, so that a port that somebody else listens on is found out.

A worker that ends by itself is started again: at once, and if that happens again and again, after
pauses that grow to `LONGEST_PAUSE`. The others serve meanwhile. The parent alone reads the
configuration; it checks it whole, and then sends it to all workers.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import trio

from popproxy.cli import wiring_status
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.reload import Source, Wanted, read_again, refused
from popproxy.cli.service_manager import STATUS, ServiceManager, Vitals
from popproxy.cli.status_report import ProcessReport
from popproxy.cli.wiring_status import Desk
from popproxy.cli.worker import BEATS, DESCRIPTORS, Orders, orders_for
from popproxy.cli.worker_process import Worker, end_of, refused_start
from popproxy.diagnostics import logger
from popproxy.relay import Listener, RelayError, Route, Url
from popproxy.relay.binding import matched, open_listeners, shared
from popproxy.relay.services import services_for
from popproxy.sinks import Hub
from popproxy.tls.failures import TlsSetupError

LONGEST_PAUSE = 30.0
"""Seconds between two starts of a worker that ends again and again."""
STEADY = 60.0
"""Seconds after which a worker that ends is started again at once."""
PATIENCE = 5.0
"""Seconds that workers get beyond the time for draining, before they are killed."""
_NAME = "popproxy.cli"


class Workers:
    """The parent of the workers."""

    def __init__(
        self,
        source: Source,
        wanted: Wanted,
        bound: Callable[[], None],
        started: Callable[[Sequence[Listener]], None],
        say_listening: Callable[[Sequence[Listener]], None],
        manager: ServiceManager,
        desk: Desk,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            source: Where the configuration comes from.
            wanted: What it asks for.
            bound: Called when the listeners are bound, to give up root (P70).
            started: Called with the listeners when all workers serve.
            say_listening: Tells people and programs of listeners that a reload brings.
            manager: The service manager.
            desk: Answers how popproxy is.
        """
        self._source = source
        self._wanted = wanted
        self._bound = bound
        self._started = started
        self._say_listening = say_listening
        self._manager = manager
        self._desk = desk
        self._listeners: list[Listener] = []
        count = wanted.configuration.settings.process.workers
        self._workers = [Worker(number) for number in range(1, count + 1)]
        self._stopping = trio.Event()
        self._asked = trio.Event()
        self._failed: int | None = None

    async def run(self) -> int:
        """Serve until told to stop, and until all workers have ended.

        Returns:
            The exit status; a worker that fails at the first start has said why.

        Raises:
            CannotListen: An address cannot be listened on.
            RouteError: A route cannot work.
            TlsSetupError: A route's settings of TLS cannot be used.
        """
        timeouts = self._wanted.timeouts
        self._listeners = await self._open(self._wanted.routes, timeouts.resolve)
        try:
            self._bound()
            await services_for(self._wanted.terms(Hub([])), self._listeners)  # as a check
            async with trio.open_nursery() as background:
                async with trio.open_nursery() as keeping:
                    for worker in self._workers:
                        keeping.start_soon(self._keep, worker)
                        await self._first(worker)
                    if not self._stopping.is_set():
                        self._started(_once(self._listeners))
                    background.start_soon(self._reload)
                    background.start_soon(self._manager.keep_told, self._vitals)
                    background.start_soon(
                        self._desk.answer, self._reports, lambda: self._manager.remarked
                    )
                    await self._stopping.wait()
                    self._close(self._listeners)
                    seconds = self._wanted.timeouts.drain + PATIENCE
                    keeping.cancel_scope.deadline = trio.current_time() + seconds
                background.cancel_scope.cancel()
        finally:
            self._close(self._listeners)
        return Status.DONE if self._failed is None else self._failed

    async def _open(self, routes: Sequence[Route], resolve: float) -> list[Listener]:
        """Open a queue for each worker at each address; see `open_listeners`."""
        alone = await open_listeners(routes, resolve)
        opened: list[Listener] = []
        try:
            for listener in alone:
                opened += shared(listener, len(self._workers))
            if len(opened) + len(self._listeners) > DESCRIPTORS:
                _refuse_so_many(len(opened) + len(self._listeners))
        except BaseException:
            self._close([*alone, *opened])
            raise
        return opened

    async def obey(self, received: AsyncIterator[int], attended: bool) -> None:
        """Do what signals say, until cancelled.

        Args:
            received: The signals.
            attended: Whether SIGHUP means that the terminal is gone.
        """
        async for number in received:
            if number == signal.SIGHUP and not attended:
                self._asked.set()
                continue
            if not self._stopping.is_set():
                logger(_NAME).info(
                    "stopping",
                    message="stopping: no new clients; a second time ends all sessions at once",
                )
            self._stopping.set()
            self._manager.stopping(self._wanted.timeouts.drain + PATIENCE)
            for worker in self._workers:
                worker.signal(signal.SIGTERM)

    def _vitals(self, patience: float) -> Vitals:
        """Say how the workers are; one that stands still while others serve is ended."""
        serving = [worker for worker in self._workers if worker.ready.is_set()]
        well = [worker for worker in serving if worker.silent() < patience]
        for worker in serving:
            if well and self._manager.watchdog and worker.silent() > self._manager.watchdog:
                logger(_NAME).error(
                    "worker-stuck",
                    message=f"worker {worker.number} has stood still for"
                    f" {worker.silent():.0f} seconds; it is killed, and started again",
                )
                worker.kill()
        return Vitals(
            sessions=sum(worker.vitals.sessions for worker in self._workers),
            lost=sum(worker.lost for worker in self._workers),
            well=bool(well),
        )

    def _reports(self) -> list[ProcessReport]:
        return [worker.report for worker in self._workers]

    async def _first(self, worker: Worker) -> None:
        """Wait until a worker serves, or has failed at its first start."""
        async with trio.open_nursery() as nursery:

            async def give_up() -> None:
                await self._stopping.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_up)
            await worker.ready.wait()
            nursery.cancel_scope.cancel()

    async def _keep(self, worker: Worker) -> None:
        """Have a worker's process run, one after the other, until it is time to stop."""
        pause, first = 0.0, True
        while not self._stopping.is_set():
            began = trio.current_time()
            status = await self._live(worker)
            if self._stopping.is_set():
                return
            if first and not worker.ready.is_set():
                self._failed = status if status > 0 else Status.FAILED
                self._stopping.set()
                for other in self._workers:
                    other.signal(signal.SIGTERM)
                return
            first = False
            worker.ready = trio.Event()
            steady = trio.current_time() - began >= STEADY
            pause = 0.0 if steady else pause
            logger(_NAME).warning(
                "worker-ended",
                message=f"worker {worker.number} ended ({end_of(status)}) and is started again"
                + (f" in {pause:g} seconds" if pause else ""),
            )
            with trio.move_on_after(pause):
                await self._stopping.wait()
            pause = min(max(1.0, pause * 2), LONGEST_PAUSE)

    async def _live(self, worker: Worker) -> int:
        """Run a process for a worker to its end, and give its exit status."""
        try:
            connection, process = await worker.start(self._source.env)
        except OSError as error:
            # Descriptors, processes or memory have run out, perhaps: the others serve meanwhile.
            logger(_NAME).error(
                "worker-not-started",
                message=f"cannot start worker {worker.number}: {refused_start(error)}",
            )
            return Status.FAILED
        try:
            if self._stopping.is_set():
                worker.signal(signal.SIGTERM)
            worker.tell(self._orders(worker, self._listeners, self._wanted), self._listeners)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker.hear, connection)
                await process.wait()
                nursery.cancel_scope.cancel()
            return process.returncode or 0
        finally:
            if process.returncode is None:
                worker.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
            worker.ended()
            connection.close()

    def _orders(self, worker: Worker, listeners: Sequence[Listener], wanted: Wanted) -> Orders:
        routes = list(dict.fromkeys(id(one.route) for one in listeners))
        return orders_for(
            worker.number,
            wanted.configuration,
            self._source.key,
            self._source.authority,
            [(routes.index(id(one.route)), one.turn) for one in listeners],
            min(self._manager.patience / BEATS, STATUS)
            if self._manager.listens or wiring_status.wanted(wanted.configuration)
            else 0.0,
        )

    async def _reload(self) -> None:
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            with self._manager.reloading():
                try:
                    await self._read_again()
                except (CommandError, RelayError, TlsSetupError) as error:
                    refused(error, self._manager)
                    # Files are opened anew all the same: the orders are those that are in force.
                    self._tell_all([], self._wanted)

    async def _read_again(self) -> None:
        """Check a configuration whole, and send it to all workers.

        Raises:
            CommandError: It does not check; nothing is changed.
            RelayError: As above.
            TlsSetupError: As above.
        """
        before = self._wanted.configuration
        new = await trio.to_thread.run_sync(
            partial(read_again, self._source, before), abandon_on_cancel=True
        )
        staying, wanted = matched(self._listeners, new.routes)
        opened = await self._open(wanted, new.timeouts.resolve)
        try:
            kept = [_under(one, route) for route, one in staying]
            listeners = _in_order(kept + opened, new.routes)
            await services_for(new.terms(Hub([])), listeners)
        except BaseException:
            self._close(opened)
            raise
        sockets = {one.socket for one in listeners}
        gone = [one for one in self._listeners if one.socket not in sockets]
        self._listeners, self._wanted = listeners, new
        self._desk.adopt(new.configuration, new.routes)
        self._tell_all(opened, new)
        self._close(gone)
        if new.ignored:
            logger(_NAME).warning(
                "reload-ignored",
                message=f"changed, but as before until popproxy is restarted:"
                f" {', '.join(new.ignored)}",
            )
        logger(_NAME).info("reloaded", message="the configuration was read again, for all workers")
        if opened:
            await trio.to_thread.run_sync(
                self._say_listening, _once(opened), abandon_on_cancel=True
            )

    def _tell_all(self, opened: Sequence[Listener], wanted: Wanted) -> None:
        for worker in self._workers:
            if worker.connection is not None:
                worker.tell(self._orders(worker, opened, wanted), opened)

    def _close(self, listeners: Sequence[Listener]) -> None:
        for listener in listeners:
            listener.socket.close()


def _once(listeners: Sequence[Listener]) -> list[Listener]:
    return [one for one in listeners if one.turn == 1]


def _refuse_so_many(count: int) -> None:
    raise RelayError(
        f"each worker needs a socket for each listener, which would be {count}: more than the"
        f" {DESCRIPTORS} that can be handed over; have fewer workers or fewer routes"
    )


def _under(listener: Listener, route: Route) -> Listener:
    url = Url(route.listen.scheme, listener.url.host, listener.url.port)
    return dataclasses.replace(listener, route=route, url=url)


def _in_order(listeners: Sequence[Listener], routes: Sequence[Route]) -> list[Listener]:
    places = {id(route): place for place, route in enumerate(routes)}
    return sorted(listeners, key=lambda one: places[id(one.route)])
