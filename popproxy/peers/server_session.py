"""One session of the embedded server: RFC 1939, with the extensions that CAPA lists.

A session is a loop: a line is read, its keyword looked up in one table, its method answers.
Nothing that a client sends ends a session but QUIT; it is answered with `-ERR`. What does end it,
without an answer and without a deletion: the auto-logout timer (RFC 1939, section 3), a lost
connection, and a message that can no longer be read when part of it has been sent.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import trio

from popproxy import __version__
from popproxy.peers.accounts import Accounts, split_plain
from popproxy.peers.channel import Channel, SessionLostError
from popproxy.peers.lines import EndOfStreamError, LineTooLongError
from popproxy.peers.maildrop import (
    InUseError,
    Maildrop,
    MaildropError,
    Message,
    MessageGoneError,
    OpenMaildrop,
)
from popproxy.peers.wire import CHUNK, Canonical, Reader, Stuffer, Top
from popproxy.pop3.events import State

T = TypeVar("T")

_COMMAND_LIMIT = 1_000
"""Octets of a command line; RFC 2449, section 4, asks for 255."""
_SASL_LIMIT = 12_288
"""Octets of a client's SASL line (RFC 5034, section 4)."""

_CAPABILITIES = (
    b"TOP",
    b"USER",
    b"SASL PLAIN",
    b"RESP-CODES",
    b"AUTH-RESP-CODE",
    b"PIPELINING",
    b"UIDL",
    b"EXPIRE NEVER",
    b"IMPLEMENTATION popproxy-" + __version__.encode(),
)

