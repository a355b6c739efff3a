"""What differs between any two sessions and says nothing: numbers, names and times made alike.

The same mail may have number 3 in one session and number 7 in another. Mails are recognised by
their unique-id, then by their Message-ID, then by their SHA-256, and get one label in both
sessions. What is left is the same if its number is, unless unique-ids or Message-IDs contradict. In
the text of responses, hosts that belong to the session, addresses, times, APOP timestamps and long
identifiers are put behind names in angle brackets. Nothing else is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from popproxy.tools.diff_steps import Session, Step

_NAMED_MOST: Final = 100
_SHORTEST: Final = 4

_STAMP: Final = re.compile(r"<[^<>\s]{1,200}@[^<>\s]{0,200}>")
_TIME: Final = re.compile(
    r"(?<![\w.])(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?"
    r"(?:\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} |\d{4}-\d\d-\d\d[T ]?)?"
    r"\d{1,2}:\d\d:\d\d(?:\.\d{1,9})?(?: ?(?:[+-]\d\d:?\d\d|Z|UTC|GMT))?\b"
    r"|\b\d{4}-\d\d-\d\d\b"
)
_ADDRESS: Final = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d{1,5}\b)?|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]"
)
_ID: Final = re.compile(r"\b(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{16,200}")

RULES: Final = {
    "<timestamp>": "an APOP timestamp, or anything like a Message-ID",
    "<host>": "a name or address of this session's server, client or listener",
    "<time>": "a date or a time of day",
    "<address>": "an IP address, with a port or without",
    "<id>": "a word of 16 characters or more that holds letters and digits",
    "<message>": "the number of the message that the command named",
}
"""What stands in place of what."""


@dataclass(slots=True)
class _Mail:
    """What is known of a message, by which it can be recognised."""

    number: int
    unique_id: str | None = None
    message_id: str | None = None
    sha256: str | None = None

    def key(self, name: str) -> str | None:
        value: str | None = getattr(self, name)
        return value

    def is_another(self, other: _Mail) -> bool:
        """Whether two messages are different mails beyond doubt; other contents leave doubt."""
        ids = ((self.unique_id, other.unique_id), (self.message_id, other.message_id))
        return any(None not in pair and pair[0] != pair[1] for pair in ids)


@dataclass(slots=True)
class Labels:
    """Labels of one session's messages, and its hosts.

    Attributes:
        by_number: The label of each message, by its number.
        hosts: Names and addresses that belong to the session.
    """

    by_number: Mapping[int, str] = field(default_factory=dict)
    hosts: re.Pattern[str] | None = None

    def of(self, number: int) -> str:
        """Give the label of a message; its number if it has none."""
        return self.by_number.get(number, f"#{number}")

    def text(self, text: str, number: int | None = None) -> str:
        """Hide what differs in any case in the text of a response.

        Args:
            text: The text.
            number: The message that the command named.
        """
        text = _STAMP.sub("<timestamp>", text)
        if self.hosts is not None:
            text = self.hosts.sub("<host>", text)
        text = _ADDRESS.sub("<address>", _TIME.sub("<time>", text))
        text = _ID.sub("<id>", text)
        if number is not None:
            text = re.sub(rf"(?<![\w.]){number}(?![\w.])", "<message>", text, count=1)
        return text


def label(a: Session, b: Session) -> tuple[Labels, Labels]:
    """Give the messages of two sessions labels that are the same for the same mail."""
    mails_a, mails_b = _mails(a), _mails(b)
    pairs = _recognised(mails_a, mails_b)
    alone_a = mails_a.keys() - {i for i, _ in pairs}
    alone_b = mails_b.keys() - {j for _, j in pairs}
    entries: list[tuple[tuple[int, int, str], int | None, int | None]] = [
        ((min(i, j), max(i, j), ""), i, j) for i, j in pairs
    ]
    entries += [((i, i, _identity(mails_a[i])), i, None) for i in alone_a]
    entries += [((j, j, _identity(mails_b[j])), None, j) for j in alone_b]
    entries.sort(key=lambda entry: entry[0])
    labels_a: dict[int, str] = {}
    labels_b: dict[int, str] = {}
    for number, (_, i, j) in enumerate(entries, 1):
        if i is not None:
            labels_a[i] = f"mail {number}"
        if j is not None:
            labels_b[j] = f"mail {number}"
    return Labels(labels_a, _hosts(a)), Labels(labels_b, _hosts(b))


def _identity(one: _Mail) -> str:
    return one.unique_id or one.message_id or one.sha256 or ""


def _mails(of: Session) -> dict[int, _Mail]:
    """Collect what is known of a session's messages."""
    found: dict[int, _Mail] = {}

    def known(number: int) -> _Mail:
        return found.setdefault(number, _Mail(number))

    for step in of.steps:
        for number in _numbers(step):
            known(number)
        response = step.exchange.response
        if response is None:
            continue
        for row in response.pop3.unique_ids or []:
            known(row.message).unique_id = row.unique_id
        message = response.pop3.message
        if message is not None and message.number is not None:
            one = known(message.number)
            one.unique_id = message.unique_id or one.unique_id
            one.message_id = message.message_id or one.message_id
            if response.pop3.command == "RETR":
                one.sha256 = message.sha256
    return found


def _numbers(step: Step) -> Iterator[int]:
    command, response = step.exchange.command, step.exchange.response
    if command is not None and command.pop3.message_number is not None:
        yield command.pop3.message_number
    if response is not None:
        yield from (row.message for row in response.pop3.listing or [])


def _recognised(a: Mapping[int, _Mail], b: Mapping[int, _Mail]) -> list[tuple[int, int]]:
    """Pair the messages that are the same mail."""
    pairs: list[tuple[int, int]] = []
    left_a, left_b = dict(a), dict(b)

    def pair(i: int, j: int) -> None:
        pairs.append((i, j))
        del left_a[i], left_b[j]

    for name in ("unique_id", "message_id", "sha256"):
        ours, theirs = _by(name, left_a.values()), _by(name, left_b.values())
        for key in ours.keys() & theirs.keys():
            for one, other in zip(ours[key], theirs[key], strict=False):
                pair(one, other)
    for number in sorted(left_a.keys() & left_b.keys()):
        if not left_a[number].is_another(left_b[number]):
            pair(number, number)
    return pairs


def _by(name: str, mails: Iterable[_Mail]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in sorted(mails, key=lambda one: one.number):
        key = one.key(name)
        if key:
            found.setdefault(key, []).append(one.number)
    return found


def _hosts(of: Session) -> re.Pattern[str] | None:
    names = {name.strip("[]").lower() for name in of.names()}
    kept = sorted((name for name in names if len(name) >= _SHORTEST), key=len, reverse=True)
    if not kept:
        return None
    # A certificate for *.example.org names every host there.
    words = "|".join(re.escape(name).replace(r"\*", r"[\w-]{1,63}") for name in kept[:_NAMED_MOST])
    return re.compile(rf"(?<![\w.-])(?:{words})(?![\w-])", re.IGNORECASE)
