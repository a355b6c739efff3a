"""Captures on the command line: which sessions, and what is said of those that are damaged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from popproxy.cli.captures import choice, opened
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.main import main
from popproxy.cli.options import Invocation
from popproxy.tools.sessions import Choice
from tests.support.make_samples import SAMPLES

CAPTURE = SAMPLES / "oddities.jsonl"


def chosen(**which: str | None) -> Choice:
    nothing = {"session": None, "user": None, "since": None, "until": None}
    return choice(**nothing | which)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-11-22T14:00:00Z", datetime(2026, 11, 22, 14, tzinfo=UTC)),
        ("2026-11-22 15:00+01:00", datetime(2026, 11, 22, 14, tzinfo=UTC)),
        ("2026-11-22", datetime(2026, 11, 22).astimezone()),
        (" 2026-11-22 14:30 ", datetime(2026, 11, 22, 14, 30).astimezone()),
    ],
)
def test_times(text: str, when: datetime) -> None:
    assert chosen(since=text, until=text) == Choice(since=when, until=when)


@pytest.mark.parametrize(("text", "ago"), [("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400)])
def test_times_ago(text: str, ago: int) -> None:
    since = chosen(since=text).since
    assert since is not None
    assert abs(datetime.now(UTC) - timedelta(seconds=ago) - since) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2", "h", "1234567d", "999999w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match=r"--since: .* is no time") as caught:
        chosen(since=text)
    assert caught.value.status is Status.USAGE


@pytest.mark.parametrize(
    ("which", "sessions"),
    [
        ({}, 7),
        ({"session": "3"}, 1),
        ({"session": "sam0002"}, 1),
        ({"session": "99"}, 0),
        ({"user": "ada"}, 6),
        ({"since": "2026-11-22T14:02:11Z"}, 7),
        ({"since": "2026-11-23"}, 0),
        ({"until": "2026-11-21"}, 0),
    ],
)
def test_sessions_are_chosen(which: dict[str, str], sessions: int) -> None:
    with opened(str(CAPTURE), None, Invocation(env={})) as capture:
        records = list(capture.records(chosen(**which)))
    assert len({record.session.id for record in records}) == sessions


def test_damage_is_told_and_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "capture"
    lines = CAPTURE.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" * 30 + b"".join(lines[1:]))
    with opened(str(path), None, Invocation(env={})) as capture:
        # A user is known at the end only, so the file is read twice; it is told once.
        assert list(capture.records(chosen(user="ada")))
        assert capture.damaged == 30
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 11  # the hint behind the tenth is the last line
    assert told[0].startswith(f"popproxy: {path}, line 2: ")
    assert told[-1].startswith("  If there are more such places")


@pytest.mark.parametrize("verb", ["check", "stats"])
def test_what_cannot_be_read_is_told(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "junk").write_bytes(b"\x00\x01\x1b[2Jjunk")
    for name in ("empty", "junk", "missing", "."):
        assert main([verb, str(tmp_path / name)], {}) == Status.FAILED
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"popproxy: {tmp_path / name}")
        assert "\x1b" not in captured.err
    assert main([verb, "--from", "jsonlines", str(CAPTURE)], {}) == Status.USAGE
    assert "did you mean jsonl?" in capsys.readouterr().err.lower()
    assert main([verb, "--since", "soon", str(CAPTURE)], {}) == Status.USAGE
