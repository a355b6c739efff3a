"""Laws of sanitising, on the corpus of odd conversations and on private-looking mail.

1. The framing is the same: every line has as many octets, its end, its dots, its status indicator.
2. Twice is the same as once, whatever the keys are.
3. No word of the source is left but those of the allow-list.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.formats import jsonl
from popproxy.peers.script import Conversation
from popproxy.pop3 import Command, Event, Greeting, Response, Session, Side
from popproxy.privacy.content import Digest
from popproxy.privacy.sanitise import Keys, Level, Sanitiser, kept, sanitise
from popproxy.privacy.sanitise.words import says_nothing
from popproxy.records import DataRecord, Record, ResponseRecord, WireRecord, json_schema
from tests.support.conversations import SECRET, every_conversation
from tests.support.core import at_random, story
from tests.support.private_mail import MAILS, WORDS, session_with, words
from tests.support.recording import play

KEY = b"k" * 32
every_mail = pytest.mark.parametrize("mail", MAILS.values(), ids=MAILS)


def sanitised(
    records: Iterable[Record], *, level: Level = "structure", key: bytes = KEY
) -> list[Record]:
    records = [*records]
    said = {word for record in wire(records) for word in words(record.wire)}
    made = Sanitiser(Keys(key), level=level, taken=lambda word: not said.isdisjoint(words(word)))
    return [*sanitise(records, made)]


def recorded(conversation: Conversation, seed: int | None = None) -> list[Record]:
    cut = at_random(seed) if seed is not None else lambda data: [data]
    return [*jsonl.read(play(conversation, SECRET, cut=cut).splitlines(keepends=True))]


def wire(records: Iterable[Record]) -> list[WireRecord]:
    return [record for record in records if isinstance(record, WireRecord)]


def heard(records: Iterable[Record]) -> list[Event]:
    """Read the wire of a capture anew."""
    session, events = Session(), list[Event]()
    for at, record in enumerate(wire(records), 1):
        if record.wire:
            events += session.receive(Side[record.side.upper()], record.wire, at)
            while session.waiting_for_tls:
                events += session.tls_declined(at)
    return [*events, *session.end(Side.CLIENT, 10**6), *session.end(Side.SERVER, 10**6)]


def frame(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """What of events is framing: everything but the words."""
    made: list[tuple[object, ...]] = []
    for event, told in zip(events, story(events), strict=True):
        more: tuple[object, ...] = ()
        if isinstance(event, Response):
            more = event.seq, event.keyword, event.code is None, event.state, event.multi_line
        elif isinstance(event, Command):
            more = event.seq, event.state, event.pipelined, len(event.arguments)
        elif isinstance(event, Greeting):
            more = event.status, event.timestamp is None
        made.append((type(event), event.side, len(event.raw), told, *more))
    return made


def check_framing(before: list[Record], after: list[Record]) -> None:
    assert len(before) == len(after)
    for was, now in zip(before, after, strict=True):
        assert type(was) is type(now)
        assert (was.session.seq, was.event) == (now.session.seq, now.event)
        if isinstance(was, WireRecord) and isinstance(now, WireRecord):
            assert (was.side, was.segments, was.joined) == (now.side, now.segments, now.joined)
            assert (was.raw is None, was.raw_b64 is None) == (now.raw is None, now.raw_b64 is None)
            check_octets(was.wire, now.wire)
        if isinstance(was, ResponseRecord) and isinstance(now, ResponseRecord):
            assert (was.pop3.status, was.pop3.stat, was.pop3.listing, was.pop3.octets) == (
                now.pop3.status, now.pop3.stat, now.pop3.listing, now.pop3.octets
            )  # fmt: skip
    for (at, _), (later, _) in pairwise(zip(after, before, strict=True)):
        assert at.session.id == later.session.id
        assert at.timestamp <= later.timestamp or before[0].session.id != later.session.id
    assert frame(heard(after)) == frame(heard(before))


def check_octets(was: bytes, now: bytes) -> None:
    """The same octets but for letters, digits, and characters that are not ASCII."""
    assert len(was) == len(now)
    assert [len(line) for line in was.split(b"\n")] == [len(line) for line in now.split(b"\n")]
    assert dots(was) == dots(now)
    for one, other in zip(was, now, strict=True):
        if one == 0x20 and chr(other).isdigit():
            continue  # a date's day needed the room
        if one < 0x80 and not chr(one).isalnum():
            assert one == other or kinds(one) == kinds(other)
        assert (one < 0x80) == (other < 0x80)


def dots(octets: bytes) -> list[int]:
    """How many dots each line begins with."""
    return [len(line) - len(line.lstrip(b".")) for line in octets.split(b"\n")]


def kinds(octet: int) -> str:
    """Base64, uuencode and the like put any of these in each other's place."""
    return "printable" if 0x20 < octet < 0x7F else "control" if octet < 0x20 else "high"


@every_conversation
def test_the_framing_is_the_same(conversation: Conversation) -> None:
    records = recorded(conversation)
    check_framing(records, sanitised(records))


@every_conversation
def test_the_framing_is_the_same_at_any_cut(conversation: Conversation) -> None:
    records = recorded(conversation, 5)
    check_framing(records, sanitised(records))


