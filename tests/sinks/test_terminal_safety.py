"""What must hold of the live terminal whatever peers say."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.records import Record
from popproxy.sinks.terminal import Transcript, make_console
from popproxy.sinks.terminal.ink import Glyphs, Palette
from tests.support.records import HARMFUL, captures, texts
from tests.support.speaking import Speaking
from tests.support.terminal import COLOURS, SGR, shown


@given(captures, st.integers(1, 200), st.sampled_from(["utf-8", "ascii"]))
def test_p43_nothing_raw_reaches_the_terminal(
    records: list[Record], width: int, encoding: str
) -> None:
    text = shown(records, width=width, encoding=encoding)
    assert not set(text) & set(HARMFUL) - {"\n", "\t"}
    assert text.endswith("\n") or not text


@given(texts)
def test_p43_no_peer_can_begin_a_line_that_looks_like_ours(text: str) -> None:
    session = Speaking().piece("line", f"{text}\r\n".encode()).says(b"NOOP\r\n")
    lines = shown(session.records).splitlines()
    assert all(
        re.match(r"22:37:46\.120 [CS]:( |$)", line) or not line[:16].strip() for line in lines
    )


@pytest.mark.parametrize("text", ["[/x] [bold]x[/bold]", ":smile: :warning:", "{x} %s \\o/"])
def test_p46_markup_and_emoji_names_are_text(text: str) -> None:
    session = (
        Speaking().start(notice=text, upstream=text, client=text).greeting(f"{text}\r\n".encode())
    )
    session.finding("info", text, where=text, rfc=text, code=text).logs_in("success", text, text)
    for palette in (Palette(), COLOURS):
        lines = SGR.sub("", shown(session.records, width=200, palette=palette)).replace("\n", " ")
        assert lines.count(text) == 10
    console = make_console("always", io.StringIO(), {"TERM": "xterm"})
    console.print(text)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == text + "\n"


@pytest.mark.parametrize("size", [1, 7, 499, 500, 501, 65_536, 200_000])
def test_p49_a_shown_line_is_capped_and_the_rest_counted(size: int) -> None:
    line = b"+OK " + b"x" * 20_000 + b"\r\n"
    session = Speaking()
    for begin in range(0, len(line), size):
        session.piece("line", line[begin : begin + size])
    assert shown(session.records, width=40) == ("S: +OK " + "x" * 496 + " … 19,504 octets more\n")
    content = Speaking().says(b"retr 1\r\n").brings(b"+OK\r\n", line, size=size)
    assert " │ +OK " + "x" * 496 + " … 19,504 octets more\n" in shown(content.records, width=40)


def test_p49_an_endless_line_costs_no_memory() -> None:
    transcript = Transcript(Palette(), Glyphs(), lambda: 80)
    for record in (
        Speaking().piece("line", b"x" * 65_536).records
        + Speaking("b").piece("content", b"y" * 65_536).records
    ) * 50:
        assert transcript.write(record) == b""
    (one, two) = transcript._sessions.values()
    assert len(one._lines["server"]._start) < 1000
    assert len(two._contents["server"]._assembler._start) < 1000


def test_p49_a_cap_does_not_split_a_character() -> None:
    for shift in range(8):
        text = "a" * shift + "é邮😀" * 100
        said = shown(Speaking().piece("line", text.encode() + b"\r\n").records, cap=200)
        assert "\\x" not in said
        assert said.count("…") == 1


def _pieces(data: bytes, cuts: Sequence[int]) -> list[Record]:
    session = Speaking().says(b"retr 1\r\n").piece("status", b"+OK\r\n")
    borders = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for begin, end in pairwise(borders):
        session.piece("content", data[begin:end])
    return session.answers(b".\r\n", multi_line=True).records


@given(
    st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"A: b", b"x" * 12, "é".encode()])).map(
        b"".join
    ),
    st.lists(st.integers(0, 1000), max_size=5),
    st.integers(0, 4),
)
def test_content_looks_the_same_in_any_cut(data: bytes, cuts: list[int], fold: int) -> None:
    whole = shown(_pieces(data, []), fold=fold, cap=8)
    assert shown(_pieces(data, cuts), fold=fold, cap=8) == whole
    folded = re.search(r"(\S+) more lines?, (\S+) octets?", whole)
    seen = whole.count(" │")
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    assert seen + (int(folded[1]) if folded else 0) == lines


def test_a_tab_moves_no_timing_out_of_sight() -> None:
    session = Speaking().answers(b"+OK a\tb\r\n", 4.2)
    assert shown(session.records, width=40) == "S: +OK a\tb  4.2 ms\n"


def test_commands_that_are_never_answered_cost_no_memory_without_bound() -> None:
    transcript = Transcript(Palette(), Glyphs(), lambda: 80)
    session = Speaking()
    for _ in range(3000):
        session.says(b"NOOP\r\n")
    for record in session.records:
        transcript.write(record)
    (conversation,) = transcript._sessions.values()
    assert len(conversation._pending) <= 1000


def test_a_line_that_content_interrupts_is_shown_first() -> None:
    session = Speaking().piece("line", b"half").piece("content", b"1 2\r\n")
    assert shown(session.records, width=40) == "S: half\n │ 1 2\n"
