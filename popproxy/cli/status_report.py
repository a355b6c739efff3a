"""What popproxy says of itself while it serves: one process, or the parent of several.

A *report* holds numbers, places and dates: no names of users, no addresses of clients, nothing that
a peer said. Each process makes its part (`ProcessReport`); with workers, the parent puts theirs
together, and keeps the counts of those that ended, so that no loss is forgotten because the worker
that had it was started again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from popproxy import __version__
from popproxy.relay.tally import RouteState, Tally
from popproxy.sinks.state import SinkState

SCHEMA: Final = "popproxy-status/1"
SOON: Final = timedelta(days=14)
"""Before the end of a certificate, from when on it counts as trouble."""


class ProcessReport(msgspec.Struct, frozen=True, kw_only=True):
    """One process that serves.

    Attributes:
        worker: The worker's number; 0 if popproxy serves by itself.
        pid: The process; 0 if there is none at present.
        serving: Whether it accepts clients.
        stuck: Whether a write of an output has not come back for long.
        sessions: Sessions that are under way.
        begun: Sessions that began.
        ended: Sessions that ended, by reason.
        refused: Clients that were not let in, by reason.
        lost: Records that outputs lost, also those that are gone since.
        routes: Its listeners.
        outputs: Its outputs.
    """

    worker: int = 0
    pid: int = 0
    serving: bool = False
    stuck: bool = False
    sessions: int = 0
    begun: int = 0
    ended: Mapping[str, int] = {}
    refused: Mapping[str, int] = {}
    lost: int = 0
    routes: Sequence[RouteState] = ()
    outputs: Sequence[SinkState] = ()


class CertificateReport(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate of popproxy's own, or what a server showed last.

    Attributes:
        use: What it is for, in words.
        path: Its file, or the folder of the local authority; empty for a server's.
        not_after: Until when it is valid.
    """

    use: str
    path: str
    not_after: datetime


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        schema: The version of this structure.
        version: Popproxy's.
        pid: The process that answers.
        at: When it answered.
        since: When it was started.
        file: The configuration file, if there is one.
        read: When the configuration that is in force was read.
        remark: What a person should know of the last reload; empty if it went well.
        certificates: Certificates that popproxy shows, and those that servers show.
        processes: Those that serve.
        troubles: What is wrong, in sentences.
    """

    schema: str = SCHEMA
    version: str = __version__
    pid: int
    at: datetime
    since: datetime
    file: str | None
    read: datetime
    remark: str
    certificates: Sequence[CertificateReport]
    processes: Sequence[ProcessReport]
    troubles: Sequence[str] = ()


def process_report(
    *,
    worker: int,
    stuck: bool,
    sessions: int,
    tally: Tally,
    lost: int,
    routes: Sequence[RouteState],
    outputs: Sequence[SinkState],
) -> ProcessReport:
    """Report on this process; see `ProcessReport`."""
    return ProcessReport(
        worker=worker,
        pid=os.getpid(),
        serving=True,
        stuck=stuck,
        sessions=sessions,
        begun=tally.begun,
        ended=dict(tally.ended),
        refused=dict(tally.refused),
        lost=lost,
        routes=routes,
        outputs=outputs,
    )


def succeeding(earlier: ProcessReport | None, now: ProcessReport) -> ProcessReport:
    """Add to a report what earlier processes of the same worker counted.

    Args:
        earlier: Their report, if there were any.
        now: The present one's.
    """
    if earlier is None:
        return now
    outputs = {output.name: output for output in now.outputs}
    for before in earlier.outputs:
        after = outputs.get(before.name)
        if after is None:
            outputs[before.name] = replace(before, waiting=0, octets=0)
            continue
        lost = {**before.lost, **after.lost}
        for reason, count in before.lost.items():
            lost[reason] = count + after.lost.get(reason, 0)
        written = before.written + after.written
        outputs[before.name] = replace(after, written=written, lost=lost)
    return msgspec.structs.replace(
        now,
        begun=earlier.begun + now.begun,
        ended=dict(Counter(earlier.ended) + Counter(now.ended)),
        refused=dict(Counter(earlier.refused) + Counter(now.refused)),
        lost=earlier.lost + now.lost,
        outputs=list(outputs.values()),
    )


def without_process(report: ProcessReport) -> ProcessReport:
    """Give what stays of a report when its process has ended."""
    return msgspec.structs.replace(
        report, pid=0, serving=False, stuck=False, sessions=0, routes=[],
        outputs=[
            replace(output, condition="ended", waiting=0, octets=0) for output in report.outputs
        ],
    )  # fmt: skip


def _of_servers(processes: Sequence[ProcessReport]) -> Iterator[CertificateReport]:
    """Give the certificate of each server; the newest, if workers were shown several."""
    found: dict[str, datetime] = {}
    for route in (route for process in processes for route in process.routes):
        if until := route.server_until:
            found[route.upstream] = max(until, found.get(route.upstream, until))
    for upstream, until in found.items():
        use = f"certificate that {upstream} shows"
        yield CertificateReport(use=use, path="", not_after=until)


def troubles(report: Report) -> Iterator[str]:
    """Say what is wrong, in sentences; nothing if all is well."""
    for process in report.processes:
        who = f"worker {process.worker}: " if process.worker else ""
        if not process.serving:
            yield f"{who}it does not serve at present"
            continue
        if process.stuck:
            yield f"{who}writing stands still: a disk does not answer"
        for output in process.outputs:
            if output.condition == "failing":
                cause = f": {output.trouble}" if output.trouble else ""
                yield f"{who}{output.name} cannot be written at present{cause}"
            elif output.condition == "ended":
                yield f"{who}{output.name} takes no more records"
            if lost := sum(output.lost.values()):
                reasons = ", ".join(f"{count} {reason}" for reason, count in output.lost.items())
                yield f"{who}{output.name} lost {lost} records since the start ({reasons})"
        known = sum(sum(output.lost.values()) for output in process.outputs)
        if gone := process.lost - known:
            yield f"{who}outputs that are gone by now lost {gone} records"
    for certificate in report.certificates:
        left = certificate.not_after - report.at
        if left < timedelta():
            yield f"the {certificate.use} expired on {certificate.not_after:%Y-%m-%d}"
        elif left < SOON:
            yield f"the {certificate.use} expires on {certificate.not_after:%Y-%m-%d}"
    if report.remark:
        yield report.remark


class Standing:
    """Puts reports together: what the process that answers knows itself.

    Attributes:
        configured: The configuration file and the certificates that are in force.
    """

    def __init__(self) -> None:
        """Begin now."""
        self._since = self._read = _now()
        self._file: str | None = None
        self._certificates: Sequence[CertificateReport] = ()

    def adopt(self, file: str | None, certificates: Sequence[CertificateReport]) -> None:
        """Hear of the configuration that is in force from now on.

        Args:
            file: Its file, if there is one.
            certificates: Its certificates.
        """
        self._read, self._file, self._certificates = _now(), file, certificates

    def report(self, processes: Sequence[ProcessReport], remark: str = "") -> Report:
        """Make a report.

        Args:
            processes: Those that serve.
            remark: What a person should know of the last reload.
        """
        report = Report(
            pid=os.getpid(),
            at=_now(),
            since=self._since,
            file=self._file,
            read=self._read,
            remark=remark,
            certificates=[*self._certificates, *_of_servers(processes)],
            processes=processes,
        )
        return msgspec.structs.replace(report, troubles=list(troubles(report)))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
