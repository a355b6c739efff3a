"""Other segments than the recorded ones: the same octets, cut where it hurts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.tools.replay_pieces import Split, SplitError, Splitter
from popproxy.tools.replay_plan import Piece

PIECES = st.lists(
    st.builds(
        Piece,
        st.lists(
            st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"+OK ", b"\r\n.\r\n", b"x" * 60]),
            min_size=1,
        ).map(b"".join),
        st.floats(0, 10),
    ),
    max_size=5,
)
WAYS = st.one_of(
    st.sampled_from(["every", "terminator", "none"]),
    st.integers(1, 50).map(str),
    st.integers().map("random:{}".format),
)


def cut(pieces: list[Piece], how: str) -> list[Piece]:
    return list(Splitter(Split.parse(how)).cut(pieces))


@given(PIECES, WAYS)
def test_octets_and_time_stay_the_same(pieces: list[Piece], how: str) -> None:
    found = cut(pieces, how)
    assert b"".join(piece.data for piece in found) == b"".join(piece.data for piece in pieces)
    assert sum(piece.delay for piece in found) == pytest.approx(
        sum(piece.delay for piece in pieces)
    )
    assert all(piece.data for piece in found)
    assert cut(pieces, how) == found, "the same seed, the same places"


@given(PIECES, st.integers(1, 50))
def test_sizes(pieces: list[Piece], size: int) -> None:
    assert all(len(piece.data) == 1 for piece in cut(pieces, "every"))
    assert len(cut(pieces, "none")) <= 1
    sized = cut(pieces, str(size))
    assert all(len(piece.data) == size for piece in sized[:-1])


@given(PIECES)
def test_every_place_inside_a_terminator_is_cut(pieces: list[Piece]) -> None:
    whole = b"".join(piece.data for piece in pieces)
    borders, at = set(), 0
    for piece in cut(pieces, "terminator"):
        at += len(piece.data)
        borders.add(at)
    start = whole.find(b"\r\n.\r\n")
    while start >= 0:
        assert borders.issuperset(range(start + 1, min(start + 5, len(whole))))
        start = whole.find(b"\r\n.\r\n", start + 1)


def test_the_end_of_a_message_is_cut_between_all_octets() -> None:
    found = cut([Piece(b"+OK\r\na\r\n.\r\n", 2.0)], "terminator")
    assert [piece.data for piece in found] == [
        b"+OK\r\na", b"\r", b"\n", b".", b"\r", b"\n"
    ]  # fmt: skip
    assert [piece.delay for piece in found] == [2.0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("how", ["", "0", "-1", "random", "random:", "Every", "1.5", "evry"])
def test_what_is_no_way_to_split_is_told(how: str) -> None:
    with pytest.raises(SplitError, match="every, terminator, none, a number"):
        Split.parse(how)
