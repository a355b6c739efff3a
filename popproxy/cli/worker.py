"""A worker: a process that serves what its parent tells it to (see `popproxy.cli.workers`).

Parent and worker are joined by a pair of sockets. The parent sends *orders*: the settings, checked,
and the listeners that are new to the worker, as descriptors. The worker reads no configuration by
itself, so that one that is started again serves by what is in force, whatever the file says by
then. It answers when it has done so. If the parent is gone, the worker ends as after SIGTERM.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import trio

from popproxy.cli.config import Configuration
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.reload import Source, Wanted, for_worker, wanted
from popproxy.cli.service_manager import Vitals
from popproxy.cli.settings import Settings
from popproxy.relay import CannotListen, Listener, Route, Url
from popproxy.relay.loops import Address

VARIABLE = "POPPROXY_WORKER"
"""The environment variable that holds the number of the descriptor of the worker's socket."""
READY = b"ready"
"""What a worker says when it serves; all else that it says is a `Vitals`."""
BEATS = 4
"""Signs of life of a worker within the time in which its parent expects one."""
PATIENCE = 0.05
"""Seconds that a client waits for the worker whose queue it is in, before others take it."""
LARGEST = 1024 * 1024
"""Octets of one message, either way."""
DESCRIPTORS = 250
"""Descriptors in one message; Linux takes 253."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a parent tells a worker.

    Attributes:
        number: The worker's, from 1.
        key: The key of pseudonyms, in hexadecimal digits.
        authority: The folder of the local authority.
        settings: The settings, for this worker.
        origins: Where each setting comes from.
        file: The configuration file that was read.
        sockets: For each descriptor sent along, the number of the route that it is for, and the
            number of the worker whose queue it is.
        beat: Seconds between two signs of life that the worker gives; 0 if nobody asks.
    """

    number: int
    key: str
    authority: str
    settings: Settings
    origins: list[tuple[list[str | int], str]]
    file: str | None
    sockets: list[tuple[int, int]]
    beat: float = 0.0

    @property
    def configuration(self) -> Configuration:
        """The configuration."""
        origins = {tuple(path): origin for path, origin in self.origins}
        return Configuration(self.settings, origins, self.file)


def orders_for(
    number: int,
    configuration: Configuration,
    key: bytes,
    authority: Path,
    sockets: list[tuple[int, int]],
    beat: float,
) -> Orders:
    """Make a worker's orders; see `Orders`."""
    own = for_worker(configuration, number)
    return Orders(
        number=number,
        key=key.hex(),
        authority=str(authority),
        settings=own.settings,
        origins=[(list(path), origin) for path, origin in own.origins.items()],
        file=own.file,
        sockets=sockets,
        beat=beat,
    )


def send(connection: socket.socket, orders: Orders, descriptors: Sequence[int]) -> None:
    """Send orders.

    Raises:
        OSError: The worker is gone, or does not read.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
    data = msgspec.json.encode(orders)
    if descriptors:
        socket.send_fds(connection, [data], list(descriptors))
    else:
        connection.send(data)


@dataclass
class Parent:
    """A worker's parent.

    Attributes:
        connection: The worker's end of the pair.
        orders: The last orders.
    """

    connection: socket.socket
    orders: Orders

    def __post_init__(self) -> None:
        """Have no listeners to give yet."""
        self._handed: dict[int, list[tuple[int, socket.socket]]] = {}

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Parent | None:
        """Find the parent, and wait for its first orders; None if this process has none.

        Raises:
            CommandError: The environment says that there is one, and there is not.
        """
        if VARIABLE not in env:
            return None
        try:
            connection = socket.socket(fileno=int(env[VARIABLE]))
        except (ValueError, OSError):
            raise CommandError(
                f"the environment variable {VARIABLE} is popproxy's own, and holds something else",
                hint="Unset it.",
                status=Status.USAGE,
            ) from None
        connection.set_inheritable(False)
        data, descriptors, _, _ = socket.recv_fds(connection, LARGEST, DESCRIPTORS)
        if not data:
            raise SystemExit(0)
        parent = cls(connection, msgspec.json.decode(data, type=Orders))
        parent._take(descriptors)
        connection.setblocking(False)
        return parent

    def source(self, env: Mapping[str, str]) -> Source:
        """Give what a process without a parent finds out by itself."""
        orders = self.orders
        key, authority = bytes.fromhex(orders.key), Path(orders.authority)
        return Source(env=env, context=None, key=key, authority=authority)

    def read_again(self, source: Source, _before: Configuration) -> Wanted:
        """Give what the last orders want.

        Raises:
            CommandError: An output cannot be used.
        """
        return wanted(source, self.orders.configuration, again=True)

    def _take(self, descriptors: Sequence[int]) -> None:
        self.close_unused()
        for (route, turn), descriptor in zip(self.orders.sockets, descriptors, strict=True):
            opened = socket.socket(fileno=descriptor)
            opened.setblocking(False)
            self._handed.setdefault(route, []).append((turn, opened))

    def close_unused(self) -> None:
        """Close what was handed over and not used."""
        for _, opened in (one for handed in self._handed.values() for one in handed):
            opened.close()
        self._handed.clear()

    async def next_orders(self) -> bool:
        """Wait for orders; False if the parent is gone."""
        while True:
            await trio.lowlevel.wait_readable(self.connection)
            try:
                data, descriptors, _, _ = socket.recv_fds(self.connection, LARGEST, DESCRIPTORS)
            except BlockingIOError:
                continue
            except OSError:
                return False
            if not data:
                return False
            self.orders = msgspec.json.decode(data, type=Orders)
            self._take(descriptors)
            return True

    def say_ready(self) -> None:
        """Tell the parent that clients are accepted."""
        with contextlib.suppress(OSError):  # that it is gone is noticed elsewhere
            self.connection.send(READY)

    async def keep_told(self, look: Callable[[float], Vitals]) -> None:
        """Give the parent signs of life until cancelled.

        Args:
            look: Says how this process is; is told how many seconds a write may take.
        """
        if not self.orders.beat:
            return
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        while True:
            vitals = look(self.orders.beat * BEATS)
            with contextlib.suppress(OSError):  # it does not read, or is gone: noticed elsewhere
                try:
                    self.connection.send(msgspec.json.encode(vitals))
                except OSError as error:
                    if error.errno != errno.EMSGSIZE:
                        raise
                    # Thousands of routes or outputs: a sign of life matters more.
                    self.connection.send(msgspec.json.encode(replace(vitals, report=None)))
            await trio.sleep(self.orders.beat)

    async def open_listeners(self, routes: Sequence[Route], _resolve: float) -> list[Listener]:
        """Give the listeners that the parent opened; see `popproxy.relay.binding.Opener`.

        Raises:
            CannotListen: The parent opened none for a route.
        """
        await trio.lowlevel.checkpoint()
        listeners: list[Listener] = []
        for (_, handed), route in zip(sorted(self._handed.items()), routes, strict=False):
            for turn, opened in handed:
                address: Address = opened.getsockname()[:2]
                url = Url(route.listen.scheme, address[0], address[1])
                patience = 0.0 if turn == self.orders.number else PATIENCE
                listeners.append(Listener(route, url, address, opened, turn, patience))
        if len({id(one.route) for one in listeners}) != len(routes):
            raise CannotListen("a worker got no listener from its parent; restart popproxy")
        self._handed.clear()
        return listeners
