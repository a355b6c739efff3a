"""Packed files are read as what they hold, in little memory, and damage is told."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from popproxy.formats.packed import open_packed

CONTENT = b"".join(b'{"n":%d}\n' % n for n in range(20_000))

PACKERS = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "not at all": lambda content: content,
}


@pytest.fixture(params=PACKERS.values(), ids=list(PACKERS))
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_bytes(request.param(CONTENT))
    return path


def test_what_it_holds_is_read(packed: Path) -> None:
    with open_packed(str(packed)) as file:
        assert list(file) == CONTENT.splitlines(keepends=True)


def test_packed_files_one_behind_the_other_are_one(packed: Path) -> None:
    packed.write_bytes(packed.read_bytes() * 2)
    with open_packed(str(packed)) as file:
        assert file.read() == CONTENT * 2


def test_files_too_short_to_be_packed_are_read_as_they_are(tmp_path: Path) -> None:
    for octets in (b"", b"\x1f", b"(\xb5/"):
        (tmp_path / "short").write_bytes(octets)
        with open_packed(str(tmp_path / "short")) as file:
            assert file.read() == octets


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress], indirect=True)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_file_that_was_cut_is_told(packed: Path, share: float) -> None:
    octets = packed.read_bytes()
    packed.write_bytes(octets[: max(6, int(len(octets) * share))])
    with open_packed(str(packed)) as file, pytest.raises(OSError, match="it is damaged"):
        file.read()


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress], indirect=True)
def test_a_bomb_is_read_piece_by_piece(packed: Path) -> None:
    """256 MiB of zeros would be seen in the peak, were they unpacked at once."""
    pack = gzip.compress if packed.read_bytes().startswith(b"\x1f\x8b") else zstandard.compress
    packed.write_bytes(pack(bytes(256 << 20)))
    tracemalloc.start()
    try:
        with open_packed(str(packed)) as file:
            assert file.readline(1 << 20) == bytes(1 << 20)
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_zstd_file_that_was_changed_is_told(tmp_path: Path) -> None:
    octets = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT))
    octets[-1] ^= 1
    (tmp_path / "log").write_bytes(octets)
    with open_packed(str(tmp_path / "log")) as file, pytest.raises(OSError, match="it is damaged"):
        file.read()
