"""The long runs of `python -m tests.endurance`, in short."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.endurance.__main__ import main
from tests.endurance.chaos import chaos
from tests.endurance.disk import disk
from tests.endurance.kill import kill
from tests.endurance.million import million
from tests.endurance.rig import Outcome
from tests.endurance.soak import soak
from tests.endurance.storm import holes, resets, storm
from tests.support.root import only_root


def held(outcome: Outcome) -> None:
    assert outcome.well, "\n".join(outcome.lines())


def test_p66_sessions_at_a_rate_leave_nothing_behind_and_all_are_recorded(tmp_path: Path) -> None:
    held(soak(tmp_path, rate=200, seconds=2))


def test_p64_after_kill_9_nothing_older_than_a_second_is_lost_and_the_chain_is_whole(
    tmp_path: Path,
) -> None:
    held(kill(tmp_path, times=3))


@pytest.mark.parametrize("seed", [2, 3])
def test_p62_p64_whatever_is_renamed_or_killed_the_chain_is_whole(
    tmp_path: Path, seed: int
) -> None:
    held(chaos(tmp_path, lives=3, seed=seed))


def test_p55_p57_each_client_of_a_flood_is_served(tmp_path: Path) -> None:
    held(storm(tmp_path, connections=500, seconds=1))


def test_p26_p57_resets_at_each_step_end_their_session_and_nothing_else(tmp_path: Path) -> None:
    held(resets(tmp_path, times=4))


def test_p53_p58_p60_who_never_answers_or_reads_holds_little_and_no_other_up(
    tmp_path: Path,
) -> None:
    held(holes(tmp_path, clients=8))


@only_root
def test_p61_a_disk_that_is_full_again_and_again_costs_what_is_told(tmp_path: Path) -> None:
    held(disk(tmp_path, times=2, seconds=1))


def test_many_records_verify_in_little_memory_and_the_one_that_is_missing_is_named(
    tmp_path: Path,
) -> None:
    held(million(tmp_path, records=20_000))


def test_a_figure_that_is_wrong_is_a_failure() -> None:
    outcome = Outcome("run")
    outcome.tell("sessions", 1200, well=True)
    outcome.tell("files", 1)
    assert outcome.well
    outcome.tell("lost", 3, well=False)
    assert not outcome.well
    assert list(outcome.lines())[2:] == [
        "| sessions | 1,200 | ok |",
        "| files | 1 |  |",
        "| lost | 3 | NOT OK |",
    ]


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    assert (
        main(["--folder", str(tmp_path), "storm", "--connections", "20", "--seconds", "0.1"]) == 0
    )
