"""Maildrops: what a POP3 session opens, reads, and deletes from when it ends.

`Maildrop.open` takes the exclusive-access lock that RFC 1939, section 4, asks for and gives an
`OpenMaildrop`: the messages as they stood then, numbered from 1. Nothing is deleted before
`OpenMaildrop.remove`, which the server calls on entering the UPDATE state and never otherwise, so
that a connection that is lost deletes nothing.

There are three kinds: in memory (here), a Maildir (`popproxy.peers.maildir`) and an mbox
(`popproxy.peers.mbox`). The methods are synchronous; those of the latter two wait for a disk and
belong into a thread (`Maildrop.blocks`).
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from popproxy.peers.wire import Reader, measure

UNIQUE_ID_SIZE = 70
"""Characters that a unique-id may have (RFC 1939, section 7)."""


class MaildropError(Exception):
    """A maildrop cannot be used; the text says what to do, to the person who runs the server."""


class InUseError(MaildropError):
    """Another session has the maildrop (RFC 2449, section 8.1.2)."""


class MessageGoneError(MaildropError):
    """Another program removed or changed the message while the maildrop was open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a session knows of a message.

    Attributes:
        octets: Its size as RETR sends it, line ends counted as CRLF, without byte-stuffing.
        unique_id: 1 to 70 characters from 0x21 to 0x7E, the same in every session
            (RFC 1939, section 7).
    """

    octets: int
    unique_id: str


class OpenMaildrop(Protocol):
    """A maildrop with its lock held. Message numbers are positions in `messages`, plus 1."""

    @property
    def messages(self) -> Sequence[Message]:
        """The messages as they stood when the maildrop was opened."""
        ...

    def read(self, number: int) -> Reader:
        """Open a message, which must be one of `messages`.

        Args:
            number: Its message-number.

        Returns:
            The message as it is stored; the caller closes it.

        Raises:
            MessageGoneError: Another program removed or changed it.
            OSError: It cannot be read.
        """
        ...

    def remove(self, numbers: Collection[int]) -> None:
        """Remove messages for good (the UPDATE state, RFC 1939, section 6).

        A message that is gone already counts as removed.

        Args:
            numbers: Their message-numbers.

        Raises:
            MaildropError: Some, or all, are still there.
        """
        ...

    def close(self) -> None:
        """Release the lock; nothing else may be called afterwards. Does not wait for a disk."""
        ...


class Maildrop(Protocol):
    """A place where a user's messages are kept."""

    @property
    def blocks(self) -> bool:
        """Whether methods wait for a disk, so that they have to be called in a thread."""
        ...

    def open(self) -> OpenMaildrop:
        """Take the lock and look at what is there.

        Raises:
            InUseError: Another session has the lock.
            MaildropError: The maildrop cannot be read.
        """
        ...


class MemoryMaildrop:
    """Messages in memory.

    Args:
        messages: Their contents, with any line ends.
    """

    blocks = False

    def __init__(self, messages: Iterable[bytes] = ()) -> None:
        self._kept: list[tuple[bytes, Message]] = []
        self._copies: dict[str, int] = {}
        self._locked = False
        for content in messages:
            self.deliver(content)

    def __repr__(self) -> str:
        """Tell the number of messages, and nothing of them."""
        return f"<MemoryMaildrop of {len(self._kept)} messages>"

    @property
    def contents(self) -> tuple[bytes, ...]:
        """The messages that it holds now, as they were given."""
        return tuple(content for content, _message in self._kept)

    def deliver(self, content: bytes) -> None:
        """Add a message; sessions that are under way do not see it.

        Args:
            content: The message, with any line ends.
        """
        octets, sha256 = measure(io.BytesIO(content))
        copies = self._copies.get(sha256, 0) + 1
        self._copies[sha256] = copies
        unique_id = sha256[:32] if copies == 1 else f"{sha256[:32]}.{copies}"
        self._kept.append((content, Message(octets=octets, unique_id=unique_id)))

    def open(self) -> OpenMaildrop:
        """See `Maildrop.open`."""
        if self._locked:
            raise InUseError("the maildrop is open in another session")
        self._locked = True
        return _OpenMemory(self, list(self._kept))

    def _remove(self, unique_ids: set[str]) -> None:
        self._kept = [kept for kept in self._kept if kept[1].unique_id not in unique_ids]

    def _unlock(self) -> None:
        self._locked = False


class _OpenMemory:
    def __init__(self, maildrop: MemoryMaildrop, kept: list[tuple[bytes, Message]]) -> None:
        self._maildrop: MemoryMaildrop | None = maildrop
        self._contents = [content for content, _message in kept]
        self.messages: Sequence[Message] = [message for _content, message in kept]

    def read(self, number: int) -> Reader:
        return io.BytesIO(self._contents[number - 1])

    def remove(self, numbers: Collection[int]) -> None:
        if self._maildrop is not None:
            self._maildrop._remove({self.messages[number - 1].unique_id for number in numbers})

    def close(self) -> None:
        if self._maildrop is not None:
            self._maildrop._unlock()
            self._maildrop = None


def open_path(path: str | Path) -> Maildrop:
    """Tell what kind of maildrop a path is.

    Args:
        path: A Maildir (a directory that holds `new` and `cur`) or an mbox file.

    Returns:
        The maildrop, not opened.

    Raises:
        MaildropError: It is neither, or not there; the text says what was expected.
    """
    # Here, since both build on this module.
    from popproxy.peers.maildir import Maildir
    from popproxy.peers.mbox import Mbox

    path = Path(path)
    if path.is_dir():
        return Maildir(path)
    if path.is_file():
        return Mbox(path)
    what = "neither a directory nor a file" if path.exists() else "not there"
    raise MaildropError(f"{path} is {what}: give a Maildir or an mbox file")
