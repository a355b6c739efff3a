"""tshark reads an exported capture as the records tell it: every conversation, in one run."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

import pytest

from popproxy.formats.pcapng import PcapngWriter
from popproxy.formats.pcapng_message import announced
from popproxy.records import (
    CommandRecord,
    DataRecord,
    FindingRecord,
    GreetingRecord,
    Record,
    ResponseRecord,
)
from popproxy.tools.exchanges import Exchange, conversation
from tests.support.conversations import load_all
from tests.support.make_samples import records as records_of
from tests.support.programs import needs

FIELDS = (
    "tcp.stream",
    "pop.request.command",
    "pop.request.parameter",
    "pop.response.indicator",
    "pop.response.description",
    "imf.subject",
    "imf.from",
    "frame.comment",
)
_BETWEEN = "\x1f"
_SUBJECT = re.compile(rb"(?im)^subject:[ \t]*(.*?)\r?$")


@dataclass
class Read:
    """What tshark, or we, see in a session."""

    requests: list[tuple[str, str]] = field(default_factory=list)
    responses: list[tuple[str, str]] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


@cache
def sessions() -> dict[str, list[Record]]:
    return {one.name: records_of(one.name, number) for number, one in enumerate(load_all(), 1)}


@pytest.fixture(scope="module")
def by_tshark(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Read]:
    path = tmp_path_factory.mktemp("wireshark") / "all.pcapng"
    writer = PcapngWriter()
    records = [record for session in sessions().values() for record in session]
    path.write_bytes(b"".join(map(writer.write, records)) + writer.end())
    fields = [word for name in FIELDS for word in ("-e", name)]
    form = ["-T", "fields", "-E", "occurrence=a", "-E", f"aggregator={_BETWEEN}"]
    done = subprocess.run(
        ["tshark", "-n", "-r", str(path), *form, *fields], capture_output=True, check=True
    )
    read: dict[int, Read] = defaultdict(Read)
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        stream, command, parameter, indicator, description, subject, _, comment = line.split("\t")
        session = read[int(stream)]
        if command or parameter:
            session.requests.append((plain(command), plain(parameter)))
        if indicator or description:
            session.responses.append((plain(indicator), plain(description)))
        session.subjects += [plain(one) for one in subject.split(_BETWEEN) if subject]
        session.comments += [comment] if comment else []
    return dict(zip(sessions(), (read[number] for number in sorted(read)), strict=True))


def plain(text: str) -> str:
    """What is left of a text that tshark shows: it escapes, and shows what is not ASCII as lost."""
    text = text.replace("\\t", "\t").replace("\\\\", "\\")
    return re.sub(r"[^\x20-\x7e]", "", text)


def line(wire: bytes) -> tuple[str, str]:
    """Cut a line as the dissector does: a word, blanks, the rest, up to a NUL."""
    text = re.split(rb"[\r\n]", wire, maxsplit=1)[0]
    word, blanks, rest = re.fullmatch(rb"([^ ]*)( *)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    rest = rest if word else blanks + rest
    word, rest = (part.partition(b"\0")[0].decode("latin1") for part in (word, rest))
    return plain(word), plain(rest)


def by_records(records: list[Record]) -> Read:
    """What tshark has to see."""
    read = Read()
    for record in records:
        match record:
            case CommandRecord() | DataRecord(side="client"):
                read.requests.append(line(record.wire))
            case GreetingRecord() | ResponseRecord() | DataRecord():
                content = isinstance(record, DataRecord) and record.pop3.part == "content"
                if record.wire.startswith((b"+OK", b"-ERR")) and not content:
                    read.responses.append(line(record.wire))
            case _:
                pass
    read.requests = [request for request in read.requests if request != ("", "")]
    for exchange in conversation(records).exchanges:
        if (mail := mail_of(exchange)) and (subject := _SUBJECT.search(mail)):
            read.subjects.append(plain(subject[1].partition(b"\0")[0].decode("latin1")))
    return read


def mail_of(exchange: Exchange) -> bytes:
    """The content that is read as mail: as many octets came as were announced, at least."""
    status, response = exchange.status, exchange.response
    if exchange.keyword not in ("RETR", "TOP") or status is None:
        return b""
    content = b"".join(piece.wire for piece in exchange.content)
    end = response.wire if response is not None else b""
    count = announced(status.wire) if status.wire.startswith(b"+OK ") else 0
    return content if status.wire.startswith(b"+OK") and len(content + end) >= count else b""


OTHERWISE = {
    # The line of the message that holds a dot alone is taken for the rest of the header before it.
    "dot-between-line-ends-of-two-kinds": "subjects",
    # A status line of 70,000 octets is no line of a capture: it has none of its own.
    "server-line-over-the-limit": "responses",
    # Wireshark takes a header for one only if its lines end in CRLF.
    "lines-end-in-lf-both-ways": "subjects",
}
"""What the dissector sees differently, and segments cannot help."""


@needs("tshark")
@pytest.mark.parametrize("name", sessions())
def test_tshark_reads_what_the_records_tell(name: str, by_tshark: dict[str, Read]) -> None:
    seen, told = by_tshark[name], by_records(sessions()[name])
    for part in ("requests", "responses", "subjects"):
        if OTHERWISE.get(name) == part:
            assert getattr(seen, part) != getattr(told, part), "this is no exception any more"
        else:
            assert getattr(seen, part) == getattr(told, part)
    findings = [record for record in sessions()[name] if isinstance(record, FindingRecord)]
    for finding in findings:
        assert any(f" {finding.finding.code}: " in comment for comment in seen.comments)


def test_the_conversations_show_enough() -> None:
    told = [by_records(records) for records in sessions().values()]
    assert sum(len(one.subjects) for one in told) > 20
    assert sum(len(one.requests) for one in told) > 300
