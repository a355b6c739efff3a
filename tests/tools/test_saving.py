"""Files that are there in whole or not at all."""

import os
from pathlib import Path

import pytest

from popproxy.tools.saving import Saved


def write(path: Path, *, force: bool = False) -> None:
    with Saved(str(path), force=force) as saved:
        saved.file.write(b"new")
        saved.file.flush()
        assert not path.exists() or path.read_bytes() == b"old"


def test_a_file_is_there_when_it_is_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").read_bytes() == b"new"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, BrokenPipeError])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail() -> None:
        with Saved(str(path), force=True) as saved:
            saved.file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_a_file_is_replaced_by_force_only(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        Saved(str(path))
    write(path, force=True)
    assert path.read_bytes() == b"new"


def test_whoever_was_faster_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def race() -> None:
        with Saved(str(path)):
            path.write_bytes(b"faster")

    with pytest.raises(FileExistsError):
        race()
    assert path.read_bytes() == b"faster"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_links_and_directories_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(FileExistsError):
        Saved(str(tmp_path / "link"))
    write(tmp_path / "link", force=True)
    assert (tmp_path / "there").read_bytes() == b"old"
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        Saved(str(tmp_path / "folder"), force=True)
    with pytest.raises(FileNotFoundError) as caught:
        Saved(str(tmp_path / "none" / "x"))
    assert caught.value.filename == str(tmp_path / "none" / "x")
