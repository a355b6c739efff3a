"""`popproxy share` and `popproxy verify`."""

from __future__ import annotations

import io
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from popproxy.cli.errors import Status
from popproxy.cli.main import main
from popproxy.formats import jsonl
from popproxy.privacy.sanitise import mime
from tests.support.make_samples import SAMPLES
from tests.support.private_mail import MAILS, session_with

SESSION, ODDITIES = str(SAMPLES / "session.jsonl"), str(SAMPLES / "oddities.jsonl")


@pytest.fixture
def mails(tmp_path: Path) -> str:
    path = tmp_path / "mails.jsonl"
    path.write_bytes(b"".join(map(jsonl.encode, session_with(MAILS["plain"], MAILS["nested"]))))
    return str(path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "b.zip"


def test_a_bundle_is_made_and_verified(
    mails: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["share", mails, SESSION, "-o", str(out), "--yes"], {}) == Status.DONE
    told = capsys.readouterr().out
    assert "names of people" in told
    assert told.endswith(f"{out}: 2 sessions, {out.stat().st_size:,} octets\n")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    listed = tmp_path / "list"
    listed.write_text("Konstanze\n\nWiesengrund\nmail@example.com\n")
    listed.chmod(0o600)
    arguments = ["verify", "--secrets-from", str(listed)]
    assert main([*arguments, str(out)], {}) == Status.DONE
    assert "clean (" in capsys.readouterr().out
    assert main([*arguments, mails], {}) == Status.FAILED
    captured = capsys.readouterr()
    assert f"{mails}:" in captured.out
    assert "string 3, plain" in captured.out
    assert "onstanz" not in captured.out + captured.err
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_nothing_is_written_unless_somebody_says_yes(
    mails: str, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["share", mails, "-o", str(out)], {}) == Status.USAGE
    assert "give --yes" in capsys.readouterr().err
    monkeypatch.setattr("popproxy.cli.share.is_terminal", lambda _: True)
    for answer, status in (("n\n", Status.FAILED), ("\n", Status.FAILED), ("y\n", Status.DONE)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert main(["share", mails, "-o", str(out)], {}) == status
        assert out.exists() == (status == Status.DONE)
        assert "What was replaced" in capsys.readouterr().out


def test_a_file_is_replaced_by_force_only(
    mails: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.write_text("mine")
    assert main(["share", mails, "-o", str(out), "--yes"], {}) == Status.USAGE
    assert "exists already" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["share", mails, "-o", str(out), "--yes", "--force"], {}) == Status.DONE
    assert zipfile.is_zipfile(out)
    assert main(["share", str(out), "-o", str(out), "--yes", "--force"], {}) == Status.USAGE
    assert "is what is to be shared" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep-line", "x"], "no line"),
        (["--keep-line", "0"], "no line"),
        (["--keep-line", "3"], "which of the 2 messages"),
        (["--session", "9"], "no session fits"),
        (["-o", "-"], "no file"),
        (["-o", "/nowhere/b.zip"], "no folder"),
        (["--secrets-from", "/nowhere/list"], "cannot read"),
    ],
)
def test_what_cannot_be_done_is_told(
    arguments: list[str], message: str, mails: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["share", mails, "-o", str(out), "--yes", *arguments], {})
    assert status in (Status.USAGE, Status.FAILED)
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_sessions_are_chosen_as_in_show(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["share", ODDITIES, "--session", "2", "-o", str(out), "--yes"], {}) == Status.DONE
    assert "1 session," in capsys.readouterr().out


def test_a_leak_is_refused_without_saying_what_it_is(
    mails: str, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mime.Messages, "_text", lambda _self, text, _part: text)
    assert main(["share", mails, "-o", str(out), "--yes"], {}) == Status.FAILED
    told = capsys.readouterr()
    assert "capture.jsonl, octet" in told.err
    assert "a word of the source" in told.err
    assert "onstanz" not in (told.err + told.out).lower()
    assert not out.exists()
    assert not [*out.parent.glob(".*")]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"abc\n"])
def test_lists_that_cannot_be_looked_for(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list").write_bytes(content)
    assert main(["verify", "--secrets-from", str(tmp_path / "list"), SESSION], {}) == Status.USAGE
    error = capsys.readouterr().err
    assert "list: " in error
    assert "abc" not in error


def test_a_list_that_others_can_read_is_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list").write_text("nothing of it")
    (tmp_path / "list").chmod(0o644)
    assert main(["verify", "--secrets-from", str(tmp_path / "list"), SESSION], {}) == Status.DONE
    assert "can be read by other users" in capsys.readouterr().err


def test_strings_are_asked_for_where_nobody_sees_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", SESSION], {}) == Status.USAGE
    assert "--secrets-from" in capsys.readouterr().err
    monkeypatch.setattr("popproxy.cli.secrets_list.is_terminal", lambda _: True)
    asked: list[bool] = []
    answers = iter(["First words", ""])

    def prompt(_question: str, *, hide_input: bool, **_: object) -> str:
        asked.append(hide_input)
        return next(answers)

    monkeypatch.setattr("click.prompt", prompt)
    assert main(["verify", SESSION], {}) == Status.FAILED
    assert asked == [True, True]
    assert "First" not in capsys.readouterr().out


def test_strings_come_through_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"First words\r\n")))
    assert main(["verify", "--secrets-from", "-", SESSION], {}) == Status.FAILED
    assert "string 1, plain" in capsys.readouterr().out
