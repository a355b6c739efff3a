"""Bundles: what they hold, and that they hold nothing of their source."""

from __future__ import annotations

import base64
import json
import secrets
import urllib.parse
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.formats import jsonl
from popproxy.peers.script import Conversation
from popproxy.privacy.sanitise import Keys, Level, capture, headers, lines, mime
from popproxy.privacy.sanitise.personal import Personal
from popproxy.privacy.search import Search
from popproxy.records import DataRecord, Record, SessionStart
from popproxy.tools import captures, share
from popproxy.tools.share import Made, Wish, make, pack
from tests.support.conversations import SECRET, every_conversation
from tests.support.private_mail import MAILS, WORDS, session_with
from tests.support.recording import play

ALL = session_with(*MAILS.values())


def made(
    records: Iterable[Record], folder: Path, wish: Wish | None = None, *, name: str = "b.zip"
) -> tuple[Made, dict[str, bytes]]:
    """Make a bundle and read its members."""
    kept = [*records]
    work = folder / f"{name}.files"
    work.mkdir()
    result = make(lambda: iter(kept), work, wish or Wish())
    with (folder / name).open("wb") as file:
        pack(work, file)
    with zipfile.ZipFile(folder / name) as archive:
        return result, {member: archive.read(member) for member in archive.namelist()}


def test_a_bundle_holds_all_that_is_needed(tmp_path: Path) -> None:
    result, members = made(ALL, tmp_path)
    assert result.hits == []
    assert result.sessions == 1
    assert set(members) >= {
        "README.txt", "REMOVED.txt", "capture.jsonl", "capture.html", "findings.txt",
        "findings.json", "tls.txt", "versions.txt",
    }  # fmt: skip
    assert len([name for name in members if name.startswith("putty/")]) == 1
    assert json.loads(members["findings.json"])["sessions"] == 1
    assert result.text.encode() == members["REMOVED.txt"]
    records = [*captures.read(str(tmp_path / "b.zip"))]
    assert len(records) == len(ALL)
    assert isinstance(records[0], SessionStart)
    assert "popproxy share made this" in records[0].notice


def test_a_bundle_tells_nothing_by_itself(tmp_path: Path) -> None:
    made(ALL, tmp_path)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        for member in archive.infolist():
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert (member.create_system, member.external_attr >> 16) == (3, 0o600)
        assert archive.comment == b""


def test_the_same_key_makes_the_same_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    for folder in (one, other, third):
        folder.mkdir()
    made(ALL, third)
    monkeypatch.setattr(secrets, "token_bytes", lambda size: b"k" * size)
    made(ALL, one)
    made(ALL, other)
    assert (one / "b.zip").read_bytes() == (other / "b.zip").read_bytes()
    assert (one / "b.zip").read_bytes() != (third / "b.zip").read_bytes()


TWINS = [
    (b"Konstanze", b"Alexander"),
    (b"Scheidung", b"Abmahnung"),
    ("Überweisung".encode(), "Änderungsmit".encode()),
    (b"rumpelstilz", b"zwergenkoen"),
    (b"Quittungsbuch", b"Sparbuchdecke"),
]


