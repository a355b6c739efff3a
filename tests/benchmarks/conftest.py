"""What the tests share: the kit in C, built once, and a peer that is always there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.benchmarks.certificates import Certificates
from tests.benchmarks.kit import Kit
from tests.benchmarks.peers import PEERS, Peer
from tests.benchmarks.rounds import Stage, set_up


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield set_up(stack, tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="session")
def kit(stage: Stage) -> Kit:
    return stage.kit


@pytest.fixture(scope="session")
def certificates(stage: Stage) -> Certificates:
    return stage.certificates


@pytest.fixture
def bare_relay() -> Peer:
    """The relay that the benchmark contains; it needs nothing but what popproxy needs."""
    return next(peer for peer in PEERS if peer.name == "bare-trio")
