"""What a replay answers to a command: the recorded answer, one from the recorded maildrop, or none.

A `Matcher` follows one session of a live client. It does no input or output, and so can be asked
anything by a test.

*Strict*: commands are expected in the recorded order. A command that comes later in the recording
is answered from there, and what was passed over is reported; one that does not come at all is
reported, answered as in a lenient replay, and the recording stays where it was.

*Lenient*: each command is answered by itself: by the answer that was recorded in the same
situation (state, TLS, messages marked as deleted), in the order of the recording if there are
several, else from the recorded maildrop.

Either way USER, PASS, APOP and AUTH with whatever the client sends are good for a login, if there
was a login in the recording; and what has to do with TLS is done as the replay speaks, not as the
recording did, without a report.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Literal

from popproxy.pop3.grammar import parse_command
from popproxy.privacy.commands import show_command
from popproxy.records import MASK
from popproxy.relay.lists import Edits
from popproxy.relay.url import Scheme
from popproxy.tools.replay_lists import adapted, is_list
from popproxy.tools.replay_login import LOGIN, Exchange, begin, refuses_outright
from popproxy.tools.replay_maildrop import Maildrop
from popproxy.tools.replay_plan import Piece, Plan, Step, after

Match = Literal["strict", "lenient"]
TlsMode = Literal["never", "stls", "require", "start"]
"""How a replay speaks with its clients: never TLS; TLS by STLS if they ask for it; TLS by STLS
before they log in; TLS from the start."""

_UNKNOWN = b"-ERR [SYS/TEMP] popproxy replay: that is not in the recording\r\n"
_NOT_LOGGED_IN = b"-ERR popproxy replay: log in first\r\n"
_LOGGED_IN = b"-ERR popproxy replay: you are logged in\r\n"
_CANNOT = b"-ERR [AUTH] popproxy replay: this mechanism needs the password, use another\r\n"
_CANCELLED = b"-ERR popproxy replay: cancelled\r\n"
_NO_TLS = b"-ERR popproxy replay: there is no TLS here\r\n"
_BEGIN_TLS = b"+OK popproxy replay: begin TLS\r\n"
_TLS_FIRST = b"-ERR popproxy replay: STLS first\r\n"
_TOO_LONG = b"-ERR popproxy replay: line too long\r\n"
_CAPABILITIES = b"+OK popproxy replay\r\nUSER\r\n%s.\r\n"
_OK = b"+OK\r\n"
_BEFORE_LOGIN = frozenset({"CAPA", "QUIT", "STLS", "UTF8", "LANG", "HELP", "NOOP", *LOGIN})


def tls_mode(plan: Plan, scheme: Scheme) -> TlsMode:
    """Say how a replay speaks with its clients.

    Args:
        plan: The recording.
        scheme: Of the listener's URL. In the clear, STLS is there if it was, or was offered.
    """
    if scheme == "pop3s":
        return "start"
    if scheme == "pop3+stls":
        return "require"
    return "stls" if plan.tls == "stls" or plan.offers_stls else "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to do about a command.

    Attributes:
        pieces: What to send; nothing, if the server was silent in the recording.
        step: Whose recorded answer it is.
        departure: How the client departs from the recording, in words; empty if it does not. It
            quotes what may be told of the client's line: whoever shows it has to make it visible.
        exchange: A SASL exchange to be held first; `Matcher.exchanged` gives the answer then.
        begins_tls: Whether a TLS handshake follows.
        last: Whether the session ends with it.
    """

    pieces: tuple[Piece, ...] = ()
    step: Step | None = None
    departure: str = ""
    exchange: Exchange | None = None
    begins_tls: bool = False
    last: bool = False


def _said(octets: bytes) -> tuple[Piece, ...]:
    return (Piece(octets),)


Key = tuple[str, str]


def _logs_in(key: Key) -> bool:
    return key[0] in LOGIN and key != ("AUTH", "")


def _key(command: str, arguments: str) -> Key:
    """Give what has to be the same in two commands for one to stand for the other."""
    if command in ("USER", "PASS", "APOP", "RPOP"):
        return command, ""
    words = arguments.split()
    if command == "AUTH":
        return command, words[0].upper() if words else ""
    return command, " ".join(
        word.lstrip("0") or "0" if word.isdecimal() else word for word in words
    )


