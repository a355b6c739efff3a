"""What an mbox does beyond what every maildrop promises."""

from __future__ import annotations

import fcntl
import mailbox
import os
import subprocess
import sys
from pathlib import Path

import pytest

from popproxy.peers.maildrop import InUseError, MaildropError, MessageGoneError, OpenMaildrop
from popproxy.peers.mbox import Mbox

ONE = b"From a@example.org Sat Oct 29 22:43:41 2011\nSubject: one\n\nfirst\n\n"
TWO = b"From b@example.org Sat Oct 29 22:44:23 2011\nSubject: two\n\n>From here\nFrom there\n\n"
THREE = b"From c@example.org Sat Oct 29 22:45:00 2011\nSubject: three\n\nlast\n\n"


@pytest.fixture
def mbox(tmp_path: Path) -> Path:
    path = tmp_path / "mbox"
    path.write_bytes(ONE + TWO + THREE)
    path.chmod(0o640)
    return path


def text(opened: OpenMaildrop, number: int) -> bytes:
    reader = opened.read(number)
    parts = []
    while data := reader.read(7):
        parts.append(data)
    return b"".join(parts)


def test_from_lines_inside_paragraphs_and_quoted_ones_are_content(mbox: Path) -> None:
    opened = Mbox(mbox).open()
    assert [text(opened, number) for number in (1, 2, 3)] == [
        b"Subject: one\n\nfirst\n",
        b"Subject: two\n\n>From here\nFrom there\n",
        b"Subject: three\n\nlast\n",
    ]
    opened.close()


def test_messages_agree_with_the_standard_library(mbox: Path) -> None:
    mbox.write_bytes(ONE + THREE)  # it takes any From line for a border, so not TWO
    opened = Mbox(mbox).open()
    standard = mailbox.mbox(mbox, create=False)
    expected = [standard.get_bytes(key) for key in sorted(standard.keys())]
    standard.close()
    assert [text(opened, number + 1) for number in range(2)] == expected
    opened.close()


@pytest.mark.parametrize("removed", [[1], [2], [3], [1, 3], [1, 2, 3]])
def test_removal_leaves_every_other_octet_and_the_mode(mbox: Path, removed: list[int]) -> None:
    opened = Mbox(mbox).open()
    opened.remove(removed)
    opened.close()
    left = [part for number, part in enumerate((ONE, TWO, THREE), 1) if number not in removed]
    assert mbox.read_bytes() == b"".join(left)
    assert mbox.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in mbox.parent.iterdir()] == ["mbox"]


def test_mail_delivered_during_the_session_survives_removal(mbox: Path) -> None:
    opened = Mbox(mbox).open()
    new = b"From d@example.org Sat Oct 29 23:00:00 2011\nSubject: new\n\nmore\n"
    with mbox.open("ab") as file:
        file.write(new)
    assert text(opened, 3) == b"Subject: three\n\nlast\n"
    opened.remove([1, 3])
    opened.close()
    assert mbox.read_bytes() == TWO + new


def test_a_file_rewritten_in_place_is_noticed_and_removal_finds_the_message(mbox: Path) -> None:
    opened = Mbox(mbox).open()
    with mbox.open("r+b") as file:  # another program removed the first message, in place
        file.write(TWO + THREE)
        file.truncate()
    with pytest.raises(MessageGoneError):
        opened.read(2)
    opened.remove([1, 2])
    opened.close()
    assert mbox.read_bytes() == THREE


def test_a_file_cut_short_is_noticed(mbox: Path) -> None:
    opened = Mbox(mbox).open()
    reader = opened.read(3)
    os.truncate(mbox, len(ONE))
    with pytest.raises(OSError, match="shorter"):
        reader.read(10)
    reader.close()
    opened.close()


def test_a_file_replaced_by_another_program_is_the_one_that_is_rewritten(mbox: Path) -> None:
    opened = Mbox(mbox).open()
    other = mbox.with_name("other")
    other.write_bytes(THREE + ONE)
    other.replace(mbox)
    assert text(opened, 2) == b"Subject: two\n\n>From here\nFrom there\n"  # the old file is held
    opened.remove([1, 2])
    opened.close()
    assert mbox.read_bytes() == THREE


def test_unique_ids_do_not_change_when_a_program_notes_a_status(mbox: Path) -> None:
    opened = Mbox(mbox).open()
    before = [message.unique_id for message in opened.messages]
    opened.close()
    noted = b"Subject: one\nStatus: RO\nX-Keywords: \n more\nX-UID: 7\n\nfirst"
    mbox.write_bytes((ONE + TWO + THREE).replace(b"Subject: one\n\nfirst", noted))
    opened = Mbox(mbox).open()
    assert [message.unique_id for message in opened.messages] == before
    assert text(opened, 1) == noted + b"\n"
    opened.close()


