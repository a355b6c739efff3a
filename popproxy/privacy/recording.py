"""What is known of a session while it is recorded: shared by the two sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from popproxy.pop3.events import Read, Side
from popproxy.pop3.findings import FindingCode
from popproxy.privacy.commands import MASKED
from popproxy.privacy.forms import Span, folded
from popproxy.privacy.learned import Learned
from popproxy.privacy.logins import Login, Logins, Outcome
from popproxy.privacy.maker import Maker
from popproxy.privacy.masking import replace
from popproxy.privacy.multiline import LongLine, MultiLine
from popproxy.privacy.opaque import OpaqueSide
from popproxy.privacy.policy import Policy
from popproxy.privacy.tables import Remembered, text_of
from popproxy.records import MASK, AuthPart, LegName, Record

_MAX_USERS = 16
"""Names of one session that get pseudonyms; more than that are no longer told apart."""


_NONE: frozenset[int] = frozenset()  # Python makes another each time, of 216 octets


class Start(NamedTuple):
    """How an overlong line began."""

    reads: Sequence[Read]
    joined: bool


class Cited(NamedTuple):
    """A command of which nothing was hidden, as its response may cite it."""

    seq: int
    keyword: bytes
    sent: bytes
    command: str
    arguments: str | None


class Recording:
    """The state of a session's recording.

    Attributes:
        make: Makes the records.
        policy: How the session is recorded.
        exposed: Legs that pass a network in clear.
        out: Records of the call under way.
        learned: The session's secrets.
        logins: Who logs in.
        content: The multi-line response on its way.
        cited: The last command, if nothing of it was hidden: nearly always the next response is
            its own.
        client_line: The overlong line that the client is sending.
        server_line: The overlong line that the server is sending; how it began if it is hidden.
        crlf_seen: The client has ended a line in CRLF.
        split_pass: The client's last line was PASS, or the rest of one, and ended in a bare LF: the
            password may hold the LF, and go on in the next line.
        hidden: Numbers of commands that count as such a rest.
        message_begun: The client is sending a message.
        injected: Sides whose injected octets have been told of.
        in_step: Commands and responses are in step.
        opaque: What is known of traffic that is not read, by side.
        opaque_tls: Whether that is TLS.
        listing: What LIST told.
        unique_ids: What UIDL told.
        commands: How many commands there were.
        retrieved: How many messages came whole.
        pending: Deletions marked.
        committed: Deletions that QUIT confirmed.
        unmatched: Responses that answer nothing.
        unanswered: Commands without an answer.
    """

    __slots__ = (
        "_clear_told",
        "_names",
        "_overflow_told",
        "_users",
        "cited",
        "client_line",
        "commands",
        "committed",
        "content",
        "crlf_seen",
        "exposed",
        "hidden",
        "in_step",
        "injected",
        "learned",
        "listing",
        "logins",
        "make",
        "message_begun",
        "opaque",
        "opaque_tls",
        "out",
        "pending",
        "policy",
        "retrieved",
        "server_line",
        "split_pass",
        "unanswered",
        "unique_ids",
        "unmatched",
    )

    def __init__(self, make: Maker, policy: Policy, *, exposed: Iterable[LegName]) -> None:
        self.make = make
        self.policy = policy
        self.exposed: tuple[LegName, ...] = tuple(exposed)
        self.out: list[Record] = []
        self.learned = Learned()
        self.logins = Logins()
        self.content: MultiLine | None = None
        self.cited: Cited | None = None
        self.client_line: Start | None = None
        self.server_line: LongLine | Start | None = None
        self.crlf_seen = self.split_pass = False
        self.hidden = _NONE
        self.message_begun = False
        self.injected: tuple[Side, ...] = ()
        self.in_step = True
        self.opaque: dict[Side, OpaqueSide] | None = None
        self.opaque_tls = False
        self.listing: Remembered | None = None
        self.unique_ids: Remembered | None = None
        self.commands = self.retrieved = self.pending = self.committed = 0
        self.unmatched = self.unanswered = 0
        self._overflow_told = self._clear_told = False
        self._users: tuple[bytes, ...] = ()
        self._names: tuple[bytes, ...] = ()  # those that are shown, folded

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Recording>"

    def find(
        self,
        at: int,
        code: FindingCode,
        where: str = "",
        *,
        seq: int | None = None,
        count: int | None = None,
    ) -> None:
        """Add a finding.

        Args:
            at: When, monotonic, in nanoseconds.
            code: Which.
            where: In words.
            seq: The command that it concerns.
            count: A figure that belongs to it.
        """
        self.out.append(self.make.finding(at, code, where, seq=seq, count=count))

    def learn(self, secrets: Iterable[bytes], at: int) -> None:
        """Remember what was hidden.

        A password that is part of a name which was shown before is not looked for: the gaps in
        that name would tell it (P02).

        Args:
            secrets: As it was sent.
            at: When, monotonic, in nanoseconds.
        """
        self.cited = None  # it may hold what is learned now
        self.learned.learn(
            secret for secret in secrets if not any(folded(secret) in name for name in self._names)
        )
        if self.learned.overflowed:
            self.tell_overflow(at)

    def learn_user(self, user: bytes | None, at: int) -> None:
        """Remember a user's name; if names are hidden, as a secret.

        Args:
            user: The name.
            at: When, monotonic, in nanoseconds.
        """
        if user is None:
            return
        if self.policy.pseudonyms is None:
            name = folded(user)
            known = name in self._names or len(self._names) == _MAX_USERS
            if not known and not self.learned.find(user).spans:
                self._names += (name,)
            return
        if self.is_secret(user):
            return
        if user not in self._users and len(self._users) < _MAX_USERS:
            self._users += (user,)
            self.learn([user], at)

    def is_secret(self, user: bytes) -> bool:
        """Tell whether a name must not even have a pseudonym: that would tell if it is the same.

        Args:
            user: The name.
        """
        return user not in self._users and bool(self.learned.find(user).spans)

    def overflow(self, at: int) -> None:
        """Note a secret that is too long to be remembered.

        Args:
            at: When, monotonic, in nanoseconds.
        """
        self.learned.overflow()
        self.tell_overflow(at)

    def tell_overflow(self, at: int) -> None:
        """Add the finding that nothing is told any more, once.

        Args:
            at: When, monotonic, in nanoseconds.
        """
        if self.learned.overflowed and not self._overflow_told:
            self._overflow_told = True
            self.find(at, FindingCode.TOO_MANY_SECRETS)

    def credentials_sent(self, at: int, seq: int) -> None:
        """Add a finding if credentials go over a network in clear (P19), once a session.

        Args:
            at: When, monotonic, in nanoseconds.
            seq: The command that sends them.
        """
        if self.exposed and not self._clear_told:
            self._clear_told = True
            where = f"{' and '.join(self.exposed)} leg"
            self.find(at, FindingCode.CREDENTIALS_IN_CLEAR, where, seq=seq)

    def mask(self, octets: bytes) -> bytes:
        """Mask a text that is no line of its own.

        Args:
            octets: The text.
        """
        spans = self.learned.find(octets)
        return self.mask_spans(octets, spans.spans)[0]

    def mask_arguments(self, command: str, arguments: bytes) -> bytes:
        """Mask a command's arguments; all of them if a secret begins in the keyword.

        Args:
            command: The keyword.
            arguments: What follows it.
        """
        masked = self.mask(arguments)
        if masked == arguments and self.learned.find(command.encode() + b" " + arguments).spans:
            return MASKED
        return masked

    def mask_spans(self, octets: bytes, spans: Sequence[Span]) -> tuple[bytes, int | None]:
        """Put masks in.

        Args:
            octets: The text.
            spans: What to mask.

        Returns:
            The masked text, and where the first mask begins, or None.
        """
        if not spans:
            return octets, None
        return replace(octets, spans)[0], spans[0][0]

    def text(self, octets: bytes) -> str:
        """Mask a text that is no line of its own, and give it as text.

        Args:
            octets: The text.
        """
        return text_of(self.mask(octets))

    def user(self, name: bytes) -> str:
        """Give a user's name as it may be told (P12).

        Args:
            name: The name as sent.
        """
        pseudonyms = self.policy.pseudonyms
        if pseudonyms is None:
            return self.text(name)
        return MASK if self.is_secret(name) else pseudonyms.of(name)

    def login_ended(self, login: Login, seq: int | None, outcome: Outcome, at: int) -> None:
        """Add the record of a login.

        Args:
            login: The login.
            seq: The command that began it.
            outcome: How it went.
            at: When, monotonic, in nanoseconds.
        """
        user = self.user(login.user) if login.user is not None else None
        mechanism = self.text(login.mechanism.encode()) if login.sasl else login.mechanism
        part = AuthPart(mechanism=mechanism, outcome=outcome, rounds=login.rounds, command_seq=seq)
        self.out.append(self.make.auth(at, part, user))
