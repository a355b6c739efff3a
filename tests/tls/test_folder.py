"""The authority's folder: many who use it at once, the dying, and those who may not (P34)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from popproxy.tls import folder
from popproxy.tls.authority import Authority, renew
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.folder import CERTIFICATE, KEY, LOCK, Folder
from tests.support.authorities import refused, serial

ROOT = Path(__file__).parents[2]


# At the same time


def test_p34_many_who_make_it_at_once_get_the_same(place: Path) -> None:
    start = threading.Barrier(8)

    def one() -> int:
        start.wait()
        return serial(Authority.open(place))

    with ThreadPoolExecutor(8) as pool:
        serials = {future.result() for future in [pool.submit(one) for _ in range(8)]}
    assert len(serials) == 1


def test_p34_two_processes_that_make_it_at_once_get_the_same(place: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from popproxy.tls.authority import Authority\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(Authority.open(Path(sys.argv[1])).certificate.serial_number)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    serials = {process.communicate()[0] for process in processes}
    assert len(serials) == 1
    assert serials == {f"{serial(Authority.load(place))}\n"}


def test_who_reads_while_others_renew_gets_a_whole_pair(place: Path) -> None:
    Authority.open(place)
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(lambda: [renew(place) for _ in range(15)])
        loaded = {serial(Authority.load(place))}
        while not renewing.done():
            loaded.add(serial(Authority.load(place)))
        renewed = [one.certificate.serial_number for one in renewing.result()]
    assert serial(Authority.load(place)) == renewed[-1]
    assert loaded


STEPS: list[tuple[str, str]] = [
    ("create", f"{KEY}.new"),
    ("create", f"{CERTIFICATE}.new"),
    ("settle", KEY),
    ("settle", CERTIFICATE),
]


class Died(BaseException):
    """Stands for the end of a process."""


def dying(monkeypatch: pytest.MonkeyPatch, step: tuple[str, str], *, after: bool) -> None:
    verb, name = step
    real: Callable[..., None] = getattr(Folder, verb)

    def die(self: Folder, asked: str, *rest: object) -> None:
        if asked == name and not after:
            raise Died
        real(self, asked, *rest)
        if asked == name:
            raise Died

    monkeypatch.setattr(Folder, verb, die)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_who_dies_while_making_it_is_no_trouble_to_the_next(
    place: Path, step: tuple[str, str], after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        dying(patch, step, after=after)
        with pytest.raises(Died):
            Authority.open(place)
    made = Authority.open(place)
    assert serial(Authority.load(place)) == serial(made)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_who_dies_while_renewing_leaves_the_old_or_the_new_one(
    place: Path, step: tuple[str, str], after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = serial(Authority.open(place))
    with monkeypatch.context() as patch:
        dying(patch, step, after=after)
        with pytest.raises(Died):
            renew(place)
    expects_old = step[0] == "create" or (step == ("settle", KEY) and not after)
    assert (serial(Authority.load(place)) == old) == expects_old
    assert renew(place).certificate.serial_number == serial(Authority.load(place))


# Who may touch it


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o660, 0o644, 0o610, 0o602])
def test_p34_a_looser_key_is_refused(place: Path, loose: int) -> None:
    Authority.open(place)
    (place / KEY).chmod(loose)
    said = refused(place)
    assert f"is open to other users (mode {loose:04o})" in said
    assert f"chmod 600 {place / KEY}" in said
    assert "popproxy ca renew" in said
    (place / KEY).chmod(0o400)
    Authority.load(place)


@pytest.mark.parametrize("loose", [0o770, 0o702, 0o777, 0o1777])
def test_p34_a_folder_that_others_can_write_is_refused(place: Path, loose: int) -> None:
    Authority.open(place)
    place.chmod(loose)
    said = refused(place)
    assert f"can be written by others (mode {loose:04o})" in said
    assert f"chmod 700 {place}" in said
    place.chmod(0o755)
    Authority.load(place)


def test_p34_a_certificate_that_others_can_write_is_refused(place: Path) -> None:
    Authority.open(place)
    (place / CERTIFICATE).chmod(0o664)
    assert f"chmod 644 {place / CERTIFICATE}" in refused(place)


@pytest.mark.parametrize("name", [KEY, CERTIFICATE])
def test_p34_symbolic_links_are_refused(place: Path, name: str) -> None:
    Authority.open(place)
    (place / name).rename(place.parent / name)
    (place / name).symlink_to(place.parent / name)
    said = refused(place)
    assert f"{place / name} is a symbolic link" in said


@pytest.mark.parametrize("name", [KEY, CERTIFICATE])
def test_what_is_no_file_is_refused_and_not_waited_for(place: Path, name: str) -> None:
    Authority.open(place)
    (place / name).unlink()
    os.mkfifo(place / name, 0o600)
    assert f"{place / name} is no file; move it away" in refused(place)


def test_p34_links_that_lie_in_wait_are_not_written_through(place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    place.mkdir(0o700, parents=True)
    (place / f"{KEY}.new").symlink_to(victim)
    (place / f"{CERTIFICATE}.new").symlink_to(victim)
    Authority.open(place)
    assert victim.read_text() == "untouched"
    assert not (place / KEY).is_symlink()


def test_a_lock_that_is_a_link_is_refused(place: Path, tmp_path: Path) -> None:
    place.mkdir(0o700, parents=True)
    (place / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TlsSetupError, match="no local authority can be made in"):
        Authority.open(place)
    assert not (tmp_path / "elsewhere").exists()


def test_p34_what_belongs_to_another_user_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority.open(place)
    status = place.stat()
    other = os.stat_result([*status[:4], 4_242, *status[5:]])
    with pytest.raises(TlsSetupError, match=r"belongs to another user .number 4242., who could"):
        folder._check_folder(place, other)
    for private, name in ((True, KEY), (False, CERTIFICATE)):
        status = (place / name).stat()
        other = os.stat_result([*status[:4], 4_242, *status[5:]])
        with pytest.raises(TlsSetupError, match=f"chown {os.geteuid()} "):
            folder._check_file(place / name, other, private=private)
    monkeypatch.setattr(os, "geteuid", lambda: 4_243)
    # Root may have made the folder and the certificate for a user, but not the user's key.
    roots = os.stat_result([0o100600, *status[1:4], 0, *status[5:]])
    folder._check_file(place / CERTIFICATE, roots, private=False)
    with pytest.raises(TlsSetupError, match="chown 4243 "):
        folder._check_file(place / KEY, roots, private=True)
