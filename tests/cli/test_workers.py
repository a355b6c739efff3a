"""`workers = n`: a parent and the processes that serve."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from popproxy.cli.reload import own_path
from tests.cli.test_reload import Load
from tests.support.everybodys import everybodys_popproxy
from tests.support.proxy import records, with_action
from tests.support.reloading import (
    Reloading,
    greeted,
    greeting,
    line,
    name_behind,
    route,
    running,
)
from tests.support.root import only_root
from tests.support.running import AS_ROOT, NOWHERE, run
from tests.support.waiting import PATIENCE, until

RECORD = '[record]\njsonl = ["all-&W.jsonl"]\n[process]\nworkers = 2\n'


@pytest.fixture
def one() -> Iterator[int]:
    with greeting(b"one") as port:
        yield port


@pytest.fixture
def two() -> Iterator[int]:
    with greeting(b"two") as port:
        yield port


def workers_of(proxy: Reloading) -> list[int]:
    """Give the processes of its workers, in the order in which they were started."""
    lists = Path(f"/proc/{proxy.process.pid}/task").glob("*/children")
    return sorted(int(one) for children in lists for one in children.read_text().split())


def sessions(proxy: Reloading, number: int, action: str = "session.end") -> int:
    """Count the sessions that a worker has recorded."""
    path = proxy.home / f"all-{number}.jsonl"
    return path.read_bytes().count(b'"action":"%b"' % action.encode()) if path.exists() else 0


def test_both_workers_serve_and_each_writes_files_of_its_own(one: int, tmp_path: Path) -> None:
    with running(tmp_path / "x", RECORD + route(one)) as proxy:
        assert len(workers_of(proxy)) == 2
        assert proxy.said.count("listening on") == 1
        group = os.getpgid(proxy.process.pid)
        assert group not in map(os.getpgid, workers_of(proxy)), "Ctrl-C is for the parent"
        with Load(proxy.port, 6) as load:
            until(lambda: sessions(proxy, 1) and sessions(proxy, 2), "sessions in both workers")
        assert not load.failures
        proxy.process.terminate()
        assert proxy.process.wait(PATIENCE) == 0
        counts = [
            len(with_action(records(proxy.home / f"all-{n}.jsonl"), "session.end")) for n in (1, 2)
        ]
        assert sum(counts) == sum(load.served)


def test_messages_in_json_say_which_worker_speaks(one: int, tmp_path: Path) -> None:
    text = RECORD + '[limits]\nconnections_per_client = 2\n[log]\nformat = "json"\n' + route(one)
    with running(tmp_path / "x", text) as proxy:
        clients = [greeted(proxy.port)[0] for _ in range(6)]
        os.kill(workers_of(proxy)[0], signal.SIGKILL)
        until(lambda: "worker-ended" in proxy.said, "the message")
        told = [json.loads(one) for one in proxy.said.splitlines()]
        refused = [one for one in told if one["event"] == "client-refused"]
        assert refused
        assert all(one["worker"] in (1, 2) for one in refused)
        (ended,) = [one for one in told if one["event"] == "worker-ended"]
        assert "worker" not in ended, "the parent speaks"
        for client in clients:
            client.close()


def test_clients_are_dealt_out_to_workers(one: int, tmp_path: Path) -> None:
    with running(tmp_path / "x", RECORD + route(one)) as proxy:
        clients = [greeted(proxy.port)[0] for _ in range(48)]
        counts = until(
            lambda: (
                sum(found := [sessions(proxy, n, "session.start") for n in (1, 2)]) == 48 and found
            ),
            "the sessions",
        )
        assert min(counts or [0]) >= 8, counts
        for client in clients:
            client.close()


def test_a_worker_that_is_killed_loses_only_the_sessions_that_it_had(
    one: int, tmp_path: Path
) -> None:
    with running(tmp_path / "x", RECORD + route(one)) as proxy:
        victim, survivor = workers_of(proxy)
        # While one stands still, the other takes its clients; while both do, clients wait.
        os.kill(victim, signal.SIGSTOP)
        assert {name_behind(proxy.port) for _ in range(12)} == {b"one"}
        os.kill(survivor, signal.SIGSTOP)
        waiting = [socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) for _ in range(8)]
        os.kill(victim, signal.SIGKILL)
        os.kill(survivor, signal.SIGCONT)
        for client in waiting:
            with client:
                assert line(client) == b"+OK one"
        until(lambda: victim not in (now := workers_of(proxy)) and len(now) == 2, "another worker")
        assert survivor in workers_of(proxy)
        until(lambda: "worker 1 ended (signal SIGKILL) and is started again" in proxy.said, "word")
        before = sessions(proxy, 1)
        with Load(proxy.port, 6) as load:
            until(lambda: sessions(proxy, 1) > before, "a session in the new worker")
        assert not load.failures
        [again] = {*workers_of(proxy)} - {survivor}
        os.kill(again, signal.SIGKILL)
        until(lambda: "is started again in 1 seconds" in proxy.said, "a pause")
        assert name_behind(proxy.port) == b"one"


def test_a_foreign_variable_of_workers_is_refused(tmp_path: Path) -> None:
    result = run("run", *AS_ROOT, "--upstream", NOWHERE, cwd=tmp_path, POPPROXY_WORKER="few")
    assert result.returncode == 2
    assert "Unset it" in result.stderr


def test_p63_draining_waits_for_sessions_and_a_second_signal_ends_them(
    one: int, tmp_path: Path
) -> None:
    with running(tmp_path / "x", RECORD + route(one)) as proxy:
        client, _ = greeted(proxy.port)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping: no new clients" in proxy.said, "the first signal's effect")

        def refuses() -> bool:
            try:
                socket.create_connection(("127.0.0.1", proxy.port), PATIENCE).close()
            except ConnectionRefusedError:
                return True
            return False

        until(refuses, "the listeners' end")
        client.sendall(b"NOOP\r\n")
        assert line(client) == b"+OK"
        assert proxy.process.poll() is None
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(PATIENCE) == 0
        client.close()
        assert proxy.said.count("stopping") == 1


def test_workers_end_when_their_parent_is_gone(one: int, tmp_path: Path) -> None:
    with running(tmp_path / "x", RECORD + route(one)) as proxy:
        numbers = workers_of(proxy)
        proxy.process.kill()
        proxy.process.wait()
        for number in numbers:
            until(lambda number=number: ended(number), "the worker's end")  # type: ignore[misc]


def ended(number: int) -> bool:
    """Say whether a process is gone, or only waits for somebody to ask how it ended."""
    try:
        return ") Z " in Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_p62_a_reload_reaches_all_workers_and_a_wrong_one_reaches_none(
    one: int, two: int, tmp_path: Path
) -> None:
    first = RECORD + route(one)
    with running(tmp_path / "x", first) as proxy:
        with Load(proxy.port, 4) as load:
            said = proxy.reload(RECORD + "[limits]\nconections = 1\n" + route(two))
            assert "limits.conections: there is no such setting" in said
            assert said.count("was not put in force") == 1
            assert {name_behind(proxy.port) for _ in range(20)} == {b"one"}
            proxy.reload(RECORD + route(two) + route(one, "pop3://127.0.0.1:0", 'name = "more"'))
            until(
                lambda: all(name_behind(proxy.port) == b"two" for _ in range(40)), "all to follow"
            )
        assert not load.failures
        ports = until(lambda: len(found := proxy.ports()) == 2 and found, "the second listener")
        assert ports
        with Load(ports[1], 4) as load:
            until(lambda: all(sessions_of_more(proxy, n) for n in (1, 2)), "both on the new one")
        assert not load.failures
        # A worker that is started again has no use for the file: it serves by what is in force.
        proxy.write("nonsense")
        victim = workers_of(proxy)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in workers_of(proxy) and len(workers_of(proxy)) == 2, "another")
        before = sessions(proxy, 1)
        with Load(proxy.port, 4) as load:
            until(lambda: sessions(proxy, 1) > before, "a session in the new worker")
        assert not load.failures
        assert {name_behind(proxy.port) for _ in range(20)} == {b"two"}


def sessions_of_more(proxy: Reloading, number: int) -> bool:
    path = proxy.home / f"all-{number}.jsonl"
    return b'"name":"more"' in path.read_bytes()


def test_p12_pseudonyms_are_the_same_in_all_workers(one: int, tmp_path: Path) -> None:
    text = RECORD.replace("[process]", "mask_users = true\n[process]") + route(one)
    with running(tmp_path / "x", text) as proxy:

        def both_had_one() -> bool:
            client, _ = greeted(proxy.port)
            with client:
                client.sendall(b"USER wren\r\n")
                assert line(client) == b"+OK"
            return bool(sessions(proxy, 1) and sessions(proxy, 2))

        until(both_had_one, "a user in each worker")
        proxy.process.terminate()
        assert proxy.process.wait(PATIENCE) == 0
        said = {
            record["raw"]
            for n in (1, 2)
            for record in with_action(records(proxy.home / f"all-{n}.jsonl"), "pop3.command")
        }
        assert len(said) == 1
        assert "wren" not in said.pop()


def test_p55_limits_hold_in_all(one: int, tmp_path: Path) -> None:
    text = RECORD + "[limits]\nconnections = 4\n" + route(one)
    with running(tmp_path / "x", text) as proxy:
        clients, served = [], 0
        for _ in range(12):
            client, said = greeted(proxy.port)
            clients.append(client)
            served += said == b"+OK one"
        assert 2 <= served <= 4
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[record]\njsonl = ["-"]\n', "several workers cannot write to one stream, as -"),
        ("", "several workers cannot write to one stream, and no file is named"),
    ],
)
def test_workers_share_no_stream(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "popproxy.toml").write_text(
        f'{text}[process]\nworkers = 2\n[[route]]\nupstream = "{NOWHERE}"\n'
    )
    result = run("run", *AS_ROOT, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr


def test_a_port_in_use_is_status_3_with_workers_too(one: int, tmp_path: Path) -> None:
    (tmp_path / "popproxy.toml").write_text(RECORD + route(one, f"pop3://127.0.0.1:{one}") + "")
    result = run(
        "run", *AS_ROOT, "--upstream", NOWHERE, "--listen", f"pop3://127.0.0.1:{one}", cwd=tmp_path
    )
    assert result.returncode == 3
    assert result.stderr.count("the port is in use") == 1


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("logs/all.jsonl", "logs/all-w2.jsonl"),
        ("logs.d/all", "logs.d/all-w2"),
        ("&S.log", "&S-w2.log"),
        (".hidden", ".hidden-w2"),
        ("&W/&S.log", "2/&S.log"),
        ("&&W-&w.log", "&&W-2.log"),
        ("&&W.log", "&&W-w2.log"),
        ("-", "-"),
    ],
)
def test_each_worker_has_paths_of_its_own(path: str, own: str) -> None:
    assert own_path(path, 2) == own


def free_privileged_port() -> int:
    """Give a port below 1024 of 127.0.0.1 that nobody listens on."""
    for port in range(1023, 599, -1):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port below 1024 is free")


@only_root
def test_p70_a_port_below_1024_is_served_by_workers_that_have_given_root_up(one: int) -> None:
    user = pwd.getpwnam("nobody")
    with everybodys_popproxy() as (command, env, root):
        home = root / "home"
        home.mkdir()
        os.chown(home, user.pw_uid, user.pw_gid)
        port = free_privileged_port()
        text = RECORD + 'user = "nobody"\n' + route(one, f"pop3://127.0.0.1:{port}")
        with running(home, text, command=command, env=env) as proxy:
            assert proxy.port == port
            for number in (proxy.process.pid, *workers_of(proxy)):
                assert ids_of(number) == {user.pw_uid}, "real, effective, saved and of files"
            assert name_behind(port) == b"one"
            # One that is started later has the port, too, though nobody could open it any more.
            victim = workers_of(proxy)[0]
            before = sessions(proxy, 1)
            os.kill(victim, signal.SIGKILL)
            until(lambda: victim not in (now := workers_of(proxy)) and len(now) == 2, "another")
            with Load(port, 4) as load:
                until(lambda: sessions(proxy, 1) > before, "a session in the new worker")
            assert not load.failures
            proxy.reload()
            assert name_behind(port) == b"one"
            assert (home / "all-1.jsonl").stat().st_uid == user.pw_uid
            assert "below 1024 need privileges" in proxy.reload(
                text.replace(f":{port}", f":{free_privileged_port()}")
            )
            proxy.process.terminate()
            assert proxy.process.wait(PATIENCE) == 0


def ids_of(number: int) -> set[int]:
    """Give a process's user ids."""
    status = Path(f"/proc/{number}/status").read_text()
    [found] = re.findall(r"^Uid:\s+(.*)$", status, re.MULTILINE)
    return {int(one) for one in found.split()}
