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

from dataclasses import dataclass, replace

from popproxy.pop3.grammar import parse_command
from popproxy.privacy.commands import show_command
from popproxy.relay.lists import Edits
from popproxy.tools.replay_lists import adapted, is_list
from popproxy.tools.replay_login import LOGIN, Exchange, begin, refuses_outright
from popproxy.tools.replay_place import (
    BEFORE_LOGIN,
    Key,
    Known,
    Match,
    Position,
    TlsMode,
    key_of,
    logs_in,
)
from popproxy.tools.replay_plan import Piece, Step, number

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


class Matcher:
    """Follows one session of a live client.

    Args:
        known: The recording.
        match: How.
        tls: How the replay speaks with its clients.
    """

    def __init__(self, known: Known, match: Match, tls: TlsMode) -> None:
        self._known = known
        self._steps = known.plan.steps
        self._at = Position(known, match, tls)

    @property
    def passed(self) -> int:
        """How many steps of the recording have come, or have been passed over."""
        return self._at.passed

    @property
    def greeting(self) -> Step | None:
        """What to greet with."""
        return self._known.plan.greeting

    def tls_began(self) -> None:
        """Note that the client speaks TLS now."""
        self._at.under_tls = True

    def next_joined(self) -> bool:
        """Say whether the next answer came in one read with the last one, to a waiting command."""
        if not self._at.strict or self._at.ended:
            return False
        step = self._steps[self._at.passed]
        return step.pipelined and bool(step.pieces) and step.pieces[0].joined

    def left(self) -> list[Step]:
        """Give the recorded commands that have not come, in a strict replay."""
        return self._at.left() if self._at.strict else []

    def command(self, line: bytes) -> Answer:
        """Answer a command.

        Args:
            line: The client's line, without its end.
        """
        shown = show_command(line + b"\r\n")
        key = key_of(shown.command, (shown.arguments or b"").decode("utf-8", "replace"))
        if key[0] == "STLS":
            return self._stls(key)
        if self._at.tls == "require" and not self._at.under_tls and logs_in(key):
            return Answer(pieces=_said(_TLS_FIRST), departure="a login came before STLS")
        name = shown.raw.decode("utf-8", "surrogateescape").strip() or "an empty line"
        place, departure = self._at.find(key, name)
        answer = self._without(key, line, name) if place is None else self._with(place, line)
        if departure and not answer.departure:
            answer = replace(answer, departure=departure)
        return answer

    def too_long(self) -> Answer:
        """Answer a line that is too long to be read: it may be one that was hidden."""
        place = self._at.hidden_next()
        if place is None:
            return Answer(pieces=_said(_TOO_LONG), departure="a line is too long")
        self._at.go(place)
        return self._with(place, b"")

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

    def _with(self, place: int, line: bytes) -> Answer:
        """Answer as it was recorded."""
        step = self._steps[place]
        if step.command == "AUTH" and step.content is None and not refuses_outright(step):
            exchange = begin(parse_command(line).arguments, step)
            if exchange is None:
                refused = not step.ok and not step.challenges
                return Answer(pieces=step.pieces if refused else _said(_CANNOT), step=step)
            return Answer(exchange=exchange, step=step)
        self._at.serve(place)
        pieces = adapted(step, self._edits()) if is_list(step) else step.pieces
        goes_on = self._at.strict and not self._at.ended
        last = step.command == "QUIT" and step.ok and not goes_on
        return Answer(pieces=pieces, step=step, last=last)

    def _edits(self) -> Edits:
        offered = self._at.tls in ("stls", "require") and not self._at.under_tls
        added = offered and (self._at.tls == "require" or self._known.plan.tls == "stls")
        return Edits(remove_stls=not offered, add_stls=added)

    def _stls(self, key: Key) -> Answer:
        at = self._at
        place = at.ahead(key) if at.strict else at.alike(key)
        if at.strict and place is not None and at.is_due(place):
            at.go(place)
        step = self._steps[place] if place is not None else None
        if step is not None and not step.begins_tls:
            return Answer(pieces=step.pieces, step=step)  # it was refused, or not answered
        if at.tls not in ("stls", "require") or at.under_tls:
            return Answer(pieces=_said(_NO_TLS))
        at.used_stls = True
        pieces = step.pieces if step is not None else _said(_BEGIN_TLS)
        return Answer(pieces=pieces, step=step, begins_tls=True)

    def _without(self, key: Key, line: bytes, name: str) -> Answer:
        """Answer a command that was not recorded in this situation."""
        command, arguments = key
        if command in LOGIN:
            return self._log_in_by(command, line, name)
        if command == "QUIT":
            return Answer(pieces=_said(b"+OK popproxy replay: goodbye\r\n"), last=True)
        if command == "CAPA" and self._at.tls_differs:
            # How else should a client find STLS? (RFC 2595, section 4)
            offered = self._edits().add_stls
            return Answer(pieces=_said(_CAPABILITIES % (b"STLS\r\n" if offered else b"")))
        if not self._at.logged_in:
            known = command in BEFORE_LOGIN
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
        maildrop, deleted = self._known.maildrop, self._at.deleted
        words = arguments.split()
        numbers = [read for word in words if (read := number(word)) is not None]
        if len(numbers) != len(words):
            return None
        match command, numbers:
            case "STAT", []:
                return maildrop.stat(deleted)
            case "LIST", []:
                return maildrop.listing(None, deleted)
            case "LIST", [message]:
                return maildrop.listing(message, deleted)
            case "UIDL", []:
                return maildrop.unique_ids(None, deleted)
            case "UIDL", [message]:
                return maildrop.unique_ids(message, deleted)
            case "RETR", [message]:
                return maildrop.retrieved(message, deleted)
            case "TOP", [message, lines]:
                return maildrop.top(message, lines, deleted)
            case "DELE", [message]:
                answer = maildrop.marked(message, deleted)
                if answer.startswith(b"+OK"):
                    self._at.deleted = deleted | {message}
                return answer
            case "RSET", []:
                self._at.deleted = frozenset()
                return _OK
            case "NOOP", []:
                return _OK
        return None

    # Logging in.

    def _log_in_by(self, command: str, line: bytes, name: str) -> Answer:
        if self._at.logged_in:
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
        if step is not None and (step.ok or self._at.strict or self._known.login is None):
            self._at.logged_in = step.logs_in
            return Answer(pieces=step.pieces, step=step)
        if self._known.login is not None:
            login = self._steps[self._known.login]
            self._at.logged_in = True
            self._at.passed = max(self._at.passed, self._known.login + 1)
            return Answer(pieces=_status(login), step=login)
        refused = [one for one in self._steps if one.command in LOGIN and not one.ok and one.pieces]
        if refused:
            return Answer(pieces=_status(refused[-1]), step=refused[-1])
        self._at.logged_in = True
        return Answer(pieces=_said(_OK), departure="there is no login in the recording")


def _status(step: Step) -> tuple[Piece, ...]:
    return tuple(replace(piece, joined=False) for piece in step.pieces)
