"""Findings put together: counted, ordered, and with the places where they came up."""

import pytest

from popproxy.formats import jsonl
from popproxy.records import FindingRecord, Record
from popproxy.tools import check as module
from popproxy.tools.check import check
from tests.support.make_samples import SAMPLES
from tests.support.recording import of, said


def oddities() -> list[Record]:
    with (SAMPLES / "oddities.jsonl").open("rb") as file:
        return list(jsonl.read(file))


def test_every_finding_is_counted_once() -> None:
    records = oddities()
    checked = check(records)
    findings = of(records, FindingRecord)
    assert sum(found.count for found in checked.found) == len(findings) > 0
    assert {found.code for found in checked.found} == {one.finding.code for one in findings}
    assert checked.sessions == len({record.session.id for record in records})


def test_the_gravest_come_first() -> None:
    severities = [found.severity for found in check(oddities()).found]
    assert severities == sorted(severities, key=module.SEVERITIES.index, reverse=True)
    assert set(severities) >= {"error", "warning"}


def test_a_severity_leaves_out_what_matters_less() -> None:
    checked = check(oddities())
    assert checked.at_least("info") == checked.found
    assert {found.severity for found in checked.at_least("error")} == {"error"}
    assert {found.severity for found in checked.at_least("warning")} == {"error", "warning"}


def test_a_place_names_the_command() -> None:
    records = said("S: +OK", "C: NOOP 1", "S: +OK", "C: RETR x", "S: -ERR")
    (found,) = (one for one in check(records).found if one.code == "malformed-command")
    assert [(place.command_seq, place.command) for place in found.places] == [
        (1, "NOOP"),
        (2, "RETR"),
    ]
    assert (found.count, found.sessions, found.rfc) == (2, 1, "RFC 1939 section 3")


def test_places_and_codes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["S: +OK"] + ["C: RETR x", "S: -ERR"] * 20
    (found,) = (one for one in check(said(*lines)).found if one.code == "malformed-command")
    assert (found.count, len(found.places)) == (20, module.PLACES)
    monkeypatch.setattr(module, "CODES_MOST", 1)
    assert len(check(oddities()).found) == 1


def test_a_clean_session_has_none() -> None:
    with (SAMPLES / "session.jsonl").open("rb") as file:
        checked = check(jsonl.read(file))
    assert [found.code for found in checked.at_least("warning")] == []
    assert checked.commands > 5
