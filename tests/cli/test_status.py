"""How popproxy is: by `popproxy status`, and by metrics, for who may ask (P68)."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import trio
import trustme
from trio.testing import MockClock

from popproxy.cli import status_server, wiring_status
from popproxy.cli.config import Layers, build
from popproxy.cli.metrics import exposition
from popproxy.cli.options import Invocation
from popproxy.cli.screen import Screen
from popproxy.cli.sources import read_text
from popproxy.cli.status import _lines
from popproxy.cli.status_report import (
    CertificateReport,
    ProcessReport,
    Report,
    Standing,
    succeeding,
    troubles,
    without_process,
)
from popproxy.relay.tally import RouteState
from popproxy.sinks.state import SinkState
from tests.cli.test_workers import workers_of
from tests.support.asking import get, report, request
from tests.support.ports import free_ports
from tests.support.programs import find, needs
from tests.support.reloading import Reloading, greeted, greeting, line, name_behind, route, running
from tests.support.root import only_root
from tests.support.running import run
from tests.support.waiting import until

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
RECORD = '[record]\njsonl = ["all-&W.jsonl"]\n'
SOCKET = '[status]\nsocket = "status"\n'
TWO = "[process]\nworkers = 2\n"


def metrics_at(port: int) -> str:
    return f'[status]\nmetrics = "127.0.0.1:{port}"\nmetrics_token = "token"\n'


def token_of(proxy: Reloading) -> str:
    return (proxy.home / "token").read_text().strip()


def listening_sockets(pid: int) -> int:
    """Count the TCP sockets that a process listens at."""
    inodes = {
        found[1]
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if (found := re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink())))
    }
    listed = [Path(f"/proc/{pid}/net/{kind}").read_text() for kind in ("tcp", "tcp6")]
    rows = [row.split() for text in listed for row in text.splitlines()[1:]]
    return sum(row[3] == "0A" and row[9] in inodes for row in rows)


def test_p68_without_being_told_nothing_else_is_listened_at(tmp_path: Path) -> None:
    with greeting(b"one") as port, running(tmp_path / "x", RECORD + route(port)) as proxy:
        assert listening_sockets(proxy.process.pid) == 1
        assert not list(proxy.home.rglob("status*"))


@pytest.mark.parametrize("process", ["", TWO], ids=["alone", "workers"])
def test_p68_status_tells_sessions_outputs_and_routes_and_names_nobody(
    process: str, tmp_path: Path
) -> None:
    with (
        greeting(b"one") as port,
        running(tmp_path / "x", RECORD + SOCKET + process + route(port)) as proxy,
    ):
        name_behind(proxy.port)
        client, _ = greeted(proxy.port)
        client.sendall(b"USER wren\r\n")
        assert line(client) == b"+OK"

        def told() -> dict[str, object]:
            said = report(proxy.home / "status")
            processes = said["processes"]
            sums = [sum(one[key] for one in processes) for key in ("sessions", "begun")] + [
                sum(sum(one["ended"].values()) for one in processes)
            ]
            return said if sums == [1, 2, 1] else {}

        said = until(told, "one session, and the end of another")
        assert said["troubles"] == []
        text = json.dumps(said)
        assert "wren" not in text
        assert str(client.getsockname()[1]) not in re.findall(r"\d{4,}", text)
        assert f"pop3://127.0.0.1:{proxy.port}" in text
        done = run("status", "--config", "popproxy.toml", cwd=proxy.home)
        assert done.returncode == 0, done.stderr
        assert "sessions      1 now, 2 begun, 1 ended (" in done.stdout
        assert "trouble       none" in done.stdout
        assert ("workers       2 of 2 serve" in done.stdout) == bool(process)
        client.close()


def test_p55_clients_that_were_refused_are_counted_by_reason(tmp_path: Path) -> None:
    text = RECORD + SOCKET + "[limits]\nconnections_per_client = 1\n"
    with greeting(b"one") as port, running(tmp_path / "x", text + route(port)) as proxy:
        first, _ = greeted(proxy.port)
        second, said = greeted(proxy.port)
        assert said.startswith(b"-ERR [SYS/TEMP]")
        assert report(proxy.home / "status")["processes"][0]["refused"] == {
            "connections-per-client": 1
        }
        first.close()
        second.close()


def test_p69_the_socket_is_never_wider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "chmod", lambda *_: None)  # what comes behind it is too late
    before = os.umask(0)
    try:
        status_server.open_socket(str(tmp_path / "status")).close()
    finally:
        os.umask(before)
    assert (tmp_path / "status").stat().st_mode & 0o777 == 0o600


def test_a_refused_reload_is_trouble_until_one_that_is_not(tmp_path: Path) -> None:
    with (
        greeting(b"one") as port,
        running(tmp_path / "x", (text := RECORD + SOCKET + route(port))) as proxy,
    ):
        proxy.reload(text + "nonsense")
        done = run("status", "--socket", "status", cwd=proxy.home, POPPROXY_CONFIG="/dev/null")
        assert done.returncode == 1
        assert "trouble       the last reload was refused" in done.stdout
        proxy.reload(text)
        until(lambda: not report(proxy.home / "status")["troubles"], "the end of the trouble")


def test_what_a_worker_counted_is_not_forgotten_when_it_ends(tmp_path: Path) -> None:
    with (
        greeting(b"one") as port,
        running(tmp_path / "x", RECORD + SOCKET + TWO + route(port)) as proxy,
    ):
        for _ in range(4):
            name_behind(proxy.port)

        def begun() -> int:
            return sum(one["begun"] for one in report(proxy.home / "status")["processes"])

        until(lambda: begun() == 4, "four sessions")
        before = workers_of(proxy)
        for pid in before:
            os.kill(pid, 9)
        until(lambda: len(set(workers_of(proxy)) - set(before)) == 2, "two other workers")
        until(lambda: not report(proxy.home / "status")["troubles"], "both to serve")
        name_behind(proxy.port)
        until(lambda: begun() == 5, "the counts of all processes")


@only_root
def test_p68_another_user_may_not_ask(tmp_path: Path) -> None:
    with (
        greeting(b"one") as port,
        running(tmp_path / "x", RECORD + SOCKET + route(port)) as proxy,
    ):
        path = proxy.home / "status"
        assert path.stat().st_mode & 0o777 == 0o600
        for folder in (path, *path.parents):
            if folder != path and folder.stat().st_uid == 0 and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o055)
        code = (
            "import os,socket,sys\nos.setgid(65534);os.setuid(65534)\n"
            "socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
        )
        assert "PermissionError" in done.stderr


def test_a_socket_that_was_left_over_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    text = RECORD + f'[status]\nsocket = "{tmp_path}/status"\n'
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "status"))
    with greeting(b"one") as port, running(tmp_path / "x", text + route(port)) as proxy:
        assert report(tmp_path / "status")["processes"]
        with (
            pytest.raises(AssertionError, match=r"cannot listen at the socket .* in use"),
            running(tmp_path / "y", text + route(port)),
        ):
            pass
        assert report(tmp_path / "status")["processes"], "the first one is asked as before"
        proxy.process.terminate()
        proxy.process.wait()
    assert not (tmp_path / "status").exists()
    (tmp_path / "status").write_text("mine")
    with (
        pytest.raises(AssertionError, match=r"cannot listen at the socket .* exists"),
        running(tmp_path / "z", text + route(9)),
    ):
        pass
    assert (tmp_path / "status").read_text() == "mine"


def test_p68_metrics_want_the_token(tmp_path: Path) -> None:
    (at,) = free_ports(1)
    with (
        greeting(b"one") as port,
        running(tmp_path / "x", RECORD + metrics_at(at) + route(port)) as proxy,
    ):
        token = token_of(proxy)
        assert (proxy.home / "token").stat().st_mode & 0o777 == 0o600
        for wrong in ("", "x", token[:-1], token + "x"):
            status, headers, body = get(at, wrong)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
            assert b"popproxy_" not in body
        status, headers, body = get(at, token)
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=")
        assert b'popproxy_sessions{worker="0"} 0.0' in body
        assert int(headers["content-length"]) == len(body)
        assert get(at, token, method="HEAD")[::2] == (200, b"")
        assert get(at, token, path="/")[0] == 404
        assert get(at, token, method="POST")[0] == 405
        assert request(at, b"USER wren\r\n\r\n")[0] == 400
        with contextlib.suppress(ConnectionResetError):  # it does not read all of that
            assert request(at, b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n")[0] == 431
        name_behind(proxy.port)
        until(
            lambda: b'popproxy_sessions_begun_total{worker="0"} 1.0' in get(at, token)[2],
            "the count of a session",
        )


def test_p68_metrics_cannot_be_reached_through_popproxy_itself(tmp_path: Path) -> None:
    (at,) = free_ports(1)
    with (
        pytest.raises(AssertionError, match="is a listener of this popproxy"),
        running(tmp_path / "x", RECORD + metrics_at(at) + route(at)),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('metrics = "0.0.0.0:9110"\nmetrics_token = "t"', "is no loopback address with a port"),
        ('metrics = "192.0.2.1:9110"\nmetrics_token = "t"', "is no loopback address with a port"),
        ('metrics = "127.0.0.1"\nmetrics_token = "t"', "is no loopback address with a port"),
        ('metrics = "127.0.0.1:0"\nmetrics_token = "t"', "is no loopback address with a port"),
        ('metrics = "127.0.0.1:9110"', "metrics want a token"),
        (f'socket = "{"x" * 120}"', "has 100 octets at most"),
    ],
)
def test_p68_what_would_open_too_much_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "popproxy.toml").write_text(f"[status]\n{text}\n" + route(9))
    done = run("config", "check", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [("short\n", 0o600, "is no token"), ("x" * 40, 0o644, "every user of this machine can read")],
)
def test_p68_a_token_that_protects_nothing_is_refused(
    content: str, mode: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(mode)
    text = RECORD + metrics_at(free_ports(1)[0]).replace('"token"', f'"{tmp_path}/token"')
    with pytest.raises(AssertionError, match=said), running(tmp_path / "x", text + route(9)):
        pass


@needs("promtool")
def test_prometheus_has_nothing_against_the_metrics() -> None:
    promtool = find("promtool")
    assert promtool is not None
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=exposition(REPORT),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@needs("promtool")
@pytest.mark.parametrize(
    ("what", "file"), [("config", "prometheus.yml"), ("rules", "prometheus-rules.yml")]
)
def test_prometheus_takes_the_examples(what: str, file: str) -> None:
    promtool = find("promtool")
    assert promtool is not None
    path = Path(__file__).parents[2] / "config" / file
    only = ["--syntax-only"] if what == "config" else []
    done = subprocess.run(
        [promtool, "check", what, *only, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = set(re.findall(r"popproxy_\w+", path.read_text())) - {"popproxy_token"}
    given = set(re.findall(r"^(popproxy_\w+)", exposition(REPORT).decode(), re.MULTILINE))
    assert names <= given


def test_nobody_who_is_not_there_answers(tmp_path: Path) -> None:
    done = run("status", cwd=tmp_path)
    assert done.returncode == 2
    assert "no socket is named" in done.stderr
    done = run("status", "--socket", "status", cwd=tmp_path)
    assert done.returncode == 1
    assert "no popproxy answers at status" in done.stderr


@pytest.mark.parametrize("said", [b"", b"+OK POP3\r\n", b"{}", b'{"schema":"other"}', b"\xff"])
def test_an_answer_of_somebody_else_is_told(said: bytes, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "status"))
        other.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "popproxy", "status", "--socket", tmp_path / "status"],
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = other.accept()
        with connection:
            connection.sendall(said)
        _, told = process.communicate()
    assert process.returncode == 1
    assert "is no popproxy, or one of another version" in told


async def test_who_asks_and_does_not_read_holds_up_others_for_a_moment_only(
    tmp_path: Path,
) -> None:
    async def stalls(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    opened = status_server.open_socket(str(tmp_path / "status"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(status_server.answer, opened, stalls)
        asking = [await trio.open_unix_socket(str(tmp_path / "status")) for _ in range(6)]
        with trio.fail_after(status_server.PATIENCE * 3):
            for stream in asking:
                async with stream:
                    assert await stream.receive_some(1) == b""
        nursery.cancel_scope.cancel()


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock(autojump_threshold=0.05)


async def test_p57_a_defect_while_answering_ends_nothing(tmp_path: Path) -> None:
    asked = 0

    async def broken(stream: trio.SocketStream) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ValueError
        await stream.send_all(b"x")

    opened = status_server.open_socket(str(tmp_path / "status"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(status_server.answer, opened, broken)
        for wanted in (b"", b"x"):
            async with await trio.open_unix_socket(str(tmp_path / "status")) as stream:
                assert await stream.receive_some(1) == wanted
        nursery.cancel_scope.cancel()


# What a report says

FINE = SinkState(
    name="--jsonl all.jsonl", condition="writing", written=1200, waiting=3, octets=900,
    room=1 << 24, lost={}, trouble="",
)  # fmt: skip
PROCESS = ProcessReport(
    worker=1, pid=4711, serving=True, sessions=2, begun=12, ended={"client-closed": 10},
    refused={"network": 1},
    routes=[
        RouteState(
            name="a", listen="pop3s://192.0.2.1:995", upstream="pop3s://pop.example", sessions=2
        )
    ],
    outputs=[FINE],
)  # fmt: skip
REPORT = Report(
    pid=4711, at=NOW, since=NOW - timedelta(hours=3, minutes=12), file="/etc/popproxy/config.toml",
    read=NOW - timedelta(hours=1), remark="",
    certificates=[
        CertificateReport(use="local authority", path="/a", not_after=NOW + timedelta(days=65))
    ],
    processes=[PROCESS],
)  # fmt: skip


def changed(**process: object) -> Report:
    return msgspec.structs.replace(REPORT, processes=[msgspec.structs.replace(PROCESS, **process)])


def output(**values: object) -> list[SinkState]:
    return [SinkState(**{**msgspec.to_builtins(FINE), **values})]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (changed(serving=False), ["worker 1: it does not serve at present"]),
        (changed(stuck=True), ["worker 1: writing stands still: a disk does not answer"]),
        (
            changed(outputs=output(condition="failing", trouble="No space left on device")),
            ["worker 1: --jsonl all.jsonl cannot be written at present: No space left on device"],
        ),
        (
            changed(outputs=output(condition="ended")),
            ["worker 1: --jsonl all.jsonl takes no more records"],
        ),
        (
            changed(outputs=output(lost={"no-room": 4, "late": 1}), lost=5),
            ["worker 1: --jsonl all.jsonl lost 5 records since the start (4 no-room, 1 late)"],
        ),
        (changed(lost=5), ["worker 1: outputs that are gone by now lost 5 records"]),
        (
            msgspec.structs.replace(REPORT, remark="the last reload was refused"),
            ["the last reload was refused"],
        ),
        (
            msgspec.structs.replace(REPORT, at=NOW + timedelta(days=52)),
            ["the local authority expires on 2027-02-01"],
        ),
        (
            msgspec.structs.replace(REPORT, at=NOW + timedelta(days=66)),
            ["the local authority expired on 2027-02-01"],
        ),
        (REPORT, []),
    ],
)
def test_trouble_is_told_in_sentences(wrong: Report, said: list[str]) -> None:
    assert list(troubles(wrong)) == said


def test_of_what_a_server_showed_to_workers_the_newest_counts() -> None:
    def shown(upstream: str, days: float | None) -> RouteState:
        until = None if days is None else datetime.now(UTC) + timedelta(days=days)
        return RouteState(
            name="a", listen=upstream, upstream=upstream, sessions=0, server_until=until
        )

    one, two, three = "pop3s://one", "pop3s://two", "pop3s://three"
    made = Standing().report(
        [
            ProcessReport(
                worker=1, serving=True, routes=[shown(one, 3), shown(two, -1), shown(three, None)]
            ),
            ProcessReport(worker=2, serving=True, routes=[shown(one, 80), shown(two, None)]),
        ]
    )
    uses = [(certificate.use, certificate.path) for certificate in made.certificates]
    assert uses == [(f"certificate that {url} shows", "") for url in (one, two)]
    [trouble] = made.troubles
    assert trouble.startswith("the certificate that pop3s://two shows expired on ")


@pytest.mark.parametrize("process", ["", TWO], ids=["alone", "workers"])
def test_the_certificate_of_the_server_is_told_once_it_was_shown(
    process: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    until_then = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=until_then).configure_cert(tls)
    with greeting(b"one", tls) as port:
        server = route(port, more=f'upstream_ca = "{tmp_path}/ca.pem"\n').replace(
            f'upstream = "pop3://127.0.0.1:{port}', f'upstream = "pop3s://127.0.0.1:{port}'
        )
        with running(tmp_path / "x", RECORD + SOCKET + process + server) as proxy:
            assert report(proxy.home / "status")["certificates"] == []
            assert name_behind(proxy.port) == b"one"
            told = until(lambda: report(proxy.home / "status")["certificates"], "its certificate")
            [certificate] = told
            assert datetime.fromisoformat(certificate["not_after"]) == until_then
            done = run("status", "--socket", "status", cwd=proxy.home, POPPROXY_CONFIG="/dev/null")
            assert done.returncode == 1
            shown = (
                f"the certificate that pop3s://127.0.0.1:{port} shows expires on {until_then:%F}"
            )
            assert f"trouble       {shown}\n" in done.stdout


def test_counts_of_earlier_processes_are_added() -> None:
    lost = msgspec.structs.replace(PROCESS, outputs=output(lost={"late": 2}), lost=2)
    now = succeeding(without_process(lost), lost)
    assert (now.begun, now.ended, now.refused, now.sessions, now.lost) == (
        24, {"client-closed": 20}, {"network": 2}, 2, 4,
    )  # fmt: skip
    assert [(one.written, one.lost) for one in now.outputs] == [(2400, {"late": 4})]
    between = succeeding(without_process(lost), ProcessReport(worker=1))
    assert (between.serving, between.sessions, between.begun) == (False, 0, 12)
    assert [one.waiting for one in between.outputs] == [0]


def test_a_person_reads_it() -> None:
    screen = Screen.standard(Invocation(env={}))
    assert "".join(_lines(REPORT, screen)) == (
        "popproxy      0.1.0, process 4711, since 2026-11-28 08:48:00 UTC (3 h 12 min)\n"
        "settings      /etc/popproxy/config.toml, read 2026-11-28 11:00:00 UTC\n"
        "workers       1 of 1 serve\n"
        "sessions      2 now, 12 begun, 10 ended (client-closed 10)\n"
        "refused       1 client (network 1)\n"
        "listening     pop3s://192.0.2.1:995 for pop3s://pop.example, 2 sessions\n"
        "outputs       worker 1: --jsonl all.jsonl: writing, 1,200 records written, 3 waiting\n"
        "certificates  local authority: until 2027-02-01 (65 days), /a\n"
        "trouble       none\n"
    )


def test_libraries_that_metrics_need_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = Layers()
    read_text(layers, '[status]\nmetrics = "127.0.0.1:9110"\nmetrics_token = "t"\n' + route(9), "f")
    configuration = build(layers)
    assert not list(wiring_status.check(configuration))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (problem,) = wiring_status.check(configuration)
    assert problem.hint == "install them with: pip install 'popproxy[metrics]'"
