"""What must hold of everything that draws captures, whatever stands in them (P43)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.cli import check as check_verb
from popproxy.cli import diff as diff_verb
from popproxy.cli import show_list, stats
from popproxy.cli.screen import Screen
from popproxy.cli.show_message import MessageDrawing
from popproxy.cli.show_timing import TimingDrawing
from popproxy.records import Record
from popproxy.sinks.terminal.ink import ASCII_GLYPHS, Glyphs, Palette
from popproxy.tools.check import check
from popproxy.tools.diff import diff
from popproxy.tools.diff_steps import session
from popproxy.tools.messages import Fetched
from popproxy.tools.sessions import overviews
from popproxy.tools.stats import stats as counted
from tests.support.records import HARMFUL, captures, message_parts, moments, octets, texts

screens = st.builds(
    Screen,
    palette=st.just(Palette()),
    glyphs=st.sampled_from([Glyphs(), ASCII_GLYPHS]),
    width=st.sampled_from([20, 40, 80, 200]),
    terminal=st.booleans(),
    encoding=st.sampled_from(["utf-8", "ascii"]),
)

Drawing = Callable[[Screen, list[Record]], Iterator[str]]


def _list(screen: Screen, made: list[Record]) -> Iterator[str]:
    seen = overviews(made)
    return show_list.table(seen, Palette(), screen.width if screen.terminal else None)


def _timing(screen: Screen, made: list[Record]) -> Iterator[str]:
    return TimingDrawing(screen).all(made)


def _diff(screen: Screen, made: list[Record]) -> Iterator[str]:
    found = diff(session(made), session(made[::2]))
    return diff_verb._Drawing(found, ("a", "b"), screen, everything=True).lines()


def _check(screen: Screen, made: list[Record]) -> Iterator[str]:
    checked = check(made)
    return check_verb._Drawing(screen, "name").lines(checked, checked.found)


def _stats(screen: Screen, made: list[Record]) -> Iterator[str]:
    return stats._Drawing(screen).lines(counted(made))


def _harmless(pieces: Iterator[str]) -> None:
    text = "".join(pieces)
    assert not set(text) & set(HARMFUL) - {"\n", "\t"}
    assert text.endswith("\n") or not text


@pytest.mark.parametrize("draw", [_list, _timing, _diff, _check, _stats])
@given(data=st.data())
def test_p43_nothing_raw_reaches_the_terminal(draw: Drawing, data: st.DataObject) -> None:
    _harmless(draw(data.draw(screens), data.draw(captures)))


@given(
    screen=screens,
    message=st.builds(
        Fetched,
        session=texts,
        command=st.sampled_from(["RETR", "TOP"]) | texts,
        at=moments,
        status=texts,
        about=st.none() | message_parts,
        lines=st.none() | st.integers(0, 9),
        content=st.lists(octets | st.sampled_from([b"Subject: =?utf-8?q?=1B[2J?=", b""])).map(
            b"\r\n".join
        ),
        whole=st.booleans(),
    ),
    body=st.booleans(),
)
def test_p43_no_message_reaches_it_raw(screen: Screen, message: Fetched, *, body: bool) -> None:
    _harmless(MessageDrawing(screen, body=body).lines(1, message))