@every_conversation
def test_twice_is_once(conversation: Conversation) -> None:
    once = sanitised(recorded(conversation))
    assert sanitised(once, key=b"another" * 5) == once


@every_mail
def test_mail_keeps_its_framing_and_twice_is_once(mail: bytes) -> None:
    records = session_with(mail)
    once = sanitised(records)
    check_framing(records, once)
    assert sanitised(once, key=b"another" * 5) == once


def test_several_mails_at_once() -> None:
    records = session_with(*MAILS.values())
    once = sanitised(records)
    check_framing(records, once)
    assert sanitised(once, key=b"another" * 5) == once


def left(records: Iterable[Record], after: Iterable[Record]) -> set[bytes]:
    """Words of a source that are left, in any record, outside the allow-list."""
    source = {word for record in wire(records) for word in words(record.wire)}
    shown = b"".join(map(jsonl.encode, after)) + b"".join(one.wire + b"\n" for one in wire(after))
    ours = json.dumps(json_schema()) + Sanitiser(Keys(KEY)).notice
    known = kept.ALL | set(words(ours.encode()))
    return {
        word for word in words(shown) if word in source and word not in known and not filler(word)
    }


def filler(word: bytes) -> bool:
    """What `fill` makes of words, and what base64 is made of."""
    return says_nothing(word) or set(word) <= set(b"a0x")


@every_mail
def test_no_word_of_six_characters_is_left(mail: bytes) -> None:
    records = session_with(mail)
    assert left(records, sanitised(records)) == set()


@every_conversation
def test_no_word_of_a_conversation_is_left(conversation: Conversation) -> None:
    records = recorded(conversation)
    assert left(records, sanitised(records)) == set()


@every_mail
@pytest.mark.parametrize("level", ["structure", "headers", "nothing"])
def test_no_private_word_is_left_in_any_form(mail: bytes, level: Level) -> None:
    shown = b"".join(map(jsonl.encode, sanitised(session_with(mail), level=level))).lower()
    for word in WORDS:
        for form in (word.lower().encode(), word.lower().encode("unicode_escape")):
            assert form not in shown


mail_pieces = st.sampled_from(
    [line + b"\r\n" for mail in MAILS.values() for line in mail.split(b"\r\n") if len(line) < 200]
    + [
        b"\r\n",
        b"--=_aussen\r\n",
        b"--=_aussen--\r\n",
        b"..\r\n",
        b"\n",
        b" \r\n",
        b"=\r\n",
        b"\xc3",
    ]
)
any_mail = st.lists(
    st.one_of(mail_pieces, st.binary(max_size=40), st.text(max_size=30).map(str.encode)),
    max_size=25,
).map(b"".join)


@settings(max_examples=80, deadline=None)
@given(any_mail)
def test_any_mail_keeps_its_framing_loses_its_words_and_twice_is_once(mail: bytes) -> None:
    records = session_with(mail)
    once = sanitised(records)
    check_framing(records, once)
    assert sanitised(once, key=b"another" * 5) == once
    assert left(records, once) == set()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, len(MAILS) - 1), min_size=1, max_size=3), st.data())
def test_damaged_mail_keeps_its_framing(which: list[int], data: st.DataObject) -> None:
    mail = b"".join([*MAILS.values()][one] for one in which)
    lines = mail.split(b"\r\n")
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        if data.draw(st.booleans()):
            lines.insert(at, lines[data.draw(st.integers(0, len(lines) - 1))])
        elif len(lines) > 1:
            del lines[at]
    records = session_with(b"\r\n".join(lines))
    once = sanitised(records)
    check_framing(records, once)
    assert sanitised(once, key=b"another" * 5) == once
    assert left(records, once) == set()


@pytest.mark.parametrize("encoding", [b"7bit", b"quoted-printable"])
def test_what_reads_as_a_status_at_a_line_s_beginning_stays(encoding: bytes) -> None:
    """After an unknown command it is what content ends at."""
    mail = b"Content-Transfer-Encoding: %b\r\n\r\n+OK Konstanze\r\n-ERR=\r\n+OK is\r\n" % encoding
    wires = b"".join(record.wire for record in wire(sanitised(session_with(mail))))
    assert b"\r\n+OK Xxxxxxxxx\r\n-ERR=\r\n+OK xx\r\n" in wires


@every_mail
def test_records_of_a_message_tell_of_the_sanitised_one(mail: bytes) -> None:
    after = sanitised(session_with(mail))
    (told,) = [
        record.pop3.message
        for record in after
        if isinstance(record, ResponseRecord) and record.pop3.message is not None
    ]
    content = b"".join(
        record.wire
        for record in after
        if isinstance(record, DataRecord)
        and record.pop3.part == "content"
        and record.pop3.command_seq == 4
    )
    digest = Digest()
    digest.begin(strict=True)
    digest.feed(content)
    assert told.sha256 == digest.sha256()
    assert told.octets == digest.octets


def test_p13_nothing_shows_a_key() -> None:
    assert repr(Sanitiser(Keys(KEY))) == "<Sanitiser>"
    assert repr(Keys(KEY)) == "<Keys>"
    with pytest.raises(TypeError):
        pickle.dumps(Keys(KEY))
