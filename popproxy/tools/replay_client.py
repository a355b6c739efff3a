"""A replay as a client: the recorded commands, played to a live server, and what differs.

What may be sent is an allow-list. Nothing that alters a maildrop is on it but DELE, and that only
if it is allowed; without it RSET goes before QUIT, so that QUIT has nothing to commit (RFC 1939,
section 6). Lines that the capture hides cannot be sent, as nobody knows them; the login is held
with the live user's name and password, in the recorded way as far as that can be done.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from popproxy.peers.client import ClientError, Exchange, ScriptedClient
from popproxy.pop3.values import apop_timestamp
from popproxy.records import MASK
from popproxy.relay.encryption import Encryption, NotEncrypted
from popproxy.relay.legs import Leg
from popproxy.tools.replay_compare import Depth, difference
from popproxy.tools.replay_login import LOGIN
from popproxy.tools.replay_plan import Plan, Step
from popproxy.tools.replay_stream import LegStream

_SENT = frozenset(
    {"CAPA", "NOOP", "STAT", "LIST", "UIDL", "RETR", "TOP", "RSET", "LAST", "LANG", "UTF8", "QUIT"}
)
"""Keywords of commands that are sent as they were recorded."""
_MAILDROP = frozenset({"STAT", "LIST", "UIDL", "RETR", "TOP", "LAST"})
_LARGEST = 256 * 1024 * 1024
"""Octets of one answer at most."""


class PlayError(Exception):
    """The session could not be held; the text says why, and the remedy what to do."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Part:
    """Who plays, and how.

    Attributes:
        user: The user's name on the live server.
        password: The user's password.
        delete: Whether DELE may be sent, and QUIT without RSET.
        every: Whether to go on after the first difference.
        depth: How much of the answers is compared.
        stls: Whether to begin with STLS, whatever was recorded.
        under_tls: Whether TLS is spoken already.
        patience: Seconds that the server may take for an answer.
    """

    user: str
    password: str
    delete: bool = False
    every: bool = False
    depth: Depth = "content"
    stls: bool = False
    under_tls: bool = False
    patience: float = 60.0


@dataclass(slots=True, kw_only=True)
class Played:
    """What came of it.

    Attributes:
        commands: How many commands were answered.
        differences: Each one as a command's title and the difference in words.
        left_out: Titles of recorded commands that were not sent.
    """

    commands: int = 0
    differences: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class _EnoughError(Exception):
    """The first difference was found, and no other is wanted."""


Report = Callable[[str, str], None]


def _silent(_title: str, _difference: str) -> None:
    pass


