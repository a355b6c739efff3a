"""Who logs in, how, and how it went: for `pop3.auth` records, without any payload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from popproxy.privacy.commands import ShownCommand
from popproxy.privacy.sasl import decode, take_apart
from popproxy.records import MASK

Outcome = Literal["success", "failure", "unknown"]

MAX_PENDING = 64
"""Logins that wait for their outcome. No client pipelines as many; of more nothing is told."""

_MAX_WRAPPED = 4_096
"""Octets of a SASL response in several lines that are put together."""


class Login:
    """An attempt.

    Attributes:
        mechanism: `USER`, `APOP` or the SASL mechanism's name.
        user: The name it is for, if that is known.
        rounds: Challenges so far.
        sasl: Whether it is an exchange.
    """

    __slots__ = ("_answered", "_begun", "_prompt", "mechanism", "rounds", "sasl", "user")

    def __init__(self, mechanism: str, user: bytes | None, *, sasl: bool = False) -> None:
        self.mechanism = mechanism
        self.user = user
        self.rounds = 0
        self.sasl = sasl
        self._prompt: bytes | None = None
        self._answered = False
        self._begun = b""  # what the client sent since the last challenge

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Login>"

    def challenged(self, line: bytes) -> None:
        """Note a challenge.

        Args:
            line: The server's line without its line end.
        """
        self.rounds += 1
        self._begun = b""
        # Of several challenges nobody knows which one the client answers.
        self._prompt = decode(line.lstrip(b"+").strip()) if self.rounds == 1 else None

    def responded(self, line: bytes) -> Sequence[bytes]:
        """Note a client's line, or the initial response.

        Args:
            line: Without its line end.

        Returns:
            What has to be learned.
        """
        parts = take_apart(self.mechanism, line, None if self._answered else self._prompt)
        self._answered, self._prompt = True, None
        self.user = self.user or parts.user
        begun, self._begun = self._begun, (self._begun + line)[:_MAX_WRAPPED]
        if not begun or not line or len(self._begun) == _MAX_WRAPPED:
            return parts.secrets
        # Some programs wrap base64: only both lines together give what was encoded.
        return [*parts.secrets, *take_apart(self.mechanism, begun + line).secrets]


class Logins:
    """The logins of one session.

    Attributes:
        sasl_seen: Whether the client has ever sent AUTH with a mechanism, or the server a
            challenge.
        exchange: The exchange under way: every line of either side may belong to it.
    """

    __slots__ = ("_last", "_pending", "_user", "exchange", "sasl_seen")

    def __init__(self) -> None:
        self._user: bytes | None = None
        self._pending: tuple[tuple[int, Login], ...] = ()  # by number; nearly always none
        self._last: tuple[int, Login] | None = None
        self.exchange: int | None = None
        self.sasl_seen = False

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Logins>"

    def command(self, seq: int, shown: ShownCommand) -> Sequence[bytes]:
        """Note a command.

        Args:
            seq: Its number.
            shown: What may be told of it.

        Returns:
            What has to be learned.
        """
        learned = shown.secrets
        login: Login | None = None
        if shown.command == "USER":
            self._user = shown.user
        elif shown.command == "PASS":
            login = Login("USER", self._user)
        elif shown.command == "APOP":
            login = Login("APOP", shown.user)
        elif shown.mechanism is not None:
            login = Login(shown.mechanism, None, sasl=True)
            self.sasl_seen = True
            if self.exchange is None:
                self.exchange = seq
            if shown.initial is not None:
                learned = (*learned, *login.responded(shown.initial))
        if login is not None and len(self._pending) < MAX_PENDING:
            self._pending += ((seq, login),)
        return learned

    def exchanging(self, seq: int | None) -> Login:
        """Give the login to which a line of an exchange belongs.

        Some servers answer AUTH with +OK and mean a challenge; the exchange then goes on after what
        looked like its end.

        Args:
            seq: The AUTH command's number.
        """
        if seq is None:
            return Login(MASK, None, sasl=True)
        login = dict(self._pending).get(seq)
        if login is None:
            last = self._last
            login = last[1] if last and last[0] == seq else Login(MASK, None, sasl=True)
            if len(self._pending) < MAX_PENDING:
                self._pending += ((seq, login),)
        return login

    def settle(self, seq: int | None) -> Login | None:
        """Note that a command will not be waited for any longer.

        Args:
            seq: The command's number.

        Returns:
            The login that it began, if it did.
        """
        if seq is None:
            return None
        if seq == self.exchange:
            self.exchange = None
        if not self._pending:
            return None
        login = dict(self._pending).get(seq)
        if login is not None:
            self._pending = tuple(each for each in self._pending if each[0] != seq)
            self._last = (seq, login) if login.sasl else None
        return login

    def forget(self) -> None:
        """Forget all: TLS has begun (RFC 2595, section 4)."""
        self._user = None
        self._pending = ()
        self._last = None
        self.exchange = None
