"""Every sample log is told from all others, and says what it has to say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.formats import PuttyWriter, jsonl
from popproxy.importers import KINDS, recognise
from popproxy.privacy.sanitise import fields
from popproxy.records import (
    AuthRecord,
    CommandRecord,
    GapRecord,
    Record,
    ResponseRecord,
    SessionEnd,
    SessionStart,
)
from popproxy.tools import captures
from tests.support.make_samples import SAMPLES
from tests.support.recording import of

IMPORTS = SAMPLES / "imports"
SECRET = "hunter2"
SAMPLES_BY_KIND = {
    "curl.log": "curl",
    "curl-trace.log": "curl-trace",
    "curl-trace-ascii.log": "curl-trace",
    "fetchmail.log": "fetchmail",
    "javamail.log": "javamail",
    "mailkit.log": "mailkit",
    "mailkit-times.log": "mailkit",
    "mitmproxy.flows": "mitmproxy",
    "poplib.log": "poplib",
    "poplib-level-1.log": "poplib",
    "putty.log": "putty",
    "rawlog.in": "rawlog",
    "rawlog.out": "rawlog",
    "s_client.log": "s_client",
    "sslsplit.log": "sslsplit",
    "tcpdump.pcap": "pcap",
    "telnet.log": "terminal",
    "thunderbird.log": "thunderbird",
    "thunderbird-console.log": "thunderbird",
    "transcript.txt": "transcript",
}

every_sample = pytest.mark.parametrize("name", sorted(SAMPLES_BY_KIND))


def read(name: str) -> list[Record]:
    return list(captures.read(str(IMPORTS / name)))


def commands(records: list[Record]) -> list[str]:
    return [record.wire.decode().strip() for record in of(records, CommandRecord)]


def test_every_sample_and_every_kind_is_here() -> None:
    assert {path.name for path in IMPORTS.iterdir()} == set(SAMPLES_BY_KIND)
    assert set(SAMPLES_BY_KIND.values()) == set(KINDS) == fields.LOGS


@every_sample
def test_each_sample_is_recognised_as_itself_and_as_nothing_else(name: str) -> None:
    start = (IMPORTS / name).read_bytes()[: 64 * 1024]
    assert recognise(start) == captures.recognise(start) == SAMPLES_BY_KIND[name]
    others = {kind for kind, one in KINDS.items() if one.recognises(start)}
    # A MailKit log is a transcript, too, and what has no marks may be a terminal's: these are last.
    assert others - {"transcript", "terminal"} == {SAMPLES_BY_KIND[name]} - {
        "transcript",
        "terminal",
    }


@every_sample
def test_no_sample_tells_its_password(name: str) -> None:
    raw = (IMPORTS / name).read_bytes()
    told = b"".join(record.wire for record in of(read(name), CommandRecord))
    assert SECRET.encode() not in b"".join(map(_encoded, read(name)))
    assert b"********" in told or SECRET.encode() not in raw


def _encoded(record: Record) -> bytes:
    return jsonl.encode(record)


@every_sample
def test_each_sample_is_a_whole_capture(name: str) -> None:
    records = read(name)
    sessions = {record.session.id for record in records}
    assert len(of(records, SessionStart)) == len(of(records, SessionEnd)) == len(sessions) >= 1
    for session in sessions:
        numbers = [record.session.seq for record in records if record.session.id == session]
        assert numbers == list(range(1, len(numbers) + 1))
    source = of(records, SessionStart)[0].source
    assert source is not None
    assert source.kind == SAMPLES_BY_KIND[name]
    assert read(name) == records  # the same once more


EXPECTED = {
    "curl.log": ["CAPA", "AUTH PLAIN", "RETR 1"],
    "curl-trace.log": ["CAPA", "AUTH PLAIN", "RETR 1"],
    "curl-trace-ascii.log": ["CAPA", "AUTH PLAIN", "LIST"],
    "fetchmail.log": [
        *("CAPA", "USER sam", "PASS ********", "STAT"),
        *("LIST 1", "RETR 1", "LIST 2", "RETR 2", "QUIT"),
    ],
    "javamail.log": [
        *("CAPA", "STAT", "NOOP", "TOP 1 0", "LIST 1", "RETR 1", "TOP 2 0", "LIST 2", "RETR 2"),
        "QUIT",
    ],
    "mailkit.log": ["CAPA", "USER sam", "PASS ********", "STAT", "RETR 1", "QUIT", "QUIT"],
    "mailkit-times.log": ["USER sam", "PASS ********", "QUIT"],
    "mitmproxy.flows": ["CAPA", "AUTH PLAIN", "RETR 1", "QUIT"],
    "poplib.log": ["USER sam", "PASS ********", "STAT", "LIST", "RETR 1", "DELE 2", "RSET", "QUIT"],
    "poplib-level-1.log": [
        *("USER sam", "PASS ********", "STAT", "LIST", "RETR 1", "DELE 2", "RSET", "QUIT")
    ],
    "rawlog.in": ["STAT", "RETR 1", "QUIT"],
    "rawlog.out": ["STAT", "RETR 1", "QUIT"],
    "s_client.log": [],  # what was typed came through a pipe, and has no echo
    "sslsplit.log": ["CAPA", "AUTH PLAIN", "RETR 1", "QUIT"],
    "tcpdump.pcap": ["CAPA", "AUTH PLAIN", "RETR 1", "QUIT"],
    "telnet.log": ["user sam", "pass ********", "list", "retr 1", "quit"],
    "thunderbird.log": ["AUTH", "USER sam", "PASS ********", "STAT", "QUIT"],
    "thunderbird-console.log": ["CAPA", "USER sam", "PASS ********", "RETR 1", "QUIT"],
    "transcript.txt": ["USER sam", "PASS ********", "LIST", "QUIT"],
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_commands_are_the_clients(name: str) -> None:
    assert commands(read(name)) == EXPECTED[name]


def test_the_seed_s_log_is_read_and_written_as_the_same_text() -> None:
    """Issue 5: nine commands on the right side, two messages, PASS masked, the same text."""
    path = IMPORTS / "putty.log"
    records = read("putty.log")
    assert len(commands(records)) == 9
    assert of(records, SessionEnd)[0].summary.messages_retrieved == 2
    assert "pass ********" in commands(records)
    writer = PuttyWriter("printable", of(records, SessionStart)[0].timestamp.tzinfo)
    written = b"".join(map(writer.write, records)) + writer.end()
    assert written == path.read_bytes()


@pytest.mark.parametrize("name", ["sslsplit.log", "tcpdump.pcap", "mitmproxy.flows", "poplib.log"])
def test_logs_with_octets_keep_the_message(name: str) -> None:
    (message,) = [
        record.pop3.message for record in of(read(name), ResponseRecord) if record.pop3.message
    ]
    assert (message.octets, message.octets_announced) == (308, 308)
    assert message.subject == "Kettle 1"


@pytest.mark.parametrize("name", ["curl.log", "fetchmail.log", "curl-trace.log"])
def test_what_a_log_leaves_out_is_a_gap_and_framing_goes_on(name: str) -> None:
    records = read(name)
    assert any("not what follows" in record.gap.reason for record in of(records, GapRecord))
    made_up = [record for record in of(records, ResponseRecord) if record.inferred]
    assert made_up
    assert all(record.wire == b".\r\n" for record in made_up)
    assert of(records, SessionEnd)[0].summary.findings == 0


@pytest.mark.parametrize("mark", [b"> RETR 1", b"< +OK", b"> CAPA"])
@pytest.mark.parametrize("time", [b"", b"14:02:11.123456 "])
def test_curls_progress_meter_hides_no_line(mark: bytes, time: bytes, tmp_path: Path) -> None:
    meter = b"\r  0  308k   12  1.2M    0     0      0      0 --:--:--  0:00:01 --:--:--     0"
    log = (IMPORTS / "curl.log").read_bytes()
    assert mark in log
    (tmp_path / "log").write_bytes(log.replace(mark, meter + meter + time + mark))
    told = [record.wire for record in of(captures.read(str(tmp_path / "log")), CommandRecord)]
    assert told == [record.wire for record in of(read("curl.log"), CommandRecord)]


def test_times_and_ends_are_those_of_the_log() -> None:
    times = [f"{record.timestamp:%S.%f}" for record in of(read("mailkit-times.log"), CommandRecord)]
    assert times == ["46.223456", "46.423456", "46.623456"]
    start = of(read("tcpdump.pcap"), SessionStart)[0]
    assert (start.client.address, start.server and start.server.port) == ("127.0.0.1", 2110)
    assert start.source is not None
    assert start.source.inferred == []


def test_a_rawlog_needs_both_files(tmp_path: Path) -> None:
    (tmp_path / "x.in").write_bytes((IMPORTS / "rawlog.in").read_bytes())
    with pytest.raises(captures.CaptureError, match=r"is not there: .*x\.out"):
        list(captures.read(str(tmp_path / "x.in")))


def test_a_login_that_failed_is_told() -> None:
    (auth,) = of(read("mailkit-times.log"), AuthRecord)
    assert (auth.auth.outcome, auth.user and auth.user.name) == ("failure", "sam")


@given(st.binary(max_size=300))
def test_junk_is_recognised_as_nothing_or_read_without_an_exception(junk: bytes) -> None:
    if (kind := recognise(junk)) is not None:
        assert kind in KINDS


def test_random_prose_is_no_log() -> None:
    prose = b"Dear Sam,\n\nthe kettle is on. List what you need, and quit dreaming.\n\nWren\n"
    assert recognise(prose) is None
    assert recognise(b"") is None
