"""A replay as a client: what it sends to a live server, and which differences it finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio

from popproxy.peers import server
from popproxy.peers.accounts import Accounts
from popproxy.peers.client import ScriptedClient
from popproxy.peers.maildrop import MemoryMaildrop
from popproxy.peers.script import parse
from popproxy.pop3 import Session, Side
from popproxy.records import Record
from popproxy.relay.encryption import Encryption
from popproxy.relay.memory import memory_legs
from popproxy.tools.replay_client import Part, Played, Player, PlayError
from popproxy.tools.replay_compare import Depth, difference
from popproxy.tools.replay_plan import Plan
from popproxy.tools.replay_planner import make_plan
from tests.support.loopback import leg_to
from tests.support.recording import begin, recorder, said
from tests.support.replaying import captured

USER, PASSWORD = "ada", "s3cr3t-of-ada"
MAILS = [
    b"Subject: one\r\n\r\nfirst\r\n.dots\r\n",
    b"Subject: two\r\n\r\nsecond\r\n",
]
LOGIN = [b"USER ada", b"PASS " + PASSWORD.encode()]
WHOLE = [*LOGIN, b"STAT", b"LIST", b"UIDL", b"RETR 1", b"TOP 2 0", b"DELE 1", b"STAT", b"QUIT"]
NO_TLS = cast(Encryption, None)
ADA = Part(user=USER, password=PASSWORD, patience=5.0)


@asynccontextmanager
async def serving(maildrop: MemoryMaildrop) -> AsyncIterator[int]:
    """popproxy's own server, with one account; gives its port."""
    accounts = Accounts(lambda _user: maildrop, {USER: PASSWORD})
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(server.serve, accounts)
            nursery.cancel_scope.cancel()


async def record(port: int, commands: Sequence[bytes]) -> list[Record]:
    """Hold a session, and record it."""
    session, made = Session(), recorder()
    records = begin(made)
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        exchanges = await ScriptedClient(stream).converse(commands)
    for at, exchange in enumerate(exchanges):
        if exchange.command:
            records += made.record(session.receive(Side.CLIENT, exchange.command, at * 10**9))
        records += made.record(session.receive(Side.SERVER, exchange.answer, at * 10**9 + 1))
    for side in (Side.SERVER, Side.CLIENT):
        records += made.record(session.end(side, len(exchanges) * 10**9))
    return [*records, *made.end(reason="server-closed", detail=None, at=len(exchanges) * 10**9)]


async def play(port: int, records: Sequence[Record], part: Part = ADA) -> Played:
    player = Player(leg_to(("127.0.0.1", port)), make_plan(records), part, NO_TLS)
    try:
        return await player.run()
    finally:
        player.leg.close()


async def test_a_server_that_is_as_it_was_shows_no_difference() -> None:
    async with serving(MemoryMaildrop(MAILS)) as port:
        records = await record(port, [one for one in WHOLE if not one.startswith(b"DELE")])
        played = await play(port, records)
    assert played.differences == []
    assert played.left_out == []
    assert played.commands == 8


async def test_the_first_difference_ends_it_and_all_are_told_on_demand() -> None:
    drop = MemoryMaildrop(MAILS)
    async with serving(drop) as port:
        records = await record(port, WHOLE[:-3])
    changed = MemoryMaildrop([MAILS[0].replace(b"first", b"frist"), MAILS[1] + b"more\r\n"])
    async with serving(changed) as port:
        played = await play(port, records)
        assert played.differences == [("STAT", 'recorded "+OK 2 54", got "+OK 2 60"')]
        every = await play(port, records, Part(user=USER, password=PASSWORD, every=True))
    assert [title for title, _text in every.differences] == ["STAT", "LIST", "UIDL", "RETR 1"]
    assert every.differences[3][1] == ('line 3: recorded 5 octets "first", got 5 octets "frist"')


