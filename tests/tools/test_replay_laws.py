"""What holds for every recording: a replay of it is it, and no file breaks a replay."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from popproxy.peers.script import Action, Conversation, parse
from popproxy.pop3 import Session, Side
from popproxy.records import Record, SessionPart
from popproxy.relay.memory import memory_legs
from popproxy.tools.replay_place import Known, Match
from popproxy.tools.replay_planner import PlanError, make_plan
from popproxy.tools.replay_session import Manner, ReplaySession
from tests.support.recording import begin, recorder, wire
from tests.support.records import captures
from tests.support.replaying import Held, captured, hold, reads

# A conversation that any server and client could hold: commands alone or several in one segment,
# answers cut anywhere, at any time, and an end at any place.

_ANSWERS = {
    "NOOP": ["+OK", "-ERR no", "+OK {repeat:900:x}"],
    "STAT": ["+OK 2 60", "-ERR"],
    "LIST": ["+OK\\r\\n1 20\\r\\n2 40\\r\\n.", "+OK\\r\\n.", "-ERR"],
    "RETR 1": [
        "+OK\\r\\nSubject: a\\r\\n\\r\\nb\\r\\n..\\r\\n+OK c\\r\\n.",
        "+OK 3\\r\\n\\r\\n\\r\\n.",
        "-ERR [SYS/TEMP] gone",
    ],
    "FROB": ["-ERR what"],
}


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    lines = ["S: +OK ready", "C: USER ada", "S: +OK", "C: PASS {secret}", "S: +OK"]
    for _ in range(draw(st.integers(0, 4))):
        commands = draw(st.lists(st.sampled_from(sorted(_ANSWERS)), min_size=1, max_size=3))
        for number, command in enumerate(commands):
            lines.append(f"C{'+' if number else ':'} {command}")
        lines += ["! wait 1"] * draw(st.integers(0, 3))
        answer = "\\r\\n".join(draw(st.sampled_from(_ANSWERS[one])) for one in commands)
        lines += draw(_cut(f"{answer}\\r\\n"))
    end = draw(st.sampled_from(["C: QUIT\nS: +OK bye\nS! eof", "S! eof", "S! rst", "C! eof"]))
    return parse("\n".join([*lines, end, ""]))


@st.composite
def _cut(draw: st.DrawFn, answer: str) -> list[str]:
    """Put an answer into segments; escapes stay whole."""
    if "{" in answer:
        return [f"S: {answer}\\"]
    units: list[str] = []
    for letter in answer:
        if units and units[-1] == "\\":
            units[-1] += letter
        else:
            units.append(letter)
    borders = sorted(draw(st.sets(st.integers(1, len(units) - 1), max_size=4)))
    pieces = [
        "".join(units[start:end]).replace(" ", "\\s")
        for start, end in zip([0, *borders], [*borders, len(units)], strict=True)
    ]
    return [f"S: {piece}\\" for piece in pieces]


def _held(records: list[Record], conversation: Conversation) -> Held:
    async def run() -> Held:
        return await hold(records, conversation, b"s3cr3t-of-ada")

    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


@given(conversations())
@settings(max_examples=60, deadline=None)
def test_the_recording_of_a_replay_is_the_recording(conversation: Conversation) -> None:
    records = captured(conversation, b"s3cr3t-of-ada")
    held = _held(records, conversation)
    assert held.outcome.departures == []
    expected = [(round(at, 2), data) for at, data in reads(records)]
    assert [(round(at, 2), data) for at, data in held.reads] == expected
    last = conversation.render()[-1]
    if last.side is Side.SERVER:
        assert round(held.closed_at, 2) == last.line
        assert held.lost == (last.action is Action.RESET)

    # What a recorder between the two would have seen.
    session, made = Session(), recorder()
    again = begin(made)
    said = [
        (turn.line, Side.CLIENT, turn.data)
        for turn in conversation.render(b"s3cr3t-of-ada")
        if turn.side is Side.CLIENT and turn.data
    ]
    heard = [(at, Side.SERVER, data) for at, data in held.reads]
    for at, side, data in sorted([*said, *heard], key=lambda one: one[0]):
        again += made.record(session.receive(side, data, round(at * 10**9)))
    for side in Side:
        again += made.record(session.end(side, 10**12))
    assert wire(again, "server") == wire(records, "server")
    assert [data for _at, data in reads(again)] == [data for _at, data in reads(records)]


@given(
    captures,
    st.sampled_from(["strict", "lenient"]),
    st.lists(
        st.sampled_from(
            [
                *(b"USER a", b"PASS b", b"STAT", b"LIST", b"UIDL 1", b"RETR 1", b"TOP 1 2"),
                *(b"DELE 1", b"RSET", b"CAPA", b"AUTH PLAIN", b"AGEAYg==", b"STLS", b"QUIT"),
                *(b"", b"\xff", b"*"),
            ]
        ),
        max_size=6,
    ),
)
@settings(deadline=None)
def test_no_capture_breaks_a_replay(
    records: list[Record], match: Match, commands: list[bytes]
) -> None:
    session = [
        structs.replace(record, session=SessionPart(id="one", seq=number))
        for number, record in enumerate(records, 1)
    ]
    try:
        plan = make_plan(session)
    except PlanError:
        return

    async def run() -> None:
        ours, theirs = memory_legs(1 << 20)
        replay = ReplaySession(theirs, Known(plan), Manner(match=match, speed=None, idle=1.0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replay.run)
            await ours.write(b"".join(command + b"\r\n" for command in commands))
            ours.half_close()

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