class Matcher:
    """Follows one session of a live client.

    Args:
        plan: The recording.
        match: How.
        tls: How the replay speaks with its clients.

    Attributes:
        passed: How many steps of the recording have come, or have been passed over.
        logged_in: Whether the client is in the TRANSACTION state.
    """

    def __init__(self, plan: Plan, match: Match, tls: TlsMode) -> None:
        self._plan = plan
        self._steps = plan.steps
        self._strict = match == "strict"
        self._tls = tls
        self._under_tls = tls == "start"
        self._maildrop = Maildrop(plan.steps)
        self._places: dict[Key, list[int]] = defaultdict(list)
        for place, step in enumerate(plan.steps):
            if step.seq is not None:
                self._places[_key(step.command, step.arguments)].append(place)
        self._served: set[int] = set()
        self._deleted: frozenset[int] = frozenset()
        self._login = next((n for n, step in enumerate(plan.steps) if step.logs_in), None)
        self._used_stls = False
        self.passed = 0 if plan.greeting is None else 1
        self.logged_in = False

    @property
    def greeting(self) -> Step | None:
        """What to greet with."""
        return self._plan.greeting

    def tls_began(self) -> None:
        """Note that the client speaks TLS now."""
        self._under_tls = True

    def next_joined(self) -> bool:
        """Say whether the next answer came in one read with the last one, to a waiting command."""
        if not self._strict or self.passed >= len(self._steps):
            return False
        step = self._steps[self.passed]
        return step.pipelined and bool(step.pieces) and step.pieces[0].joined

    def left(self) -> list[Step]:
        """Give the recorded commands that have not come, in a strict replay."""
        if not self._strict:
            return []
        end = self._plan.end
        # What was sent in advance when the server had ended already may come or not.
        return self._counted(self.passed, len(self._steps) if end.kind == "wait" else end.after)

    def command(self, line: bytes) -> Answer:
        """Answer a command.

        Args:
            line: The client's line, without its end.
        """
        shown = show_command(line + b"\r\n")
        arguments = (shown.arguments or b"").decode("utf-8", "replace")
        key = _key(shown.command, arguments)
        if key[0] == "STLS":
            return self._stls(key)
        if self._tls == "require" and not self._under_tls and _logs_in(key):
            return Answer(pieces=_said(_TLS_FIRST), departure="a login came before STLS")
        name = shown.raw.decode("utf-8", "surrogateescape").strip() or "an empty line"
        place, departure = self._place(key, name)
        answer = self._without(key, line, name) if place is None else self._with(place, line)
        if departure and not answer.departure:
            answer = replace(answer, departure=departure)
        return answer

    def too_long(self) -> Answer:
        """Answer a line that is too long to be read: it may be one that was hidden."""
        expected = self._counted(self.passed, len(self._steps)) if self._strict else []
        if expected and MASK in (expected[0].command, expected[0].arguments):
            place = self._steps.index(expected[0], self.passed)
            self._pass(place)
            return self._with(place, b"")
        return Answer(pieces=_said(_TOO_LONG), departure="a line is too long")

    def exchanged(self, exchange: Exchange, *, cancelled: bool) -> Answer:
        """Answer when a SASL exchange has been held.

        Args:
            exchange: The exchange.
            cancelled: Whether the client broke it off.
        """
        step = exchange.step
        if cancelled:
            pieces = step.pieces if step is not None and not step.ok else _said(_CANCELLED)
            return Answer(pieces=pieces, step=step)
        return self._log_in(step)

    # Where the recording is.

    def _place(self, key: Key, name: str) -> tuple[int | None, str]:
        """Find the step that a command stands for, and say how that departs."""
        if not self._strict:
            return self._lenient_place(key), ""
        end = len(self._steps)
        logs_in = _logs_in(key) and not self.logged_in and self._login is not None
        if logs_in and self._login is not None:
            end = self._login + 1
        place = self._ahead(key, end)
        expected = self._counted(self.passed, end if place is None else place)
        if logs_in:  # there are many ways to log in, and one is as good as another
            expected = [step for step in expected if step.command not in LOGIN]
            if place is None:
                return None, ""
        if place is not None:
            self._pass(place)
            skipped = ", ".join(step.title for step in expected[:3])
            more = f" and {len(expected) - 3} more" if len(expected) > 3 else ""
            return place, f"{name} came before {skipped}{more}" if expected else ""
        if key[0] == "CAPA" and (self._used_stls or (not self.logged_in and self._tls_differs)):
            return self._lenient_place(key), ""
        if expected and expected[0].command == MASK:  # what was hidden may have been anything
            place = self._steps.index(expected[0], self.passed)
            self._pass(place)
            return place, ""
        wanted = f"{expected[0].title} is next" if expected else "the recording has no more"
        return self._lenient_place(key), f"{name} came, and {wanted}"

    def _ahead(self, key: Key, end: int) -> int | None:
        """Find the next step with a key, up to a place, that the client's state allows."""
        places = self._places.get(key, [])
        for index in range(bisect_left(places, self.passed), len(places)):
            place = places[index]
            if place >= end:
                return None
            if not self._counted(self.passed, place) or self._allowed(self._steps[place]):
                return place
        return None

    def _allowed(self, step: Step) -> bool:
        """Say whether a step that lies ahead may be gone to."""
        return self.logged_in or step.command in _BEFORE_LOGIN

    def _pass(self, place: int) -> None:
        for number in range(self.passed, place):
            step = self._steps[number]
            if step.ok:
                self._deleted = after(step.command, step.arguments, self._deleted)
        self.passed = place + 1

    def _counted(self, start: int, end: int) -> list[Step]:
        """Give the steps of a part of the recording that a client has to take."""
        steps = self._steps
        counted = []
        for number in range(start, end):
            step = steps[number]
            behind_stls = number > 0 and steps[number - 1].begins_tls and step.command == "CAPA"
            if step.seq is None or step.command == "STLS" or behind_stls:
                continue
            if self.logged_in and self._login is not None and number <= self._login:
                continue
            counted.append(step)
        return counted

    @property
    def _tls_differs(self) -> bool:
        return {"never": "never", "stls": "stls", "require": "stls", "start": "start"}[
            self._tls
        ] != self._plan.tls

    def _lenient_place(self, key: Key) -> int | None:
        """Find the answer that was recorded in the same situation."""
        fitting = [place for place in self._places.get(key, []) if self._fits(self._steps[place])]
        if key[0] in LOGIN and self._login is not None:
            # Failures are for those who fail: whoever replays wants to come in.
            fitting = [place for place in fitting if self._steps[place].ok]
        unused = [place for place in fitting if place not in self._served]
        return unused[0] if unused else fitting[-1] if fitting else None

    def _fits(self, step: Step) -> bool:
        if (step.state == "TRANSACTION") != self.logged_in and step.command != "QUIT":
            return False
        if step.command == "CAPA":
            return step.under_tls == self._under_tls or self._tls_differs
        if step.command in ("STAT", "LIST", "UIDL") and not step.arguments:
            return step.deleted == self._deleted
        first = step.arguments.split()[:1]
        if step.command in ("LIST", "UIDL", "RETR", "TOP", "DELE") and first[0].isdecimal():
            return (int(first[0]) in step.deleted) == (int(first[0]) in self._deleted)
        return True

    # What is answered.

    def _with(self, place: int, line: bytes) -> Answer:
        """Answer as it was recorded."""
        step = self._steps[place]
        self._served.add(place)
        if step.command == "AUTH" and step.content is None and not refuses_outright(step):
            exchange = begin(parse_command(line).arguments, step)
            if exchange is None:
                refused = not step.ok and not step.challenges
                return Answer(pieces=step.pieces if refused else _said(_CANNOT), step=step)
            return Answer(exchange=exchange, step=step)
        if step.ok:
            self._deleted = after(step.command, step.arguments, self._deleted)
        if step.logs_in:
            self.logged_in = True
        pieces = step.pieces
        if is_list(step):
            pieces = adapted(step, self._edits())
        goes_on = self._strict and self.passed < len(self._steps)
        last = step.command == "QUIT" and step.ok and not goes_on
        return Answer(pieces=pieces, step=step, last=last)

    def _edits(self) -> Edits:
        offered = self._tls in ("stls", "require") and not self._under_tls
        added = offered and (self._tls == "require" or self._plan.tls == "stls")
        return Edits(remove_stls=not offered, add_stls=added)

    def _stls(self, key: Key) -> Answer:
        place = self._ahead(key, len(self._steps)) if self._strict else self._lenient_place(key)
        if self._strict and place is not None and not self._counted(self.passed, place):
            self._pass(place)
        step = self._steps[place] if place is not None else None
        if step is not None and not step.begins_tls:
            return Answer(pieces=step.pieces, step=step)  # it was refused, or not answered
        if self._tls not in ("stls", "require") or self._under_tls:
            return Answer(pieces=_said(_NO_TLS))
        self._used_stls = True
        if step is not None and step.begins_tls:
            return Answer(pieces=step.pieces, step=step, begins_tls=True)
        return Answer(pieces=_said(_BEGIN_TLS), begins_tls=True)

    def _without(self, key: Key, line: bytes, name: str) -> Answer:
        """Answer a command that was not recorded in this situation."""
        command, arguments = key
        if command in LOGIN:
            return self._log_in_by(command, line, name)
        if command == "QUIT":
            return Answer(pieces=_said(b"+OK popproxy replay: goodbye\r\n"), last=True)
        if command == "CAPA" and self._tls_differs:
            # How else should a client find STLS? (RFC 2595, section 4)
            offered = self._edits().add_stls
            return Answer(pieces=_said(_CAPABILITIES % (b"STLS\r\n" if offered else b"")))
        if not self.logged_in:
            known = command in _BEFORE_LOGIN
            return (
                self._unknown(name)
                if known
                else Answer(pieces=_said(_NOT_LOGGED_IN), departure=f"{name} came before a login")
            )
        made = self._made(command, arguments)
        return self._unknown(name) if made is None else Answer(pieces=_said(made))

    def _unknown(self, name: str) -> Answer:
        return Answer(pieces=_said(_UNKNOWN), departure=f"{name} is not in the recording")

    def _made(self, command: str, arguments: str) -> bytes | None:
        """Answer from the maildrop; None if the recording does not tell."""
        maildrop, deleted = self._maildrop, self._deleted
        words = arguments.split()
        numbers = [int(word) for word in words if word.isdecimal() and len(word) <= 10]
        if len(numbers) != len(words):
            return None
        match command, numbers:
            case "STAT", []:
                return maildrop.stat(deleted)
            case "LIST", []:
                return maildrop.listing(None, deleted)
            case "LIST", [number]:
                return maildrop.listing(number, deleted)
            case "UIDL", []:
                return maildrop.unique_ids(None, deleted)
            case "UIDL", [number]:
                return maildrop.unique_ids(number, deleted)
            case "RETR", [number]:
                return maildrop.retrieved(number, deleted)
            case "TOP", [number, lines]:
                return maildrop.top(number, lines, deleted)
            case "DELE", [number]:
                answer = maildrop.marked(number, deleted)
                if answer.startswith(b"+OK"):
                    self._deleted = deleted | {number}
                return answer
            case "RSET", []:
                self._deleted = frozenset()
                return _OK
            case "NOOP", []:
                return _OK
        return None

    # Logging in.

    def _log_in_by(self, command: str, line: bytes, name: str) -> Answer:
        if self.logged_in:
            return Answer(pieces=_said(_LOGGED_IN), departure=f"{name} came after the login")
        if command == "USER":
            return Answer(pieces=_said(_OK))
        if command == "AUTH":
            arguments = parse_command(line).arguments
            if not arguments.strip():
                return self._unknown(name)
            exchange = begin(arguments, None)
            if exchange is None:
                return Answer(
                    pieces=_said(_CANNOT),
                    departure="a replay cannot hold this mechanism's exchange",
                )
            return Answer(exchange=exchange)
        return self._log_in(None)

    def _log_in(self, step: Step | None) -> Answer:
        """Let the client in, unless nobody was let in when it was recorded."""
        if step is not None and (step.ok or self._strict or self._login is None):
            self.logged_in = step.logs_in
            return Answer(pieces=step.pieces, step=step)
        if self._login is not None:
            login = self._steps[self._login]
            self.logged_in = True
            self.passed = max(self.passed, self._login + 1)
            return Answer(pieces=_status(login), step=login)
        refused = [one for one in self._steps if one.command in LOGIN and not one.ok and one.pieces]
        if refused:
            return Answer(pieces=_status(refused[-1]), step=refused[-1])
        self.logged_in = True
        return Answer(pieces=_said(_OK), departure="there is no login in the recording")


def _status(step: Step) -> tuple[Piece, ...]:
    return tuple(replace(piece, joined=False) for piece in step.pieces)
