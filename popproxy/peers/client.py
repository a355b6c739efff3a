"""A scripted client: sends command lines one by one and waits for each one's complete answer.

It works over any trio stream. How many lines an answer has is decided as the grammar says
(`popproxy.pop3.grammar`): by the command, its arguments and the status. What it holds in memory and
how long it waits is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import trio

from popproxy.pop3.grammar import expects_lines, parse_command

SEED_COMMANDS = (
    "user {user}",
    "pass {password}",
    "stat",
    "list",
    "retr 1",
    "retr 2",
    "dele 1",
    "dele 2",
    "quit",
)
"""The conversation that the project began with, in the lower case in which it was typed."""

_READ = 65_536


class ClientError(Exception):
    """The conversation could not be held; the text says why and quotes nothing that was sent."""


@dataclass(frozen=True, slots=True, repr=False)
class Exchange:
    """A command and its answer.

    Attributes:
        command: What was sent, line end included; empty for the greeting.
        answer: What came, byte-stuffing and line ends included; empty if the server closed
            the connection instead, as some do after QUIT.
    """

    command: bytes
    answer: bytes

    def __repr__(self) -> str:
        """Name the type only: a command may be a password (P13)."""
        return "<Exchange>"

    @property
    def ok(self) -> bool:
        """Whether the answer is positive (RFC 1939, section 3)."""
        return self.answer.startswith(b"+OK")


def seed_conversation(user: str, password: str) -> list[bytes]:
    """Give the seed's conversation for an account.

    Args:
        user: The user's name.
        password: The user's password.

    Returns:
        The command lines without line ends.
    """
    lines = (line.format(user=user, password=password) for line in SEED_COMMANDS)
    return [line.encode() for line in lines]


class ScriptedClient:
    """A client that sends what it is told.

    Args:
        stream: The connection; the caller closes it.
        patience: Seconds that the server may take for an answer.
        limit: Octets that an answer may have.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        patience: float = 60.0,
        limit: int = 64 * 1024 * 1024,
    ) -> None:
        self._stream = stream
        self._patience = patience
        self._limit = limit
        self._buffer = bytearray()
        self._challenged = False

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<ScriptedClient>"

    async def greeting(self) -> Exchange:
        """Wait for the greeting.

        Raises:
            ClientError: None came, or the connection was lost.
        """
        with trio.move_on_after(self._patience):
            answer = await self._line(0)
            if not answer:
                raise ClientError("the server closed the connection without a greeting")
            return Exchange(b"", answer)
        raise ClientError(f"the server sent no greeting for {self._patience:g} seconds")

    async def command(self, line: bytes) -> Exchange:
        """Send a command, or a response to a challenge, and wait for the complete answer.

        Args:
            line: The line without its line end.

        Returns:
            The line as it was sent, and the answer.

        Raises:
            ClientError: The answer did not come, was cut off or is too long.
        """
        await self.send([line])
        return await self.answer(line)

    async def send(self, lines: Iterable[bytes]) -> None:
        """Send commands in one segment, without waiting for answers (RFC 2449, section 6.6).

        Args:
            lines: The lines without line ends; each one's `answer` has to be taken, in order.

        Raises:
            ClientError: The connection was lost, or the server takes nothing.
        """
        with trio.move_on_after(self._patience):
            try:
                await self._stream.send_all(b"".join(line + b"\r\n" for line in lines))
            except trio.BrokenResourceError:
                raise ClientError("the connection was lost") from None
            return
        raise ClientError(f"the server took nothing for {self._patience:g} seconds")

    async def answer(self, line: bytes) -> Exchange:
        """Wait for the complete answer to a line that was sent.

        Args:
            line: The line without its line end.

        Returns:
            The line as it was sent, and the answer.

        Raises:
            ClientError: As for `command`.
        """
        keyword, arguments, spec = parse_command(line)
        # What answers a challenge is no command, even if it looks like one (RFC 5034, section 4).
        known = None if self._challenged else spec
        with trio.move_on_after(self._patience):
            answer = await self._line(0)
            if not answer and (known is None or keyword != b"QUIT"):
                raise ClientError("the server closed the connection instead of answering")
            if known is not None and answer.startswith(b"+OK") and expects_lines(known, arguments):
                answer = await self._content(answer)
            self._challenged = answer.startswith(b"+") and not answer.startswith(b"+OK")
            return Exchange(line + b"\r\n", answer)
        raise ClientError(f"the server sent no answer for {self._patience:g} seconds")

    @property
    def early(self) -> bool:
        """Whether something has come that answers nothing yet."""
        return bool(self._buffer)

    async def converse(self, commands: Iterable[bytes], *, pause: float = 0.0) -> list[Exchange]:
        """Hold a whole conversation, from the greeting to the last command's answer.

        Args:
            commands: The lines without line ends. After a greeting other than `+OK` none is sent.
            pause: Seconds to wait before each command, for somebody who watches.

        Returns:
            What was said; the greeting first.

        Raises:
            ClientError: As for `command`.
        """
        said = [await self.greeting()]
        if said[0].ok:
            for line in commands:
                await trio.sleep(pause)
                said.append(await self.command(line))
        return said

    async def _line(self, before: int) -> bytes:
        """Read a line with its line end; nothing if the stream ends where a line would begin.

        Args:
            before: Octets of the answer that came before it.
        """
        searched = 0
        while (found := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if before + searched > self._limit:
                raise ClientError(f"an answer has more than {self._limit} octets")
            try:
                data = await self._stream.receive_some(_READ)
            except trio.BrokenResourceError:
                raise ClientError("the connection was lost") from None
            if not data:
                if self._buffer:
                    raise ClientError("the connection ended inside a line")
                return b""
            self._buffer += data
        line = bytes(self._buffer[: found + 1])
        del self._buffer[: found + 1]
        return line

    async def _content(self, status: bytes) -> bytes:
        """Read lines up to the one that is a single dot (RFC 1939, section 3)."""
        answer = bytearray(status)
        while True:
            line = await self._line(len(answer))
            if not line:
                raise ClientError("the connection ended inside an answer of several lines")
            answer += line
            if len(answer) > self._limit:
                raise ClientError(f"an answer has more than {self._limit} octets")
            if line in (b".\r\n", b".\n"):
                return bytes(answer)
