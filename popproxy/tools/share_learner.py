"""Learns what must not be in a bundle: the words of its source, but for those of every bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import resources
from typing import Final

import msgspec

from popproxy.pop3.findings import FINDINGS
from popproxy.privacy.sanitise import Keys, Sanitiser
from popproxy.privacy.sanitise.fields import SHARED
from popproxy.privacy.sanitise.personal import Personal
from popproxy.records import Record, ResponseRecord, WireRecord, json_schema
from popproxy.tools.share_parts import Commands, Made, Wish, command_of, is_message
from popproxy.tools.share_texts import README, TLS_HEADING, removed_text, versions

_OURS: Final = frozenset(
    {
        "schema",
        "action",
        "notice",
        "what",
        "rfc",
        "remedy",
        "raw",
        "raw_b64",
        "@timestamp",
        "version",
    }
    | {"ending", "outcome", "severity", "leg", "body"}
    | {"sha256", "certificate_sha256", "mask", "state", "side", "masked", "part", "id"}
)
"""Members that hold no words of a peer's, or hold what is learned elsewhere."""


class Learner:
    """Learns the words of a capture.

    Attributes:
        personal: What was learned.
        messages: Message-numbers of the messages that were retrieved, in order.
    """

    def __init__(self, wish: Wish) -> None:
        self.personal = Personal(_vocabulary())
        self.messages: list[int] = []
        self._wish = wish
        self._commands = Commands()
        self._lines: dict[tuple[str, int], int] = {}

    def learn(self, record: Record) -> None:
        """Learn from the next record."""
        if SHARED.fullmatch(record.session.id):
            return
        key = command_of(record)
        keyword, number = self._commands.of(record)
        of_message = is_message(record, keyword)
        if of_message and self._wish.level == "all":
            return
        if isinstance(record, WireRecord) and record.wire:
            self.personal.learn(record.wire, numbers=of_message)
            if of_message:
                self._let_be(record.wire, key, number)
        if not (isinstance(record, ResponseRecord) and self._wish.level == "all"):
            for text in _texts(msgspec.to_builtins(record)):
                self.personal.learn(text.encode("utf-8", "replace"))
        if isinstance(record, ResponseRecord):
            if record.pop3.message is not None:
                self.messages.append(record.pop3.message.number or 0)
            self._lines.pop(key, None)

    def _let_be(self, wire: bytes, key: tuple[str, int], number: int | None) -> None:
        """Allow the words of lines that are to stay."""
        if not self._wish.keep_lines:
            return
        keep = {*self._wish.keep_lines.get(None, ())}
        keep |= {*self._wish.keep_lines.get(number, ())} if number is not None else set()
        first = self._lines.get(key, 0)
        lines = wire.split(b"\n")
        self._lines[key] = first + len(lines) - 1
        for line in keep:
            if first < line <= first + len(lines):
                self.personal.allow(lines[line - first - 1])


def _texts(value: object, name: str = "") -> Iterator[str]:
    """Give the texts of a record that may hold words of somebody's."""
    if isinstance(value, dict):
        for member, inner in value.items():
            if member not in _OURS:
                yield from _texts(inner, member)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, name)
    elif isinstance(value, str):
        yield value


def _vocabulary() -> list[bytes]:
    """Give the words that every bundle has, whatever the capture."""
    findings = " ".join(f"{code.value} {text.what}" for code, text in FINDINGS.items())
    counted = Counter(dict.fromkeys(Sanitiser.RULES, 1))
    texts = (
        README,
        TLS_HEADING,
        removed_text(Made(removed=counted), Wish()),
        removed_text(Made(removed=counted, complete=False), Wish(level="all", keep_lines={1: [1]})),
        findings,
        versions(),
        *_sources_of_page(),
        *(Sanitiser(Keys(b"k"), level=level).notice for level in Sanitiser.LEVELS),
        msgspec.json.encode(json_schema()).decode(),
        "findings places sessions commands keyword complete severity found count structure headers",
    )
    return [text.encode() for text in texts]


def _sources_of_page() -> Iterator[str]:
    """Give what can stand on a page whatever the capture: all that its code could write."""
    for file in resources.files("popproxy.formats").iterdir():
        if file.name.startswith("html") and file.name.endswith(".py"):
            yield file.read_text("utf-8")
