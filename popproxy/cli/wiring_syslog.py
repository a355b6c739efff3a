"""From settings to sinks for syslog collectors, and what is wrong with the settings."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from popproxy.cli.errors import CommandError, Problem, Status
from popproxy.cli.places import spool_directory

if TYPE_CHECKING:
    import ssl

    from popproxy.cli.config import Configuration
    from popproxy.cli.settings import Settings, SyslogSettings
    from popproxy.sinks import Sink

_URL = re.compile(
    r"(?P<scheme>syslog\+(?:tcp|tls))://"
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s/?#@:\[\]]+))(?::(?P<port>[0-9]{1,5}))?/?"
)
_PORTS = {"syslog+tcp": 601, "syslog+tls": 6514}
_FORM = "write syslog+tls://HOST:6514, or syslog+tcp://HOST:601 for a connection in the clear"


class Place(NamedTuple):
    """Where a collector is.

    Attributes:
        secure: Whether TLS is spoken.
        host: Its name or address.
        port: Its port.
    """

    secure: bool
    host: str
    port: int

    @property
    def folder(self) -> str:
        """The name of its folder in the spool."""
        return f"{re.sub('[^A-Za-z0-9.-]', '_', self.host)}-{self.port}"


def parse(url: str) -> Place | None:
    """Read a collector's URL; None if it is none."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    scheme = found["scheme"]
    port = int(found["port"] or _PORTS[scheme])
    if not 0 < port < 65536:
        return None
    return Place(scheme == "syslog+tls", found["address"] or found["host"], port)


def check(configuration: Configuration) -> Iterator[Problem]:
    """Find what is wrong beyond types."""
    settings, origins = configuration.settings, configuration.origins
    seen: set[str] = set()
    for url in settings.record.syslog:
        place = parse(url)
        if place is None:
            what, hint = f"{url} is no URL of a syslog collector", _FORM
        elif place.folder in seen:
            what, hint = f"the collector of {url} is named twice", ""
        else:
            seen.add(place.folder)
            continue
        yield Problem(where=origins["record", "syslog"], key="record.syslog", what=what, hint=hint)
    yield from _wrong_values(configuration)
    yield from _missing_files(configuration)
    user = settings.process.user
    if settings.record.syslog and user not in ("", "root") and not settings.syslog.spool:
        yield Problem(
            where=origins["process", "user"],
            key="syslog.spool",
            what=f"no folder is named for what waits for the collector until {user} can send it",
            hint=f'make a folder that belongs to {user}, as spool = "/var/spool/popproxy"',
        )


def _wrong_values(configuration: Configuration) -> Iterator[Problem]:
    from popproxy.formats.syslog import LEAST_SIZE, is_sd_id
    from popproxy.sinks import spool

    values = configuration.settings.syslog

    def problem(key: str, what: str, hint: str) -> Problem:
        where = configuration.origins["syslog", key]
        return Problem(where=where, key=f"syslog.{key}", what=what, hint=hint)

    if not is_sd_id(values.sd_id):
        yield problem("sd_id", f"{values.sd_id!r} is no SD-ID", 'write it as "popproxy@32473"')
    if values.max_size < LEAST_SIZE:
        what = f"expected a whole number of at least {LEAST_SIZE}, found {values.max_size}"
        yield problem("max_size", what, "every collector takes that much (RFC 5425)")
    if values.spool_size < spool.LEAST_SIZE:
        what = f"expected a whole number of at least {spool.LEAST_SIZE}, found {values.spool_size}"
        yield problem("spool_size", what, "")
    elif values.max_size > spool.largest(values.spool_size):
        what = f"a message of max_size = {values.max_size} does not fit into a part of the spool"
        yield problem("spool_size", what, f"make it {9 * values.max_size} at least")
    if values.client_key and not values.client_certificate:
        what = "there is a key, and no certificate that it is for"
        yield problem("client_key", what, "name the certificate with syslog.client_certificate")


def _missing_files(configuration: Configuration) -> Iterator[Problem]:
    for key in ("ca", "client_certificate", "client_key"):
        name = getattr(configuration.settings.syslog, key)
        try:
            wrong = bool(name) and not Path(name).is_file() and not Path(name).is_fifo()
        except (OSError, ValueError):
            continue  # perhaps another user can read it: whoever opens it tells
        if wrong:
            yield Problem(
                where=configuration.origins["syslog", key],
                key=f"syslog.{key}",
                what=f"there is no file {name}",
            )


