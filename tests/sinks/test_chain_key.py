"""The key that signs lines about files, and the copies of these."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from popproxy.sinks import SinkError
from popproxy.sinks.base import Notices
from popproxy.sinks.chain_key import signer
from popproxy.sinks.copies import Copies
from popproxy.sinks.series import Chain
from popproxy.tools.chain_proof import Checkpoints, Keys
from tests.support.chained import lines_of, rewrite, verify
from tests.support.sealing import sealed, write


def test_p69_a_key_that_is_made_is_nobody_elses_and_the_public_one_beside_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new" / "chain.key"
    before = os.umask(0)
    try:
        first = signer(str(path))
    finally:
        os.umask(before)
    assert {one.name for one in path.parent.iterdir()} == {"chain.key", "chain.key.pub"}
    assert {one.stat().st_mode & 0o777 for one in path.parent.iterdir()} == {0o600}
    assert first(b"text") == signer(str(path))(b"text"), "it is loaded, and not made anew"


@pytest.mark.parametrize(
    ("content", "mode", "what"),
    [
        (b"no key", 0o600, "holds no Ed25519 private key"),
        (b"", 0o600, "holds no Ed25519 private key"),
        (b"no key", 0o640, "can be used by others than its owner; chmod 600 it"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(
    tmp_path: Path, content: bytes, mode: int, what: str
) -> None:
    path = tmp_path / "chain.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(SinkError, match=what):
        signer(str(path))


def test_a_key_in_a_place_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be used"):
        signer(str(tmp_path / "file" / "chain.key"))


async def test_signatures_show_a_chain_that_was_made_anew(tmp_path: Path) -> None:
    key, path = tmp_path / "chain.key", tmp_path / "logs" / "all.jsonl"
    sink = sealed(path, Chain(sign=signer(str(key))))
    await write(sink, "a")
    await sink.close(5)
    keys = Keys([("key", (tmp_path / "chain.key.pub").read_bytes())])
    found = verify(path, keys=keys)
    assert found.whole
    assert found.verdicts[0].signed == found.verdicts[0].walked.last.n
    other = tmp_path / "other" / "all.jsonl"
    sink = sealed(other)
    await write(sink, "b")
    await sink.close(5)
    assert verify(other).whole, "it is a good chain, by somebody else"
    assert not verify(other, keys=keys).whole


async def test_copies_show_a_tail_that_was_cut_off(tmp_path: Path) -> None:
    path, kept = tmp_path / "logs" / "all.jsonl", tmp_path / "kept"
    copies = Copies(str(kept))
    sink = sealed(path, Chain(checkpoint=0, on_line=lambda _, line: copies.put(line)))
    await write(sink, "a")
    await sink.close(5)
    assert kept.stat().st_mode & 0o777 == 0o600
    with kept.open("rb") as lines:
        assert verify(path, checkpoints=Checkpoints(lines)).whole
    rewrite(path, lines_of(path)[:-3])
    with kept.open("rb") as lines:
        found = verify(path, checkpoints=Checkpoints(lines), open_end=True)
    assert not found.whole
    assert "was cut off" in found.faults[0]


def test_a_copy_that_cannot_be_made_is_told_once_a_minute(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # and nobody reads it
    told: list[str] = []
    copies = Copies(str(tmp_path / "fifo"), Notices("copies", told.append))
    copies.put(b"{}\n")
    copies.put(b"{}\n")
    assert len(told) == 1
    assert "a FIFO that no program reads" in told[0]
