"""The maildrop that a recorded session saw, as far as it saw it, and answers made from it.

Whatever a client of the replay asks in another order than was recorded is answered from here: what
LIST, UIDL, STAT, RETR and TOP told, together, less the messages that are marked as deleted now.
What nobody told is not known, and not made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from popproxy.pop3.values import (
    parse_scan_listing,
    parse_unique_id,
    scan_listings,
    unique_id_listings,
)
from popproxy.tools.replay_plan import Step, number

ABSENT = b"-ERR no such message\r\n"
"""What is answered if a message is not in the maildrop, or is marked as deleted."""
_MOST = 1_000_000
"""Messages that STAT is believed to have counted."""


class Maildrop:
    """What is known of a maildrop.

    Attributes:
        numbers: The message-numbers at the beginning of the session, as far as they are known.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        """Read what a session's answers tell.

        Args:
            steps: The session's steps.
        """
        self._sizes: dict[int, int] = {}
        self._ids: dict[int, bytes] = {}
        self._contents: dict[int, bytes] = {}
        self._tops: dict[int, tuple[int, bytes]] = {}
        self._total: tuple[int, int] | None = None
        listed: set[int] | None = None
        for step in steps:
            if not step.ok or step.answer is None:
                continue
            if step.command == "LIST":
                found = _sizes(step)
                self._sizes |= found
                if not step.arguments and listed is None:
                    listed = {*found, *step.deleted}
            elif step.command == "UIDL":
                self._ids |= _ids(step)
            elif step.command == "STAT" and step.answer.stat and not step.deleted:
                self._total = (step.answer.stat.messages, step.answer.stat.octets)
            elif step.command in ("RETR", "TOP"):
                self._message(step)
        if listed is None:
            known = {*self._sizes, *self._ids, *self._contents, *self._tops}
            if self._total is not None and self._total[0] <= _MOST:
                known |= set(range(1, self._total[0] + 1))
            listed = known
        self.numbers = frozenset(listed)

    def _message(self, step: Step) -> None:
        words = step.arguments.split()
        whole = step.answer is not None and step.answer.ending in ("terminated", "ambiguous")
        message = number(words[0]) if words else None
        if message is None or step.content is None or not whole:
            return
        content = step.wire[slice(*step.content)]
        if step.command == "RETR":
            self._contents.setdefault(message, content)
            told = step.answer.message if step.answer is not None else None
            if told is not None:
                octets = told.octets_announced
                self._sizes.setdefault(message, told.octets if octets is None else octets)
            return
        lines = number(words[1]) if len(words) == 2 else None
        if lines is not None and lines >= self._tops.get(message, (0, b""))[0]:
            self._tops[message] = lines, content

    def stat(self, deleted: frozenset[int]) -> bytes | None:
        """Answer STAT; None if the sizes are not known.

        Args:
            deleted: The messages that are marked as deleted, as for all answers.
        """
        left = self.numbers - deleted
        if all(one in self._sizes for one in left):
            return b"+OK %d %d\r\n" % (len(left), sum(self._sizes[one] for one in left))
        if self._total is not None and all(one in self._sizes for one in deleted):
            count, octets = self._total
            octets -= sum(self._sizes[one] for one in deleted)
            return b"+OK %d %d\r\n" % (count - len(deleted), octets)
        return None

    def listing(self, message: int | None, deleted: frozenset[int]) -> bytes | None:
        """Answer LIST; None if a size is not known.

        Args:
            message: The message, or None for all.
            deleted: As in `stat`.
        """
        values = {one: b"%d" % size for one, size in self._sizes.items()}
        return self._lines(values, message, deleted)

    def unique_ids(self, message: int | None, deleted: frozenset[int]) -> bytes | None:
        """Answer UIDL; None if a unique-id is not known. The arguments are those of `listing`."""
        return self._lines(self._ids, message, deleted)

    def _lines(
        self, values: Mapping[int, bytes], message: int | None, deleted: frozenset[int]
    ) -> bytes | None:
        left = sorted(self.numbers - deleted)
        if message is not None:
            if message not in left:
                return ABSENT
            return b"+OK %d %s\r\n" % (message, values[message]) if message in values else None
        if any(one not in values for one in left):
            return None
        lines = b"".join(b"%d %s\r\n" % (one, values[one]) for one in left)
        return b"+OK %d messages\r\n%s.\r\n" % (len(left), lines)

    def retrieved(self, message: int, deleted: frozenset[int]) -> bytes | None:
        """Answer RETR; None if the message was not retrieved.

        Args:
            message: The message.
            deleted: As in `stat`.
        """
        if message not in self.numbers - deleted:
            return ABSENT
        content = self._contents.get(message)
        if content is None:
            return None
        octets = self._sizes.get(message, len(content))
        return b"+OK %d octets\r\n%s.\r\n" % (octets, content)

    def top(self, message: int, lines: int, deleted: frozenset[int]) -> bytes | None:
        """Answer TOP; None if neither the message nor as much of it was sent.

        Args:
            message: The message.
            lines: How many lines of its body.
            deleted: As in `stat`.
        """
        if message not in self.numbers - deleted:
            return ABSENT
        content = self._contents.get(message)
        if content is None:
            most, content = self._tops.get(message, (-1, b""))
            if most < lines:
                return None
        return b"+OK top of message follows\r\n" + _top(content, lines) + b".\r\n"

    def marked(self, message: int, deleted: frozenset[int]) -> bytes:
        """Answer DELE; the arguments are those of `retrieved`."""
        if message not in self.numbers - deleted:
            return ABSENT
        return b"+OK message %d deleted\r\n" % message


def _sizes(step: Step) -> dict[int, int]:
    """Read the answer to LIST."""
    if step.content is not None:
        return dict(scan_listings(step.wire[slice(*step.content)]))
    one = parse_scan_listing(step.wire.partition(b" ")[2])
    return {one.first: one.second} if one is not None else {}


def _ids(step: Step) -> dict[int, bytes]:
    """Read the answer to UIDL."""
    if step.content is not None:
        return dict(unique_id_listings(step.wire[slice(*step.content)]))
    one = parse_unique_id(step.wire.partition(b" ")[2])
    return {one.message: one.unique_id} if one is not None else {}


def _top(content: bytes, lines: int) -> bytes:
    """Cut a message behind its header and a number of lines (RFC 1939, section 7)."""
    at = 0
    while at < len(content):
        end = content.find(b"\n", at) + 1 or len(content)
        blank = not content[at:end].strip(b"\r\n")
        at = end
        if blank:
            break
    while lines and at < len(content):
        at = content.find(b"\n", at) + 1 or len(content)
        lines -= 1
    return content[:at]
