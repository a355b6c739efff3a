"""Findings of a capture, put together: what is odd in it, how often, and where.

Findings are made while a session is read (`popproxy.pop3.findings`, the relay's among them), and
stand in the capture as records. Here they are counted by their code, and the first few places of
each are kept, so that a capture of months does not take more memory than one of a minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from popproxy.records import CommandRecord, FindingPart, FindingRecord, Record, SessionEnd

Severity = Literal["info", "warning", "error"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error")
"""From harmless to grave."""

PLACES: Final = 5
"""Places of each finding that are kept; the others are counted."""

CODES_MOST: Final = 1_000
"""Different codes that are kept apart. popproxy has a few dozen; a file may hold anything."""

_SESSIONS_MOST: Final = 100_000
_KEYWORDS_MOST: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was found.

    Attributes:
        session: The session's id.
        seq: The record's number in its session.
        where: In words: which side, which leg; may be empty.
        command_seq: The command that it concerns.
        command: That command's keyword, if its record is near enough to be remembered.
    """

    session: str
    seq: int
    where: str
    command_seq: int | None
    command: str | None


@dataclass(slots=True, kw_only=True)
class Found:
    """A finding, wherever it came up.

    Attributes:
        code: Its name.
        severity: How much it matters.
        rfc: The RFC and section that it departs from; may be empty.
        what: What it means, in a sentence.
        count: Records of it.
        sessions: Sessions that it came up in.
        places: The first of them.
    """

    code: str
    severity: Severity
    rfc: str
    what: str
    count: int = 0
    sessions: int = 0
    places: list[Place] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Checked:
    """What was found in a capture.

    Attributes:
        sessions: How many it holds.
        commands: Of their clients.
        found: The findings, the gravest first, then the most frequent.
    """

    sessions: int
    commands: int
    found: list[Found]

    def at_least(self, severity: Severity) -> list[Found]:
        """Give the findings from a severity upwards."""
        least = SEVERITIES.index(severity)
        return [found for found in self.found if SEVERITIES.index(found.severity) >= least]


class _Session:
    """What has to be remembered of a session under way."""

    __slots__ = ("codes", "keywords")

    def __init__(self) -> None:
        self.codes: set[str] = set()
        self.keywords: dict[int, str] = {}

    def note(self, record: CommandRecord) -> None:
        self.keywords[record.pop3.seq] = record.pop3.command
        if len(self.keywords) > _KEYWORDS_MOST:
            del self.keywords[next(iter(self.keywords))]


def check(records: Iterable[Record]) -> Checked:
    """Put the findings of a capture together.

    Args:
        records: All of it, or the sessions that matter.

    Returns:
        The findings.
    """
    found: dict[str, Found] = {}
    under_way: dict[str, _Session] = {}
    sessions = commands = 0
    for record in records:
        name = record.session.id
        session = under_way.get(name)
        if session is None:
            sessions += 1
            session = under_way[name] = _Session()
            if len(under_way) > _SESSIONS_MOST:
                del under_way[next(iter(under_way))]
        match record:
            case CommandRecord():
                commands += 1
                session.note(record)
            case FindingRecord():
                _add(found, session, record)
            case SessionEnd():
                del under_way[name]
            case _:
                pass
    order = sorted(
        found.values(), key=lambda one: (-SEVERITIES.index(one.severity), -one.count, one.code)
    )
    return Checked(sessions=sessions, commands=commands, found=order)


def _add(found: dict[str, Found], session: _Session, record: FindingRecord) -> None:
    part = record.finding
    seen = found.get(part.code)
    if seen is None:
        if len(found) >= CODES_MOST:
            return
        seen = found[part.code] = _first(part)
    seen.count += 1
    if part.code not in session.codes:
        session.codes.add(part.code)
        seen.sessions += 1
    if len(seen.places) < PLACES:
        keyword = session.keywords.get(part.command_seq) if part.command_seq is not None else None
        seen.places.append(
            Place(
                session=record.session.id,
                seq=record.session.seq,
                where=part.where,
                command_seq=part.command_seq,
                command=keyword,
            )
        )


def _first(part: FindingPart) -> Found:
    return Found(code=part.code, severity=part.severity, rfc=part.rfc, what=part.what)
