"""What is changed where legs differ, octet by octet, and that nothing else is (P28)."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from popproxy.peers.script import Conversation
from popproxy.pop3 import Session, Side
from popproxy.relay.lists import Edits
from popproxy.relay.rules import Manner, Rules
from popproxy.relay.translation import LINE, LIST, Rewrite, Stop, Translation
from tests.support.conversations import SECRET, load_all
from tests.support.core import Turn, turns

EDITS = Edits(remove_stls=True, remove_channel_binding=True)
CAPA = (
    b"+OK Capability list follows\r\nTOP\r\nUIDL\r\nSTLS\r\n"
    b"SASL PLAIN SCRAM-SHA-1-PLUS SCRAM-SHA-1\r\nIMPLEMENTATION x-PLUS\r\n.\r\n"
)
CAPA_NOW = (
    b"+OK Capability list follows\r\nTOP\r\nUIDL\r\n"
    b"SASL PLAIN SCRAM-SHA-1\r\nIMPLEMENTATION x-PLUS\r\n.\r\n"
)


class Play:
    """Plays turns through a parser and a translation.

    Attributes:
        sent: What was forwarded, by the side that sent it.
        rewrites: What was changed.
        stop: Where the forwarding stopped.
    """

    def __init__(self, rules: Rules) -> None:
        self.session = Session()
        self.translation = Translation(rules)
        self.sent = {Side.CLIENT: b"", Side.SERVER: b""}
        self.rewrites: list[Rewrite] = []
        self.stop: Stop | None = None

    def say(self, side: Side, data: bytes) -> bytes:
        """Give what is forwarded of one read."""
        events = self.session.receive(side, data, 0)
        if side is Side.CLIENT:
            step = self.translation.client(data, events)
        else:
            step = self.translation.server(data, events, self.session.due)
        self.rewrites += step.rewrites
        self.stop = self.stop or step.stop
        self.sent[side] += step.forward
        return step.forward

    def all(self, conversation: list[Turn], cuts: list[int] | None = None) -> Play:
        """Play turns, each cut into pieces of the given sizes, over and over again."""
        for side, data in conversation:
            sizes = iter((cuts or [len(data)]) * len(data))
            while data and self.stop is None:
                size = next(sizes)
                self.say(side, data[:size])
                data = data[size:]
        return self

    def end(self) -> Play:
        """Let both sides end."""
        for side in Side:
            self.sent[side] += self.translation.give_up(side)
        return self


def capa(answer: bytes = CAPA) -> list[Turn]:
    return [
        (Side.SERVER, b"+OK ready\r\n"),
        (Side.CLIENT, b"CAPA\r\n"),
        (Side.SERVER, answer),
        (Side.CLIENT, b"NOOP\r\n"),
        (Side.SERVER, b"+OK\r\n"),
    ]


_cuts = st.lists(st.integers(1, 40), min_size=1, max_size=8)


@given(_cuts)
def test_p28_capa_is_changed_the_same_however_it_is_cut(cuts: list[int]) -> None:
    play = Play(Rules(edits=EDITS)).all(capa(), cuts)
    assert play.sent[Side.SERVER] == b"+OK ready\r\n" + CAPA_NOW + b"+OK\r\n"
    assert play.sent[Side.CLIENT] == b"CAPA\r\nNOOP\r\n"
    assert [(rewrite.rule, rewrite.was, rewrite.now) for rewrite in play.rewrites] == [
        ("stls-removed", b"STLS\r\n", b""),
        (
            "channel-binding-removed",
            b"SASL PLAIN SCRAM-SHA-1-PLUS SCRAM-SHA-1\r\n",
            b"SASL PLAIN SCRAM-SHA-1\r\n",
        ),
    ]
    assert {rewrite.command_seq for rewrite in play.rewrites} == {1}
    assert {rewrite.side for rewrite in play.rewrites} == {Side.SERVER}


@pytest.mark.parametrize(
    ("keyword", "was", "now"),
    [
        (b"CAPA", b"sasl scram-sha-1-plus\r\n", b""),
        (b"CAPA", b"SASL\tSCRAM-SHA-1-PLUS PLAIN\r\n", b"SASL PLAIN\r\n"),
        (b"CAPA", b"SASL PLAIN\n", b"SASL PLAIN\n"),
        (b"CAPA", b"stls\r\n", b""),
        (b"CAPA", b"STLSX\r\n", b"STLSX\r\n"),
        (b"CAPA", b"X-PLUS\r\n", b"X-PLUS\r\n"),
        (b"AUTH", b"SCRAM-SHA-256-PLUS\r\n", b""),
        (b"AUTH", b"PLAIN\r\nSCRAM-SHA-1-plus\r\nLOGIN\r\n", b"PLAIN\r\nLOGIN\r\n"),
        (b"AUTH", b"STLS\r\n", b"STLS\r\n"),
    ],
)
def test_p28_single_lines(keyword: bytes, was: bytes, now: bytes) -> None:
    out, changes = EDITS.apply(keyword, was)
    assert out == now
    assert bool(changes) == (was != now)


@pytest.mark.parametrize("has", [True, False])
def test_p28_stls_is_added_where_it_is_missing_and_only_there(has: bool) -> None:
    listed = b"TOP\r\nSTLS\r\n" if has else b"TOP\r\n"
    out, changes = Edits(add_stls=True).apply(b"CAPA", listed)
    assert out == b"TOP\r\nSTLS\r\n"
    assert [tuple(change) for change in changes] == (
        [] if has else [("stls-added", b"", b"STLS\r\n")]
    )
    assert Edits(add_stls=True).apply(b"AUTH", b"PLAIN\r\n") == (b"PLAIN\r\n", [])


def test_a_list_of_auth_is_changed_and_a_refusal_is_not() -> None:
    listed = turns("S: +OK", "C: AUTH", "S: +OK", "S: PLAIN", "S: X-PLUS", "S: .")
    play = Play(Rules(edits=EDITS)).all(listed)
    assert play.sent[Side.SERVER] == b"+OK\r\n+OK\r\nPLAIN\r\n.\r\n"
    refused = turns("S: +OK", "C: AUTH", "S: -ERR", "C: CAPA", "S: -ERR no")
    play = Play(Rules(edits=EDITS)).all(refused)
    assert play.sent[Side.SERVER] == b"+OK\r\n-ERR\r\n-ERR no\r\n"


def test_only_the_list_is_held_back() -> None:
    play = Play(Rules(edits=EDITS)).all(turns("S: +OK", "C: RETR 1", "C: CAPA", "C: NOOP"))
    assert play.say(Side.SERVER, b"+OK\r\nSTLS\r\nSAS") == b"+OK\r\nSTLS\r\nSAS"
    assert play.say(Side.SERVER, b"L X-PLUS\r\n.\r\n+O") == b"L X-PLUS\r\n.\r\n+O"
    assert play.say(Side.SERVER, b"K\r\nTOP\r\nST") == b"K\r\n"
    assert play.say(Side.SERVER, b"LS\r\n.\r\n+OK") == b"TOP\r\n.\r\n+OK"
    assert play.say(Side.SERVER, b"\r\n") == b"\r\n"


def test_a_list_without_end_is_forwarded_as_it_is() -> None:
    play = Play(Rules(edits=EDITS)).all(turns("S: +OK", "C: CAPA", "S: +OK"))
    said = b"".join(b"STLS %07d\r\n" % number for number in range(20_000))
    pieces = [said[at : at + 1000] for at in range(0, len(said), 1000)]
    behind = 0
    for piece in pieces:
        behind += len(piece) - len(play.say(Side.SERVER, piece))
        assert behind <= LIST
    assert play.end().sent[Side.SERVER] == b"+OK\r\n+OK\r\n" + said


def test_a_list_that_is_cut_off_is_forwarded_as_far_as_it_came() -> None:
    play = Play(Rules(edits=EDITS)).all(turns("S: +OK", "C: CAPA", "S: +OK", "S: STLS"))
    assert play.sent[Side.SERVER] == b"+OK\r\n+OK\r\n"
    assert play.end().sent[Side.SERVER] == b"+OK\r\n+OK\r\nSTLS\r\n"


def test_content_that_was_recorded_for_its_age_is_changed_all_the_same() -> None:
    play = Play(Rules(edits=EDITS)).all(turns("S: +OK", "C: CAPA", "S: +OK", "S: STLS"))
    play.translation.read_elsewhere(play.session.flush(1), play.session.due)
    play.say(Side.SERVER, b"TOP\r\n.\r\n")
    assert play.sent[Side.SERVER] == b"+OK\r\n+OK\r\nTOP\r\n.\r\n"


def test_a_response_held_for_its_form_is_forwarded_and_counted_once() -> None:
    play = Play(Rules(edits=EDITS)).all(turns("S: +OK", "C: XFOO", "S: +OK", "C: CAPA"))
    play.all([(Side.SERVER, CAPA)])
    assert play.sent[Side.SERVER] == b"+OK\r\n+OK\r\n" + CAPA_NOW


@settings(max_examples=60)
@given(st.sampled_from(load_all()), _cuts, st.booleans())
def test_p23_all_but_the_lists_passes_unchanged(
    conversation: Conversation, cuts: list[int], answer: bool
) -> None:
    told = [(turn.side, turn.data) for turn in conversation.render(SECRET)]
    for word in (b"STLS", b"-PLUS", b"\x16"):
        assume(not any(word in data.upper() for _, data in told))
    play = Play(Rules(stls="answer" if answer else "forward", edits=EDITS)).all(told, cuts).end()
    for side in Side:
        assert play.sent[side] == b"".join(data for each, data in told if each is side)


@given(_cuts)
def test_stls_stops_the_client_and_nothing_of_it_is_forwarded(cuts: list[int]) -> None:
    play = Play(Rules(stls="answer")).all(
        [(Side.SERVER, b"+OK\r\n"), (Side.CLIENT, b"CAPA\r\nstLs\r\n")], cuts
    )
    assert play.sent[Side.CLIENT] == b"CAPA\r\n"
    assert play.stop is not None
    assert (play.stop.why, play.stop.seq, play.stop.line[-2:]) == ("stls", 2, b"\r\n")
    assert play.stop.behind == b""


def test_what_follows_a_refused_stls_is_forwarded_after_it() -> None:
    play = Play(Rules(stls="refuse")).all(turns("S: +OK"))
    assert play.say(Side.CLIENT, b"NOOP\r\nSTLS\r\nUSER bo\r\nPA") == b"NOOP\r\n"
    assert play.stop is not None
    assert play.stop.behind == b"USER bo\r\nPA"
    step = play.translation.client(play.stop.behind, play.stop.events)
    assert step.forward == b"USER bo\r\nPA"
    assert play.say(Side.CLIENT, b"SS x\r\nSTAT\r\n") == b"SS x\r\nSTAT\r\n"


@pytest.mark.parametrize(
    ("said", "forwarded"),
    [
        (b"ST", b""),
        (b" stls", b""),
        (b"STLS x", b""),
        (b"STA", b"STA"),
        (b"STLSX", b"STLSX"),
        (b"NOOP\r\nS", b"NOOP\r\n"),
        (b"STLS " + b"x" * LINE, b"STLS " + b"x" * LINE),
    ],
)
def test_only_what_may_become_stls_is_held(said: bytes, forwarded: bytes) -> None:
    play = Play(Rules(stls="refuse")).all(turns("S: +OK"))
    assert play.say(Side.CLIENT, said) == forwarded
    assert play.end().sent[Side.CLIENT] == said


def test_inside_a_sasl_exchange_stls_is_none() -> None:
    play = Play(Rules(stls="answer")).all(turns("S: +OK", "C: AUTH PLAIN", "S: +", "C: STLS"))
    assert play.stop is None
    assert play.sent[Side.CLIENT] == b"AUTH PLAIN\r\nSTLS\r\n"


@pytest.mark.parametrize(
    "line", ["USER bo", "AUTH PLAIN", "APOP a b", "XFOO", "PASS x", "", "STAT", "x" * 100_000]
)
def test_p30_nothing_of_a_login_passes_before_a_required_stls(line: str) -> None:
    rules = Rules(stls="answer", require_stls=True)
    said = f"{line}\r\n".encode()
    for cuts in ([len(said)], [1]) if len(said) < 100 else ([70_000],):
        play = Play(rules).all([(Side.SERVER, b"+OK\r\n"), (Side.CLIENT, said)], cuts)
        assert play.sent[Side.CLIENT] == b""
        assert play.stop is not None
        assert play.stop.why == "login"


def test_p30_what_tells_nothing_passes_before_a_required_stls() -> None:
    rules = Rules(stls="answer", require_stls=True)
    said = turns("S: +OK", "C: CAPA", "S: -ERR", "C: AUTH", "S: -ERR", "C: NOOP", "S: -ERR")
    play = Play(rules).all(said)
    assert play.stop is None
    assert play.sent[Side.CLIENT] == b"CAPA\r\nAUTH\r\nNOOP\r\n"


@pytest.mark.parametrize("rules", [Rules(stls="answer"), Rules(stls="answer", require_stls=True)])
def test_tls_where_the_client_should_speak_in_the_clear_stops_it(rules: Rules) -> None:
    play = Play(rules).all(turns("S: +OK"))
    assert play.say(Side.CLIENT, b"\x16\x03\x01\x02\x00\x01") == b""
    assert play.stop is not None
    assert play.stop.why == "tls"


@given(_cuts)
def test_p29_the_acceptance_of_stls_is_held_and_what_follows_it_is_told_apart(
    cuts: list[int],
) -> None:
    play = Play(Rules(stls="upgrade")).all(turns("S: +OK", "C: CAPA", "C: STLS"))
    assert play.sent[Side.CLIENT] == b"CAPA\r\nSTLS\r\n"
    play.all([(Side.SERVER, b"-ERR\r\n+OK go on\r\n+OK injected\r\n")], cuts)
    assert play.sent[Side.SERVER] == b"+OK\r\n-ERR\r\n"
    assert play.stop is not None
    assert play.stop.line == b"+OK go on\r\n"
    assert b"+OK injected\r\n".startswith(play.stop.behind)


def test_a_refused_stls_passes_and_the_session_goes_on() -> None:
    play = Play(Rules(stls="upgrade")).all(
        turns("S: +OK", "C: STLS", "S: -ERR no", "C: NOOP", "S: +OK")
    )
    assert play.stop is None
    assert play.sent[Side.SERVER] == b"+OK\r\n-ERR no\r\n+OK\r\n"


@pytest.mark.parametrize(
    ("listen", "upstream", "mode", "names"),
    [
        ("pop3", "pop3", "pass", []),
        ("pop3", "pop3", "intercept", ["channel-binding-removed-after-stls"]),
        ("pop3", "pop3", "hide", ["stls-removed", "stls-refused"]),
        ("pop3s", "pop3s", "intercept", ["channel-binding-removed"]),
        (
            "pop3s",
            "pop3",
            "intercept",
            ["stls-removed", "stls-refused", "channel-binding-removed"],
        ),
        ("pop3", "pop3s", "intercept", ["stls-answered", "channel-binding-removed"]),
        (
            "pop3+stls",
            "pop3s",
            "intercept",
            ["stls-added", "stls-answered", "channel-binding-removed"],
        ),
        ("pop3+stls", "pop3+stls", "intercept", ["channel-binding-removed-after-stls"]),
        (
            "pop3+stls",
            "pop3",
            "intercept",
            [
                "stls-added",
                "stls-answered",
                "stls-removed-after-stls",
                "stls-refused-after-stls",
                "channel-binding-removed-after-stls",
            ],
        ),
    ],
)
def test_p28_the_first_record_names_what_may_be_changed(
    listen: str, upstream: str, mode: str, names: list[str]
) -> None:
    assert Manner(listen=listen, upstream=upstream, mode=mode).names() == names  # type: ignore[arg-type]
