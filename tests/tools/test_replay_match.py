"""What a replay answers: in the recorded order, and in any other."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from popproxy.peers.script import parse
from popproxy.pop3.framing import Unstuffer
from popproxy.tools.replay_match import Answer, Matcher
from popproxy.tools.replay_place import Known, Match, TlsMode
from popproxy.tools.replay_plan import Plan
from popproxy.tools.replay_planner import make_plan
from tests.support.recording import said
from tests.support.replaying import captured

MAILS = [
    b"Subject: one\r\n\r\nfirst\r\n..\r\n.dot\r\n",
    b"Subject: two\r\nX: y\r\n\r\n+OK\r\nsecond\r\nthird\r\n",
    b"Subject: three\r\n\r\n",
    b"no header's end\r\n",
]


def plan(*lines: str) -> Plan:
    return make_plan(said(*lines))


def wire(answer: Answer) -> bytes:
    return b"".join(piece.data for piece in answer.pieces)


def asked(
    recorded: Plan, *commands: str, match: Match = "strict", tls: TlsMode = "never"
) -> list[tuple[bytes, str]]:
    """Ask one after the other; give each answer and how the command departs."""
    matcher = Matcher(Known(recorded), match, tls)
    found = []
    for command in commands:
        answer = matcher.command(command.encode())
        if answer.exchange is not None:
            answer = matcher.exchanged(answer.exchange, cancelled=False)
        found.append((wire(answer), answer.departure))
    return found


SESSION = (
    "S: +OK ready",
    "C: USER ada",
    "S: +OK password",
    "C: PASS secret1",
    "S: +OK logged in",
    "C: STAT",
    "S: +OK 2 60",
    "C: LIST",
    "S: +OK\r\n1 29\r\n2 31\r\n.",
    "C: RETR 1",
    "S: +OK 29\r\nSubject: one\r\n\r\nfirst\r\n.",
    "C: DELE 1",
    "S: +OK marked",
    "C: LIST",
    "S: +OK 1 message\r\n2 31\r\n.",
    "C: QUIT",
    "S: +OK bye",
)


def test_the_recorded_commands_get_the_recorded_answers() -> None:
    found = asked(
        plan(*SESSION), "user bo", "PASS other", "STAT", "LIST", "retr 1", "DELE 1", "LIST", "QUIT"
    )
    assert [departure for _wire, departure in found] == [""] * 8
    assert found[3][0] == b"+OK\r\n1 29\r\n2 31\r\n.\r\n"
    assert found[6][0] == b"+OK 1 message\r\n2 31\r\n.\r\n"
    assert found[7][0] == b"+OK bye\r\n"


def test_strict_tells_what_was_passed_over_and_goes_on_from_there() -> None:
    found = asked(plan(*SESSION), "USER bo", "PASS x", "RETR 1", "DELE 1")
    assert found[2] == (
        b"+OK 29\r\nSubject: one\r\n\r\nfirst\r\n.\r\n",
        "RETR 1 came before STAT, LIST",
    )
    assert found[3] == (b"+OK marked\r\n", "")


def test_strict_answers_what_does_not_come_from_the_maildrop_and_stays_where_it_is() -> None:
    found = asked(plan(*SESSION), "USER bo", "PASS x", "TOP 1 0", "UIDL", "STAT")
    assert found[2] == (
        b"+OK top of message follows\r\nSubject: one\r\n\r\n.\r\n",
        "TOP 1 0 came, and STAT is next",
    )
    assert found[3][0].startswith(b"-ERR [SYS/TEMP] popproxy replay: ")
    assert found[3][1] == "UIDL is not in the recording"
    assert found[4] == (b"+OK 2 60\r\n", "")


def test_strict_names_what_never_came() -> None:
    matcher = Matcher(Known(plan(*SESSION)), "strict", "never")
    for command in (b"USER a", b"PASS b", b"STAT", b"LIST", b"RETR 1"):
        matcher.command(command)
    assert [step.title for step in matcher.left()] == ["DELE 1", "LIST", "QUIT"]


def test_no_departure_shows_what_a_client_hides() -> None:
    found = asked(plan(*SESSION), "USER bo", "PASS x", "PASS tr0ubadour", "tr0ubadour", "NOOP x y")
    told = "".join(departure for _wire, departure in found)
    assert "tr0ubadour" not in told
    assert "x y" not in told
    assert "PASS ********" in told


def test_a_login_of_another_kind_is_as_good() -> None:
    recorded = plan(
        "S: +OK <1@x>",
        "C: CAPA",
        "S: +OK\r\nSASL PLAIN\r\n.",
        "C: AUTH PLAIN",
        "S: + ",
        "C: AGFkYQBzZWNyZXQx",
        "S: +OK in",
        "C: STAT",
        "S: +OK 0 0",
    )
    for login in (["USER a", "PASS b"], ["APOP a 0123"], ["AUTH PLAIN AGEAYg=="], ["AUTH LOGIN"]):
        found = asked(recorded, "CAPA", *login, "STAT")
        assert found[-1] == (b"+OK 0 0\r\n", "")
        assert [departure for _wire, departure in found] == [""] * len(found)
    assert asked(recorded, "USER a", "PASS b")[-1][0] == b"+OK in\r\n"


def test_a_login_that_was_refused_is_refused() -> None:
    recorded = plan(
        "S: +OK",
        "C: USER ada",
        "S: +OK",
        "C: PASS secret1",
        "S: -ERR [AUTH] no",
        "C: QUIT",
        "S: +OK",
    )
    for match in ("strict", "lenient"):
        found = asked(recorded, "USER x", "PASS y", "STAT", match=match)
        assert found[1][0] == b"-ERR [AUTH] no\r\n"
        assert found[2][0] == b"-ERR popproxy replay: log in first\r\n"


def test_mechanisms_that_need_the_password_are_not_offered() -> None:
    recorded = plan(
        "S: +OK", "C: CAPA", "S: +OK\r\nTOP\r\nSASL SCRAM-SHA-256 PLAIN DIGEST-MD5\r\nUIDL\r\n."
    )
    assert asked(recorded, "CAPA")[0][0] == b"+OK\r\nTOP\r\nSASL PLAIN\r\nUIDL\r\n.\r\n"
    assert any("SCRAM-SHA-256, DIGEST-MD5" in note for note in recorded.notes)
    (answer,) = asked(recorded, "AUTH SCRAM-SHA-256 abcd", match="lenient")
    assert answer[0].startswith(b"-ERR [AUTH] popproxy replay: ")


def test_stls_is_offered_where_it_is_spoken_and_only_there() -> None:
    recorded = plan("S: +OK", "C: CAPA", "S: +OK\r\nTOP\r\nSTLS\r\n.")
    without = b"+OK\r\nTOP\r\n.\r\n"
    assert asked(recorded, "CAPA", tls="never")[0][0] == without
    assert asked(recorded, "CAPA", tls="start")[0][0] == without
    assert asked(recorded, "CAPA", tls="stls")[0][0] == b"+OK\r\nTOP\r\nSTLS\r\n.\r\n"
    bare = plan("S: +OK", "C: CAPA", "S: +OK\r\nTOP\r\n.")
    assert asked(bare, "CAPA", tls="require")[0][0] == b"+OK\r\nTOP\r\nSTLS\r\n.\r\n"
    assert asked(bare, "USER a", tls="require")[0][0] == b"-ERR popproxy replay: STLS first\r\n"


def test_lenient_answers_by_what_is_marked_as_deleted() -> None:
    found = asked(
        plan(*SESSION),
        *(
            "USER a",
            "PASS b",
            "DELE 1",
            "LIST",
            "RETR 1",
            "STAT",
            "RSET",
            "LIST",
            "RETR 1",
            "LIST 2",
        ),
        match="lenient",
    )
    assert found[3][0] == b"+OK 1 message\r\n2 31\r\n.\r\n"
    assert found[4][0] == b"-ERR no such message\r\n"
    assert found[5][0] == b"+OK 1 31\r\n"
    assert found[7][0] == b"+OK\r\n1 29\r\n2 31\r\n.\r\n"
    assert found[8][0].startswith(b"+OK 29\r\nSubject: one")
    assert found[9][0] == b"+OK 2 31\r\n"
    assert not any(departure for _wire, departure in found)


def test_lenient_says_what_was_never_retrieved() -> None:
    found = asked(plan(*SESSION), "USER a", "PASS b", "RETR 2", "RETR 3", match="lenient")
    assert found[2][1] == "RETR 2 is not in the recording"
    assert found[3] == (b"-ERR no such message\r\n", "")


def test_nothing_is_let_in_before_the_login() -> None:
    for match in ("strict", "lenient"):
        found = asked(plan(*SESSION), "RETR 1", "STAT", match=match)
        assert [answer for answer, _departure in found] == [
            b"-ERR popproxy replay: log in first\r\n"
        ] * 2


# A model: a maildrop that answers as RFC 1939 has it.


@dataclass
class Model:
    deleted: set[int] = field(default_factory=set)

    def _left(self) -> list[int]:
        return [number for number in range(1, len(MAILS) + 1) if number not in self.deleted]

    def answer(self, command: str) -> tuple[bool, bytes]:
        """Whether it is +OK, and the values or the content, byte-stuffing removed."""
        keyword, *words = command.split()
        numbers = [int(word) for word in words]
        left = self._left()
        if numbers and numbers[0] not in left:
            return False, b""
        match keyword, numbers:
            case "STAT", []:
                return True, b"%d %d" % (len(left), sum(len(MAILS[one - 1]) for one in left))
            case "LIST", []:
                return True, b"".join(b"%d %d\r\n" % (one, len(MAILS[one - 1])) for one in left)
            case "LIST", [one]:
                return True, b"%d %d" % (one, len(MAILS[one - 1]))
            case "UIDL", []:
                return True, b"".join(b"%d id%d\r\n" % (one, one) for one in left)
            case "UIDL", [one]:
                return True, b"%d id%d" % (one, one)
            case "RETR", [one]:
                return True, MAILS[one - 1]
            case "TOP", [one, lines]:
                head, blank, body = MAILS[one - 1].partition(b"\r\n\r\n")
                first = body.splitlines(keepends=True)[:lines]
                return True, head + blank + b"".join(first)
            case "DELE", [one]:
                self.deleted.add(one)
            case "RSET", []:
                self.deleted.clear()
        return True, b""


def _stuffed(mail: bytes) -> bytes:
    return b"".join(
        b"." + line if line.startswith(b".") else line for line in mail.splitlines(keepends=True)
    )


def _recording() -> Plan:
    lines = ["S: +OK", "C: USER a", "S: +OK", "C: PASS secret1", "S: +OK"]
    total = sum(map(len, MAILS))
    lines += ["C: STAT", f"S: +OK {len(MAILS)} {total}"]
    sizes = "".join(f"{number} {len(mail)}\r\n" for number, mail in enumerate(MAILS, 1))
    lines += ["C: LIST", f"S: +OK\r\n{sizes}."]
    ids = "".join(f"{number} id{number}\r\n" for number in range(1, len(MAILS) + 1))
    lines += ["C: UIDL", f"S: +OK\r\n{ids}."]
    for number, mail in enumerate(MAILS, 1):
        lines += [f"C: RETR {number}", f"S: +OK\r\n{_stuffed(mail).decode()}."]
    lines += ["C: DELE 2", "S: +OK", "C: STAT", f"S: +OK 3 {total - len(MAILS[1])}"]
    return plan(*lines, "C: QUIT", "S: +OK")


RECORDING = _recording()
_one = st.integers(1, len(MAILS) + 1)
COMMANDS = st.one_of(
    st.sampled_from(["STAT", "LIST", "UIDL", "NOOP", "RSET"]),
    st.builds("{} {}".format, st.sampled_from(["LIST", "UIDL", "RETR", "DELE"]), _one),
    st.builds("TOP {} {}".format, _one, st.integers(0, 5)),
)


@given(st.lists(COMMANDS, max_size=30))
def test_lenient_answers_any_order_as_a_maildrop_would(commands: list[str]) -> None:
    matcher = Matcher(Known(RECORDING), "lenient", "never")
    matcher.command(b"USER x")
    matcher.command(b"PASS y")
    model = Model()
    for command in commands:
        ok, value = model.answer(command)
        answer = matcher.command(command.encode())
        octets = wire(answer)
        assert answer.departure == ""
        assert octets.startswith(b"+OK") == ok, command
        keyword, *words = command.split()
        if not ok or keyword in ("NOOP", "RSET", "DELE"):
            continue
        if keyword == "STAT" or (keyword in ("LIST", "UIDL") and words):
            assert octets == b"+OK " + value + b"\r\n"
        else:
            content = octets.partition(b"\r\n")[2]
            assert content.endswith(b".\r\n")
            assert Unstuffer(strict=False).feed(content[:-3]) == value


def test_a_silent_server_is_silent_again() -> None:
    recorded = make_plan(
        captured(parse("S: +OK\nC: USER a\nS: +OK\nC: PASS x1234567\n! wait 99\nC! eof\n"))
    )
    assert asked(recorded, "USER a", "PASS b")[1] == (b"", "")