async def test_nothing_is_deleted_unless_it_is_allowed() -> None:
    drop = MemoryMaildrop(MAILS)
    async with serving(MemoryMaildrop(MAILS)) as port:
        records = await record(port, WHOLE)
    async with serving(drop) as port:
        played = await play(port, records)
        assert played.left_out == ["DELE 1"]
        assert played.differences == [], "what follows from the deletion is no difference"
        assert len(drop.contents) == 2
        played = await play(port, records, Part(user=USER, password=PASSWORD, delete=True))
        assert played.differences == []
        assert list(drop.contents) == MAILS[1:]


async def test_a_difference_keeps_what_was_to_be_deleted() -> None:
    drop = MemoryMaildrop(MAILS)
    async with serving(MemoryMaildrop(MAILS[::-1])) as port:
        records = await record(port, [*LOGIN, b"DELE 1", b"LIST", b"QUIT"])
    async with serving(drop) as port:
        played = await play(port, records, Part(user=USER, password=PASSWORD, delete=True))
    assert [title for title, _text in played.differences] == ["LIST"]
    assert list(drop.contents) == MAILS


@pytest.mark.parametrize(
    "login",
    [
        ["C: APOP ada 0123456789abcdef0123456789abcdef", "S: +OK"],
        ["C: AUTH PLAIN", "S: + ", "C: AGFkYQBzM2NyM3Qtb2YtYWRh", "S: +OK"],
        ["C: AUTH PLAIN AGFkYQBzM2NyM3Qtb2YtYWRh", "S: +OK"],
        ["C: AUTH SCRAM-SHA-256 bixhPQ==", "S: + eDE=", "C: eDI=", "S: +OK"],
        [
            *("C: USER ada", "S: +OK", "C: PASS wrong-one", "S: -ERR"),
            *("C: USER ada", "S: +OK", "C: PASS s3cr3t-of-ada", "S: +OK"),
        ],
    ],
    ids=["apop", "plain", "plain-at-once", "scram-by-user-and-pass", "second-attempt"],
)
async def test_every_login_that_was_recorded_becomes_one_that_works(login: list[str]) -> None:
    records = said("S: +OK <1@x>", *login, "C: STAT", "S: +OK 2 54", "C: QUIT", "S: +OK")
    async with serving(MemoryMaildrop(MAILS)) as port:
        played = await play(port, records)
    assert played.differences == []
    assert played.commands == 3


async def test_a_wrong_password_is_told() -> None:
    async with serving(MemoryMaildrop(MAILS)) as port:
        records = await record(port, WHOLE)
        with pytest.raises(PlayError, match="refuses the login") as error:
            await play(port, records, Part(user=USER, password="wrong"))
    assert error.value.remedy == "Check user name and password."


async def heard(records: Sequence[Record], answers: Sequence[bytes], part: Part) -> list[bytes]:
    """Play to a server that answers each read by the next of some answers; give what it read."""
    ours, theirs = memory_legs()
    read: list[bytes] = []

    async def serve() -> None:
        for answer in answers:
            await theirs.write(answer)
            if not (data := await theirs.read()):
                break
            read.append(data)
        theirs.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        player = Player(ours, make_plan(records), part, NO_TLS)
        await player.run()
        player.leg.close()
    return read


async def test_commands_go_together_where_they_went_together_and_rset_before_quit() -> None:
    script = "S: +OK\nC: USER a\nS: +OK\nC: PASS {secret}\nS: +OK\nC: STAT\nC+ LIST\nC+ NOOP\n"
    script += "S: +OK 0 0\nS+ +OK\nS+ .\nS+ +OK\nC: {secret}\nS: -ERR\nC: QUIT\nS: +OK\nS! eof\n"
    records = captured(parse(script), b"s3cr3t-of-ada")
    answers = [b"+OK\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK 0 0\r\n+OK\r\n.\r\n+OK\r\n", b"+OK\r\n"]
    read = await heard(records, [*answers, b"+OK\r\n"], ADA)
    assert read == [
        b"USER ada\r\n",
        b"PASS s3cr3t-of-ada\r\n",
        b"STAT\r\nLIST\r\nNOOP\r\n",
        b"RSET\r\n",
        b"QUIT\r\n",
    ]


