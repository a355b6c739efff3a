"""`popproxy check` and `popproxy stats`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from popproxy.cli.errors import Status
from popproxy.cli.main import main
from popproxy.formats import jsonl
from tests.support.conversations import SECRET, load_all
from tests.support.make_samples import SAMPLES, records
from tests.support.records import HARMFUL
from tests.support.terminal import SGR

ODDITIES, ORDINARY = str(SAMPLES / "oddities.jsonl"), str(SAMPLES / "session.jsonl")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([ODDITIES], Status.FAILED),
        (["--fail-on", "never", ODDITIES], Status.DONE),
        (["--session", "6", "--fail-on", "error", ODDITIES], Status.DONE),
        (["--session", "6", ODDITIES], Status.FAILED),
        (["--session", "6", "--severity", "error", ODDITIES], Status.FAILED),
        ([ORDINARY], Status.DONE),
    ],
)
def test_the_exit_status_is_the_verdict(
    arguments: list[str], status: Status, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments], {}) == status
    assert capsys.readouterr().out


def test_a_finding_is_told_with_its_section_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", ODDITIES], {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "7 sessions, 33 commands, 4 findings"
    assert "warning  stls-refused  RFC 2595 section 4" in lines
    assert any("command 2 (STLS), server" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", "--json", "--severity", "error", ODDITIES], {})
    told = json.loads(capsys.readouterr().out)
    assert told["sessions"] == 7
    assert [one["code"] for one in told["findings"]] == [
        "ambiguous-termination",
        "response-cut-off",
    ]


def test_stats_has_every_sum(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", ODDITIES], {}) == Status.DONE
    out = capsys.readouterr().out
    assert "sessions   7 (server-closed 7)" in out
    assert "logins     8 (success 7, failure 1)" in out
    main(["stats", "--json", ODDITIES], {})
    told = json.loads(capsys.readouterr().out)
    assert told["commands"]["STLS"]["err"] == 1
    assert told["users"]["ada"]["sessions"] == 6
    assert told["commands"]["AUTH"]["durations"]["p50"] == 6_250_000


def test_peer_text_is_harmless_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all"
    with path.open("wb") as file:
        for number, conversation in enumerate(load_all()):
            file.writelines(map(jsonl.encode, records(conversation.name, number)))
    for verb in ("check", "stats"):
        main([verb, "--color", "never", str(path)], {})
        out = capsys.readouterr().out
        assert out
        assert not set(out) & set(HARMFUL) - {"\n"}
        assert SECRET.decode() not in out


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_it_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for verb in ("check", "stats"):
        screen = Screen()
        monkeypatch.setattr(sys, "stdout", screen)
        main([verb, "--no-pager", ODDITIES], {"TERM": "xterm-256color"})
        lines = SGR.sub("", screen.getvalue()).splitlines()
        assert max(map(cell_len, lines)) < max(columns, len(ODDITIES) + 1)
        assert ("a wider terminal shows" in " ".join(lines)) == (verb == "stats" and columns == 40)
        assert ("popproxy show -Y" in " ".join(lines)) == (verb == "check")
        assert "\x1b[" in screen.getvalue()


def test_times_that_are_made_up_are_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    main(["stats", "--json", str(SAMPLES / "imports" / "transcript.txt")], {})
    told = json.loads(capsys.readouterr().out)
    assert told["commands"]["USER"]["count"] == 1
    assert told["commands"]["USER"]["durations"]["count"] == 0
