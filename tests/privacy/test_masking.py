"""Content masked across cuts: nothing gets through, and no figure tells a length."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.pop3.events import Read
from popproxy.privacy.content import MAX_HEADERS, RECORD, Cutter, Digest, HeaderSplit
from popproxy.privacy.learned import REACH, Learned
from popproxy.privacy.masking import MAX_HELD, Masked, MaskedStream, reads_of, replace

SECRET = b"Tr0ut%Lake+9/Xy=z"


def stream(*secrets: bytes) -> MaskedStream:
    learned = Learned()
    learned.learn(secrets or (SECRET,))
    return MaskedStream(learned)


def run(made: MaskedStream, pieces: Iterable[bytes]) -> list[Masked]:
    """Feed pieces, each of them a read of its own, and take after each."""
    given_out = []
    for number, piece in enumerate(pieces):
        made.add(piece, (Read(number, len(piece)),), joined=False)
        given_out.append(made.take(everything=False))
    return [*given_out, made.take(everything=True)]


def text_of(given_out: Iterable[Masked]) -> bytes:
    return b"".join(masked.text for masked in given_out)


def cuts(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


def test_the_mask_is_put_in() -> None:
    assert replace(b"abcdef", [(1, 2), (4, 6)]) == (b"a********cd********", [1, 11])
    assert replace(b"abc", []) == (b"abc", [])


def test_p03_reads_behind_a_mask_count_as_one() -> None:
    reads = [Read(1, 3), Read(2, 4), Read(3, 1), Read(4, 2)]
    assert reads_of(reads, None, 10) == reads
    assert reads_of(reads, 0, 20) == [Read(1, 20)]
    assert reads_of(reads, 2, 20) == [Read(1, 20)]
    assert reads_of(reads, 3, 20) == [Read(1, 3), Read(2, 17)]
    assert reads_of(reads, 9, 20) == [Read(1, 3), Read(2, 4), Read(3, 1), Read(4, 12)]


_FORMS = [
    SECRET,
    SECRET.upper(),
    base64.b64encode(SECRET),
    base64.encodebytes(b"x" * 50 + SECRET).strip().replace(b"\n", b"\r\n"),
    SECRET.hex().encode(),
    b"".join(b"%%%02X" % octet for octet in SECRET),
    b"=\r\n".join(b"=%02X" % octet for octet in SECRET),
]


@given(
    st.sampled_from(_FORMS),
    st.integers(0, 3_000),
    st.integers(0, 3_000),
    st.lists(st.integers(1, 2_000), max_size=8),
)
def test_p04_no_cut_lets_a_secret_through(
    form: bytes, before: int, behind: int, sizes: list[int]
) -> None:
    data = b"-" * before + b"\r\n" + form + b"\r\n" + b"-" * behind
    whole = text_of(run(stream(), [data]))
    assert whole.count(b"********") == 1
    assert whole.startswith(b"-" * before + b"\r\n")
    assert whole.endswith(b"\r\n" + b"-" * behind)
    assert text_of(run(stream(), cuts(data, sizes))) == whole


@given(st.binary(max_size=6_000), st.lists(st.integers(1, 2_000), max_size=8))
def test_the_cut_changes_nothing_in_what_is_told(data: bytes, sizes: list[int]) -> None:
    assert text_of(run(stream(b"\0\0\0\0\0\0"), cuts(data, sizes))) == text_of(
        run(stream(b"\0\0\0\0\0\0"), [data])
    )


@given(st.binary(min_size=1, max_size=5_000), st.lists(st.integers(1, 900), max_size=20))
def test_reads_are_kept_where_nothing_is_masked(data: bytes, sizes: list[int]) -> None:
    pieces = cuts(data, sizes)
    given_out = run(stream(b"not in there at all"), pieces)
    reads: list[list[int]] = []
    for masked in given_out:
        assert sum(read.size for read in masked.reads) == len(masked.text)
        for number, read in enumerate(masked.reads):
            if number == 0 and masked.joined:
                reads[-1][1] += read.size
            else:
                reads.append([read.at, read.size])
    assert reads == [[number, len(piece)] for number, piece in enumerate(pieces)]


def test_p03_from_the_first_mask_on_all_reads_are_one() -> None:
    outcomes = set()
    for secret in (b"secret-1", b"a secret of another length"):
        made = stream(secret)
        pieces = [b"a" * 10, b"b" * 10, b"c" + secret[:4], secret[4:], b"d" * 20, b"e" * 2_000]
        given_out = run(made, pieces)
        assert all(sum(read.size for read in each.reads) == len(each.text) for each in given_out)
        reads = [read for each in given_out for read in each.reads]
        joined = Cutter()
        for each in given_out:
            joined.add(each)
        (whole,) = joined.take(everything=True)
        outcomes.add((whole.text, tuple(whole.reads), tuple(whole.masks)))
        assert reads[:3] == [Read(0, 10), Read(1, 10), reads[2]]
    assert len(outcomes) == 1
    ((text, reads_told, masks),) = outcomes
    assert masks == (21,)
    assert reads_told == (Read(0, 10), Read(1, 10), Read(2, len(text) - 20))


def test_a_mask_that_begins_with_a_read_has_that_read() -> None:
    given_out = run(stream(), [b"aaa", SECRET, b"bbb"])
    assert [each for each in given_out if each.text] == [
        Masked(b"aaa********bbb", [3], [Read(0, 3), Read(1, 11)], joined=False)
    ]


def test_a_piece_may_go_on_in_the_read_of_the_piece_before() -> None:
    made = stream()
    made.add(b"aaa", (Read(1, 3),), joined=True)
    made.add(b"bbb", (Read(1, 1), Read(2, 2)), joined=True)
    made.add(SECRET, (Read(2, len(SECRET)),), joined=True)
    made.add(b"ccc", (Read(2, 3),), joined=True)
    assert made.take(everything=True) == Masked(
        b"aaabbb********ccc", [6], [Read(1, 4), Read(2, 13)], joined=True
    )
    made.add(b"ddd", (Read(3, 3),), joined=False)
    assert made.take(everything=True) == Masked(b"ddd", [], [Read(2, 3)], joined=True)
    assert made.masked
    assert len(made) == 0


def test_the_mask_of_a_piece_may_belong_to_a_read_told_before() -> None:
    made = stream()
    text = b"x" * 2_000 + SECRET
    made.add(text, (Read(1, len(text)),), joined=False)
    first, last = made.take(everything=False), made.take(everything=True)
    assert not first.joined
    assert last.joined
    assert last.reads == [Read(1, len(last.text))]


def test_p03_the_same_is_held_back_whatever_is_known() -> None:
    for secrets in ([], [b"short"], [SECRET], [SECRET * 20]):
        learned = Learned()
        learned.learn(secrets)
        made = MaskedStream(learned)
        made.add(b"x" * 10_000, (Read(1, 10_000),), joined=False)
        assert len(made.take(everything=False).text) == 10_000 - REACH
        assert len(made) == REACH


def test_p50_what_goes_on_and_on_is_not_held_for_ever() -> None:
    made = stream(b"aaaaaaaa")
    told = run(made, [b"a" * 65_536] * 12 + [b"and an end"])
    assert text_of(told) == b"********"
    assert repr(made) == "<MaskedStream>"


def test_p51_a_body_that_is_all_secrets_costs_linear_time() -> None:
    """Counted in steps, not on the clock: what is held stays small."""
    made = stream()
    for _ in range(40):
        made.add((SECRET + b"\r\n") * 1_000, (Read(1, 19_000),), joined=False)
        made.take(everything=False)
        assert len(made) < MAX_HELD


def test_p05_content_that_came_before_an_overflow_is_told_and_the_rest_is_one_mask() -> None:
    learned = Learned()
    made = MaskedStream(learned)
    assert text_of(run(made, [b"open " * 1_000])).startswith(b"open open")
    learned.overflow()
    assert text_of(run(made, [b"hidden " * 1_000, b"more"])) == b"********"
    assert text_of(run(made, [b"and more"])) == b""
    assert made.take(everything=True).reads == []


@pytest.mark.parametrize("behind", [83, 90, 99])
def test_p04_no_cut_goes_through_finds_that_stand_side_by_side(behind: int) -> None:
    """What may go on is the second of them; the first is no text to be told."""
    secret = b"hunter22-hunter22!"
    encoded = base64.b64encode(secret)
    data = b"it is " + encoded * 2 + b"\r\n" + b"!" * behind + b" \r\n" * 600
    made = stream(secret)
    made.add(data, (Read(0, len(data)),), joined=False)
    assert made.take(everything=False).text == b"it is "
    assert made.take(everything=True).text.startswith(b"********\r\n!!!")


def test_p04_the_rest_of_a_long_secret_is_found_behind_any_gap() -> None:
    secret = bytes(33 + octet * 7 % 89 for octet in range(300))
    encoded = base64.b64encode(secret)
    made = stream(secret)
    given_out = run(made, [b"it is " + encoded[:200] + b"\r\n" * 700, encoded[200:] + b"!"])
    assert [each.text for each in given_out] == [b"it is ", b"", b"********!"]


def test_p03_what_is_held_back_is_the_same_in_masked_form_wherever_the_secret_stands() -> None:
    for gap in (10, 500, REACH - 30):
        made = stream()
        made.add(b"x" * 3_000 + SECRET + b"y" * gap, (Read(0, 3_017 + gap),), joined=False)
        first, last = made.take(everything=False), made.take(everything=True)
        assert first.text == b"x" * (3_000 - (REACH - gap - 8))
        assert len(last.text) == REACH
    for gap, told in ((REACH - 4, b""), (REACH, b"********")):
        made = stream()
        made.add(b"x" * 3_000 + SECRET + b"y" * gap, (Read(0, 3_017 + gap),), joined=False)
        assert made.take(everything=False).text == b"x" * 3_000 + told


def test_p50_a_long_piece_without_secrets_overflows_nothing() -> None:
    learned = Learned()
    learned.learn([SECRET])
    made = MaskedStream(learned)
    for number in range(3):
        made.add(b"x" * 250_000, (Read(number, 250_000),), joined=False)
        assert len(made) == 250_000 + (REACH if number else 0)
        made.take(everything=False)
    assert not learned.overflowed


def test_p03_reads_behind_an_overflow_count_as_one() -> None:
    learned = Learned()
    made = MaskedStream(learned)
    made.add(b"x" * 500, (Read(1, 300), Read(2, 200)), joined=True)
    learned.overflow()
    assert made.take(everything=False) == Masked(b"********", [0], [Read(1, 8)], joined=True)
    assert len(made) == 0
    made.add(b"y" * 500, (Read(3, 500),), joined=False)
    assert made.take(everything=False) == Masked(b"", [], [], joined=True)
    assert made.end(3) == Read(1, 3)


# Cutter


def masked(text: bytes, *reads: Read, joined: bool = False, masks: tuple[int, ...] = ()) -> Masked:
    return Masked(text, [*masks], [*reads] or [Read(0, len(text))], joined)


def test_records_end_at_line_ends_and_are_told_when_full() -> None:
    made = Cutter()
    line = b"x" * 98 + b"\r\n"
    for number in range(10):
        made.add(masked(line * 100, Read(number, 10_000)))
    (first,) = made.take(everything=False)
    assert len(first.text) == RECORD // 100 * 100
    assert first.reads == [*(Read(number, 10_000) for number in range(6)), Read(6, 5_500)]
    assert not first.joined
    assert made.take(everything=False) == []
    (last,) = made.take(everything=True)
    assert last.joined
    assert last.reads == [Read(6, 4_500), *(Read(number, 10_000) for number in (7, 8, 9))]
    assert repr(made) == "<Cutter>"


def test_a_record_that_ends_with_a_read_is_not_joined_to_the_next() -> None:
    made = Cutter()
    made.add(masked(b"x" * (RECORD - 1) + b"\n", Read(1, RECORD)))
    made.add(masked(b"y", Read(2, 1)))
    first, last = made.take(everything=True)
    assert (first.reads, last.reads, last.joined) == ([Read(1, RECORD)], [Read(2, 1)], False)


def test_a_line_without_end_is_cut_between_characters_and_masks() -> None:
    made = Cutter()
    made.add(masked(b"x" * (RECORD - 1) + "€".encode() * 10))
    first, _ = made.take(everything=True)
    assert len(first.text) == RECORD - 1
    made = Cutter()
    made.add(masked(b"x" * (RECORD - 3) + b"********yyy", masks=(RECORD - 3,)))
    first, last = made.take(everything=True)
    assert (len(first.text), first.masks) == (RECORD - 3, [])
    assert (last.text, last.masks) == (b"********yyy", [0])
    made = Cutter()
    made.add(masked(b"\x80" * (RECORD + 10)))
    assert len(made.take(everything=True)[0].text) == RECORD - 4


def test_a_cutter_joins_what_came_in_one_read() -> None:
    made = Cutter()
    made.add(masked(b"ab", Read(1, 2), joined=True))
    made.add(masked(b"cd", Read(1, 1), Read(2, 1), joined=True))
    made.add(masked(b"", joined=True)._replace(reads=[]))
    assert made.take(everything=True) == [
        Masked(b"abcd", [], [Read(1, 3), Read(2, 1)], joined=True)
    ]


@given(st.lists(st.binary(min_size=1, max_size=40_000), max_size=12), st.integers(0, 2**32))
def test_cutting_loses_nothing(texts: list[bytes], seed: int) -> None:
    made, source = Cutter(), random.Random(seed)  # noqa: S311 - no secret hangs on it
    pieces: list[Masked] = []
    for text in texts:
        made.add(masked(text))
        pieces += made.take(everything=source.random() < 0.2)
    pieces += made.take(everything=True)
    assert b"".join(piece.text for piece in pieces) == b"".join(texts)
    for piece in pieces:
        assert 0 < len(piece.text) <= RECORD
        assert sum(read.size for read in piece.reads) == len(piece.text)


# HeaderSplit, Digest


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("sizes", [[], [1] * 60, [7, 3, 11], [13], [14], [15]])
def test_a_header_ends_at_the_first_blank_line(line_end: bytes, sizes: list[int]) -> None:
    header = line_end.join([b"Subject: x", b"To: y", b"", b""])
    for text, size in (
        (header + b"body" + line_end * 3, len(header)),
        (line_end + b"x", len(line_end)),
    ):
        split = HeaderSplit()
        assert sum(split.feed(piece) for piece in cuts(text, sizes)) == size
        assert split.ended


def test_a_header_may_never_end() -> None:
    split = HeaderSplit()
    assert split.feed(b"Subject: x\r\n") == 12
    assert not split.ended
    digest = Digest()
    for _ in range(4):
        digest.feed(b"x: " + b"y" * 30_000 + b"\r\n")
    assert len(digest.header) == MAX_HEADERS
    assert digest.octets == 4 * 30_005
    assert repr(digest) == "<Digest>"