async def test_what_may_alter_something_is_not_sent() -> None:
    lines = ["S: +OK", "C: USER a", "S: +OK", "C: PASS s3cr3t-of-ada", "S: +OK"]
    for command in ("DELE 1", "XTND XMIT", "EXPUNGE", "RETR 1; x", "XOIP 1.2.3.4", "NOOP secrets"):
        lines += [f"C: {command}", "S: -ERR"]
    answers = [b"+OK\r\n"] * 5
    read = await heard(said(*lines), answers, ADA)
    assert [one.split()[0] for one in read] == [b"USER", b"PASS", b"RSET", b"QUIT"]


async def test_a_server_that_goes_away_is_a_difference() -> None:
    records = said(
        *("S: +OK", "C: USER a", "S: +OK", "C: PASS s3cr3t-of-ada", "S: +OK", "C: STAT"),
        *("S: +OK 0 0", "C: QUIT", "S: +OK"),
    )
    ours, theirs = memory_legs()

    async def serve() -> None:
        for answer in (b"+OK\r\n", b"+OK\r\n", b"+OK\r\n"):
            await theirs.write(answer)
            await theirs.read()
        theirs.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        player = Player(ours, make_plan(records), ADA, NO_TLS)
        played = await player.run()
        player.leg.close()
    ((title, text),) = played.differences
    assert (title, text.startswith("recorded an answer, and now ")) == ("STAT", True)


# One answer and another.


def step(*lines: str) -> Plan:
    return make_plan(said("S: +OK", "C: USER a", "S: +OK", "C: PASS hunter22", "S: +OK", *lines))


RETR = ("C: RETR 1", "S: +OK 20 octets\r\nSubject: a\r\n\r\nhunter22 it is\r\n.")


@pytest.mark.parametrize(
    ("lines", "answer", "depth", "found"),
    [
        (("C: NOOP", "S: +OK fine"), b"+OK well\r\n", "content", ""),
        (("C: NOOP", "S: +OK"), b"-ERR [X] no\r\n", "content", 'recorded "+OK", got "-ERR [X]"'),
        (
            ("C: NOOP", "S: -ERR [IN-USE] a"),
            b"-ERR [SYS/TEMP] b\r\n",
            "content",
            "recorded [IN-USE], got [SYS/TEMP]",
        ),
        (("C: NOOP", "S: +OK"), b"", "content", 'recorded "+OK", got no answer'),
        (("C: LIST 1", "S: +OK 1 20"), b"+OK 1 21\r\n", "shape", '"+OK 1 20", got "+OK 1 21"'),
        (("C: UIDL 1", "S: +OK 1 x"), b"+OK 1 y\r\n", "shape", ""),
        (("C: UIDL 1", "S: +OK 1 x"), b"+OK 1 y\r\n", "content", 'got "+OK 1 y"'),
        (RETR, b"+OK\r\nSubject: a\r\n\r\nanything it is\r\n.\r\n", "content", ""),
        (RETR, b"+OK\r\nSubject: a\r\n\r\nhunter22 it was\r\n.\r\n", "content", "line 3: "),
        (RETR, b"+OK\r\nSubject: b\r\n\r\nhunter22 it is\r\n.\r\n", "shape", ""),
        (RETR, b"+OK\r\nSubject: bb\r\n\r\nhunter22 it is\r\n.\r\n", "shape", "line 1: "),
        (RETR, b"+OK\r\nSubject: a\r\n\r\n.\r\n", "shape", "recorded 3 lines, 30 octets, got 2"),
        (
            ("C: CAPA", "S: +OK\r\nTOP\r\n."),
            b"+OK\r\nUIDL\r\n.\r\n",
            "content",
            'line 1: recorded 3 octets "TOP", got 4 octets "UIDL"',
        ),
    ],
)
def test_what_counts_as_a_difference(
    lines: tuple[str, ...], answer: bytes, depth: Depth, found: str
) -> None:
    told = difference(step(*lines).steps[-1], answer, depth)
    assert found in told
    assert bool(found) == bool(told)


def test_p13_the_answer_of_a_login_is_not_quoted() -> None:
    recorded = step().steps[2]
    told = difference(recorded, b"-ERR never heard of hunter22\r\n", "content")
    assert told == 'recorded "+OK", got "-ERR"'
