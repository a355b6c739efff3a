"""What every kind of maildrop promises, and what memory alone does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from popproxy.peers.maildrop import (
    InUseError,
    Maildrop,
    MaildropError,
    MemoryMaildrop,
    OpenMaildrop,
    open_path,
)
from popproxy.peers.wire import CHUNK, Canonical
from tests.support.mails import ATTACHMENT, DOTS, EIGHT_BIT, EMPTY_BODY, LONG_LINE, MULTIPART

MAILS = (DOTS, EIGHT_BIT, LONG_LINE, EMPTY_BODY, MULTIPART, ATTACHMENT)


def in_memory(_path: Path, contents: list[bytes]) -> Maildrop:
    return MemoryMaildrop(contents)


def in_maildir(path: Path, contents: list[bytes]) -> Maildrop:
    for folder in ("new", "cur", "tmp"):
        (path / "Maildir" / folder).mkdir(parents=True)
    for number, content in enumerate(contents):
        folder, flags = ("new", "") if number % 2 else ("cur", ":2,S")
        name = f"{1_700_000_000 + number}.M1P2.host{flags}"
        (path / "Maildir" / folder / name).write_bytes(content.replace(b"\r\n", b"\n"))
    return open_path(path / "Maildir")


def in_mbox(path: Path, contents: list[bytes]) -> Maildrop:
    with (path / "mbox").open("wb") as mbox:
        for content in contents:
            stored = content.replace(b"\r\n", b"\n")
            end = b"\n" if stored.endswith(b"\n") else b"\n\n"
            mbox.write(b"From ada@example.org Sat Oct 29 22:43:41 2011\n" + stored + end)
    return open_path(path / "mbox")


Make = Callable[[Path, list[bytes]], Maildrop]
every_kind = pytest.mark.parametrize("make", [in_memory, in_maildir, in_mbox])


def content(opened: OpenMaildrop, number: int) -> bytes:
    """Read a message in canonical form, as it is sent."""
    reader, canonical, parts = opened.read(number), Canonical(), []
    while data := reader.read(CHUNK):
        parts.append(canonical.feed(data))
    reader.close()
    return b"".join([*parts, canonical.end()])


def unique_ids(maildrop: Maildrop) -> list[str]:
    opened = maildrop.open()
    found = [message.unique_id for message in opened.messages]
    opened.close()
    return found


@every_kind
def test_every_mail_comes_back_digest_by_digest_with_its_size(make: Make, tmp_path: Path) -> None:
    opened = make(tmp_path, [mail.content for mail in MAILS]).open()
    assert len(opened.messages) == len(MAILS)
    for number, (mail, message) in enumerate(zip(MAILS, opened.messages, strict=True), start=1):
        sent = content(opened, number)
        expected = mail.content if mail.content.endswith(b"\n") else mail.content + b"\r\n"
        assert hashlib.sha256(sent).digest() == hashlib.sha256(expected).digest(), mail.name
        assert message.octets == len(expected)
    opened.close()


@every_kind
def test_unique_ids_are_well_formed_distinct_and_persist(make: Make, tmp_path: Path) -> None:
    maildrop = make(tmp_path, [mail.content for mail in MAILS])
    first = unique_ids(maildrop)
    assert first == unique_ids(maildrop)
    assert len(set(first)) == len(MAILS)
    for unique_id in first:
        assert 1 <= len(unique_id) <= 70
        assert all("\x21" <= letter <= "\x7e" for letter in unique_id)


@every_kind
def test_a_second_session_is_refused_until_the_first_ends(make: Make, tmp_path: Path) -> None:
    maildrop = make(tmp_path, [EMPTY_BODY.content])
    opened = maildrop.open()
    with pytest.raises(InUseError):
        maildrop.open()
    opened.close()
    opened.close()  # a second time does no harm
    maildrop.open().close()


@every_kind
def test_remove_takes_only_what_it_is_told(make: Make, tmp_path: Path) -> None:
    maildrop = make(tmp_path, [mail.content for mail in MAILS])
    before = unique_ids(maildrop)
    opened = maildrop.open()
    opened.remove([2, 5])
    opened.close()
    assert unique_ids(maildrop) == [before[0], before[2], before[3], before[5]]
    opened = maildrop.open()
    assert content(opened, 3) == EMPTY_BODY.content
    opened.close()


@every_kind
def test_remove_everything_leaves_an_empty_maildrop(make: Make, tmp_path: Path) -> None:
    maildrop = make(tmp_path, [EMPTY_BODY.content, DOTS.content])
    opened = maildrop.open()
    opened.remove([1, 2])
    opened.close()
    assert unique_ids(maildrop) == []


@every_kind
def test_closing_without_remove_deletes_nothing(make: Make, tmp_path: Path) -> None:
    maildrop = make(tmp_path, [EMPTY_BODY.content])
    before = unique_ids(maildrop)
    opened = maildrop.open()
    opened.remove([])
    opened.close()
    assert unique_ids(maildrop) == before


@every_kind
def test_an_empty_message_is_a_message(make: Make, tmp_path: Path) -> None:
    opened = make(tmp_path, [b"", EMPTY_BODY.content]).open()
    # An mbox cannot tell an empty message from one of an empty line: its format ends in one.
    assert content(opened, 1) in (b"", b"\r\n")
    assert opened.messages[0].octets == len(content(opened, 1))
    assert content(opened, 2) == EMPTY_BODY.content
    opened.close()


def test_identical_messages_in_memory_have_unique_ids_of_their_own() -> None:
    maildrop = MemoryMaildrop([b"a\r\n", b"a\n"])
    first, second = unique_ids(maildrop)
    assert first != second
    opened = maildrop.open()
    opened.remove([1])
    opened.close()
    assert unique_ids(maildrop) == [second]


def test_mail_delivered_during_a_session_is_seen_by_the_next() -> None:
    maildrop = MemoryMaildrop([b"a\r\n"])
    opened = maildrop.open()
    maildrop.deliver(b"b\r\n")
    assert len(opened.messages) == 1
    opened.remove([1])
    opened.close()
    assert maildrop.contents == (b"b\r\n",)
    assert len(unique_ids(maildrop)) == 1


def test_a_memory_maildrop_shows_nothing_of_its_messages() -> None:
    assert "canary" not in repr(MemoryMaildrop([b"canary"]))


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo"])
def test_a_path_that_is_no_maildrop_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    import os

    path = tmp_path / "thing"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(MaildropError, match=r"thing is .*(Maildir)"):
        open_path(path)
