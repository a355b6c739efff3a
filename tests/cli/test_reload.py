"""SIGHUP: the configuration is read again, while sessions are under way."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.collecting_syslog import FakeCollector
from tests.support.proxy import records, wait_for_sessions_to_end, with_action
from tests.support.reloading import (
    BODY,
    greeted,
    greeting,
    line,
    name_behind,
    route,
    running,
)
from tests.support.waiting import PATIENCE, until


@pytest.fixture
def one() -> Iterator[int]:
    with greeting(b"one") as port:
        yield port


@pytest.fixture
def two() -> Iterator[int]:
    with greeting(b"two") as port:
        yield port


def test_p62_new_sessions_follow_what_was_read_again_and_running_ones_pass_unchanged(
    one: int, two: int, tmp_path: Path
) -> None:
    record = '[record]\njsonl = ["all.jsonl"]\n'
    with running(tmp_path / "x", record + route(one)) as proxy:
        client, said = greeted(proxy.port)
        assert said == b"+OK one"
        client.sendall(b"RETR 1\r\n")
        assert line(client) == b"+OK"
        got = client.recv(1)  # the message is on its way, and more of it than anything can hold
        proxy.reload(record + 'body = "none"\n' + route(two))
        assert name_behind(proxy.port) == b"two"
        while not got.endswith(b"\r\n.\r\n"):
            data = client.recv(65536)
            assert data
            got += data
        assert got == BODY + b".\r\n"
        client.sendall(b"QUIT\r\n")
        assert line(client) == b"+OK"
        client.close()
        found = wait_for_sessions_to_end(proxy.home / "all.jsonl", 2)
        policies = [record["policy"]["body"] for record in with_action(found, "session.start")]
        assert policies == ["full", "none"]


def test_a_configuration_that_does_not_check_is_refused_and_the_old_one_stays(
    one: int, two: int, tmp_path: Path
) -> None:
    text = '[record]\njsonl = ["all.jsonl"]\n' + route(one)
    with running(tmp_path / "x", text) as proxy:
        assert name_behind(proxy.port) == b"one"
        log = proxy.home / "all.jsonl"
        wait_for_sessions_to_end(log)
        log.rename(log.with_name("all.1"))
        wrong = '[record]\nbody = "some"\njsonl = ["all.jsonl"]\n[limits]\nconections = 3\n'
        said = proxy.reload(wrong + route(two))
        assert "popproxy.toml:2: record.body: expected one of" in said
        assert "popproxy.toml:5: limits.conections: there is no such setting" in said
        assert "did you mean connections?" in said
        assert said.count("\n") == 1, "one message tells all"
        assert name_behind(proxy.port) == b"one"
        wait_for_sessions_to_end(log)  # the files were opened anew all the same


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('[record]\njsonl = ["/proc/nowhere/x"]\n', "cannot be used for log files"),
        ('[record]\ntext = ["all.jsonl"]\n', "is written as jsonl, and cannot become text"),
        ('[tls]\nkeys = "gone/x.SECRET"\n', "cannot be written"),
    ],
)
def test_outputs_are_checked_before_anything_changes(
    wrong: str, said: str, one: int, two: int, tmp_path: Path
) -> None:
    with running(tmp_path / "x", '[record]\njsonl = ["all.jsonl"]\n' + route(one)) as proxy:
        assert said in proxy.reload(wrong + route(two))
        assert name_behind(proxy.port) == b"one"


def test_certificates_that_cannot_be_read_and_ports_in_use_are_refused(
    one: int, two: int, tmp_path: Path
) -> None:
    (tmp_path / "broken.pem").write_text("nothing\n")
    broken = f'cert = "{tmp_path / "broken.pem"}"'
    with running(tmp_path / "x", route(one)) as proxy:
        taken = route(two, f"pop3://127.0.0.1:{one}")
        wrong = route(two) + route(two, "pop3://localhost:0", broken)
        files = 0
        for _ in range(3):
            assert "broken.pem" in proxy.reload(wrong)
            assert "the port is in use" in proxy.reload(wrong + taken)
            assert name_behind(proxy.port) == b"one"
            files = files or proxy.open_files()
        until(lambda: proxy.open_files() <= files, "listeners that were opened to be closed")


def test_a_renewed_certificate_is_seen_though_the_text_is_the_same(
    one: int, tmp_path: Path
) -> None:
    authority = trustme.CA()
    pem = tmp_path / "cert.pem"

    def renew() -> None:
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem)

    def serial(port: int) -> object:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as connected,
            context.wrap_socket(connected, server_hostname="localhost") as tls,
        ):
            found = tls.getpeercert()
            assert found
            assert line(tls) == b"+OK one"
            return found["serialNumber"]

    renew()
    text = route(one, "pop3s://127.0.0.1:0", f'cert = "{pem}"')
    with running(tmp_path / "x", text) as proxy:
        first = serial(proxy.port)
        renew()
        assert serial(proxy.port) == first
        proxy.reload()
        assert serial(proxy.port) != first


def test_listeners_come_and_go_and_those_that_stay_keep_their_sockets(
    one: int, two: int, tmp_path: Path
) -> None:
    first = route(one)
    with running(tmp_path / "x", first) as proxy:
        proxy.reload(first + route(two, "pop3://127.0.0.1:0"))
        ports = until(lambda: len(found := proxy.ports()) == 2 and found, "the second listener")
        assert ports
        assert [name_behind(port) for port in ports] == [b"one", b"two"]
        running_session, _ = greeted(ports[1])
        proxy.reload(first)
        assert name_behind(ports[0]) == b"one"
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", ports[1]), PATIENCE)
        running_session.sendall(b"NOOP\r\n")
        assert line(running_session) == b"+OK"
        running_session.close()


def test_outputs_that_change_do_not_tear_the_logs_of_running_sessions(
    one: int, tmp_path: Path
) -> None:
    before = '[record]\nputty = ["logs/&S.log"]\njsonl = ["before.jsonl"]\ntext = ["both.txt"]\n'
    after = '[record]\njsonl = ["after.jsonl"]\ntext = ["both.txt"]\n'
    with running(tmp_path / "x", before + route(one)) as proxy:
        client, _ = greeted(proxy.port)
        proxy.reload(after + route(one))
        name_behind(proxy.port)
        wait_for_sessions_to_end(proxy.home / "after.jsonl")
        both = proxy.home / "both.txt"
        until(lambda: b"session.end" in both.read_bytes(), "the new session in the file of both")
        assert proxy.holds(both) == 1, "what stays is written by one hand"
        client.sendall(b"NOOP\r\n")
        assert line(client) == b"+OK"
        client.sendall(b"QUIT\r\n")
        assert line(client) == b"+OK"
        client.close()
        old = proxy.home / "before.jsonl"
        until(lambda: old.exists() and not proxy.holds(old), "the end of the old output")
        actions = [record["event"]["action"] for record in records(old)]
        assert actions[0] == "session.start"
        assert actions[-1] == "session.end"
        assert actions.count("pop3.command") == 2
        assert len(with_action(records(proxy.home / "after.jsonl"), "session.start")) == 1
        [putty] = (proxy.home / "logs").iterdir()
        assert b"NOOP" in putty.read_bytes()
        assert b"QUIT" in putty.read_bytes()
        until(lambda: both.read_bytes().count(b"session.end") == 2, "both sessions in one file")


@pytest.mark.parametrize("from_the_start", [True, False])
def test_lines_about_files_reach_the_collectors_of_the_time(
    one: int, tmp_path: Path, from_the_start: bool
) -> None:
    with FakeCollector() as collector:
        syslog = f'syslog = ["syslog+tcp://127.0.0.1:{collector.port}"]\n'
        before = '[record]\njsonl = ["stays.jsonl"]\n' + (syslog if from_the_start else "")
        after = '[record]\njsonl = ["stays.jsonl", "comes.jsonl"]\n' + syslog
        spool = '[syslog]\nspool = "spool"\n' + route(one)
        with running(tmp_path / "x", before + spool) as proxy:
            name_behind(proxy.port)
            wait_for_sessions_to_end(proxy.home / "stays.jsonl")
            proxy.reload(after + spool)
            name_behind(proxy.port)
            wait_for_sessions_to_end(proxy.home / "comes.jsonl")
            connected = collector.accept()
            proxy.process.terminate()
            assert proxy.process.wait(PATIENCE) == 0
        came = b"\n".join(connected.read_to_the_end())
    told = re.findall(rb'"action":"(file\.\w+)".*?"name":"(\w+)\.jsonl"', came)
    assert (b"file.start", b"comes") in told
    assert (b"file.end", b"comes") in told
    assert (b"file.end", b"stays") in told


def test_what_only_a_restart_changes_is_named(one: int, tmp_path: Path) -> None:
    before = '[record]\nputty = ["&S.log"]\n'
    after = before + 'putty_mode = "all"\n[log]\nlevel = "debug"\n'
    with running(tmp_path / "x", before + route(one)) as proxy:
        for text in (after + route(one), None):
            said = proxy.reload(text)
            assert "changed, but as before until popproxy is restarted" in said
            assert "log.level, record.putty_mode" in said
        assert "restarted" not in proxy.reload(before + route(one))


def test_pseudonyms_stay_the_same_within_a_run(one: int, tmp_path: Path) -> None:
    text = '[record]\njsonl = ["all.jsonl"]\nmask_users = true\n' + route(one)

    def log_in(port: int) -> None:
        client, _ = greeted(port)
        with client:
            client.sendall(b"USER wren\r\n")
            assert line(client) == b"+OK"

    with running(tmp_path / "x", text) as proxy:
        log_in(proxy.port)
        proxy.reload()
        log_in(proxy.port)
        found = wait_for_sessions_to_end(proxy.home / "all.jsonl", 2)
        said = {
            record["raw"]
            for record in with_action(found, "pop3.command")
            if "USER" in record["raw"]
        }
        assert len(said) == 1
        assert "wren" not in said.pop()


class Load:
    """Clients that come one after the other; each has to be served."""

    def __init__(self, port: int, clients: int) -> None:
        self._port = port
        self._over = threading.Event()
        self.failures: list[BaseException] = []
        self.served = [0] * clients
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def _run(self, number: int) -> None:
        while not self._over.is_set():
            try:
                assert name_behind(self._port) in (b"one", b"two")
            except BaseException as failure:  # noqa: BLE001 - the test tells
                self.failures.append(failure)
            self.served[number] += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def test_p62_no_client_is_refused_in_fifty_reloads_under_load(
    one: int, two: int, tmp_path: Path
) -> None:
    texts = [f'[record]\njsonl = ["{name}.jsonl"]\n' for name in ("a", "b")]
    with running(tmp_path / "x", texts[0] + route(one)) as proxy:
        with Load(proxy.port, 4) as load:
            for number in range(50):
                served = sum(load.served)
                proxy.reload(texts[number % 2] + route((one, two)[number % 2]))
                until(lambda served=served: sum(load.served) > served, "a client")  # type: ignore[misc]
        assert not load.failures
        served = sum(load.served)
        proxy.process.terminate()
        assert proxy.process.wait(PATIENCE) == 0
        ends = [
            record
            for name in ("a", "b")
            for record in with_action(records(proxy.home / f"{name}.jsonl"), "session.end")
        ]
        assert len(ends) == served


def test_p66_memory_and_descriptors_do_not_grow_over_reloads(
    one: int, two: int, tmp_path: Path
) -> None:
    texts = [
        f'[record]\njsonl = ["{name}.jsonl"]\n' + route(port, "pop3+stls://127.0.0.1:0")
        for name, port in (("a", one), ("b", two))
    ]
    with running(tmp_path / "x", texts[0]) as proxy, contextlib.ExitStack() as stack:
        stack.enter_context(greeted(proxy.port)[0])  # a session that sees all of it

        def reload(times: int) -> tuple[int, int]:
            for number in range(times):
                proxy.reload(texts[number % 2])
                name_behind(proxy.port)
            until(lambda: proxy.open_files() < files + 20, "files to be closed")
            return proxy.memory(), proxy.open_files()

        files = proxy.open_files()
        memory, files = reload(60)
        grown_memory, grown_files = reload(200)
        assert grown_files <= files + 4
        assert grown_memory - memory < 4 * 1024 * 1024
