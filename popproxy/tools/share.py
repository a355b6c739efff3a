"""Makes the bundle of a bug report: a capture without what is private in it, and the proof of that.

The capture is read twice. First its words are learned (`popproxy.privacy.sanitise.personal`), then
it is sanitised and written, file by file, into a folder of its own. All that was written is then
searched for every word that was learned, in every encoding, before it is packed. Whoever packs a
bundle asks its owner first, with the list of what was replaced.

Nothing of the process outlives it but the bundle: the key of the pseudonyms is in memory only.
"""

from __future__ import annotations

import platform
import secrets
import ssl
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import IO, Final

import msgspec

from popproxy import __version__
from popproxy.formats import HtmlWriter, PuttyWriter, jsonl
from popproxy.privacy.sanitise import Keys, Level, Sanitiser, sanitise
from popproxy.privacy.sanitise.fields import SHARED
from popproxy.privacy.sanitise.personal import Personal
from popproxy.privacy.search import Search
from popproxy.records import (
    CommandRecord,
    DataRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    TlsEnd,
    TlsFailed,
    TlsStart,
    WireRecord,
    json_schema,
)
from popproxy.tools.captures import BUNDLED
from popproxy.tools.check import Checked, check
from popproxy.tools.share_texts import README, TLS_HEADING, removed_text, tls_text

Source = Callable[[], Iterator[Record]]
"""Reads all records that are to be shared, from the beginning, as often as it is called."""

PIECE: Final = 1 << 20
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""What a zip file's members are dated: the earliest that there is, so that it tells nothing."""

_TABLES: Final = frozenset({"LIST", "UIDL", "CAPA", "AUTH", "LANG", "HELP"})
_COMMANDS_MOST: Final = 10_000
_A_WORD: Final = "a word of the source"
_TLS_MOST: Final = 10_000
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the owner of a capture wants.

    Attributes:
        level: What stays of messages.
        keep_lines: Numbers of lines that stay, by message-number; under None those of any message.
        search: Secrets to be looked for as well.
    """

    level: Level = "structure"
    keep_lines: Mapping[int | None, Collection[int]] = field(default_factory=dict)
    search: Search | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Something of the source in what was to be a bundle; never what it is.

    Attributes:
        rule: What was looked for.
        member: The bundle's file.
        offset: Octets from its beginning, roughly.
        form: How it stands there.
    """

    rule: str
    member: str
    offset: int
    form: str


@dataclass(slots=True, kw_only=True)
class Made:
    """What a bundle was made of.

    Attributes:
        removed: What was replaced, by rule.
        sessions: How many it holds.
        messages: Messages in them, by message-number, as they were retrieved.
        words: Words that the proof looked for.
        complete: Whether these are all words of the source.
        hits: What the proof found; a bundle with any must not be packed.
        text: `REMOVED.txt`.
    """

    removed: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    messages: list[int] = field(default_factory=list)
    words: int = 0
    complete: bool = True
    hits: list[Hit] = field(default_factory=list)
    text: str = ""


class _Commands:
    """Tells which command a record belongs to, and so whether it is a piece of a message."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], tuple[str, int | None]] = {}

    def of(self, record: Record) -> tuple[str, int | None]:
        """Give the keyword and the message-number of a record's command, as far as known."""
        key = _key(record)
        if isinstance(record, CommandRecord):
            if len(self._open) >= _COMMANDS_MOST:
                del self._open[next(iter(self._open))]
            self._open[record.session.id, record.pop3.seq] = (
                record.pop3.command,
                record.pop3.message_number,
            )
        elif isinstance(record, ResponseRecord):
            return self._open.pop(key, ("", None))
        return self._open.get(key, ("", None))


def _key(record: Record) -> tuple[str, int]:
    of = getattr(getattr(record, "pop3", None), "command_seq", None)
    return record.session.id, of or 0