def warnings(configuration: Configuration) -> Iterator[str]:
    """Find what works, but perhaps not as it was meant."""
    from popproxy.cli.wiring import is_loopback

    yield from _left(configuration)
    for url in configuration.settings.record.syslog:
        place = parse(url)
        if place is not None and not place.secure and not is_loopback(place.host):
            yield f"records go to {url} in the clear; syslog+tls:// encrypts them"


def _left(configuration: Configuration) -> Iterator[str]:
    """Find records that wait for what is no longer there: a worker, or a collector."""
    settings = configuration.settings
    workers = range(1, settings.process.workers + 1)
    if not settings.syslog.spool:
        return
    root = Path(re.sub(r"/w\d+$", "", settings.syslog.spool))
    places = filter(None, map(parse, settings.record.syslog))
    sent = {root / f"w{number}" / one.folder for one in places for number in workers}
    try:
        found = {file.parent for file in root.glob("w*/*/*.spool")}
    except OSError:
        return
    for folder in sorted(found - sent):
        yield (
            f"records wait in {folder}, and nobody sends them; start popproxy with the collector"
            " and the number of workers that it had, or delete the folder"
        )


def load() -> None:
    """Import what collectors need, as long as it is sure that it can be read."""
    for name in ("popproxy.sinks.syslog_sink", "popproxy.tls.collector"):
        import_module(name)


def with_spool(configuration: Configuration, env: Mapping[str, str]) -> Configuration:
    """Put in where the spool is, if the settings do not say it."""
    settings = configuration.settings
    if settings.syslog.spool:
        return configuration
    syslog = msgspec.structs.replace(settings.syslog, spool=str(spool_directory(env)))
    return replace(configuration, settings=msgspec.structs.replace(settings, syslog=syslog))


def for_worker(settings: Settings, number: int) -> SyslogSettings:
    """Give a worker's own spool to the settings; that of a process that is alone is worker 1's.

    Args:
        settings: What was read.
        number: The worker's number, from 1.
    """
    syslog = settings.syslog
    return msgspec.structs.replace(syslog, spool=f"{syslog.spool}/w{number}")


def make_sinks(configuration: Configuration) -> Iterator[Sink]:
    """Make the sinks, and find out whether their spools and files can be used.

    Raises:
        CommandError: They cannot.
    """
    if not configuration.settings.record.syslog:
        return
    from popproxy.formats.syslog import Origin
    from popproxy.sinks import SinkError
    from popproxy.sinks.collector import Collector, CollectorError
    from popproxy.sinks.syslog_sink import SyslogOptions, SyslogSink

    values = configuration.settings.syslog
    origin = Origin(
        facility=values.facility,
        hostname=values.hostname or socket.gethostname(),
        app_name=values.app_name,
        procid=str(os.getpid()),
        sd_id=values.sd_id,
    )

    def context() -> ssl.SSLContext:
        from popproxy.tls.collector import collector_context
        from popproxy.tls.failures import TlsSetupError

        try:
            return collector_context(
                _path(values.ca), _path(values.client_certificate), _path(values.client_key)
            )
        except TlsSetupError as error:
            raise CollectorError(str(error)) from None

    for url in configuration.settings.record.syslog:
        place = parse(url)
        assert place is not None  # noqa: S101 - it was checked
        options = SyslogOptions(
            origin=origin,
            bodies=values.bodies,
            max_size=values.max_size,
            spool=f"{values.spool}/{place.folder}",
            spool_size=values.spool_size,
            resend=values.resend,
        )
        tls = context if place.secure else None
        sink = SyslogSink(url, Collector(host=place.host, port=place.port, tls=tls), options)
        try:
            sink.check()
            if tls is not None:
                tls()
        except (SinkError, CollectorError) as error:
            raise CommandError(
                f"--syslog {url}: {error}",
                hint=f"It comes from: {configuration.origins['record', 'syslog']}.",
                status=Status.USAGE,
            ) from None
        yield sink


def _path(text: str) -> Path | None:
    return Path(text) if text else None
