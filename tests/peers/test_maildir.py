"""What a Maildir does beyond what every maildrop promises."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from popproxy.peers.maildir import Maildir
from popproxy.peers.maildrop import MaildropError, MessageGoneError


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for folder in ("new", "cur", "tmp"):
        (tmp_path / folder).mkdir()
    return tmp_path


def ids(path: Path) -> list[str]:
    opened = Maildir(path).open()
    found = [message.unique_id for message in opened.messages]
    opened.close()
    return found


def test_messages_come_in_the_order_of_their_delivery(maildir: Path) -> None:
    (maildir / "new" / "1700000010.a.host").write_bytes(b"x\n")
    (maildir / "cur" / "999999999.b.host:2,").write_bytes(b"x\n")
    (maildir / "cur" / "1700000002.c.host:2,RS").write_bytes(b"x\n")
    assert ids(maildir) == ["999999999.b.host", "1700000002.c.host", "1700000010.a.host"]


def test_reading_moves_and_marks_nothing(maildir: Path) -> None:
    (maildir / "new" / "1.a.host").write_bytes(b"x\n")
    opened = Maildir(maildir).open()
    opened.read(1).close()
    opened.close()
    assert sorted(str(file.relative_to(maildir)) for file in maildir.rglob("*")) == [
        "cur",
        "new",
        "new/1.a.host",
        "tmp",
    ]


def test_a_message_that_gets_flags_keeps_its_unique_id_and_can_be_read_and_removed(
    maildir: Path,
) -> None:
    file = maildir / "new" / "1.a.host"
    file.write_bytes(b"x\n")
    opened = Maildir(maildir).open()
    file = file.rename(maildir / "cur" / "1.a.host:2,S")
    reader = opened.read(1)
    assert reader.read(10) == b"x\n"
    reader.close()
    file = file.rename(maildir / "cur" / "1.a.host:2,RS")
    opened.remove([1])
    opened.close()
    assert not file.exists()
    assert ids(maildir) == []


def test_a_message_that_vanishes_is_reported_and_counts_as_removed(maildir: Path) -> None:
    for name in ("1.a.host", "2.b.host"):
        (maildir / "new" / name).write_bytes(b"x\n")
    opened = Maildir(maildir).open()
    (maildir / "new" / "1.a.host").unlink()
    with pytest.raises(MessageGoneError):
        opened.read(1)
    opened.remove([1, 2])
    opened.close()
    assert ids(maildir) == []


def test_a_message_that_vanishes_while_the_maildrop_is_listed_is_left_out(
    maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1.a.host", "2.b.host"):
        (maildir / "new" / name).write_bytes(b"x\n")

    def open_and_remove(path: Path) -> object:
        (maildir / "new" / "1.a.host").unlink(missing_ok=True)
        return opened(path)

    from popproxy.peers import maildir as module

    opened = module._open_regular
    monkeypatch.setattr(module, "_open_regular", open_and_remove)
    assert ids(maildir) == ["2.b.host"]


def test_a_message_that_vanishes_between_two_looks_is_reported(
    maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (maildir / "new" / "1.a.host").write_bytes(b"x\n")
    opened = Maildir(maildir).open()
    listing = {"1.a.host": maildir / "cur" / "1.a.host:2,S", "2.new.host": maildir}
    (maildir / "new" / "1.a.host").unlink()
    monkeypatch.setattr("popproxy.peers.maildir._list", lambda _path: listing)
    with pytest.raises(MessageGoneError):
        opened.read(1)
    opened.remove([1])
    opened.close()


def test_what_is_no_message_is_passed_over(maildir: Path) -> None:
    (maildir / "new" / ".hidden").write_bytes(b"x\n")
    (maildir / "cur" / "folder").mkdir()
    os.mkfifo(maildir / "new" / "1.fifo.host")
    (maildir / "tmp" / "2.half.host").write_bytes(b"x\n")
    (maildir / "new" / "3.link.host").symlink_to(maildir / "tmp" / "2.half.host")
    assert ids(maildir) == []


def test_a_file_that_becomes_a_fifo_does_not_stall_the_reader(maildir: Path) -> None:
    file = maildir / "new" / "1.a.host"
    file.write_bytes(b"x\n")
    opened = Maildir(maildir).open()
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(OSError, match=r"no regular file|removed"):
        opened.read(1)
    opened.close()


def test_a_name_that_is_no_unique_id_is_digested(maildir: Path) -> None:
    long = "1." + "a" * 80 + ".host"
    blank = "2.with blank.host"
    eight_bit = os.fsdecode(b"3.\xff.host")
    for name in (long, blank, eight_bit):
        (maildir / "new" / name).write_bytes(b"x\n")
    found = ids(maildir)
    assert [len(unique_id) for unique_id in found] == [64, 64, 64]
    assert len(set(found)) == 3


def test_removal_that_fails_is_said_and_the_rest_is_done(
    maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1.a.host", "2.b.host"):
        (maildir / "new" / name).write_bytes(b"x\n")
    opened = Maildir(maildir).open()
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "1.a.host":
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(MaildropError, match="1 of 2"):
        opened.remove([1, 2])
    opened.close()
    assert ids(maildir) == ["1.a.host"]


def test_the_lock_is_released_if_listing_fails(
    maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("popproxy.peers.maildir._list", fail)
        with pytest.raises(MaildropError, match="Input/output error"):
            Maildir(maildir).open()
    assert ids(maildir) == []


def test_a_maildir_that_disappears_is_said(maildir: Path) -> None:
    maildrop = Maildir(maildir)
    maildir.rename(maildir.with_name("elsewhere"))
    with pytest.raises(MaildropError, match="No such file"):
        maildrop.open()


def test_a_directory_without_cur_is_no_maildir(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(MaildropError, match="no directory cur"):
        Maildir(tmp_path)