def test_twins_have_the_same_bundle_but_for_pseudonyms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two mails that differ in words of their bodies only cannot be told apart."""
    monkeypatch.setattr(secrets, "token_bytes", lambda size: b"k" * size)
    mail = MAILS["plain"]
    head, _, body = mail.partition(b"\r\n\r\n")
    for one, other in TWINS[:2]:
        body = body.replace(one, other)
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first, _ = made(session_with(mail), tmp_path / "1")
    second, _ = made(session_with(head + b"\r\n\r\n" + body), tmp_path / "2")
    (tmp_path / "1" / "b.zip.files" / "REMOVED.txt").unlink()
    assert first.removed == second.removed
    for path in sorted((tmp_path / "1" / "b.zip.files").rglob("*.*")):
        other_path = tmp_path / "2" / path.relative_to(tmp_path / "1")
        if path.is_file():
            assert path.read_bytes() == other_path.read_bytes(), path.name


def test_twins_in_names_have_bundles_of_one_shape(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    mail = MAILS["nested"]
    for one, other in TWINS:
        if len(one) == len(other):
            mail = mail.replace(one, other).replace(one.lower(), other.lower())
    first, files = made(session_with(MAILS["nested"]), tmp_path / "1")
    second, others = made(session_with(mail), tmp_path / "2")
    assert first.removed == second.removed
    sizes = sorted(len(content) for name, content in files.items() if name != "REMOVED.txt")
    assert sizes == sorted(
        len(content) for name, content in others.items() if name != "REMOVED.txt"
    )


@every_conversation
def test_every_conversation_can_be_shared(conversation: Conversation, tmp_path: Path) -> None:
    records = [*jsonl.read(play(conversation, SECRET).splitlines(keepends=True))]
    result, _ = made(records, tmp_path, Wish(search=Search([SECRET])))
    assert result.hits == []


@pytest.mark.parametrize("level", ["structure", "headers", "nothing", "all"])
def test_levels(level: Level, tmp_path: Path) -> None:
    result, members = made(ALL, tmp_path, Wish(level=level))
    assert result.hits == []
    together = b"".join(members.values())
    assert (b"Konstanze" in together) == (level == "all")
    records = [*captures.read(str(tmp_path / "b.zip"))]
    pieces = [one for one in records if isinstance(one, DataRecord)]
    content = [one for one in pieces if b"MIME-Version" in one.wire]
    assert bool(content) == (level != "nothing")
    assert isinstance(records[0], SessionStart)
    assert records[0].policy.body == {"headers": "headers", "nothing": "none"}.get(level, "full")
    assert [one.session.seq for one in records] == [*range(1, len(records) + 1)]
    if level == "headers":
        assert all(one.wire.endswith(b"\r\n\r\n") for one in content)
        assert all(sum(size for _, size in one.segments) == len(one.wire) for one in content)


def test_the_line_that_matters(tmp_path: Path) -> None:
    mail = MAILS["plain"]
    line = mail[: mail.index(b"..Scheidung")].count(b"\n") + 1
    wish = Wish(keep_lines={1: [line]})
    result, members = made(session_with(mail, mail), tmp_path, wish)
    assert result.hits == []
    assert members["capture.jsonl"].count(b"Scheidung") == 1
    assert f"message 1 these lines stay word for word: {line}" in result.text
    assert result.messages == [1, 2]


def test_a_bundle_of_a_bundle_is_the_same(tmp_path: Path) -> None:
    _, members = made(ALL, tmp_path)
    again, others = made(captures.read(str(tmp_path / "b.zip")), tmp_path, name="c.zip")
    assert members["capture.jsonl"] == others["capture.jsonl"]
    assert again.hits == []
    assert "nothing" in again.text


Leak = Callable[[bytes], bytes]


def leaking(monkeypatch: pytest.MonkeyPatch, leak: Leak) -> None:
    """Break the sanitiser: one word of a message comes out in some form."""
    original = mime.Messages.message

    def message(self: mime.Messages, data: bytes, keep: Iterable[int] = ()) -> bytes:
        return original(self, data, [*keep])[:-82] + leak(b"Krankenschein").ljust(80) + b"\r\n"

    monkeypatch.setattr(mime.Messages, "message", message)


@pytest.mark.parametrize(
    "leak",
    [
        bytes,
        bytes.upper,
        bytes.swapcase,
        base64.b64encode,
        lambda word: base64.b64encode(b"a" + word),
        lambda word: base64.b64encode(b"ab" + word),
        lambda word: base64.urlsafe_b64encode(b"\xff" + word),
        bytes.hex,
        lambda word: word.hex().upper(),
        lambda word: "".join(f"%{octet:02x}" for octet in word),
        lambda word: "".join(f"={octet:02X}" for octet in word),
        lambda word: urllib.parse.quote(word[:-1]) + "%6e",
        lambda word: word.decode().encode("utf-16-le"),
        lambda word: word.decode().encode("utf-16-be"),
        lambda word: base64.b64encode(word.decode().encode("utf-16-le")),
        lambda word: word[:5] + b"\r\n" + word[5:],
        lambda word: word[:5] + b"=\r\n" + word[5:],
        lambda word: b"xx" + word + b"xx",
        lambda word: b"&#75;" + word[1:],
    ],
)
def test_the_proof_finds_what_is_left(
    leak: Callable[[bytes], bytes | str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_bytes(word: bytes) -> bytes:
        given = leak(word)
        return given if isinstance(given, bytes) else given.encode()

    leaking(monkeypatch, as_bytes)
    mail = MAILS["base64 text"] + b"Krankenschein" + b" " * 80 + b"\r\n"
    result, _ = made(session_with(mail), tmp_path)
    assert result.hits
    assert "capture.jsonl" in {hit.member for hit in result.hits}
    told = " ".join(f"{hit.rule} {hit.member} {hit.form}" for hit in result.hits)
    assert "rankenschei" not in told


@pytest.mark.parametrize(
    "breaks",
    [
        (lines.SessionLines, "unique_id"),
        (headers.Headers, "value"),
        (lines.SessionLines, "server"),
        (lines.SessionLines, "user"),
        (mime.Messages, "_text"),
        (Keys, "_token"),
    ],
)
def test_the_proof_finds_whatever_was_forgotten(
    breaks: tuple[type, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rule, left out."""

    def itself(_self: object, *given: object) -> object:
        octets = [one for one in given if isinstance(one, bytes)]
        return octets[0] if breaks[1] in ("_text", "server", "user") else octets[-1]

    monkeypatch.setattr(breaks[0], breaks[1], itself)
    result, _ = made(ALL, tmp_path)
    assert result.hits


