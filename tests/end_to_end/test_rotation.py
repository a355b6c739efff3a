"""Files that a live popproxy sets aside by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_reload import Load
from tests.support.chained import verify
from tests.support.proxy import records, with_action
from tests.support.reloading import greeting, route, running
from tests.support.waiting import PATIENCE, until

TEXT = '[record]\njsonl = ["all.jsonl"]\n[files]\nrotate_size = 65536\n'


@pytest.fixture
def one() -> Iterator[int]:
    with greeting(b"one") as port:
        yield port


def test_p62_full_files_are_set_aside_under_load(one: int, tmp_path: Path) -> None:
    with running(tmp_path / "x", TEXT + route(one)) as proxy:

        def files() -> list[Path]:
            return list(proxy.home.glob("all*.jsonl"))

        with Load(proxy.port, 4) as load:
            until(lambda: len(files()) > 3, "three files set aside")
        assert not load.failures
        proxy.process.terminate()
        assert proxy.process.wait(PATIENCE) == 0
        found = [record for path in files() for record in records(path)]
        assert len(with_action(found, "session.end")) == sum(load.served)
        by_session: dict[str, list[int]] = {}
        for record in found:
            by_session.setdefault(record["session"]["id"], []).append(record["session"]["seq"])
        for numbers in by_session.values():
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), "all of them, once each"
        assert not with_action(found, "gap")
        assert verify(*files()).whole
        assert all(path.read_bytes().endswith(b"\n") for path in files())
        assert all(path.stat().st_size < 2**20 for path in files()), (
            "the size, or what is written at once"
        )
        assert {path.stat().st_mode & 0o777 for path in files()} == {0o600}