_NO_SUCH_MESSAGE = b"-ERR no such message"
_WRONG = b"-ERR [AUTH] wrong user name or password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server allows.

    Attributes:
        connections: How many clients at a time; the next one is refused with `-ERR [SYS/TEMP]`.
        idle: Seconds until a session is ended in which no command comes, or no answer is taken
            (RFC 1939, section 3, asks for 600 at least).
    """

    connections: int = 64
    idle: float = 600.0


class ServerSession:
    """A session with one client.

    Args:
        stream: The connection; the caller closes it.
        accounts: Who may log in.
        settings: What is allowed.
        timestamp: The greeting's timestamp, different each time (RFC 1939, section 7), angle
            brackets included.
    """

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        accounts: Accounts,
        settings: Settings,
        timestamp: bytes,
    ) -> None:
        self._channel = Channel(stream, settings.idle)
        self._accounts = accounts
        self._timestamp = timestamp
        self._state = State.AUTHORIZATION
        self._user: bytes | None = None
        self._blocks = False
        self._maildrop: OpenMaildrop | None = None
        self._deleted: set[int] = set()

    def __repr__(self) -> str:
        """Name the type and its state only (P13)."""
        return f"<ServerSession in {self._state.value}>"

    async def run(self) -> None:
        """Hold the session until it ends; a lost connection is an ordinary end."""
        try:
            await self._channel.answer(b"+OK popproxy POP3 server ready " + self._timestamp)
            while self._state is not State.UPDATE:
                await self._command()
            await self._channel.flush()
            await self._channel.linger()
        except (SessionLostError, EndOfStreamError, trio.BrokenResourceError):
            pass
        finally:
            self._close_maildrop()

    def _close_maildrop(self) -> None:
        if self._maildrop is not None:
            self._maildrop.close()
            self._maildrop = None

    async def _command(self) -> None:
        try:
            line = await self._channel.line(_COMMAND_LIMIT)
        except LineTooLongError:
            await self._channel.answer(b"-ERR line too long")
            return
        keyword, _blank, arguments = line.partition(b" ")
        row = _COMMANDS.get(keyword.upper())
        if row is None:
            await self._channel.answer(b"-ERR unknown command")
        elif self._state not in row.states:
            await self._channel.answer(b"-ERR not in this state")
        else:
            await row.method(self, arguments)

    async def _in_thread(self, function: Callable[[], T], *, blocks: bool) -> T:
        """Call what may wait for a disk. It runs to its end even if the session is cancelled."""
        return await trio.to_thread.run_sync(function) if blocks else function()

    # AUTHORIZATION.

    async def _user_(self, arguments: bytes) -> None:
        self._user = arguments.strip(b" ") or None
        if self._user is None:
            await self._channel.answer(b"-ERR USER needs a name")
        else:
            await self._channel.answer(b"+OK send PASS")

    async def _pass(self, arguments: bytes) -> None:
        user, self._user = self._user, None
        if user is None:
            await self._channel.answer(b"-ERR send USER first")
        else:
            await self._log_in(self._accounts.by_password(user, arguments))

    async def _apop(self, arguments: bytes) -> None:
        user, _blank, digest = arguments.strip(b" ").rpartition(b" ")
        if not user:
            await self._channel.answer(b"-ERR APOP needs a name and a digest")
        else:
            await self._log_in(self._accounts.by_digest(user, digest, self._timestamp))

    async def _auth(self, arguments: bytes) -> None:
        words = arguments.split()
        if not words:
            await self._channel.multi_line(b"+OK mechanisms follow", [b"PLAIN"])
        elif words[0].upper() != b"PLAIN":
            await self._channel.answer(b"-ERR unknown mechanism")
        elif len(words) > 2:
            await self._channel.answer(b"-ERR AUTH takes a mechanism and one initial response")
        else:
            await self._auth_plain(words[1] if len(words) == 2 else None)

    async def _auth_plain(self, response: bytes | None) -> None:
        if response is None:
            await self._channel.answer(b"+ ")
            try:
                response = await self._channel.line(_SASL_LIMIT)
            except LineTooLongError:
                await self._channel.answer(b"-ERR line too long")
                return
        if response == b"*":
            await self._channel.answer(b"-ERR cancelled")
            return
        try:
            message = base64.b64decode(b"" if response == b"=" else response, validate=True)
        except binascii.Error:
            await self._channel.answer(b"-ERR not base64")
            return
        credentials = split_plain(message)
        if credentials is None:
            await self._channel.answer(_WRONG)
        else:
            await self._log_in(self._accounts.by_password(*credentials))

    async def _log_in(self, maildrop: Maildrop | None) -> None:
        self._user = None
        if maildrop is None:
            await self._channel.answer(_WRONG)
            return
        try:
            opened = await self._in_thread(maildrop.open, blocks=maildrop.blocks)
        except InUseError:
            await self._channel.answer(b"-ERR [IN-USE] another session has the maildrop")
            return
        except (MaildropError, OSError):
            await self._channel.answer(b"-ERR [SYS/TEMP] the maildrop cannot be opened")
            return
        self._maildrop, self._blocks = opened, maildrop.blocks
        self._state = State.TRANSACTION
        await self._channel.answer(b"+OK maildrop locked and ready")

    # Both states.

    async def _capa(self, _arguments: bytes) -> None:
        await self._channel.multi_line(b"+OK capability list follows", list(_CAPABILITIES))

    async def _quit(self, _arguments: bytes) -> None:
        answer = b"+OK goodbye"
        if self._maildrop is not None:
            try:
                numbers = sorted(self._deleted)
                remove = self._maildrop.remove
                await self._in_thread(lambda: remove(numbers), blocks=self._blocks)
            except (MaildropError, OSError):
                answer = b"-ERR [SYS/TEMP] some deleted messages were not removed"
            self._close_maildrop()
        self._state = State.UPDATE  # or the end of AUTHORIZATION: nothing else is read
        await self._channel.answer(answer)

    # TRANSACTION.

    @property
    def _opened(self) -> OpenMaildrop:
        if self._maildrop is None:
            raise RuntimeError("the TRANSACTION state has a maildrop")
        return self._maildrop

    def _messages(self) -> list[tuple[int, Message]]:
        """The messages that are not marked as deleted, with their numbers."""
        every = enumerate(self._opened.messages, start=1)
        return [(number, message) for number, message in every if number not in self._deleted]

    def _number(self, argument: bytes) -> int | None:
        """Read a message-number; None if it names no message, or a deleted one."""
        number = _integer(argument)
        if number is None or not 1 <= number <= len(self._opened.messages):
            return None
        return None if number in self._deleted else number

    async def _stat(self, _arguments: bytes) -> None:
        sizes = [message.octets for _number, message in self._messages()]
        await self._channel.answer(b"+OK %d %d" % (len(sizes), sum(sizes)))

    async def _list_(self, arguments: bytes) -> None:
        await self._table(arguments, lambda message: b"%d" % message.octets)

    async def _uidl(self, arguments: bytes) -> None:
        await self._table(arguments, lambda message: message.unique_id.encode())

    async def _table(self, arguments: bytes, value: Callable[[Message], bytes]) -> None:
        """Answer LIST and UIDL, with and without an argument."""
        argument = arguments.strip(b" ")
        if not argument:
            messages = self._messages()
            lines = [b"%d %s" % (number, value(message)) for number, message in messages]
            await self._channel.multi_line(b"+OK %d messages" % len(lines), lines)
        elif (number := self._number(argument)) is None:
            await self._channel.answer(_NO_SUCH_MESSAGE)
        else:
            message = self._opened.messages[number - 1]
            await self._channel.answer(b"+OK %d %s" % (number, value(message)))

    async def _retr(self, arguments: bytes) -> None:
        number = self._number(arguments.strip(b" "))
        if number is None:
            await self._channel.answer(_NO_SUCH_MESSAGE)
        else:
            octets = self._opened.messages[number - 1].octets
            await self._send_message(number, b"+OK %d octets" % octets, None)

    async def _top(self, arguments: bytes) -> None:
        words = arguments.split()
        lines = _integer(words[1]) if len(words) == 2 else None
        if lines is None:
            await self._channel.answer(b"-ERR TOP needs a message and a number of lines")
        elif (number := self._number(words[0])) is None:
            await self._channel.answer(_NO_SUCH_MESSAGE)
        else:
            await self._send_message(number, b"+OK top of message follows", Top(lines))

    async def _send_message(self, number: int, status: bytes, top: Top | None) -> None:
        maildrop = self._opened
        try:
            reader = await self._in_thread(lambda: maildrop.read(number), blocks=self._blocks)
        except (MessageGoneError, OSError):
            await self._channel.answer(b"-ERR [SYS/TEMP] the message cannot be read")
            return
        try:
            await self._channel.answer(status)
            await self._send_content(reader, top)
        except OSError as error:
            # Part of it is out, so that no status can tell; the client sees the end of the stream.
            raise SessionLostError from error
        finally:
            reader.close()
        await self._channel.answer(b".")

    async def _send_content(self, reader: Reader, top: Top | None) -> None:
        canonical, stuffer = Canonical(), Stuffer()
        while top is None or not top.done:
            data = await self._in_thread(lambda: reader.read(CHUNK), blocks=self._blocks)
            piece = canonical.feed(data) if data else canonical.end()
            if top is not None:
                piece = top.feed(piece)
            await self._channel.content(stuffer.feed(piece))
            if not data:
                break

    async def _dele(self, arguments: bytes) -> None:
        number = self._number(arguments.strip(b" "))
        if number is None:
            await self._channel.answer(_NO_SUCH_MESSAGE)
        else:
            self._deleted.add(number)
            await self._channel.answer(b"+OK message %d deleted" % number)

    async def _noop(self, _arguments: bytes) -> None:
        await self._channel.answer(b"+OK")

    async def _rset(self, _arguments: bytes) -> None:
        self._deleted.clear()
        await self._channel.answer(b"+OK nothing is deleted")


def _integer(argument: bytes) -> int | None:
    """Read a number of up to 10 ASCII digits."""
    return int(argument) if argument.isdigit() and len(argument) <= 10 else None


class _Row(NamedTuple):
    method: Callable[[ServerSession, bytes], Awaitable[None]]
    states: frozenset[State]


_A = frozenset({State.AUTHORIZATION})
_T = frozenset({State.TRANSACTION})
_COMMANDS: dict[bytes, _Row] = {
    b"USER": _Row(ServerSession._user_, _A),
    b"PASS": _Row(ServerSession._pass, _A),
    b"APOP": _Row(ServerSession._apop, _A),
    b"AUTH": _Row(ServerSession._auth, _A),
    b"CAPA": _Row(ServerSession._capa, _A | _T),
    b"QUIT": _Row(ServerSession._quit, _A | _T),
    b"STAT": _Row(ServerSession._stat, _T),
    b"LIST": _Row(ServerSession._list_, _T),
    b"UIDL": _Row(ServerSession._uidl, _T),
    b"RETR": _Row(ServerSession._retr, _T),
    b"TOP": _Row(ServerSession._top, _T),
    b"DELE": _Row(ServerSession._dele, _T),
    b"NOOP": _Row(ServerSession._noop, _T),
    b"RSET": _Row(ServerSession._rset, _T),
}
