"""One session that leads to every kind of record, written down whole and read by eye.

`uv run python -m tests.privacy.test_whole_records` writes the records anew; look at the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from popproxy.privacy import Policy
from tests.support.conversations import SECRET, by_name
from tests.support.recording import play

NAME = "every-kind-of-record"
POLICIES = {"full": Policy(), "headers": Policy(body="headers", require_log=True)}


def told(policy: str) -> list[str]:
    """The records as lines of JSON, without the first: it holds the program's version."""
    return play(by_name(NAME), SECRET, POLICIES[policy]).decode().splitlines()[1:]


def written(policy: str) -> Path:
    """Where they are written down."""
    return Path(__file__).with_name(f"{NAME}.{policy}.jsonl")


@pytest.mark.parametrize("policy", POLICIES)
def test_every_record_is_as_it_was_written_down(policy: str) -> None:
    assert told(policy) == written(policy).read_text("utf-8").splitlines()


if __name__ == "__main__":
    for each in POLICIES:
        written(each).write_text("\n".join(told(each)) + "\n", "utf-8")
