"""`popproxy convert`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from popproxy.cli.errors import Status
from popproxy.cli.main import main
from popproxy.tools import captures
from tests.support.make_samples import SAMPLES

SESSION, SEVERAL = str(SAMPLES / "session.jsonl"), str(SAMPLES / "oddities.jsonl")
TARGETS = {"a.jsonl": b'{"@time', "a.txt": b"# popp", "a.log": b"=~=~", "a.html": b"<!DOCT"}


@pytest.mark.parametrize("name", TARGETS)
def test_the_format_follows_the_name(name: str, tmp_path: Path) -> None:
    assert main(["convert", SESSION, "-o", str(tmp_path / name)], {}) == Status.DONE
    assert (tmp_path / name).read_bytes().startswith(TARGETS[name])
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_every_format_is_read_back_but_html(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.txt", "a.log", "a.pcapng"):
        main(["convert", SESSION, "-o", str(tmp_path / name)], {})
        assert len(list(captures.read(str(tmp_path / name)))) > 20


def refused(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 2) -> str:
    assert main(["convert", *argv], {}) == status
    captured = capsys.readouterr()
    assert captured.err.startswith("popproxy: ")
    assert captured.out == ""
    return captured.err


def test_what_cannot_be_done_is_told_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.txt"
    there.write_text("old")
    assert "is there already" in refused(capsys, SESSION, "-o", str(there))
    assert "several" in refused(capsys, SEVERAL, "-o", str(tmp_path / "x.log"))
    assert "does not tell the format" in refused(capsys, SESSION, "-o", str(tmp_path / "x.doc"))
    assert "does not tell the format" in refused(capsys, SESSION)
    assert "no session" in refused(
        capsys, SESSION, "--session", "9", "-o", str(tmp_path / "x.txt"), status=1
    )
    missing = str(tmp_path / "none" / "x.txt")
    assert f"{missing} cannot be written" in refused(capsys, SESSION, "-o", missing, status=1)
    assert there.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["there.txt"]


def test_the_capture_itself_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(Path(SESSION).read_bytes())
    (tmp_path / "link.jsonl").symlink_to(path)
    for other in (path, tmp_path / "link.jsonl"):
        assert "the capture itself" in refused(capsys, str(path), "-o", str(other), "--force")
    assert path.read_bytes() == Path(SESSION).read_bytes()


def test_what_can_be_read_is_written_unless_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn"
    lines = Path(SESSION).read_bytes().splitlines(keepends=True)
    torn.write_bytes(b"".join(lines[:9]) + b"{broken\n" + b"".join(lines[9:]))
    out = tmp_path / "out.jsonl"
    assert main(["convert", str(torn), "-o", str(out), "--strict"], {}) == Status.FAILED
    assert not out.exists()
    assert main(["convert", str(torn), "-o", str(out)], {}) == Status.FAILED
    assert len(list(captures.read(str(out)))) == len(lines)
    assert "line 10: this is not JSON" in capsys.readouterr().err


def test_sessions_are_chosen(tmp_path: Path) -> None:
    out = tmp_path / "two.log"
    assert main(["convert", SEVERAL, "--session", "2", "-o", str(out)], {}) == Status.DONE
    assert out.read_bytes().count(b"=~= PuTTY log") == 1


def test_through_pipes_and_into_one_that_closes() -> None:
    command = [sys.executable, "-m", "popproxy", "convert", "-", "--to"]
    packets, session = [*command, "pcapng"], Path(SESSION).read_bytes()
    packed = subprocess.run(packets, input=session, capture_output=True, check=True).stdout
    done = subprocess.run([*command, "text"], input=packed, capture_output=True, check=True)
    assert b"C: quit" in done.stdout
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, "text"], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(Path(SEVERAL).read_bytes())
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
