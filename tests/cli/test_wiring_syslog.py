"""Settings of syslog outputs: what is wrong is told before anything is sent, and what it means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from popproxy.cli import wiring
from popproxy.cli.config import Configuration, Layers, build
from popproxy.cli.errors import ConfigurationError
from popproxy.cli.settings import Facility, Settings, SyslogSettings
from popproxy.cli.sources import read_text
from popproxy.cli.wiring_syslog import Place, for_worker, parse, warnings, with_spool
from popproxy.formats.syslog import FACILITIES
from tests.support.collecting_syslog import FakeCollector, places
from tests.support.proxy import records, records_in, wait_for_sessions_to_end
from tests.support.reloading import greeting, name_behind, route, running
from tests.support.running import AS_ROOT, run
from tests.support.waiting import until

TCP = "syslog+tcp://127.0.0.1"
UNSEALED = "[chain]\nseal = false\n"  # so that all that is sent are records


def configured(text: str, checked: bool = True) -> Configuration:
    layers = Layers()
    read_text(layers, '[[route]]\nupstream = "pop3://pop.example.org"\n' + text, "popproxy.toml")
    return build(layers, wiring.check if checked else None)


def mistakes(syslog: str, text: str = "", more: str = "") -> list[str]:
    try:
        configured(f"[record]\nsyslog = [{syslog}]\n[syslog]\n{text}\n{more}\n")
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("syslog+tls://a.example", Place(True, "a.example", 6514)),
        ("syslog+tls://a.example:7000/", Place(True, "a.example", 7000)),
        ("syslog+tcp://127.0.0.1", Place(False, "127.0.0.1", 601)),
        ("syslog+tcp://[::1]:602", Place(False, "::1", 602)),
        ("syslog+udp://a.example", None),
        ("syslog://a.example", None),
        ("syslog+tcp://", None),
        ("syslog+tcp://a:0", None),
        ("syslog+tcp://a:65536", None),
        ("syslog+tcp://me:secret@a", None),
        ("syslog+tcp://a/b", None),
        ("a.example:601", None),
    ],
)
def test_urls(url: str, place: Place | None) -> None:
    assert parse(url) == place


def test_facilities_of_the_settings_are_those_of_the_format() -> None:
    assert get_args(Facility) == FACILITIES


@pytest.mark.parametrize("host", ["../../etc", "a/b", "::1", "..", "a b"])
def test_p48_a_host_leads_to_no_other_folder(host: str) -> None:
    folder = Place(False, host, 601).folder
    assert "/" not in folder
    assert folder not in (".", "..")


@pytest.mark.parametrize(
    ("syslog", "text", "said"),
    [
        (
            "'udp://a'",
            "",
            "popproxy.toml:4: record.syslog: udp://a is no URL of a syslog",
        ),
        (f"'{TCP}', '{TCP}:601'", "", f"the collector of {TCP}:601 is named twice"),
        (f"'{TCP}', 'syslog+tls://127.0.0.1:601'", "", "is named twice"),
        (f"'{TCP}'", "sd_id = 'popproxy'", "syslog.sd_id: 'popproxy' is no SD-ID"),
        (f"'{TCP}'", "max_size = 1000", "expected a whole number of at least 2048, found 1000"),
        (f"'{TCP}'", "spool_size = 1000", "expected a whole number of at least 1048576"),
        (f"'{TCP}'", "max_size = 1000000\nspool_size = 1048576", "does not fit"),
        (f"'{TCP}'", "ca = '/nowhere/ca.pem'", "syslog.ca: there is no file /nowhere/ca.pem"),
        (f"'{TCP}'", "client_key = '/dev/null'", "there is a key, and no certificate"),
        (f"'{TCP}'", "facility = 'local8'", 'found "local8"'),
    ],
)
def test_mistakes_are_told(syslog: str, text: str, said: str) -> None:
    assert said in "\n".join(mistakes(syslog, text))


def test_whoever_becomes_another_user_names_the_spool() -> None:
    user = "[process]\nuser = 'nobody'"
    assert "no folder is named for what waits" in mistakes(f"'{TCP}'", "", user)[0]
    assert not mistakes(f"'{TCP}'", "spool = '/var/spool/x'", user)
    assert not mistakes("", "", user)


def test_several_workers_need_no_file_beside_a_collector() -> None:
    assert not mistakes(f"'{TCP}'", "", "[process]\nworkers = 2")
    assert mistakes("", "", "[process]\nworkers = 2")


def test_each_worker_has_a_spool_of_its_own() -> None:
    found = with_spool(configured("[record]\nsyslog = []\n"), {"HOME": "/home/me"})
    spools = [for_worker(found.settings, number).spool for number in (1, 2)]
    assert spools == [f"/home/me/.local/state/popproxy/syslog/w{number}" for number in (1, 2)]
    found = with_spool(found, {"XDG_STATE_HOME": "/other"})
    assert for_worker(found.settings, 3).spool == "/home/me/.local/state/popproxy/syslog/w3"


def test_records_in_the_clear_beyond_this_machine_are_warned_about() -> None:
    urls = f"'{TCP}', 'syslog+tcp://log.example', 'syslog+tls://log2.example'"
    found = list(warnings(configured(f"[record]\nsyslog = [{urls}]\n")))
    assert len(found) == 1
    assert found[0].startswith("records go to syslog+tcp://log.example in the clear")


def test_files_of_tls_and_the_spool_are_looked_at_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    (tmp_path / "taken").write_text("a file")
    upstream = ("run", *AS_ROOT, "--upstream", "pop3://127.0.0.1:9", "--listen", "pop3://[::1]:0")
    secure = ("--syslog", "syslog+tls://localhost")
    broken = run(*upstream, *secure, cwd=tmp_path, POPPROXY_SYSLOG__CA="ca.pem")
    assert broken.returncode == 2
    assert "--syslog syslog+tls://localhost: ca.pem holds no certificates in PEM" in broken.stderr
    taken = run(*upstream, *secure, cwd=tmp_path, POPPROXY_SYSLOG__SPOOL="taken")
    assert taken.returncode == 2
    assert "cannot be used for a spool" in taken.stderr
    assert "Traceback" not in broken.stderr + taken.stderr


def test_a_reload_keeps_the_connection_of_a_collector_that_stays(tmp_path: Path) -> None:
    with FakeCollector() as collector, FakeCollector() as other, greeting(b"one") as port:
        first = f"syslog+tcp://127.0.0.1:{collector.port}"
        second = f"syslog+tcp://127.0.0.1:{other.port}"
        text = f'[record]\njsonl = ["all.jsonl"]\nsyslog = ["{first}"]\n' + UNSEALED + route(port)
        with running(tmp_path / "x", text) as proxy:
            kept = collector.accept()  # before the first record
            name_behind(proxy.port)
            said = proxy.reload(text.replace(f'"{first}"', f'"{first}", "{second}"'))
            assert "was read again" in said
            added = other.accept()
            name_behind(proxy.port)
            log = proxy.home / "all.jsonl"
            wait_for_sessions_to_end(log, 2)
            wanted = [(one["session"]["id"], one["session"]["seq"]) for one in records(log)]
            assert places(kept.read(len(wanted))) == wanted
            latest = wanted[-1][0]
            own = [one for one in wanted if one[0] == latest]
            assert places(added.read(len(own))) == own
            said = proxy.reload(text + "[syslog]\napp_name = 'other'\n")
            assert "syslog.app_name" in said, "changes of how it is sent take a restart"
            added.read_to_the_end()
            added.close()
            until(lambda: not waiting(proxy.home, other.port), "the end of the other spool")


def waiting(home: Path, port: int) -> bool:
    """Tell whether something lies in the spool of a collector."""
    folder = home / f".local/state/popproxy/syslog/w1/127.0.0.1-{port}"
    return any(folder.glob("*.spool"))


def test_what_waits_for_a_worker_or_a_collector_that_is_gone_is_told(tmp_path: Path) -> None:
    for folder in ("w1/127.0.0.1-601", "w1/gone-601", "w2/127.0.0.1-601", "w3/empty-601"):
        (tmp_path / folder).mkdir(parents=True)
        if "empty" not in folder:
            (tmp_path / folder / "0.spool").touch()
    text = f"[record]\nsyslog = ['{TCP}']\n[syslog]\nspool = '{tmp_path}'\n"
    alone, two = configured(text), configured(text + "[process]\nworkers = 2\n")
    said = "\n".join(warnings(alone))
    assert said.count("nobody sends them") == 2
    assert f"{tmp_path}/w1/gone-601" in said
    assert f"{tmp_path}/w2/127.0.0.1-601" in said
    own = replace(alone, settings=replace_spool(alone, for_worker(alone.settings, 1)))
    assert "\n".join(warnings(own)) == said
    assert "w2" not in "\n".join(warnings(two))


def replace_spool(configuration: Configuration, syslog: SyslogSettings) -> Settings:
    return msgspec.structs.replace(configuration.settings, syslog=syslog)


def test_each_worker_sends_what_it_recorded(tmp_path: Path) -> None:
    with FakeCollector() as collector, greeting(b"one") as port:
        url = f"syslog+tcp://127.0.0.1:{collector.port}"
        text = f'[record]\njsonl = ["&W.jsonl"]\nsyslog = ["{url}"]\n[process]\nworkers = 2\n'
        text += UNSEALED
        with running(tmp_path / "x", text + route(port)) as proxy:
            connections = [collector.accept(), collector.accept()]
            for _ in range(4):
                name_behind(proxy.port)
            ended = until(lambda: _ended(proxy.home, 4), "the end of four sessions")
            collected: set[tuple[str, int]] = set()
            for number, wanted in ended.items():
                spool = proxy.home / f".local/state/popproxy/syslog/w{number}"
                assert (spool / f"127.0.0.1-{collector.port}" / "lock").exists()
                collected |= wanted
            proxy.process.terminate()
            found = {place for one in connections for place in places(one.read_to_the_end())}
            assert found == collected


def _ended(home: Path, sessions: int) -> dict[int, set[tuple[str, int]]]:
    """Give what each worker recorded, when so many sessions have ended."""
    found = {
        number: records_in(log.read_bytes().rpartition(b"\n")[0])
        for number in (1, 2)
        if (log := home / f"{number}.jsonl").exists()
    }
    ends = sum(one["event"]["action"] == "session.end" for all_ in found.values() for one in all_)
    if ends < sessions:
        return {}
    return {
        number: {(one["session"]["id"], one["session"]["seq"]) for one in all_}
        for number, all_ in found.items()
    }
