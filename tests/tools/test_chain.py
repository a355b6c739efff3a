"""Verifying chains: what was done to a file is named, and where."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from popproxy.formats.chain import START, seal
from popproxy.formats.sealing import Sealing
from popproxy.tools.chain import Break
from popproxy.tools.chain_proof import Checkpoints, Keys, ProofError
from popproxy.tools.chain_set import ChainError, Whole
from tests.support.chained import WHEN, Series, lines_of, record, rewrite, signer, verify


def first_break(whole: Whole, path: Path) -> Break:
    assert not whole.whole
    verdict = next(one for one in whole.verdicts if one.walked.path == str(path))
    assert verdict.broken is not None, (verdict.faults, whole.faults)
    return verdict.broken


def faults(whole: Whole) -> str:
    return "\n".join([*whole.faults, *(fault for one in whole.verdicts for fault in one.faults)])


def test_files_that_nobody_touched_are_whole(tmp_path: Path) -> None:
    series = Series(tmp_path)
    paths = [series.file(f"{n}.jsonl") for n in range(4)]
    paths.reverse()
    whole = verify(*paths)
    assert whole.whole, faults(whole)
    assert [Path(one.walked.path).name for one in whole.verdicts] == [
        "0.jsonl", "1.jsonl", "2.jsonl", "3.jsonl"
    ]  # fmt: skip
    assert sum(one.walked.records for one in whole.verdicts) == 40
    assert {one.ending for one in whole.verdicts} == {"closed"}


def test_a_flipped_octet_is_named(tmp_path: Path) -> None:
    path = Series(tmp_path).file("a.jsonl")
    for line in range(1, 13):
        lines = lines_of(path)
        kept = lines[line - 1]
        for place in (0, 3, len(kept) // 2, len(kept) - 90, len(kept) - 70, len(kept) - 5):
            changed = kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :]
            rewrite(path, [*lines[: line - 1], changed, *lines[line:]])
            found = first_break(verify(path), path)
            assert (found.kind, found.line, found.n) == ("changed", line, line), (line, place)
            walked = verify(path).verdicts[0].walked
            assert walked.breaks == 1, (line, place)
        rewrite(path, lines)


def test_a_dropped_line_is_named(tmp_path: Path) -> None:
    path = Series(tmp_path).file("a.jsonl")
    lines = lines_of(path)
    for n in range(2, 13):
        rewrite(path, [*lines[: n - 1], *lines[n:]])
        found = first_break(verify(path), path)
        assert (found.kind, found.line, found.n, found.until) == ("missing", n, n, n)
    rewrite(path, [*lines[:4], *lines[7:]])
    found = first_break(verify(path), path)
    assert (found.kind, found.n, found.until) == ("missing", 5, 7)


def test_a_duplicated_line_is_named(tmp_path: Path) -> None:
    path = Series(tmp_path).file("a.jsonl")
    lines = lines_of(path)
    for n in range(2, 13):
        for place in range(n, 14):
            rewrite(path, [*lines[:place], lines[n - 1], *lines[place:]])
            found = first_break(verify(path), path)
            assert (found.kind, found.line, found.n) == ("repeated", place + 1, n), (n, place)
            assert found.where == (str(path), n)


def test_swapped_lines_are_named(tmp_path: Path) -> None:
    path = Series(tmp_path).file("a.jsonl")
    lines = lines_of(path)
    for one in range(2, 12):
        for other in range(one + 1, 13):
            swapped = list(lines)
            swapped[one - 1], swapped[other - 1] = lines[other - 1], lines[one - 1]
            rewrite(path, swapped)
            found = first_break(verify(path), path)
            assert (found.kind, found.line, found.n) == ("reordered", one, one), (one, other)
            assert found.where == (str(path), other)


def test_a_line_that_was_moved_to_another_file_is_named_in_both(tmp_path: Path) -> None:
    series = Series(tmp_path)
    one, other = series.file("a.jsonl"), series.file("b.jsonl")
    lines, others = lines_of(one), lines_of(other)
    rewrite(one, [*lines[:4], *lines[5:]])
    rewrite(other, [*others[:7], lines[4], *others[7:]])
    whole = verify(one, other)
    found = first_break(whole, one)
    assert (found.kind, found.n, found.where) == ("moved", 5, (str(other), 8))
    found = first_break(whole, other)
    assert (found.kind, found.line, found.where) == ("foreign", 8, (str(one), 4))
    rewrite(one, lines)
    found = first_break(verify(one, other), other)
    assert (found.kind, found.line) == ("foreign", 8), "a copy from another file"


def test_lines_that_popproxy_never_wrote_are_named(tmp_path: Path) -> None:
    path = Series(tmp_path).file("a.jsonl")
    lines = lines_of(path)
    _, sealed = seal(START, record(4711))
    for added in (record(4711), sealed):
        rewrite(path, [*lines[:6], added, *lines[6:]])
        found = first_break(verify(path), path)
        assert (found.kind, found.line) == ("added", 7)
    rewrite(path, [record(1), *lines])
    found = first_break(verify(path), path)
    assert (found.kind, found.line) == ("added", 1)
    rewrite(path, [record(1), record(2)])
    assert first_break(verify(path), path).kind == "unsealed"


@pytest.mark.parametrize("left", [3, 11, 12])
def test_a_closed_file_that_lost_its_tail_is_not_whole(tmp_path: Path, left: int) -> None:
    path = Series(tmp_path).file("a.jsonl")
    assert verify(path).verdicts[0].ending == "closed"
    rewrite(path, lines_of(path)[:left])
    whole = verify(path)
    assert whole.verdicts[0].ending == "open"
    assert f"behind line {left} of the chain" in faults(whole)


def test_an_open_file_is_told_apart_from_one_that_was_cut(tmp_path: Path) -> None:
    path = Series(tmp_path).file("a.jsonl", closed=False)
    assert not verify(path).whole
    written = verify(path, writing=[path])
    assert written.whole
    assert written.verdicts[0].ending == "writing"
    assert verify(path, open_end=True).whole


def test_a_file_that_goes_on_proves_how_the_one_before_it_ended(tmp_path: Path) -> None:
    series = Series(tmp_path)
    one, other = series.file("a.jsonl", closed=False), series.file("b.jsonl")
    whole = verify(one, other)
    assert whole.whole, faults(whole)
    assert whole.verdicts[0].ending == "continued"
    rewrite(one, lines_of(one)[:8])
    whole = verify(one, other)
    assert "tail was cut off: lines 9 to 12 of the chain are missing" in faults(whole)


def test_an_open_end_is_granted_to_the_last_file_only(tmp_path: Path) -> None:
    series = Series(tmp_path)
    one, other = series.file("a.jsonl"), series.file("b.jsonl", closed=False)
    rewrite(one, lines_of(one)[:8])
    assert "tail was cut off" in faults(verify(one, other, open_end=True))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    series = Series(tmp_path)
    paths = [series.file(f"{n}.jsonl") for n in range(5)]
    whole = verify(paths[0], paths[1], paths[4])
    assert "missing: files 3, 4 of the series" in faults(whole)
    assert "lines 27 to 52 of the chain are missing in front of it" in faults(whole)
    later = verify(*paths[2:])
    assert later.whole, "files from before may lie in an archive"
    assert (
        "goes on from 1.jsonl (file 2), which is not among those given"
        in (later.verdicts[0].notes[0])
    )


def test_a_file_that_was_made_anew_does_not_fit_what_comes_behind(tmp_path: Path) -> None:
    series = Series(tmp_path)
    one, other = series.file("a.jsonl"), series.file("b.jsonl")
    forged = Sealing("a1", 1, "a.jsonl")
    lines = [forged.start(WHEN, "9.9", None, continues=False)]
    lines += [forged.record(record(n, "forged")) for n in range(10)]
    lines += [forged.checkpoint(WHEN), forged.end(WHEN, "rotated")]
    rewrite(one, lines)
    assert verify(one).whole, "nobody can tell, without a key, from one file"
    assert "one of both was made anew" in faults(verify(one, other))


def test_both_halves_of_a_file_that_was_cut_in_two_belong_together(tmp_path: Path) -> None:
    whole_file = Series(tmp_path).file("a.jsonl")
    lines = lines_of(whole_file)
    copy = tmp_path / "a.jsonl.1"  # as copytruncate leaves it
    rewrite(copy, lines[:6])
    rewrite(whole_file, lines[6:])
    whole = verify(whole_file, copy)
    assert whole.whole, faults(whole)
    assert [one.ending for one in whole.verdicts] == ["continued", "closed"]
    rewrite(whole_file, lines[8:])
    assert "lines 7 to 8 of the chain are missing" in faults(verify(whole_file, copy))
    assert "its beginning was cut off" in faults(verify(whole_file)), "nobody knows what it lacks"
    rewrite(whole_file, [lines[6].replace(b"NOOP", b"NOPE"), *lines[7:]])
    assert not verify(whole_file, copy).whole


def test_a_line_that_a_crash_tore_is_no_break(tmp_path: Path) -> None:
    sealing = Sealing("a1", 1, "a.jsonl")
    lines = [sealing.start(WHEN, "9.9", None, continues=True)]
    lines += [sealing.record(record(n)) for n in range(5)]
    path = tmp_path / "a.jsonl"
    rewrite(path, [*lines, record(9)[:40]])
    walked = verify(path, open_end=True).verdicts[0].walked
    assert (walked.first_break, walked.torn) == (None, [7])
    again = Sealing("a1", 2, "a.jsonl", state=sealing.state)
    more = [again.start(WHEN, "9.9", sealing.here, continues=True), again.end(WHEN, "closed")]
    rewrite(path, [*lines, record(9)[:40] + b"\n", *more])
    whole = verify(path)
    assert whole.whole, faults(whole)
    assert "line 7 was cut off while it was written" in whole.verdicts[0].notes[0]
    rewrite(path, [*lines[:4], lines[4][:40] + b"\n", *lines[5:], *more])
    found = first_break(verify(path), path)
    assert (found.kind, found.n) == ("changed", 5), "a record that was torn on purpose"
    rewrite(path, [*lines[:-1], lines[-1][:40] + b"\n", *more])
    found = first_break(verify(path), path)
    assert (found.kind, found.n, found.until) == ("changed", 6, 0)


def test_a_tail_that_was_cut_while_popproxy_was_down_is_missed(tmp_path: Path) -> None:
    sealing = Sealing("a1", 1, "a.jsonl")
    lines = [sealing.start(WHEN, "9.9", None, continues=True)]
    lines += [sealing.record(record(n)) for n in range(5)]
    again = Sealing("a1", 2, "a.jsonl", state=sealing.state)
    more = [again.start(WHEN, "9.9", sealing.here, continues=True), again.end(WHEN, "closed")]
    path = tmp_path / "a.jsonl"
    rewrite(path, [*lines[:3], *more])
    found = first_break(verify(path), path)
    assert (found.kind, found.line, found.n, found.until) == ("missing", 4, 4, 6)


def test_a_new_chain_in_the_middle_of_a_file_is_a_break(tmp_path: Path) -> None:
    one, other = Series(tmp_path).file("a.jsonl"), Series(tmp_path, "b2").file("b.jsonl")
    rewrite(one, [*lines_of(one)[:5], *lines_of(other)])
    assert first_break(verify(one), one).kind == "anew"


def test_files_that_retention_removed_are_not_missed(tmp_path: Path) -> None:
    first = Sealing("a1", 1, "1.jsonl")
    first.start(WHEN, "9.9", None, continues=True)
    second = Sealing("a1", 2, "2.jsonl", state=first.state)
    lines = [second.start(WHEN, "9.9", first.here, continues=True)]
    lines += [second.removed(WHEN, first.here, "age"), second.end(WHEN, "closed")]
    path = tmp_path / "2.jsonl"
    rewrite(path, lines)
    whole = verify(path)
    assert whole.whole
    assert "1.jsonl (file 1), which retention removed" in whole.verdicts[0].notes[0]


def test_files_of_sessions_have_chains_of_their_own_in_one_series(tmp_path: Path) -> None:
    paths, before = [], None
    for number in range(1, 5):
        sealing = Sealing("a1", number, f"{number}.jsonl")
        lines = [sealing.start(WHEN, "9.9", before, continues=False)]
        lines += [sealing.record(record(1)), sealing.end(WHEN, "session")]
        before = sealing.here
        paths.append(tmp_path / f"{number}.jsonl")
        rewrite(paths[-1], lines)
    whole = verify(*paths)
    assert whole.whole, faults(whole)
    assert verify(*paths[1:]).whole
    assert "missing: file 2 of the series" in faults(verify(paths[0], *paths[2:]))


def test_signatures_pin_a_chain_to_its_key(tmp_path: Path) -> None:
    sign, pem = signer()
    _, other_pem = signer()
    path = Series(tmp_path, sign=sign).file("a.jsonl")
    whole = verify(path, keys=Keys([("k.pub", pem)]))
    assert whole.whole, faults(whole)
    assert whole.verdicts[0].signed == 13
    assert verify(path, keys=Keys([("o.pub", other_pem), ("k.pub", pem)])).whole
    assert "no line of it is signed" in faults(verify(path, keys=Keys([("o.pub", other_pem)])))
    unsigned = Series(tmp_path).file("b.jsonl")
    assert "no line of it is signed" in faults(verify(unsigned, keys=Keys([("k.pub", pem)])))


def test_a_chain_that_was_made_anew_does_not_fit_its_signatures(tmp_path: Path) -> None:
    sign, pem = signer()
    path = Series(tmp_path, sign=sign).file("a.jsonl")
    state, anew = START, []
    for number, line in enumerate(lines_of(path), 1):
        body = line.rpartition(b',"chain":')[0] + b"}\n"
        changed = body.replace(b"NOOP 5", b"NOOP 6") if number == 6 else body
        state, sealed = seal(state, changed)
        anew.append(sealed)
    rewrite(path, anew)
    assert verify(path).whole, "without the key nobody can tell"
    whole = verify(path, keys=Keys([("k.pub", pem)]))
    assert "the signature of line 12 of the chain does not fit" in faults(whole)
    assert "made anew behind line 1" in faults(whole)


@pytest.mark.parametrize("text", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n", b"\x00" * 40])
def test_what_is_no_public_key_is_refused(text: bytes) -> None:
    with pytest.raises(ProofError, match=r"k\.pub holds no Ed25519 public key"):
        Keys([("k.pub", text)])


def test_copies_that_were_kept_elsewhere_tell_what_was_cut_or_made_anew(tmp_path: Path) -> None:
    series = Series(tmp_path)
    paths = [series.file(f"{n}.jsonl") for n in range(3)]
    copies = [
        b"<110>1 host popproxy - - - " + line
        for path in paths
        for line in lines_of(path)
        if b'"file.' in line
    ]

    def held() -> Checkpoints:
        return Checkpoints([b"not a checkpoint\n", *copies])

    assert held().count == 9
    assert verify(*paths, checkpoints=held()).whole
    assert verify(paths[1], paths[2], checkpoints=held()).whole, "the first lies in an archive"
    assert "file 3 of the series, 2.jsonl, is missing" in faults(
        verify(*paths[:2], checkpoints=held())
    )
    lines = lines_of(paths[2])
    rewrite(paths[2], lines[:5])
    assert "2.jsonl was cut off: a checkpoint tells of its line 39" in faults(
        verify(*paths, checkpoints=held(), open_end=True)
    )
    forged = Sealing("a1", 1, "0.jsonl")
    made = [forged.start(WHEN, "9.9", None, continues=False)]
    made += [forged.record(record(n, "forged")) for n in range(10)]
    rewrite(paths[0], [*made, forged.checkpoint(WHEN), forged.end(WHEN, "rotated")])
    assert "0.jsonl was made anew: its line 12 is not what" in faults(
        verify(paths[0], checkpoints=held())
    )
    with pytest.raises(ProofError, match="no checkpoint"):
        Checkpoints([b"{}\n", record(1)])


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="cannot be read: No such file"):
        verify(tmp_path / "none.jsonl")


def test_an_empty_file_holds_nothing_to_verify(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.touch()
    whole = verify(path)
    assert whole.whole
    assert whole.verdicts[0].walked.lines == 0


def test_any_damage_at_all_is_found(tmp_path: Path) -> None:
    """Random harm: lines dropped, repeated, swapped, octets changed. Nothing of it is whole."""
    path = Series(tmp_path).file("a.jsonl", 40)
    lines = lines_of(path)
    chance = random.Random(20261127)  # noqa: S311 - no secret
    for _ in range(300):
        harmed = list(lines)
        for _ in range(chance.randint(1, 4)):
            place, other = (chance.randrange(len(harmed) - 1) for _ in range(2))
            match chance.randrange(4):
                case 0:
                    del harmed[place]
                case 1:
                    harmed.insert(other, harmed[place])
                case 2:
                    harmed[place], harmed[other] = harmed[other], harmed[place]
                case _:
                    line = bytearray(harmed[place])
                    line[chance.randrange(len(line))] ^= 1 << chance.randrange(8)
                    harmed[place] = bytes(line)
        rewrite(path, harmed)
        assert verify(path).whole == (harmed == lines)