def _is_message(record: Record, keyword: str) -> bool:
    return (
        isinstance(record, DataRecord) and record.pop3.part == "content" and keyword not in _TABLES
    )


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
        self._commands = _Commands()
        self._lines: dict[tuple[str, int], int] = {}

    def learn(self, record: Record) -> None:
        """Learn from the next record."""
        if SHARED.fullmatch(record.session.id):
            return
        key = _key(record)
        keyword, number = self._commands.of(record)
        is_message = _is_message(record, keyword)
        if is_message and self._wish.level == "all":
            return
        if isinstance(record, WireRecord) and record.wire:
            self.personal.learn(record.wire, numbers=is_message)
            if is_message:
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
    from popproxy.pop3.findings import FINDINGS

    findings = " ".join(f"{code.value} {text.what}" for code, text in FINDINGS.items())
    counted = Counter(dict.fromkeys(Sanitiser.RULES, 1))
    texts = (
        README,
        TLS_HEADING,
        removed_text(Made(removed=counted), Wish()),
        removed_text(Made(removed=counted, complete=False), Wish(level="all", keep_lines={1: [1]})),
        findings,
        _versions(),
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


def make(source: Source, folder: Path, wish: Wish, *, attempts: int = 2) -> Made:
    """Make a bundle's files, and look for what must not be in them.

    Args:
        source: The capture.
        folder: An empty folder of the caller's.
        wish: What is wanted.
        attempts: How often to try with another key if a pseudonym happens to be a word that is
            looked for.

    Returns:
        What was made. If there are hits, the files must be thrown away.
    """
    learner = Learner(wish)
    for record in source():
        learner.learn(record)
    made = Made()
    for _ in range(attempts):
        made = _write(source, folder, wish, learner)
        made.hits = [*_prove(folder, wish, learner.personal)]
        if not made.hits:
            break
    return made


def _write(source: Source, folder: Path, wish: Wish, learner: Learner) -> Made:
    """Sanitise a capture and write a bundle's files."""
    for file in (*folder.glob("*.*"), *folder.glob("putty/*")):
        if file.is_file():
            file.unlink()
    sanitiser = Sanitiser(
        Keys(secrets.token_bytes(32), taken=learner.personal.holds),
        level=wish.level,
        keep_lines=wish.keep_lines,
        taken=learner.personal.holds,
    )
    facts: list[Record] = []
    with _Files(folder) as files:
        checked = check(_written(sanitise(source(), sanitiser), files, facts))
        sessions = files.sessions
    made = Made(
        removed=sanitiser.removed,
        sessions=sessions,
        messages=learner.messages,
        words=len(learner.personal),
        complete=learner.personal.complete,
    )
    made.text = removed_text(made, wish)
    _put(folder / "REMOVED.txt", made.text)
    _put(folder / "README.txt", README)
    _put(folder / "findings.txt", _findings(checked))
    _put(folder / "findings.json", msgspec.json.encode(checked).decode() + "\n")
    _put(folder / "tls.txt", tls_text(facts))
    _put(folder / "versions.txt", _versions())
    return made


def _written(records: Iterable[Record], files: _Files, facts: list[Record]) -> Iterator[Record]:
    for record in records:
        files.write(record)
        if isinstance(record, TlsStart | TlsFailed | TlsEnd) and len(facts) < _TLS_MOST:
            facts.append(record)
        yield record


class _Files:
    """The capture as JSON lines and as a page, and a PuTTY log of each session.

    A file is open only while something is written to it: a capture may have thousands of sessions
    at the same time.
    """

    def __init__(self, folder: Path) -> None:
        self._putty = folder / "putty"
        self._putty.mkdir(mode=0o700, exist_ok=True)
        self._capture = (folder / BUNDLED).open("wb")
        self._page = (folder / "capture.html").open("wb")
        self._html = HtmlWriter()
        self._writers: dict[str, PuttyWriter] = {}
        self.sessions = 0

    def __enter__(self) -> _Files:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is held, and close."""
        for name, writer in self._writers.items():
            self._append(name, writer.end())
        self._page.write(self._html.end())
        self._page.close()
        self._capture.close()

    def write(self, record: Record) -> None:
        """Write a record to all files that it belongs to."""
        self._capture.write(jsonl.encode(record))
        self._page.write(self._html.write(record))
        name = record.session.id
        writer = self._writers.get(name)
        if writer is None:
            self.sessions += 1
            writer = self._writers[name] = PuttyWriter("printable", tz=record.timestamp.tzinfo)
        self._append(name, writer.write(record))
        if isinstance(record, SessionEnd):
            del self._writers[name]

    def _append(self, name: str, octets: bytes) -> None:
        if octets:
            safe = "".join(char if char.isalnum() and char.isascii() else "-" for char in name)[
                :100
            ]
            with (self._putty / f"{safe}.log").open("ab") as file:
                file.write(octets)


def _put(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _findings(checked: Checked) -> str:
    lines = [f"sessions: {checked.sessions}, commands: {checked.commands}", ""]
    for found in checked.found:
        lines.append(f"{found.severity}: {found.code}, {found.count} times")
        lines.append(f"    {found.what} {found.rfc}".rstrip())
        lines += [
            f"    session {place.session}, record {place.seq}"
            + (
                f", command {place.command_seq} {place.command or ''}".rstrip()
                if place.command_seq
                else ""
            )
            for place in found.places
        ]
    if not checked.found:
        lines.append("Nothing was found.")
    return "\n".join(lines) + "\n"


def _versions() -> str:
    return (
        f"popproxy {__version__}\n"
        f"Python {platform.python_version()} ({platform.python_implementation()})\n"
        f"{ssl.OPENSSL_VERSION}\n"
        f"{platform.system()}, {platform.machine()}\n"
    )


def _members(folder: Path) -> list[tuple[str, Path]]:
    """Give the files of a bundle: what to read first comes first."""
    first = ["README.txt", "REMOVED.txt", BUNDLED]
    rest = sorted(
        path.name for path in folder.iterdir() if path.is_file() and path.name not in first
    )
    logs = sorted(path.name for path in (folder / "putty").iterdir())
    named = [*first, *rest, *(f"putty/{name}" for name in logs)]
    return [(name, folder / name) for name in named]


def pieces(path: Path) -> Iterator[bytes]:
    """Read a file in pieces."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _prove(folder: Path, wish: Wish, personal: Personal) -> Iterator[Hit]:
    """Search what was made for what it was made of."""
    for member, path in _members(folder):
        if wish.level != "all":
            at = 0
            for part in _whole_lines(path):
                for trace in personal.find(part):
                    yield Hit(
                        rule=_A_WORD,
                        member=member,
                        offset=at + trace.offset,
                        form=trace.form,
                    )
                at += len(part)
        if wish.search is not None:
            for found in wish.search.find(pieces(path)):
                yield Hit(
                    rule=f"secret {found.number} of the list",
                    member=member,
                    offset=found.offset,
                    form=found.form,
                )
    if wish.level == "all":
        return
    yield from _prove_wire(folder / BUNDLED, personal)


def _prove_wire(path: Path, personal: Personal) -> Iterator[Hit]:
    """Search what JSON does not show as it is: numbers of messages, and octets that it escapes."""
    at = 0
    commands = _Commands()
    with path.open("rb") as lines:
        for line in lines:
            record = jsonl.decode(line)
            wire = record.wire if isinstance(record, WireRecord) else b""
            if _is_message(record, commands.of(record)[0]):
                place = personal.numbers_in(wire)
                if place is not None:
                    rule = "a number of the source's messages"
                    yield Hit(rule=rule, member=BUNDLED, offset=at + place, form="plain")
            if b"\0" in wire:
                for trace in personal.find(wire):
                    yield Hit(
                        rule=_A_WORD, member=BUNDLED, offset=at + trace.offset, form=trace.form
                    )
            at += len(line)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Read a file in pieces that end where lines do, if there are any."""
    held = b""
    for piece in pieces(path):
        held += piece
        end = held.rfind(b"\n") + 1
        if end or len(held) > 64 * PIECE:
            yield held[: end or len(held)]
            held = held[end or len(held) :]
    if held:
        yield held


def pack(folder: Path, file: IO[bytes]) -> None:
    """Pack a bundle's files.

    Args:
        folder: Where they are.
        file: Where the bundle goes.

    Raises:
        OSError: It cannot be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in _members(folder):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o600 << 16
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as member:
                while piece := source.read(PIECE):
                    member.write(piece)
