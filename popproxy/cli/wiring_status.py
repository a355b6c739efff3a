"""Where and of what popproxy reports, made from the settings (P68)."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from popproxy.cli.config import Configuration
from popproxy.cli.errors import CommandError, Problem, Status
from popproxy.cli.status_report import CertificateReport, ProcessReport, Report, Standing
from popproxy.relay import Route
from popproxy.relay.loops import Address, plain_ip

_TOKEN_LEAST: Final = 16
_TOKEN_MOST: Final = 4096
_PATH_MOST: Final = 100


def wanted(configuration: Configuration) -> bool:
    """Say whether somebody may ask how popproxy is."""
    values = configuration.settings.status
    return bool(values.socket or values.metrics)


def metrics_address(configuration: Configuration) -> Address | None:
    """Give the address of the port for metrics, if there is one; the settings were checked."""
    text = configuration.settings.status.metrics
    return _address(text) if text else None


def _address(text: str) -> Address:
    """Read an address and a port.

    Raises:
        ValueError: It is none, or not on loopback.
    """
    host, _, digits = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if host == "localhost":
        host = "127.0.0.1"
    port = int(digits)
    if not (plain_ip(host).is_loopback and digits.isascii() and 0 < port < 65536):
        raise ValueError(text)
    return host, port


def check(configuration: Configuration) -> Iterator[Problem]:
    """Find what is wrong with the section `status`."""
    values, origins = configuration.settings.status, configuration.origins
    if len(os.fsencode(values.socket)) > _PATH_MOST:
        yield Problem(
            where=origins["status", "socket"],
            key="status.socket",
            what=f"the path of a Unix socket has {_PATH_MOST} octets at most",
        )
    if not values.metrics:
        return
    where = origins["status", "metrics"]
    try:
        _address(values.metrics)
    except ValueError:
        yield Problem(
            where=where,
            key="status.metrics",
            what=f"{values.metrics!r} is no loopback address with a port",
            hint="write 127.0.0.1:9110; a proxy that speaks TLS can make it reachable from afar",
        )
    if not values.metrics_token:
        yield Problem(
            where=where,
            key="status.metrics_token",
            what="metrics want a token, and no file is named that holds it",
            hint="name one in metrics_token; it is made if it does not exist",
        )
    if not all(importlib.util.find_spec(name) for name in ("h11", "prometheus_client")):
        yield Problem(
            where=where,
            key="status.metrics",
            what="metrics need libraries that are not installed",
            hint="install them with: pip install 'popproxy[metrics]'",
        )


def token(path: str) -> bytes:
    """Read the token for metrics; make it if there is none.

    Args:
        path: Its file, whose first line it is.

    Raises:
        CommandError: It cannot be used.
    """
    try:
        with contextlib.suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            with open(descriptor, "wb") as made:  # noqa: PTH123 -- a descriptor
                made.write(secrets.token_urlsafe(32).encode() + b"\n")
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            first = file.read(_TOKEN_MOST).partition(b"\n")[0].strip()
    except OSError as error:
        raise CommandError(
            f"the token for metrics in {path} cannot be read or made: {os.strerror(error.errno)}"
            if error.errno
            else f"the token for metrics in {path} cannot be read or made",
            hint="Name a file that popproxy may read, or a folder that it may write.",
            status=Status.USAGE,
        ) from None
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        raise CommandError(
            f"every user of this machine can read the token for metrics in {path}",
            hint=f"Close it with: chmod o= {path}",
            status=Status.USAGE,
        )
    if len(first) < _TOKEN_LEAST or not first.isascii():
        raise CommandError(
            f"the first line of {path} is no token for metrics: {_TOKEN_LEAST} characters of ASCII"
            " at least",
            hint="Remove the file, and popproxy makes a token.",
            status=Status.USAGE,
        )
    return first


def certificates(configuration: Configuration, routes: Sequence[Route]) -> list[CertificateReport]:
    """Look at the certificates that popproxy shows; those that cannot be read are left out.

    Args:
        configuration: The settings.
        routes: The routes.
    """
    from cryptography import x509

    from popproxy.cli.wiring_tls import Legs
    from popproxy.tls.folder import CERTIFICATE

    found: dict[str, str] = {}
    for route in routes:
        clients, server = route.listener_tls, route.upstream_tls
        if clients.certificate is not None:
            found.setdefault(str(clients.certificate), f"certificate of the route {route.name}")
        elif Legs.of(route).with_clients:
            found.setdefault(str(clients.authority / CERTIFICATE), "local authority")
        if server.certificate is not None:
            use = f"client certificate of the route {route.name}"
            found.setdefault(str(server.certificate), use)
    if path := configuration.settings.syslog.client_certificate:
        found.setdefault(path, "client certificate for syslog")
    reports = []
    for path, use in found.items():
        with contextlib.suppress(OSError, ValueError):
            first = x509.load_pem_x509_certificates(Path(path).read_bytes())[0]
            reports.append(
                CertificateReport(use=use, path=path, not_after=first.not_valid_after_utc)
            )
    return reports


class Desk:
    """Where popproxy answers how it is; nowhere, unless the settings say so."""

    def __init__(self, configuration: Configuration, *, shut: bool = False) -> None:
        """Prepare; nothing is opened yet.

        Args:
            configuration: The settings.
            shut: Answer nobody, as a worker does, whose parent answers.
        """
        self._configuration = configuration
        self._wanted = wanted(configuration) and not shut
        self._standing = Standing()
        self._local: socket.socket | None = None
        self._port: socket.socket | None = None
        self._token = b""

    def open(self) -> None:
        """Listen where the settings say, as the user that popproxy now is.

        Raises:
            CommandError: It cannot be listened there.
        """
        if not self._wanted:
            return
        from popproxy.cli.status_server import open_port, open_socket

        values = self._configuration.settings.status
        if address := metrics_address(self._configuration):
            self._token = token(values.metrics_token)
            self._port = open_port(*address)
        if values.socket:
            self._local = open_socket(values.socket)

    def adopt(self, configuration: Configuration, routes: Sequence[Route]) -> None:
        """Hear of what is in force from now on."""
        if self._wanted:
            self._standing.adopt(configuration.file, certificates(configuration, routes))

    async def answer(
        self, processes: Callable[[], Sequence[ProcessReport]], remark: Callable[[], str]
    ) -> None:
        """Answer whoever asks, until cancelled.

        Args:
            processes: Reports of those that serve.
            remark: What a person should know of the last reload.
        """
        if not self._wanted:
            return
        from popproxy.cli.status_server import answer

        def look() -> Report:
            return self._standing.report(processes(), remark())

        async def tell(stream: trio.SocketStream) -> None:
            await stream.send_all(msgspec.json.encode(look()) + b"\n")

        async with trio.open_nursery() as nursery:
            if self._local is not None:
                nursery.start_soon(answer, self._local, tell)
            if self._port is not None:
                from popproxy.cli import metrics

                serve = partial(metrics.serve, look=look, token=self._token)
                nursery.start_soon(answer, self._port, serve)

    def close(self) -> None:
        """Answer no more."""
        for opened in (self._port, self._local):
            if opened is not None:
                opened.close()
        if self._local is not None:
            from popproxy.cli.status_server import remove_socket

            remove_socket(self._configuration.settings.status.socket)
