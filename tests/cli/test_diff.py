"""`popproxy diff`: how it looks, and what it says when there is nothing to compare."""

from __future__ import annotations

import io
import json
import os
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
TWO = ("--session-a", "3", "--session-b", "7", ODDITIES)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 1) -> str:
    assert main(["diff", *argv], {}) == status
    return capsys.readouterr().out


def test_a_session_does_not_differ_from_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for other in (ORDINARY, str(SAMPLES / "session.txt")):
        out = printed(capsys, ORDINARY, other, status=Status.DONE)
        assert "no difference in 11 steps" in out
        assert "… 11 steps the same" in out
        told = json.loads(printed(capsys, "--json", ORDINARY, other, status=Status.DONE))
        assert (told["same"], told["rows"], told["steps"]) == (True, [], 11)
    out = printed(capsys, "--all", ORDINARY, ORDINARY, status=Status.DONE)
    assert out.count("C: retr 1") == 0
    assert out.count("C: RETR 1  (mail 1)") == 2


def test_sessions_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, *TWO).splitlines()
    assert any(line.split() == ["S:", "+OK", "≠", "S:", "+OK", "4000", "octets"] for line in lines)
    assert any(line.split()[:2] == ["C:", "NOOP"] and line.endswith(" <") for line in lines)
    assert any("size: 84 octets" in line and "≠    size: 33 octets" in line for line in lines)
    assert lines[-1].startswith("4 of 8 steps differ: ")


def test_the_other_way_round_is_the_mirror_image(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "--session-a", "7", "--session-b", "3", ODDITIES).splitlines()
    assert any(line.split() == [">", "C:", "NOOP"] for line in lines)


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_it_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(columns))
    env = {"TERM": "xterm-256color"}
    assert main(["diff", "--no-pager", *TWO], env) == Status.FAILED
    text = screen.getvalue()
    lines = SGR.sub("", text).splitlines()
    assert max(map(cell_len, lines)) < columns
    assert "\x1b[" in text
    if columns < 100:
        assert "- S: +OK" in lines
        assert "+ S: +OK 4000 octets" in lines
        assert "- C: NOOP" in lines
        assert "  C: QUIT" in lines


def test_json_tells_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed(capsys, "--json", *TWO))
    assert not told["same"]
    assert told["a"]["session"].endswith("sam0003")
    assert [row["a"] and row["a"]["command"] for row in told["rows"]] == [
        *("RETR", "RETR", "NOOP", "QUIT")
    ]
    assert told["rows"][0]["labels"] == ["mail 1", "mail 1"]
    assert {"what": "size", "a": "84 octets", "b": "33 octets"} in told["rows"][0]["differences"]
    assert told["rows"][1]["b"] is None


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        ([ORDINARY], 2, "both --session-a and --session-b"),
        ([ORDINARY, ODDITIES], 2, "several sessions"),
        ([ODDITIES, ORDINARY, "--session-a", "99"], 1, "no session fits"),
        ([ODDITIES, ORDINARY, "--session-a", "20261122t"], 2, "fits several"),
        (["-", "-"], 2, "once only"),
        ([ORDINARY, "nowhere"], 1, "No such file"),
        ([ORDINARY, os.devnull], 1, "empty"),
        ([ORDINARY, str(SAMPLES)], 1, "a directory"),
        ([], 2, "missing argument"),
        ([ORDINARY, ORDINARY, "--from", "txt"], 2, "no kind"),
    ],
)
def test_what_is_wrong_is_told(
    argv: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *argv], {}) == status
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_damage_is_no_agreement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = tmp_path / "half"
    torn.write_bytes(Path(ORDINARY).read_bytes() + b'{"@timestamp')
    out = printed(capsys, ORDINARY, str(torn), status=Status.FAILED)
    assert "no difference" in out


def test_p43_peer_text_is_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [conversation.name for conversation in load_all()]
    for number, (a, b) in enumerate(zip(names, names[1:] + names[:1], strict=True)):
        paths = [tmp_path / f"{number}{side}" for side in "ab"]
        for path, name in zip(paths, (a, b), strict=True):
            path.write_bytes(b"".join(map(jsonl.encode, records(name, 1))))
        main(["diff", "--all", *map(str, paths)], {})
        out = capsys.readouterr().out
        assert out
        assert not set(out) & set(HARMFUL) - {"\n", "\t"}
        assert SECRET.decode() not in out