class Player:
    """Plays one session.

    Args:
        leg: A connection with the server, under TLS if that is to be from the start. The caller
            closes `Player.leg` in the end.
        plan: The recording.
        part: Who plays.
        encryption: Puts TLS on the leg, for STLS.
        report: Told of each difference, as it is found.

    Attributes:
        leg: The connection; another one once STLS was used.
        played: What came of it so far.
    """

    def __init__(
        self,
        leg: Leg,
        plan: Plan,
        part: Part,
        encryption: Encryption,
        report: Report = _silent,
    ) -> None:
        self.leg = leg
        self.played = Played()
        self._plan = plan
        self._part = part
        self._encryption = encryption
        self._report = report
        self._client = self._speaking(leg)
        self._timestamp: bytes | None = None
        self._login = next((n for n, step in enumerate(plan.steps) if step.logs_in), None)
        self._logged_in = False
        self._closed = False

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Player>"

    def _speaking(self, leg: Leg) -> ScriptedClient:
        return ScriptedClient(LegStream(leg), patience=self._part.patience, limit=_LARGEST)

    async def run(self) -> Played:
        """Play the session.

        Raises:
            PlayError: It could not be held: no greeting, no TLS, no login, or the server is gone.
        """
        try:
            await self._greet()
            if self._part.stls or self._plan.tls == "stls":
                await self._stls()
            for batch in self._batches():
                await self._play(batch)
        except _EnoughError:
            pass
        except ClientError as error:
            raise PlayError(str(error)) from None
        await self._leave()
        return self.played

    async def _greet(self) -> None:
        greeting = await self._client.greeting()
        self._timestamp = apop_timestamp(greeting.answer)
        if self._plan.greeting is not None:
            self._compare(self._plan.greeting, "the greeting", greeting.answer)
        if not greeting.ok:
            raise PlayError("the server refuses the session")

    # What is sent.

    def _batches(self) -> Iterator[list[Step]]:
        """Give the steps to play, those together that were sent together."""
        batch: list[Step] = []
        for number, step in enumerate(self._plan.steps):
            if step.seq is None or self._skipped(number, step):
                continue
            if batch and not step.pipelined:
                yield batch
                batch = []
            if step.command in LOGIN:  # a login is an exchange, nothing can be sent in advance
                if batch:
                    yield batch
                yield [step]
                batch = []
            else:
                batch.append(step)
        if batch:
            yield batch

    def _skipped(self, number: int, step: Step) -> bool:
        """Say whether a step is left out, and note it if that changes anything."""
        if step.command == "STLS":
            return True
        if step.command in LOGIN and (step.command, step.arguments) != ("AUTH", ""):
            # The one that logged in stands for all attempts; if none did, the first PASS or AUTH.
            return number != (self._login if self._login is not None else self._attempt)
        if step.command == "DELE":
            if self._part.delete:
                return False
        elif step.command in _SENT and MASK not in step.arguments:
            return False
        self.played.left_out.append(step.title)
        return True

    @property
    def _attempt(self) -> int:
        steps = self._plan.steps
        tries = (n for n, one in enumerate(steps) if one.command in LOGIN and one.command != "USER")
        return next(tries, -1)

    async def _play(self, batch: Sequence[Step]) -> None:
        if batch[0].command in LOGIN and batch[0].arguments != "":
            await self._log_in(batch[0])
            return
        lines = []
        for step in batch:
            if step.command == "QUIT" and self._logged_in and not self._part.delete:
                await self._reset()
            lines.append(f"{step.command} {step.arguments}".rstrip().encode())
        await self._client.send(lines)
        for step, line in zip(batch, lines, strict=True):
            try:
                exchange = await self._client.answer(line)
            except ClientError as error:
                self._closed = True
                if step.pieces or self._plan.end.kind == "wait":
                    self._differ(step.title, f"recorded an answer, and now {error}")
                return
            self.played.commands += 1
            self._closed = step.command == "QUIT"
            # The recorded maildrop was another one, if deletions are left out now.
            altered = step.command in _MAILDROP and step.deleted and not self._part.delete
            self._compare(step, step.title, exchange.answer, mailbox=not altered)

    async def _reset(self) -> None:
        """Unmark what may be marked as deleted, whoever marked it."""
        if self._logged_in:
            await self._client.command(b"RSET")

    async def _leave(self) -> None:
        """Leave as a client should, if the recorded one has not; nothing is deleted then."""
        if self._closed:
            return
        try:
            await self._reset()
            await self._client.command(b"QUIT")
        except ClientError:
            pass  # what was to be found out has been

    # What is compared.

    def _compare(self, step: Step, title: str, answer: bytes, *, mailbox: bool = True) -> None:
        if found := difference(step, answer, self._part.depth, mailbox=mailbox):
            self._differ(title, found)

    def _differ(self, title: str, found: str) -> None:
        self.played.differences.append((title, found))
        self._report(title, found)
        if not self._part.every:
            raise _EnoughError

    # TLS and the login.

    async def _stls(self) -> None:
        if self._part.under_tls:
            return
        answer = await self._client.command(b"STLS")
        if not answer.ok:
            raise PlayError(
                "the server refuses STLS, and no password is sent without",
                "a server with TLS from the start is reached by pop3s://",
            )
        if self._client.early or self.leg.peek() is not None:
            raise PlayError("something came in the clear behind the answer to STLS")
        try:
            encrypted = await self._encryption.with_server(self.leg)
        except NotEncrypted as failure:
            raise PlayError(
                f"no TLS with the server: {failure.cause}", failure.part.remedy or ""
            ) from None
        self.leg = encrypted.leg
        self._client = self._speaking(self.leg)

    async def _log_in(self, step: Step) -> None:
        """Log in as the recorded client did, if that can be done, else by USER and PASS."""
        user, password = self._part.user.encode(), self._part.password.encode()
        words = step.arguments.upper().split()
        if step.command == "APOP" and self._timestamp is not None:
            digest = hashlib.md5(self._timestamp + password, usedforsecurity=False).hexdigest()
            answer = await self._client.command(b"APOP " + user + b" " + digest.encode())
        elif step.command == "AUTH" and words[0] in ("PLAIN", "LOGIN", "CRAM-MD5"):
            answer = await self._sasl(words[0], user, password)
        else:
            answer = await self._client.command(b"USER " + user)
            if answer.ok:
                answer = await self._client.command(b"PASS " + password)
        self.played.commands += 1
        self._logged_in = answer.ok
        if not answer.ok and step.logs_in:
            code = answer.answer.partition(b" ")[2][:7].upper()
            again = code.startswith((b"[IN-USE", b"[LOGIN", b"[SYS/T"))
            raise PlayError(
                "the server refuses the login",
                "Try again later." if again else "Check user name and password.",
            )
        self._compare(step, "the login", answer.answer, mailbox=False)

    async def _sasl(self, mechanism: str, user: bytes, password: bytes) -> Exchange:
        """Hold a SASL exchange (RFC 4616, RFC 2195)."""
        answer = await self._client.command(f"AUTH {mechanism}".encode())
        replies = [b"\0" + user + b"\0" + password] if mechanism == "PLAIN" else [user, password]
        if mechanism == "CRAM-MD5" and answer.answer.startswith(b"+ "):
            try:
                challenge = base64.b64decode(answer.answer[2:].strip(), validate=True)
            except ValueError:
                return await self._client.command(b"*")
            digest = hmac.new(password, challenge, "md5").hexdigest()
            replies = [user + b" " + digest.encode()]
        for reply in replies:
            if not answer.answer.startswith(b"+") or answer.ok:
                break
            answer = await self._client.command(base64.b64encode(reply))
        return answer
