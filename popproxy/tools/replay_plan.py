"""A recorded session as a plan: what was asked, what was answered, in which pieces and when.

The plan is what the server sent as its client saw it, cut into *steps*: the greeting, then one step
for each command. A step's *pieces* are the reads in which its answer came, with the time that the
server took for each: from the piece before, or from the command where that came later. So a plan
can be played to a client that is slower or faster than the one that was recorded.

`popproxy.tools.replay_planner` makes plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from popproxy.records import ResponsePart

_DIGITS = 10
"""Digits of a message-number, as in `popproxy.pop3.grammar`."""

EndKind = Literal["close", "reset", "wait"]
"""How the server left: it closed, it reset the connection, or it did neither before the client."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Octets that the server sent in one go.

    Attributes:
        data: They, masked.
        delay: Seconds that the server took, from the piece before or from the command, whichever
            was later.
        joined: Whether it came in one read with the piece before.
    """

    data: bytes
    delay: float = 0.0
    joined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command and what the server answered.

    Attributes:
        seq: The command's number in its session; None for the greeting.
        command: Its keyword in upper case, or the mask; empty for the greeting.
        arguments: Its arguments, masked, or empty.
        state: The session's state when it was sent.
        pipelined: Whether it was sent before the command before it was answered.
        under_tls: Whether the client spoke TLS.
        deleted: Messages that were marked as deleted then.
        pieces: The answer; empty if there was none.
        challenges: What the server sent in a SASL exchange before its answer, masked.
        answer: What is known of the answer, if there was one.
        content: Of a multi-line answer: where the content begins in the joined pieces, and where
            it ends.
        begins_tls: Whether TLS with the client followed.
        filled: Octets of the answer that were not recorded, and are made up.
    """

    seq: int | None
    command: str = ""
    arguments: str = ""
    state: str = ""
    pipelined: bool = False
    under_tls: bool = False
    deleted: frozenset[int] = frozenset()
    pieces: tuple[Piece, ...] = ()
    challenges: tuple[Piece, ...] = ()
    answer: ResponsePart | None = None
    content: tuple[int, int] | None = None
    begins_tls: bool = False
    filled: int = 0

    @property
    def ok(self) -> bool:
        """Whether the answer is positive."""
        return self.answer is not None and self.answer.status == "+OK"

    @property
    def logs_in(self) -> bool:
        """Whether it led into the TRANSACTION state."""
        return self.ok and self.state == "AUTHORIZATION" and self.answer_state == "TRANSACTION"

    @property
    def answer_state(self) -> str:
        """The session's state after the answer; empty if there was none."""
        return self.answer.state if self.answer is not None else ""

    @property
    def wire(self) -> bytes:
        """The answer's octets."""
        return b"".join(piece.data for piece in self.pieces)

    @property
    def title(self) -> str:
        """The command, as it may be told."""
        return f"{self.command} {self.arguments}".strip() or "an empty line"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How the server ended the session.

    Attributes:
        kind: In which way.
        delay: Seconds that it took, as in `Piece`.
        after: How many steps came first, those that were sent in advance left out.
    """

    kind: EndKind = "wait"
    delay: float = 0.0
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A session to be replayed.

    Attributes:
        session: Its id.
        steps: What happened, in order; the greeting first, if the server greeted.
        end: How the server ended it.
        tls: Whether the client spoke TLS: from the start, from STLS on, or never.
        tls_version: The server's version of TLS, as `TLSv1.2`, if there was any TLS.
        truncated: Whether the server ended TLS without saying so (no close_notify).
        notes: What cannot be as it was, in sentences for a person.
    """

    session: str
    steps: tuple[Step, ...]
    end: End
    tls: Literal["never", "stls", "start"] = "never"
    tls_version: str | None = None
    truncated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def greeting(self) -> Step | None:
        """The step that holds the greeting."""
        return self.steps[0] if self.steps and self.steps[0].seq is None else None

    @property
    def offers_stls(self) -> bool:
        """Whether the server offered STLS in a list of capabilities (RFC 2595, section 4)."""
        capabilities = (
            capability
            for step in self.steps
            if step.answer is not None
            for capability in step.answer.capabilities or ()
        )
        return any(one.tag.upper() == "STLS" for one in capabilities)

    @property
    def commands(self) -> tuple[Step, ...]:
        """The steps that a command began."""
        return self.steps[1:] if self.greeting is not None else self.steps


def number(text: str) -> int | None:
    """Read a message-number; None if it is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def after(command: str, arguments: str, deleted: frozenset[int]) -> frozenset[int]:
    """Say which messages are marked as deleted after a command that was answered by +OK.

    Args:
        command: Its keyword.
        arguments: Its arguments.
        deleted: Those that were marked before.
    """
    if command == "RSET":
        return frozenset()
    marked = number(arguments) if command == "DELE" else None
    return deleted if marked is None else deleted | {marked}
