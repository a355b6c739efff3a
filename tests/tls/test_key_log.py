from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from popproxy.tls.failures import TlsSetupError
from popproxy.tls.key_log import prepare
from tests.support.modes import modes_at_birth


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def refused(path: Path) -> str:
    with pytest.raises(TlsSetupError) as caught:
        prepare(path)
    return str(caught.value)


@pytest.mark.usefixtures("umask")
def test_p16_the_file_is_for_its_owner_and_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "keys.SECRET"
    prepare(path)
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().splitlines()
    assert all(line.startswith("# ") for line in lines), "Wireshark takes them for comments"
    assert "SECRET" in lines[0]
    assert "passwords" in lines[1]


def test_p69_the_file_is_never_wider_than_it_ends_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with modes_at_birth(monkeypatch) as seen:
        prepare(tmp_path / "keys.SECRET")
    assert seen == [0o600]


def test_p16_openssl_adds_to_the_file_and_so_does_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "keys.SECRET"
    prepare(path)
    header = path.read_bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.keylog_filename = str(path)
    assert path.read_bytes() == header
    with path.open("ab") as file:
        file.write(b"CLIENT_RANDOM 00 00\n")
    prepare(path)
    assert path.read_bytes() == header + b"CLIENT_RANDOM 00 00\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_p16_another_name_is_refused(tmp_path: Path) -> None:
    assert "keys.log.SECRET" in refused(tmp_path / "keys.log")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_p16_a_file_that_others_can_reach_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "keys.SECRET"
    path.touch()
    path.chmod(mode)
    said = refused(path)
    assert f"mode {mode:04o}" in said
    assert f"chmod 600 {path}" in said
    assert path.read_bytes() == b""


def test_p16_what_is_no_file_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.SECRET"
    link.symlink_to(tmp_path / "target.SECRET")
    assert "symbolic link" in refused(link)
    (tmp_path / "target.SECRET").touch(0o600)
    assert "symbolic link" in refused(link)
    folder = tmp_path / "folder.SECRET"
    folder.mkdir()
    assert "cannot be written: Is a directory" in refused(folder)
    fifo = tmp_path / "fifo.SECRET"
    os.mkfifo(fifo, 0o600)
    assert "cannot be written" in refused(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert "is no file" in refused(fifo)
    os.close(reader)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.SECRET"))
        assert "cannot be written" in refused(tmp_path / "socket.SECRET")


def test_p16_a_file_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.SECRET"
    path.touch(0o600)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert "belongs to another user" in refused(path)


def test_p16_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    said = refused(tmp_path / "gone" / "keys.SECRET")
    assert "No such file or directory" in said
    assert "; name a file in a folder that exists" in said
