"""Answers who looks after popproxy: by a Unix socket, and by HTTP for metrics (P68).

The Unix socket belongs to the user that popproxy runs as, and has mode 0600: who may connect is for
the file system to say. Whoever connects gets one report, a JSON object, and the end; nothing is
read. The port for metrics is on loopback, and wants a token.

Both are answered by few tasks, each within `PATIENCE`, so that nobody who connects and does not
read can hold up anything but others who ask.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable

import trio

from popproxy.cli.errors import CommandError, Status
from popproxy.diagnostics import logger

AT_ONCE = 4
"""Who is answered at the same time; the others wait in the kernel's queue."""
PATIENCE = 5.0
"""Seconds that one may take."""
_PAUSE = 0.2
"""Seconds until descriptors are looked for again, if there are none."""
_MODE = 0o600
_NAME = "popproxy.cli"

Handler = Callable[[trio.SocketStream], Awaitable[None]]


def open_socket(path: str) -> socket.socket:
    """Listen at a Unix socket, which only this user may connect to.

    Args:
        path: Where; a socket that nobody answers at is replaced.

    Raises:
        CommandError: It cannot be listened at.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_left_over(path)
        os.fchmod(opened.fileno(), _MODE)  # Linux gives it to the file, so it is never wider
        opened.bind(path)
        os.chmod(path, _MODE)  # noqa: PTH101 -- paths are text here
        opened.listen(AT_ONCE)
    except OSError as error:
        opened.close()
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise CommandError(
            f"[status] cannot listen at the socket {path}: {cause}",
            hint="Name a path of at most 100 octets, in a folder that popproxy may write.",
            status=Status.LISTEN,
        ) from None
    opened.setblocking(False)
    return opened


def _remove_left_over(path: str) -> None:
    """Remove the socket of a popproxy that was killed.

    Raises:
        OSError: Something else has the name, or somebody answers there.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 -- paths are text here
            return
        except BlockingIOError:
            pass  # somebody is there, and busy
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def remove_socket(path: str) -> None:
    """Take the name of a socket away, at the end."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)  # noqa: PTH108 -- paths are text here
    except OSError:
        pass


def open_port(host: str, port: int) -> socket.socket:
    """Listen at a port of loopback.

    Raises:
        CommandError: It cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(AT_ONCE)
    except OSError as error:
        opened.close()
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise CommandError(
            f"[status] cannot listen on {host}, port {port}, for metrics: {cause}",
            hint="Name another port in metrics.",
            status=Status.LISTEN,
        ) from None
    opened.setblocking(False)
    return opened


async def answer(listening: socket.socket, handler: Handler) -> None:
    """Answer whoever connects, until cancelled.

    Args:
        listening: The socket; it is closed at the end.
        handler: Answers one; it is cancelled after `PATIENCE`.
    """
    places = trio.Semaphore(AT_ONCE)
    with listening:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                try:
                    stream = await listener.accept()
                except OSError:  # no descriptors, for example: sessions need them more
                    places.release()
                    await trio.sleep(_PAUSE)
                    continue
                nursery.start_soon(_answer_one, stream, handler, places)


async def _answer_one(stream: trio.SocketStream, handler: Handler, places: trio.Semaphore) -> None:
    try:
        async with stream:
            with trio.move_on_after(PATIENCE):
                await handler(stream)
    except (OSError, trio.BrokenResourceError):
        pass  # whoever asked has gone
    except Exception as error:  # noqa: BLE001 - P57: nobody who asks ends the server
        logger(_NAME).error(
            "status-failed",
            message=f"a defect in popproxy ({type(error).__name__}) kept it from answering how it"
            " is; please report it",
        )
    finally:
        places.release()
