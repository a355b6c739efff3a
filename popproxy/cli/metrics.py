"""Metrics for Prometheus, over HTTP on loopback, for whoever has the token (P68).

Names and labels are fixed, or come from the configuration; no peer can make one.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import get_args

import h11
import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from popproxy.cli.status_report import Report
from popproxy.relay.admission import Refusal
from popproxy.sinks.state import LossReason

PATH = "/metrics"
_LONGEST = 16 * 1024
"""Octets of a request's head."""
_PIECE = 4096


class _Reported(Collector):
    """A report as metrics."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: a registry is made for each answer."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Give all metrics; see `prometheus_client`."""
        report = self._report
        info = InfoMetricFamily("popproxy", "The version that runs.")
        info.add_metric([], {"version": report.version})
        yield info
        yield GaugeMetricFamily(
            "popproxy_start_time_seconds",
            "When popproxy was started, in seconds since 1970.",
            value=report.since.timestamp(),
        )
        yield GaugeMetricFamily(
            "popproxy_configuration_time_seconds",
            "When the configuration in force was read, in seconds since 1970.",
            value=report.read.timestamp(),
        )
        yield GaugeMetricFamily(
            "popproxy_reload_refused",
            "1 if the configuration was refused when it was read last.",
            value=bool(report.remark),
        )
        yield from self._sessions()
        yield from self._outputs()
        expiry = GaugeMetricFamily(
            "popproxy_certificate_expiry_time_seconds",
            "Until when a certificate is valid, in seconds since 1970.",
            labels=["use"],
        )
        for certificate in report.certificates:
            expiry.add_metric([certificate.use], certificate.not_after.timestamp())
        yield expiry

    def _sessions(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("popproxy_serving", "1 if the process serves.", labels=["worker"])
        stuck = GaugeMetricFamily("popproxy_stuck", "1 if writing stands still.", labels=["worker"])
        now = GaugeMetricFamily(
            "popproxy_sessions", "Sessions that are under way.", labels=["worker"]
        )
        begun = CounterMetricFamily(
            "popproxy_sessions_begun", "Sessions that began.", labels=["worker"]
        )
        ended = CounterMetricFamily(
            "popproxy_sessions_ended", "Sessions that ended.", labels=["worker", "reason"]
        )
        refused = CounterMetricFamily(
            "popproxy_clients_refused", "Clients not let in.", labels=["worker", "reason"]
        )
        for process in self._report.processes:
            worker = str(process.worker)
            up.add_metric([worker], process.serving)
            stuck.add_metric([worker], process.stuck)
            now.add_metric([worker], process.sessions)
            begun.add_metric([worker], process.begun)
            for reason, count in sorted(process.ended.items()):
                ended.add_metric([worker, reason], count)
            for reason in get_args(Refusal):
                refused.add_metric([worker, reason], process.refused.get(reason, 0))
        yield from (up, stuck, now, begun, ended, refused)

    def _outputs(self) -> Iterator[Metric]:
        by_output = ["worker", "output"]
        writing = GaugeMetricFamily(
            "popproxy_output_writing", "1 if records are written as they come.", labels=by_output
        )
        written = CounterMetricFamily(
            "popproxy_records_written", "Records that were written.", labels=by_output
        )
        waiting = GaugeMetricFamily(
            "popproxy_records_waiting", "Records that wait to be written.", labels=by_output
        )
        lost = CounterMetricFamily(
            "popproxy_records_lost", "Records that were lost.", labels=[*by_output, "reason"]
        )
        for process in self._report.processes:
            for output in process.outputs:
                place = [str(process.worker), output.name]
                writing.add_metric(place, output.condition == "writing")
                written.add_metric(place, output.written)
                waiting.add_metric(place, output.waiting)
                for reason in get_args(LossReason):  # from 0 on, so that the first is an increase
                    lost.add_metric([*place, reason], output.lost.get(reason, 0))
        yield from (writing, written, waiting, lost)


def exposition(report: Report) -> bytes:
    """Write a report in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Reported(report))
    return generate_latest(registry)


async def serve(stream: trio.SocketStream, look: Callable[[], Report], token: bytes) -> None:
    """Answer one request (RFC 9112), and end the connection.

    Args:
        stream: The connection.
        look: Makes the report.
        token: What `Authorization: Bearer` (RFC 6750) has to hold.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST)
    try:
        request = await _request(stream, connection)
    except h11.RemoteProtocolError as error:
        await _send(stream, connection, error.error_status_hint, b"this is not HTTP\n")
        return
    if request is None:
        return
    status, headers, content = _answer(request, look, token)
    body = b"" if request.method == b"HEAD" else content
    await _send(stream, connection, status, body, headers, length=len(content))


async def _request(stream: trio.SocketStream, connection: h11.Connection) -> h11.Request | None:
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(await stream.receive_some(_PIECE))


def _answer(
    request: h11.Request, look: Callable[[], Report], token: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Give status, headers and content."""
    scheme, _, given = dict(request.headers).get(b"authorization", b"").partition(b" ")
    right = hmac.compare_digest(given.strip(), token)
    if scheme.lower() != b"bearer" or not right:
        return 401, [("WWW-Authenticate", "Bearer")], b"a token is needed\n"
    if request.target.partition(b"?")[0] != PATH.encode():
        return 404, [], b"there is only /metrics\n"
    if request.method not in (b"GET", b"HEAD"):
        return 405, [("Allow", "GET, HEAD")], b"metrics can be read only\n"
    return 200, [("Content-Type", CONTENT_TYPE_LATEST)], exposition(look())


async def _send(
    stream: trio.SocketStream,
    connection: h11.Connection,
    status: int,
    body: bytes,
    headers: list[tuple[str, str]] | None = None,
    *,
    length: int | None = None,
) -> None:
    headers = [*(headers or [("Content-Type", "text/plain; charset=utf-8")])]
    if not any(name == "Content-Type" for name, _ in headers):
        headers.append(("Content-Type", "text/plain; charset=utf-8"))
    headers += [
        ("Content-Length", str(len(body) if length is None else length)),
        ("Connection", "close"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    phrase = HTTPStatus(status).phrase
    events: list[h11.Event] = [h11.Response(status_code=status, headers=headers, reason=phrase)]
    if body:
        events.append(h11.Data(data=body))
    for event in (*events, h11.EndOfMessage()):
        if octets := connection.send(event):
            await stream.send_all(octets)
