"""Captures that were forged, though there are keys or copies, and some that only look like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from popproxy.formats.chain import START, seal
from popproxy.formats.sealing import Sealing, Sign
from popproxy.tools.chain_proof import Checkpoints, Keys
from popproxy.tools.chain_set import Whole
from tests.support.chained import WHEN, Series, lines_of, record, rewrite, signer, verify


def faults(whole: Whole) -> str:
    return "\n".join([*whole.faults, *(fault for one in whole.verdicts for fault in one.faults)])


def made_anew(lines: list[bytes]) -> list[bytes]:
    """Seal lines once more, as who has no key can."""
    state, anew = START, []
    for line in lines:
        state, sealed = seal(state, line.rpartition(b',"chain":')[0] + b"}\n")
        anew.append(sealed)
    return anew


@pytest.fixture(name="keyed")
def _keyed(tmp_path: Path) -> tuple[Path, Keys, Sign]:
    sign, pem = signer()
    return Series(tmp_path, sign=sign).file("a.jsonl"), Keys([("k.pub", pem)]), sign


def test_who_has_no_key_cannot_end_a_file(keyed: tuple[Path, Keys, Sign]) -> None:
    path, keys, _ = keyed
    assert verify(path, keys=keys).whole
    lines = lines_of(path)
    forged = Sealing("a1", 1, "a.jsonl").end(WHEN, "ended")
    rewrite(path, made_anew([lines[0], record(4711), forged]))
    assert verify(path).whole, "without the key nobody can tell"
    whole = verify(path, keys=keys)
    assert "line 3 of the chain is about the file, as others of it, and is not signed" in faults(
        whole
    )


def test_what_was_not_signed_before_a_key_was_chosen_is_vouched_for_by_what_follows(
    tmp_path: Path,
) -> None:
    sign, pem = signer()
    first = Sealing("a1", 1, "a.jsonl")
    lines = [first.start(WHEN, "9.9", None, continues=True), first.end(WHEN, "ended")]
    second = Sealing("a1", 2, "a.jsonl", sign=sign, state=first.state)
    lines += [second.start(WHEN, "9.9", first.here, continues=True), second.end(WHEN, "ended")]
    rewrite(tmp_path / "a.jsonl", lines)
    assert verify(tmp_path / "a.jsonl", keys=Keys([("k.pub", pem)])).whole


def test_the_number_of_a_removed_file_is_signed(tmp_path: Path) -> None:
    sign, pem = signer()
    sealing = Sealing("a1", 9, "a.jsonl", sign=sign)
    gone = Sealing("a1", 2, "2.jsonl").here
    lines = [sealing.start(WHEN, "9.9", None, continues=True), sealing.removed(WHEN, gone, "age")]
    path = tmp_path / "a.jsonl"
    rewrite(path, lines)
    keys = Keys([("k.pub", pem)])
    assert verify(path, keys=keys, open_end=True).whole
    changed = lines[1].replace(b'"number":2', b'"number":7')
    assert changed != lines[1]
    rewrite(path, made_anew([lines[0], changed]))
    assert "the signature of line 2" in faults(verify(path, keys=keys, open_end=True))


def test_a_chain_that_was_made_anew_under_another_series_has_no_copies(tmp_path: Path) -> None:
    path = Series(tmp_path).file("a.jsonl")
    copies = [line for line in lines_of(path) if b'"file.' in line]
    assert verify(path, checkpoints=Checkpoints(copies)).whole
    Series(tmp_path, "b2").file("a.jsonl", records=3)
    whole = verify(path, checkpoints=Checkpoints(copies))
    assert "no checkpoint that was given is of this file" in faults(whole)


def test_a_file_that_was_added_has_no_copies(tmp_path: Path) -> None:
    series = Series(tmp_path)
    old, path = series.file("a.jsonl"), series.file("b.jsonl")
    copies = [line for line in lines_of(path) if b'"file.' in line]
    added = series.file("c.jsonl")
    whole = verify(old, path, added, checkpoints=Checkpoints(copies))
    assert [len(one.faults) for one in whole.verdicts] == [0, 0, 1]
    assert "older than the checkpoints" in whole.verdicts[0].notes[0]


@pytest.mark.parametrize("left", [1, 5])
def test_a_file_that_lost_its_beginning_is_not_whole(tmp_path: Path, left: int) -> None:
    path = Series(tmp_path).file("a.jsonl")
    rewrite(path, lines_of(path)[left:])
    assert f"in front of line {left + 1} of the chain" in faults(verify(path))


@pytest.mark.parametrize("torn", [1, 2, 3])
@pytest.mark.parametrize("begun", [0, 5])
def test_torn_lines_may_stand_behind_each_other(tmp_path: Path, torn: int, begun: int) -> None:
    sealing = Sealing("a1", 1, "a.jsonl")
    lines = [sealing.start(WHEN, "9.9", None, continues=True)][:begun]
    lines += [sealing.record(record(n)) for n in range(begun)]
    cut = [record(9)[:40] + b"\n"] * torn
    before, state = (sealing.here, sealing.state) if begun else (None, START)
    again = Sealing("a1", 2, "a.jsonl", state=state)
    more = [again.start(WHEN, "9.9", before, continues=True), again.record(record(1))]
    path = tmp_path / "a.jsonl"
    rewrite(path, [*lines, *cut, *more, again.end(WHEN, "ended")])
    whole = verify(path)
    assert whole.whole, (faults(whole), whole.verdicts[0].broken)
    assert len(whole.verdicts[0].walked.torn) == torn
    assert whole.verdicts[0].walked.records == begun + 1
    rewrite(path, [*lines, record(9), *cut, *more, again.end(WHEN, "ended")])
    assert not verify(path).whole, "a record that was put in front"


def test_a_torn_line_that_was_ended_may_be_the_last(tmp_path: Path) -> None:
    sealing = Sealing("a1", 1, "a.jsonl")
    lines = [sealing.start(WHEN, "9.9", None, continues=True), sealing.record(record(1))]
    one, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    rewrite(one, [*lines, record(9)[:40] + b"\n"])
    again = Sealing("a1", 2, "b.jsonl", state=sealing.state)
    start = again.start(WHEN, "9.9", sealing.here, continues=True)
    rewrite(other, [start, again.end(WHEN, "ended")])
    whole = verify(one, other)
    assert whole.whole, (faults(whole), whole.verdicts[0].broken)
    assert [one.ending for one in whole.verdicts] == ["continued", "closed"]