def test_no_pseudonym_is_a_word_of_the_source(tmp_path: Path) -> None:
    """Of so many, some would be if nobody looked."""
    letters = "abcdefghij"
    every = " ".join(
        f"{a}{b}{c}{d}ab" for a in letters for b in letters for c in letters for d in letters
    )
    mail = MAILS["plain"] + every.encode() + b"\r\n"
    ids = [
        f"<{a}{b}cabb.{c}{a}dabb@x.example.org>" for a in letters for b in letters for c in letters
    ]
    head = b"References: " + "\r\n\t".join(ids).encode() + b"\r\n"
    result = make(lambda: iter(session_with(head + mail)), tmp_path, Wish(), attempts=1)
    assert result.hits == []


def test_a_number_of_a_message_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaking(monkeypatch, lambda _: b" 0301234567")
    mail = MAILS["plain"] + b"0301234567" + b" " * 80 + b"\r\n"
    result, _ = made(session_with(mail), tmp_path)
    assert {hit.rule for hit in result.hits} == {"a number of the source's messages"}


def test_figures_that_stay_are_no_numbers_of_a_message(tmp_path: Path) -> None:
    mail = b"Content-Length: 1234567\r\nLines: 2345678\r\n\r\n7654321\r\n" + b"a\r\n" * 333_333
    records = session_with(mail, b"\r\n%d\r\n" % len(mail))
    result, members = made(records, tmp_path)
    assert result.hits == []
    assert b"Content-Length: 1234567" in members["capture.jsonl"]
    assert b"7654321" not in members["capture.jsonl"]


def test_secrets_of_a_list_are_found(tmp_path: Path) -> None:
    result, _ = made(ALL, tmp_path, Wish(search=Search([b"nothing of it", b"multipart"])))
    assert {hit.rule for hit in result.hits} == {"secret 2 of the list"}


@given(st.text(st.characters(categories=["L"]), min_size=6, max_size=20), st.integers(0, 3))
def test_any_word_that_was_learned_is_found(word: str, before: int) -> None:
    personal = Personal()
    personal.learn(word.encode())
    text = b"x" * before + word.encode() + b" \r\n"
    if not len(personal):
        return  # it says nothing, or is allowed
    assert [*personal.find(text)]
    assert personal.holds(word.encode())


def test_words_of_the_allow_list_are_let_be() -> None:
    personal = Personal([b"certainly"])
    personal.learn(b"Content-Type: multipart/mixed; certainly certain X-Something: ertain")
    assert len(personal) == 1
    assert not [*personal.find(b"certainly multipart")]
    assert [*personal.find(b"xsomethingx")]
    assert repr(personal) == "<Personal>"


def test_a_session_of_more_words_than_can_be_kept_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popproxy.privacy.sanitise.personal.MAX_WORDS", 10)
    result, _ = made(ALL, tmp_path)
    assert not result.complete
    assert "more words than can be looked for" in result.text


def test_a_message_of_any_size_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_HELD", 20_000)
    mail = MAILS["plain"] + "Konstanze Überweisung 12\r\n".encode() * 4_000
    result, _ = made(session_with(mail), tmp_path)
    assert result.hits == []


def test_mail_in_words_of_ours_is_shared(tmp_path: Path) -> None:
    """What every bundle says by itself is no word of a mail, in whatever form it is read."""
    texts = [path.read_bytes() for path in Path(share.__file__).parents[1].rglob("*.py")]
    body = b"\r\n".join(b"".join(texts).split(b"\n"))[:3_000_000]
    mails = [b"Content-Type: text/%b\r\n\r\n%b" % (kind, body) for kind in (b"plain", b"html")]
    result, _ = made(session_with(*mails), tmp_path)
    assert result.hits == []
    assert result.words > 1_000


def test_rulers_are_no_base64(tmp_path: Path) -> None:
    lines = [char * 70 + b"\r\n" for char in (b"-", b"+", b"/", b"=", b"_", b"~", b"a", b"-/")]
    result, _ = made(session_with(b"Subject: a\r\n\r\n" + b"".join(lines * 3)), tmp_path)
    assert result.hits == []


def test_words_are_in_no_file(tmp_path: Path) -> None:
    _, members = made(ALL, tmp_path)
    for name, content in members.items():
        for word in WORDS:
            assert word.lower().encode() not in content.lower(), name
