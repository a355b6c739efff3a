"""P48, P69: how log files are opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from popproxy.sinks import files
from popproxy.sinks.base import SinkError, explain
from popproxy.sinks.naming import Template
from tests.support.modes import modes_at_birth


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[int]]:
    descriptors: list[int] = []
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.usefixtures("_umask")
def test_p69_modes_do_not_depend_on_the_umask(tmp_path: Path, opened: list[int]) -> None:
    path = tmp_path / "a" / "b" / "p.log"
    opened.append(files.open_log(str(path)))
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert mode(path.parent.parent) == 0o700


def test_p69_the_file_is_never_wider_than_it_ends_up(
    tmp_path: Path, opened: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with modes_at_birth(monkeypatch) as seen:
        opened.append(files.open_log(str(tmp_path / "p.log")))
    assert seen == [0o600]


def test_existing_modes_stay(tmp_path: Path, opened: list[int]) -> None:
    directory = tmp_path / "d"
    directory.mkdir(mode=0o750)
    path = directory / "p.log"
    path.touch(mode=0o640)
    opened.append(files.open_log(str(path)))
    assert (mode(directory), mode(path)) == (0o750, 0o640)
    assert files.readable_by_others(opened[0])


def test_files_are_appended_to_and_not_inherited(tmp_path: Path, opened: list[int]) -> None:
    path = tmp_path / "p.log"
    path.write_bytes(b"before ")
    opened.append(files.open_log(str(path)))
    os.write(opened[0], b"after")
    assert path.read_bytes() == b"before after"
    assert not os.get_inheritable(opened[0])


@pytest.mark.parametrize("exists", [True, False])
def test_p48_a_symbolic_link_as_the_file_is_refused(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "target"
    if exists:
        target.write_bytes(b"precious")
    link = tmp_path / "p.log"
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic") as refused:
        files.open_log(str(link))
    assert refused.value.errno == errno.ELOOP
    assert "symbolic link" in explain(refused.value)
    assert target.exists() is exists


def test_p48_a_linked_directory_is_the_operators_choice(tmp_path: Path, opened: list[int]) -> None:
    (tmp_path / "disk2").mkdir()
    (tmp_path / "logs").symlink_to(tmp_path / "disk2")
    opened.append(files.open_log(str(tmp_path / "logs" / "p.log")))
    assert (tmp_path / "disk2" / "p.log").exists()


def test_relative_paths(tmp_path: Path, opened: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened.append(files.open_log("p.log"))
    opened.append(files.open_log("./a//b/p.log"))
    assert (tmp_path / "p.log").exists()
    assert (tmp_path / "a" / "b" / "p.log").exists()


def test_p54_a_fifo_without_a_reader_does_not_block(tmp_path: Path, opened: list[int]) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device") as refused:
        files.open_log(str(path))
    assert refused.value.errno == errno.ENXIO
    opened.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    opened.append(files.open_log(str(path)))
    assert not os.get_blocking(opened[1])


def test_directories_and_missing_parents(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        files.open_log(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.open_log(str(tmp_path / "file" / "p.log"))


def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    os.close(files.open_log(str(tmp_path / "a" / "b" / "p.log")))
    with pytest.raises(IsADirectoryError):
        files.open_log(str(tmp_path / "a"))
    assert count() == before


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/dev/stdout", 1),
        ("/dev/stderr", 2),
        ("/dev/fd/63", 63),
        ("/proc/self/fd/7", 7),
        ("/dev/null", None),
        ("x/dev/stdout", None),
    ],
)
def test_paths_of_open_descriptors(path: str, expected: int | None) -> None:
    assert files.descriptor_of(path) == expected


def test_check_makes_directories_but_no_file(tmp_path: Path) -> None:
    files.check_path(Template(f"{tmp_path}/logs/&Y/&S.log"))
    assert list(tmp_path.rglob("*")) == [tmp_path / "logs"]
    files.check_path(Template(f"{tmp_path}/logs/p.log"))
    assert list(tmp_path.rglob("*")) == [tmp_path / "logs"]


def test_check_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for path, words in [
        (tmp_path, "is a directory; add a file name"),
        (tmp_path / "file" / "p.log", "cannot be used for log files: Not a directory"),
        (tmp_path / "link", "symbolic link"),
        (tmp_path / ("x" * 300), "cannot be used: "),
    ]:
        with pytest.raises(SinkError, match=words):
            files.check_path(Template(str(path)))


def test_check_notices_missing_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.log").touch()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root has every right
    for path in ("p.log", "new.log", "&S.log"):
        with pytest.raises(SinkError, match="no right to write"):
            files.check_path(Template(f"{tmp_path}/{path}"))
