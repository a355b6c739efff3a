"""Debian's logrotate on the files of a live popproxy, by config/logrotate.conf."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_reload import Load
from tests.support.programs import find, needs
from tests.support.proxy import Record, records_in, wait_for_sessions_to_end, with_action
from tests.support.reloading import Reloading, greeting, name_behind, route, running
from tests.support.waiting import PATIENCE, until

EXAMPLE = Path(__file__).parents[2] / "config" / "logrotate.conf"
TEXT = '[record]\njsonl = ["all.jsonl"]\n'


@pytest.fixture
def one() -> Iterator[int]:
    with greeting(b"one") as port:
        yield port


class Logrotate:
    """The example, for one popproxy."""

    def __init__(self, proxy: Reloading, *, copying: bool = False) -> None:
        text = EXAMPLE.read_text("utf-8")
        if copying:
            [block] = re.findall(r"^#/var/log/popproxy/.*^#}$", text, re.MULTILINE | re.DOTALL)
            text = re.sub(r"^#", "", block, flags=re.MULTILINE)
            assert "copytruncate" in text
        else:
            told, count = re.subn(r"systemctl kill .*", f"kill -HUP {proxy.process.pid}", text)
            assert count == 1
            text = told
        self._home = proxy.home
        self._configuration = proxy.home / "logrotate.conf"
        self._configuration.write_text(text.replace("/var/log/popproxy/", f"{proxy.home}/"))
        self._configuration.chmod(0o644)

    def rotate(self) -> None:
        """Rotate now, and wait until the next rotation can have another name."""
        program = find("logrotate")
        assert program
        done = subprocess.run(
            [program, "-f", "-s", self._home / "state", self._configuration],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert (done.returncode, done.stderr) == (0, "")
        # logrotate asks by time(2), which turns to the next second some milliseconds late.
        later = int(time.time()) + 1.1
        until(lambda: time.time() > later, "another second, and another name")

    def files(self) -> list[Path]:
        """Give the rotated files and the one that is written, in the order of their age."""
        found = self._home.glob("all.jsonl*")
        return sorted(found, key=lambda path: (path.name == "all.jsonl", path.name))


def read(path: Path) -> list[Record]:
    """Read a file, whether it was compressed or not; every line has to be a record."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = subprocess.run(["gzip", "-dc", path], capture_output=True, check=True).stdout
    assert not data or data.endswith(b"\n")
    return records_in(data)


@needs("logrotate")
@pytest.mark.parametrize("process", ["", "[process]\nworkers = 2\n"], ids=["alone", "workers"])
def test_p62_logrotate_renames_under_load(process: str, one: int, tmp_path: Path) -> None:
    # Both workers' files fit the pattern: all-w1.jsonl, all-w2.jsonl.
    with running(tmp_path / "x", TEXT + process + route(one)) as proxy:
        logrotate = Logrotate(proxy)
        streams = 2 if process else 1

        def written() -> bool:
            sizes = [path.stat().st_size for path in proxy.home.glob("all*.jsonl")]
            return len(sizes) == streams and all(sizes)

        with Load(proxy.port, 4) as load:
            for _ in range(3):
                until(written, "records in all files")
                logrotate.rotate()
        assert not load.failures
        proxy.process.terminate()
        assert proxy.process.wait(PATIENCE) == 0
        files = sorted(proxy.home.glob("all*.jsonl*"))
        assert len(files) == 4 * streams
        assert sum(path.suffix == ".gz" for path in files) == 2 * streams
        found = [record for path in files for record in read(path)]
        assert len(with_action(found, "session.end")) == sum(load.served)
        by_session: dict[str, list[int]] = {}
        for record in found:
            by_session.setdefault(record["session"]["id"], []).append(record["session"]["seq"])
        for numbers in by_session.values():
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), "all of them, once each"
        assert not with_action(found, "gap")
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


@needs("logrotate")
def test_p62_logrotate_copies_and_cuts(one: int, tmp_path: Path) -> None:
    with running(tmp_path / "x", TEXT + route(one)) as proxy:
        logrotate = Logrotate(proxy, copying=True)
        for turn in range(1, 4):
            for _ in range(turn):
                assert name_behind(proxy.port) == b"one"
            wait_for_sessions_to_end(proxy.home / "all.jsonl", turn)
            logrotate.rotate()
            assert (proxy.home / "all.jsonl").stat().st_size == 0
        assert name_behind(proxy.port) == b"one"
        wait_for_sessions_to_end(proxy.home / "all.jsonl")
        counts = [len(with_action(read(path), "session.end")) for path in logrotate.files()]
        assert sorted(counts) == [1, 1, 2, 3], "between sessions, nothing is lost"
        # Under load, logrotate itself loses what comes between the copy and the cut; what is
        # left is whole lines, but for a last one of a copy.
        with Load(proxy.port, 4) as load:
            for _ in range(3):
                served = sum(load.served)
                until(lambda served=served: sum(load.served) > served + 20, "clients")  # type: ignore[misc]
                logrotate.rotate()
        assert not load.failures
        proxy.process.terminate()
        assert proxy.process.wait(PATIENCE) == 0
        read(proxy.home / "all.jsonl")
        for path in logrotate.files()[:-1]:
            whole, _, torn = path.read_bytes().rpartition(b"\n")
            for line in whole.splitlines():
                json.loads(line)
            assert b"\x00" not in torn
