"""samples/ holds what the program makes today, and its readers give the records back."""

from __future__ import annotations

import pytest

from popproxy import formats
from tests.support.conversations import SECRET
from tests.support.make_samples import CAPTURES, SAMPLES, records, samples


def test_samples_are_what_the_program_makes() -> None:
    made = samples()
    kept = {path.name: path.read_bytes() for path in SAMPLES.iterdir() if path.is_file()}
    assert kept == made, "run: uv run python -m tests.support.make_samples"


@pytest.mark.parametrize("name", CAPTURES)
def test_samples_can_be_read_back(name: str) -> None:
    expected = [
        record
        for number, conversation in enumerate(CAPTURES[name], 1)
        for record in records(conversation, number)
    ]
    with (SAMPLES / f"{name}.jsonl").open("rb") as lines:
        assert list(formats.jsonl.read(lines)) == expected
    with (SAMPLES / f"{name}.txt").open("rb") as lines:
        assert list(formats.text.read(lines)) == expected


def test_samples_hold_no_secret() -> None:
    for path in SAMPLES.rglob("*.*"):
        assert SECRET not in path.read_bytes()