def test_only_as_many_identical_copies_are_removed_as_were_deleted(mbox: Path) -> None:
    mbox.write_bytes(ONE + ONE + TWO)
    opened = Mbox(mbox).open()
    assert opened.messages[0].unique_id == opened.messages[1].unique_id
    opened.remove([2])
    opened.close()
    assert mbox.read_bytes() == ONE + TWO


def test_a_symbolic_link_stays_one(mbox: Path) -> None:
    link = mbox.with_name("link")
    link.symlink_to(mbox)
    opened = Mbox(link).open()
    opened.remove([1, 2])
    opened.close()
    assert link.is_symlink()
    assert mbox.read_bytes() == THREE


def test_a_dot_lock_of_another_program_is_respected_and_left(mbox: Path) -> None:
    lock = mbox.with_name("mbox.lock")
    lock.write_text("1\n")
    with pytest.raises(InUseError, match=r"mbox\.lock exists"):
        Mbox(mbox).open()
    assert lock.exists()
    lock.unlink()
    opened = Mbox(mbox).open()
    assert not lock.exists()  # held only while the file is listed, so that mail can be delivered
    lock.write_text("1\n")
    with pytest.raises(MaildropError, match="nothing was removed"):
        opened.remove([1])
    opened.close()
    assert mbox.read_bytes() == ONE + TWO + THREE


def test_a_posix_lock_of_another_process_is_respected(mbox: Path) -> None:
    holder = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(mbox)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(InUseError, match="another program has locked"):
            Mbox(mbox).open()
        process.communicate()
    Mbox(mbox).open().close()


def test_a_flock_of_another_program_is_respected(mbox: Path) -> None:
    with mbox.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InUseError):
            Mbox(mbox).open()


def test_a_failing_disk_leaves_the_old_file(mbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Mbox(mbox).open()

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MaildropError, match="No space left"):
        opened.remove([1])
    opened.close()
    assert mbox.read_bytes() == ONE + TWO + THREE
    assert [file.name for file in mbox.parent.iterdir()] == ["mbox"]


def test_a_program_that_writes_in_spite_of_the_locks_loses_nothing(
    mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Mbox(mbox).open()
    real = os.fsync
    new = b"From d@example.org Sat Oct 29 23:00:00 2011\n\nmore\n"

    def deliver(fd: int) -> None:
        real(fd)
        with mbox.open("ab") as file:
            file.write(new)

    monkeypatch.setattr(os, "fsync", deliver)
    with pytest.raises(MaildropError, match="in spite of the locks"):
        opened.remove([1])
    opened.close()
    assert mbox.read_bytes() == ONE + TWO + THREE + new


@pytest.mark.parametrize("last", [b"", b"no end of line", b"one\n", b"one\n\n", b"one\n\n\n"])
def test_any_end_of_the_file_is_read(mbox: Path, last: bytes) -> None:
    mbox.write_bytes(ONE + b"From x\nA: b\n\n" + last)
    opened = Mbox(mbox).open()
    whole = b"A: b\n\n" + last
    assert text(opened, 2) == (whole[:-1] if whole.endswith(b"\n\n") else whole)
    opened.close()


def test_crlf_files_are_read(mbox: Path) -> None:
    mbox.write_bytes((ONE + TWO).replace(b"\n", b"\r\n"))
    opened = Mbox(mbox).open()
    assert text(opened, 1) == b"Subject: one\r\n\r\nfirst\r\n"
    assert len(opened.messages) == 2
    opened.close()


def test_an_empty_file_is_an_empty_maildrop(mbox: Path) -> None:
    mbox.write_bytes(b"")
    opened = Mbox(mbox).open()
    assert opened.messages == []
    opened.close()


@pytest.mark.parametrize("junk", [b"hello\n", b"\0\0\0", b"From " + b"x" * 100_000 + b"\n"])
def test_a_file_that_is_no_mbox_is_refused_and_unlocked(mbox: Path, junk: bytes) -> None:
    mbox.write_bytes(junk)
    for _ in range(2):  # the second time as well: the lock did not stay
        with pytest.raises(MaildropError, match="cannot be read"):
            Mbox(mbox).open()
    assert not mbox.with_name("mbox.lock").exists()


def test_a_file_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(MaildropError, match="No such file"):
        Mbox(tmp_path / "mbox").open()


def test_a_file_that_may_only_be_read_can_be_read(
    mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_ACCMODE == os.O_RDWR and path == mbox:
            raise OSError(30, "Read-only file system")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    opened = Mbox(mbox).open()
    assert text(opened, 1) == b"Subject: one\n\nfirst\n"
    opened.close()


def test_reading_goes_on_where_no_dot_lock_can_be_made(
    mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def refuse(path: Path, mode: str = "r") -> object:
        if path.suffix == ".lock":
            raise PermissionError(13, "Permission denied")
        return real(path, mode)

    monkeypatch.setattr(Path, "open", refuse)
    opened = Mbox(mbox).open()
    assert len(opened.messages) == 3
    with pytest.raises(MaildropError, match="Permission denied"):
        opened.remove([1])
    opened.close()
